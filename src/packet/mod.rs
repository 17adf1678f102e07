//! Bytes to packets and back, for MQTT 3.1, 3.1.1 and 5.0.
//!
//! One packet model serves all versions: the superset that MQTT 5.0 defines. What a version does not have is absent on
//! decode and not written on encode. Decoding is one validating pass that copies nothing: packets borrow the buffer they
//! were decoded from. Everything the standard calls malformed, or a protocol error that one packet shows by itself, is
//! refused here with an error that knows its reason code.
//!
//! Reading order: [`Decoder`] (`decode`) finds the packet in a buffer, one file per packet type reads its body through
//! `reader` and `property`, and `encode` writes it back. `head` is the short way out for what a broker sends most.
//!
//! Never in here: I/O, a clock, a lock, a session.

mod ack;
mod auth;
mod connack;
mod connect;
mod decode;
mod disconnect;
mod encode;
mod error;
mod head;
mod packet_type;
mod property;
mod publish;
mod reader;
mod reason_code;
mod suback;
mod subscribe;
mod unsubscribe;
mod user_properties;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

use std::num::NonZeroU16;

pub use crate::topic::{QoS, RetainHandling, SubscribeOptions};
pub use ack::Ack;
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use decode::{Decoded, Decoder};
pub use disconnect::Disconnect;
pub use error::{DecodeError, DecodeErrorKind};
pub use head::{EncodedPublish, PublishHead, encode_ack};
pub use packet_type::PacketType;
pub use property::{Properties, Property, PropertyId};
pub use publish::{Publish, PublishProperties};
pub use reason_code::ReasonCode;
pub use suback::{ReasonCodes, SubAck};
pub use subscribe::{Subscribe, SubscribeFilters};
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters};
pub use user_properties::UserProperties;

/// The largest packet that MQTT can express: a fixed header of five bytes and 268,435,455 bytes after it.
pub const MAXIMUM_PACKET_SIZE: u32 = varint::MAX + 5;

/// The revision of the protocol that a CONNECT packet chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V3,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V4,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

/// A packet identifier; zero is not one ([MQTT-2.2.1-3]).
pub type PacketId = NonZeroU16;

/// Which end of the connection sent the bytes that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

/// One MQTT Control Packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl Packet<'_> {
    pub fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}
