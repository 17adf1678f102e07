//! A disk that fails for good: nothing is acknowledged on hope, who is refused hears why, and what needs no disk goes on.

use midge::packet::{Publish, QoS};

use crate::broker::{Broker, Site};
use crate::client::Client;
use crate::http;
use crate::lasting;
use crate::packets::{message, v4, v5};

const MESSAGES: usize = 500;

fn at<'a>(qos: QoS, topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { qos, ..message(topic, payload) }
}

/// The payloads of the next so many messages, each acknowledged.
async fn take(client: &mut Client, messages: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    while payloads.len() < messages {
        let received = client.next().await;
        payloads.push(String::from_utf8_lossy(received.publish().payload).into_owned());
        client.acknowledge(&received).await;
    }
    payloads
}

fn readyz(broker: &Broker) -> u16 {
    http::get(broker.admin, "/readyz").code
}

#[tokio::test]
async fn what_a_failing_disk_does_not_keep_is_refused_and_everything_else_goes_on() {
    let site = Site::new("[limits]\ninflight_max = 10\n[[store.rules]]\nfilter = \"memory\"\ndurability = \"memory\"");
    let broker = site.start();
    let (mut reader, _) = broker.join(lasting("reader", 3600)).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let (mut writer, _) = broker.join(v5("writer")).await;
    let kept: Vec<_> = (0..MESSAGES).map(|n| n.to_string()).collect();
    for payload in &kept {
        assert_eq!(writer.offer(message("a", payload)).await, "0x00");
    }
    let (mut watcher, _) = broker.join(v5("watcher")).await;
    watcher.subscribe("memory", QoS::ExactlyOnce).await;
    assert_eq!(readyz(&broker), 200);

    site.begin("disk-fails");
    let (mut old, _) = broker.join(v4("3.1.1")).await;
    let (mut new, _) = broker.join(v5("5.0")).await;
    for client in [&mut old, &mut new] {
        client.publish(message("a", "lost")).await;
    }
    old.expect_closed().await;
    // DISCONNECT, or PUBACK if the store has heard of it before.
    let refusal = new.next().await;
    assert!(refusal.to_string().ends_with(" 0x97"), "{refusal}");
    assert_eq!(readyz(&broker), 503);
    assert_eq!(http::get(broker.admin, "/livez").code, 200);

    // It may work again: what the system made of what it had been given, nobody knows.
    site.end("disk-fails");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        writer.publish(at(qos, "a", "refused")).await;
        let refusal = writer.next().await;
        assert!(refusal.to_string().ends_with(" 0x97"), "{refusal}");
        assert_eq!(refusal.reason().as_deref(), Some("the store has failed"));
        let (mut old, _) = broker.join(v4("old")).await;
        old.publish(at(qos, "a", "refused")).await;
        old.expect_closed().await;
    }
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(writer.offer(at(qos, "memory", "goes on")).await, "0x00");
        watcher.expect(&format!("PUBLISH q{} memory 'goes on'", qos as u8)).await;
    }
    assert_eq!(take(&mut reader, MESSAGES).await, kept);
    assert_eq!(readyz(&broker), 503);

    drop(broker);
    let broker = site.start();
    let (mut reader, is_present) = broker.join(lasting("reader", 3600)).await;
    assert!(is_present);
    // Its acknowledgements were not kept. What was not acknowledged may be there, what was refused is not.
    assert_eq!(take(&mut reader, MESSAGES).await, kept);
    assert_eq!(readyz(&broker), 200);
    let (mut writer, _) = broker.join(v5("writer")).await;
    assert_eq!(writer.offer(message("a", "last")).await, "0x00");
    let mut rest = Vec::new();
    while rest.last().is_none_or(|last| last != "last") {
        rest.extend(take(&mut reader, 1).await);
    }
    assert!(!rest.contains(&"refused".to_owned()), "{rest:?}");
}
