//! The reason codes of MQTT 5.0 (section 2.4), which packets they belong to, and what CONNACK says instead in 3.x.

use std::fmt;

use super::{PacketType, Sender};

/// Declares the enum with its reading and its names from one table.
macro_rules! reason_codes {
    ($($name:ident = $value:literal $text:literal,)*) => {
        /// The result of an operation; 0x80 and above mean failure. The default is Success.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            #[default]
            $($name = $value,)*
        }

        impl ReasonCode {
            /// `None` for a value that the standard does not define.
            pub fn from_u8(value: u8) -> Option<ReasonCode> {
                match value {
                    $($value => Some(ReasonCode::$name),)*
                    _ => None,
                }
            }
        }

        /// The name the standard writes.
        impl fmt::Display for ReasonCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(ReasonCode::$name => $text,)*
                })
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[ReasonCode] = &[$(ReasonCode::$name,)*];
    };
}

reason_codes! {
    Success = 0x00 "Success",
    GrantedQoS1 = 0x01 "Granted QoS 1",
    GrantedQoS2 = 0x02 "Granted QoS 2",
    DisconnectWithWill = 0x04 "Disconnect with Will Message",
    NoMatchingSubscribers = 0x10 "No matching subscribers",
    NoSubscriptionExisted = 0x11 "No subscription existed",
    ContinueAuthentication = 0x18 "Continue authentication",
    ReAuthenticate = 0x19 "Re-authenticate",
    UnspecifiedError = 0x80 "Unspecified error",
    MalformedPacket = 0x81 "Malformed Packet",
    ProtocolError = 0x82 "Protocol Error",
    ImplementationSpecificError = 0x83 "Implementation specific error",
    UnsupportedProtocolVersion = 0x84 "Unsupported Protocol Version",
    ClientIdentifierNotValid = 0x85 "Client Identifier not valid",
    BadUserNameOrPassword = 0x86 "Bad User Name or Password",
    NotAuthorized = 0x87 "Not authorized",
    ServerUnavailable = 0x88 "Server unavailable",
    ServerBusy = 0x89 "Server busy",
    Banned = 0x8A "Banned",
    ServerShuttingDown = 0x8B "Server shutting down",
    BadAuthenticationMethod = 0x8C "Bad authentication method",
    KeepAliveTimeout = 0x8D "Keep Alive timeout",
    SessionTakenOver = 0x8E "Session taken over",
    TopicFilterInvalid = 0x8F "Topic Filter invalid",
    TopicNameInvalid = 0x90 "Topic Name invalid",
    PacketIdentifierInUse = 0x91 "Packet Identifier in use",
    PacketIdentifierNotFound = 0x92 "Packet Identifier not found",
    ReceiveMaximumExceeded = 0x93 "Receive Maximum exceeded",
    TopicAliasInvalid = 0x94 "Topic Alias invalid",
    PacketTooLarge = 0x95 "Packet too large",
    MessageRateTooHigh = 0x96 "Message rate too high",
    QuotaExceeded = 0x97 "Quota exceeded",
    AdministrativeAction = 0x98 "Administrative action",
    PayloadFormatInvalid = 0x99 "Payload format invalid",
    RetainNotSupported = 0x9A "Retain not supported",
    QoSNotSupported = 0x9B "QoS not supported",
    UseAnotherServer = 0x9C "Use another server",
    ServerMoved = 0x9D "Server moved",
    SharedSubscriptionsNotSupported = 0x9E "Shared Subscriptions not supported",
    ConnectionRateExceeded = 0x9F "Connection rate exceeded",
    MaximumConnectTime = 0xA0 "Maximum connect time",
    SubscriptionIdentifiersNotSupported = 0xA1 "Subscription Identifiers not supported",
    WildcardSubscriptionsNotSupported = 0xA2 "Wildcard Subscriptions not supported",
}

impl ReasonCode {
    /// What Success is called in a DISCONNECT.
    pub const NORMAL_DISCONNECTION: ReasonCode = ReasonCode::Success;
    /// What Success is called in a SUBACK.
    pub const GRANTED_QOS_0: ReasonCode = ReasonCode::Success;

    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether the standard lists this code for that packet, and for that side to send.
    pub fn belongs_to(self, packet_type: PacketType, sender: Sender) -> bool {
        let code = self as u8;
        match packet_type {
            // [MQTT-3.2.2-8]
            PacketType::ConnAck => matches!(code, 0 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F),
            // [MQTT-3.4.2-1] [MQTT-3.5.2-1]
            PacketType::PubAck | PacketType::PubRec => {
                matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            // [MQTT-3.6.2-1] [MQTT-3.7.2-1]
            PacketType::PubRel | PacketType::PubComp => matches!(code, 0 | 0x92),
            // [MQTT-3.9.3-2]
            PacketType::SubAck => matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2),
            // [MQTT-3.11.3-2]
            PacketType::UnsubAck => matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            // [MQTT-3.14.2-1]
            PacketType::Disconnect => self.belongs_to_disconnect(sender),
            // [MQTT-3.15.2-1]
            PacketType::Auth => self.belongs_to_auth(sender),
            _ => false,
        }
    }

    fn belongs_to_disconnect(self, sender: Sender) -> bool {
        match self as u8 {
            0 | 0x80..=0x83 | 0x90 | 0x93..=0x99 => true,
            0x04 => sender == Sender::Client,
            0x87 | 0x89 | 0x8B..=0x8F | 0x9A..=0xA2 => sender == Sender::Server,
            _ => false,
        }
    }

    fn belongs_to_auth(self, sender: Sender) -> bool {
        match self {
            ReasonCode::Success => sender == Sender::Server,
            ReasonCode::ContinueAuthentication => true,
            ReasonCode::ReAuthenticate => sender == Sender::Client,
            _ => false,
        }
    }

    /// The return code of a 3.x CONNACK that comes nearest: 0 to 5 (table 3.1 of MQTT 3.1.1).
    pub fn connect_return_code(self) -> u8 {
        match self {
            ReasonCode::Success => 0,
            ReasonCode::UnsupportedProtocolVersion => 1,
            ReasonCode::ClientIdentifierNotValid => 2,
            ReasonCode::BadUserNameOrPassword => 4,
            ReasonCode::NotAuthorized | ReasonCode::Banned | ReasonCode::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The meaning of a 3.x CONNACK's return code.
    pub(super) fn from_connect_return_code(code: u8) -> Option<ReasonCode> {
        Some(match code {
            0 => ReasonCode::Success,
            1 => ReasonCode::UnsupportedProtocolVersion,
            2 => ReasonCode::ClientIdentifierNotValid,
            3 => ReasonCode::ServerUnavailable,
            4 => ReasonCode::BadUserNameOrPassword,
            5 => ReasonCode::NotAuthorized,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_code_is_read_from_its_own_byte() {
        let defined: Vec<_> = (0..=u8::MAX).filter_map(ReasonCode::from_u8).collect();
        assert_eq!(defined, ALL);
        assert_eq!(defined.len(), 43);
        for code in defined {
            assert_eq!(ReasonCode::from_u8(code as u8), Some(code));
            assert_eq!(code.is_error(), code as u8 & 0x80 != 0);
        }
    }

    #[test]
    fn a_connect_return_code_means_the_reason_code_it_was_made_from() {
        for code in 0..=5 {
            assert_eq!(ReasonCode::from_connect_return_code(code).map(ReasonCode::connect_return_code), Some(code));
        }
        assert_eq!(ReasonCode::from_connect_return_code(6), None);
    }
}
