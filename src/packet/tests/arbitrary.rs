//! Any packet at all, made from its parts.

use std::num::{NonZeroU16, NonZeroU32};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases::{Client, Server, V3, V4, V5};
use super::*;

/// Packets borrow; what a test generates may live as long as the test run.
fn leak_str(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn leak<T>(items: Vec<T>) -> &'static [T] {
    Box::leak(items.into_boxed_slice())
}

fn text() -> impl Strategy<Value = &'static str> + Clone {
    vec(any::<char>().prop_filter("U+0000 is no text", |c| *c != '\0'), 0..12)
        .prop_map(|chars| leak_str(chars.into_iter().collect()))
}

fn topic() -> impl Strategy<Value = &'static str> + Clone {
    "[a-z/ä𝄞$ ]{1,20}".prop_map(leak_str)
}

fn filter() -> impl Strategy<Value = &'static str> {
    "(\\$share/[a-z]{1,3}/)?(\\+|[a-z$ä]{1,4})(/(\\+|[a-z]{0,4})){0,4}(/#)?".prop_map(leak_str)
}

fn binary() -> impl Strategy<Value = &'static [u8]> + Clone {
    vec(any::<u8>(), 0..40).prop_map(leak)
}

fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    vec((text(), text()), 0..4).prop_map(|pairs| UserProperties::from_pairs(leak(pairs)))
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<NonZeroU16>()
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn code(packet_type: PacketType, sender: Sender) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> = (0..=u8::MAX).filter_map(ReasonCode::from_u8).collect();
    select(codes.into_iter().filter(|code| code.belongs_to(packet_type, sender)).collect::<Vec<_>>())
}

fn identifier() -> impl Strategy<Value = NonZeroU32> {
    (1u32..=268_435_455).prop_filter_map("identifiers are not zero", NonZeroU32::new)
}

fn property() -> impl Strategy<Value = Property<'static>> {
    prop_oneof![
        any::<bool>().prop_map(Property::PayloadFormatIndicator),
        any::<u32>().prop_map(Property::MessageExpiryInterval),
        text().prop_map(Property::ContentType),
        topic().prop_map(Property::ResponseTopic),
        binary().prop_map(Property::CorrelationData),
        identifier().prop_map(Property::SubscriptionIdentifier),
        any::<NonZeroU16>().prop_map(Property::TopicAlias),
        (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value)),
    ]
}

/// Properties in any order, none twice that may be there once.
fn publish_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    vec(property(), 0..8).prop_map(|properties| {
        let mut raw = Vec::new();
        let mut seen = Vec::new();
        for property in properties {
            let repeats = matches!(property, Property::UserProperty(..) | Property::SubscriptionIdentifier(_));
            if repeats || !seen.contains(&property.id()) {
                seen.push(property.id());
                property.encode(&mut raw);
            }
        }
        PublishProperties::decode(leak(raw), Server).expect("the generator makes valid properties")
    })
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let fields = (any::<bool>(), qos(), any::<bool>(), topic(), packet_id(), publish_properties(), binary());
    fields.prop_map(move |(dup, qos, retain, topic, packet_id, properties, payload)| {
        let acknowledged = qos != QoS::AtMostOnce;
        let properties = if version == V5 { properties } else { PublishProperties::default() };
        let packet_id = acknowledged.then_some(packet_id);
        Packet::Publish(Publish { dup: dup && acknowledged, qos, retain, topic, packet_id, properties, payload })
    })
}

prop_compose! {
    fn connect_properties()(
        session_expiry_interval in of(any::<u32>()),
        receive_maximum in of(any::<NonZeroU16>()),
        maximum_packet_size in of(any::<NonZeroU32>()),
        topic_alias_maximum in any::<u16>(),
        request_response_information in any::<bool>(),
        request_problem_information in of(any::<bool>()),
        authentication in of((text(), of(binary()))),
        user_properties in user_properties(),
    ) -> ConnectProperties<'static> {
        ConnectProperties {
            session_expiry_interval,
            receive_maximum,
            maximum_packet_size,
            topic_alias_maximum,
            request_response_information,
            request_problem_information,
            authentication_method: authentication.map(|(method, _)| method),
            authentication_data: authentication.and_then(|(_, data)| data),
            user_properties,
        }
    }
}

/// Will properties as a CONNECT holds them: delay first.
fn will() -> impl Strategy<Value = Will<'static>> {
    let fields = (qos(), any::<bool>(), topic(), binary(), any::<u32>(), of(any::<u32>()), of(text()));
    fields.prop_map(|(qos, retain, topic, payload, will_delay_interval, expiry, content_type)| {
        let mut raw = Vec::new();
        Property::WillDelayInterval(will_delay_interval).encode(&mut raw);
        expiry.iter().for_each(|seconds| Property::MessageExpiryInterval(*seconds).encode(&mut raw));
        content_type.iter().for_each(|text| Property::ContentType(text).encode(&mut raw));
        let properties = PublishProperties {
            raw: leak(raw),
            raw_is_forward: false,
            message_expiry_interval: expiry,
            ..Default::default()
        };
        Will { qos, retain, topic, payload, will_delay_interval, properties }
    })
}

prop_compose! {
    fn connect(version: ProtocolVersion)(
        bridge in any::<bool>(),
        clean_start in any::<bool>(),
        keep_alive in any::<u16>(),
        properties in connect_properties(),
        client_id in text(),
        will in of(will()),
        user_name in of(text()),
        password in of(binary()),
    ) -> Packet<'static> {
        let new = version == V5;
        let will = will.map(|will| if new { will } else {
            Will { will_delay_interval: 0, properties: PublishProperties::default(), ..will }
        });
        Packet::Connect(Connect {
            version,
            bridge: bridge && !new,
            clean_start,
            keep_alive,
            properties: if new { properties } else { ConnectProperties::default() },
            client_id,
            will,
            user_name,
            password: password.filter(|_| new || user_name.is_some()),
        })
    }
}

prop_compose! {
    fn connack_properties()(
        numbers in (of(any::<u32>()), of(any::<NonZeroU16>()), of(any::<NonZeroU32>()), of(any::<u16>()), of(any::<u16>())),
        switches in [of(any::<bool>()), of(any::<bool>()), of(any::<bool>()), of(any::<bool>()), of(any::<bool>())],
        texts in [of(text()), of(text()), of(text()), of(text()), of(text())],
        authentication_data in of(binary()),
        user_properties in user_properties(),
    ) -> ConnAckProperties<'static> {
        let qos = |one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        ConnAckProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            server_keep_alive: numbers.4,
            maximum_qos: switches[0].map(qos),
            retain_available: switches[1],
            wildcard_subscription_available: switches[2],
            subscription_identifiers_available: switches[3],
            shared_subscription_available: switches[4],
            assigned_client_identifier: texts[0],
            reason_string: texts[1],
            response_information: texts[2],
            server_reference: texts[3],
            authentication_method: texts[4],
            authentication_data,
            user_properties,
        }
    }
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let fields = (any::<bool>(), code(PacketType::ConnAck, Server), connack_properties());
    fields.prop_map(move |(session_present, reason_code, properties)| {
        let reason_code = if version == V5 { reason_code } else { as_said_in_3_x(reason_code) };
        Packet::ConnAck(ConnAck {
            session_present: session_present && reason_code == ReasonCode::Success,
            reason_code,
            properties: if version == V5 { properties } else { ConnAckProperties::default() },
        })
    })
}

fn as_said_in_3_x(code: ReasonCode) -> ReasonCode {
    match code.connect_return_code() {
        0 => ReasonCode::Success,
        1 => ReasonCode::UnsupportedProtocolVersion,
        2 => ReasonCode::ClientIdentifierNotValid,
        3 => ReasonCode::ServerUnavailable,
        4 => ReasonCode::BadUserNameOrPassword,
        _ => ReasonCode::NotAuthorized,
    }
}

fn ack(
    version: ProtocolVersion,
    packet_type: PacketType,
    wrap: fn(Ack<'static>) -> Packet<'static>,
) -> impl Strategy<Value = Packet<'static>> {
    let fields = (packet_id(), code(packet_type, Client), of(text()), user_properties());
    fields.prop_map(move |(packet_id, reason_code, reason_string, user_properties)| {
        wrap(if version == V5 {
            Ack { packet_id, reason_code, reason_string, user_properties }
        } else {
            Ack {
                packet_id,
                reason_code: ReasonCode::Success,
                reason_string: None,
                user_properties: UserProperties::default(),
            }
        })
    })
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let handling = select(vec![RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    let fields = (packet_id(), of(identifier()), user_properties(), vec((filter(), options), 1..6));
    fields.prop_map(move |(packet_id, subscription_identifier, user_properties, filters)| {
        let filters: Vec<_> = filters
            .into_iter()
            .map(|(filter, (qos, no_local, retain_as_published, retain_handling))| {
                let no_local = no_local && !filter.starts_with("$share/");
                let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling };
                (filter, if version == V5 { options } else { SubscribeOptions { qos, ..Default::default() } })
            })
            .collect();
        Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: subscription_identifier.filter(|_| version == V5),
            user_properties: if version == V5 { user_properties } else { UserProperties::default() },
            filters: SubscribeFilters::from_list(leak(filters)),
        })
    })
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), user_properties(), vec(filter(), 1..6)).prop_map(move |(packet_id, user_properties, filters)| {
        Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: if version == V5 { user_properties } else { UserProperties::default() },
            filters: UnsubscribeFilters::from_list(leak(filters)),
        })
    })
}

fn sub_ack(version: ProtocolVersion, packet_type: PacketType) -> impl Strategy<Value = Packet<'static>> {
    let codes = vec(code(packet_type, Server), 1..6);
    (packet_id(), codes, of(text()), user_properties()).prop_map(
        move |(packet_id, mut codes, reason_string, user_properties)| {
            let new = version == V5;
            if !new {
                codes.iter_mut().filter(|code| code.is_error()).for_each(|code| *code = ReasonCode::UnspecifiedError);
            }
            if !new && packet_type == PacketType::UnsubAck {
                codes.clear();
            }
            let ack = SubAck {
                packet_id,
                reason_codes: ReasonCodes::from_list(leak(codes)),
                reason_string: reason_string.filter(|_| new),
                user_properties: if new { user_properties } else { UserProperties::default() },
            };
            if packet_type == PacketType::SubAck { Packet::SubAck(ack) } else { Packet::UnsubAck(ack) }
        },
    )
}

fn disconnect(sender: Sender) -> impl Strategy<Value = Packet<'static>> {
    let fields = (code(PacketType::Disconnect, sender), of(any::<u32>()), of(text()), of(text()), user_properties());
    fields.prop_map(move |(reason_code, expiry, reason_string, server_reference, user_properties)| {
        let session_expiry_interval = expiry.filter(|_| sender == Client);
        Packet::Disconnect(Disconnect {
            reason_code,
            session_expiry_interval,
            reason_string,
            server_reference,
            user_properties,
        })
    })
}

fn auth(sender: Sender) -> impl Strategy<Value = Packet<'static>> {
    let fields = (code(PacketType::Auth, sender), text(), of(binary()), of(text()), user_properties());
    fields.prop_map(|(reason_code, method, authentication_data, reason_string, user_properties)| {
        let authentication_method = Some(method);
        Packet::Auth(Auth { reason_code, authentication_method, authentication_data, reason_string, user_properties })
    })
}

/// Any packet of any version with the side that may send it.
pub fn packet() -> impl Strategy<Value = (ProtocolVersion, Sender, Packet<'static>)> {
    let new = prop_oneof![
        disconnect(Client).prop_map(|packet| (V5, Client, packet)).boxed(),
        disconnect(Server).prop_map(|packet| (V5, Server, packet)).boxed(),
        auth(Client).prop_map(|packet| (V5, Client, packet)).boxed(),
        auth(Server).prop_map(|packet| (V5, Server, packet)).boxed(),
    ];
    let any_version = select(vec![V3, V4, V5]).prop_flat_map(|version| {
        let client = prop_oneof![
            2 => connect(version).boxed(),
            1 => ack(version, PacketType::PubAck, Packet::PubAck).boxed(),
            1 => ack(version, PacketType::PubRec, Packet::PubRec).boxed(),
            1 => ack(version, PacketType::PubRel, Packet::PubRel).boxed(),
            1 => ack(version, PacketType::PubComp, Packet::PubComp).boxed(),
            2 => subscribe(version).boxed(),
            2 => unsubscribe(version).boxed(),
            1 => Just(Packet::PingReq).boxed(),
            1 => Just(Packet::Disconnect(Disconnect::default())).boxed(),
        ];
        let server = prop_oneof![
            2 => connack(version).boxed(),
            3 => publish(version).boxed(),
            2 => sub_ack(version, PacketType::SubAck).boxed(),
            2 => sub_ack(version, PacketType::UnsubAck).boxed(),
            1 => Just(Packet::PingResp).boxed(),
        ];
        prop_oneof![
            client.prop_map(move |packet| (version, Client, packet)),
            server.prop_map(move |packet| (version, Server, packet)),
        ]
    });
    prop_oneof![1 => new, 4 => any_version]
}
