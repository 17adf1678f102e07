//! A packet from the broker, and how it reads: `PUBLISH q1 retain a/b 'x'`, `PUBACK #1 0x97`, `CONNACK 0x00 present`.

use std::fmt;

use midge::packet::{
    Ack, Auth, ConnAck, Decoded, Decoder, Disconnect, MAXIMUM_PACKET_SIZE, Packet, ProtocolVersion, Publish, Sender,
    SubAck,
};

pub struct Received {
    bytes: Vec<u8>,
    version: ProtocolVersion,
}

fn decoder(version: ProtocolVersion) -> Decoder {
    Decoder { version, sender: Sender::Server, maximum_packet_size: MAXIMUM_PACKET_SIZE, connected: true }
}

impl Received {
    /// Takes the first whole packet out of what has been read.
    pub fn take(inbox: &mut Vec<u8>, version: ProtocolVersion) -> Option<Received> {
        match decoder(version).decode(inbox).expect("the broker sends MQTT") {
            Decoded::Incomplete { .. } => None,
            Decoded::Packet { len, .. } => Some(Received { bytes: inbox.drain(..len).collect(), version }),
        }
    }

    pub fn packet(&self) -> Packet<'_> {
        match decoder(self.version).decode(&self.bytes) {
            Ok(Decoded::Packet { packet, .. }) => packet,
            other => panic!("a packet does not decode twice: {other:?}"),
        }
    }

    /// The size of the whole packet.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_publish(&self) -> bool {
        matches!(self.packet(), Packet::Publish(_))
    }

    pub fn connack(&self) -> ConnAck<'_> {
        match self.packet() {
            Packet::ConnAck(connack) => connack,
            _ => panic!("no CONNACK but {self}"),
        }
    }

    pub fn publish(&self) -> Publish<'_> {
        match self.packet() {
            Packet::Publish(publish) => publish,
            _ => panic!("no PUBLISH but {self}"),
        }
    }

    pub fn auth(&self) -> Auth<'_> {
        match self.packet() {
            Packet::Auth(auth) => auth,
            _ => panic!("no AUTH but {self}"),
        }
    }

    /// A CONNACK that lets the client in.
    pub fn is_success(&self) -> bool {
        matches!(self.packet(), Packet::ConnAck(connack) if !connack.reason_code.is_error())
    }

    /// The Reason String.
    pub fn reason(&self) -> Option<String> {
        let reason = match self.packet() {
            Packet::ConnAck(connack) => connack.properties.reason_string,
            Packet::PubAck(Ack { reason_string, .. })
            | Packet::PubRec(Ack { reason_string, .. })
            | Packet::SubAck(SubAck { reason_string, .. })
            | Packet::Disconnect(Disconnect { reason_string, .. }) => reason_string,
            _ => panic!("no Reason String in {self}"),
        };
        reason.map(str::to_owned)
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet() {
            Packet::ConnAck(connack) => self.write_connack(&connack, f),
            Packet::Publish(publish) => write_publish(&publish, f),
            Packet::PubAck(ack) => self.write_ack("PUBACK", &ack, f),
            Packet::PubRec(ack) => self.write_ack("PUBREC", &ack, f),
            Packet::PubRel(ack) => self.write_ack("PUBREL", &ack, f),
            Packet::PubComp(ack) => self.write_ack("PUBCOMP", &ack, f),
            Packet::SubAck(suback) => write_suback("SUBACK", &suback, f),
            Packet::UnsubAck(unsuback) => write_suback("UNSUBACK", &unsuback, f),
            Packet::PingResp => f.write_str("PINGRESP"),
            Packet::Disconnect(disconnect) => write!(f, "DISCONNECT 0x{:02X}", disconnect.reason_code as u8),
            Packet::Auth(auth) => write!(f, "AUTH 0x{:02X}", auth.reason_code as u8),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Received {
    /// The return code of 3.x is one digit.
    fn write_connack(&self, connack: &ConnAck<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            ProtocolVersion::V5 => write!(f, "CONNACK 0x{:02X}", connack.reason_code as u8)?,
            _ => write!(f, "CONNACK {}", connack.reason_code.connect_return_code())?,
        }
        f.write_str(if connack.session_present { " present" } else { "" })
    }

    /// 3.x has no reason codes here.
    fn write_ack(&self, name: &str, ack: &Ack<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name} #{}", ack.packet_id)?;
        match self.version {
            ProtocolVersion::V5 => write!(f, " 0x{:02X}", ack.reason_code as u8),
            _ => Ok(()),
        }
    }
}

fn write_publish(publish: &Publish<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "PUBLISH q{}", publish.qos as u8)?;
    f.write_str(if publish.dup { " dup" } else { "" })?;
    f.write_str(if publish.retain { " retain" } else { "" })?;
    let payload = publish.payload;
    match payload.len() {
        0..64 => write!(f, " {} '{}'", publish.topic, payload.escape_ascii()),
        len => write!(f, " {} {len} bytes", publish.topic),
    }
}

fn write_suback(name: &str, suback: &SubAck<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name} #{}", suback.packet_id)?;
    suback.reason_codes.iter().try_for_each(|code| write!(f, " 0x{:02X}", code as u8))
}
