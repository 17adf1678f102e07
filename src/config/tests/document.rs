//! `config/midge.toml` shows every key, with its default and a sentence.

use std::collections::HashSet;

use super::super::{raw::Node, raw::Value, *};
use super::parse;

const DOCUMENT: &str = include_str!("../../../config/midge.toml");

/// A key that is not set by default: a hash without a blank.
fn is_example(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

/// The document with everything in it that is not set by default.
fn with_examples() -> String {
    let uncomment = |line: &str| if is_example(line) { line[1..].to_owned() } else { line.to_owned() };
    DOCUMENT.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

fn collect_keys(node: &Node, key: &str, keys: &mut HashSet<String>) {
    match &node.value {
        Value::Table(entries) => {
            let dot = if key.is_empty() { "" } else { "." };
            entries.iter().for_each(|(name, node)| collect_keys(node, &format!("{key}{dot}{name}"), keys));
        }
        Value::Array(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
            items.iter().for_each(|item| collect_keys(item, key, keys));
        }
        _ => {
            keys.insert(key.to_owned());
        }
    }
}

#[test]
fn the_documented_values_are_the_defaults() {
    assert_eq!(parse(DOCUMENT), Config::default());
}

#[test]
fn no_key_is_missing_from_the_document() {
    let mut documented = HashSet::new();
    collect_keys(&Node::parse_file("", &with_examples()).expect("TOML"), "", &mut documented);
    let of_listener = |key: &str| match key.strip_prefix("listener.") {
        Some(key) => documented.contains(&format!("defaults.{key}")) || documented.contains(key),
        None => false,
    };
    let missing: Vec<_> = all_keys().into_iter().filter(|key| !documented.contains(key) && !of_listener(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_examples_of_what_is_off_show_the_defaults_it_would_have() {
    let config = parse(&with_examples());
    let tls = config.listeners[0].tls.as_ref().expect("shown as an example");
    assert_eq!(TlsConfig { certificates: Vec::new(), ..tls.clone() }, TlsConfig::default());
    let proxy = config.listeners[0].proxy_protocol.as_ref().expect("shown as an example");
    assert_eq!(proxy.versions, ProxyProtocolConfig::default().versions);
}

#[test]
fn a_sentence_stands_over_every_key() {
    let lines: Vec<_> = DOCUMENT.lines().collect();
    let is_key = |line: &str| !line.starts_with("# ") && !line.is_empty();
    for (above, line) in lines.iter().zip(&lines[1..]).filter(|(_, line)| is_key(line)) {
        let is_top_of_section = line.trim_start_matches('#').starts_with('[');
        assert!(above.starts_with("# ") || is_top_of_section, "nothing is said about {line}");
    }
}
