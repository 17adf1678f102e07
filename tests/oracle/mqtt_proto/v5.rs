//! Packets of `mqtt_proto::v5` in our words.

use std::num::{NonZeroU16, NonZeroU32};

use super::normal::{encoded, leak, non_zero};
use super::theirs::v5::{self, Packet as Their};
use super::*;

/// The four acks, and the two of subscriptions, are types of their own there, with the same fields.
macro_rules! ack {
    ($it:expr) => {
        Ack {
            packet_id: packet_id($it.pid),
            reason_code: code($it.reason_code as u8),
            reason_string: optional(&$it.properties.reason_string),
            user_properties: user_properties(&$it.properties.user_properties),
        }
    };
}

macro_rules! sub_ack {
    ($it:expr) => {
        SubAck {
            packet_id: packet_id($it.pid),
            reason_codes: ReasonCodes::from_list(leak($it.topics.iter().map(|it| code(*it as u8)).collect())),
            reason_string: optional(&$it.properties.reason_string),
            user_properties: user_properties(&$it.properties.user_properties),
        }
    };
}

/// `None` when it says what no packet can.
pub fn translated(packet: &Their) -> Option<Packet<'static>> {
    Some(match packet {
        Their::Connect(it) => Packet::Connect(connect(it)?),
        Their::Connack(it) => Packet::ConnAck(connack(it)?),
        Their::Publish(it) => Packet::Publish(publish(it)?),
        Their::Puback(it) => Packet::PubAck(ack!(it)),
        Their::Pubrec(it) => Packet::PubRec(ack!(it)),
        Their::Pubrel(it) => Packet::PubRel(ack!(it)),
        Their::Pubcomp(it) => Packet::PubComp(ack!(it)),
        Their::Subscribe(it) => Packet::Subscribe(subscribe(it)?),
        Their::Suback(it) => Packet::SubAck(sub_ack!(it)),
        Their::Unsubscribe(it) => Packet::Unsubscribe(Unsubscribe {
            packet_id: packet_id(it.pid),
            user_properties: user_properties(&it.properties.user_properties),
            filters: UnsubscribeFilters::from_list(leak(it.topics.iter().map(|it| text(it)).collect())),
        }),
        Their::Unsuback(it) => Packet::UnsubAck(sub_ack!(it)),
        Their::Pingreq => Packet::PingReq,
        Their::Pingresp => Packet::PingResp,
        Their::Disconnect(it) => Packet::Disconnect(Disconnect {
            reason_code: code(it.reason_code as u8),
            session_expiry_interval: it.properties.session_expiry_interval,
            reason_string: optional(&it.properties.reason_string),
            server_reference: optional(&it.properties.server_reference),
            user_properties: user_properties(&it.properties.user_properties),
        }),
        Their::Auth(it) => Packet::Auth(Auth {
            reason_code: code(it.reason_code as u8),
            authentication_method: optional(&it.properties.auth_method),
            authentication_data: optional_bytes(&it.properties.auth_data),
            reason_string: optional(&it.properties.reason_string),
            user_properties: user_properties(&it.properties.user_properties),
        }),
    })
}

fn code(code: u8) -> ReasonCode {
    ReasonCode::from_u8(code).expect("their codes are the standard's")
}

fn optional_bytes(value: &Option<bytes::Bytes>) -> Option<&'static [u8]> {
    value.as_deref().map(binary)
}

fn user_properties(pairs: &[v5::UserProperty]) -> UserProperties<'static> {
    UserProperties::from_pairs(leak(pairs.iter().map(|it| (text(&it.name), text(&it.value))).collect()))
}

fn user_property(it: &v5::UserProperty) -> Property<'static> {
    Property::UserProperty(text(&it.name), text(&it.value))
}

fn connect(it: &v5::Connect) -> Option<Connect<'static>> {
    let properties = &it.properties;
    Some(Connect {
        version: ProtocolVersion::V5,
        bridge: false,
        clean_start: it.clean_start,
        keep_alive: it.keep_alive,
        properties: ConnectProperties {
            session_expiry_interval: properties.session_expiry_interval,
            receive_maximum: non_zero(properties.receive_max, NonZeroU16::new)?,
            maximum_packet_size: non_zero(properties.max_packet_size, NonZeroU32::new)?,
            topic_alias_maximum: properties.topic_alias_max.unwrap_or(0),
            request_response_information: properties.request_response_info.unwrap_or(false),
            request_problem_information: properties.request_problem_info,
            authentication_method: optional(&properties.auth_method),
            authentication_data: optional_bytes(&properties.auth_data),
            user_properties: user_properties(&properties.user_properties),
        },
        client_id: text(&it.client_id),
        will: it.last_will.as_ref().map(will),
        user_name: it.username.as_deref().map(text),
        password: it.password.as_deref().map(binary),
    })
}

fn will(it: &v5::LastWill) -> Will<'static> {
    let properties = &it.properties;
    let response_topic = properties.response_topic.as_deref().map(text);
    let present = [
        properties.payload_is_utf8.map(Property::PayloadFormatIndicator),
        properties.message_expiry_interval.map(Property::MessageExpiryInterval),
        optional(&properties.content_type).map(Property::ContentType),
        response_topic.map(Property::ResponseTopic),
        optional_bytes(&properties.correlation_data).map(Property::CorrelationData),
        properties.delay_interval.map(Property::WillDelayInterval),
    ];
    let pairs = properties.user_properties.iter().map(user_property);
    Will {
        qos: qos(it.qos),
        retain: it.retain,
        topic: text(&it.topic_name),
        payload: binary(&it.payload),
        will_delay_interval: properties.delay_interval.unwrap_or(0),
        properties: PublishProperties {
            raw: encoded(present.into_iter().flatten().chain(pairs)),
            raw_is_forward: properties.delay_interval.is_none() && properties.message_expiry_interval.is_none(),
            payload_is_utf8: properties.payload_is_utf8.unwrap_or(false),
            message_expiry_interval: properties.message_expiry_interval,
            response_topic,
            ..Default::default()
        },
    }
}

fn connack(it: &v5::Connack) -> Option<ConnAck<'static>> {
    let properties = &it.properties;
    Some(ConnAck {
        session_present: it.session_present,
        reason_code: code(it.reason_code as u8),
        properties: ConnAckProperties {
            session_expiry_interval: properties.session_expiry_interval,
            receive_maximum: non_zero(properties.receive_max, NonZeroU16::new)?,
            maximum_qos: properties.max_qos.map(qos),
            retain_available: properties.retain_available,
            maximum_packet_size: non_zero(properties.max_packet_size, NonZeroU32::new)?,
            assigned_client_identifier: optional(&properties.assigned_client_id),
            topic_alias_maximum: properties.topic_alias_max,
            reason_string: optional(&properties.reason_string),
            user_properties: user_properties(&properties.user_properties),
            wildcard_subscription_available: properties.wildcard_subscription_available,
            subscription_identifiers_available: properties.subscription_id_available,
            shared_subscription_available: properties.shared_subscription_available,
            server_keep_alive: properties.server_keep_alive,
            response_information: optional(&properties.response_info),
            server_reference: optional(&properties.server_reference),
            authentication_method: optional(&properties.auth_method),
            authentication_data: optional_bytes(&properties.auth_data),
        },
    })
}

fn publish(it: &v5::Publish) -> Option<Publish<'static>> {
    Some(Publish {
        dup: it.dup,
        qos: qos(it.qos_pid.qos()),
        retain: it.retain,
        topic: text(&it.topic_name),
        packet_id: it.qos_pid.pid().map(packet_id),
        properties: publish_properties(&it.properties)?,
        payload: binary(&it.payload),
    })
}

fn publish_properties(it: &v5::PublishProperties) -> Option<PublishProperties<'static>> {
    let identifier = non_zero(it.subscription_id.map(|it| it.value()), NonZeroU32::new)?;
    let present = [
        it.payload_is_utf8.map(Property::PayloadFormatIndicator),
        it.message_expiry_interval.map(Property::MessageExpiryInterval),
        optional(&it.content_type).map(Property::ContentType),
        it.response_topic.as_deref().map(text).map(Property::ResponseTopic),
        optional_bytes(&it.correlation_data).map(Property::CorrelationData),
        identifier.map(Property::SubscriptionIdentifier),
        non_zero(it.topic_alias, NonZeroU16::new)?.map(Property::TopicAlias),
    ];
    let pairs = it.user_properties.iter().map(user_property);
    PublishProperties::decode(encoded(present.into_iter().flatten().chain(pairs)), Sender::Server).ok()
}

fn subscribe(it: &v5::Subscribe) -> Option<Subscribe<'static>> {
    let filters = it.topics.iter().map(|(filter, it)| (text(filter), options(it))).collect();
    Some(Subscribe {
        packet_id: packet_id(it.pid),
        subscription_identifier: non_zero(it.properties.subscription_id.map(|it| it.value()), NonZeroU32::new)?,
        user_properties: user_properties(&it.properties.user_properties),
        filters: SubscribeFilters::from_list(leak(filters)),
    })
}

fn options(it: &v5::SubscriptionOptions) -> SubscribeOptions {
    SubscribeOptions {
        qos: qos(it.max_qos),
        no_local: it.no_local,
        retain_as_published: it.retain_as_published,
        retain_handling: match it.retain_handling {
            v5::RetainHandling::SendAtSubscribe => RetainHandling::SendAtSubscribe,
            v5::RetainHandling::SendAtSubscribeIfNotExist => RetainHandling::SendIfNew,
            v5::RetainHandling::DoNotSend => RetainHandling::DoNotSend,
        },
    }
}
