//! When a driver works, and when it lets others go first.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

use super::super::write::{WRITE_BYTES_ALONG, WRITE_BYTES_MAX};
use super::*;

async fn subscribed(bench: &Bench, qos: QoS) -> Peers {
    let mut client = connected(bench).await;
    client.subscribe(&[("a", at(qos))]).await;
    assert_eq!(client.packets().await, [(PacketType::SubAck, None)]);
    client
}

/// Only where others wait for their turn, only once, and only for a few.
#[tokio::test]
async fn a_receiver_of_few_messages_lets_others_go_first_on_a_busy_thread() {
    let bench = Bench::new();
    let mut receiver = subscribed(&bench, QoS::AtMostOnce).await;
    bench.publish("a", b"1", QoS::AtMostOnce, false);
    receiver.turn().await;
    assert_eq!(receiver.packets().await.len(), 1, "alone it goes at once");

    for others in [2, 40] {
        gather::thread_parks();
        (0..100).for_each(|_| gather::note_poll());
        bench.publish("a", b"2", QoS::AtMostOnce, false);
        receiver.poll();
        assert_eq!(receiver.packets().await.len(), 0, "others may have more");
        (0..others).for_each(|_| bench.publish("a", b"3", QoS::AtMostOnce, false));
        receiver.poll();
        assert_eq!(receiver.packets().await.len(), 1 + others);
    }

    (0..40).for_each(|_| bench.publish("a", b"4", QoS::AtMostOnce, false));
    receiver.poll();
    assert_eq!(receiver.packets().await.len(), 40, "enough for a write of their own");

    (0..1000).for_each(|_| gather::note_poll());
    bench.publish("a", b"5", QoS::AtMostOnce, false);
    receiver.poll();
    assert_eq!(receiver.packets().await.len(), 1, "to one that had none for long nobody else is about to send");
}

/// Sends it, and it is not answered yet.
async fn puts_off(client: &mut Peers, packet: &Packet<'_>) {
    client.put(packet).await;
    gather::thread_parks();
    (0..100).for_each(|_| gather::note_poll());
    assert!(!client.poll());
    assert_eq!(client.packets().await, [], "others come first");
}

/// What comes meanwhile is acknowledged along, in order; and nobody who leaves is owed an answer.
#[tokio::test]
async fn a_few_acknowledgements_let_others_go_first_on_a_busy_thread() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    puts_off(&mut client, &message(1, "nobody")).await;
    client.put(&Packet::PingReq).await;
    client.poll();
    assert_eq!(client.kinds().await, [PacketType::PubAck, PacketType::PingResp], "not twice");

    puts_off(&mut client, &message(2, "nobody")).await;
    client.put(&Packet::Disconnect(Default::default())).await;
    assert!(client.poll(), "a plain socket is closed at once");
    assert_eq!(client.kinds().await, [PacketType::PubAck]);

    let mut client = connected(&bench).await;
    puts_off(&mut client, &message(3, "nobody")).await;
    client.client.shutdown().await.expect("the client's side is closed");
    assert!(client.turn().await, "nobody is there");
    assert_eq!(client.kinds().await, [PacketType::PubAck], "it may still read");

    let mut client = connected(&bench).await;
    (0..1000).for_each(|_| gather::note_poll());
    client.put(&message(4, "nobody")).await;
    client.poll();
    assert_eq!(client.kinds().await, [PacketType::PubAck], "to one that had none for long it goes at once");
    let counts = bench.counts();
    assert_eq!((counts.received_qos1, counts.packets_sent), (4, 3 + 5));
}

/// A client that goes on and on: few messages for it leave with its acknowledgements, which wait once.
#[tokio::test]
async fn messages_and_acknowledgements_wait_together_and_once() {
    let bench = Bench::new();
    let mut client = subscribed(&bench, QoS::AtMostOnce).await;
    for round in 1..=3 {
        bench.publish("a", b"1", QoS::AtMostOnce, false);
        puts_off(&mut client, &message(round, "nobody")).await;
        client.put(&message(round + 10, "nobody")).await;
        client.poll();
        assert_eq!(client.kinds().await, [PacketType::PubAck, PacketType::Publish, PacketType::PubAck]);
    }
}

#[tokio::test]
async fn who_sends_some_messages_at_once_may_have_much_to_do() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    for (messages, has_much) in [(3, false), (4, true)] {
        for packet_id in 1..=messages {
            client.put(&message(packet_id, "nobody")).await;
        }
        client.turn().await;
        assert_eq!(client.driver().ticket.ticks() > 0, has_much, "{messages}");
    }
}

#[tokio::test]
async fn what_comes_too_late_for_its_client_is_lost_once() {
    let bench = Bench::new();
    let mut client = subscribed(&bench, QoS::AtMostOnce).await;
    puts_off(&mut client, &message(1, "nobody")).await;
    let before = bench.counts();
    bench.publish("a", b"x", QoS::AtMostOnce, false);
    client.hang_up().await;
    let counts = bench.counts();
    assert_eq!((counts.matched, counts.delivered_sum(), counts.dropped_sum()), (1, 0, 1));
    // The one try to write both.
    assert_eq!(counts.packets_sent - before.packets_sent, 2);
}

#[tokio::test]
async fn what_was_put_off_for_a_client_that_takes_nothing_has_a_deadline() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    puts_off(&mut client, &message(1, "nobody")).await;
    let Stream::Bare(Secured::Plain(Socket::Unix(stream))) = &client.driver().stream else { unreachable!() };
    while stream.try_write(&[0; 1024]).is_ok() {}
    assert!(!client.poll() && client.driver().unsent.is_some());
    bench.shared.clock.advance(bench.listener.write_timeout);
    assert!(client.is_woken());
    assert!(client.poll(), "it has waited long enough");
}

/// Its alarm rings at the time that was its deadline before it sent that.
#[tokio::test]
async fn who_is_acknowledged_late_and_then_is_silent_is_not_kept_for_ever() {
    let bench = Bench::new();
    let seconds = |n| bench.shared.clock.advance(Duration::from_secs(n));
    let mut client = bench.connect();
    client.connect_kept_alive("c", 10, ConnectProperties::default()).await;
    assert_eq!(client.packets().await, [(PacketType::ConnAck, None)]);
    seconds(5);
    puts_off(&mut client, &message(1, "nobody")).await;
    seconds(10);
    assert!(!client.poll());
    assert_eq!(client.kinds().await, [PacketType::PubAck]);
    seconds(5);
    assert!(client.is_woken(), "silent for one and a half times its keep alive");
    client.poll();
    assert_eq!(client.kinds().await, [PacketType::Disconnect]); // [MQTT-3.1.2-22]
}

#[tokio::test]
async fn what_a_client_sends_itself_leaves_with_the_acknowledgement() {
    let bench = Bench::new();
    let mut client = subscribed(&bench, QoS::AtLeastOnce).await;
    (0..100).for_each(|_| gather::note_poll());
    client.send(&message(7, "a")).await;
    let first_writes = client.packets().await;
    assert_eq!(first_writes, [(PacketType::PubAck, None), (PacketType::Publish, Some(1))]);
}

#[tokio::test]
async fn after_disconnect_a_plain_socket_is_closed_without_waiting() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    client.send(&Packet::Disconnect(Default::default())).await;
    assert!(client.driver.is_none());
}

#[tokio::test]
async fn a_client_at_full_speed_lets_others_go_first() {
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let mut pings = Vec::new();
    Packet::PingReq.encode(ProtocolVersion::V5, &mut pings);
    client.client.write_all(&pings.repeat(20 * 1024)).await.expect("room in the socket");
    client.turn().await;
    let first = client.receive(64 * 1024).await.len() / pings.len();
    assert!((1..20 * 1024).contains(&first), "{first}");
    assert!(client.is_woken());
    client.turn().await;
    let second = client.receive(64 * 1024).await.len() / pings.len();
    assert_eq!(first + second, 20 * 1024);
}

/// Who is told that a message is taken, and asks for the counts, finds it in them.
#[tokio::test]
async fn a_message_is_counted_before_it_is_acknowledged() {
    const MESSAGES: u64 = 500;
    let bench = Bench::new();
    let mut client = connected(&bench).await;
    let fd = client.client.as_fd().try_clone_to_owned().expect("another handle of the socket");
    let socket = std::os::unix::net::UnixStream::from(fd);
    let counters = bench.shared.router.counters().clone();
    // Looks all the time, on a thread of its own: as soon as the bytes are there.
    let watcher = std::thread::spawn(move || {
        for expected in 1..=MESSAGES {
            let mut puback = [0; 5];
            while let Err(error) = (&socket).read_exact(&mut puback) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            }
            let counted = counters.snapshot().received_qos1;
            assert!(counted >= expected, "acknowledged {expected}, counted {counted}");
        }
    });
    for id in 1..=MESSAGES {
        client.send(&message(id as u16, "nobody")).await;
        while bench.counts().received_qos1 < id && !watcher.is_finished() {
            client.turn().await;
        }
        if watcher.is_finished() {
            break;
        }
    }
    // The last of them may still wait for the socket.
    while !watcher.is_finished() {
        client.turn().await;
    }
    watcher.join().expect("acknowledged messages are counted");
}

#[tokio::test]
async fn a_large_message_is_written_in_parts() {
    let bench = Bench::new();
    let mut client = subscribed(&bench, QoS::AtMostOnce).await;
    let Stream::Bare(Secured::Plain(Socket::Unix(socket))) = &client.driver().stream else { panic!("not this") };
    socket2::SockRef::from(&**socket).set_send_buffer_size(4 * 1024 * 1024).expect("as large as there are");
    let payload = vec![b'x'; WRITE_BYTES_MAX + 2 * WRITE_BYTES_ALONG];
    for qos0_messages in [1, 2] {
        bench.publish("a", &payload, QoS::AtMostOnce, false);
        client.turn().await;
        assert_eq!(client.receive(1 << 20).await.len(), WRITE_BYTES_MAX);
        assert!(client.is_woken(), "others come before the rest");
        assert_eq!(bench.counts().delivered_qos0, qos0_messages - 1);
        // It was not the client that stood still.
        bench.shared.clock.advance(Duration::from_secs(60));
        client.turn().await;
        assert!(client.receive(1 << 20).await.len() > 2 * WRITE_BYTES_ALONG);
        assert_eq!(bench.counts().delivered_qos0, qos0_messages);
    }
}

// [MQTT-4.6.0-5], [MQTT-3.10.4-2]
#[tokio::test]
async fn messages_that_others_get_together_come_before_what_their_client_does_next() {
    let publishes = [0x30, 0x05, 0, 1, b'a', 0, b'x'].repeat(3);
    let unsubscribe = [0xA2, 0x06, 0, 9, 0, 0, 1, b'a'];
    let disconnect = [0xE0, 0x00];
    let broken = [0xF0, 0x01, 0xFF];
    for next in [&unsubscribe[..], &disconnect, &broken] {
        let bench = Bench::new();
        let mut client = subscribed(&bench, QoS::AtMostOnce).await;
        let mut other = bench.connect();
        other.connect("other", ConnectProperties::default()).await;
        other.subscribe(&[("a", at(QoS::AtMostOnce))]).await;
        other.packets().await;
        client.client.write_all(&[&publishes, next].concat()).await.expect("the broker reads");
        for _ in 0..4 {
            client.turn().await;
            other.turn().await;
        }
        assert_eq!(other.packets().await, [(PacketType::Publish, None); 3]);
        let own = client.packets().await.iter().filter(|(kind, _)| *kind == PacketType::Publish).count() as u64;
        client.hang_up().await;
        let counts = bench.counts();
        assert_eq!((counts.received_qos0, counts.matched), (3, 6), "{next:?}");
        assert_eq!(counts.matched, counts.delivered_sum() + counts.dropped_sum(), "{next:?}");
        assert_eq!(counts.delivered_qos0, 3 + own, "{next:?}");
    }
}
