//! One or more levels of a filter as text, in 24 bytes where it is short.

/// Texts up to here are stored in place.
const INLINE_MAX: usize = 22;

pub(super) enum Levels {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Boxed(Box<str>),
}

impl Levels {
    pub(super) fn new(text: &str) -> Levels {
        if text.len() > INLINE_MAX {
            return Levels::Boxed(text.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Levels::Inline { len: text.len() as u8, bytes }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Levels::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Levels::Boxed(text) => text.as_bytes(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Levels::Inline { .. } => std::str::from_utf8(self.as_bytes()).expect("a copy of a str"),
            Levels::Boxed(text) => text,
        }
    }

    pub(super) fn first(&self) -> &[u8] {
        let bytes = self.as_bytes();
        &bytes[..level_end(bytes, 0)]
    }

    /// Whether the first level is `level`.
    pub(super) fn starts_with(&self, level: &[u8]) -> bool {
        let rest = self.as_bytes().strip_prefix(level);
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// What the text takes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Levels::Inline { .. } => 0,
            Levels::Boxed(text) => text.len(),
        }
    }
}

/// Where the level that starts at `from` ends.
pub(super) fn level_end(text: &[u8], from: usize) -> usize {
    memchr::memchr(b'/', &text[from..]).map_or(text.len(), |length| from + length)
}

/// How many bytes of `a` and `b` are the same when only whole levels count. Zero also when the first levels differ.
pub(super) fn common_levels(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let ends_level = |text: &[u8]| text.get(common).is_none_or(|&byte| byte == b'/');
    if ends_level(a) && ends_level(b) {
        return common;
    }
    memchr::memrchr(b'/', &a[..common]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_read_back_as_they_were_at_every_length_around_the_limit() {
        for len in [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 65_535] {
            let text = "x".repeat(len);
            let levels = Levels::new(&text);
            assert_eq!((levels.as_str(), levels.as_bytes()), (text.as_str(), text.as_bytes()));
            assert_eq!(levels.memory_bytes(), if len > INLINE_MAX { len } else { 0 });
        }
        assert_eq!(Levels::new("müßig/ätsch").as_str(), "müßig/ätsch");
    }

    #[test]
    fn levels_take_24_bytes() {
        assert_eq!(size_of::<Levels>(), 24);
    }

    #[test]
    fn the_first_level_ends_at_the_first_separator() {
        for (text, first) in [("", ""), ("a", "a"), ("/", ""), ("/a", ""), ("a/", "a"), ("ab/c/d", "ab")] {
            assert_eq!(Levels::new(text).first(), first.as_bytes(), "{text}");
            assert!(Levels::new(text).starts_with(first.as_bytes()), "{text}");
        }
        assert!(!Levels::new("ab/c").starts_with(b"a"));
        assert!(!Levels::new("a").starts_with(b""));
        assert!(!Levels::new("a").starts_with(b"ab"));
    }

    #[test]
    fn only_whole_levels_are_common() {
        let table = [("a/b", "a/b", 3), ("a/b/c", "a/b", 3), ("a/b/c", "a/b/d", 3), ("a/bc", "a/b", 1), ("a/", "a", 1)];
        let more = [("a/bc", "a/bd", 1), ("/a", "/b", 0), ("ab", "ac", 0), ("a//", "a//b", 2), ("//", "///", 2)];
        for (a, b, common) in table.into_iter().chain(more) {
            assert_eq!(common_levels(a, b), common, "{a} {b}");
            assert_eq!(common_levels(b, a), common, "{b} {a}");
        }
    }
}
