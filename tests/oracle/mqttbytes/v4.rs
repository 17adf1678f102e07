//! Packets of `mqttbytes::v4` in our words.

use bytes::BytesMut;

use super::theirs::v4::{self, Packet as Their};
use super::theirs::{Error, Protocol};
use super::*;

pub fn written(packet: &Their) -> Result<Vec<u8>, Error> {
    let mut out = BytesMut::new();
    match packet {
        Their::Connect(it) => it.write(&mut out),
        Their::ConnAck(it) => it.write(&mut out),
        Their::Publish(it) => it.write(&mut out),
        Their::PubAck(it) => it.write(&mut out),
        Their::PubRec(it) => it.write(&mut out),
        Their::PubRel(it) => it.write(&mut out),
        Their::PubComp(it) => it.write(&mut out),
        Their::Subscribe(it) => it.write(&mut out),
        Their::SubAck(it) => it.write(&mut out),
        Their::Unsubscribe(it) => it.write(&mut out),
        Their::UnsubAck(it) => it.write(&mut out),
        Their::PingReq => v4::PingReq.write(&mut out),
        Their::PingResp => v4::PingResp.write(&mut out),
        Their::Disconnect => v4::Disconnect.write(&mut out),
    }?;
    Ok(out.to_vec())
}

/// `None` when it says what no packet can.
pub fn translated(packet: &Their) -> Option<Packet<'static>> {
    Some(match packet {
        Their::Connect(it) => Packet::Connect(connect(it)),
        Their::ConnAck(it) => Packet::ConnAck(ConnAck {
            session_present: it.session_present,
            reason_code: return_code(it.code),
            ..Default::default()
        }),
        Their::Publish(it) => Packet::Publish(Publish {
            dup: it.dup,
            qos: qos(it.qos),
            retain: it.retain,
            topic: text(&it.topic),
            packet_id: PacketId::new(it.pkid),
            properties: PublishProperties::default(),
            payload: binary(&it.payload),
        }),
        Their::PubAck(it) => Packet::PubAck(ack(it.pkid)?),
        Their::PubRec(it) => Packet::PubRec(ack(it.pkid)?),
        Their::PubRel(it) => Packet::PubRel(ack(it.pkid)?),
        Their::PubComp(it) => Packet::PubComp(ack(it.pkid)?),
        Their::Subscribe(it) => Packet::Subscribe(subscribe(it)?),
        Their::SubAck(it) => Packet::SubAck(sub_ack(it.pkid, it.return_codes.iter().map(granted).collect())?),
        Their::Unsubscribe(it) => Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::new(it.pkid)?,
            user_properties: UserProperties::default(),
            filters: UnsubscribeFilters::from_list(normal::leak(it.topics.iter().map(|it| text(it)).collect())),
        }),
        Their::UnsubAck(it) => Packet::UnsubAck(sub_ack(it.pkid, Vec::new())?),
        Their::PingReq => Packet::PingReq,
        Their::PingResp => Packet::PingResp,
        Their::Disconnect => Packet::Disconnect(Disconnect::default()),
    })
}

fn connect(it: &v4::Connect) -> Connect<'static> {
    Connect {
        version: if it.protocol == Protocol::V5 { ProtocolVersion::V5 } else { ProtocolVersion::V4 },
        bridge: false,
        clean_start: it.clean_session,
        keep_alive: it.keep_alive,
        properties: ConnectProperties::default(),
        client_id: text(&it.client_id),
        will: it.last_will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            retain: will.retain,
            topic: text(&will.topic),
            payload: binary(&will.message),
            will_delay_interval: 0,
            properties: PublishProperties::default(),
        }),
        user_name: it.login.as_ref().map(|login| text(&login.username)),
        password: it.login.as_ref().map(|login| binary(login.password.as_bytes())).filter(|it| !it.is_empty()),
    }
}

fn return_code(code: v4::ConnectReturnCode) -> ReasonCode {
    match code {
        v4::ConnectReturnCode::Success => ReasonCode::Success,
        v4::ConnectReturnCode::RefusedProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
        v4::ConnectReturnCode::BadClientId => ReasonCode::ClientIdentifierNotValid,
        v4::ConnectReturnCode::ServiceUnavailable => ReasonCode::ServerUnavailable,
        v4::ConnectReturnCode::BadUserNamePassword => ReasonCode::BadUserNameOrPassword,
        v4::ConnectReturnCode::NotAuthorized => ReasonCode::NotAuthorized,
    }
}

fn ack(packet_id: u16) -> Option<Ack<'static>> {
    Some(Ack {
        packet_id: PacketId::new(packet_id)?,
        reason_code: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    })
}

fn subscribe(it: &v4::Subscribe) -> Option<Subscribe<'static>> {
    let options = |maximum| SubscribeOptions { qos: qos(maximum), ..Default::default() };
    let filters = it.filters.iter().map(|filter| (text(&filter.path), options(filter.qos))).collect();
    Some(Subscribe {
        packet_id: PacketId::new(it.pkid)?,
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_list(normal::leak(filters)),
    })
}

fn granted(code: &v4::SubscribeReasonCode) -> ReasonCode {
    match code {
        v4::SubscribeReasonCode::Success(granted) => ReasonCode::from_u8(*granted as u8).expect("0 to 2"),
        v4::SubscribeReasonCode::Failure => ReasonCode::UnspecifiedError,
    }
}

fn sub_ack(packet_id: u16, codes: Vec<ReasonCode>) -> Option<SubAck<'static>> {
    Some(SubAck {
        packet_id: PacketId::new(packet_id)?,
        reason_codes: ReasonCodes::from_list(normal::leak(codes)),
        reason_string: None,
        user_properties: UserProperties::default(),
    })
}
