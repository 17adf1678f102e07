//! The Will Message that a client left with the broker (section 3.1.2.5).

use super::mount_point::MountPoint;
use crate::message::{BrokerTime, Message, MessageParts, PublisherId};
use crate::packet::{self, QoS};

/// A stored will. Its expiry starts when it is published.
#[derive(Clone, Debug)]
pub struct Will {
    topic: Box<str>,
    payload: Box<[u8]>,
    forward: Box<[u8]>,
    qos: QoS,
    retain: bool,
    message_expiry_interval: Option<u32>,
    /// Seconds between the end of the connection and the will.
    pub delay_interval: u32,
}

impl Will {
    pub(super) fn new(will: &packet::Will<'_>, mount_point: &MountPoint) -> Self {
        let (prefix, topic) = mount_point.outside(will.topic);
        let mut forward = Vec::new();
        will.properties.forward_into(&mut forward);
        Will {
            topic: format!("{prefix}{topic}").into(),
            payload: will.payload.into(),
            forward: forward.into(),
            qos: will.qos,
            retain: will.retain,
            message_expiry_interval: will.properties.message_expiry_interval,
            delay_interval: will.will_delay_interval,
        }
    }

    /// The will as it was before the broker was started again.
    pub fn restore(message: &Message, message_expiry_interval: Option<u32>, delay_interval: u32) -> Self {
        Will {
            topic: message.topic().into(),
            payload: message.payload().into(),
            forward: message.forward().into(),
            qos: message.qos(),
            retain: message.retain(),
            message_expiry_interval,
            delay_interval,
        }
    }

    /// Seconds from its publication on.
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.message_expiry_interval
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The Application Message ([MQTT-3.1.2-14], [MQTT-3.1.2-15]).
    pub fn message(&self, publisher: PublisherId, now: BrokerTime) -> Message {
        Message::new(&MessageParts {
            topic_prefix: "",
            topic: &self.topic,
            forward: &self.forward,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            expires_at: self.message_expiry_interval.map_or(BrokerTime::NEVER, |secs| now.after_secs(secs)),
            publisher,
        })
    }
}
