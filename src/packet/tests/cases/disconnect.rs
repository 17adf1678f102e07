//! DISCONNECT.

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    packets(rows);
    refused(rows);
}

fn packet(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect { reason_code, ..Default::default() })
}

fn packets(rows: &mut Rows) {
    use ReasonCode as R;
    rows.packet("DISCONNECT", ALL, Client, "E0 00", packet(R::NORMAL_DISCONNECTION));
    rows.packet("DISCONNECT", NEW, Server, "E0 00", packet(R::NORMAL_DISCONNECTION));
    rows.packet("with a will", NEW, Client, "E0 01 04", packet(R::DisconnectWithWill));
    rows.packet("unspecified error", NEW, Client, "E0 01 80", packet(R::UnspecifiedError));
    rows.packet("session taken over", NEW, Server, "E0 01 8E", packet(R::SessionTakenOver));
    rows.other_form("normal, spelt out", NEW, Client, "E0 01 00", packet(R::Success));
    rows.other_form("normal, no properties", NEW, Client, "E0 02 00 []", packet(R::Success));
    rows.other_form("with a will, no properties", NEW, Client, "E0 02 04 []", packet(R::DisconnectWithWill));
    let text = "E0 ~ 00 [11 00 00 00 0A 1F \"bye\" 26 \"k\" \"v\"]";
    rows.packet(
        "a client's properties",
        NEW,
        Client,
        text,
        Packet::Disconnect(Disconnect {
            reason_code: R::Success,
            session_expiry_interval: Some(10),
            reason_string: Some("bye"),
            server_reference: None,
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
        }),
    );
    let text = "E0 ~ 9C [1F \"bye\" 1C \"other:1883\" 26 \"k\" \"v\"]";
    rows.packet(
        "a server's properties",
        NEW,
        Server,
        text,
        Packet::Disconnect(Disconnect {
            reason_code: R::UseAnotherServer,
            session_expiry_interval: None,
            reason_string: Some("bye"),
            server_reference: Some("other:1883"),
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
        }),
    );
}

fn refused(rows: &mut Rows) {
    use PropertyId as P;
    rows.refused("DISCONNECT of 3.x with a body", OLD, Client, "E0 01 00", (0x81, K::TrailingBytes, 2));
    rows.refused("DISCONNECT of 3.x with a body", OLD, Client, "E0 02 00 00", (0x81, K::TrailingBytes, 2));
    for (text, code) in [("E0 01 01", 1), ("E0 01 05", 5), ("E0 01 18", 0x18), ("E0 01 85", 0x85), ("E0 01 FF", 0xFF)] {
        let name = "MQTT-3.14.2-1 reason codes of other packets";
        rows.refused(name, NEW, Client, text, (0x82, K::ReasonCodeNotAllowed(code), 2));
        rows.refused(name, NEW, Server, text, (0x82, K::ReasonCodeNotAllowed(code), 2));
    }
    rows.refused("a server has no will", NEW, Server, "E0 01 04", (0x82, K::ReasonCodeNotAllowed(4), 2));
    rows.refused("a client takes over nothing", NEW, Client, "E0 01 8E", (0x82, K::ReasonCodeNotAllowed(0x8E), 2));
    let why = (0x82, K::PropertyFromWrongSender(P::SessionExpiryInterval), 4);
    rows.refused("MQTT-3.14.2-2 a server's session expiry", NEW, Server, "E0 ~ 00 [11 00 00 00 0A]", why);
    for (name, text, why) in [
        (
            "two session expiries",
            "E0 ~ 00 [11 00*4 11 00*4]",
            (0x82, K::DuplicateProperty(P::SessionExpiryInterval), 9),
        ),
        ("two reason strings", "E0 ~ 00 [1F \"\" 1F \"\"]", (0x82, K::DuplicateProperty(P::ReasonString), 7)),
        ("two server references", "E0 ~ 00 [1C \"\" 1C \"\"]", (0x82, K::DuplicateProperty(P::ServerReference), 7)),
        ("a method", "E0 ~ 00 [15 \"M\"]", (0x81, K::PropertyNotAllowed(P::AuthenticationMethod), 4)),
        ("an unknown property", "E0 ~ 00 [05]", (0x81, K::UnknownProperty(5), 4)),
        ("properties beyond the packet", "E0 02 00 05", (0x81, K::Truncated, 4)),
        ("bytes to spare", "E0 03 00 [] 00", (0x81, K::TrailingBytes, 4)),
        ("a reason string that is not UTF-8", "E0 ~ 00 [1F 00 01 F5]", (0x81, K::InvalidUtf8, 5)),
        ("a session expiry cut off", "E0 ~ 00 [11 00]", (0x81, K::Truncated, 5)),
    ] {
        rows.refused(&format!("DISCONNECT, {name}"), NEW, Client, text, why);
    }
}
