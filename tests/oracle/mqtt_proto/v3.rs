//! Packets of `mqtt_proto::v3` in our words.

use super::normal::leak;
use super::theirs::Protocol;
use super::theirs::v3::{self, Packet as Their};
use super::*;

/// `None` when it says what no packet can.
pub fn translated(packet: &Their) -> Option<Packet<'static>> {
    Some(match packet {
        Their::Connect(it) => Packet::Connect(connect(it)?),
        Their::Connack(it) => Packet::ConnAck(ConnAck {
            session_present: it.session_present,
            reason_code: return_code(it.code),
            ..Default::default()
        }),
        Their::Publish(it) => Packet::Publish(Publish {
            dup: it.dup,
            qos: qos(it.qos_pid.qos()),
            retain: it.retain,
            topic: text(&it.topic_name),
            packet_id: it.qos_pid.pid().map(packet_id),
            properties: PublishProperties::default(),
            payload: binary(&it.payload),
        }),
        Their::Puback(pid) => Packet::PubAck(ack(*pid)),
        Their::Pubrec(pid) => Packet::PubRec(ack(*pid)),
        Their::Pubrel(pid) => Packet::PubRel(ack(*pid)),
        Their::Pubcomp(pid) => Packet::PubComp(ack(*pid)),
        Their::Subscribe(it) => Packet::Subscribe(subscribe(it)),
        Their::Suback(it) => Packet::SubAck(sub_ack(it.pid, it.topics.iter().map(granted).collect())),
        Their::Unsubscribe(it) => Packet::Unsubscribe(Unsubscribe {
            packet_id: packet_id(it.pid),
            user_properties: UserProperties::default(),
            filters: UnsubscribeFilters::from_list(leak(it.topics.iter().map(|it| text(it)).collect())),
        }),
        Their::Unsuback(pid) => Packet::UnsubAck(sub_ack(*pid, Vec::new())),
        Their::Pingreq => Packet::PingReq,
        Their::Pingresp => Packet::PingResp,
        Their::Disconnect => Packet::Disconnect(Disconnect::default()),
    })
}

fn connect(it: &v3::Connect) -> Option<Connect<'static>> {
    Some(Connect {
        version: match it.protocol {
            Protocol::V310 => ProtocolVersion::V3,
            Protocol::V311 => ProtocolVersion::V4,
            Protocol::V500 => return None,
        },
        bridge: false,
        clean_start: it.clean_session,
        keep_alive: it.keep_alive,
        properties: ConnectProperties::default(),
        client_id: text(&it.client_id),
        will: it.last_will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            retain: will.retain,
            topic: text(&will.topic_name),
            payload: binary(&will.message),
            will_delay_interval: 0,
            properties: PublishProperties::default(),
        }),
        user_name: it.username.as_deref().map(text),
        password: it.password.as_deref().map(binary),
    })
}

fn return_code(code: v3::ConnectReturnCode) -> ReasonCode {
    match code {
        v3::ConnectReturnCode::Accepted => ReasonCode::Success,
        v3::ConnectReturnCode::UnacceptableProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
        v3::ConnectReturnCode::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
        v3::ConnectReturnCode::ServerUnavailable => ReasonCode::ServerUnavailable,
        v3::ConnectReturnCode::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
        v3::ConnectReturnCode::NotAuthorized => ReasonCode::NotAuthorized,
    }
}

fn ack(pid: theirs::Pid) -> Ack<'static> {
    Ack {
        packet_id: packet_id(pid),
        reason_code: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    }
}

fn subscribe(it: &v3::Subscribe) -> Subscribe<'static> {
    let options = |maximum| SubscribeOptions { qos: qos(maximum), ..Default::default() };
    let filters = it.topics.iter().map(|(filter, maximum)| (text(filter), options(*maximum))).collect();
    Subscribe {
        packet_id: packet_id(it.pid),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_list(leak(filters)),
    }
}

fn granted(code: &v3::SubscribeReturnCode) -> ReasonCode {
    match code {
        v3::SubscribeReturnCode::MaxLevel0 => ReasonCode::GRANTED_QOS_0,
        v3::SubscribeReturnCode::MaxLevel1 => ReasonCode::GrantedQoS1,
        v3::SubscribeReturnCode::MaxLevel2 => ReasonCode::GrantedQoS2,
        v3::SubscribeReturnCode::Failure => ReasonCode::UnspecifiedError,
    }
}

fn sub_ack(pid: theirs::Pid, codes: Vec<ReasonCode>) -> SubAck<'static> {
    SubAck {
        packet_id: packet_id(pid),
        reason_codes: ReasonCodes::from_list(leak(codes)),
        reason_string: None,
        user_properties: UserProperties::default(),
    }
}
