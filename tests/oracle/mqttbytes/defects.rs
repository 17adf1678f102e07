//! What mqttbytes gets wrong.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::compare::{Defect, compare, frames};
use DecodeErrorKind as K;

/// What it takes that the standard refuses.
const ACCEPTS: &[Defect] = &[
    Defect {
        name: "the fixed header's reserved flags are not looked at",
        explains: |it| matches!(it.refused(), Some(K::ReservedFlags(_))),
    },
    Defect { name: "DUP at QoS 0", explains: |it| it.refused() == Some(K::DupAtQoS0) },
    Defect {
        name: "a server's packets from a client, and the reverse",
        explains: |it| matches!(it.refused(), Some(K::WrongSender(_) | K::PropertyFromWrongSender(_))),
    },
    Defect {
        name: "variable byte integers in a long form",
        explains: |it| it.refused() == Some(K::VariableByteIntegerNotMinimal),
    },
    Defect { name: "U+0000 in strings", explains: |it| it.refused() == Some(K::NullCharacter) },
    Defect { name: "wildcards in topic names", explains: |it| it.refused() == Some(K::TopicNameWildcard) },
    Defect {
        name: "no topic at all",
        explains: |it| matches!(it.refused(), Some(K::TopicNameEmpty | K::TopicNameMissing)),
    },
    Defect { name: "malformed filters", explains: |it| matches!(it.refused(), Some(K::TopicFilterInvalid(_))) },
    Defect { name: "no filter at all", explains: |it| it.refused() == Some(K::NoTopicFilter) },
    Defect { name: "packet identifier 0", explains: |it| it.refused() == Some(K::PacketIdZero) },
    Defect { name: "bytes after the last field", explains: |it| it.refused() == Some(K::TrailingBytes) },
    Defect { name: "the same property twice", explains: |it| matches!(it.refused(), Some(K::DuplicateProperty(_))) },
    Defect {
        name: "values that a property must not have",
        explains: |it| matches!(it.refused(), Some(K::PropertyValue(_) | K::TopicAliasZero)),
    },
    Defect {
        name: "properties that run past their length into the payload",
        explains: |it| it.packet_type() == 3 && it.refused() == Some(K::Truncated),
    },
    Defect { name: "reserved subscription options", explains: |it| it.refused() == Some(K::ReservedSubscribeOptions) },
    Defect {
        name: "no local on a shared subscription",
        explains: |it| it.refused() == Some(K::NoLocalOnSharedSubscription),
    },
    Defect { name: "reserved connect acknowledge flags", explains: |it| it.refused() == Some(K::ReservedConnAckFlags) },
    Defect { name: "a session on a refusal", explains: |it| it.refused() == Some(K::SessionPresentOnRefusal) },
    Defect { name: "the reserved connect flag", explains: |it| it.refused() == Some(K::ReservedConnectFlag) },
    Defect {
        name: "a password without a user name in 3.1.1",
        explains: |it| it.refused() == Some(K::PasswordWithoutUserName),
    },
    Defect {
        name: "authentication data without a method",
        explains: |it| it.refused() == Some(K::AuthenticationDataWithoutMethod),
    },
];

/// What it refuses, or reads as something else, although it is right.
const MISREADS: &[Defect] = &[
    Defect { name: "AUTH is unknown", explains: |it| matches!(it.packet(), Some(Packet::Auth(_))) },
    Defect {
        name: "bridges are refused",
        explains: |it| matches!(it.packet(), Some(Packet::Connect(connect)) if connect.bridge),
    },
    Defect {
        name: "passwords have to be text",
        explains: |it| password(it).is_some_and(|it| str::from_utf8(it).is_err()),
    },
    Defect {
        name: "an empty user name or password is none, and one without the other is both",
        explains: |it| match it.packet() {
            Some(Packet::Connect(it)) => {
                it.user_name == Some("")
                    || it.password == Some(b"")
                    || (it.user_name.is_none() && it.password.is_some())
            }
            _ => false,
        },
    },
    Defect { name: "a DISCONNECT of two bytes is an error", explains: |it| it.bytes == [0xE0, 0] },
    Defect {
        name: "a DISCONNECT of three bytes is incomplete",
        explains: |it| it.bytes.starts_with(&[0xE0, 1]) && it.packet().is_some(),
    },
    Defect {
        name: "a DISCONNECT has no bad authentication method",
        explains: |it| match it.packet() {
            Some(Packet::Disconnect(it)) => it.reason_code == ReasonCode::BadAuthenticationMethod,
            _ => false,
        },
    },
    Defect {
        name: "several subscription identifiers push properties into the payload",
        explains: |it| match it.packet() {
            Some(Packet::Publish(it)) => it.properties.subscription_identifiers > 1,
            _ => false,
        },
    },
];

const WRITING: Defect = Defect {
    name: "a CONNACK of MQTT 5 without properties lacks its property length",
    explains: |it| match it.packet() {
        Some(Packet::ConnAck(it)) => it.properties == ConnAckProperties::default(),
        _ => false,
    },
};

fn password(frame: &Frame) -> Option<&'static [u8]> {
    match frame.packet() {
        Some(Packet::Connect(connect)) => connect.password,
        _ => None,
    }
}

#[test]
fn apart_from_its_defects_mqttbytes_reads_and_writes_the_same_packets() {
    let frames: Vec<_> = frames(3_000).into_iter().filter(|frame| frame.version != ProtocolVersion::V3).collect();
    let reading: Vec<_> = ACCEPTS.iter().chain(MISREADS).collect();
    let [refused, read, written] = compare(&frames, super::read, &reading, &[&WRITING]);
    assert!(refused > 300 && read > 1_500 && written > 1_500, "{refused} {read} {written} of {}", frames.len());
}

fn v5(bytes: &[u8]) -> (Result<theirs::v5::Packet, theirs::Error>, usize) {
    let mut stream = BytesMut::from(bytes);
    let result = theirs::v5::read(&mut stream, SIZE_MAX);
    (result, stream.len())
}

#[test]
fn every_clean_disconnect_of_mqtt_5_is_an_error_to_mqttbytes() {
    assert_eq!(v5(&[0xE0, 0]).0, Err(theirs::Error::PayloadRequired));
}

#[test]
fn a_disconnect_with_a_will_is_eaten_and_then_called_incomplete_by_mqttbytes() {
    assert_eq!(v5(&[0xE0, 1, 4]), (Err(theirs::Error::InsufficientBytes(1)), 0));
}

#[test]
fn a_second_subscription_identifier_ends_in_the_payload_of_mqttbytes() {
    let frame = notation::bytes("30 ~ \"t\" [0B 01 0B 02 01 01] 'payload'");
    let Ok(theirs::v5::Packet::Publish(publish)) = v5(&frame).0 else { panic!("it is accepted") };
    assert_eq!(publish.payload, Bytes::from_static(b"\x01\x01payload"));
}

#[test]
fn a_disconnect_with_empty_properties_loses_its_reason_code_in_mqttbytes() {
    let disconnect = theirs::v5::Disconnect {
        reason_code: theirs::v5::DisconnectReasonCode::ServerBusy,
        properties: Some(theirs::v5::DisconnectProperties::new()),
    };
    let mut out = BytesMut::new();
    disconnect.write(&mut out).expect("it writes something");
    assert_eq!(&out[..], [0xE0, 0]);
}

#[test]
fn a_connect_written_behind_other_bytes_overwrites_them_in_mqttbytes() {
    let mut connect = theirs::v4::Connect::new("c");
    connect.set_login("u", "p");
    let mut alone = BytesMut::new();
    connect.write(&mut alone).expect("it writes something");
    let mut behind = BytesMut::from(&[0xAA; 20][..]);
    connect.write(&mut behind).expect("it writes something");
    assert_ne!(&behind[..20], [0xAA; 20]);
    assert_ne!(&behind[20..], &alone[..]);
}

#[test]
fn mqtt_3_1_is_unknown_to_mqttbytes() {
    let mut stream = BytesMut::from(&notation::bytes("10 ~ \"MQIsdp\" 03 02 00 3C \"c\"")[..]);
    assert_eq!(theirs::v4::read(&mut stream, SIZE_MAX), Err(theirs::Error::InvalidProtocol));
}

#[test]
fn matching_in_mqttbytes_knows_no_dollar_topics_and_panics_on_other_alphabets() {
    assert!(!theirs::matches("$SYS/broker/uptime", "$SYS/#"));
    assert!(midge::topic::filter_matches("$SYS/#", "$SYS/broker/uptime"));
    assert!(std::panic::catch_unwind(|| theirs::matches("ä/b", "#")).is_err());
    assert!(midge::topic::filter_matches("#", "ä/b"));
}
