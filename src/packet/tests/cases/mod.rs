//! One named table of raw bytes and the packet they are, or the verdict they get. It serves the decoder, the encoder, the
//! stream tests, the fuzz loops and the comparison with other codecs.

mod acks;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod frame;
mod publish;
mod suback;
mod subscribe;

use super::notation::bytes;
use super::*;

pub use ProtocolVersion::{V3, V4, V5};
pub use Sender::{Client, Server};

/// A row.
pub struct Case {
    /// Statement ids it shows, and what it is about.
    pub name: String,
    /// What the decoder was told; a CONNECT brings its own.
    pub version: ProtocolVersion,
    pub sender: Sender,
    pub bytes: Vec<u8>,
    pub verdict: Verdict,
}

pub enum Verdict {
    /// Decodes to the packet and is encoded to the same bytes again.
    Packet(Packet<'static>),
    /// Decodes to the packet, for which the encoder has another form (shorter, or in its own order of properties).
    OtherForm(Packet<'static>),
    /// Refused with this reason code, for this cause, at this offset.
    Refused(u8, DecodeErrorKind, usize),
}

/// Rows for all versions, for 3.x, for one.
pub const ALL: &[ProtocolVersion] = &[V3, V4, V5];
pub const OLD: &[ProtocolVersion] = &[V3, V4];
pub const NEW: &[ProtocolVersion] = &[V5];

/// Collects the rows of one chapter.
#[derive(Default)]
pub struct Rows {
    cases: Vec<Case>,
}

impl Rows {
    pub fn packet(
        &mut self,
        name: &str,
        versions: &[ProtocolVersion],
        sender: Sender,
        text: &str,
        packet: Packet<'static>,
    ) {
        self.push(name, versions, sender, text, || Verdict::Packet(packet.clone()));
    }

    pub fn other_form(
        &mut self,
        name: &str,
        versions: &[ProtocolVersion],
        sender: Sender,
        text: &str,
        packet: Packet<'static>,
    ) {
        self.push(name, versions, sender, text, || Verdict::OtherForm(packet.clone()));
    }

    /// `why` is the reason code, the cause and the offset.
    pub fn refused(
        &mut self,
        name: &str,
        versions: &[ProtocolVersion],
        sender: Sender,
        text: &str,
        why: (u8, DecodeErrorKind, usize),
    ) {
        self.push(name, versions, sender, text, || Verdict::Refused(why.0, why.1, why.2));
    }

    fn push(
        &mut self,
        name: &str,
        versions: &[ProtocolVersion],
        sender: Sender,
        text: &str,
        verdict: impl Fn() -> Verdict,
    ) {
        for &version in versions {
            let name = format!("{name} ({version:?})");
            self.cases.push(Case { name, version, sender, bytes: bytes(text), verdict: verdict() });
        }
    }
}

pub fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("a packet id of the table is not zero")
}

/// Bytes that live as long as the table.
pub fn leaked(text: &str) -> &'static [u8] {
    Box::leak(bytes(text).into_boxed_slice())
}

/// Every row.
pub fn cases() -> Vec<Case> {
    let mut rows = Rows::default();
    frame::rows(&mut rows);
    connect::rows(&mut rows);
    connack::rows(&mut rows);
    publish::rows(&mut rows);
    acks::rows(&mut rows);
    subscribe::rows(&mut rows);
    suback::rows(&mut rows);
    disconnect::rows(&mut rows);
    auth::rows(&mut rows);
    rows.cases
}

/// The rows that are packets.
pub fn packets() -> Vec<(Case, Packet<'static>)> {
    let packet = |case: Case| match &case.verdict {
        Verdict::Packet(packet) | Verdict::OtherForm(packet) => {
            let packet = packet.clone();
            Some((case, packet))
        }
        Verdict::Refused(..) => None,
    };
    cases().into_iter().filter_map(packet).collect()
}
