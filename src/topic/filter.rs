//! Topic filters and shared subscriptions: what a client subscribes to.

use std::sync::Arc;

use super::error::TopicError;
use super::matching::filter_matches;
use super::name::check_length;
use super::text::checked_text;

/// What a shared subscription starts with; share name, '/' and topic filter follow ([MQTT-4.8.2-1]).
const SHARE_PREFIX: &str = "$share/";

/// A topic filter as a client sends it, checked and taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedFilter<'a> {
    /// The share name of `$share/NAME/FILTER`.
    pub share: Option<&'a str>,
    /// The filter that topics are matched against, without the share.
    pub filter: &'a str,
}

impl<'a> ParsedFilter<'a> {
    /// Takes `text` apart. `$share` without a '/' behind it is an ordinary filter: only `$share/` announces a share.
    pub fn parse(text: &'a str) -> Result<ParsedFilter<'a>, TopicError> {
        check_text(text)?;
        // [MQTT-4.8.2-1]
        let Some(shared) = text.strip_prefix(SHARE_PREFIX) else {
            check_wildcards(text, 0)?;
            return Ok(ParsedFilter { share: None, filter: text });
        };
        let (share, filter) = shared.split_once('/').unwrap_or((shared, ""));
        check_share_name(share, SHARE_PREFIX.len())?;
        // [MQTT-4.8.2-2]
        if filter.is_empty() {
            return Err(TopicError::ShareFilterMissing);
        }
        check_wildcards(filter, text.len() - filter.len())?;
        Ok(ParsedFilter { share: Some(share), filter })
    }
}

/// A well-formed topic filter without a share. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

checked_text!(TopicFilter);

impl TopicFilter {
    /// Checks and copies `text`. A leading `$share/…` has no meaning here: [`ParsedFilter`] takes it off.
    pub fn parse(text: &str) -> Result<TopicFilter, TopicError> {
        check_text(text)?;
        check_wildcards(text, 0)?;
        Ok(TopicFilter(text.into()))
    }

    /// Whether a message published to `topic` belongs to this filter.
    pub fn matches(&self, topic: &str) -> bool {
        filter_matches(&self.0, topic)
    }
}

/// The name of a group of subscribers that share the messages of a filter. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(Arc<str>);

checked_text!(ShareName);

impl ShareName {
    /// Checks and copies `text`.
    pub fn parse(text: &str) -> Result<ShareName, TopicError> {
        check_share_name(text, 0)?;
        check_text(text)?;
        Ok(ShareName(text.into()))
    }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    check_length(text)?;
    match memchr::memchr(0, text.as_bytes()) {
        Some(at) => Err(TopicError::NullCharacter { at }), // [MQTT-4.7.3-2]
        None => Ok(()),
    }
}

/// `offset` is where the share name starts in the text that the client sent.
fn check_share_name(share: &str, offset: usize) -> Result<(), TopicError> {
    if share.is_empty() {
        return Err(TopicError::ShareNameEmpty); // [MQTT-4.8.2-1]
    }
    // [MQTT-4.8.2-2]
    match memchr::memchr3(b'/', b'+', b'#', share.as_bytes()) {
        Some(at) => Err(TopicError::ShareNameCharacter { found: share.as_bytes()[at].into(), at: offset + at }),
        None => Ok(()),
    }
}

/// `offset` is where the filter starts in the text that the client sent.
fn check_wildcards(filter: &str, offset: usize) -> Result<(), TopicError> {
    let bytes = filter.as_bytes();
    for place in memchr::memchr2_iter(b'+', b'#', bytes) {
        let (before, behind) = (&bytes[..place], &bytes[place + 1..]);
        let alone = matches!(before, [] | [.., b'/']) && matches!(behind, [] | [b'/', ..]);
        let at = offset + place;
        match bytes[place] {
            b'+' if !alone => return Err(TopicError::SingleLevelNotAlone { at }), // [MQTT-4.7.1-2]
            b'#' if !alone => return Err(TopicError::MultiLevelNotAlone { at }),  // [MQTT-4.7.1-1]
            b'#' if !behind.is_empty() => return Err(TopicError::MultiLevelNotLast { at }), // [MQTT-4.7.1-1]
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::topic::{check_topic_name, reference};

    fn error(text: &str) -> TopicError {
        ParsedFilter::parse(text).expect_err(text)
    }

    fn shared(text: &str) -> (&str, &str) {
        let parsed = ParsedFilter::parse(text).expect(text);
        (parsed.share.expect(text), parsed.filter)
    }

    // [MQTT-4.7.1-1]
    #[test]
    fn the_multi_level_wildcard_stands_alone_or_after_a_separator_and_is_last() {
        for text in ["#", "/#", "a/#", "a/b/#", "+/#", "//#", "$SYS/#"] {
            assert_eq!(ParsedFilter::parse(text), Ok(ParsedFilter { share: None, filter: text }));
        }
        for (text, at) in [("a#", 1), ("a/b#", 3), ("##", 0), ("#a", 0), ("a/#b", 2)] {
            assert_eq!(error(text), TopicError::MultiLevelNotAlone { at }, "{text}");
        }
        for (text, at) in [("#/", 0), ("a/#/b", 2), ("#/#", 0), ("a/#/", 2)] {
            assert_eq!(error(text), TopicError::MultiLevelNotLast { at }, "{text}");
        }
    }

    // [MQTT-4.7.1-2]
    #[test]
    fn the_single_level_wildcard_fills_any_level_whole() {
        for text in ["+", "+/+", "/+", "+/", "a/+/b", "+/a", "a/+", "+/b/#"] {
            assert_eq!(ParsedFilter::parse(text).map(|parsed| parsed.filter), Ok(text));
        }
        for (text, at) in [("a+", 1), ("+a", 0), ("a/b+/c", 3), ("++", 0), ("a/+b/c", 2), ("+#", 0)] {
            assert_eq!(error(text), TopicError::SingleLevelNotAlone { at }, "{text}");
        }
    }

    // [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
    #[test]
    fn a_filter_has_1_to_65535_bytes_and_no_null_character() {
        assert_eq!(error(""), TopicError::Empty);
        assert_eq!(error("a/\0"), TopicError::NullCharacter { at: 2 });
        assert_eq!(error("$share/g\0/a"), TopicError::NullCharacter { at: 8 });
        assert_eq!(error(&"/".repeat(65_536)), TopicError::TooLong { bytes: 65_536 });
        assert_eq!(ParsedFilter::parse(&"/".repeat(65_535)).map(|parsed| parsed.share), Ok(None));
        assert_eq!(TopicFilter::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicFilter::parse("\0"), Err(TopicError::NullCharacter { at: 0 }));
        assert_eq!(TopicFilter::parse("a#"), Err(TopicError::MultiLevelNotAlone { at: 1 }));
    }

    // [MQTT-4.8.2-1]
    #[test]
    fn a_shared_subscription_has_a_share_name_of_at_least_one_character() {
        assert_eq!(shared("$share/g/a"), ("g", "a"));
        assert_eq!(shared("$share/group 7/+/b/#"), ("group 7", "+/b/#"));
        assert_eq!(error("$share/"), TopicError::ShareNameEmpty);
        assert_eq!(error("$share//a"), TopicError::ShareNameEmpty);
        for text in ["$share", "$SHARE/g/a", "share/g/a", "/$share/g/a", "$shared/g/a"] {
            assert_eq!(ParsedFilter::parse(text), Ok(ParsedFilter { share: None, filter: text }));
        }
    }

    // [MQTT-4.8.2-2]
    #[test]
    fn a_share_name_has_no_separator_or_wildcard_and_a_filter_follows_it() {
        assert_eq!(error("$share/+/a"), TopicError::ShareNameCharacter { found: '+', at: 7 });
        assert_eq!(error("$share/g#/a"), TopicError::ShareNameCharacter { found: '#', at: 8 });
        assert_eq!(error("$share/#"), TopicError::ShareNameCharacter { found: '#', at: 7 });
        assert_eq!(error("$share/g"), TopicError::ShareFilterMissing);
        assert_eq!(error("$share/g/"), TopicError::ShareFilterMissing);
        assert_eq!(shared("$share/g//"), ("g", "/"));
        assert_eq!(ShareName::parse("a/b"), Err(TopicError::ShareNameCharacter { found: '/', at: 1 }));
        assert_eq!(ShareName::parse(""), Err(TopicError::ShareNameEmpty));
        assert_eq!(ShareName::parse("a\0"), Err(TopicError::NullCharacter { at: 1 }));
        assert_eq!(&*ShareName::parse("g").unwrap(), "g");
    }

    #[test]
    fn an_error_in_a_shared_filter_points_into_the_text_that_was_sent() {
        assert_eq!(error("$share/g/a+"), TopicError::SingleLevelNotAlone { at: 10 });
        assert_eq!(error("$share/g/#/a"), TopicError::MultiLevelNotLast { at: 9 });
    }

    #[test]
    fn only_the_first_share_of_a_filter_is_taken_off() {
        assert_eq!(shared("$share/g/$share/h/a"), ("g", "$share/h/a"));
    }

    #[test]
    fn an_owned_filter_matches_like_its_text() {
        let filter = TopicFilter::parse("a/+").unwrap();
        assert!(filter.matches("a/b"));
        assert!(!filter.matches("a"));
        assert_eq!("a/+".parse(), Ok(filter));
    }

    /// Bytes that the rules are about, and some that are only near them.
    const PIECES: &[&str] =
        &["/", "/", "+", "#", "$share/", "$share", "$", "a", "g", "\0", "\u{1}", "\u{e9}", "\u{ffff}"];

    // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-2] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    #[test]
    fn two_hundred_thousand_random_texts_get_the_answer_of_the_reference() {
        let mut random = StdRng::seed_from_u64(0x6d69_6467_6500_0047);
        let mut accepted = 0;
        for _ in 0..200_000 {
            let length = random.random_range(0..9);
            let text: String = (0..length).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
            let parsed = ParsedFilter::parse(&text);
            assert_eq!(parsed.is_ok(), reference::is_subscription(&text), "{text:?}: {parsed:?}");
            assert_eq!(TopicFilter::parse(&text).is_ok(), reference::is_filter(&text), "{text:?}");
            let is_name = !text.is_empty() && !text.contains(['+', '#', '\0']);
            assert_eq!(check_topic_name(&text).is_ok(), is_name, "{text:?}");
            accepted += u32::from(parsed.is_ok());
        }
        assert!((20_000..180_000).contains(&accepted), "both answers are common: {accepted}");
    }
}
