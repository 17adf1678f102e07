//! Whatever the broker closes a connection for, an MQTT 5 client hears which reason it was, and a 3.1.1 client, whose
//! protocol has no word for it, gets a plain end. How the words cross each transport is in `tests/transports/shutdown.rs`.

use std::time::Duration;

use midge::packet::{
    Auth, Connect, ConnectProperties, Decoded, Decoder, Packet, Property, ProtocolVersion, Publish, PublishProperties,
    QoS, ReasonCode, Sender,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::scram::{CREDENTIALS, METHOD, Scram};
use crate::support::{Client, Midge, message, v4, v5};

/// Where it is a cause to close: in MQTT 5 only, in 3.1.1 only (an MQTT 5 client gets the code in an acknowledgement), in both.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Both,
    V5,
    V4,
}

/// The reason code, what the configuration says, and what happens.
const CLOSES: [(u8, In, &str, Cause); 20] = [
    (0x81, In::Both, "", Cause::Sends(&[0x36, 5, 0, 1, b'a', 0, 1])),
    (0x82, In::Both, "", Cause::SecondConnect),
    (0x82, In::Both, "", Cause::Sends(&[0xD0, 0])),
    (0x87, In::V5, SCRAM, Cause::WrongProof),
    (
        0x87,
        In::V4,
        "[access]\nacl_file = \"acl\"\nallow_anonymous = true\ndenied_publish_3x = \"close\"",
        Cause::Publishes(casual),
    ),
    (0x8B, In::Both, "", Cause::Stop),
    (0x8C, In::V5, SCRAM, Cause::MethodGone),
    (0x8D, In::Both, "", Cause::Silence),
    (0x8E, In::Both, "", Cause::Takeover),
    (0x8F, In::Both, "", Cause::Subscribes("a/#/b")),
    (0x90, In::Both, "", Cause::Publishes(|| Publish { qos: QoS::AtMostOnce, ..message("a/+", "x") })),
    (0x93, In::V5, "[defaults]\nreceive_maximum = 1", Cause::TooMany),
    (0x94, In::V5, "[defaults]\ntopic_alias_maximum = 0", Cause::Alias),
    (0x95, In::Both, "[defaults]\nmaximum_packet_size = 256", Cause::Sends(&[0x32, 0xFE, 0x01])),
    (0x97, In::Both, SMALL_QUEUES, Cause::FullQueue),
    (0x97, In::V4, "[retained]\nbytes_max = 1", Cause::Publishes(|| Publish { retain: true, ..message("a", "x") })),
    (0x98, In::Both, "[admin]\nhttp = \"127.0.0.1:0\"", Cause::Operator),
    (0x99, In::V5, "", Cause::NoText),
    (0x9A, In::Both, "[defaults]\nretain_available = false", Cause::Publishes(|| Publish { retain: true, ..casual() })),
    (0x9B, In::Both, "[defaults]\nmaximum_qos = 0", Cause::Publishes(|| message("a", "x"))),
];

const SCRAM: &str = "[access]\nscram_file = \"scram\"\n";
const SMALL_QUEUES: &str =
    "[limits]\ninflight_max = 1\nqueue_messages_max = 1\n[defaults]\non_queue_full = \"disconnect\"";

/// Codes that a server may close with, and Midge does not: what they speak of is not there, or is said in another packet.
const NEVER: [u8; 11] = [0x00, 0x80, 0x83, 0x89, 0x96, 0x9C, 0x9D, 0x9E, 0x9F, 0xA1, 0xA2];
/// Said to the log only: the connect timeout passes before there is anybody to talk to.
const BEFORE_CONNECT: u8 = 0xA0;

#[derive(Clone, Copy)]
enum Cause {
    Sends(&'static [u8]),
    Publishes(fn() -> Publish<'static>),
    Subscribes(&'static str),
    SecondConnect,
    /// Re-authenticates with a wrong password.
    WrongProof,
    /// Re-authenticates with a method that the broker no longer has.
    MethodGone,
    Stop,
    Silence,
    Takeover,
    /// Messages beyond the Receive Maximum.
    TooMany,
    Alias,
    /// Messages beyond the queue of a client that acknowledges none.
    FullQueue,
    Operator,
    /// A message at QoS 0 that says it is text, and is none.
    NoText,
}

fn casual() -> Publish<'static> {
    Publish { qos: QoS::AtMostOnce, ..message("a", "x") }
}

#[test]
fn every_code_that_a_server_may_close_with_is_in_the_table_or_known_to_be_unused() {
    let version = ProtocolVersion::V5;
    let decoder = Decoder { version, sender: Sender::Server, maximum_packet_size: 100, connected: true };
    let is_known = |code| CLOSES.iter().any(|(known, versions, ..)| *known == code && *versions != In::V4);
    for code in 0..=u8::MAX {
        let may_be_said = matches!(decoder.decode(&[0xE0, 1, code]), Ok(Decoded::Packet { .. }));
        let is_unused = NEVER.contains(&code) || code == BEFORE_CONNECT;
        assert_eq!(may_be_said, is_known(code) || is_unused, "0x{code:02X}");
        assert!(!(is_known(code) && is_unused), "0x{code:02X}");
    }
}

#[tokio::test]
async fn a_client_of_version_5_hears_why_it_is_closed() {
    for (code, _, text, cause) in CLOSES.into_iter().filter(|(_, versions, ..)| *versions != In::V4) {
        let midge = Midge::start_with_files(text, &[("scram", CREDENTIALS)]).await;
        let heard = provoke(cause, midge, v5("a")).await;
        assert_eq!(heard, Some(format!("DISCONNECT 0x{code:02X}")), "{text}");
    }
}

#[tokio::test]
async fn a_client_of_version_3_1_1_gets_a_plain_end() {
    for (code, _, text, cause) in CLOSES.into_iter().filter(|(_, versions, ..)| *versions != In::V5) {
        let midge = Midge::start_with_files(text, &[("acl", "topic b\n")]).await;
        assert_eq!(provoke(cause, midge, v4("a")).await, None, "0x{code:02X} {text}");
    }
}

/// Makes the broker close a client; what it says last, but for answers to what came before and messages.
async fn provoke(cause: Cause, mut midge: Midge, connect: Connect<'static>) -> Option<String> {
    let again = || Connect { keep_alive: 10, ..connect.clone() };
    let mut client = match cause {
        Cause::WrongProof | Cause::MethodGone => prove(&midge, None, "pencil").await,
        _ => midge.join(again()).await,
    };
    match cause {
        Cause::Sends(bytes) => client.send_bytes(bytes).await,
        Cause::Publishes(publish) => client.publish(publish()).await,
        Cause::Subscribes(filter) => send_subscribe(&mut client, filter).await,
        Cause::SecondConnect => client.send(&Packet::Connect(again())).await,
        Cause::WrongProof => client = prove(&midge, Some(client), "wrong").await,
        Cause::MethodGone => {
            midge.reload("[access]\nallow_anonymous = true", &[]).expect("a good configuration");
            client.send(&auth(ReasonCode::ReAuthenticate, &[])).await;
        }
        Cause::Stop => return tokio::join!(midge.broker.shutdown(), last_words(client)).1,
        Cause::Silence => midge.clock.advance(Duration::from_secs(15)),
        Cause::Takeover => midge.join(again()).await.ping().await,
        Cause::TooMany => {
            client.publish(Publish { qos: QoS::ExactlyOnce, ..message("a", "1") }).await;
            client.publish(Publish { qos: QoS::ExactlyOnce, ..message("a", "2") }).await;
        }
        Cause::Alias => with_property(&mut client, Property::TopicAlias(std::num::NonZeroU16::MIN)).await,
        Cause::FullQueue => {
            client.subscribe("a", QoS::AtLeastOnce).await;
            let mut writer = midge.join(v5("writer")).await;
            for payload in ["in flight", "waits", "too many"] {
                writer.offer(message("a", payload)).await;
            }
        }
        Cause::Operator => kick(&midge, "a").await,
        Cause::NoText => with_property(&mut client, Property::PayloadFormatIndicator(true)).await,
    }
    last_words(client).await
}

/// What comes before the end of the connection, but for answers and messages; `None` for nothing.
async fn last_words(mut client: Client) -> Option<String> {
    let mut last = None;
    while let Some(received) = client.next_or_close().await {
        assert_eq!(last, None, "{received} comes after it");
        let is_about_the_end = !matches!(received.packet(), Packet::Publish(_) | Packet::PubRec(_) | Packet::PubAck(_));
        last = is_about_the_end.then(|| received.to_string());
    }
    last
}

async fn send_subscribe(client: &mut Client, filter: &str) {
    let version_5: &[u8] = if client.version() == ProtocolVersion::V5 { &[0] } else { &[] };
    let length = u8::try_from(filter.len()).expect("a short filter");
    let body = [&[0, 1], version_5, &[0, length], filter.as_bytes(), &[0]].concat();
    client.send_bytes(&[&[0x82, u8::try_from(body.len()).expect("a short packet")], &body[..]].concat()).await;
}

/// A message at QoS 0 with one property, whose payload is no text.
async fn with_property(client: &mut Client, property: Property<'_>) {
    let mut raw = Vec::new();
    property.encode(&mut raw);
    let properties = PublishProperties::decode(&raw, Sender::Client).expect("a property of a PUBLISH");
    client.publish(Publish { properties, payload: b"\xFF", ..casual() }).await;
}

fn auth(reason_code: ReasonCode, data: &[u8]) -> Packet<'_> {
    let (authentication_method, authentication_data) = (Some(METHOD), Some(data));
    Packet::Auth(Auth { reason_code, authentication_method, authentication_data, ..Auth::default() })
}

/// Goes through SCRAM up to the client's last message: to come in, which succeeds, or again when in already.
async fn prove(midge: &Midge, inside: Option<Client>, password: &'static str) -> Client {
    let scram = Scram::new("user", password);
    let first = scram.first();
    let is_inside = inside.is_some();
    let (mut client, challenge) = match inside {
        Some(mut client) => {
            client.send(&auth(ReasonCode::ReAuthenticate, &first)).await;
            let challenge = client.next().await;
            (client, challenge)
        }
        None => {
            let properties = ConnectProperties {
                authentication_method: Some(METHOD),
                authentication_data: Some(&first),
                ..ConnectProperties::default()
            };
            let mut client = midge.dial(ProtocolVersion::V5).await;
            let challenge = client.connect(Connect { properties, ..v5("a") }).await;
            (client, challenge)
        }
    };
    let (last, _) = scram.last(challenge.auth().authentication_data.expect("a challenge"));
    client.send(&auth(ReasonCode::ContinueAuthentication, &last)).await;
    if !is_inside {
        client.expect("CONNACK 0x00").await;
    }
    client
}

/// As `midge ctl clients kick` does.
async fn kick(midge: &Midge, client_id: &str) {
    let mut stream = TcpStream::connect(midge.broker.admin_address().expect("HTTP")).await.expect("HTTP is served");
    let head = format!("DELETE /api/v5/clients/{client_id} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}
