//! AUTH (sections 3.15 and 4.12): the exchange before CONNACK, and again after it.

use super::*;
use crate::packet::ReasonCode as Code;

fn with_method(method: Option<&'static str>) -> Connect<'static> {
    let properties = ConnectProperties {
        authentication_method: method,
        authentication_data: method.map(|_| &b"first"[..]),
        ..Default::default()
    };
    Connect { properties, ..connect(V5) }
}

fn auth(reason_code: Code, method: Option<&'static str>, data: &'static str) -> Auth<'static> {
    Auth { reason_code, authentication_method: method, authentication_data: Some(data.as_bytes()), ..Auth::default() }
}

/// In the middle of an exchange.
fn exchanging() -> Script {
    let mut script = Script::new(settings());
    script.broker.authenticates = false;
    script.check(with_method(Some("M")), &["authenticate"]);
    script
}

fn authenticated() -> Script {
    let mut script = exchanging();
    script.check_accept(None, &["CONNACK 0x00 method=\"M\""]);
    script
}

#[test]
fn the_driver_learns_method_and_data_of_connect() {
    let script = exchanging();
    let request = script.connection.request().unwrap();
    assert_eq!(request.authentication_method.as_deref(), Some("M"));
    assert_eq!(request.authentication_data, b"first");
}

// [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1]
#[test]
fn an_exchange_goes_to_and_fro_under_one_method_until_connack() {
    let mut script = exchanging();
    script.check_auth(Code::ContinueAuthentication, Some(b"ask"), &["AUTH 0x18 method=\"M\" data=\"ask\""]);
    script.check(auth(Code::ContinueAuthentication, Some("M"), "answer"), &["auth 'answer'"]);
    script.check_auth(Code::ContinueAuthentication, Some(b"more"), &["AUTH 0x18 method=\"M\" data=\"more\""]);
    script.check(auth(Code::ContinueAuthentication, Some("M"), "last"), &["auth 'last'"]);
    script.check_accept(Some(b"proof"), &["CONNACK 0x00 method=\"M\" data=\"proof\""]);
}

// [MQTT-4.12.0-3] [MQTT-4.12.0-5]
#[test]
fn another_method_or_code_in_the_exchange_is_a_protocol_error() {
    for wrong in [auth(Code::ContinueAuthentication, Some("N"), ""), auth(Code::ReAuthenticate, Some("M"), "")] {
        exchanging().check(wrong, &["CONNACK 0x82 +reason", "close 0x82"]);
    }
}

// [MQTT-3.1.2-30] [MQTT-3.14.0-1]
#[test]
fn nothing_but_auth_and_disconnect_may_come_during_the_exchange() {
    exchanging().check(Packet::PingReq, &["CONNACK 0x82 +reason", "close 0x82"]);
    exchanging().check(publish(0, "a", ""), &["CONNACK 0x82 +reason", "close 0x82"]);
    exchanging().check(with_method(Some("M")), &["CONNACK 0x82 +reason", "close 0x82"]);
    exchanging().check(Disconnect::default(), &["end 0x00"]);
}

// [MQTT-4.12.0-1] [MQTT-4.12.0-4]
#[test]
fn the_broker_may_refuse_at_any_point() {
    exchanging().check_close(Code::BadAuthenticationMethod, &["CONNACK 0x8C +reason"]);
    let mut script = exchanging();
    script.check_auth(Code::ContinueAuthentication, Some(b"ask"), &["AUTH 0x18 method=\"M\" data=\"ask\""]);
    script.check(auth(Code::ContinueAuthentication, Some("M"), "wrong"), &["auth 'wrong'"]);
    script.check_close(Code::NotAuthorized, &["CONNACK 0x87 +reason"]);
    assert!(!script.connection.takes_packets());
}

// [MQTT-4.12.0-6]
#[test]
fn without_a_method_connack_names_none() {
    let mut script = Script::new(settings());
    script.broker.authenticates = false;
    script.check(with_method(None), &["authenticate"]);
    assert!(!script.connection.takes_packets());
    script.check_accept(Some(b"data"), &["CONNACK 0x00"]);
}

// [MQTT-4.12.0-7]
#[test]
fn auth_without_a_method_in_connect_is_a_protocol_error() {
    for code in [Code::ReAuthenticate, Code::ContinueAuthentication] {
        let mut script = Script::connected(V5);
        script.check(auth(code, Some("M"), ""), &["DISCONNECT 0x82 +reason", "close 0x82"]);
    }
}

// [MQTT-4.12.1-1] [MQTT-4.12.0-5]
#[test]
fn a_client_may_authenticate_anew_under_the_same_method() {
    let mut script = authenticated();
    script.check(auth(Code::ReAuthenticate, Some("M"), "again"), &["auth anew 'again'"]);
    script.check_auth(Code::ContinueAuthentication, Some(b"ask"), &["AUTH 0x18 method=\"M\" data=\"ask\""]);
    script.check(publish(0, "a", "goes on"), &["route q0 a 'goes on'"]);
    script.check(auth(Code::ContinueAuthentication, Some("M"), "answer"), &["auth 'answer'"]);
    script.check_auth(Code::Success, Some(b"proof"), &["AUTH 0x00 method=\"M\" data=\"proof\""]);
    let other = auth(Code::ReAuthenticate, Some("N"), "");
    script.check(other, &["DISCONNECT 0x82 +reason", "close 0x82"]);
}

// [MQTT-4.12.1-2]
#[test]
fn a_new_authentication_that_fails_disconnects() {
    let mut script = authenticated();
    script.check(auth(Code::ReAuthenticate, Some("M"), "wrong"), &["auth anew 'wrong'"]);
    script.check_close(Code::NotAuthorized, &["DISCONNECT 0x87 +reason"]);
}

// [MQTT-3.1.2-24] [MQTT-3.15.2-2] [MQTT-3.15.2-3]
#[test]
fn an_auth_that_the_client_does_not_take_is_not_sent() {
    let mut connect = with_method(Some("M"));
    connect.properties.maximum_packet_size = NonZeroU32::new(20);
    let mut script = Script::new(settings());
    script.broker.authenticates = false;
    script.check(connect, &["authenticate"]);
    let mut out = Output::default();
    let refused = script.connection.send_auth(Code::ContinueAuthentication, Some(&[0; 20]), &mut out).unwrap_err();
    assert_eq!((refused.reason_code, out.is_empty()), (Code::PacketTooLarge, true));
    script.check_close(refused.reason_code, &["CONNACK 0x95 +reason"]);
}
