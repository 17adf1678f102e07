//! How the table writes bytes: `10` is a byte in hex, `'ab'` the bytes of a text, `"ab"` a length-prefixed string, `~` a
//! remaining length that fits what follows, `[ … ]` properties with their length in front, `61*300` a repeated byte.

/// The bytes of one row. A row that is not in the notation is a mistake in the table, hence the panics.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut parser = Parser { rest: text.trim_start() };
    let out = parser.run();
    assert!(parser.rest.is_empty(), "']' without '[' in {text}");
    out
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Up to the end, or to the `]` that closes a property block.
    fn run(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(first) = self.rest.chars().next() {
            match first {
                '\'' => out.extend_from_slice(self.quoted('\'').as_bytes()),
                '"' => out.extend(prefixed(self.quoted('"').as_bytes())),
                '~' => {
                    self.skip(1);
                    out.extend(with_varint(self.run()));
                    return out;
                }
                '[' => {
                    self.skip(1);
                    let block = self.run();
                    self.skip(1);
                    out.extend(with_varint(block));
                }
                ']' => return out,
                _ => out.extend(self.hex()),
            }
        }
        out
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn quoted(&mut self, quote: char) -> &'a str {
        let (text, rest) = self.rest[1..].split_once(quote).expect("a closing quote");
        self.rest = rest.trim_start();
        text
    }

    fn hex(&mut self) -> Vec<u8> {
        let end = self.rest.find([' ', ']', '\n']).unwrap_or(self.rest.len());
        let (word, repeat) = match self.rest[..end].split_once('*') {
            Some((word, repeat)) => (word, repeat.parse().expect("a number of repetitions")),
            None => (&self.rest[..end], 1),
        };
        assert_eq!(word.len(), 2, "{word} is no hex byte");
        let byte = u8::from_str_radix(word, 16).expect("two hex digits");
        self.skip(end);
        vec![byte; repeat]
    }
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a string of at most 65,535 bytes");
    [&len.to_be_bytes(), bytes].concat()
}

/// `bytes` with their number in front as a Variable Byte Integer, written here once more to be no echo of the codec's.
fn with_varint(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut rest = bytes.len();
    let mut front = Vec::new();
    loop {
        let more = rest >= 0x80;
        front.push((rest % 0x80) as u8 | if more { 0x80 } else { 0 });
        rest /= 0x80;
        if !more {
            break;
        }
    }
    front.append(&mut bytes);
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_reads_as_it_says() {
        assert_eq!(bytes("30 ~ \"a\" 'b' [01 01] 00*3"), [0x30, 10, 0, 1, b'a', b'b', 2, 1, 1, 0, 0, 0]);
        assert_eq!(bytes("~ 61*200")[..2], [0xC8, 0x01]);
    }
}
