//! Packets to begin with: `Connect { keep_alive: 10, ..v5("a") }`.

use midge::packet::{Connect, ConnectProperties, ProtocolVersion, Publish, PublishProperties, QoS, Will};

/// A clean start, without keep alive, will and credentials.
fn connect(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        properties: ConnectProperties::default(),
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
}

pub fn v3(client_id: &str) -> Connect<'_> {
    connect(ProtocolVersion::V3, client_id)
}

pub fn v4(client_id: &str) -> Connect<'_> {
    connect(ProtocolVersion::V4, client_id)
}

pub fn v5(client_id: &str) -> Connect<'_> {
    connect(ProtocolVersion::V5, client_id)
}

/// At QoS 1; the client gives it its packet identifier.
pub fn message<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        packet_id: None,
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

/// At QoS 1, without delay.
pub fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        payload: payload.as_bytes(),
        will_delay_interval: 0,
        properties: PublishProperties::default(),
    }
}
