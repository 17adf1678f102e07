//! What holds for all packets: a table of bytes and verdicts, and what follows from it.

use super::*;

fn decoder(version: ProtocolVersion, sender: Sender) -> Decoder {
    Decoder { version, sender, maximum_packet_size: MAXIMUM_PACKET_SIZE, connected: true }
}

fn decode(version: ProtocolVersion, sender: Sender, bytes: &[u8]) -> Packet<'_> {
    match decoder(version, sender).decode(bytes) {
        Ok(Decoded::Packet { packet, len }) if len == bytes.len() => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publish_decodes_and_encodes_to_the_same_bytes() {
    let bytes = b"\x3b\x13\x00\x03a/b\x00\x07\x08\x01\x01\x26\x00\x01k\x00\x00hi!";
    let bytes = [&bytes[..1], &[bytes.len() as u8 - 2], &bytes[2..]].concat();
    let packet = decode(ProtocolVersion::V5, Sender::Client, &bytes);
    let Packet::Publish(publish) = &packet else { panic!("{packet:?}") };
    assert_eq!((publish.topic, publish.payload), ("a/b", &b"hi!"[..]));
    assert!(publish.properties.raw_is_forward && publish.properties.payload_is_utf8);
    assert!(publish.properties.user_properties().iter().eq([("k", "")]));
    let mut out = Vec::new();
    packet.encode(ProtocolVersion::V5, &mut out);
    assert_eq!(out, bytes);
    assert_eq!(packet.encoded_len(ProtocolVersion::V5), out.len());
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("a test's packet id is not zero")
}

fn round_trip(version: ProtocolVersion, sender: Sender, packet: Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    assert_eq!(bytes.len(), packet.encoded_len(version), "{packet:?}");
    assert_eq!(decode(version, sender, &bytes), packet, "{bytes:02x?}");
}

#[test]
fn one_packet_of_each_type_comes_back_in_mqtt_5() {
    let ack = |code| Ack {
        packet_id: id(7),
        reason_code: code,
        reason_string: Some("why"),
        user_properties: UserProperties::from_pairs(&[("a", "1"), ("a", "2")]),
    };
    let options = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [("a/+", options), ("$share/g/#", SubscribeOptions::default())];
    let sub_ack = |codes| SubAck {
        packet_id: id(9),
        reason_codes: ReasonCodes::from_list(codes),
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    let connect = Connect {
        version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        properties: ConnectProperties { session_expiry_interval: Some(5), ..Default::default() },
        client_id: "c",
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: "w",
            payload: b"gone",
            will_delay_interval: 0,
            properties: PublishProperties::default(),
        }),
        user_name: Some(""),
        password: Some(&[0, 0xFF]),
    };
    let from_client = [
        Packet::Connect(connect),
        Packet::PubAck(ack(ReasonCode::NoMatchingSubscribers)),
        Packet::PubRec(ack(ReasonCode::QuotaExceeded)),
        Packet::PubRel(ack(ReasonCode::PacketIdentifierNotFound)),
        Packet::PubComp(ack(ReasonCode::Success)),
        Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_identifier: std::num::NonZeroU32::new(268_435_455),
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::from_list(&filters),
        }),
        Packet::Unsubscribe(Unsubscribe {
            packet_id: id(65_535),
            user_properties: UserProperties::from_pairs(&[("", "")]),
            filters: UnsubscribeFilters::from_list(&["a/+", "#"]),
        }),
        Packet::PingReq,
        Packet::Disconnect(Disconnect { session_expiry_interval: Some(0), ..Default::default() }),
        Packet::Auth(Auth {
            reason_code: ReasonCode::ContinueAuthentication,
            authentication_method: Some("SCRAM-SHA-256"),
            authentication_data: Some(&[1]),
            ..Default::default()
        }),
    ];
    from_client.into_iter().for_each(|packet| round_trip(ProtocolVersion::V5, Sender::Client, packet));
    let from_server = [
        Packet::ConnAck(ConnAck {
            session_present: true,
            properties: ConnAckProperties { maximum_qos: Some(QoS::AtLeastOnce), ..Default::default() },
            ..Default::default()
        }),
        Packet::SubAck(sub_ack(&[ReasonCode::GrantedQoS2, ReasonCode::NotAuthorized])),
        Packet::UnsubAck(sub_ack(&[ReasonCode::NoSubscriptionExisted])),
        Packet::PingResp,
        Packet::Disconnect(Disconnect { reason_code: ReasonCode::SessionTakenOver, ..Default::default() }),
    ];
    from_server.into_iter().for_each(|packet| round_trip(ProtocolVersion::V5, Sender::Server, packet));
}
