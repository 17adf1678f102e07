//! mqtt-proto 0.4: MQTT 3.1, 3.1.1 and 5.0, AUTH too.

mod defects;
mod v3;
mod v5;

use std::sync::Arc;

use ::mqtt_proto as theirs;

use super::compare::{Frame, Theirs};
use super::*;

fn read(frame: &Frame) -> Theirs {
    match frame.version {
        ProtocolVersion::V5 => match theirs::v5::Packet::decode(frame.bytes) {
            Ok(Some(packet)) => {
                let written = packet.encode().map(|bytes| bytes.as_ref().to_vec());
                said(v5::translated(&packet), written.map_err(|error| error.to_string()), &packet)
            }
            Ok(None) => Theirs::Refused("incomplete".into()),
            Err(error) => Theirs::Refused(error.to_string()),
        },
        _ => match theirs::v3::Packet::decode(frame.bytes) {
            Ok(Some(packet)) => {
                let written = packet.encode().map(|bytes| bytes.as_ref().to_vec());
                said(v3::translated(&packet), written.map_err(|error| error.to_string()), &packet)
            }
            Ok(None) => Theirs::Refused("incomplete".into()),
            Err(error) => Theirs::Refused(error.to_string()),
        },
    }
}

fn said(packet: Option<Packet<'static>>, written: Result<Vec<u8>, String>, it: &dyn std::fmt::Debug) -> Theirs {
    match packet {
        Some(packet) => Theirs::Packet(packet, written),
        None => Theirs::NoPacket(format!("{it:?}")),
    }
}

fn qos(qos: theirs::QoS) -> QoS {
    QoS::from_bits(qos as u8).expect("three values")
}

fn packet_id(pid: theirs::Pid) -> PacketId {
    PacketId::new(pid.value()).expect("their identifiers are not zero")
}

fn text(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}

fn optional(value: &Option<Arc<str>>) -> Option<&'static str> {
    value.as_deref().map(text)
}

fn binary(bytes: &[u8]) -> &'static [u8] {
    normal::leak(bytes.to_vec())
}
