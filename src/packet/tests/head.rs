//! The short way out writes what the long way writes.

use std::num::NonZeroU16;

use super::cases::{ALL, Client, Server, V5, id, packets};
use super::*;

/// The head that sends `publish` on; subscription ids and forwarded bytes are taken out of its properties.
fn resend(publish: &Publish<'_>, version: ProtocolVersion) -> (Vec<u8>, usize) {
    let mut forward = Vec::new();
    publish.properties.forward_into(&mut forward);
    let subscription_ids: Vec<u32> = publish.properties.subscription_ids().map(u32::from).collect();
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        topic_alias: publish.properties.topic_alias,
        message_expiry_interval: publish.properties.message_expiry_interval,
        subscription_ids: &subscription_ids,
        forward: &forward,
        payload_len: publish.payload.len(),
    };
    let mut out = Vec::new();
    head.encode(version, &mut out);
    out.extend_from_slice(publish.payload);
    (out, head.encoded_len(version))
}

#[test]
fn a_publish_from_parts_is_the_publish_it_was_made_from() {
    for (case, packet) in packets() {
        let Packet::Publish(publish) = packet else { continue };
        let (bytes, len) = resend(&publish, case.version);
        assert_eq!(bytes.len(), len, "{}", case.name);
        let decoded = decoder(case.version, Server).decode(&bytes);
        let Ok(Decoded::Packet { packet: Packet::Publish(again), .. }) = decoded else {
            panic!("{}: {decoded:?}", case.name);
        };
        // The order of what is not forwarded unaltered is the encoder's own.
        let properties = PublishProperties { raw: publish.properties.raw, ..again.properties };
        assert_eq!(Publish { properties, ..again.clone() }, publish, "{}", case.name);
        let ids = |it: &Publish<'_>| it.properties.subscription_ids().collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&publish), "{}", case.name);
        if publish.properties.raw_is_forward {
            assert_eq!(bytes, case.bytes, "{}", case.name);
        }
    }
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn what_is_forwarded_is_unaltered_and_in_order() {
    let raw = notation::bytes(
        "26 \"b\" \"1\"  02 00 00 00 3C  03 \"t\"  23 00 01  01 01  26 \"a\" \"2\"  0B 05  08 \"r\"  09 00 01 FF  26 \"b\" \"1\"",
    );
    let properties = PublishProperties::decode(&raw, Server).expect("the properties are right");
    let mut forward = b"kept".to_vec();
    properties.forward_into(&mut forward);
    let expected = notation::bytes(
        "'kept'  26 \"b\" \"1\"  03 \"t\"  01 01  26 \"a\" \"2\"  08 \"r\"  09 00 01 FF  26 \"b\" \"1\"",
    );
    assert_eq!(forward, expected);
    assert!(properties.user_properties().iter().eq([("b", "1"), ("a", "2"), ("b", "1")]));
    assert!(!properties.raw_is_forward);
    let again = PublishProperties::decode(&expected[4..], Client).expect("what is forwarded is valid");
    assert!(again.raw_is_forward);
}

#[test]
fn a_head_with_everything_holds_it_all_and_3_x_gets_none_of_it() {
    let forward = notation::bytes("01 01 26 \"k\" \"v\"");
    let head = PublishHead {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: "a/b",
        packet_id: Some(id(7)),
        topic_alias: NonZeroU16::new(3),
        message_expiry_interval: Some(60),
        subscription_ids: &[1, 268_435_455],
        forward: &forward,
        payload_len: 2,
    };
    let new = "3D ~ \"a/b\" 00 07 [02 00 00 00 3C 23 00 03 0B 01 0B FF FF FF 7F 01 01 26 \"k\" \"v\"] 'hi'";
    for &version in ALL {
        let mut out = Vec::new();
        head.encode(version, &mut out);
        out.extend_from_slice(b"hi");
        assert_eq!(head.encoded_len(version), out.len());
        let text = if version == V5 { new } else { "3D ~ \"a/b\" 00 07 'hi'" };
        assert_eq!(out, notation::bytes(text));
    }
}

#[test]
fn a_head_measures_a_payload_it_never_sees() {
    let head = PublishHead {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a",
        packet_id: None,
        topic_alias: None,
        message_expiry_interval: None,
        subscription_ids: &[],
        forward: &[],
        payload_len: 268_435_455 - 4,
    };
    assert_eq!(head.encoded_len(V5), MAXIMUM_PACKET_SIZE as usize);
    let mut out = Vec::new();
    head.encode(V5, &mut out);
    assert_eq!(out, notation::bytes("30 FF FF FF 7F \"a\" 00"));
}

#[test]
fn an_ack_from_parts_is_the_ack_of_the_long_way() {
    type Wrap = fn(Ack<'static>) -> Packet<'static>;
    let types: [(PacketType, Wrap); 4] = [
        (PacketType::PubAck, Packet::PubAck),
        (PacketType::PubRec, Packet::PubRec),
        (PacketType::PubRel, Packet::PubRel),
        (PacketType::PubComp, Packet::PubComp),
    ];
    for (packet_type, wrap) in types {
        for (code, &version) in [ReasonCode::Success, ReasonCode::QuotaExceeded]
            .into_iter()
            .flat_map(|code| ALL.iter().map(move |v| (code, v)))
        {
            let mut out = Vec::new();
            encode_ack(packet_type, id(0x1234), code, version, &mut out);
            let ack = Ack {
                packet_id: id(0x1234),
                reason_code: code,
                reason_string: None,
                user_properties: UserProperties::default(),
            };
            assert_eq!(out, encoded(&wrap(ack), version));
        }
    }
}

#[test]
fn a_will_whose_delay_was_changed_says_the_new_delay() {
    let text = "10 ~ \"MQTT\" 05 06 00 3C [] \"c\" [18 00 00 00 05 26 \"k\" \"v\"] \"w\" \"\"";
    for (delay, block) in [(0, "18 00 00 00 00 26 \"k\" \"v\""), (9, "18 00 00 00 09 26 \"k\" \"v\"")] {
        let bytes = notation::bytes(text);
        let Ok(Decoded::Packet { packet: Packet::Connect(mut connect), .. }) = decoder(V5, Client).decode(&bytes)
        else {
            panic!("the row is a CONNECT");
        };
        connect.will.iter_mut().for_each(|will| will.will_delay_interval = delay);
        let expected = notation::bytes(&text.replace("18 00 00 00 05 26 \"k\" \"v\"", block));
        assert_eq!(encoded(&Packet::Connect(connect), V5), expected);
    }
}

#[test]
fn text_too_long_for_its_length_field_is_cut_at_a_character() {
    let long = "ä".repeat(40_000);
    let mut disconnect = Disconnect { reason_string: Some(&long), ..Default::default() };
    let bytes = encoded(&Packet::Disconnect(disconnect.clone()), V5);
    disconnect.reason_string = Some(&long[..65_534]);
    let len = bytes.len();
    assert_eq!(decoder(V5, Client).decode(&bytes), Ok(Decoded::Packet { packet: Packet::Disconnect(disconnect), len }));
}

#[test]
fn a_publish_that_was_encoded_once_is_the_one_that_its_parts_would_be() {
    let forward = notation::bytes("01 01  03 \"t\"");
    // Around the lengths at which the packet id costs the remaining length another byte.
    for payload_len in [0, 1, 110, 118, 119, 120, 121, 122, 123, 124, 125, 126, 16_370, 16_374, 16_376, 16_378, 16_380]
    {
        let payload = vec![b'x'; payload_len];
        for (version, forward) in [(ProtocolVersion::V4, &[][..]), (V5, &[][..]), (V5, &forward[..])] {
            let plain = PublishHead {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: "t/7",
                packet_id: None,
                topic_alias: None,
                message_expiry_interval: None,
                subscription_ids: &[],
                forward,
                payload_len,
            };
            let mut bytes = Vec::new();
            let topic = plain.encode(version, &mut bytes);
            assert_eq!(&bytes[topic.clone()], b"t/7");
            let head_len = bytes.len();
            bytes.extend_from_slice(&payload);
            let whole = EncodedPublish { bytes: &bytes, topic, payload_start: head_len, payload_after: 0 };
            let apart = whole.up_to_payload();
            assert_eq!((apart.bytes.len(), apart.payload_after), (head_len, payload_len));
            let flags = [(false, QoS::AtMostOnce), (false, QoS::AtLeastOnce), (true, QoS::ExactlyOnce)];
            for ((dup, qos), retain) in flags.into_iter().flat_map(|flags| [(flags, false), (flags, true)]) {
                let packet_id = (qos != QoS::AtMostOnce).then(|| id(0x1234));
                let head = PublishHead { dup, qos, retain, packet_id, ..plain };
                let mut expected = Vec::new();
                head.encode(version, &mut expected);
                expected.extend_from_slice(&payload);
                for (packet, behind) in [(&whole, &[][..]), (&apart, &payload[..])] {
                    let mut again = b"before".to_vec();
                    packet.encode(dup, qos, retain, packet_id, &mut again);
                    again.extend_from_slice(behind);
                    assert!(again[6..] == expected, "{payload_len} bytes at {qos:?}");
                    assert_eq!(packet.len(packet_id), expected.len());
                }
            }
        }
    }
}
