//! QoS 2 messages whose packet ids a session remembers while the store may still lose them. One that is lost was not
//! received: it is new when the client sends it again, be it on the next connection.

use std::task::{Poll, Waker};

use crate::net::keeper::{Keeper, Tickets};
use crate::packet::PacketId;
use crate::protocol::Session;
use crate::store::Ticket;

/// Travels with the session. In the order in which they came, so with ascending tickets. Boxed: most sessions receive no
/// QoS 2, or keep nothing.
#[derive(Default)]
pub(in crate::net) struct Received(Option<Box<Unsettled>>);

type Unsettled = Vec<(PacketId, Ticket)>;

/// An idle session keeps no more room than this.
const KEPT: usize = 16;

impl Received {
    pub(super) fn push(&mut self, packet_id: PacketId, tickets: &[Ticket]) {
        self.0.get_or_insert_default().extend(tickets.iter().map(|ticket| (packet_id, *ticket)));
    }

    /// What must be safe before the message is acknowledged once more.
    pub(super) fn tickets_of(&self, packet_id: PacketId) -> Tickets {
        self.0.iter().flat_map(|all| all.iter()).filter(|(id, _)| *id == packet_id).map(|(_, ticket)| *ticket).collect()
    }

    /// Lets go of those up to a record whose fate is known, and has the session forget the lost ones.
    pub(super) fn settle(&mut self, up_to: u64, keeper: &Keeper, session: &mut Session) {
        let Some(unsettled) = &mut self.0 else { return };
        let behind = unsettled.partition_point(|(_, ticket)| ticket.record <= up_to);
        let is_settled = |(packet_id, ticket): &mut (PacketId, Ticket)| {
            let fate = keeper.poll_safe(*ticket, Waker::noop());
            if let Poll::Ready(Err(_)) = fate {
                session.forget_received(*packet_id);
            }
            fate.is_ready()
        };
        unsettled.extract_if(..behind, is_settled).for_each(drop);
        self.0.take_if(|unsettled| unsettled.is_empty() && unsettled.capacity() > KEPT);
    }
}
