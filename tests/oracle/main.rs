//! Independent witnesses of the codec: what mqttbytes and mqtt-proto make of the same bytes.
//!
//! Every frame is read by ours and by theirs; where both read a packet, it has to have equal fields, and what they write
//! for it has to be the same packet to ours. Where they differ, a named defect of theirs has to explain it, and a defect
//! that explains nothing is no defect. So the reason for a codec of our own is executable.

#[path = "../../src/packet/tests/arbitrary.rs"]
mod arbitrary;
#[expect(dead_code, reason = "the verdicts in the table are judged by the library's own tests")]
#[path = "../../src/packet/tests/cases/mod.rs"]
mod cases;
mod compare;
mod mqtt_proto;
mod mqttbytes;
mod normal;
#[path = "../../src/packet/tests/notation.rs"]
mod notation;

use midge::packet::*;
use midge::topic::TopicError;
