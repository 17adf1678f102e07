//! Bytes to packets and back, for MQTT 3.1, 3.1.1 and 5.0.
//!
//! One packet model serves all versions: the superset that MQTT 5.0 defines. What a version does not have is absent on
//! decode and not written on encode. Decoding is one validating pass that copies nothing: packets borrow the buffer they
//! were decoded from. Everything the standard calls malformed, or a protocol error that one packet shows by itself, is
//! refused here with an error that knows its reason code.
//!
//! Never in here: I/O, a clock, a lock, a session.

use std::num::{NonZeroU16, NonZeroU32};

pub use crate::topic::{QoS, RetainHandling, SubscribeOptions};

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

/// CONNECT (section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    /// Level 0x83 or 0x84: the bit that mosquitto's bridges set to ask for no local and retain as published on 3.x.
    pub bridge: bool,
    /// `clean_session` in 3.x.
    pub clean_start: bool,
    /// Seconds; 0 turns keep alive off.
    pub keep_alive: u16,
    pub properties: ConnectProperties<'a>,
    /// May be empty.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    /// `Some("")` is a present but empty user name.
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// Properties of CONNECT (section 3.1.2.11); defaults are those of the standard for an absent property.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnectProperties<'a> {
    /// Seconds.
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    /// `None` when absent, which means yes.
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The Will in a CONNECT packet (sections 3.1.2.5, 3.1.3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// Seconds.
    pub will_delay_interval: u32,
    /// The publication properties of the Will Message, as PUBLISH would carry them.
    pub properties: PublishProperties<'a>,
}

/// CONNACK (section 3.2).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    /// In 3.x the encoder maps this to a return code 0 to 5.
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK (section 3.2.2.3).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// `None` (absent) means 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

/// PUBLISH (section 3.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Empty only together with a topic alias.
    pub topic: &'a str,
    /// Present exactly when QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// Properties of PUBLISH and of a Will: one validated slice, and what a broker has to look at.
///
/// `forward` is what every receiver gets unaltered and in order: payload format indicator, content type, response
/// topic, correlation data and user properties. Where the packet also held properties that are not forwarded as they
/// are (topic alias, message expiry interval, subscription identifiers), `forward` is not one run of bytes in the
/// packet: then `raw` has them all, and [`PublishProperties::forward_into`] copies what is to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct PublishProperties<'a> {
    /// Every property as it stood in the packet, without the length in front; validated.
    pub raw: &'a [u8],
    /// True when `raw` holds nothing but properties that are forwarded unaltered.
    pub raw_is_forward: bool,
    /// Payload Format Indicator is present and 1: the payload says it is UTF-8.
    pub payload_is_utf8: bool,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<NonZeroU16>,
    pub response_topic: Option<&'a str>,
    /// How many subscription identifiers `raw` has (server to client only).
    pub subscription_identifiers: u16,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack<'a> {
    pub packet_id: PacketId,
    /// Success where the packet has none (3.x, or the short form of 5).
    pub reason_code: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketId,
    /// 1 to 268,435,455.
    pub subscription_identifier: Option<NonZeroU32>,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: SubscribeFilters<'a>,
}

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketId,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: UnsubscribeFilters<'a>,
}

/// SUBACK and UNSUBACK (sections 3.9 and 3.11): one shape. UNSUBACK of 3.x has no reason codes.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub packet_id: PacketId,
    pub reason_codes: ReasonCodes<'a>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// DISCONNECT (section 3.14). Only the client sends one in 3.x.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Disconnect<'a> {
    pub reason_code: ReasonCode,
    /// Seconds; only from a client.
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// AUTH (section 3.15), MQTT 5.0 only.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Auth<'a> {
    pub reason_code: ReasonCode,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}
