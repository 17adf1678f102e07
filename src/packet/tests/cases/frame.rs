//! The fixed header: types, flags, who may send what, the remaining length.

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    packets(rows);
    types_and_senders(rows);
    flags(rows);
    lengths(rows);
}

fn packets(rows: &mut Rows) {
    rows.packet("PINGREQ", ALL, Client, "C0 00", Packet::PingReq);
    rows.packet("PINGRESP", ALL, Server, "D0 00", Packet::PingResp);
}

fn types_and_senders(rows: &mut Rows) {
    for (text, byte) in [("00 00", 0), ("0F 02 00 00", 0)] {
        rows.refused("type 0 is reserved", ALL, Client, text, (0x81, K::UnknownPacketType(byte), 0));
        rows.refused("type 0 is reserved", ALL, Server, text, (0x81, K::UnknownPacketType(byte), 0));
    }
    rows.refused("AUTH before MQTT 5", OLD, Client, "F0 00", (0x81, K::UnknownPacketType(15), 0));
    rows.refused("AUTH before MQTT 5", OLD, Server, "F0 00", (0x81, K::UnknownPacketType(15), 0));
    for (name, text) in [
        ("CONNACK from a client", "20 02 00 00"),
        ("SUBACK from a client", "90 03 00 01 00"),
        ("UNSUBACK from a client", "B0 02 00 01"),
        ("PINGRESP from a client", "D0 00"),
    ] {
        rows.refused(name, ALL, Client, text, (0x82, K::WrongSender(Client), 0));
    }
    for (name, text) in [
        ("CONNECT from a server", "10 ~ \"MQTT\" 05 02 00 00 [] \"\""),
        ("SUBSCRIBE from a server", "82 06 00 01 \"a\" 00"),
        ("UNSUBSCRIBE from a server", "A2 05 00 01 \"a\""),
        ("PINGREQ from a server", "C0 00"),
    ] {
        rows.refused(name, ALL, Server, text, (0x82, K::WrongSender(Server), 0));
    }
    rows.refused("DISCONNECT from a server of 3.x", OLD, Server, "E0 00", (0x82, K::WrongSender(Server), 0));
}

/// Every packet type but PUBLISH with every flag nibble that it must not have.
fn flags(rows: &mut Rows) {
    let types =
        [(1, Client), (2, Server), (4, Client), (5, Client), (6, Client), (7, Client), (8, Client), (9, Server)];
    let more = [(10, Client), (11, Server), (12, Client), (13, Server), (14, Client)];
    for (packet_type, sender) in types.into_iter().chain(more) {
        let right = if matches!(packet_type, 6 | 8 | 10) { 0b0010 } else { 0 };
        for flags in (0..16).filter(|flags| *flags != right) {
            // MQTT 3.1 repeats these three with DUP set.
            let versions = if right != 0 && flags == 0b1010 { &ALL[1..] } else { ALL };
            let text = format!("{:02X} 02 00 01", packet_type << 4 | flags);
            let name = format!("MQTT-2.1.3-1 MQTT-3.6.1-1 MQTT-3.8.1-1 MQTT-3.10.1-1 MQTT-3.14.1-1 flags of {text}");
            rows.refused(&name, versions, sender, &text, (0x81, K::ReservedFlags(flags), 0));
        }
    }
    for flags in 1..16 {
        let text = format!("F{flags:X} 00");
        rows.refused("MQTT-3.15.1-1 flags of AUTH", NEW, Client, &text, (0x81, K::ReservedFlags(flags), 0));
    }
}

fn lengths(rows: &mut Rows) {
    for (text, kind) in [
        ("C0 80 00", K::VariableByteIntegerNotMinimal),
        ("C0 80 80 00", K::VariableByteIntegerNotMinimal),
        ("C0 80 80 80 00", K::VariableByteIntegerNotMinimal),
        ("C0 80 80 80 80", K::VariableByteIntegerTooLong),
        ("C0 FF FF FF FF", K::VariableByteIntegerTooLong),
        ("C0 80 80 80 80 01", K::VariableByteIntegerTooLong),
    ] {
        rows.refused("MQTT-1.5.5-1 remaining length", ALL, Client, text, (0x81, kind, 1));
    }
    rows.refused("PINGREQ with a body", ALL, Client, "C0 01 00", (0x81, K::TrailingBytes, 2));
    rows.refused("PINGRESP with a body", ALL, Server, "D0 02 00 00", (0x81, K::TrailingBytes, 2));
}
