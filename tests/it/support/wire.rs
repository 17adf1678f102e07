//! Bytes that a client sends, built by hand and independent of Midge's codec, so that errors of the two do not cancel out.
//!
//! The builders write what they are told, legal or not: a test of a refusal needs the illegal packet.

/// The revision of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1
    V3,
    /// MQTT 3.1.1
    V4,
    /// MQTT 5.0
    V5,
}

pub const CONNECT: u8 = 0x10;
pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const SUBSCRIBE: u8 = 0x82;
pub const SUBACK: u8 = 0x90;
pub const UNSUBSCRIBE: u8 = 0xa2;
pub const UNSUBACK: u8 = 0xb0;
pub const PINGREQ: [u8; 2] = [0xc0, 0];
pub const PINGRESP: [u8; 2] = [0xd0, 0];
pub const DISCONNECT: u8 = 0xe0;
pub const AUTH: u8 = 0xf0;

/// A variable byte integer in its shortest form.
pub fn varint(mut value: usize) -> Vec<u8> {
    assert!(value < 268_435_456, "{value} has no encoding");
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A control packet: first byte, remaining length, the rest.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &varint(body.len()), body].concat()
}

/// Two bytes of length in front: a string, well-formed or not, or binary data.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A property block with its length in front.
pub fn properties(block: &[u8]) -> Vec<u8> {
    [&varint(block.len())[..], block].concat()
}

/// Single properties: identifier and value.
pub mod property {
    use super::{string, varint};

    fn byte(id: u8, value: u8) -> Vec<u8> {
        vec![id, value]
    }
    fn two(id: u8, value: u16) -> Vec<u8> {
        [&[id][..], &value.to_be_bytes()].concat()
    }
    fn four(id: u8, value: u32) -> Vec<u8> {
        [&[id][..], &value.to_be_bytes()].concat()
    }
    fn text(id: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
        [&[id][..], &string(value)].concat()
    }

    pub fn payload_format_indicator(value: u8) -> Vec<u8> {
        byte(0x01, value)
    }
    pub fn message_expiry_interval(seconds: u32) -> Vec<u8> {
        four(0x02, seconds)
    }
    pub fn content_type(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x03, value)
    }
    pub fn response_topic(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x08, value)
    }
    pub fn correlation_data(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x09, value)
    }
    pub fn subscription_identifier(value: usize) -> Vec<u8> {
        [&[0x0b][..], &varint(value)].concat()
    }
    pub fn session_expiry_interval(seconds: u32) -> Vec<u8> {
        four(0x11, seconds)
    }
    pub fn assigned_client_identifier(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x12, value)
    }
    pub fn server_keep_alive(seconds: u16) -> Vec<u8> {
        two(0x13, seconds)
    }
    pub fn authentication_method(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x15, value)
    }
    pub fn authentication_data(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x16, value)
    }
    pub fn request_problem_information(value: u8) -> Vec<u8> {
        byte(0x17, value)
    }
    pub fn will_delay_interval(seconds: u32) -> Vec<u8> {
        four(0x18, seconds)
    }
    pub fn request_response_information(value: u8) -> Vec<u8> {
        byte(0x19, value)
    }
    pub fn response_information(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x1a, value)
    }
    pub fn server_reference(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x1c, value)
    }
    pub fn reason_string(value: impl AsRef<[u8]>) -> Vec<u8> {
        text(0x1f, value)
    }
    pub fn receive_maximum(value: u16) -> Vec<u8> {
        two(0x21, value)
    }
    pub fn topic_alias_maximum(value: u16) -> Vec<u8> {
        two(0x22, value)
    }
    pub fn topic_alias(value: u16) -> Vec<u8> {
        two(0x23, value)
    }
    pub fn maximum_qos(value: u8) -> Vec<u8> {
        byte(0x24, value)
    }
    pub fn retain_available(value: u8) -> Vec<u8> {
        byte(0x25, value)
    }
    pub fn user(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
        [&[0x26][..], &string(name), &string(value)].concat()
    }
    pub fn maximum_packet_size(bytes: u32) -> Vec<u8> {
        four(0x27, bytes)
    }
    pub fn wildcard_subscription_available(value: u8) -> Vec<u8> {
        byte(0x28, value)
    }
    pub fn subscription_identifiers_available(value: u8) -> Vec<u8> {
        byte(0x29, value)
    }
    pub fn shared_subscription_available(value: u8) -> Vec<u8> {
        byte(0x2a, value)
    }
}

/// A CONNECT packet; clean start, keep alive off and nothing else unless told.
#[derive(Clone)]
pub struct Connect {
    pub version: Version,
    client_id: Vec<u8>,
    clean_start: bool,
    keep_alive: u16,
    properties: Vec<u8>,
    will: Option<Will>,
    user_name: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Connect {
    pub fn new(version: Version, client_id: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            client_id: client_id.as_ref().to_vec(),
            clean_start: true,
            keep_alive: 0,
            properties: Vec::new(),
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// Clean Start (5) or Clean Session (3.x) off.
    pub fn resume(mut self) -> Self {
        self.clean_start = false;
        self
    }

    /// A session that outlives the connection: no clean session on 3.x, five minutes of expiry on 5.
    pub fn lasting(self) -> Self {
        match self.version {
            Version::V5 => self.resume().with(property::session_expiry_interval(300)),
            _ => self.resume(),
        }
    }

    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub fn with(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    pub fn user_name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.user_name = Some(name.as_ref().to_vec());
        self
    }

    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    pub fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        let user_name = u8::from(self.user_name.is_some()) << 7;
        let password = u8::from(self.password.is_some()) << 6;
        user_name | password | will | u8::from(self.clean_start) << 1
    }

    /// Everything after the connect flags' byte and keep alive: properties and payload.
    fn tail(&self) -> Vec<u8> {
        let mut tail = Vec::new();
        if self.version == Version::V5 {
            tail.extend(properties(&self.properties));
        }
        tail.extend(string(&self.client_id));
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                tail.extend(properties(&will.properties));
            }
            tail.extend(string(&will.topic));
            tail.extend(string(&will.payload));
        }
        for field in [&self.user_name, &self.password].into_iter().flatten() {
            tail.extend(string(field));
        }
        tail
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with_flags(self.flags())
    }

    /// The same packet with other connect flags than its fields call for.
    pub fn bytes_with_flags(&self, flags: u8) -> Vec<u8> {
        match self.version {
            Version::V3 => self.bytes_as("MQIsdp", 3, flags),
            Version::V4 => self.bytes_as("MQTT", 4, flags),
            Version::V5 => self.bytes_as("MQTT", 5, flags),
        }
    }

    /// The same packet with another protocol name, level and flags.
    pub fn bytes_as(&self, protocol_name: &str, level: u8, flags: u8) -> Vec<u8> {
        let head = [&string(protocol_name)[..], &[level, flags], &self.keep_alive.to_be_bytes()].concat();
        packet(CONNECT, &[head, self.tail()].concat())
    }
}

/// The Will in a CONNECT packet.
#[derive(Clone)]
pub struct Will {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Vec<u8>,
}

impl Will {
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            properties: Vec::new(),
        }
    }

    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn with(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }
}

/// A PUBLISH packet; QoS 0, no flags and no properties unless told.
#[derive(Clone)]
pub struct Publish {
    version: Version,
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    id: u16,
    retain: bool,
    dup: bool,
    properties: Vec<u8>,
}

impl Publish {
    pub fn new(version: Version, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            id: 0,
            retain: false,
            dup: false,
            properties: Vec::new(),
        }
    }

    pub fn qos(mut self, qos: u8, id: u16) -> Self {
        self.qos = qos;
        self.id = id;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub fn with(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = string(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if self.version == Version::V5 {
            body.extend(properties(&self.properties));
        }
        body.extend(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        packet(PUBLISH | flags, &body)
    }
}

/// A SUBSCRIBE packet.
#[derive(Clone)]
pub struct Subscribe {
    version: Version,
    id: u16,
    filters: Vec<u8>,
    properties: Vec<u8>,
}

impl Subscribe {
    pub fn new(version: Version, id: u16) -> Self {
        Self { version, id, filters: Vec::new(), properties: Vec::new() }
    }

    /// `options` is the whole byte: QoS, and in 5 No Local (0x04), Retain As Published (0x08), Retain Handling (0x30).
    pub fn filter(mut self, filter: impl AsRef<[u8]>, options: u8) -> Self {
        self.filters.extend(string(filter));
        self.filters.push(options);
        self
    }

    pub fn with(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        packet(SUBSCRIBE, &acknowledgeable(self.version, self.id, &self.properties, &self.filters))
    }
}

/// An UNSUBSCRIBE packet.
#[derive(Clone)]
pub struct Unsubscribe {
    version: Version,
    id: u16,
    filters: Vec<u8>,
    properties: Vec<u8>,
}

impl Unsubscribe {
    pub fn new(version: Version, id: u16) -> Self {
        Self { version, id, filters: Vec::new(), properties: Vec::new() }
    }

    pub fn filter(mut self, filter: impl AsRef<[u8]>) -> Self {
        self.filters.extend(string(filter));
        self
    }

    pub fn with(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        packet(UNSUBSCRIBE, &acknowledgeable(self.version, self.id, &self.properties, &self.filters))
    }
}

fn acknowledgeable(version: Version, id: u16, block: &[u8], payload: &[u8]) -> Vec<u8> {
    let block = if version == Version::V5 { properties(block) } else { Vec::new() };
    [&id.to_be_bytes()[..], &block, payload].concat()
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in the short form that all versions share: success.
pub fn ack(kind: u8, id: u16) -> Vec<u8> {
    packet(kind, &id.to_be_bytes())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of MQTT 5.0 with its reason code and properties.
pub fn ack_because(kind: u8, id: u16, reason: u8, block: &[u8]) -> Vec<u8> {
    packet(kind, &[&id.to_be_bytes()[..], &[reason], &properties(block)].concat())
}

/// DISCONNECT of a client that is done, in the form that all versions share.
pub fn disconnect() -> Vec<u8> {
    packet(DISCONNECT, &[])
}

/// DISCONNECT of MQTT 5.0 with its reason code and properties.
pub fn disconnect_because(reason: u8, block: &[u8]) -> Vec<u8> {
    packet(DISCONNECT, &[&[reason][..], &properties(block)].concat())
}

/// AUTH of MQTT 5.0.
pub fn auth(reason: u8, block: &[u8]) -> Vec<u8> {
    packet(AUTH, &[&[reason][..], &properties(block)].concat())
}
