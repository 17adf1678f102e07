//! How a script writes what it compares: one line a packet or action, every field that is not at its default.

use crate::message::Message;
use crate::packet::{
    Ack, Auth, ConnAck, Disconnect, Packet, Properties, Publish, ReasonCode, SubAck, SubscribeOptions,
};
use crate::protocol::action::{SubscribeRequest, UnsubscribeRequest};
use crate::protocol::{Action, Reply};

/// Joins what is not empty with blanks.
fn line(words: &[String]) -> String {
    words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

fn code(reason_code: ReasonCode) -> String {
    format!("0x{:02X}", reason_code as u8)
}

/// `word` where `is` holds.
fn flag(is: bool, word: &str) -> String {
    if is { word.into() } else { String::new() }
}

fn field<T: std::fmt::Debug>(name: &str, value: Option<T>) -> String {
    value.map_or(String::new(), |value| format!("{name}={value:?}"))
}

fn payload(bytes: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(bytes))
}

pub fn packet(packet: &Packet<'_>) -> String {
    match packet {
        Packet::ConnAck(connack) => self::connack(connack),
        Packet::Publish(publish) => self::publish(publish),
        Packet::PubAck(ack) => self::ack("PUBACK", ack),
        Packet::PubRec(ack) => self::ack("PUBREC", ack),
        Packet::PubRel(ack) => self::ack("PUBREL", ack),
        Packet::PubComp(ack) => self::ack("PUBCOMP", ack),
        Packet::SubAck(ack) => suback("SUBACK", ack),
        Packet::UnsubAck(ack) => suback("UNSUBACK", ack),
        Packet::PingResp => "PINGRESP".into(),
        Packet::Disconnect(disconnect) => self::disconnect(disconnect),
        Packet::Auth(auth) => self::auth(auth),
        other => format!("{other:?}"),
    }
}

fn connack(connack: &ConnAck<'_>) -> String {
    let it = &connack.properties;
    line(&[
        format!("CONNACK {}", code(connack.reason_code)),
        flag(connack.session_present, "present"),
        field("expiry", it.session_expiry_interval),
        field("receive", it.receive_maximum),
        field("qos", it.maximum_qos.map(|qos| qos as u8)),
        field("retain", it.retain_available),
        field("size", it.maximum_packet_size),
        field("id", it.assigned_client_identifier),
        field("aliases", it.topic_alias_maximum),
        field("keep_alive", it.server_keep_alive),
        field("response", it.response_information),
        field("method", it.authentication_method),
        field("data", it.authentication_data.map(String::from_utf8_lossy)),
        reason(it.reason_string),
        field("wildcards", it.wildcard_subscription_available),
        field("ids", it.subscription_identifiers_available),
        field("shared", it.shared_subscription_available),
        field("server", it.server_reference),
        user_properties(it.user_properties.iter()),
    ])
}

/// The words may change; that there are some may not.
fn reason(reason_string: Option<&str>) -> String {
    flag(reason_string.is_some_and(|words| !words.is_empty()), "+reason")
}

fn user_properties<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs.map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
}

fn publish(publish: &Publish<'_>) -> String {
    let properties: Vec<_> = Properties::over(publish.properties.raw).map(|property| format!("{property:?}")).collect();
    line(&[
        "PUBLISH".into(),
        flag(publish.dup, "dup"),
        format!("q{}", publish.qos as u8),
        flag(publish.retain, "retain"),
        publish.packet_id.map_or(String::new(), |id| format!("#{id}")),
        format!("{:?}", publish.topic).replace('"', ""),
        properties.join(" "),
        payload(publish.payload),
    ])
}

fn ack(name: &str, ack: &Ack<'_>) -> String {
    line(&[
        format!("{name} #{} {}", ack.packet_id, code(ack.reason_code)),
        reason(ack.reason_string),
        user_properties(ack.user_properties.iter()),
    ])
}

fn suback(name: &str, ack: &SubAck<'_>) -> String {
    let codes: Vec<_> = ack.reason_codes.iter().map(code).collect();
    line(&[
        format!("{name} #{}", ack.packet_id),
        codes.join(" "),
        reason(ack.reason_string),
        user_properties(ack.user_properties.iter()),
    ])
}

fn disconnect(disconnect: &Disconnect<'_>) -> String {
    line(&[
        format!("DISCONNECT {}", code(disconnect.reason_code)),
        field("expiry", disconnect.session_expiry_interval),
        reason(disconnect.reason_string),
        field("server", disconnect.server_reference),
        user_properties(disconnect.user_properties.iter()),
    ])
}

fn auth(auth: &Auth<'_>) -> String {
    line(&[
        format!("AUTH {}", code(auth.reason_code)),
        field("method", auth.authentication_method),
        field("data", auth.authentication_data.map(String::from_utf8_lossy)),
        reason(auth.reason_string),
    ])
}

/// What the connection wants of the broker; empty for nothing.
pub fn action(action: &Action) -> String {
    match action {
        Action::None => String::new(),
        Action::Authenticate => "authenticate".into(),
        Action::AuthData { data, reauthenticate } => {
            line(&["auth".into(), flag(*reauthenticate, "anew"), payload(data)])
        }
        Action::Publish { message, reply } => {
            line(&["route".into(), self::message(&message.to_message()), answer(*reply)])
        }
        Action::Subscribe(request) => subscribe(request),
        Action::Unsubscribe(request) => unsubscribe(request),
        Action::Completed(qos, _) => format!("completed q{}", *qos as u8),
        Action::HandedOver(_) | Action::Released(_) | Action::Duplicate(_) => String::new(),
        Action::RefusedByReceiver(kept) => format!("refused row {}", kept.row.0),
        Action::Disconnect { reason_code } => format!("end {}", code(*reason_code)),
    }
}

/// A PUBLISH of QoS 1 or 2 is answered, and nothing else is.
fn answer(reply: Reply) -> String {
    reply.packet_id.map_or(String::new(), |id| format!("#{id}"))
}

pub fn message(message: &Message) -> String {
    let properties: Vec<_> = Properties::over(message.forward()).map(|property| format!("{property:?}")).collect();
    let expires_at = message.expires_at();
    line(&[
        format!("q{}", message.qos() as u8),
        flag(message.retain(), "retain"),
        message.topic().into(),
        properties.join(" "),
        field("until", (expires_at != crate::message::BrokerTime::NEVER).then_some(expires_at.as_millis())),
        payload(message.payload()),
    ])
}

pub fn options(options: &SubscribeOptions) -> String {
    line(&[
        format!("q{}", options.qos as u8),
        flag(options.no_local, "no_local"),
        flag(options.retain_as_published, "as_published"),
        flag(options.retain_handling as u8 > 0, &format!("handling={}", options.retain_handling as u8)),
    ])
}

fn subscribe(request: &SubscribeRequest) -> String {
    let filters: Vec<_> = request
        .filters
        .iter()
        .map(|(filter, options, refused)| {
            let refused = refused.map_or(String::new(), |refused| format!("refused {}", code(refused)));
            line(&[filter.to_string(), self::options(options), refused])
        })
        .collect();
    line(&["subscribe".into(), field("id", request.id), filters.join(", ")])
}

fn unsubscribe(request: &UnsubscribeRequest) -> String {
    let filters: Vec<_> = request.filters.iter().map(|filter| filter.to_string()).collect();
    format!("unsubscribe {}", filters.join(", "))
}
