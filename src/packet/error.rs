//! Why bytes are not a packet: what is wrong, where, and the reason code the standard names for it.

use std::fmt;

use super::{PacketType, PropertyId, ProtocolVersion, ReasonCode, Sender};
use crate::topic::TopicError;

/// A packet that was refused. After one, the bytes that follow have no meaning: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    pub kind: DecodeErrorKind,
    /// `None` when the first byte names no packet type.
    pub packet_type: Option<PacketType>,
    /// Bytes from the start of the packet to the field that is wrong.
    pub offset: usize,
    /// The version of the connection; in a CONNECT, that of the packet, and `None` until it is known.
    pub version: Option<ProtocolVersion>,
}

impl DecodeError {
    /// Of which packet and in which version is for the decoder to add.
    pub(super) fn at(kind: DecodeErrorKind, offset: usize) -> DecodeError {
        DecodeError { kind, packet_type: None, offset, version: None }
    }

    /// What a DISCONNECT (or CONNACK) that answers this error says.
    pub fn reason_code(&self) -> ReasonCode {
        self.kind.reason_code()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet_type) = self.packet_type {
            write!(f, "{packet_type}: ")?;
        }
        write!(f, "byte {}: {}", self.offset, self.kind)
    }
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    #[error("packet type {0} does not exist in this version of MQTT")]
    UnknownPacketType(u8),
    #[error("the first packet is not CONNECT")]
    FirstPacketNotConnect,
    #[error("this packet is not for a {} to send", if *.0 == Sender::Client { "client" } else { "server" })]
    WrongSender(Sender),
    #[error("reserved flags of the fixed header are {0:04b}")]
    ReservedFlags(u8),
    #[error("QoS is 3")]
    QoS3,
    #[error("DUP is set at QoS 0")]
    DupAtQoS0,
    #[error("the packet has {size} bytes, more than the maximum packet size of {maximum}")]
    PacketTooLarge { size: u32, maximum: u32 },
    #[error("a variable byte integer has more than four bytes")]
    VariableByteIntegerTooLong,
    #[error("a variable byte integer is not in its shortest form")]
    VariableByteIntegerNotMinimal,
    #[error("the packet ends inside this field")]
    Truncated,
    #[error("bytes are left after the packet's last field")]
    TrailingBytes,
    #[error("a string is not well-formed UTF-8")]
    InvalidUtf8,
    #[error("a string contains U+0000")]
    NullCharacter,
    #[error("the packet identifier is 0")]
    PacketIdZero,

    #[error("the protocol name is neither MQTT nor MQIsdp")]
    UnknownProtocolName { level: u8 },
    #[error("protocol level {level} is not supported")]
    UnsupportedProtocolVersion { level: u8 },
    #[error("the reserved connect flag is set")]
    ReservedConnectFlag,
    #[error("will QoS or will retain is set without the will flag")]
    WillFlagsWithoutWill,
    #[error("there is a password but no user name")]
    PasswordWithoutUserName,
    #[error("reserved connect acknowledge flags are set")]
    ReservedConnAckFlags,
    #[error("session present is set on a refused connection")]
    SessionPresentOnRefusal,

    #[error("property 0x{0:02X} does not exist")]
    UnknownProperty(u32),
    #[error("property {0} does not belong to this packet")]
    PropertyNotAllowed(PropertyId),
    #[error("property {0} is there more than once")]
    DuplicateProperty(PropertyId),
    #[error("property {0} has a value that the standard rules out")]
    PropertyValue(PropertyId),
    #[error("property {0} is not for this side to send")]
    PropertyFromWrongSender(PropertyId),
    #[error("the topic alias is 0")]
    TopicAliasZero,
    #[error("there is authentication data but no authentication method")]
    AuthenticationDataWithoutMethod,
    #[error("the authentication method is missing")]
    AuthenticationMethodMissing,

    #[error("the topic name is empty")]
    TopicNameEmpty,
    #[error("topic name has a wildcard (+ or #)")]
    TopicNameWildcard,
    #[error("there is neither a topic name nor a topic alias")]
    TopicNameMissing,
    #[error("topic filter: {0}")]
    TopicFilterInvalid(TopicError),
    #[error("there is no topic filter")]
    NoTopicFilter,
    #[error("reserved bits of the subscription options are set")]
    ReservedSubscribeOptions,
    #[error("the maximum QoS of a subscription is 3")]
    SubscriptionQoS3,
    #[error("retain handling is 3")]
    RetainHandling3,
    #[error("no local is set on a shared subscription")]
    NoLocalOnSharedSubscription,

    #[error("reason code 0x{0:02X} does not belong to this packet or sender")]
    ReasonCodeNotAllowed(u8),
    #[error("there is no reason code")]
    NoReasonCode,
}

impl DecodeErrorKind {
    /// Malformed Packet unless the standard has a better word (sections 4.13 and 1.2, "Protocol Error").
    pub fn reason_code(self) -> ReasonCode {
        use DecodeErrorKind as K;
        match self {
            K::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            K::UnknownProtocolName { .. } | K::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            K::TopicNameEmpty | K::TopicNameWildcard => ReasonCode::TopicNameInvalid,
            K::TopicFilterInvalid(_) => ReasonCode::TopicFilterInvalid,
            K::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            K::FirstPacketNotConnect
            | K::WrongSender(_)
            | K::SessionPresentOnRefusal
            | K::DuplicateProperty(_)
            | K::PropertyValue(_)
            | K::PropertyFromWrongSender(_)
            | K::AuthenticationDataWithoutMethod
            | K::AuthenticationMethodMissing
            | K::TopicNameMissing
            | K::NoTopicFilter
            | K::SubscriptionQoS3
            | K::RetainHandling3
            | K::NoLocalOnSharedSubscription
            | K::ReasonCodeNotAllowed(_) => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}
