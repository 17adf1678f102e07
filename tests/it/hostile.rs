//! Clients that mean no good, or mean it too fast: the broker answers as the standard has it, and nobody else notices.

use crate::support::wire::{self, Connect, PUBACK, Publish, Subscribe, Version, ack, packet, property};
use crate::support::{Case, cases};

cases! {
    ten_thousand_user_properties: V5;
    ten_thousand_user_properties_in_connect: V5;
    topic_of_65_535_slashes: V3 V4 V5;
    filter_of_32_768_pluses: V3 V4 V5;
    alias_for_every_message: V5;
    connections_that_say_nothing_hold_up_nobody: V5;
    half_sent_packets_hold_up_nobody: V3 V4 V5;
    client_that_does_not_read_holds_up_nobody: V3 V4 V5;
    client_that_does_not_read_answers_is_bounded: V4;
    acknowledgements_nobody_asked_for: V3 V4 V5;
    any_bytes_after_connect: V3 V4 V5;
    any_bytes_instead_of_connect: V4;
    any_single_byte_changed: V3 V4 V5;
    connects_and_leaves_in_a_row: V3 V4 V5;
    many_clients_at_once: V3 V4 V5;
}

/// Two clients that want nothing but to talk to each other.
fn others_are_served(case: &Case) {
    let mut bystander = case.client("bystander");
    bystander.subscribe(case.topic("bystander"), 1);
    case.publish(case.message("bystander", "hello"), 1);
    bystander.receive(case.topic("bystander"), "hello", 1);
}

// [MQTT-3.3.2-18]
fn ten_thousand_user_properties(case: &Case) {
    let pairs: Vec<Vec<u8>> = (0..10_000).map(|number: u32| property::user(number.to_string(), "v")).collect();
    let mut client = case.client("a");
    client.subscribe(case.topic("t"), 1);
    client.complete(case.message("t", "x").with(pairs.concat()), 1);
    assert_eq!(client.receive(case.topic("t"), "x", 1).properties.all(0x26), pairs);
}

// Section 3.1.2.11.8
fn ten_thousand_user_properties_in_connect(case: &Case) {
    let pairs: Vec<u8> = (0..10_000).flat_map(|number: u32| property::user(number.to_string(), "v")).collect();
    case.accepted(case.connect("a").with(pairs)).0.ping();
}

// [MQTT-4.7.3-3]: 65,536 levels, none with a character in it. A broker may refuse them; it may not fail over them.
fn topic_of_65_535_slashes(case: &Case) {
    let topic = "/".repeat(65_535);
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter(&topic, 0).bytes());
    client.send_refused(&Publish::new(case.version, &topic, case.id("")).bytes());
    while let Some(frame) = client.next_or_close() {
        match frame.kind() {
            wire::PUBLISH if frame.body.ends_with(case.id("").as_bytes()) => break,
            wire::PUBLISH | wire::SUBACK | wire::DISCONNECT => {}
            _ => panic!("{frame:02x?}"),
        }
    }
    others_are_served(case);
}

// [MQTT-4.7.1-2]
fn filter_of_32_768_pluses(case: &Case) {
    let filter = ["+"; 32_768].join("/");
    assert_eq!(filter.len(), 65_535);
    let mut client = case.client("a");
    client.send(Subscribe::new(case.version, 1).filter(filter, 0).bytes());
    client.send_refused(&wire::PINGREQ);
    while let Some(frame) = client.next_or_close() {
        match frame.kind() {
            0xd0 => break,
            wire::SUBACK | wire::DISCONNECT => {}
            _ => panic!("{frame:02x?}"),
        }
    }
    others_are_served(case);
}

// [MQTT-3.3.2-12]: all that are allowed, each given away twice.
fn alias_for_every_message(case: &Case) {
    let highest = case.limits().topic_alias_maximum;
    let mut client = case.client("a");
    client.subscribe(case.topic("#"), 0);
    for alias in (1..=highest).step_by(usize::from(highest / 1000).max(1)).chain(1..=highest.min(1000)) {
        client.send(case.message(&alias.to_string(), "x").with(property::topic_alias(alias)).bytes());
        client.receive(case.topic(&alias.to_string()), "x", 0);
    }
    others_are_served(case);
}

/// Sockets that are opened and left, and ones that begin a CONNECT and go to sleep.
fn connections_that_say_nothing_hold_up_nobody(case: &Case) {
    let beginning = case.connect("a").bytes();
    let sleepers: Vec<_> = (0..200)
        .map(|number| {
            let mut sleeper = case.open();
            sleeper.send(&beginning[..number % beginning.len()]);
            sleeper
        })
        .collect();
    others_are_served(case);
    drop(sleepers);
    others_are_served(case);
}

/// The same after CONNECT.
fn half_sent_packets_hold_up_nobody(case: &Case) {
    let publish = case.message("t", vec![b'x'; 1000]).bytes();
    let sleepers: Vec<_> = (0..50)
        .map(|number| {
            let mut sleeper = case.client(&format!("sleeper{number}"));
            sleeper.send(&publish[..1 + number * 20]);
            sleeper
        })
        .collect();
    others_are_served(case);
    drop(sleepers);
    others_are_served(case);
}

/// A subscriber that stops reading: what waits for it grows somewhere, and it is not in front of the others.
fn client_that_does_not_read_holds_up_nobody(case: &Case) {
    let mut stalled = case.client("stalled");
    stalled.subscribe(case.topic("t"), 0);
    let mut reader = case.client("reader");
    reader.subscribe(case.topic("t"), 0);
    let mut publisher = case.client("p");
    for number in 0..1000_u32 {
        let payload = number.to_be_bytes().repeat(5000);
        publisher.send(case.message("t", &payload).bytes());
        reader.receive(case.topic("t"), &payload, 0);
    }
    publisher.ping();
    others_are_served(case);
}

/// A client that asks and asks and reads no answer.
fn client_that_does_not_read_answers_is_bounded(case: &Case) {
    let mut stalled = case.client("stalled");
    stalled.send_until_stuck(&wire::PINGREQ.repeat(50_000), 400);
    others_are_served(case);
    drop(stalled);
    others_are_served(case);
}

/// None of these was in flight.
fn acknowledgements_nobody_asked_for(case: &Case) {
    let mut client = case.client("a");
    let acks: Vec<u8> = (1..=5000).flat_map(|id| [ack(PUBACK, id), ack(wire::PUBCOMP, id)].concat()).collect();
    client.send(acks);
    client.ping();
    others_are_served(case);
}

/// Bytes that look like nothing, from a fixed seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Sends bytes and the end of the stream, and reads whatever comes until the broker closes.
fn endure(mut client: crate::support::Client, bytes: &[u8]) {
    client.send_refused(bytes);
    client.finish();
}

/// Whole packets of noise: every type, every flag, bodies of any kind.
fn any_bytes_after_connect(case: &Case) {
    let mut noise = Noise(0x6d69_6467_6500 + case.version as u64);
    for _ in 0..300 {
        let first = noise.next() as u8;
        let body = match noise.below(3) {
            0 => noise.bytes(5),
            1 => [vec![0, 1], noise.bytes(20)].concat(),
            _ => [wire::string(case.topic("noise")), noise.bytes(10)].concat(),
        };
        endure(case.client("noise"), &packet(first, &body));
    }
    others_are_served(case);
}

/// The same where a CONNECT is due.
fn any_bytes_instead_of_connect(case: &Case) {
    let mut noise = Noise(0x6d69_6467_65ff);
    for _ in 0..300 {
        let count = 1 + noise.below(60);
        let mut bytes = noise.bytes(count);
        if noise.below(2) == 0 {
            bytes = packet(wire::CONNECT, &[wire::string("MQTT"), vec![3 + noise.below(3) as u8], bytes].concat());
        }
        endure(case.open(), &bytes);
    }
    others_are_served(case);
}

/// A conversation in which one byte is another.
fn any_single_byte_changed(case: &Case) {
    let mut noise = Noise(0x6d69_6467_65aa + case.version as u64);
    let with = |property: Vec<u8>| if case.version == Version::V5 { property } else { vec![] };
    let conversation = [
        case.connect("changed").user_name("u").bytes(),
        Subscribe::new(case.version, 1)
            .filter(case.topic("c"), 1)
            .with(with(property::subscription_identifier(9)))
            .bytes(),
        case.message("c", "x").qos(1, 1).with(with(property::message_expiry_interval(5))).bytes(),
        case.message("c", "y").qos(2, 2).with(with(property::user("a", "b"))).bytes(),
        ack(wire::PUBREL, 2),
        wire::PINGREQ.to_vec(),
    ]
    .concat();
    for index in 0..conversation.len() {
        let mut changed = conversation.clone();
        changed[index] ^= 1 << noise.below(8);
        endure(case.open(), &changed);
    }
    others_are_served(case);
}

/// As fast as one can.
fn connects_and_leaves_in_a_row(case: &Case) {
    for _ in 0..300 {
        let mut client = case.open();
        client.send([case.connect("a").bytes(), wire::disconnect()].concat());
        client.accepted();
        client.expect_closed();
    }
}

/// Three hundred clients that all talk.
fn many_clients_at_once(case: &Case) {
    let mut clients: Vec<_> =
        (0..300).map(|number| case.accepted(Connect::new(case.version, case.id(&format!("c{number}")))).0).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.subscribe(case.topic(&format!("to/{number}")), 1);
    }
    for number in 0..clients.len() {
        let to = (number * 7 + 1) % clients.len();
        clients[number].send(case.message(&format!("to/{to}"), number.to_string()).qos(1, 1).bytes());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect_success(PUBACK, 1);
        let from = (0..300).find(|from| (from * 7 + 1) % 300 == number).expect("7 and 300 have no common divisor");
        client.receive(case.topic(&format!("to/{number}")), from.to_string(), 1);
    }
}
