//! Frames, what ours and theirs make of them, and the defects that explain a difference.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::normal::{leak, normal};
use super::*;

/// Bytes of one packet and our verdict on them.
pub struct Frame {
    pub name: String,
    pub version: ProtocolVersion,
    pub bytes: &'static [u8],
    pub ours: Result<Packet<'static>, DecodeError>,
}

impl Frame {
    fn new(name: String, version: ProtocolVersion, sender: Sender, bytes: Vec<u8>) -> Frame {
        let bytes = leak(bytes);
        let ours = match decode(version, sender, bytes) {
            Ok(Decoded::Packet { packet, len }) if len == bytes.len() => Ok(normal(packet)),
            Ok(other) => panic!("{name} is not one packet: {other:?}"),
            Err(error) => Err(error),
        };
        // A CONNECT is of the version it says.
        let version = match &ours {
            Ok(Packet::Connect(connect)) => connect.version,
            Err(DecodeError { packet_type: Some(PacketType::Connect), version: Some(version), .. }) => *version,
            _ => version,
        };
        Frame { name, version, bytes, ours }
    }

    /// The kind of our refusal.
    pub fn refused(&self) -> Option<DecodeErrorKind> {
        self.ours.as_ref().err().map(|error| error.kind)
    }

    pub fn packet(&self) -> Option<&Packet<'static>> {
        self.ours.as_ref().ok()
    }

    pub fn packet_type(&self) -> u8 {
        self.bytes[0] >> 4
    }
}

fn decode(version: ProtocolVersion, sender: Sender, bytes: &'static [u8]) -> Result<Decoded<'static>, DecodeError> {
    Decoder { version, sender, maximum_packet_size: MAXIMUM_PACKET_SIZE, connected: true }.decode(bytes)
}

/// Every row of the table, and as many generated packets again and again: the same at every run.
pub fn frames(generated: usize) -> Vec<Frame> {
    let rows = cases::cases().into_iter().map(|case| Frame::new(case.name, case.version, case.sender, case.bytes));
    let mut runner = TestRunner::deterministic();
    let any = arbitrary::packet();
    let packets = (0..generated).map(|number| {
        let (version, sender, packet) = any.new_tree(&mut runner).expect("the generator makes packets").current();
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes);
        Frame::new(format!("generated {number}: {packet:?}"), version, sender, bytes)
    });
    rows.chain(packets).collect()
}

/// What they make of a frame.
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub enum Theirs {
    /// A packet, and the bytes they write for it.
    Packet(Packet<'static>, Result<Vec<u8>, String>),
    /// They take it, but for something that no MQTT packet can say.
    NoPacket(String),
    Refused(String),
}

impl Theirs {
    fn describe(&self) -> String {
        match self {
            Theirs::Packet(packet, _) => format!("{packet:?}"),
            Theirs::NoPacket(what) => format!("nothing a packet can say: {what}"),
            Theirs::Refused(why) => format!("refused: {why}"),
        }
    }
}

pub struct Defect {
    pub name: &'static str,
    pub explains: fn(&Frame) -> bool,
}

/// Compares verdicts and fields, then what they write; each with its own list of defects. Returns how many frames were
/// refused by both, read equally by both, and written so that ours reads the same again.
pub fn compare(frames: &[Frame], read: fn(&Frame) -> Theirs, reading: &[&Defect], writing: &[&Defect]) -> [usize; 3] {
    let mut explained = BTreeMap::new();
    let mut agreed = [0; 3];
    for frame in frames {
        let theirs = catch_unwind(AssertUnwindSafe(|| read(frame))).unwrap_or(Theirs::NoPacket("panic".into()));
        match (&frame.ours, theirs) {
            (Err(_), Theirs::Refused(_)) => agreed[0] += 1,
            (Ok(ours), Theirs::Packet(packet, written)) if *ours == normal(packet.clone()) => {
                agreed[1] += 1;
                if reads_the_same(frame, ours, &written) {
                    agreed[2] += 1;
                } else {
                    explain(writing, frame, &mut explained, &format!("written as {written:02x?}"));
                }
            }
            (_, theirs) => explain(reading, frame, &mut explained, &theirs.describe()),
        }
    }
    for defect in reading.iter().chain(writing) {
        assert!(explained.contains_key(defect.name), "'{}' explains nothing", defect.name);
    }
    agreed
}

fn reads_the_same(frame: &Frame, ours: &Packet<'static>, written: &Result<Vec<u8>, String>) -> bool {
    let Ok(bytes) = written else { return false };
    // Whoever may send it: the frame's own sender was asked when it was read.
    [Sender::Client, Sender::Server].into_iter().any(|sender| {
        match decode(frame.version, sender, leak(bytes.clone())) {
            Ok(Decoded::Packet { packet, len }) => len == bytes.len() && normal(packet) == *ours,
            _ => false,
        }
    })
}

fn explain(defects: &[&Defect], frame: &Frame, explained: &mut BTreeMap<&'static str, usize>, theirs: &str) {
    let Some(defect) = defects.iter().find(|defect| (defect.explains)(frame)) else {
        panic!("{}: {:02x?}\nours: {:?}\ntheirs: {theirs}", frame.name, frame.bytes, frame.ours);
    };
    *explained.entry(defect.name).or_default() += 1;
}
