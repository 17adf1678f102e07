//! Files made by hand: what they mean, and what is wrong with others.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::store::Store;
use crate::store::memory::MemoryStore;

const WALL: u64 = 1_000_000;
const NOW: BrokerTime = BrokerTime::from_millis(5_000);

/// A file that is put together record by record.
struct Built(Vec<u8>);

fn text(text: &str) -> (Vec<u8>, Vec<u8>) {
    ((text.len() as u16).to_be_bytes().to_vec(), text.as_bytes().to_vec())
}

impl Built {
    fn new(version: u32) -> Self {
        let magic = b"\0\xb5\0mosquitto db";
        Built([&magic[..], &[0; 4], &version.to_be_bytes()].concat()).chunk(1, &[&[9; 8][..], &[1, 8], &[0; 6]])
    }

    fn chunk(mut self, kind: u32, parts: &[&[u8]]) -> Self {
        let body = parts.concat();
        self.0.extend([kind.to_be_bytes(), (body.len() as u32).to_be_bytes()].concat());
        self.0.extend(body);
        self
    }

    /// `properties` with their length in front, or nothing.
    fn message(
        self,
        id: u64,
        expires_at: i64,
        (topic, payload): (&str, &str),
        flags: [u8; 2],
        properties: &[u8],
    ) -> Self {
        let ((source_length, source), (topic_length, topic)) = (text("sender"), text(topic));
        let lengths =
            [&(payload.len() as u32).to_be_bytes()[..], &[0; 2], &source_length, &[0; 2], &topic_length].concat();
        let (id, expires_at) = (id.to_le_bytes(), expires_at.to_le_bytes());
        self.chunk(2, &[&id, &expires_at, &lengths, &[7, 91], &flags, &source, &topic, payload.as_bytes(), properties])
    }

    fn client(self, id: &str, user: &str, interval: u32, expires_at: i64) -> Self {
        let ((id_length, id), (user_length, user)) = (text(id), text(user));
        let (interval, expires_at) = (interval.to_be_bytes(), expires_at.to_le_bytes());
        self.chunk(6, &[&expires_at, &interval, &[0, 9], &id_length, &[7, 91], &user_length, &[0; 4], &id, &user])
    }

    /// `flags`: QoS, state, RETAIN and DUP, direction.
    fn copy(self, client: &str, id: u64, packet_id: u16, flags: [u8; 4], properties: &[u8]) -> Self {
        let (length, client) = text(client);
        self.chunk(3, &[&id.to_le_bytes(), &packet_id.to_be_bytes(), &length, &flags, &client, properties])
    }

    fn subscription(self, client: &str, filter: &str, id: u32, flags: [u8; 2]) -> Self {
        let ((length, client), (filter_length, filter)) = (text(client), text(filter));
        self.chunk(5, &[&id.to_be_bytes(), &length, &filter_length, &flags, &[0; 2], &client, &filter])
    }

    fn retained(self, id: u64) -> Self {
        self.chunk(4, &[&id.to_le_bytes()])
    }

    fn import(&self) -> Result<Imported, Flaw> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(WALL);
        decode(&self.0, NOW, wall, &mut 1)
    }
}

const QUEUED_1: [u8; 4] = [1, 11, 0, 1];
const QUEUED_2: [u8; 4] = [2, 11, 0, 1];

/// Something of everything.
fn rich() -> Built {
    let properties = [11, 3, 0, 1, b't', 0x26, 0, 1, b'k', 0, 1, b'v'];
    Built::new(6)
        .message(10, 0, ("a/1", "first"), [1, 1], &properties)
        .message(11, WALL as i64 + 60, ("a/2", "second"), [2, 0], &[])
        .message(12, WALL as i64 - 1, ("a/3", "expired"), [1, 0], &[])
        .message(13, 0, ("a/4", "inbound"), [2, 0], &[])
        .client("ever", "", u32::MAX, 0)
        .client("hour", "alice", 3600, WALL as i64 + 1800)
        .client("gone", "", 60, WALL as i64 - 5)
        .copy("ever", 10, 5, [1, 3, 0, 1], &[])
        .copy("ever", 11, 6, [2, 5, 0, 1], &[])
        .copy("ever", 12, 0, QUEUED_1, &[])
        .copy("hour", 13, 77, [2, 7, 0, 0], &[])
        .copy("hour", 10, 3, [2, 9, 0x10, 1], &[2, 0x0b, 7])
        .copy("hour", 11, 0, QUEUED_2, &[2, 0x0b, 7])
        .copy("gone", 10, 1, QUEUED_1, &[])
        .subscription("ever", "a/+", 0, [1, 0])
        .subscription("hour", "a/#", 7, [2, 8])
        .subscription("gone", "#", 0, [2, 0])
        .retained(10)
}

#[test]
fn everything_finds_its_place_in_a_store() {
    let imported = rich().import().expect("a file without a flaw");
    let counts = Counts {
        sessions: 2,
        subscriptions: 2,
        copies: 6,
        retained: 1,
        received: 1,
        sessions_ended: 1,
        messages_expired: 1,
        left_behind: 2,
    };
    assert_eq!(imported.counts, counts);

    let store = MemoryStore::default();
    imported.write_into(&store).expect("the store takes it");
    let recovered = store.recovered();
    let [ever, hour] = &recovered.sessions[..] else { panic!("{recovered:?}") };
    assert_eq!((&*ever.record.client_id, ever.record.expiry_interval), ("ever", u32::MAX));
    assert_eq!((&*hour.record.client_id, hour.record.expiry_interval), ("hour", 1800));
    assert_eq!((hour.record.user_name.as_deref(), hour.record.disconnected_at), (Some("alice"), Some(NOW)));
    let (filter, options, id) = &hour.subscriptions[0];
    assert_eq!((&**filter, options.qos, options.retain_as_published), ("a/#", QoS::ExactlyOnce, true));
    assert_eq!(id.map(u32::from), Some(7));
    assert_eq!((&ever.received[..], &hour.received[..]), (&[][..], &[77][..]));

    let (_, packet_id, copy) = &ever.sent[0];
    let copy = copy.as_ref().expect("PUBREC has not come");
    assert_eq!((*packet_id, copy.message.topic(), copy.copy.qos), (6, "a/2", QoS::ExactlyOnce));
    assert_eq!(copy.message.expires_at(), NOW.after_secs(60));
    assert!(matches!(hour.sent[..], [(_, 3, None)]), "PUBREC has come: {:?}", hour.sent);

    let waiting = |owner| {
        let page = store.read_page(owner, RowId::NONE, 10, 1 << 20).expect("a page");
        page.rows.iter().map(|row| (row.message.topic().to_owned(), row.copy.qos as u8)).collect::<Vec<_>>()
    };
    // What waited for PUBREL was for both of them, each at the QoS of its subscription, and comes last.
    assert_eq!(waiting(ever.record.owner), [("a/1".to_owned(), 1), ("a/4".to_owned(), 1)]);
    assert_eq!(waiting(hour.record.owner), [("a/2".to_owned(), 2), ("a/4".to_owned(), 2)]);
    let [(_, retained)] = &recovered.retained[..] else { panic!("{recovered:?}") };
    let forward = [3, 0, 1, b't', 0x26, 0, 1, b'k', 0, 1, b'v'];
    assert_eq!((retained.topic(), retained.payload(), retained.forward()), ("a/1", &b"first"[..], &forward[..]));
}

#[test]
fn a_queue_that_is_not_in_order_of_arrival_keeps_its_own_order() {
    let built = Built::new(6)
        .message(1, 0, ("t", "one"), [1, 0], &[])
        .message(2, 0, ("t", "two"), [1, 0], &[])
        .client("straight", "", u32::MAX, 0)
        .copy("straight", 1, 0, QUEUED_1, &[])
        .copy("straight", 2, 0, QUEUED_1, &[])
        .client("turned", "", u32::MAX, 0)
        .copy("turned", 2, 0, QUEUED_1, &[])
        .copy("turned", 1, 0, QUEUED_1, &[])
        .copy("turned", 1, 0, QUEUED_1, &[]);
    let store = MemoryStore::default();
    built.import().expect("a file without a flaw").write_into(&store).expect("the store takes it");
    let queues: Vec<Vec<_>> = store
        .recovered()
        .sessions
        .iter()
        .map(|session| {
            let page = store.read_page(session.record.owner, RowId::NONE, 10, 1 << 20).expect("a page");
            page.rows.iter().map(|row| String::from_utf8_lossy(row.message.payload()).into_owned()).collect()
        })
        .collect();
    assert_eq!(queues, [vec!["one", "two"], vec!["two", "one", "one"]]);
}

#[test]
fn version_5_has_no_user_names() {
    let (length, id) = text("old");
    let chunk = [&0_i64.to_le_bytes()[..], &u32::MAX.to_be_bytes(), &[0, 0], &length, &id].concat();
    let imported = Built::new(5).chunk(6, &[&chunk]).import().expect("a file without a flaw");
    assert_eq!(imported.counts, Counts { sessions: 1, ..Counts::default() });
}

#[test]
fn a_user_name_that_is_none_is_left_out() {
    for user in ["alice\0\0\u{1}", "\0"] {
        let store = MemoryStore::default();
        let imported = Built::new(6).client("c", user, u32::MAX, 0).import().expect("a file without a flaw");
        imported.write_into(&store).expect("the store takes it");
        assert_eq!(store.recovered().sessions[0].record.user_name, None);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let flaw = |built: Built| match built.import().expect_err("a flaw") {
        Flaw::Damaged { offset, what } => format!("{offset}: {what}"),
        other => format!("{other:?}"),
    };
    // The file's head has 23 bytes, the first record 24: the next one begins at byte 47, its fields at 55.
    let cases = [
        (Built(b"\0\xb5\0mosquitto dp-".to_vec()), "Foreign"),
        (Built(Vec::new()), "Foreign"),
        (Built::new(4), "Version(4)"),
        (Built::new(7), "Version(7)"),
        (Built::new(6).chunk(9, &[]), "47: there is no record of kind 9"),
        (Built::new(6).chunk(4, &[&[1; 9]]), "63: 1 bytes too many in this record"),
        (Built::new(6).chunk(4, &[&[1; 7]]), "55: 8 bytes were expected, and 7 are left"),
        (Built::new(6).retained(3), "47: there is no message 3"),
        (Built::new(6).client("", "", 1, 0), "79: a client without an identifier"),
        (Built::new(6).subscription("c", "a/#/b", 0, [1, 0]), "68: '#' at byte 2"),
        (Built::new(6).subscription("c", "a", 0, [3, 0]), "63: there is no QoS 3"),
        (Built::new(6).message(1, 0, ("a/+", ""), [0, 0], &[]), "93: '+' at byte 2"),
        (Built::new(6).message(1, 0, ("a", ""), [0, 0], &[9, 3]), "94: properties of 9 bytes, and 1 are left"),
        (Built::new(6).client("c", "", u32::MAX, 0).client("c", "", 1, 0), "88: client \"c\" is there twice"),
        (
            Built::new(6).message(1, 0, ("a", ""), [0, 0], &[]).copy("c", 1, 0, [1, 12, 0, 1], &[]),
            "a message is never in state 12",
        ),
        (
            Built::new(6).message(1, 0, ("a", ""), [0, 0], &[]).copy("c", 1, 0, QUEUED_1, &[]),
            "there is no client \"c\"",
        ),
    ];
    for (built, expected) in cases {
        let found = flaw(built);
        assert!(found.contains(expected), "{found} instead of {expected}");
    }
}

#[test]
fn the_file_is_named_and_where_it_can_be_read_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join(FILE_NAME);
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a temporary file");
        read(directory.path(), NOW, &mut 1).expect_err("a flaw").to_string()
    };
    let begins = |text: &str| format!("{}: {text}", path.display());
    assert_eq!(
        message(&Built::new(3).0),
        begins("version 3 of mosquitto's format, and 5 and 6 can be read; mosquitto 2.0 rewrites it at its next stop")
    );
    assert_eq!(message(b"SQLite"), begins("no persistence file of mosquitto: it begins otherwise"));
    assert_eq!(message(&Built::new(6).retained(3).0), begins("byte 47: there is no message 3"));
    fs::remove_file(&path).expect("just written");
    assert!(read(directory.path(), NOW, &mut 1).is_err());
}

/// Whatever a file says, it is an answer, and takes no more memory than a file of its size may.
#[test]
fn damaged_files_are_refused_or_understood_and_nothing_else() {
    let seed = std::env::var("MIDGE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("MIDGE_SEED={seed}");
    let (mut random, whole) = (StdRng::seed_from_u64(seed), rich().0);
    let mut understood = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..5) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = random.random(),
                2 => bytes[at] ^= 1 << random.random_range(0..8),
                3 => drop(bytes.splice(at..at, [random.random()])),
                _ => {
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].fill(0xff);
                }
            }
        }
        if let Ok(imported) = Built(bytes).import() {
            understood += 1;
            imported.write_into(&MemoryStore::default()).expect("the store takes it");
        }
    }
    assert!((1000..19_000).contains(&understood), "both answers are common: {understood}");
}
