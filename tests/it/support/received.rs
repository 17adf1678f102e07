//! Packets from the broker, read strictly: whatever the standard does not allow a server to send fails the test that
//! receives it.

use super::wire::{self, Version};

/// One control packet as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Frame {
    /// Takes the first whole packet out of `inbox`; `None` while it is not complete.
    pub fn take(inbox: &mut Vec<u8>) -> Option<Self> {
        let mut length = 0;
        for (index, byte) in inbox.iter().skip(1).take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                // [MQTT-1.5.5-1]
                assert!(index == 0 || *byte != 0, "remaining length is not in its shortest form: {inbox:02x?}");
                let start = index + 2;
                return (inbox.len() >= start + length).then(|| {
                    let rest = inbox.split_off(start + length);
                    let frame = Self { first: inbox[0], body: inbox.split_off(start) };
                    *inbox = rest;
                    frame
                });
            }
            assert!(index < 3, "remaining length of more than four bytes: {inbox:02x?}");
        }
        None
    }

    pub fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    pub fn bytes(&self) -> Vec<u8> {
        wire::packet(self.first, &self.body)
    }

    /// The body, once the first byte is that of `kind` with its flags ([MQTT-2.1.3-1]).
    fn body_of(&self, first: u8) -> Reader<'_> {
        assert_eq!(self.first, first, "expected a packet that begins with {first:02x}, got {self:02x?}");
        Reader { rest: &self.body, whole: self }
    }
}

/// A CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    pub session_present: bool,
    pub code: u8,
    pub properties: Properties,
}

impl ConnAck {
    pub fn read(version: Version, frame: &Frame) -> Self {
        let mut body = frame.body_of(wire::CONNACK);
        let flags = body.byte();
        assert!(flags <= 1, "[MQTT-3.2.2-1] reserved acknowledge flags: {frame:02x?}");
        let code = body.byte();
        const ALLOWED: &[u8] =
            &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a];
        let properties = body.properties(version, ALLOWED);
        body.end();
        match version {
            Version::V5 => assert!(code == 0 || code >= 0x80, "no reason code of CONNACK: {frame:02x?}"),
            _ => assert!(code <= 5, "no return code of MQTT 3: {frame:02x?}"),
        }
        assert!(code == 0 || flags == 0, "[MQTT-3.2.2-6] session present in a refusal: {frame:02x?}");
        assert!(version != Version::V3 || flags == 0, "MQTT 3.1 reserves the acknowledge flags: {frame:02x?}");
        Self { session_present: flags == 1, code, properties }
    }
}

/// A PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    /// 0 at QoS 0.
    pub id: u16,
    pub properties: Properties,
    pub payload: Vec<u8>,
}

impl Publish {
    pub fn read(version: Version, frame: &Frame) -> Self {
        let mut body = frame.body_of(wire::PUBLISH | frame.first & 0x0f);
        let (dup, qos, retain) = (frame.first & 8 != 0, frame.first >> 1 & 3, frame.first & 1 != 0);
        assert!(qos < 3, "[MQTT-3.3.1-4] QoS 3: {frame:02x?}");
        assert!(!(dup && qos == 0), "[MQTT-3.3.1-2] DUP at QoS 0: {frame:02x?}");
        let topic = body.text();
        assert!(!topic.contains(['+', '#', '\0']), "[MQTT-3.3.2-2] topic name: {frame:02x?}");
        let id = if qos > 0 { body.two() } else { 0 };
        assert_eq!(qos > 0, id > 0, "[MQTT-2.2.1-4] packet identifier 0: {frame:02x?}");
        let properties = body.properties(version, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]);
        assert!(
            !topic.is_empty() || properties.two(0x23).is_some(),
            "[MQTT-4.7.3-1] neither topic name nor alias: {frame:02x?}"
        );
        Self { dup, qos, retain, topic, id, properties, payload: body.rest.to_vec() }
    }
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub id: u16,
    pub reason: u8,
    pub properties: Properties,
}

impl Ack {
    pub fn read(version: Version, first: u8, frame: &Frame) -> Self {
        let mut body = frame.body_of(first);
        let id = body.two();
        let reason = if version == Version::V5 && !body.rest.is_empty() { body.byte() } else { 0 };
        let properties =
            if body.rest.is_empty() { Properties::default() } else { body.properties(version, &[0x1f, 0x26]) };
        body.end();
        assert!(id > 0, "packet identifier 0: {frame:02x?}");
        Self { id, reason, properties }
    }
}

/// SUBACK, UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    pub id: u16,
    pub codes: Vec<u8>,
    pub properties: Properties,
}

impl SubAck {
    pub fn read(version: Version, first: u8, frame: &Frame) -> Self {
        let mut body = frame.body_of(first);
        let id = body.two();
        let properties = body.properties(version, &[0x1f, 0x26]);
        Self { id, codes: body.rest.to_vec(), properties }
    }
}

/// DISCONNECT of a server; MQTT 5.0 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub reason: u8,
    pub properties: Properties,
}

impl Disconnect {
    pub fn read(frame: &Frame) -> Self {
        let mut body = frame.body_of(wire::DISCONNECT);
        let reason = if body.rest.is_empty() { 0 } else { body.byte() };
        // [MQTT-3.14.2-2]: no session expiry interval from a server.
        let properties = if body.rest.is_empty() {
            Properties::default()
        } else {
            body.properties(Version::V5, &[0x1c, 0x1f, 0x26])
        };
        body.end();
        assert!(reason != 0x04, "a server has no will: {frame:02x?}");
        Self { reason, properties }
    }
}

/// The properties of a received packet, each as identifier and value: what `wire::property` writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Vec<u8>>);

impl Properties {
    /// The value of the only property `id`.
    fn value(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find(|property| property[0] == id).map(|property| &property[1..])
    }

    pub fn byte(&self, id: u8) -> Option<u8> {
        self.value(id).map(|value| value[0])
    }

    pub fn two(&self, id: u8) -> Option<u16> {
        self.value(id).map(|value| u16::from_be_bytes([value[0], value[1]]))
    }

    pub fn four(&self, id: u8) -> Option<u32> {
        self.value(id).map(|value| u32::from_be_bytes([value[0], value[1], value[2], value[3]]))
    }

    pub fn text(&self, id: u8) -> Option<&str> {
        self.value(id).map(|value| std::str::from_utf8(&value[2..]).expect("checked when read"))
    }

    /// All properties with this identifier, in order.
    pub fn all(&self, id: u8) -> Vec<Vec<u8>> {
        self.0.iter().filter(|property| property[0] == id).cloned().collect()
    }

    pub fn has(&self, property: &[u8]) -> bool {
        self.0.iter().any(|other| other == property)
    }
}

/// Walks through a packet's body; running out of bytes is the broker's fault and fails the test.
struct Reader<'a> {
    rest: &'a [u8],
    whole: &'a Frame,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) =
            self.rest.split_at_checked(count).unwrap_or_else(|| panic!("truncated: {:02x?}", self.whole));
        self.rest = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn two(&mut self) -> u16 {
        let bytes = self.take(2);
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    fn binary(&mut self) -> &'a [u8] {
        let length = self.two();
        self.take(length.into())
    }

    fn text(&mut self) -> String {
        let bytes = self.binary();
        let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("[MQTT-1.5.4-1] {:02x?}", self.whole));
        assert!(!text.contains('\0'), "[MQTT-1.5.4-2] {:02x?}", self.whole);
        text.to_owned()
    }

    fn varint(&mut self) -> usize {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.byte();
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("variable byte integer of more than four bytes: {:02x?}", self.whole)
    }

    fn properties(&mut self, version: Version, allowed: &[u8]) -> Properties {
        if version != Version::V5 {
            return Properties::default();
        }
        let length = self.varint();
        let mut block = Reader { rest: self.take(length), whole: self.whole };
        let mut properties: Vec<Vec<u8>> = Vec::new();
        while !block.rest.is_empty() {
            let before = block.rest;
            let id = block.byte();
            assert!(allowed.contains(&id), "property {id:02x} does not belong here: {:02x?}", self.whole);
            let repeated = properties.iter().any(|property| property[0] == id);
            assert!(!repeated || matches!(id, 0x0b | 0x26), "property {id:02x} twice: {:02x?}", self.whole);
            block.value(id);
            properties.push(before[..before.len() - block.rest.len()].to_vec());
        }
        Properties(properties)
    }

    fn value(&mut self, id: u8) {
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
                assert!(self.byte() <= 1, "property {id:02x} is 0 or 1: {:02x?}", self.whole);
            }
            0x13 | 0x22 => {
                self.two();
            }
            0x21 | 0x23 => assert!(self.two() > 0, "property {id:02x} is 0: {:02x?}", self.whole),
            0x02 | 0x11 | 0x18 | 0x27 => {
                self.take(4);
            }
            0x0b => assert!(self.varint() > 0, "subscription identifier 0 (3.8.2.1.2): {:02x?}", self.whole),
            0x09 | 0x16 => {
                self.binary();
            }
            0x26 => {
                self.text();
                self.text();
            }
            _ => {
                self.text();
            }
        }
    }

    fn end(&self) {
        assert!(self.rest.is_empty(), "bytes left over: {:02x?}", self.whole);
    }
}
