//! Files that Debian's mosquitto has written, read by the importer: what its clients left behind is what the store gets.

#[allow(dead_code)]
#[path = "../crash/broker.rs"]
mod broker;
#[allow(dead_code)]
#[path = "../crash/connection.rs"]
mod connection;
#[allow(dead_code)]
#[path = "../it/support/received.rs"]
mod received;
#[allow(dead_code)]
#[path = "../it/support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use broker::{Site, Target};
use connection::{Connection, Next};
use midge::import::mosquitto::{FILE_NAME, read};
use midge::import::{Counts, Imported};
use midge::message::{BrokerTime, RowId};
use midge::store::memory::MemoryStore;
use midge::store::{Recovered, RecoveredSession, Store};
use midge::topic::QoS;
use received::Frame;
use wire::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, SUBACK, Subscribe, Version, ack, property};

const PATIENCE: Duration = Duration::from_secs(20);
const NOW: BrokerTime = BrokerTime::from_millis(77_000);

fn connect(address: SocketAddr, connect: &Connect) -> Connection {
    Connection::open(address, connect, PATIENCE).expect("mosquitto accepts").0
}

/// Sends, and the next packet is of this kind.
fn ask(connection: &mut Connection, bytes: &[u8], kind: u8) -> Frame {
    connection.send(bytes).expect("mosquitto reads");
    loop {
        match connection.next() {
            Next::Packet(frame) if frame.first == kind || frame.kind() == kind => return frame,
            Next::Packet(frame) => assert_eq!(frame.kind(), wire::PUBLISH, "{frame:02x?}"),
            _ => panic!("a packet that begins with {kind:02x} was expected"),
        }
    }
}

fn subscribe(address: SocketAddr, session: &Connect, subscribe: Subscribe) {
    let mut client = connect(address, session);
    ask(&mut client, &subscribe.bytes(), SUBACK);
    client.leave().expect("mosquitto is there");
}

fn five() -> Connect {
    Connect::new(Version::V5, "five").resume().with(property::session_expiry_interval(3600)).user_name("frida")
}

fn three() -> Connect {
    Connect::new(Version::V4, "three").lasting()
}

/// Sessions away, in the middle of QoS 2 in both directions, and retained messages.
fn leave_state_behind(address: SocketAddr) {
    let filter = Subscribe::new(Version::V4, 1).filter("a/+", 1).filter("x", 0);
    subscribe(address, &three(), filter);
    let filter = Subscribe::new(Version::V5, 1).filter("a/#", 2 | 8).with(property::subscription_identifier(7));
    subscribe(address, &five(), filter);

    let mut publisher = connect(address, &Connect::new(Version::V5, "publisher"));
    let publish = Publish::new(Version::V5, "a/1", "retained").retain().qos(1, 1);
    let publish = publish.with(property::content_type("text")).with(property::user("k", "v"));
    ask(&mut publisher, &publish.with(property::message_expiry_interval(1000)).bytes(), PUBACK);
    for (id, topic) in [(2, "a/2"), (3, "a/3"), (4, "a/4")] {
        ask(&mut publisher, &Publish::new(Version::V5, topic, topic).qos(2, id).bytes(), PUBREC);
        ask(&mut publisher, &ack(PUBREL, id), PUBCOMP);
    }
    let short = Publish::new(Version::V5, "a/5", "short").qos(1, 5).with(property::message_expiry_interval(3000));
    ask(&mut publisher, &short.bytes(), PUBACK);
    publisher.leave().expect("mosquitto is there");

    // Four deliveries: the first of QoS 2 gets as far as PUBREL, the others are not answered.
    let mut five = connect(address, &five());
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let Next::Packet(frame) = five.next() else { panic!("a message was expected") };
        let publish = received::Publish::read(Version::V5, &frame);
        if publish.qos == 2 {
            ids.push(publish.id);
        }
    }
    ask(&mut five, &ack(PUBREC, ids[0]), PUBREL);
    drop(five);

    let mut sender = connect(address, &Connect::new(Version::V4, "sender").lasting());
    ask(&mut sender, &Publish::new(Version::V4, "a/in", "inbound").qos(2, 900).bytes(), PUBREC);
}

fn import(path: &Path) -> (Imported, Recovered, MemoryStore) {
    let mut next_owner = 40;
    let imported = read(path, NOW, &mut next_owner).expect("a file of mosquitto");
    assert_eq!(next_owner, 43);
    let store = MemoryStore::default();
    imported.write_into(&store).expect("the store takes it");
    (imported, store.recovered(), store)
}

fn session<'a>(recovered: &'a Recovered, client_id: &str) -> &'a RecoveredSession {
    let session = recovered.sessions.iter().find(|session| &*session.record.client_id == client_id);
    session.unwrap_or_else(|| panic!("no session of {client_id}"))
}

#[test]
fn what_mosquitto_has_saved_is_what_a_store_gets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let site = Site::new(Target::Mosquitto, directory.path(), directory.path(), "");
    let (broker, address) = site.start();
    leave_state_behind(address);
    broker.stop();

    let (imported, recovered, store) = import(directory.path());
    let counts = Counts { sessions: 3, subscriptions: 3, copies: 12, retained: 1, received: 1, ..Counts::default() };
    assert_eq!(imported.counts, counts);

    let (three, five) = (session(&recovered, "three"), session(&recovered, "five"));
    assert_eq!((three.record.expiry_interval, three.record.user_name.as_deref()), (u32::MAX, None));
    assert_eq!(five.record.user_name.as_deref(), Some("frida"));
    assert!((3500..=3600).contains(&five.record.expiry_interval), "{five:?}");
    let subscriptions = |session: &RecoveredSession| {
        let all = session.subscriptions.iter();
        all.map(|(filter, options, id)| {
            (filter.to_string(), options.qos, options.retain_as_published, id.map(u32::from))
        })
        .collect::<Vec<_>>()
    };
    let of_three = [("a/+".to_owned(), QoS::AtLeastOnce, false, None), ("x".to_owned(), QoS::AtMostOnce, false, None)];
    assert_eq!(subscriptions(three), of_three);
    assert_eq!(subscriptions(five), [("a/#".to_owned(), QoS::ExactlyOnce, true, Some(7))]);
    assert_eq!(session(&recovered, "sender").received, [900]);

    let waiting = |session: &RecoveredSession| {
        let page = store.read_page(session.record.owner, RowId::NONE, 100, 1 << 20).expect("a page");
        page.rows.into_iter().map(|row| (row.message.topic().to_owned(), row.copy.qos as u8)).collect::<Vec<_>>()
    };
    let queue = |topics: &[(&str, u8)]| topics.iter().map(|(topic, qos)| (topic.to_string(), *qos)).collect::<Vec<_>>();
    assert_eq!(waiting(three), queue(&[("a/1", 1), ("a/2", 1), ("a/3", 1), ("a/4", 1), ("a/5", 1), ("a/in", 1)]));
    assert_eq!(waiting(five), queue(&[("a/1", 1), ("a/5", 1), ("a/in", 2)]));
    let sent: Vec<_> = five.sent.iter().map(|(_, _, copy)| copy.as_ref().map(|row| row.message.topic())).collect();
    assert_eq!(sent, [None, Some("a/3"), Some("a/4")]);
    let copy = five.sent[1].2.as_ref().expect("just seen");
    assert_eq!(copy.copy.subscription_ids.as_slice(), [7]);

    let [(_, retained)] = &recovered.retained[..] else { panic!("{recovered:?}") };
    assert_eq!((retained.topic(), retained.payload()), ("a/1", &b"retained"[..]));
    let forward = [property::content_type("text"), property::user("k", "v")].concat();
    assert_eq!(retained.forward(), forward);
    let left = retained.remaining_expiry(NOW).expect("it expires");
    assert!((900..=1000).contains(&left), "{left}");
}

/// A file that mosquitto reads itself is read here, too, whatever it has been through: saved, read, saved again.
#[test]
fn a_file_that_mosquitto_has_read_and_saved_again_says_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let site = Site::new(Target::Mosquitto, directory.path(), directory.path(), "");
    let (broker, address) = site.start();
    leave_state_behind(address);
    broker.stop();
    let before = import(&directory.path().join(FILE_NAME)).0.counts;
    let (broker, _) = site.start();
    broker.stop();
    assert_eq!(import(directory.path()).0.counts, before);
}

fn midge_import(from: &Path, into: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.args(["import", "mosquitto"]).arg(from).arg("--data-dir").arg(into);
    command.output().expect("midge runs")
}

#[test]
fn clients_of_mosquitto_go_on_with_midge() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (saved, data) = (directory.path().join("mosquitto"), directory.path().join("data"));
    let (broker, address) = Site::new(Target::Mosquitto, directory.path(), &saved, "").start();
    leave_state_behind(address);
    broker.stop();

    let output = midge_import(&saved, &data);
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = "3 sessions, 3 subscriptions, 12 waiting messages, 1 retained messages, 1 unfinished QoS 2 exchanges";
    assert!(output.status.success() && said.contains(summary), "{output:?}");

    let (broker, address) = Site::new(Target::Midge, directory.path(), &data, "").start();
    let (mut five, connack) = Connection::open(address, &five(), PATIENCE).expect("midge accepts");
    assert!(connack.session_present);
    let (mut topics, mut released) = (Vec::new(), 0);
    while topics.len() < 5 || released == 0 {
        let Next::Packet(frame) = five.next() else { panic!("{topics:?} and no more") };
        if frame.kind() == wire::PUBLISH {
            topics.push(received::Publish::read(Version::V5, &frame).topic);
        } else {
            assert_eq!(frame.first, PUBREL, "{frame:02x?}");
            released += 1;
        }
    }
    topics.sort();
    assert_eq!(topics, ["a/1", "a/3", "a/4", "a/5", "a/in"]);
    let (mut sender, connack) =
        Connection::open(address, &Connect::new(Version::V4, "sender").lasting(), PATIENCE).expect("midge accepts");
    assert!(connack.session_present);
    ask(&mut sender, &ack(PUBREL, 900), PUBCOMP);
    broker.stop();
}

#[test]
fn an_import_into_a_directory_with_state_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (saved, data) = (directory.path().join("mosquitto"), directory.path().join("data"));
    let (broker, address) = Site::new(Target::Mosquitto, directory.path(), &saved, "").start();
    leave_state_behind(address);
    broker.stop();
    assert!(midge_import(&saved, &data).status.success());
    let again = midge_import(&saved, &data);
    let complaint = format!("{} has sessions or messages already", data.display());
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains(&complaint), "{again:?}");

    let missing = directory.path().join("missing");
    let output = midge_import(&missing, &directory.path().join("other"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&missing.display().to_string()), "{output:?}");
    assert!(!directory.path().join("other").exists(), "a data directory was left behind");
}
