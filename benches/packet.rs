//! What decoding and encoding cost a packet: `cargo bench --bench packet`.
//!
//! mqttbytes and mqtt-proto read the same bytes, for comparison.

use std::hint::black_box;
use std::num::NonZeroU16;

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use midge::packet::{
    Decoded, Decoder, PacketId, PacketType, ProtocolVersion, PublishHead, QoS, ReasonCode, Sender, encode_ack,
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const DECODER: Decoder =
    Decoder { version: ProtocolVersion::V5, sender: Sender::Client, maximum_packet_size: 1 << 20, connected: true };

/// QoS 1, a topic of 26 bytes, 64 bytes of payload.
const PLAIN: &str = "plain";
/// The same with six properties: format, expiry, content type, response topic, correlation data, a user property.
const SIX: &str = "six properties";

fn main() {
    divan::main();
}

fn properties() -> Vec<u8> {
    let mut out = vec![0x01, 1, 0x02, 0, 0, 0, 60];
    for (id, texts) in [
        (0x03, &["application/json"][..]),
        (0x08, &["plant/7/replies"]),
        (0x09, &["request-0001"]),
        (0x26, &["trace", "4bf92f3577b34da6"]),
    ] {
        out.push(id);
        for text in texts {
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn head<'a>(forward: &'a [u8]) -> PublishHead<'a> {
    PublishHead {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "plant/7/boiler/temperature",
        packet_id: NonZeroU16::new(7),
        topic_alias: None,
        message_expiry_interval: None,
        subscription_ids: &[],
        forward,
        payload_len: 64,
    }
}

fn frame(kind: &str) -> Vec<u8> {
    let forward = if kind == SIX { properties() } else { Vec::new() };
    let mut out = Vec::new();
    head(&forward).encode(ProtocolVersion::V5, &mut out);
    out.extend_from_slice(&[b'x'; 64]);
    out
}

/// One packet takes less than a look at the clock.
const PACKETS: u32 = 1_000;

fn many<T>(bencher: Bencher<'_, '_>, mut one: impl FnMut() -> T) {
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        for _ in 0..PACKETS {
            black_box(one());
        }
    });
}

fn decode(frame: &[u8]) -> usize {
    match DECODER.decode(black_box(frame)) {
        Ok(Decoded::Packet { packet, len }) => {
            black_box(&packet);
            len
        }
        other => panic!("{other:?}"),
    }
}

#[divan::bench(args = [PLAIN, SIX])]
fn decode_publish(bencher: Bencher<'_, '_>, kind: &str) {
    let frame = frame(kind);
    many(bencher, || decode(&frame));
}

#[divan::bench(args = [PLAIN, SIX])]
fn decode_publish_mqttbytes(bencher: Bencher<'_, '_>, kind: &str) {
    let frame = frame(kind);
    let mut stream = BytesMut::new();
    many(bencher, || {
        stream.extend_from_slice(black_box(&frame));
        mqttbytes::v5::read(&mut stream, 1 << 20)
    });
}

#[divan::bench(args = [PLAIN, SIX])]
fn decode_publish_mqtt_proto(bencher: Bencher<'_, '_>, kind: &str) {
    let frame = frame(kind);
    many(bencher, || mqtt_proto::v5::Packet::decode(black_box(&frame)));
}

#[divan::bench]
fn decode_puback(bencher: Bencher<'_, '_>) {
    many(bencher, || decode(&[0x40, 2, 0, 7]));
}

#[divan::bench(args = [PLAIN, SIX])]
fn encode_publish_head(bencher: Bencher<'_, '_>, kind: &str) {
    let forward = if kind == SIX { properties() } else { Vec::new() };
    let mut out = Vec::with_capacity(256);
    many(bencher, || {
        out.clear();
        black_box(head(&forward)).encode(ProtocolVersion::V5, &mut out);
        out.len()
    });
}

#[divan::bench]
fn encode_puback(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(16);
    many(bencher, || {
        out.clear();
        let packet_id = black_box(PacketId::MIN);
        encode_ack(PacketType::PubAck, packet_id, ReasonCode::Success, ProtocolVersion::V5, &mut out);
        out.len()
    });
}
