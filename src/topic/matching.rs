//! How filters relate to topics and to each other. Each question is one walk along both texts.
//!
//! The functions expect well-formed filters and topics; other texts get an answer without meaning, never a panic.

/// Whether a message published to `topic` belongs to `filter` (section 4.7). Texts are compared byte by byte
/// ([MQTT-4.7.3-4]).
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if starts_with_wildcard(filter) && topic.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true; // also when the topic has ended: `a/#` matches `a`
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether every topic that `inner` matches is matched by `outer`, too.
pub fn filter_covers(outer: &str, inner: &str) -> bool {
    if starts_with_wildcard(outer) && inner.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    // Every topic has a first level, so these two match the same topics.
    let outer = if outer == "+/#" { "#" } else { outer };
    let mut levels = inner.split('/');
    for wanted in outer.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") | None => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

/// Whether some topic is matched by both filters. That a topic ends at 65,535 bytes is left out of account: two filters
/// that only a longer topic could satisfy do overlap.
pub fn filters_overlap(a: &str, b: &str) -> bool {
    if starts_with_wildcard(a) && b.starts_with('$') || starts_with_wildcard(b) && a.starts_with('$') {
        return false; // [MQTT-4.7.2-1]
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == "+" || y == "+" => {}
            _ => return false,
        }
    }
}

pub(super) fn starts_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}
