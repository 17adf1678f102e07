//! What a store is told: every change of state that must outlive the process, as a value.

use std::num::NonZeroU32;

use crate::message::{BrokerTime, Message};
pub use crate::message::{OwnerId, RowId, StoredCopy};
use crate::topic::SubscribeOptions;

/// One change. A batch of them takes effect as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    /// A session is new, or something of its record has changed. What it has subscribed to and what waits for it stays.
    PutSession(Box<SessionRecord>),
    /// A shared group, by its whole filter (`$share/…`), has messages that wait.
    PutGroup {
        owner: OwnerId,
        filter: Box<str>,
    },
    /// The session or group has ended: all that is its own goes.
    DeleteOwner(OwnerId),
    PutSubscription {
        owner: OwnerId,
        filter: Box<str>,
        options: SubscribeOptions,
        id: Option<NonZeroU32>,
    },
    DeleteSubscription {
        owner: OwnerId,
        filter: Box<str>,
    },
    /// The subscription still waits for retained messages: those of topics behind `after`, or all while that is empty. Means
    /// nothing without a subscription to the filter, and ends with it.
    PutReplay {
        owner: OwnerId,
        filter: Box<str>,
        after: Box<str>,
    },
    /// The subscription waits for no more of them.
    DeleteReplay {
        owner: OwnerId,
        filter: Box<str>,
    },
    /// A message for some owners, to be retained, or both; and the QoS 2 packet id it came under, if it did.
    Message(Box<StoredMessage>),
    /// Removes the retained message of a topic, if its row is not later than `up_to`.
    DeleteRetained {
        topic: Box<str>,
        up_to: RowId,
    },
    /// A QoS 2 message reached no owner and is not retained: only its packet id is remembered.
    Received {
        owner: OwnerId,
        packet_id: u16,
    },
    /// PUBREL has come: the id is free.
    Released {
        owner: OwnerId,
        packet_id: u16,
    },
    /// A QoS 2 copy is about to be sent to its session under this packet id. A copy that waited `from` a shared group is
    /// the session's own from now on.
    Sent {
        owner: OwnerId,
        row: RowId,
        packet_id: u16,
        from: OwnerId,
    },
    /// PUBREC has come for it: only PUBREL and PUBCOMP are left, the message itself is no longer needed.
    Handed {
        owner: OwnerId,
        row: RowId,
    },
    /// The copy has come to its end: acknowledged, refused, expired or dropped.
    Done {
        owner: OwnerId,
        row: RowId,
    },
    /// Broker time goes on from here after a restart.
    Time(BrokerTime),
}

/// All of a session that is neither a subscription nor a message.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    pub owner: OwnerId,
    pub client_id: Box<str>,
    pub user_name: Option<Box<str>>,
    /// The listener it was made on, by name.
    pub listener: Box<str>,
    pub mount_point: Box<str>,
    /// Seconds; `u32::MAX` never ends.
    pub expiry_interval: u32,
    /// When its connection ended; `None` while it has one.
    pub disconnected_at: Option<BrokerTime>,
    /// Of its copies with QoS 1 those behind this row had not been sent when its connection ended. `None`: any may have been.
    pub sent_up_to: Option<RowId>,
    pub will: Option<WillRecord>,
}

#[derive(Clone, Debug)]
pub struct WillRecord {
    /// As it would be published, but for its expiry, which starts then.
    pub message: Message,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    /// Seconds.
    pub delay_interval: u32,
}

#[derive(Clone, Debug)]
pub struct StoredMessage {
    pub message: Message,
    pub copies: Vec<StoredCopy>,
    /// It is its topic's retained message now.
    pub retained: bool,
    /// The session that sent it with QoS 2, and the packet id.
    pub received: Option<(OwnerId, u16)>,
}
