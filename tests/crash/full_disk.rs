//! A small file system that fills up under load and is freed again: what does not fit is refused, what was acknowledged
//! stays, and once there is room again everything goes on.
//!
//! It takes the right to mount a tmpfs; without it these tests say that they are skipped.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::broker::{Broker, Site, Target};
use crate::connection::{Connection, Next, PATIENCE};
use crate::received::{Ack, Publish};
use crate::wire::{self, Connect, PUBACK, PUBLISH, SUBACK, Subscribe, Version, property};

const SIZE: &str = "24m";
/// Of a payload; the first bytes say which message it is.
const PAYLOAD_BYTES: usize = 64 * 1024;
/// More than fits.
const MESSAGES_MAX: u32 = 2_000;
/// How long the broker may take to free what nobody needs any more.
const UNTIL_FREED: Duration = Duration::from_secs(4);

/// A mounted tmpfs; unmounted at the end, however the test ends.
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// `None`, and a line that says why, where that is not permitted.
    pub fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(directory.path());
        match command.stderr(Stdio::piped()).output() {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                println!("skipped, no tmpfs can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped, no tmpfs can be mounted: {error}");
                None
            }
        }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// `ro` or `rw`.
    pub fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.directory.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "mount -o {options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what is left of a broker may hold it a moment longer.
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

fn sleeper() -> Connect {
    Connect::new(Version::V5, "sleeper").lasting()
}

pub fn open(address: SocketAddr, connect: &Connect) -> Connection {
    Connection::open(address, connect, PATIENCE).expect("the broker accepts").0
}

fn publish(version: Version, number: u32) -> Vec<u8> {
    let mut payload = vec![b'.'; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    wire::Publish::new(version, "q/t", payload).qos(1, 1).bytes()
}

/// Publishes one message: `Ok` once it is acknowledged, else the answer that refuses it, or `None` for the end of the
/// connection.
pub fn offer(publisher: &mut Connection, number: u32) -> Result<(), Option<Ack>> {
    publisher.send(&publish(Version::V5, number)).ok_or(None)?;
    let frame = match publisher.next() {
        Next::Packet(frame) => frame,
        Next::Closed => return Err(None),
        Next::Nothing => panic!("message {number} is not answered"),
    };
    let ack = Ack::read(Version::V5, PUBACK, &frame);
    if ack.reason < 0x80 { Ok(()) } else { Err(Some(ack)) }
}

/// Publishes until the broker does not acknowledge; the first number of such a message, and what came instead.
fn fill(address: SocketAddr) -> (u32, Option<Ack>) {
    let mut publisher = open(address, &Connect::new(Version::V5, "filler"));
    let refused = (0..MESSAGES_MAX).find_map(|number| Some((number, offer(&mut publisher, number).err()?)));
    let (number, answer) = refused.expect("the disk is smaller than what was published");
    assert!(number > 10, "only {number} messages fit");
    (number, answer)
}

/// MQTT 3.1.1 has no word for no.
fn is_closed_instead(address: SocketAddr, number: u32) {
    let mut publisher = open(address, &Connect::new(Version::V4, "old"));
    publisher.send(&publish(Version::V4, number)).expect("the broker reads");
    assert!(matches!(publisher.next(), Next::Closed), "an answer to what could not be kept");
}

/// All that waits for the sleeper, acknowledged; the last one is followed by nothing.
fn drain(address: SocketAddr, count: usize) -> Vec<u32> {
    let (mut client, connack) = Connection::open(address, &sleeper(), PATIENCE).expect("the broker accepts");
    assert!(connack.session_present);
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let Next::Packet(frame) = client.next() else { panic!("{} of {count} messages came", numbers.len()) };
        assert_eq!(frame.kind(), PUBLISH, "{:02x?}", &frame.body[..8]);
        let publish = Publish::read(Version::V5, &frame);
        assert_eq!(publish.payload.len(), PAYLOAD_BYTES);
        numbers.push(publish.payload[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte)));
        client.send(&wire::ack(PUBACK, publish.id)).expect("the broker reads");
    }
    client.leave().expect("the broker is there");
    numbers
}

pub fn sleep(address: SocketAddr) {
    let mut client = open(address, &sleeper().with(property::receive_maximum(20)));
    client.send(&Subscribe::new(Version::V5, 1).filter("q/#", 1).bytes()).expect("the broker reads");
    assert!(matches!(client.next(), Next::Packet(frame) if frame.first == SUBACK));
    client.leave().expect("the broker is there");
}

fn site(disk: &SmallDisk, home: &Path, free_bytes_min: &str) -> Site {
    Site::new(Target::Midge, home, &disk.data(), &format!("store.free_bytes_min = \"{free_bytes_min}\""))
}

#[test]
fn a_full_disk_refuses_and_an_emptied_one_accepts_again() {
    let Some(disk) = SmallDisk::mount().filter(|_| Target::under_test() == Target::Midge) else { return };
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = site(&disk, home.path(), "4MiB");
    let (broker, address) = site.start();
    sleep(address);
    let (refused, answer) = fill(address);
    let ack = answer.expect("MQTT 5 has a word for no");
    assert_eq!(ack.reason, 0x97, "{ack:02x?}");
    assert!(ack.properties.text(0x1f).is_some_and(|why| !why.is_empty()), "a refusal without a reason: {ack:02x?}");
    is_closed_instead(address, refused);

    broker.kill();
    let (broker, address) = site.start();
    let all: Vec<u32> = (0..refused).collect();
    assert_eq!(drain(address, all.len()), all, "not what was acknowledged");

    let mut publisher = open(address, &Connect::new(Version::V5, "later"));
    let until = Instant::now() + UNTIL_FREED;
    while offer(&mut publisher, 10_000).is_err() {
        assert!(Instant::now() < until, "the queue is empty, and the disk is still full");
    }
    let mut later: Vec<u32> = (10_001..10_020).collect();
    later.iter().for_each(|number| offer(&mut publisher, *number).expect("there is room again"));
    later.insert(0, 10_000);

    broker.kill();
    let (broker, address) = site.start();
    assert_eq!(drain(address, later.len()), later, "not what was acknowledged");
    broker.stop();
}

/// Publishes one message until it is acknowledged.
fn until_accepted(address: SocketAddr, number: u32) {
    let mut publisher = open(address, &Connect::new(Version::V5, "later"));
    let until = Instant::now() + UNTIL_FREED;
    while let Err(answer) = offer(&mut publisher, number) {
        assert!(Instant::now() < until, "the queue is empty, and the disk is still full");
        // A message that the disk had no room for has no answer.
        if answer.is_none() {
            publisher = open(address, &Connect::new(Version::V5, "later"));
        }
    }
}

/// The sleeper gets the messages that were acknowledged, there is room for another one then, and none comes twice.
fn is_emptied(site: &Site, broker: Broker, address: SocketAddr, acknowledged: u32) {
    let all: Vec<u32> = (0..acknowledged).collect();
    assert_eq!(drain(address, all.len()), all, "not what was acknowledged");
    until_accepted(address, 10_000);
    broker.kill();
    let (broker, address) = site.start();
    assert_eq!(drain(address, 1), [10_000], "what was acknowledged by its client comes again");
    broker.stop();
}

/// Takes all that is left of the file system.
fn fill_with_others(disk: &SmallDisk) {
    let mut file = fs::File::create(disk.directory.path().join("others")).expect("a file");
    let mut piece = vec![7; 1 << 20];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}

#[test]
fn a_disk_without_a_watermark_is_emptied_by_the_clients_that_its_queues_are_for() {
    let Some(disk) = SmallDisk::mount().filter(|_| Target::under_test() == Target::Midge) else { return };
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = site(&disk, home.path(), "0B");
    let (broker, address) = site.start();
    sleep(address);
    let (refused, _) = fill(address);
    is_emptied(&site, broker, address, refused);
}

#[test]
fn a_disk_that_others_have_filled_to_the_last_byte_is_emptied_all_the_same() {
    for (free_bytes_min, is_restarted) in [("0B", false), ("0B", true), ("4MiB", false)] {
        let Some(disk) = SmallDisk::mount().filter(|_| Target::under_test() == Target::Midge) else { return };
        let home = tempfile::tempdir().expect("a temporary directory");
        let site = site(&disk, home.path(), free_bytes_min);
        let (mut broker, mut address) = site.start();
        sleep(address);
        let mut publisher = open(address, &Connect::new(Version::V5, "filler"));
        (0..150).for_each(|number| offer(&mut publisher, number).expect("there is room"));
        fill_with_others(&disk);
        // What remains is for those who empty queues.
        let refused = (150..).find(|number| offer(&mut publisher, *number).is_err()).expect("the disk is full");
        assert!(refused < 200, "{refused} messages fit");
        if is_restarted {
            broker.kill();
            (broker, address) = site.start();
        }
        is_emptied(&site, broker, address, refused);
    }
}

/// Without a watermark it is the file system that says no, in the middle of a write: what is under way then is not
/// acknowledged, whether it is refused or the connection ends.
#[test]
fn what_was_acknowledged_before_the_file_system_was_full_is_there_after_a_kill() {
    let Some(disk) = SmallDisk::mount().filter(|_| Target::under_test() == Target::Midge) else { return };
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = site(&disk, home.path(), "0B");
    let (broker, address) = site.start();
    sleep(address);
    let (refused, _) = fill(address);
    broker.kill();
    let (broker, address) = site.start();
    let all: Vec<u32> = (0..refused).collect();
    assert_eq!(drain(address, all.len()), all, "not what was acknowledged");
    broker.stop();
}
