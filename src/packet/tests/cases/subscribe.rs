//! SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU32;

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    subscribe(rows);
    options(rows);
    subscribe_refused(rows);
    unsubscribe(rows);
    unsubscribe_refused(rows);
    filters_refused(rows);
}

const QOS_1: SubscribeOptions = SubscribeOptions {
    qos: QoS::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::SendAtSubscribe,
};

fn packet(filters: &'static [(&'static str, SubscribeOptions)]) -> Packet<'static> {
    Packet::Subscribe(Subscribe {
        packet_id: id(5),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_list(filters),
    })
}

fn subscribe(rows: &mut Rows) {
    rows.packet("SUBSCRIBE", OLD, Client, "82 ~ 00 05 \"a/b\" 01", packet(&[("a/b", QOS_1)]));
    rows.packet("SUBSCRIBE", NEW, Client, "82 ~ 00 05 [] \"a/b\" 01", packet(&[("a/b", QOS_1)]));
    rows.other_form("SUBSCRIBE again in MQTT 3.1", &[V3], Client, "8A ~ 00 05 \"a/b\" 01", packet(&[("a/b", QOS_1)]));
    rows.packet(
        "MQTT-4.7.1-1 MQTT-4.7.1-2 several filters, one twice",
        OLD,
        Client,
        "82 ~ 00 05 \"#\" 01 \"+\" 01 \"/\" 01 \"+/+/#\" 01 \"#\" 01 \"a//\" 01",
        packet(&[("#", QOS_1), ("+", QOS_1), ("/", QOS_1), ("+/+/#", QOS_1), ("#", QOS_1), ("a//", QOS_1)]),
    );
    rows.packet(
        "MQTT-4.8.2-1 shared",
        OLD,
        Client,
        "82 ~ 00 05 \"$share/g/a/#\" 01",
        packet(&[("$share/g/a/#", QOS_1)]),
    );
    let shared = "82 ~ 00 05 [] \"$share/g/a/#\" 01 \"$share/g//\" 01 \"$shared\" 01 \"$share\" 01";
    rows.packet(
        "MQTT-4.8.2-2 shared, and what only looks so",
        NEW,
        Client,
        shared,
        packet(&[("$share/g/a/#", QOS_1), ("$share/g//", QOS_1), ("$shared", QOS_1), ("$share", QOS_1)]),
    );
    rows.packet(
        "a filter with text of all kinds",
        OLD,
        Client,
        "82 ~ 00 05 \"ä €/𝄞/+\" 01",
        packet(&[("ä €/𝄞/+", QOS_1)]),
    );
    for (name, text, identifier) in [
        ("subscription identifier 1", "82 ~ 00 05 [0B 01 26 \"k\" \"v\"] \"a\" 01", 1),
        ("the largest subscription identifier", "82 ~ 00 05 [0B FF FF FF 7F 26 \"k\" \"v\"] \"a\" 01", 268_435_455),
    ] {
        rows.packet(
            name,
            NEW,
            Client,
            text,
            Packet::Subscribe(Subscribe {
                packet_id: id(5),
                subscription_identifier: NonZeroU32::new(identifier),
                user_properties: UserProperties::from_pairs(&[("k", "v")]),
                filters: SubscribeFilters::from_list(&[("a", QOS_1)]),
            }),
        );
    }
}

fn options(rows: &mut Rows) {
    for (bits, qos) in [("00", QoS::AtMostOnce), ("01", QoS::AtLeastOnce), ("02", QoS::ExactlyOnce)] {
        let list = Box::leak(Box::new([("a", SubscribeOptions { qos, ..QOS_1 })]));
        rows.packet("requested QoS", OLD, Client, &format!("82 ~ 00 05 \"a\" {bits}"), packet(list));
    }
    let handling = [RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    for bits in 0..0x30u8 {
        let Some(qos) = QoS::from_bits(bits & 3) else { continue };
        let retain_handling = handling[usize::from(bits >> 4)];
        let options =
            SubscribeOptions { qos, no_local: bits & 4 != 0, retain_as_published: bits & 8 != 0, retain_handling };
        let text = format!("82 ~ 00 05 [] \"a\" {bits:02X}");
        rows.packet("MQTT-3.8.3-3 options", NEW, Client, &text, packet(Box::leak(Box::new([("a", options)]))));
    }
}

fn subscribe_refused(rows: &mut Rows) {
    use PropertyId as P;
    rows.refused("MQTT-2.2.1-3 packet id 0", OLD, Client, "82 ~ 00 00 \"a\" 00", (0x81, K::PacketIdZero, 2));
    rows.refused("MQTT-2.2.1-3 packet id 0", NEW, Client, "82 ~ 00 00 [] \"a\" 00", (0x81, K::PacketIdZero, 2));
    rows.refused("MQTT-3.8.3-2 no filter", OLD, Client, "82 02 00 05", (0x82, K::NoTopicFilter, 4));
    rows.refused("MQTT-3.8.3-2 no filter", NEW, Client, "82 03 00 05 []", (0x82, K::NoTopicFilter, 5));
    rows.refused("SUBSCRIBE without anything", ALL, Client, "82 00", (0x81, K::Truncated, 2));
    rows.refused("SUBSCRIBE of 5 without properties", NEW, Client, "82 02 00 05", (0x81, K::Truncated, 4));
    rows.refused("a filter without options", OLD, Client, "82 ~ 00 05 \"a\"", (0x81, K::Truncated, 7));
    rows.refused(
        "the second filter without options",
        NEW,
        Client,
        "82 ~ 00 05 [] \"a\" 00 \"b\"",
        (0x81, K::Truncated, 12),
    );
    rows.refused("a filter cut off", OLD, Client, "82 ~ 00 05 00 05 'a'", (0x81, K::Truncated, 6));
    rows.refused("half a filter length", OLD, Client, "82 ~ 00 05 \"a\" 00 00", (0x81, K::Truncated, 8));
    rows.refused("QoS 3", OLD, Client, "82 ~ 00 05 \"a\" 03", (0x82, K::SubscriptionQoS3, 7));
    rows.refused("QoS 3", NEW, Client, "82 ~ 00 05 [] \"a\" 03", (0x82, K::SubscriptionQoS3, 8));
    rows.refused("retain handling 3", NEW, Client, "82 ~ 00 05 [] \"a\" 30", (0x82, K::RetainHandling3, 8));
    for bits in ["40", "80", "C0", "41", "FF"] {
        let text = format!("82 ~ 00 05 [] \"a\" {bits}");
        rows.refused("MQTT-3.8.3-5 reserved option bits", NEW, Client, &text, (0x81, K::ReservedSubscribeOptions, 8));
    }
    for bits in ["04", "08", "10", "20", "40", "80", "FC", "FF"] {
        let text = format!("82 ~ 00 05 \"a\" {bits}");
        let name = "MQTT-3.1.1 3.8.3-4 options of MQTT 5";
        rows.refused(name, OLD, Client, &text, (0x81, K::ReservedSubscribeOptions, 7));
    }
    let text = "82 ~ 00 05 [] \"a\" 04 \"$share/g/a\" 04";
    rows.refused("MQTT-3.8.3-4 no local, shared", NEW, Client, text, (0x82, K::NoLocalOnSharedSubscription, 21));
    for (name, block, why) in [
        ("identifier 0", "[0B 00]", (0x82, K::PropertyValue(P::SubscriptionIdentifier), 6)),
        ("identifier twice", "[0B 01 0B 02]", (0x82, K::DuplicateProperty(P::SubscriptionIdentifier), 7)),
        ("identifier of five bytes", "[0B FF FF FF FF 7F]", (0x81, K::VariableByteIntegerTooLong, 6)),
        ("MQTT-1.5.5-1 identifier in a long form", "[0B 81 00]", (0x81, K::VariableByteIntegerNotMinimal, 6)),
        ("a reason string", "[1F \"\"]", (0x81, K::PropertyNotAllowed(P::ReasonString), 5)),
        ("an unknown property", "[2B 00]", (0x81, K::UnknownProperty(0x2B), 5)),
        ("beyond the packet", "20 0B 01", (0x81, K::Truncated, 5)),
    ] {
        let text = format!("82 ~ 00 05 {block} \"a\" 00");
        rows.refused(&format!("SUBSCRIBE, {name}"), NEW, Client, &text, why);
    }
}

fn unsubscribe(rows: &mut Rows) {
    let packet = |pairs, filters| {
        Packet::Unsubscribe(Unsubscribe {
            packet_id: id(5),
            user_properties: UserProperties::from_pairs(pairs),
            filters: UnsubscribeFilters::from_list(filters),
        })
    };
    rows.packet("UNSUBSCRIBE", OLD, Client, "A2 ~ 00 05 \"a/b\"", packet(&[], &["a/b"]));
    rows.packet("UNSUBSCRIBE", NEW, Client, "A2 ~ 00 05 [] \"a/b\"", packet(&[], &["a/b"]));
    rows.other_form("UNSUBSCRIBE again in MQTT 3.1", &[V3], Client, "AA ~ 00 05 \"a/b\"", packet(&[], &["a/b"]));
    rows.packet(
        "several filters, shared ones too",
        OLD,
        Client,
        "A2 ~ 00 05 \"#\" \"$share/g/+\" \"#\"",
        packet(&[], &["#", "$share/g/+", "#"]),
    );
    rows.packet(
        "user properties",
        NEW,
        Client,
        "A2 ~ 00 05 [26 \"k\" \"v\"] \"a\" \"b\"",
        packet(&[("k", "v")], &["a", "b"]),
    );
}

fn unsubscribe_refused(rows: &mut Rows) {
    use PropertyId as P;
    rows.refused("MQTT-2.2.1-3 packet id 0", OLD, Client, "A2 ~ 00 00 \"a\"", (0x81, K::PacketIdZero, 2));
    rows.refused("MQTT-2.2.1-3 packet id 0", NEW, Client, "A2 ~ 00 00 [] \"a\"", (0x81, K::PacketIdZero, 2));
    rows.refused("MQTT-3.10.3-2 no filter", OLD, Client, "A2 02 00 05", (0x82, K::NoTopicFilter, 4));
    rows.refused("MQTT-3.10.3-2 no filter", NEW, Client, "A2 03 00 05 []", (0x82, K::NoTopicFilter, 5));
    rows.refused("UNSUBSCRIBE without anything", ALL, Client, "A2 00", (0x81, K::Truncated, 2));
    rows.refused("UNSUBSCRIBE of 5 without properties", NEW, Client, "A2 02 00 05", (0x81, K::Truncated, 4));
    rows.refused("a filter cut off", OLD, Client, "A2 ~ 00 05 00 05 'a'", (0x81, K::Truncated, 6));
    rows.refused("half a filter length", OLD, Client, "A2 ~ 00 05 \"a\" 00", (0x81, K::Truncated, 7));
    let why = (0x81, K::PropertyNotAllowed(P::SubscriptionIdentifier), 5);
    rows.refused("UNSUBSCRIBE, subscription identifier", NEW, Client, "A2 ~ 00 05 [0B 01] \"a\"", why);
}

fn filters_refused(rows: &mut Rows) {
    use TopicError as E;
    for (name, filter, error) in [
        ("MQTT-4.7.3-1 empty", "\"\"", E::Empty),
        ("MQTT-4.7.1-1 # before the end", "\"a/#/b\"", E::MultiLevelNotLast { at: 2 }),
        ("MQTT-4.7.1-1 # with company", "\"a#\"", E::MultiLevelNotAlone { at: 1 }),
        ("MQTT-4.7.1-2 + with company", "\"a/b+\"", E::SingleLevelNotAlone { at: 3 }),
        ("MQTT-4.7.1-2 two +", "\"++\"", E::SingleLevelNotAlone { at: 0 }),
        ("MQTT-4.8.2-1 no share name", "\"$share//a\"", E::ShareNameEmpty),
        ("MQTT-4.8.2-1 nothing after $share", "\"$share/\"", E::ShareNameEmpty),
        ("MQTT-4.8.2-2 no filter after the share", "\"$share/g\"", E::ShareFilterMissing),
        ("MQTT-4.8.2-2 an empty filter after the share", "\"$share/g/\"", E::ShareFilterMissing),
        ("MQTT-4.8.2-2 + in the share name", "\"$share/g+/a\"", E::ShareNameCharacter { found: '+', at: 8 }),
        ("MQTT-4.8.2-2 # in the share name", "\"$share/#/a\"", E::ShareNameCharacter { found: '#', at: 7 }),
        ("shared, # before the end", "\"$share/g/#/a\"", E::MultiLevelNotLast { at: 9 }),
    ] {
        let kind = K::TopicFilterInvalid(error);
        rows.refused(&format!("SUBSCRIBE {name}"), OLD, Client, &format!("82 ~ 00 05 {filter} 00"), (0x8F, kind, 4));
        rows.refused(&format!("SUBSCRIBE {name}"), NEW, Client, &format!("82 ~ 00 05 [] {filter} 00"), (0x8F, kind, 5));
        rows.refused(&format!("UNSUBSCRIBE {name}"), OLD, Client, &format!("A2 ~ 00 05 {filter}"), (0x8F, kind, 4));
        rows.refused(&format!("UNSUBSCRIBE {name}"), NEW, Client, &format!("A2 ~ 00 05 [] {filter}"), (0x8F, kind, 5));
    }
    for (name, filter, kind) in [
        ("MQTT-3.8.3-1 MQTT-3.10.3-1 not UTF-8", "00 02 'a' FF", K::InvalidUtf8),
        ("MQTT-1.5.4-1 a surrogate", "00 03 ED B0 80", K::InvalidUtf8),
        ("MQTT-4.7.3-2 U+0000", "00 02 'a' 00", K::NullCharacter),
    ] {
        rows.refused(&format!("SUBSCRIBE {name}"), OLD, Client, &format!("82 ~ 00 05 {filter} 00"), (0x81, kind, 4));
        rows.refused(&format!("SUBSCRIBE {name}"), NEW, Client, &format!("82 ~ 00 05 [] {filter} 00"), (0x81, kind, 5));
        rows.refused(&format!("UNSUBSCRIBE {name}"), OLD, Client, &format!("A2 ~ 00 05 {filter}"), (0x81, kind, 4));
        rows.refused(&format!("UNSUBSCRIBE {name}"), NEW, Client, &format!("A2 ~ 00 05 [] {filter}"), (0x81, kind, 5));
    }
}
