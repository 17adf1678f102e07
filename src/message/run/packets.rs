//! The packets of a run as a receiver gets them at QoS 0 without properties of its own, in each version.
//!
//! A run is encoded in its publisher's version. The first receiver of another has it encoded anew, for all who come after.
//! That is for many: who is alone with it, or gets a few messages of it at a time, has each of them encoded by itself.

use std::ops::Range;

use triomphe::ThinArc;

use super::{Header, Member, MessageRun, RunDelivery, Whole};
use crate::message::{head, version_of};
use crate::packet::ProtocolVersion;

/// Those of a delivery.
pub struct RunPackets<'a> {
    /// In the version that was asked for.
    pub run: &'a MessageRun,
    /// Where in its bytes they are.
    pub range: Range<usize>,
}

impl<'a> RunPackets<'a> {
    /// Takes out the first.
    #[inline(always)]
    pub fn take_first(&mut self) -> Member<'a> {
        let first = self.run.member(self.range.start);
        self.range.start = first.payload.end;
        first
    }

    /// The longest packet of the whole run.
    pub fn packet_bytes_max(&self) -> usize {
        self.run.header().packet_bytes_max as usize
    }
}

/// Who gets a smaller part of a run at once has its messages encoded one by one: to find them takes a walk from the start.
const PARTS_MAX: u16 = 4;

impl RunDelivery {
    /// As receivers of this version get them; `None` when they had better be encoded one by one.
    #[inline]
    pub fn packets(&self, version: ProtocolVersion) -> Option<RunPackets<'_>> {
        if self.is_for(version) {
            return Some(RunPackets { run: &self.run, range: self.from.into()..self.to.into() });
        }
        self.packets_in_other_version()
    }

    #[inline(never)]
    fn packets_in_other_version(&self) -> Option<RunPackets<'_>> {
        if self.left < self.run.header().messages.div_ceil(PARTS_MAX) || !self.run.is_shared() {
            return None;
        }
        let run = self.run.in_other_version();
        let range = if self.is_whole() {
            0..run.bytes().len()
        } else {
            self.run.same_members(&(self.from.into()..self.to.into()), run)
        };
        Some(RunPackets { run, range })
    }

    /// Whether they were encoded for receivers of this version.
    pub fn is_for(&self, version: ProtocolVersion) -> bool {
        self.run.header().is_v5 == (version == ProtocolVersion::V5)
    }
}

impl MessageRun {
    /// As far as can be told: others have it, or had it before.
    fn is_shared(&self) -> bool {
        ThinArc::strong_count(&self.0) > 1 || self.0.header.header.in_other_version.get().is_some()
    }

    fn in_other_version(&self) -> &MessageRun {
        self.0.header.header.in_other_version.get_or_init(|| self.encode_in_other_version())
    }

    fn encode_in_other_version(&self) -> MessageRun {
        let mut header = Header { is_v5: !self.header().is_v5, packet_bytes_max: 0, ..self.header().clone() };
        let (topic, version) = (self.topic(), version_of(header.is_v5));
        // A packet of MQTT 5.0 has a byte for its properties more, and may have one for its length more.
        let mut packets = Vec::with_capacity(self.bytes().len() + 2 * usize::from(header.messages));
        for member in self.members(0) {
            let start = packets.len();
            let topic = head(topic, member.forward, member.payload.len()).encode(version, &mut packets);
            packets.extend_from_slice(&self.bytes()[member.payload]);
            header.packet_bytes_max = header.packet_bytes_max.max((packets.len() - start) as u32);
            if start == 0 {
                header.topic_start = topic.start as u8;
            }
        }
        MessageRun(ThinArc::from_header_and_slice(Whole::new(header), &packets))
    }

    /// Where in `other`, which has the same messages, those are that are here in that range.
    fn same_members(&self, range: &Range<usize>, other: &MessageRun) -> Range<usize> {
        let both = self.members(0).zip(other.members(0));
        let mut both = both.skip_while(|(own, _)| (own.at as usize) < range.start);
        let Some((first, same)) = both.next() else { return 0..0 };
        let is_last = |own: &Member<'_>| own.payload.end >= range.end;
        let last = if is_last(&first) { None } else { both.find(|(own, _)| is_last(own)).map(|(_, same)| same) };
        let from = same.at as usize;
        from..last.unwrap_or(same).payload.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BrokerTime, Draft, MessageParts, PublisherId, RunBuilder, SubscriptionIds};
    use crate::topic::QoS;

    const V4: ProtocolVersion = ProtocolVersion::V4;
    const V5: ProtocolVersion = ProtocolVersion::V5;

    fn run(version: ProtocolVersion, messages: usize) -> RunDelivery {
        let mut run = RunBuilder::default();
        for n in 0..messages {
            let payload = vec![b'0' + n as u8; 100 + 10 * n];
            let parts = MessageParts {
                topic_prefix: "",
                topic: "a/b",
                forward: if version == V5 { b"\x01\x01" } else { b"" },
                payload: &payload,
                qos: QoS::AtMostOnce,
                retain: false,
                expires_at: BrokerTime::NEVER,
                publisher: PublisherId(1),
            };
            run.push(&Draft::received(&parts, version, None));
        }
        RunDelivery::new(run.finish().unwrap(), QoS::AtMostOnce, SubscriptionIds::None)
    }

    #[test]
    fn every_portion_is_the_same_in_the_other_version() {
        for (version, other) in [(V4, V5), (V5, V4)] {
            let whole = run(version, 4);
            for from in 0..4 {
                for len in 1..=4 - from {
                    let mut rest = whole.clone();
                    (0..from).for_each(|_| _ = rest.drop_first());
                    let portion = rest.first(len, u64::MAX);
                    let mut packets = portion.packets(other).unwrap();
                    for member in portion.members() {
                        let same = packets.take_first();
                        let payloads =
                            [(&portion.run, member), (packets.run, same)].map(|(run, it)| &run.bytes()[it.payload]);
                        assert_eq!(payloads[0], payloads[1], "{version:?}, {len} from {from} on");
                    }
                    assert!(packets.range.is_empty(), "{version:?}, {len} from {from} on");
                }
            }
        }
    }

    #[test]
    fn a_run_of_one_receiver_and_a_small_part_are_not_encoded_as_a_whole() {
        let alone = run(V5, 8);
        assert!(alone.packets(V4).is_none() && alone.packets(V5).is_some());
        let shared = alone.clone();
        assert!(shared.first(1, u64::MAX).packets(V4).is_none() && shared.first(1, u64::MAX).packets(V5).is_some());
        assert!(shared.first(2, u64::MAX).packets(V4).is_some());
        drop(shared);
        assert!(alone.packets(V4).is_some(), "it is there already");
    }
}
