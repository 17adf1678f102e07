//! QoS 1 and 2 from the client: which packet ids are open, and how many.
//!
//! ```text
//! client: PUBLISH(QoS 2, id) ──► begin ──► routed ──► PUBREC      PUBREL(id) ──► release ──► PUBCOMP
//!         PUBLISH(same id)   ──► Duplicate ─────────► PUBREC
//! ```
//! Ids of QoS 2 are session state: they travel with the session. What waits for its acknowledgement dies with the
//! connection.

use std::num::NonZeroU16;

use crate::packet::{PacketId, QoS};

/// Boxed: most clients send no QoS 2.
#[derive(Debug, Default)]
pub(super) struct Inbound(Option<Box<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// QoS 2 packet ids between PUBLISH and PUBREL ([MQTT-4.3.3-10]), ascending: clients count upwards, so a new id goes
    /// to the end. True when the PUBLISH came on this connection.
    received: Vec<(PacketId, bool)>,
    /// Those that are true: only they count against the Receive Maximum, which begins anew with a connection.
    on_connection: u16,
}

/// What a PUBLISH is, judged by its packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    New,
    /// A QoS 2 message that is here already: acknowledge, do not deliver again ([MQTT-4.3.3-10]).
    Duplicate,
    /// More are open than the Receive Maximum allows ([MQTT-3.3.4-7]).
    TooMany,
}

/// An idle session keeps no more room than this.
const KEPT: usize = 16;

impl Inbound {
    /// A start of the broker: the ids that were open, ascending.
    pub(super) fn restore(received: impl Iterator<Item = PacketId>) -> Self {
        let received: Vec<_> = received.map(|id| (id, false)).collect();
        Inbound((!received.is_empty()).then(|| Box::new(Open { received, on_connection: 0 })))
    }

    /// A network connection begins: what is open from an earlier one takes nothing of its Receive Maximum.
    pub(super) fn connect(&mut self) {
        let Some(open) = &mut self.0 else { return };
        open.received.iter_mut().for_each(|(_, here)| *here = false);
        open.on_connection = 0;
    }

    /// `open_max` is `None` in 3.x, which has no Receive Maximum.
    pub(super) fn begin(&mut self, qos: QoS, packet_id: PacketId, open_max: Option<NonZeroU16>) -> Begun {
        self.0.as_mut().map_or(Begun::New, |open| open.begin(qos, packet_id, open_max))
    }

    /// The message is the broker's: remember its id until PUBREL.
    pub(super) fn accept(&mut self, packet_id: PacketId) {
        self.0.get_or_insert_default().accept(packet_id);
    }

    /// False when the id was not open. From now on it is a new message's ([MQTT-4.3.3-12]).
    pub(super) fn release(&mut self, packet_id: PacketId) -> bool {
        let was_open = self.0.as_mut().is_some_and(|open| open.release(packet_id));
        self.0.take_if(|open| open.received.is_empty() && open.received.capacity() > KEPT);
        was_open
    }

    pub(super) fn open(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.received.len())
    }
}

impl Open {
    fn find(&self, packet_id: PacketId) -> Result<usize, usize> {
        self.received.binary_search_by_key(&packet_id, |(id, _)| *id)
    }

    fn begin(&mut self, qos: QoS, packet_id: PacketId, open_max: Option<NonZeroU16>) -> Begun {
        // Ids of QoS 1 are never remembered ([MQTT-4.3.2-5]).
        let known = if qos == QoS::ExactlyOnce { self.find(packet_id).ok() } else { None };
        let known = known.map(|index| &mut self.received[index].1);
        if known.as_ref().is_some_and(|here| **here) {
            return Begun::Duplicate;
        }
        // A QoS 1 message is acknowledged in the turn it arrives in: only QoS 2 stays open.
        if open_max.is_some_and(|max| self.on_connection >= max.get()) {
            return Begun::TooMany;
        }
        let Some(here) = known else { return Begun::New };
        *here = true;
        self.on_connection += 1;
        Begun::Duplicate
    }

    fn accept(&mut self, packet_id: PacketId) {
        if let Err(index) = self.find(packet_id) {
            self.received.insert(index, (packet_id, true));
            self.on_connection += 1;
        }
    }

    fn release(&mut self, packet_id: PacketId) -> bool {
        let Ok(index) = self.find(packet_id) else { return false };
        let (_, here) = self.received.remove(index);
        self.on_connection -= u16::from(here);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    // [MQTT-4.3.3-10], [MQTT-4.3.3-12]
    #[test]
    fn a_qos_2_id_is_a_duplicate_until_it_is_released() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(5), None), Begun::New);
        inbound.accept(id(5));
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(5), None), Begun::Duplicate);
        assert!(inbound.release(id(5)));
        assert!(!inbound.release(id(5)));
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(5), None), Begun::New);
    }

    // [MQTT-4.3.2-5]
    #[test]
    fn a_qos_1_id_is_always_a_new_message() {
        let mut inbound = Inbound::default();
        inbound.accept(id(5));
        assert_eq!(inbound.begin(QoS::AtLeastOnce, id(5), None), Begun::New);
    }

    // [MQTT-3.3.4-7]
    #[test]
    fn more_open_messages_than_the_receive_maximum_are_too_many() {
        let mut inbound = Inbound::default();
        inbound.accept(id(1));
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(2), NonZeroU16::new(2)), Begun::New);
        inbound.accept(id(2));
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(3), NonZeroU16::new(2)), Begun::TooMany);
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(2), NonZeroU16::new(2)), Begun::Duplicate);
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(3), None), Begun::New);
    }
    // [MQTT-3.3.4-7]
    #[test]
    fn a_new_connection_has_the_whole_receive_maximum() {
        let mut inbound = Inbound::default();
        inbound.accept(id(1));
        inbound.accept(id(2));
        inbound.connect();
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(3), NonZeroU16::new(2)), Begun::New);
        inbound.accept(id(3));
        assert_eq!(
            inbound.begin(QoS::ExactlyOnce, id(2), NonZeroU16::new(2)),
            Begun::Duplicate,
            "sent again, and counted"
        );
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(2), NonZeroU16::new(2)), Begun::Duplicate);
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(4), NonZeroU16::new(2)), Begun::TooMany);
        assert_eq!(
            inbound.begin(QoS::ExactlyOnce, id(1), NonZeroU16::new(2)),
            Begun::TooMany,
            "sent again, and one too many"
        );
        assert!(inbound.release(id(1)), "a release of an earlier connection frees nothing here");
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(4), NonZeroU16::new(2)), Begun::TooMany);
        assert!(inbound.release(id(2)));
        assert_eq!(inbound.begin(QoS::ExactlyOnce, id(4), NonZeroU16::new(2)), Begun::New);
        assert_eq!(inbound.open(), 1);
    }
}
