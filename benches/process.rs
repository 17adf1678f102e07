//! Figures of a broker as a process, filled over the network: how long it takes to start on a large store after a kill,
//! from its exec to its first CONNACK, with what the kernel has in memory and without; and how soon its files are small
//! again when messages have expired.
//!
//! `cargo bench --bench process` takes a directory in `MIDGE_BENCH_DIR`, else the temporary one, and how many thousand
//! messages wait in `MIDGE_BENCH_THOUSANDS`, else 1000. `-- starts` and `-- expiry` ask for one of the two.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SESSIONS: u32 = 100_000;
const THREADS: u32 = 64;
/// What a publisher has under way.
const IN_FLIGHT: usize = 500;

fn main() {
    // Cargo asks every bench for its tests, too.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let thousands = std::env::var("MIDGE_BENCH_THOUSANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let asked = |name: &str| {
        let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|asked| asked == name)
    };
    for receivers in [SESSIONS, SESSIONS / 100].into_iter().filter(|_| asked("starts")) {
        starts(receivers, thousands * 1000 / receivers);
    }
    if asked("expiry") {
        expiry(thousands);
    }
}

fn place() -> tempfile::TempDir {
    std::env::var_os("MIDGE_BENCH_DIR")
        .map(tempfile::tempdir_in)
        .unwrap_or_else(tempfile::tempdir)
        .expect("a directory")
}

fn say(what: &str, figure: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{what:<58} {figure}");
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Starts that find what a kill has left.
fn starts(receivers: u32, each: u32) {
    let place = place();
    let directory = place.path();
    say("sessions, and messages of 100 B", format!("{SESSIONS}, {each} for each of {receivers}"));
    let (broker, address, _) = start(directory);
    let filling = Instant::now();
    in_parallel(SESSIONS, |id| sleep(address, id));
    let forever = Outgoing { payload: &[7; 100], expiry: None, retain: false };
    publish_all(address, receivers, each, &[forever]);
    say("… filled over the network in", seconds(filling.elapsed()));
    kill(broker);
    let bytes = read_all(directory).0;
    say("… files", format!("{} MB", bytes >> 20));
    let (broker, warm, said) = timed(directory);
    said.iter().for_each(|line| say("… it says", line));
    say("… from exec to CONNACK, files in the page cache", seconds(warm));
    say("… memory then", format!("{} MB", rss_bytes(broker.id()) >> 20));
    kill(broker);
    let forgetting = forget(directory);
    let (broker, cold, _) = timed(directory);
    say(&format!("… from exec to CONNACK, cold ({forgetting})"), seconds(cold));
    say("… read from the disk for that", format!("{} MB", read_bytes(broker.id()) >> 20));
    kill(broker);
    forget(directory);
    let (bytes, took) = read_all(directory);
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    say("… the disk reads these files one after the other with", format!("{rate:.0} MB/s, in {}", seconds(took)));
}

fn start(directory: &Path) -> (Child, SocketAddr, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_midge"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory)
        .env("MIDGE_LOG__FORMAT", "json")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("midge");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let address = loop {
        let line = lines.next().expect("it serves");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        match event["message"].as_str() {
            Some("listening") => break event["address"].as_str().and_then(|text| text.parse().ok()),
            Some(message) if event["percent"].is_number() => said.push(format!("{message}, {}%", event["percent"])),
            _ => {}
        }
    };
    // Whoever logs must not wait for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("an address"), said)
}

fn timed(directory: &Path) -> (Child, Duration, Vec<String>) {
    let exec = Instant::now();
    let (broker, address, said) = start(directory);
    connect(address, "the first");
    (broker, exec.elapsed(), said)
}

fn kill(mut broker: Child) {
    broker.kill().expect("it ran");
    broker.wait().expect("it has ended");
}

fn rss_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Program and files, as far as the kernel did not have them.
fn read_bytes(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).expect("/proc");
    let read = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).expect("read_bytes");
    read.parse().expect("a number")
}

/// Takes the files out of the kernel's memory, and the program too where that is allowed; says how.
fn forget(directory: &Path) -> &'static str {
    rustix::fs::sync();
    if std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return "drop_caches";
    }
    for entry in std::fs::read_dir(directory).expect("files").flatten() {
        let file = File::open(entry.path()).expect("a file");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is taken");
    }
    "posix_fadvise"
}

/// Reads all files from beginning to end; their bytes, and how long that took.
fn read_all(directory: &Path) -> (u64, Duration) {
    let (start, mut bytes, mut piece) = (Instant::now(), 0, vec![0; 1 << 20]);
    for entry in std::fs::read_dir(directory).expect("files").flatten() {
        let mut file = File::open(entry.path()).expect("a file");
        loop {
            match file.read(&mut piece).expect("readable") {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    (bytes, start.elapsed())
}

/// Of messages of 2 KB for a thousand sessions that sleep, two fifths expire while others are retained.
fn expiry(each: u32) {
    const RECEIVERS: u32 = 1000;
    let place = place();
    let (broker, address, _) = start(place.path());
    in_parallel(RECEIVERS, |id| sleep(address, id));
    let stays = Outgoing { payload: &[7; 2000], expiry: None, retain: false };
    let expires = Outgoing { expiry: Some(EXPIRY.as_secs() as u32), ..stays };
    publish_all(address, RECEIVERS, each, &[expires, stays, expires, stays, stays]);
    let expired = Instant::now() + EXPIRY;
    // All that ever is needed but for what the load keeps.
    let needed = u64::from(RECEIVERS * each) * 3 / 5 * 2000;
    say("messages of 2 KB, of which two fifths expire", RECEIVERS * each);
    say("… files", format!("{} MB", read_all(place.path()).0 >> 20));
    let (mut small, mut largest, mut stored) = (None, 0.0, 0);
    let load = Outgoing { retain: true, ..stays };
    while Instant::now() < expired + 2 * WITHIN {
        publish_all(address, 1000, 1, &[load]);
        stored += 1000;
        let part = bytes(place.path()) as f64 / (needed / 5 * 6 + BESIDE) as f64;
        let since = Instant::now().saturating_duration_since(expired);
        if part <= 1.0 && small.is_none() {
            small = Some(since);
        }
        if since > WITHIN {
            largest = part.max(largest);
        }
    }
    say("… within 1.2 of their payloads + 128 MB, under load, after", small.map_or("never".into(), seconds));
    say("… the most of that from 60 s to 120 s", format!("{:.0} %", largest * 100.0));
    say("… retained meanwhile", format!("{:.0} /s", f64::from(stored) / (EXPIRY + 2 * WITHIN).as_secs_f64()));
    kill(broker);
}

const EXPIRY: Duration = Duration::from_secs(20);
/// What the files may take beside what is needed: a fifth of that, and this.
const BESIDE: u64 = 128 << 20;
const WITHIN: Duration = Duration::from_secs(60);

fn bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("files").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn in_parallel(count: u32, each: impl Fn(u32) + Sync) {
    let each = &each;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || (thread..count).step_by(THREADS as usize).for_each(each));
        }
    });
}

/// A packet of less than 16 KB.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = ((body.len() % 128) as u8, (body.len() / 128) as u8);
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [&[first][..], &length, body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// With MQTT 5 and a session that outlives the connection.
fn connect(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_nodelay(true).expect("a socket");
    let for_ever = [5, 0x11, 0xff, 0xff, 0xff, 0xff];
    let body = [&string("MQTT")[..], &[5, 0, 0, 0], &for_ever, &string(client_id)].concat();
    client.write_all(&packet(0x10, &body)).expect("it reads");
    assert_eq!(answer(&mut client, 0x20)[1], 0, "the reason code");
    client
}

/// The body of the next packet.
fn answer(client: &mut impl Read, first: u8) -> Vec<u8> {
    let mut head = [0; 2];
    client.read_exact(&mut head).expect("it answers");
    assert_eq!(head[0], first);
    let mut body = vec![0; head[1].into()];
    client.read_exact(&mut body).expect("it answers");
    body
}

fn sleep(address: SocketAddr, id: u32) {
    let mut client = connect(address, &format!("sleeper-{id}"));
    let body = [&[0, 1, 0][..], &string(&format!("site/plant/{id}/temperature")), &[1]].concat();
    client.write_all(&packet(0x82, &body)).expect("it reads");
    assert_eq!(answer(&mut client, 0x90)[3], 1, "the granted QoS");
    client.write_all(&[0xe0, 0]).expect("it reads");
    // The broker closes when it has parked the session.
    assert_eq!(client.read(&mut [0]).expect("it closes"), 0);
}

/// What is published again and again.
#[derive(Clone, Copy)]
struct Outgoing<'a> {
    payload: &'a [u8],
    expiry: Option<u32>,
    retain: bool,
}

/// One message after the other for each receiver, and that so often; the retained ones for nobody.
fn publish_all(address: SocketAddr, receivers: u32, each: u32, messages: &[Outgoing<'_>]) {
    const PUBLISHERS: u32 = 4;
    let publish = |part: u32| {
        let mut client = connect(address, &format!("publisher-{part}"));
        let mut answers = BufReader::new(client.try_clone().expect("a socket"));
        let ids: Vec<_> = (0..each).flat_map(|_| (part..receivers).step_by(PUBLISHERS as usize)).collect();
        let mut messages = messages.iter().cycle();
        for some in ids.chunks(IN_FLIGHT) {
            let mut bytes = Vec::new();
            for (receiver, id) in some.iter().zip(1u16..) {
                let Outgoing { payload, expiry, retain } = messages.next().expect("there is one");
                let place = if *retain { "retained" } else { "site" };
                let topic = string(&format!("{place}/plant/{receiver}/temperature"));
                let expiry = expiry.map(|expiry| [&[2][..], &expiry.to_be_bytes()].concat()).unwrap_or_default();
                let properties = [&[expiry.len() as u8][..], &expiry].concat();
                let body = [&topic[..], &id.to_be_bytes(), &properties, payload].concat();
                bytes.extend(packet(0x32 | u8::from(*retain), &body));
            }
            client.write_all(&bytes).expect("it reads");
            // Success has no reason code; nobody who gets it, and nothing else, is one all the same.
            some.iter().for_each(|_| assert!([0, 0x10].contains(answer(&mut answers, 0x40).get(2).unwrap_or(&0))));
        }
    };
    std::thread::scope(|scope| (0..PUBLISHERS).for_each(|part| drop(scope.spawn(move || publish(part)))));
}
