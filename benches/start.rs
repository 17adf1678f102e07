//! How long a broker with a large store takes to start: a real process, filled over the network, killed, and timed from
//! its exec to its first CONNACK, with what the kernel has in memory and without.
//!
//! `cargo bench --bench start` takes a directory in `MIDGE_BENCH_DIR`, else the temporary one, and how many thousand
//! messages wait in `MIDGE_BENCH_THOUSANDS`, else 1000.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SESSIONS: u32 = 100_000;
const THREADS: u32 = 64;
/// What a publisher has under way.
const IN_FLIGHT: u32 = 500;
const PAYLOAD: [u8; 100] = [7; 100];

fn main() {
    // Cargo asks every bench for its tests, too.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let thousands = std::env::var("MIDGE_BENCH_THOUSANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    for receivers in [SESSIONS, SESSIONS / 100] {
        let place = std::env::var_os("MIDGE_BENCH_DIR").map(tempfile::tempdir_in).unwrap_or_else(tempfile::tempdir);
        let place = place.expect("a directory");
        let each = thousands * 1000 / receivers;
        say("sessions, and messages of 100 B", format!("{SESSIONS}, {each} for each of {receivers}"));
        let (broker, address, _) = start(place.path());
        let filling = Instant::now();
        fill(address, receivers, each);
        say("… filled over the network in", seconds(filling.elapsed()));
        kill(broker);
        time(place.path());
    }
}

fn say(what: &str, figure: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{what:<58} {figure}");
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Starts that find what a kill has left.
fn time(directory: &Path) {
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

/// All sessions, and the messages for those that get some.
fn fill(address: SocketAddr, receivers: u32, each: u32) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || (thread..SESSIONS).step_by(THREADS as usize).for_each(|id| sleep(address, id)));
        }
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || publish(address, thread, receivers / 4, each));
        }
    });
}

/// The packet of MQTT 3.1.1.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = ((body.len() % 128) as u8, (body.len() / 128) as u8);
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [&[first][..], &length, body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// With a session that outlives the connection.
fn connect(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_nodelay(true).expect("a socket");
    let body = [&string("MQTT")[..], &[4, 0, 0, 0], &string(client_id)].concat();
    client.write_all(&packet(0x10, &body)).expect("it reads");
    let mut connack = [0; 4];
    client.read_exact(&mut connack).expect("it answers");
    assert_eq!(connack[3], 0);
    client
}

fn sleep(address: SocketAddr, id: u32) {
    let mut client = connect(address, &format!("sleeper-{id}"));
    let body = [&[0, 1][..], &string(&format!("site/plant/{id}/temperature")), &[1]].concat();
    client.write_all(&packet(0x82, &body)).expect("it reads");
    let mut suback = [0; 5];
    client.read_exact(&mut suback).expect("it answers");
    assert_eq!(suback[4], 1);
    client.write_all(&[0xe0, 0]).expect("it reads");
    // The broker closes when it has parked the session.
    assert_eq!(client.read(&mut suback).expect("it closes"), 0);
}

/// One message after the other for a part of the receivers, so often.
fn publish(address: SocketAddr, part: u32, receivers: u32, each: u32) {
    let mut client = connect(address, &format!("publisher-{part}"));
    let mut acks = [0; 4 * IN_FLIGHT as usize];
    let topics: Vec<_> =
        (0..receivers).map(|id| string(&format!("site/plant/{}/temperature", 4 * id + part))).collect();
    let all: Vec<_> = (0..each).flat_map(|_| &topics).collect();
    for some in all.chunks(IN_FLIGHT as usize) {
        let mut bytes = Vec::new();
        for (topic, id) in some.iter().zip(1u16..) {
            bytes.extend(packet(0x32, &[topic, &id.to_be_bytes()[..], &PAYLOAD].concat()));
        }
        client.write_all(&bytes).expect("it reads");
        let acks = &mut acks[..4 * some.len()];
        client.read_exact(acks).expect("it answers");
        assert!(acks.chunks(4).all(|ack| ack[0] == 0x40));
    }
}
