//! The beginning and the end of every client.

use std::sync::Arc;

use super::board::{Board, Count, Last};
use super::fault::Fault;
use super::greeting::{Greeting, Welcome};
use super::incoming::Event;
use super::link::Link;
use super::transport::Dialer;
use crate::packet::Packet;

/// What a client needs to come to the broker.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) board: Arc<Board>,
    pub(super) dialer: Arc<Dialer>,
    /// Counts the clients of a run.
    pub(super) number: usize,
    pub(super) greeting: Greeting,
    /// When it is to begin, in nanoseconds since the run began; `None` for as soon as others leave room.
    pub(super) due: Option<u64>,
}

impl Caller {
    /// Connects when its time has come and others leave room.
    pub(super) async fn call(&self) -> Result<(Link, Welcome), Fault> {
        let board = &self.board;
        if let Some(due) = self.due {
            tokio::time::sleep_until(board.instant(due).into()).await;
        }
        let permit = board.connecting.acquire().await;
        let began = self.due.unwrap_or_else(|| board.now());
        let outcome = self.connect().await;
        drop(permit);
        let (link, welcome) = outcome.inspect_err(|_| board.add(Count::Failed, 1))?;
        let now = board.now();
        board.connect_time.lock().record(now.saturating_sub(began), 1);
        board.mark(Last::Connected, now);
        board.add(Count::Connected, 1);
        board.add(Count::SessionsPresent, u64::from(welcome.session_present));
        Ok((link, welcome))
    }

    async fn connect(&self) -> Result<(Link, Welcome), Fault> {
        let address = self.dialer.address().to_string();
        let wire = self.dialer.dial(self.number).await.map_err(|error| Fault::NoConnection { address, error })?;
        Link::open(wire, &self.greeting).await
    }

    /// Ends the session that it left in the broker.
    pub(super) async fn forget(mut self) -> Result<(), Fault> {
        self.greeting.clean_start = true;
        self.greeting.is_lasting = false;
        self.due = None;
        let (link, _) = self.call().await?;
        self.end(link).await;
        Ok(())
    }

    pub(super) async fn end(&self, link: Link) {
        link.close().await;
        self.board.add(Count::Ended, 1);
    }
}

/// What a packet means that no client here expects.
pub(super) fn unexpected(event: &Event<'_>) -> Option<Fault> {
    match event {
        Event::Other(packet) => Some(match &**packet {
            Packet::Disconnect(disconnect) => Fault::ClosedFor(disconnect.reason_code),
            packet => Fault::NotMqtt(format!("{} that nothing called for", packet.packet_type())),
        }),
        _ => None,
    }
}

/// Reads at a time before others have their turn.
pub(super) const READS_A_TURN: usize = 4;
/// A client that has so many bytes to send takes no more before they are gone.
pub(super) const QUEUE_BYTES_MAX: usize = 256 * 1024;
