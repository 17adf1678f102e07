//! mqttbytes 0.6, MQTT 3.1.1 and 5.0.

mod defects;
mod v4;
mod v5;

use ::mqttbytes as theirs;
use bytes::BytesMut;

use super::compare::{Frame, Theirs};
use super::*;

const SIZE_MAX: usize = 1 << 28;

fn read(frame: &Frame) -> Theirs {
    let mut stream = BytesMut::from(frame.bytes);
    match frame.version {
        ProtocolVersion::V5 => match theirs::v5::read(&mut stream, SIZE_MAX) {
            Ok(packet) => said(v5::translated(&packet), v5::written(&packet), &packet),
            Err(error) => Theirs::Refused(error.to_string()),
        },
        _ => match theirs::v4::read(&mut stream, SIZE_MAX) {
            Ok(packet) => said(v4::translated(&packet), v4::written(&packet), &packet),
            Err(error) => Theirs::Refused(error.to_string()),
        },
    }
}

fn said(packet: Option<Packet<'static>>, written: Result<Vec<u8>, theirs::Error>, it: &dyn std::fmt::Debug) -> Theirs {
    match packet {
        Some(packet) => Theirs::Packet(packet, written.map_err(|error| error.to_string())),
        None => Theirs::NoPacket(format!("{it:?}")),
    }
}

fn qos(qos: theirs::QoS) -> QoS {
    QoS::from_bits(qos as u8).expect("three values")
}

fn text(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}

fn optional(value: &Option<String>) -> Option<&'static str> {
    value.as_deref().map(text)
}

fn binary(bytes: &[u8]) -> &'static [u8] {
    normal::leak(bytes.to_vec())
}

fn user_properties(pairs: &[(String, String)]) -> UserProperties<'static> {
    UserProperties::from_pairs(normal::leak(pairs.iter().map(|(name, value)| (text(name), text(value))).collect()))
}
