//! What a listener tells the protocol: limits and capabilities of the connections it accepts.

use std::num::{NonZeroU16, NonZeroU32};

use super::mount_point::MountPoint;
use crate::packet::{ProtocolVersion, QoS};

/// What happens when a 3.x client publishes where it may not: the standard leaves only these two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denied3x {
    /// Acknowledge, do not deliver, count (3.1.1 section 3.3.5).
    #[default]
    Acknowledge,
    /// Close the network connection.
    Close,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a whole packet from a client.
    pub maximum_packet_size: u32,
    /// QoS 1 and 2 messages that a 5.0 client may have unacknowledged.
    pub receive_maximum: NonZeroU16,
    /// QoS 1 and 2 messages unacknowledged by a client at most, even where its Receive Maximum allows more.
    pub inflight_max: NonZeroU16,
    pub maximum_qos: QoS,
    pub retain_available: bool,
    /// Topic aliases that a client may use towards the broker; 0 is none.
    pub topic_alias_maximum: u16,
    /// Topic aliases that the broker uses towards a client at most; 0 is none.
    pub topic_alias_maximum_outbound: u16,
    /// Seconds; a 5.0 client with more, or with keep alive off, is told this one. 0: no maximum.
    pub keep_alive_max: u16,
    /// Seconds; `u32::MAX` is for ever.
    pub session_expiry_max: u32,
    /// Seconds that a 3.x session with `clean_session` 0 is kept; `u32::MAX` is for ever.
    pub session_expiry_3x: u32,
    /// Put in front of every topic and filter of these clients, and taken off again.
    pub mount_point: MountPoint,
    pub user_name_as_client_id: bool,
    pub protocol_versions: Vec<ProtocolVersion>,
    /// Refuse payloads that say they are UTF-8 and are not.
    pub check_payload_format: bool,
    /// Subscriptions of one session.
    pub subscriptions_max: u32,
    /// Response Information for clients that ask; `%c` is the client id.
    pub response_information: Option<Box<str>>,
    pub denied_3x: Denied3x,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            maximum_packet_size: 1024 * 1024,
            receive_maximum: NonZeroU16::MAX,
            inflight_max: NonZeroU16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 16,
            topic_alias_maximum_outbound: 16,
            keep_alive_max: 0,
            session_expiry_max: u32::MAX,
            session_expiry_3x: 14 * 24 * 3600,
            mount_point: MountPoint::default(),
            user_name_as_client_id: false,
            protocol_versions: vec![ProtocolVersion::V3, ProtocolVersion::V4, ProtocolVersion::V5],
            check_payload_format: true,
            subscriptions_max: u32::MAX,
            response_information: None,
            denied_3x: Denied3x::Acknowledge,
        }
    }
}

impl Settings {
    /// `None` where nothing has to be said: the codec's own limit is the protocol's.
    pub(super) fn maximum_packet_size_property(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.maximum_packet_size).filter(|size| size.get() < crate::packet::MAXIMUM_PACKET_SIZE)
    }
}
