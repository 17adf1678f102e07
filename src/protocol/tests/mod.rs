//! One network connection played by script: packets in, packets out, a clock that stands still unless moved.
//!
//! Every test goes through [`Script`]: it encodes what the client sends, decodes it with the connection's own decoder,
//! answers the actions as a tiny broker would, and compares everything that comes back, written by `notation`.

mod acknowledge;
mod aliases;
mod authenticate;
mod closing;
mod connack;
mod connect;
mod notation;
mod outbound;
mod publish;
mod resume;
mod run;
mod script;
mod subscribe;
mod will;

use std::num::{NonZeroU16, NonZeroU32};

use self::script::{Script, ack, connect, delivery, publish, settings, subscribe, unsubscribe};
use super::*;
use crate::message::{BrokerTime, Delivery, DropCause, Message, MessageParts, PublisherId, SubscriptionIds};
use crate::packet::ProtocolVersion::{V3, V4, V5};
use crate::packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use crate::packet::{
    self, Auth, Connect, ConnectProperties, Disconnect, Packet, PacketType, ProtocolVersion, Publish,
    PublishProperties, ReasonCode, RetainHandling, SubscribeOptions,
};
