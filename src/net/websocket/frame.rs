//! WebSocket frames of a peer (RFC 6455, section 5), decoded where they were read.
//!
//! Nothing is gathered but a header and the payload of a control frame: the payload of data frames is handed on as it
//! comes, however large the frame, so that a client can announce what it likes and costs nothing. Broken frames are
//! remembered, not returned: what came before them in the same read is still good.

use std::fmt;

/// The first two bytes, the extended length, the mask.
const HEAD_BYTES_MAX: usize = 14;
/// What a control frame may carry (section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A text frame: MQTT is binary.
    Text,
    /// Extensions that nobody agreed on.
    ReservedBits,
    UnknownOpcode(u8),
    NotMasked,
    /// A server's frame with a mask.
    Masked,
    NonMinimalLength,
    TooLarge {
        bytes: u64,
        max: u64,
    },
    ControlFragmented,
    ControlTooLarge,
    /// A continuation of nothing.
    NothingToContinue,
    /// A new message inside a fragmented one.
    NotContinued,
    /// A close frame with half a code.
    CloseCodeCut,
}

impl FrameError {
    /// What the close frame says (section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            FrameError::Text => 1003,
            FrameError::TooLarge { .. } => 1009,
            _ => 1002,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Text => write!(f, "a WebSocket text frame: MQTT needs binary frames"),
            FrameError::ReservedBits => write!(f, "a WebSocket frame with reserved bits set"),
            FrameError::UnknownOpcode(opcode) => write!(f, "a WebSocket frame with the unknown opcode {opcode}"),
            FrameError::NotMasked => write!(f, "a WebSocket frame without a mask"),
            FrameError::Masked => write!(f, "a WebSocket frame of a server with a mask"),
            FrameError::NonMinimalLength => write!(f, "a WebSocket frame whose length is not in its shortest form"),
            FrameError::TooLarge { bytes, max } => write!(f, "a WebSocket frame of {bytes} bytes, above {max}"),
            FrameError::ControlFragmented => write!(f, "a fragmented WebSocket control frame"),
            FrameError::ControlTooLarge => write!(f, "a WebSocket control frame above {CONTROL_BYTES_MAX} bytes"),
            FrameError::NothingToContinue => write!(f, "a WebSocket continuation frame without a beginning"),
            FrameError::NotContinued => write!(f, "a WebSocket message that begins inside another one"),
            FrameError::CloseCodeCut => write!(f, "a WebSocket close frame with half a code"),
        }
    }
}

impl std::error::Error for FrameError {}

/// How the frames of a client came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A close frame, with its code if it had one.
    Closed(Option<u16>),
    Failed(FrameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

/// Decodes the frames of one peer.
#[derive(Debug)]
pub struct FrameDecoder {
    /// Frames of a client have a mask, those of a server never.
    is_masked: bool,
    frame_bytes_max: u64,
    /// The header of the next frame, as far as it has come.
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    /// Of the frame whose payload is coming.
    kind: Kind,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    payload_left: u64,
    /// A message has begun whose last fragment has not.
    fragmented: bool,
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// The payload of the latest ping that was not answered.
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

/// What a complete header says.
struct Head {
    kind: Kind,
    is_final: bool,
    payload_bytes: u64,
    mask: [u8; 4],
}

impl FrameDecoder {
    /// Of a client. Frames above `frame_bytes_max` are refused when they are announced.
    pub fn new(frame_bytes_max: u64) -> Self {
        FrameDecoder {
            is_masked: true,
            frame_bytes_max,
            head: [0; HEAD_BYTES_MAX],
            head_len: 0,
            kind: Kind::Data,
            mask: [0; 4],
            payload_left: 0,
            fragmented: false,
            control: Vec::new(),
            ping: None,
            end: None,
        }
    }

    /// Of a server.
    pub fn of_server(frame_bytes_max: u64) -> Self {
        FrameDecoder { is_masked: false, ..FrameDecoder::new(frame_bytes_max) }
    }

    /// Takes all of `bytes`; leaves the payload of data frames at their front and says how long it is.
    ///
    /// Nothing that follows the [`FrameDecoder::end`] is looked at.
    pub fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut decoded) = (0, 0);
        while from < bytes.len() && self.end.is_none() {
            if self.payload_left > 0 {
                let (taken, kept) = self.take_payload(bytes, from, decoded);
                from += taken;
                decoded += kept;
            } else {
                from += self.take_head(&bytes[from..]);
            }
        }
        decoded
    }

    /// How the frames ended, once they have.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The payload that a pong is due for: only the latest ping needs an answer (section 5.5.3).
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Takes what is there of the payload from `from` on; moves that of data frames to `to`. Returns how much was taken and
    /// how much of it is data.
    fn take_payload(&mut self, bytes: &mut [u8], from: usize, to: usize) -> (usize, usize) {
        let there = bytes.len() - from;
        let n = usize::try_from(self.payload_left).map_or(there, |left| left.min(there));
        self.payload_left -= n as u64;
        if self.is_masked {
            apply_mask(&mut bytes[from..from + n], self.mask);
        }
        self.mask.rotate_left(n % 4);
        if self.kind == Kind::Data {
            bytes.copy_within(from..from + n, to);
            return (n, n);
        }
        self.control.extend_from_slice(&bytes[from..from + n]);
        if self.payload_left == 0 {
            self.finish_control();
        }
        (n, 0)
    }

    /// Takes bytes until the header is complete; returns how many.
    fn take_head(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for byte in bytes {
            self.head[usize::from(self.head_len)] = *byte;
            self.head_len += 1;
            taken += 1;
            match self.read_head() {
                Ok(None) => {}
                Ok(Some(head)) => {
                    self.begin(&head);
                    break;
                }
                Err(error) => {
                    self.end = Some(End::Failed(error));
                    break;
                }
            }
        }
        taken
    }

    /// The header once it is there; what is wrong with it as soon as that shows.
    fn read_head(&self) -> Result<Option<Head>, FrameError> {
        let head = &self.head[..usize::from(self.head_len)];
        let [first, second, rest @ ..] = head else { return Ok(None) };
        let is_final = first & 0x80 != 0;
        let kind = self.kind(*first)?;
        match (second & 0x80 != 0, self.is_masked) {
            (false, true) => return Err(FrameError::NotMasked),
            (true, false) => return Err(FrameError::Masked),
            _ => {}
        }
        let Some((payload_bytes, mask)) = length(second & 0x7F, rest)? else { return Ok(None) };
        if kind != Kind::Data {
            check_control(kind, is_final, payload_bytes)?;
        } else if payload_bytes > self.frame_bytes_max {
            return Err(FrameError::TooLarge { bytes: payload_bytes, max: self.frame_bytes_max });
        }
        let mask = match *mask {
            _ if !self.is_masked => [0; 4],
            [a, b, c, d, ..] => [a, b, c, d],
            _ => return Ok(None),
        };
        Ok(Some(Head { kind, is_final, payload_bytes, mask }))
    }

    fn kind(&self, first: u8) -> Result<Kind, FrameError> {
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBits);
        }
        match first & 0x0F {
            0 if self.fragmented => Ok(Kind::Data),
            0 => Err(FrameError::NothingToContinue),
            1 => Err(FrameError::Text), // [MQTT-6.0.0-1]
            2 if self.fragmented => Err(FrameError::NotContinued),
            2 => Ok(Kind::Data),
            8 => Ok(Kind::Close),
            9 => Ok(Kind::Ping),
            10 => Ok(Kind::Pong),
            opcode => Err(FrameError::UnknownOpcode(opcode)),
        }
    }

    fn begin(&mut self, head: &Head) {
        self.head_len = 0;
        self.kind = head.kind;
        self.mask = head.mask;
        self.payload_left = head.payload_bytes;
        if head.kind == Kind::Data {
            self.fragmented = !head.is_final;
        } else if head.payload_bytes == 0 {
            self.finish_control();
        }
    }

    fn finish_control(&mut self) {
        let payload = std::mem::take(&mut self.control);
        match self.kind {
            Kind::Ping => self.ping = Some(payload),
            Kind::Close => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.end = Some(End::Closed(code));
            }
            Kind::Data | Kind::Pong => {}
        }
    }
}

/// The payload's length and what follows it in the header; `None` when there is more of it to come.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let (length, rest, min) = match short {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), rest, 126)
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), rest, 1 << 16)
        }
        short => (u64::from(short), rest, 0),
    };
    if length < min {
        return Err(FrameError::NonMinimalLength);
    }
    Ok(Some((length, rest)))
}

fn check_control(kind: Kind, is_final: bool, payload_bytes: u64) -> Result<(), FrameError> {
    if !is_final {
        return Err(FrameError::ControlFragmented);
    }
    if payload_bytes > CONTROL_BYTES_MAX as u64 {
        return Err(FrameError::ControlTooLarge);
    }
    if kind == Kind::Close && payload_bytes == 1 {
        return Err(FrameError::CloseCodeCut);
    }
    Ok(())
}

/// Puts a mask on, or takes it off.
pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

/// The header of a binary frame from the server, which is never masked (section 5.1), in `head`; returns its length.
pub(crate) fn encode_head(payload_bytes: usize, head: &mut [u8; 10]) -> usize {
    head[0] = 0x82; // [MQTT-6.0.0-1]
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length @ ..126), _) => {
            head[1] = length;
            2
        }
        (_, Ok(length)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    }
}

/// A control frame from the server; what is too long for one is cut.
pub(super) fn encode_control(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.extend([0x80 | opcode, payload.len() as u8]);
    out.extend_from_slice(payload);
}

pub(crate) const OPCODE_CLOSE: u8 = 8;
pub(crate) const OPCODE_PONG: u8 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 1 << 20;

    /// A frame as clients send it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut head = [0; 10];
        let len = encode_head(payload.len(), &mut head);
        let mask = [7u8, 1, 200, 42];
        let mut frame = vec![first, head[1] | 0x80];
        frame.extend_from_slice(&head[2..len]);
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn decode_in_pieces(bytes: &[u8], piece: usize) -> (FrameDecoder, Vec<u8>) {
        let mut decoder = FrameDecoder::new(MAX);
        let mut payload = Vec::new();
        for chunk in bytes.chunks(piece) {
            let mut chunk = chunk.to_vec();
            let n = decoder.decode(&mut chunk);
            payload.extend_from_slice(&chunk[..n]);
        }
        (decoder, payload)
    }

    /// [MQTT-6.0.0-2]
    #[test]
    fn payloads_come_out_however_the_stream_is_cut() {
        let long = vec![5u8; 70_000];
        let frames = [
            frame(0x82, b"hello"),
            frame(0x02, b"frag"),
            frame(0x89, b"ping"),
            frame(0x00, &[9; 300]),
            frame(0x80, b"ments"),
            frame(0x82, b""),
            frame(0x8A, b"unasked"),
            frame(0x82, &long),
        ]
        .concat();
        let expected = [&b"hellofrag"[..], &[9; 300], b"ments", &long].concat();
        for piece in [1, 2, 3, 5, 7, 64, 1000, frames.len()] {
            let (mut decoder, payload) = decode_in_pieces(&frames, piece);
            assert_eq!(payload, expected, "pieces of {piece}");
            assert_eq!((decoder.take_ping().as_deref(), decoder.end()), (Some(&b"ping"[..]), None));
        }
    }

    #[test]
    fn only_the_latest_ping_is_due_for_an_answer() {
        let pings = [frame(0x89, b"one"), frame(0x89, b"two"), frame(0x89, b"")].concat();
        let (mut decoder, _) = decode_in_pieces(&pings, pings.len());
        assert_eq!((decoder.take_ping().as_deref(), decoder.take_ping()), (Some(&b""[..]), None));
    }

    #[test]
    fn a_close_frame_ends_the_stream_and_what_came_before_is_good() {
        for (payload, code) in [(&b""[..], None), (&[3, 232], Some(1000)), (b"\x03\xe9bye", Some(1001))] {
            let bytes = [frame(0x82, b"data"), frame(0x88, payload), frame(0x82, b"late")].concat();
            for piece in [1, bytes.len()] {
                let (decoder, data) = decode_in_pieces(&bytes, piece);
                assert_eq!((data.as_slice(), decoder.end()), (&b"data"[..], Some(End::Closed(code))));
            }
        }
    }

    /// [MQTT-6.0.0-1] for the text frame.
    #[test]
    fn broken_frames_are_refused_as_soon_as_they_show() {
        let mut unmasked = frame(0x82, b"data");
        unmasked[1] &= 0x7F;
        let cases: [(&[u8], FrameError, u16); 13] = [
            (&frame(0x81, b"text"), FrameError::Text, 1003),
            (&frame(0xC2, b""), FrameError::ReservedBits, 1002),
            (&frame(0x92, b""), FrameError::ReservedBits, 1002),
            (&frame(0x83, b""), FrameError::UnknownOpcode(3), 1002),
            (&frame(0x8F, b""), FrameError::UnknownOpcode(15), 1002),
            (&unmasked, FrameError::NotMasked, 1002),
            (&[0x82, 0xFE, 0, 125], FrameError::NonMinimalLength, 1002),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255], FrameError::NonMinimalLength, 1002),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 16, 0, 1], FrameError::TooLarge { bytes: MAX + 1, max: MAX }, 1009),
            (&[0x09, 0x80], FrameError::ControlFragmented, 1002),
            (&[0x89, 0xFE, 0, 126], FrameError::ControlTooLarge, 1002),
            (&[0x80, 0x80], FrameError::NothingToContinue, 1002),
            (&frame(0x88, b"x"), FrameError::CloseCodeCut, 1002),
        ];
        for (bytes, error, code) in cases {
            let bytes = [&frame(0x82, b"good"), bytes].concat();
            let (decoder, payload) = decode_in_pieces(&bytes, bytes.len());
            assert_eq!((payload.as_slice(), decoder.end()), (&b"good"[..], Some(End::Failed(error))), "{error}");
            assert_eq!(error.close_code(), code);
        }
        let inside = [frame(0x02, b"begun"), frame(0x82, b"another")].concat();
        assert_eq!(decode_in_pieces(&inside, 1).0.end(), Some(End::Failed(FrameError::NotContinued)));
    }

    #[test]
    fn frames_of_a_server_have_no_mask() {
        let frames = [&b"\x82\x05hello"[..], b"\x89\0", b"\x82\x7E\0\x80", &[3; 128], b"\x88\x02\x03\xE8"].concat();
        for piece in [1, 4, frames.len()] {
            let (mut decoder, mut payload) = (FrameDecoder::of_server(MAX), Vec::new());
            for chunk in frames.chunks(piece) {
                let mut chunk = chunk.to_vec();
                let n = decoder.decode(&mut chunk);
                payload.extend_from_slice(&chunk[..n]);
            }
            assert_eq!((&payload[..5], &payload[5..]), (&b"hello"[..], &[3; 128][..]));
            assert_eq!((decoder.take_ping(), decoder.end()), (Some(vec![]), Some(End::Closed(Some(1000)))));
        }
        let mut decoder = FrameDecoder::of_server(MAX);
        assert_eq!(
            (decoder.decode(&mut frame(0x82, b"hello")), decoder.end()),
            (0, Some(End::Failed(FrameError::Masked)))
        );
    }

    #[test]
    fn an_announced_length_costs_nothing() {
        let (decoder, _) = decode_in_pieces(&frame(0x82, &[0; 100_000])[..14], 14);
        assert!(decoder.control.capacity() == 0 && decoder.payload_left == 100_000);
    }

    #[test]
    fn heads_are_in_their_shortest_form() {
        let mut head = [0; 10];
        for (payload, expected) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 255, 255]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let len = encode_head(payload, &mut head);
            assert_eq!(&head[..len], expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_alike_in_one_piece_and_in_many(bytes: Vec<u8>, piece in 1usize..9) {
            let (whole, payload) = decode_in_pieces(&bytes, bytes.len().max(1));
            let (pieces, same) = decode_in_pieces(&bytes, piece);
            prop_assert_eq!(payload, same);
            prop_assert_eq!(whole.end(), pieces.end());
        }
    }
}
