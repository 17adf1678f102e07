//! Packets of `mqttbytes::v5` in our words.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::BytesMut;

use super::normal::{encoded, leak, non_zero, switch};
use super::theirs::v5::{self, Packet as Their};
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
        Their::PingReq => v5::PingReq.write(&mut out),
        Their::PingResp => v5::PingResp.write(&mut out),
        Their::Disconnect(it) => it.write(&mut out),
    }?;
    Ok(out.to_vec())
}

/// The four acks, and the two of subscriptions, are types of their own there, with the same fields.
macro_rules! ack {
    ($it:expr) => {
        Ack {
            packet_id: PacketId::new($it.pkid)?,
            reason_code: code($it.reason as u8),
            reason_string: $it.properties.as_ref().and_then(|it| optional(&it.reason_string)),
            user_properties: pairs($it.properties.as_ref().map(|it| &it.user_properties)),
        }
    };
}

macro_rules! sub_ack {
    ($it:expr, $codes:expr) => {
        SubAck {
            packet_id: PacketId::new($it.pkid)?,
            reason_codes: ReasonCodes::from_list(leak($codes.iter().map(|it| code(*it as u8)).collect())),
            reason_string: $it.properties.as_ref().and_then(|it| optional(&it.reason_string)),
            user_properties: pairs($it.properties.as_ref().map(|it| &it.user_properties)),
        }
    };
}

/// `None` when it says what no packet can.
pub fn translated(packet: &Their) -> Option<Packet<'static>> {
    Some(match packet {
        Their::Connect(it) => Packet::Connect(connect(it)?),
        Their::ConnAck(it) => Packet::ConnAck(connack(it)?),
        Their::Publish(it) => Packet::Publish(publish(it)?),
        Their::PubAck(it) => Packet::PubAck(ack!(it)),
        Their::PubRec(it) => Packet::PubRec(ack!(it)),
        Their::PubRel(it) => Packet::PubRel(ack!(it)),
        Their::PubComp(it) => Packet::PubComp(ack!(it)),
        Their::Subscribe(it) => Packet::Subscribe(subscribe(it)?),
        Their::SubAck(it) => Packet::SubAck(sub_ack!(it, it.return_codes)),
        Their::Unsubscribe(it) => Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::new(it.pkid)?,
            user_properties: pairs(it.properties.as_ref().map(|it| &it.user_properties)),
            filters: UnsubscribeFilters::from_list(leak(it.filters.iter().map(|it| text(it)).collect())),
        }),
        Their::UnsubAck(it) => Packet::UnsubAck(sub_ack!(it, it.reasons)),
        Their::PingReq => Packet::PingReq,
        Their::PingResp => Packet::PingResp,
        Their::Disconnect(it) => Packet::Disconnect(disconnect(it)),
    })
}

fn code(code: u8) -> ReasonCode {
    ReasonCode::from_u8(code).expect("their codes are the standard's")
}

fn pairs(pairs: Option<&Vec<(String, String)>>) -> UserProperties<'static> {
    pairs.map_or_else(UserProperties::default, |pairs| user_properties(pairs))
}

fn optional_bytes(value: &Option<bytes::Bytes>) -> Option<&'static [u8]> {
    value.as_deref().map(binary)
}

fn connect(it: &v5::Connect) -> Option<Connect<'static>> {
    Some(Connect {
        version: if it.protocol == Protocol::V5 { ProtocolVersion::V5 } else { ProtocolVersion::V4 },
        bridge: false,
        clean_start: it.clean_session,
        keep_alive: it.keep_alive,
        properties: connect_properties(it.properties.as_ref())?,
        client_id: text(&it.client_id),
        will: match &it.last_will {
            Some(it) => Some(will(it)?),
            None => None,
        },
        user_name: it.login.as_ref().map(|login| text(&login.username)),
        password: it.login.as_ref().map(|login| binary(login.password.as_bytes())).filter(|it| !it.is_empty()),
    })
}

fn connect_properties(it: Option<&v5::ConnectProperties>) -> Option<ConnectProperties<'static>> {
    let Some(it) = it else { return Some(ConnectProperties::default()) };
    Some(ConnectProperties {
        session_expiry_interval: it.session_expiry_interval,
        receive_maximum: non_zero(it.receive_maximum, NonZeroU16::new)?,
        maximum_packet_size: non_zero(it.max_packet_size, NonZeroU32::new)?,
        topic_alias_maximum: it.topic_alias_max.unwrap_or(0),
        request_response_information: switch(it.request_response_info)?.unwrap_or(false),
        request_problem_information: switch(it.request_problem_info)?,
        authentication_method: optional(&it.authentication_method),
        authentication_data: optional_bytes(&it.authentication_data),
        user_properties: user_properties(&it.user_properties),
    })
}

fn will(it: &v5::LastWill) -> Option<Will<'static>> {
    let delay = it.properties.as_ref().and_then(|it| it.delay_interval);
    Some(Will {
        qos: qos(it.qos),
        retain: it.retain,
        topic: text(&it.topic),
        payload: binary(&it.message),
        will_delay_interval: delay.unwrap_or(0),
        properties: match &it.properties {
            Some(it) => will_properties(it)?,
            None => PublishProperties::default(),
        },
    })
}

fn will_properties(it: &v5::WillProperties) -> Option<PublishProperties<'static>> {
    let format = switch(it.payload_format_indicator)?;
    let properties = [
        format.map(Property::PayloadFormatIndicator),
        it.message_expiry_interval.map(Property::MessageExpiryInterval),
        optional(&it.content_type).map(Property::ContentType),
        optional(&it.response_topic).map(Property::ResponseTopic),
        optional_bytes(&it.correlation_data).map(Property::CorrelationData),
        it.delay_interval.map(Property::WillDelayInterval),
    ];
    let pairs = it.user_properties.iter().map(|(name, value)| Property::UserProperty(text(name), text(value)));
    Some(PublishProperties {
        raw: encoded(properties.into_iter().flatten().chain(pairs)),
        raw_is_forward: it.delay_interval.is_none() && it.message_expiry_interval.is_none(),
        payload_is_utf8: format.unwrap_or(false),
        message_expiry_interval: it.message_expiry_interval,
        response_topic: optional(&it.response_topic),
        ..Default::default()
    })
}

fn connack(it: &v5::ConnAck) -> Option<ConnAck<'static>> {
    Some(ConnAck {
        session_present: it.session_present,
        reason_code: code(it.code as u8),
        properties: match &it.properties {
            Some(it) => connack_properties(it)?,
            None => ConnAckProperties::default(),
        },
    })
}

fn connack_properties(it: &v5::ConnAckProperties) -> Option<ConnAckProperties<'static>> {
    let maximum_qos = switch(it.max_qos)?;
    Some(ConnAckProperties {
        session_expiry_interval: it.session_expiry_interval,
        receive_maximum: non_zero(it.receive_max, NonZeroU16::new)?,
        maximum_qos: maximum_qos.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
        retain_available: switch(it.retain_available)?,
        maximum_packet_size: non_zero(it.max_packet_size, NonZeroU32::new)?,
        assigned_client_identifier: optional(&it.assigned_client_identifier),
        topic_alias_maximum: it.topic_alias_max,
        reason_string: optional(&it.reason_string),
        user_properties: user_properties(&it.user_properties),
        wildcard_subscription_available: switch(it.wildcard_subscription_available)?,
        subscription_identifiers_available: switch(it.subscription_identifiers_available)?,
        shared_subscription_available: switch(it.shared_subscription_available)?,
        server_keep_alive: it.server_keep_alive,
        response_information: optional(&it.response_information),
        server_reference: optional(&it.server_reference),
        authentication_method: optional(&it.authentication_method),
        authentication_data: optional_bytes(&it.authentication_data),
    })
}

fn publish(it: &v5::Publish) -> Option<Publish<'static>> {
    Some(Publish {
        dup: it.dup,
        qos: qos(it.qos),
        retain: it.retain,
        topic: text(&it.topic),
        packet_id: PacketId::new(it.pkid),
        properties: match &it.properties {
            Some(it) => publish_properties(it)?,
            None => PublishProperties::default(),
        },
        payload: binary(&it.payload),
    })
}

fn publish_properties(it: &v5::PublishProperties) -> Option<PublishProperties<'static>> {
    let mut properties: Vec<_> = [
        switch(it.payload_format_indicator)?.map(Property::PayloadFormatIndicator),
        it.message_expiry_interval.map(Property::MessageExpiryInterval),
        optional(&it.content_type).map(Property::ContentType),
        optional(&it.response_topic).map(Property::ResponseTopic),
        optional_bytes(&it.correlation_data).map(Property::CorrelationData),
        non_zero(it.topic_alias, NonZeroU16::new)?.map(Property::TopicAlias),
    ]
    .into_iter()
    .flatten()
    .collect();
    for id in &it.subscription_identifiers {
        properties.push(Property::SubscriptionIdentifier(NonZeroU32::new(u32::try_from(*id).ok()?)?));
    }
    properties.extend(it.user_properties.iter().map(|(name, value)| Property::UserProperty(text(name), text(value))));
    PublishProperties::decode(encoded(properties), Sender::Server).ok()
}

fn subscribe(it: &v5::Subscribe) -> Option<Subscribe<'static>> {
    let identifier = it.properties.as_ref().and_then(|it| it.id).map(u32::try_from).transpose().ok()?;
    let filters = it.filters.iter().map(|filter| (text(&filter.path), options(filter))).collect();
    Some(Subscribe {
        packet_id: PacketId::new(it.pkid)?,
        subscription_identifier: non_zero(identifier, NonZeroU32::new)?,
        user_properties: pairs(it.properties.as_ref().map(|it| &it.user_properties)),
        filters: SubscribeFilters::from_list(leak(filters)),
    })
}

fn options(it: &v5::SubscribeFilter) -> SubscribeOptions {
    SubscribeOptions {
        qos: qos(it.qos),
        no_local: it.nolocal,
        retain_as_published: it.preserve_retain,
        retain_handling: match it.retain_forward_rule {
            v5::RetainForwardRule::OnEverySubscribe => RetainHandling::SendAtSubscribe,
            v5::RetainForwardRule::OnNewSubscribe => RetainHandling::SendIfNew,
            v5::RetainForwardRule::Never => RetainHandling::DoNotSend,
        },
    }
}

fn disconnect(it: &v5::Disconnect) -> Disconnect<'static> {
    let properties = it.properties.as_ref();
    Disconnect {
        reason_code: code(it.reason_code as u8),
        session_expiry_interval: properties.and_then(|it| it.session_expiry_interval),
        reason_string: properties.and_then(|it| optional(&it.reason_string)),
        server_reference: properties.and_then(|it| optional(&it.server_reference)),
        user_properties: pairs(properties.map(|it| &it.user_properties)),
    }
}
