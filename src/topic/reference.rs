//! Slow and obvious answers that the tests compare the trees and walks of this room with, and texts to ask them about.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;
use proptest::sample::select;

/// Section 4.7, rule by rule.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let hidden = topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
    !hidden && levels_match(&levels(filter), &levels(topic))
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && levels_match(filter, topic),
        _ => false,
    }
}

/// Whether `text` is a well-formed topic filter without a share.
pub(super) fn is_filter(text: &str) -> bool {
    let levels = levels(text);
    let is_level = |(at, level): (usize, &&str)| match *level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['+', '#', '\0']),
    };
    !text.is_empty() && text.len() <= 65_535 && levels.iter().enumerate().all(is_level)
}

/// Whether `text` is a well-formed topic filter, shared or not.
pub(super) fn is_subscription(text: &str) -> bool {
    match levels(text).as_slice() {
        ["$share", share, filter @ ..] if !filter.is_empty() => {
            let share_is_fine = !share.is_empty() && !share.contains(['+', '#', '\0']);
            share_is_fine && is_filter(&filter.join("/")) && text.len() <= 65_535
        }
        ["$share", _] => false,
        _ => is_filter(text),
    }
}

fn levels(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// Levels whose order as whole topics is full of traps: `!` and `-` stand before '/', `0` right after it, and `$` hides.
const LEVELS: &[&str] = &["", "a", "a", "b", "a-", "a!", "a0", "ab", "$s", "$", "%"];

pub(super) fn topic() -> impl Strategy<Value = String> {
    vec(select(LEVELS), 1..=4).prop_map(not_empty)
}

pub(super) fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => select(LEVELS), 1 => Just("+")];
    let path = vec(level, 1..=4);
    prop_oneof![
        6 => path.clone().prop_map(not_empty),
        3 => path.prop_map(|path| path.join("/") + "/#"),
        1 => Just("#".to_owned()),
    ]
}

/// One empty level alone would be no topic.
fn not_empty(levels: Vec<&str>) -> String {
    if levels == [""] { "/".to_owned() } else { levels.join("/") }
}
