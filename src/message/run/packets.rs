//! The packets of a run as a receiver gets them at QoS 0 without properties of its own, in each version.
//!
//! A run is encoded in its publisher's version. The first receiver of another has it encoded anew, for all who come after.

use std::ops::Range;

use triomphe::ThinArc;

use super::{Header, Member, MessageRun, RunDelivery, Whole};
use crate::message::version_of;
use crate::packet::{ProtocolVersion, PublishHead};
use crate::topic::QoS;

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

impl RunDelivery {
    /// As receivers of this version get them.
    #[inline]
    pub fn packets(&self, version: ProtocolVersion) -> RunPackets<'_> {
        if self.is_for(version) {
            RunPackets { run: &self.run, range: self.from.into()..self.to.into() }
        } else {
            self.packets_in_other_version()
        }
    }

    #[inline(never)]
    fn packets_in_other_version(&self) -> RunPackets<'_> {
        let (run, range) = (self.run.in_other_version(), self.from.into()..self.to.into());
        let range = if self.is_whole() { 0..run.bytes().len() } else { self.run.same_members(&range, run) };
        RunPackets { run, range }
    }

    /// Whether they were encoded for receivers of this version.
    pub fn is_for(&self, version: ProtocolVersion) -> bool {
        self.run.header().is_v5 == (version == ProtocolVersion::V5)
    }
}

impl MessageRun {
    fn in_other_version(&self) -> &MessageRun {
        self.0.header.header.in_other_version.get_or_init(|| self.encode(version_of(!self.header().is_v5)))
    }

    fn encode(&self, version: ProtocolVersion) -> MessageRun {
        let mut header = Header { is_v5: version == ProtocolVersion::V5, packet_bytes_max: 0, ..self.header().clone() };
        let topic = self.topic();
        // A packet of MQTT 5.0 has a byte for its properties more, and may have one for its length more.
        let mut packets = Vec::with_capacity(self.bytes().len() + 2 * usize::from(header.messages));
        for member in self.members(0) {
            let start = packets.len();
            let head = PublishHead {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic,
                packet_id: None,
                topic_alias: None,
                message_expiry_interval: None,
                subscription_ids: &[],
                forward: member.forward,
                payload_len: member.payload.len(),
            };
            let topic = head.encode(version, &mut packets);
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
