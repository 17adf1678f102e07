//! What the codec's hot path takes from the allocator: nothing.
//!
//! A binary of its own with one test, so that nobody else's allocations are counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use midge::packet::{
    Decoded, Decoder, Packet, PacketId, PacketType, ProtocolVersion, PublishHead, QoS, ReasonCode, Sender, encode_ack,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory but a static atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps alloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps dealloc's contract, and every pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` allocates.
fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Format, expiry, content type, response topic, correlation data, two user properties.
const PROPERTIES: &[u8] =
    b"\x01\x01\x02\0\0\0\x3c\x03\0\x01t\x08\0\x03r/t\x09\0\x02\0\xff\x26\0\x01k\0\x01v\x26\0\x01k\0\0";

fn head<'a>(version: ProtocolVersion, forward: &'a [u8]) -> PublishHead<'a> {
    PublishHead {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "plant/7/temp",
        packet_id: PacketId::new(7),
        topic_alias: None,
        message_expiry_interval: None,
        subscription_ids: if version == ProtocolVersion::V5 { &[1, 300] } else { &[] },
        forward,
        payload_len: 5,
    }
}

#[test]
fn a_publish_is_decoded_and_sent_on_and_acknowledged_without_an_allocation() {
    for version in [ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5] {
        for forward in [&[][..], PROPERTIES] {
            let mut frame = Vec::new();
            head(version, forward).encode(version, &mut frame);
            frame.extend_from_slice(b"hello");
            let decoder = Decoder { version, sender: Sender::Server, maximum_packet_size: 1_000, connected: true };
            let mut out = Vec::with_capacity(1_000);
            let count = allocations(|| {
                let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decoder.decode(&frame) else {
                    panic!("the frame is a PUBLISH");
                };
                publish.properties.forward_into(&mut out);
                head(version, forward).encode(version, &mut out);
                encode_ack(PacketType::PubAck, PacketId::MIN, ReasonCode::QuotaExceeded, version, &mut out);
                assert!(out.ends_with(&[0, 1]) || out.ends_with(&[0, 1, 0x97]));
            });
            assert_eq!(count, 0, "{version:?}, {} bytes of properties", forward.len());
        }
    }
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 10]))) > 0, "the counter counts");
}
