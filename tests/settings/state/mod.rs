//! What outlives the process, and what is acknowledged when. The broker's store has a gate ([`Gate`]): the test says what
//! is safe and when, takes the place of a process that is killed or loses power, and starts another broker with what is
//! left.
//!
//! A page of messages is read beside the connection, so that the answer to a ping does not tell that nothing waits: tests
//! of long queues count.
//!
//! [`Gate`]: crate::support::Gate

mod deadlines;
mod failing;
mod gate;
mod messages;
mod paging;
mod qos2_in;
mod qos2_out;
mod retained;
mod sessions;
mod shared;
mod wills;

use midge::packet::{Packet, Property, ProtocolVersion, Publish, PublishProperties, QoS, Sender};

use crate::queues::lasting;
use crate::support::{Client, Midge, message};

/// The client is back, and its session was there.
async fn back(midge: &Midge, client_id: &str) -> Client {
    let mut client = midge.dial(ProtocolVersion::V5).await;
    assert_eq!(client.connect(lasting(client_id)).await.to_string(), "CONNACK 0x00 present");
    client
}

fn at<'a>(qos: QoS, topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { qos, ..message(topic, payload) }
}

/// The payloads of the next so many messages; takes each over as its QoS asks for, to its end.
async fn take(client: &mut Client, messages: usize) -> Vec<String> {
    let (mut payloads, mut open) = (Vec::new(), 0);
    while payloads.len() < messages || open > 0 {
        let received = client.next().await;
        match received.packet() {
            Packet::Publish(publish) => {
                payloads.push(String::from_utf8_lossy(publish.payload).into_owned());
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, _) => client.acknowledge(&received).await,
                    (QoS::ExactlyOnce, Some(packet_id)) => {
                        open += 1;
                        client.send_pubrec(packet_id).await;
                    }
                    _ => {}
                }
            }
            Packet::PubRel(ack) => {
                open -= 1;
                client.send_pubcomp(ack.packet_id).await;
            }
            _ => panic!("{received}"),
        }
    }
    payloads
}

/// So many messages in one write, named by their numbers from `first` on; returns when all of them are acknowledged.
async fn offer_numbered(midge: &Midge, topic: &str, numbers: std::ops::Range<u16>) {
    let mut writer = midge.join(crate::support::v4("numbers")).await;
    let mut bytes = Vec::new();
    for number in numbers.clone() {
        let payload = number.to_string();
        let publish = Publish { packet_id: midge::packet::PacketId::new(number + 1), ..message(topic, &payload) };
        Packet::Publish(publish).encode(ProtocolVersion::V4, &mut bytes);
    }
    writer.send_bytes(&bytes).await;
    for number in numbers {
        writer.expect(&format!("PUBACK #{}", number + 1)).await;
    }
    writer.leave().await;
}

fn numbered(numbers: std::ops::Range<u16>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// The message with a Message Expiry Interval, in seconds.
fn expiring<'a>(secs: u32, raw: &'a mut Vec<u8>, publish: Publish<'a>) -> Publish<'a> {
    Property::MessageExpiryInterval(secs).encode(raw);
    let properties = PublishProperties::decode(raw, Sender::Client).expect("properties of a PUBLISH");
    Publish { properties, ..publish }
}

/// An expiry of 50 seconds and a user property.
fn will_properties(raw: &mut Vec<u8>) -> PublishProperties<'_> {
    Property::MessageExpiryInterval(50).encode(raw);
    Property::UserProperty("of", "a").encode(raw);
    PublishProperties { raw, raw_is_forward: false, ..Default::default() }
}
