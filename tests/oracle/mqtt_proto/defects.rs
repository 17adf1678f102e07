//! What mqtt-proto gets wrong, or decides in another place.

use super::*;
use crate::compare::{Defect, compare, frames};
use DecodeErrorKind as K;

/// What it takes that the standard refuses.
const ACCEPTS: &[Defect] = &[
    Defect { name: "bytes after the last field", explains: |it| it.refused() == Some(K::TrailingBytes) },
    Defect {
        name: "a server's packets, codes and properties from a client, and the reverse",
        explains: |it| {
            matches!(
                it.refused(),
                Some(K::WrongSender(_) | K::PropertyFromWrongSender(_) | K::ReasonCodeNotAllowed(0 | 4 | 0x19 | 0x8E))
            )
        },
    },
    Defect { name: "DUP at QoS 0", explains: |it| it.refused() == Some(K::DupAtQoS0) },
    Defect {
        name: "variable byte integers in a long form",
        explains: |it| it.refused() == Some(K::VariableByteIntegerNotMinimal),
    },
    Defect { name: "U+0000 in strings that are no topics", explains: |it| it.refused() == Some(K::NullCharacter) },
    Defect {
        name: "values that a property must not have",
        explains: |it| matches!(it.refused(), Some(K::PropertyValue(_) | K::TopicAliasZero)),
    },
    Defect {
        name: "no topic at all",
        explains: |it| matches!(it.refused(), Some(K::TopicNameEmpty | K::TopicNameMissing)),
    },
    Defect { name: "SUBACK and UNSUBACK without a code", explains: |it| it.refused() == Some(K::NoReasonCode) },
    Defect { name: "will retain without a will", explains: |it| it.refused() == Some(K::WillFlagsWithoutWill) },
    Defect { name: "a session on a refusal", explains: |it| it.refused() == Some(K::SessionPresentOnRefusal) },
    Defect {
        name: "AUTH and authentication data without a method",
        explains: |it| {
            matches!(it.refused(), Some(K::AuthenticationMethodMissing | K::AuthenticationDataWithoutMethod))
        },
    },
    Defect {
        name: "a password without a user name in 3.x",
        explains: |it| it.refused() == Some(K::PasswordWithoutUserName),
    },
    Defect {
        name: "no local on a shared subscription",
        explains: |it| it.refused() == Some(K::NoLocalOnSharedSubscription),
    },
];

/// What it refuses although it is right.
const REFUSES: &[Defect] = &[
    Defect { name: "bridges", explains: |it| matches!(it.packet(), Some(Packet::Connect(connect)) if connect.bridge) },
    Defect {
        name: "a flagged user name or password that MQTT 3.1 lets end with the packet",
        explains: |it| it.name.starts_with("in MQTT 3.1 the length decides"),
    },
    Defect {
        name: "DUP where MQTT 3.1 has it",
        explains: |it| it.version == ProtocolVersion::V3 && matches!(it.bytes[0], 0x6A | 0x8A | 0xAA),
    },
    Defect {
        name: "payloads that say they are text and are not, which the standard leaves to the receiver",
        explains: |it| match it.packet() {
            Some(Packet::Publish(it)) => it.properties.payload_is_utf8 && str::from_utf8(it.payload).is_err(),
            _ => false,
        },
    },
    Defect {
        name: "several subscription identifiers",
        explains: |it| match it.packet() {
            Some(Packet::Publish(it)) => it.properties.subscription_identifiers > 1,
            _ => false,
        },
    },
    Defect {
        name: "a DISCONNECT for a bad authentication method",
        explains: |it| match it.packet() {
            Some(Packet::Disconnect(it)) => it.reason_code == ReasonCode::BadAuthenticationMethod,
            _ => false,
        },
    },
];

const WRITING: Defect = Defect {
    name: "a failure in a SUBACK of 3.x is written as 3",
    explains: |it| match it.packet() {
        Some(Packet::SubAck(ack)) => {
            it.version != ProtocolVersion::V5 && ack.reason_codes.iter().any(ReasonCode::is_error)
        }
        _ => false,
    },
};

#[test]
fn apart_from_its_defects_mqtt_proto_reads_and_writes_the_same_packets() {
    let frames = frames(3_000);
    let reading: Vec<_> = ACCEPTS.iter().chain(REFUSES).collect();
    let [refused, read, written] = compare(&frames, super::read, &reading, &[&WRITING]);
    assert!(refused > 1_000 && read > 2_500 && written > 2_500, "{refused} {read} {written} of {}", frames.len());
}

#[test]
fn a_failed_subscription_of_3_x_is_no_failure_once_mqtt_proto_wrote_it() {
    let frame = notation::bytes("90 03 00 05 80");
    let packet = theirs::v3::Packet::decode(&frame).expect("it is right").expect("it is whole");
    assert_eq!(packet.encode().expect("it is written").as_ref(), [0x90, 3, 0, 5, 3]);
}
