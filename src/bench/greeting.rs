//! CONNECT and its answer.

use std::num::NonZeroU16;

use super::fault::Fault;
use crate::packet::{
    ConnAck, Connect, ConnectProperties, Decoded, Decoder, MAXIMUM_PACKET_SIZE, Packet, ProtocolVersion, QoS,
    ReasonCode, Sender,
};

/// What a client says of itself when it connects.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub(super) version: ProtocolVersion,
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    /// Whether the session outlives the connection.
    pub(super) is_lasting: bool,
    pub(super) user_name: Option<String>,
    pub(super) password: Option<String>,
    /// Seconds.
    pub(super) keep_alive: u16,
    /// In MQTT 5.0; `None` says nothing.
    pub(super) receive_maximum: Option<NonZeroU16>,
}

/// Seconds that a lasting session waits for its client.
const SESSION_EXPIRY: u32 = 3600;

impl Greeting {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let properties = match self.version {
            ProtocolVersion::V5 => ConnectProperties {
                session_expiry_interval: self.is_lasting.then_some(SESSION_EXPIRY),
                receive_maximum: self.receive_maximum,
                ..ConnectProperties::default()
            },
            _ => ConnectProperties::default(),
        };
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties,
            client_id: &self.client_id,
            will: None,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref().map(str::as_bytes),
        };
        Packet::Connect(connect).encode(self.version, out);
    }
}

/// What the broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    pub(super) receive_maximum: NonZeroU16,
    pub(super) maximum_qos: QoS,
}

impl Welcome {
    /// Reads it at the front of `bytes`, with its length; `None` when it has not come whole.
    pub(super) fn decode(bytes: &[u8], version: ProtocolVersion) -> Result<Option<(Welcome, usize)>, Fault> {
        let decoder =
            Decoder { version, sender: Sender::Server, maximum_packet_size: MAXIMUM_PACKET_SIZE, connected: true };
        match decoder.decode(bytes) {
            Ok(Decoded::Packet { packet: Packet::ConnAck(connack), len }) => Ok(Some((Welcome::read(&connack)?, len))),
            Ok(Decoded::Packet { packet, .. }) => {
                Err(Fault::NotMqtt(format!("{} where CONNACK is due", packet.packet_type())))
            }
            Ok(Decoded::Incomplete { .. }) => Ok(None),
            Err(error) => Err(Fault::NotMqtt(error.to_string())),
        }
    }

    fn read(connack: &ConnAck<'_>) -> Result<Welcome, Fault> {
        if connack.reason_code != ReasonCode::Success {
            return Err(Fault::Refused(connack.reason_code));
        }
        Ok(Welcome {
            session_present: connack.session_present,
            receive_maximum: connack.properties.receive_maximum.unwrap_or(NonZeroU16::MAX),
            maximum_qos: connack.properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_reason_and_what_is_missing_is_waited_for() {
        let decode = |bytes: &[u8]| Welcome::decode(bytes, ProtocolVersion::V5);
        assert!(decode(&[0x20, 3, 0]).unwrap().is_none());
        assert_eq!(
            decode(&[0x20, 3, 0, 0x87, 0]).unwrap_err().to_string(),
            "the broker refuses a connection: Not authorized"
        );
        assert!(decode(b"HTTP/1.1").is_err() && decode(&[0xD0, 0]).is_err());
        let (welcome, len) = decode(&[0x20, 8, 1, 0, 5, 0x21, 0, 20, 0x24, 1, 0x30]).unwrap().unwrap();
        let receive_maximum = NonZeroU16::new(20).unwrap();
        assert_eq!(welcome, Welcome { session_present: true, receive_maximum, maximum_qos: QoS::AtLeastOnce });
        assert_eq!(len, 10);
    }
}
