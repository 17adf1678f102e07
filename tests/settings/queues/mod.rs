//! What happens when a queue is full: whose loss it is, who is told, and what is counted.

mod away;
mod full_window;
mod groups;
mod losses;
pub mod retained;
mod slow_reader;

use midge::packet::{Connect, ConnectProperties, QoS};

use crate::support::{Client, Midge, v5};

/// A session that is kept while its client is away.
pub fn lasting(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: Some(100_000), ..Default::default() };
    Connect { clean_start: false, properties, ..v5(client_id) }
}

/// A subscriber that has subscribed to a filter and gone away.
pub async fn away(midge: &Midge, client_id: &str, filter: &str) {
    let mut client = midge.join(lasting(client_id)).await;
    client.subscribe(filter, QoS::ExactlyOnce).await;
    client.leave().await;
}

/// The payloads of everything that waits for a client that comes back.
pub async fn waiting(midge: &Midge, client_id: &str) -> Vec<String> {
    let mut client = midge.dial(midge::packet::ProtocolVersion::V5).await;
    assert_eq!(client.connect(lasting(client_id)).await.to_string(), "CONNACK 0x00 present");
    let payloads = deliveries(&mut client).await;
    client.leave().await;
    payloads
}

/// The payloads of everything that is there for a client; it acknowledges what comes at QoS 1.
pub async fn deliveries(client: &mut Client) -> Vec<String> {
    let mut payloads = Vec::new();
    client.send(&midge::packet::Packet::PingReq).await;
    loop {
        let received = client.next().await;
        if !received.is_publish() {
            assert_eq!(received.to_string(), "PINGRESP");
            return payloads;
        }
        let publish = received.publish();
        payloads.push(String::from_utf8_lossy(publish.payload).into_owned());
        if publish.qos == QoS::AtLeastOnce {
            client.acknowledge(&received).await;
        }
    }
}

/// Every copy of every message is accounted for.
#[track_caller]
pub fn assert_accounted(midge: &Midge) {
    let accounting = midge.broker.accounting();
    assert!(accounting.is_balanced(), "{accounting:?}");
}
