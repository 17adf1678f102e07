//! AUTH, of MQTT 5 only.

use super::DecodeErrorKind as K;
use super::*;

pub fn rows(rows: &mut Rows) {
    packets(rows);
    refused(rows);
}

fn packets(rows: &mut Rows) {
    let scram = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        authentication_method: Some("SCRAM-SHA-256"),
        ..Default::default()
    };
    rows.packet("AUTH, the short form of Success", NEW, Server, "F0 00", Packet::Auth(Auth::default()));
    rows.other_form("AUTH, Success spelt out", NEW, Server, "F0 02 00 []", Packet::Auth(Auth::default()));
    for sender in [Client, Server] {
        let text = "F0 ~ 18 [15 \"SCRAM-SHA-256\"]";
        rows.packet("AUTH, continue", NEW, sender, text, Packet::Auth(scram.clone()));
    }
    let text = "F0 ~ 19 [15 \"SCRAM-SHA-256\" 16 00 02 00 FF 1F \"why\" 26 \"k\" \"v\"]";
    rows.packet(
        "AUTH, every property",
        NEW,
        Client,
        text,
        Packet::Auth(Auth {
            reason_code: ReasonCode::ReAuthenticate,
            authentication_data: Some(&[0, 0xFF]),
            reason_string: Some("why"),
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
            ..scram.clone()
        }),
    );
    let text = "F0 ~ 00 [15 \"SCRAM-SHA-256\" 16 \"\"]";
    rows.packet(
        "AUTH, Success with a method",
        NEW,
        Server,
        text,
        Packet::Auth(Auth { reason_code: ReasonCode::Success, authentication_data: Some(b""), ..scram }),
    );
}

fn refused(rows: &mut Rows) {
    use PropertyId as P;
    for (name, sender, text, why) in [
        ("the short form from a client", Client, "F0 00", (0x82, K::ReasonCodeNotAllowed(0), 2)),
        ("Success from a client", Client, "F0 ~ 00 [15 \"M\"]", (0x82, K::ReasonCodeNotAllowed(0), 2)),
        ("re-authenticate from a server", Server, "F0 ~ 19 [15 \"M\"]", (0x82, K::ReasonCodeNotAllowed(0x19), 2)),
        ("MQTT-3.15.2-1 not authorized", Client, "F0 ~ 87 [15 \"M\"]", (0x82, K::ReasonCodeNotAllowed(0x87), 2)),
        ("MQTT-3.15.2-1 an undefined code", Server, "F0 ~ 1A [15 \"M\"]", (0x82, K::ReasonCodeNotAllowed(0x1A), 2)),
        ("no method", Client, "F0 02 18 []", (0x82, K::AuthenticationMethodMissing, 2)),
        ("data without a method", Client, "F0 ~ 18 [16 \"D\"]", (0x82, K::AuthenticationMethodMissing, 2)),
        ("Success with a reason but no method", Server, "F0 ~ 00 [1F \"\"]", (0x82, K::AuthenticationMethodMissing, 2)),
        ("a code without properties", Client, "F0 01 18", (0x81, K::Truncated, 3)),
        (
            "two methods",
            Client,
            "F0 ~ 18 [15 \"M\" 15 \"M\"]",
            (0x82, K::DuplicateProperty(P::AuthenticationMethod), 8),
        ),
        (
            "two data",
            Client,
            "F0 ~ 18 [15 \"M\" 16 \"\" 16 \"\"]",
            (0x82, K::DuplicateProperty(P::AuthenticationData), 11),
        ),
        ("a session expiry", Client, "F0 ~ 18 [11 00*4]", (0x81, K::PropertyNotAllowed(P::SessionExpiryInterval), 4)),
        ("bytes to spare", Client, "F0 ~ 18 [15 \"M\"] 00", (0x81, K::TrailingBytes, 8)),
        ("properties beyond the packet", Client, "F0 02 18 04", (0x81, K::Truncated, 4)),
    ] {
        rows.refused(&format!("AUTH, {name}"), NEW, sender, text, why);
    }
}
