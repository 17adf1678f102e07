//! The text of one level of a filter, stored in 24 bytes where it is short.

/// Levels up to here are stored in place; site, device and measurement names rarely are longer.
const INLINE_MAX: usize = 22;

pub(super) enum LevelText {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Boxed(Box<[u8]>),
}

impl LevelText {
    pub(super) fn new(level: &str) -> LevelText {
        let text = level.as_bytes();
        if text.len() > INLINE_MAX {
            return LevelText::Boxed(text.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text);
        LevelText::Inline { len: text.len() as u8, bytes }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            LevelText::Inline { len, bytes } => &bytes[..usize::from(*len)],
            LevelText::Boxed(bytes) => bytes,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("made from a str")
    }

    /// What the text takes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            LevelText::Inline { .. } => 0,
            LevelText::Boxed(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_reads_back_as_it_was_at_every_length_around_the_limit() {
        for len in [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 65_535] {
            let text = "x".repeat(len);
            let level = LevelText::new(&text);
            assert_eq!(level.as_str(), text);
            assert_eq!(level.memory_bytes(), if len > INLINE_MAX { len } else { 0 });
        }
        assert_eq!(LevelText::new("müßig/ätsch").as_str(), "müßig/ätsch");
    }

    #[test]
    fn a_level_takes_24_bytes() {
        assert_eq!(size_of::<LevelText>(), 24);
    }
}
