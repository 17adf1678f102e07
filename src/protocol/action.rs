//! What the protocol wants of the world: effects and questions as values. The driver carries them out and answers with
//! the `on_*` that each names.

use std::num::NonZeroU32;

use crate::message::{Draft, GroupId, RowId};
use crate::packet::{PacketId, QoS, ReasonCode, SubscribeOptions};

/// The effect of one packet from the client. What goes out on the wire is in the `Output` already.
#[derive(Debug)]
pub enum Action {
    None,
    /// CONNECT is in order: authenticate it, then `on_authenticated` or `refuse`.
    Authenticate,
    /// AUTH from the client: the next step of the exchange, or a new one that re-authenticates.
    AuthData {
        data: Vec<u8>,
        reauthenticate: bool,
    },
    /// Route the message, then `on_routed`.
    Publish {
        message: Draft,
        reply: Reply,
    },
    /// Make the subscriptions, then `on_subscribed`.
    Subscribe(SubscribeRequest),
    /// Remove the subscriptions, then `on_unsubscribed`.
    Unsubscribe(UnsubscribeRequest),
    /// A delivery came to its end: PUBACK or PUBCOMP.
    Completed(QoS, Kept),
    /// The client refused a delivery with an error code.
    RefusedByReceiver(Kept),
    /// PUBREC: the message is the client's. The PUBREL in the output promises to remember that.
    HandedOver(RowId),
    /// PUBREL: the packet id is free. The PUBCOMP in the output promises to remember that.
    Released(PacketId),
    /// A QoS 2 message that is here already: the PUBREC in the output promises what the first one does.
    Duplicate(PacketId),
    /// DISCONNECT: close; the will, if it is to be published, is still in the session.
    Disconnect {
        reason_code: ReasonCode,
    },
}

/// Where a delivery is stored, if it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub row: RowId,
    /// The group whose it still is.
    pub group: Option<GroupId>,
}

/// How a PUBLISH is to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub qos: QoS,
    pub packet_id: Option<PacketId>,
}

/// What the router made of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    Accepted,
    NoMatchingSubscribers,
    NotAuthorized,
    /// The broker cannot keep it.
    Refused(&'static str),
}

#[derive(Debug)]
pub struct SubscribeRequest {
    pub packet_id: PacketId,
    pub id: Option<NonZeroU32>,
    /// Filters as the router knows them (mount point included), with the options to be granted, or the code that
    /// refuses them.
    pub filters: Vec<(Box<str>, SubscribeOptions, Option<ReasonCode>)>,
}

/// What became of one filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeResult {
    /// `replay_before`: send retained messages before this version.
    Granted {
        replay_before: Option<u64>,
    },
    Refused(ReasonCode),
    /// The broker cannot keep it, and why.
    Unkept(&'static str),
}

#[derive(Debug)]
pub struct UnsubscribeRequest {
    pub packet_id: PacketId,
    pub filters: Vec<Box<str>>,
}
