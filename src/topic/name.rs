//! Topic names: what a message is published to.

use std::sync::Arc;

use super::error::{TOPIC_BYTES_MAX, TopicError};
use super::text::checked_text;

/// The topic of a message: 1 to 65,535 bytes without wildcards and U+0000. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

checked_text!(TopicName);

impl TopicName {
    /// Checks and copies `text`, byte for byte: no case folding, no Unicode normalisation ([MQTT-4.7.3-4]).
    pub fn parse(text: &str) -> Result<TopicName, TopicError> {
        check_topic_name(text)?;
        Ok(TopicName(text.into()))
    }
}

/// Checks that `text` may be the topic of a message.
pub fn check_topic_name(text: &str) -> Result<(), TopicError> {
    check_length(text)?;
    match memchr::memchr3(0, b'+', b'#', text.as_bytes()) {
        None => Ok(()),
        Some(at) => Err(match text.as_bytes()[at] {
            0 => TopicError::NullCharacter { at }, // [MQTT-4.7.3-2]
            wildcard => TopicError::WildcardInName { wildcard: wildcard.into(), at }, // [MQTT-4.7.0-1]
        }),
    }
}

/// The rules of length that topic names and topic filters share.
pub(super) fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),                                            // [MQTT-4.7.3-1]
        bytes if bytes > TOPIC_BYTES_MAX => Err(TopicError::TooLong { bytes }), // [MQTT-4.7.3-3]
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [MQTT-4.7.3-1]
    #[test]
    fn a_topic_name_has_at_least_one_character() {
        assert_eq!(TopicName::parse(""), Err(TopicError::Empty));
        for text in ["a", "/", " ", "$", "$SYS/broker", "a//b", "/a", "a/", "\u{feff}a"] {
            assert_eq!(check_topic_name(text), Ok(()), "{text:?}");
        }
    }

    // [MQTT-4.7.3-3]
    #[test]
    fn a_topic_name_has_at_most_65535_bytes() {
        assert_eq!(check_topic_name(&"ä".repeat(32_767)), Ok(()));
        assert_eq!(check_topic_name(&"/".repeat(65_535)), Ok(()));
        assert_eq!(check_topic_name(&"ä".repeat(32_768)), Err(TopicError::TooLong { bytes: 65_536 }));
    }

    // [MQTT-4.7.3-2]
    #[test]
    fn the_null_character_is_refused_wherever_it_stands() {
        for (text, at) in [("\0", 0), ("a/\0/b", 2), ("ä\0", 2)] {
            assert_eq!(check_topic_name(text), Err(TopicError::NullCharacter { at }), "{text:?}");
        }
    }

    // [MQTT-4.7.0-1]
    #[test]
    fn wildcards_are_refused_in_a_topic_name_and_their_place_is_told() {
        for (text, wildcard, at) in [("#", '#', 0), ("a/+", '+', 2), ("a+b", '+', 1), ("a/b#", '#', 3)] {
            assert_eq!(check_topic_name(text), Err(TopicError::WildcardInName { wildcard, at }), "{text:?}");
        }
        assert_eq!(
            check_topic_name("a/+").unwrap_err().to_string(),
            "'+' at byte 2 is not allowed in a topic name: wildcards only work in subscriptions"
        );
    }

    // [MQTT-4.7.3-4]
    #[test]
    fn names_that_look_alike_but_differ_in_bytes_stay_different() {
        let composed = TopicName::parse("caf\u{e9}").unwrap();
        let decomposed = TopicName::parse("cafe\u{301}").unwrap();
        assert_ne!(composed, decomposed);
        assert_eq!(&*decomposed, "cafe\u{301}");
        assert_ne!(TopicName::parse("A").unwrap(), TopicName::parse("a").unwrap());
    }

    #[test]
    fn a_map_keyed_by_topic_name_can_be_asked_with_a_borrowed_text() {
        let map = std::collections::HashMap::from([(TopicName::parse("a/b").unwrap(), 1)]);
        assert_eq!(map.get("a/b"), Some(&1));
    }
}
