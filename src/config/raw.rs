//! The layers as one tree, each value with the place where it was written.
//!
//! The tree knows TOML and nothing of the keys that exist. A serde derive would stop at the first mistake and forget the
//! lines; this keeps both.

use std::{fmt, sync::Arc};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::error::{Origin, Problem};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    /// What no key of ours takes: a float, a date, an integer beyond 64 bits. As written.
    Other(String),
    /// From the environment or a flag, where nothing says what it is until a key asks.
    Text(String),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// A file's text, or all the places where it is not TOML.
    pub(crate) fn parse_file(name: &str, text: &str) -> Result<Node, Vec<Problem>> {
        let lines = Lines::new(name, text);
        let (document, mut errors) = DeTable::parse_recoverable(text);
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        let problem = |error: &toml::de::Error| Problem {
            origin: lines.origin(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            message: format!("not TOML: {}", error.message().replace('\n', ", ")),
        };
        match errors.is_empty() {
            true => Ok(lines.table(document.get_ref(), lines.origin(0))),
            false => Err(errors.iter().map(problem).collect()),
        }
    }

    /// With nothing in it.
    pub(crate) fn empty() -> Node {
        Node { origin: Origin::BuiltIn, value: Value::Table(Vec::new()) }
    }

    /// What a variable or a flag holds when it is asked for a table or a list.
    pub(crate) fn structured(self) -> Node {
        match &self.value {
            Value::Text(text) if text.trim_start().starts_with(['[', '{']) => {
                Node::parse_inline(text, &self.origin).unwrap_or(self)
            }
            _ => self,
        }
    }

    /// A value in TOML's syntax inside a variable or a flag.
    fn parse_inline(text: &str, origin: &Origin) -> Option<Node> {
        let value = DeValue::parse(text).ok()?;
        Some(Lines::nowhere(origin).value(value.get_ref(), origin.clone()))
    }
}

impl fmt::Display for Value {
    /// For "found …" in an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) | Value::Text(text) => write!(f, "{text:?}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Boolean(on) => write!(f, "{on}"),
            Value::Other(text) => f.write_str(text),
            Value::Array(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
        }
    }
}

/// Byte offsets to lines.
struct Lines<'a> {
    name: Arc<str>,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
    /// Stands for every place when the text has no lines of its own.
    fixed: Option<&'a Origin>,
}

impl<'a> Lines<'a> {
    fn new(name: &str, text: &str) -> Lines<'a> {
        let after_breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Lines { name: name.into(), starts: std::iter::once(0).chain(after_breaks).collect(), fixed: None }
    }

    fn nowhere(origin: &'a Origin) -> Lines<'a> {
        Lines { name: "".into(), starts: Vec::new(), fixed: Some(origin) }
    }

    fn origin(&self, offset: usize) -> Origin {
        if let Some(origin) = self.fixed {
            return origin.clone();
        }
        let line = self.starts.partition_point(|&start| start <= offset);
        Origin::File { name: self.name.clone(), line: u32::try_from(line).unwrap_or(u32::MAX) }
    }

    fn table(&self, table: &DeTable<'_>, origin: Origin) -> Node {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let node = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            (String::from(key.get_ref() as &str), self.value(value.get_ref(), self.origin(key.span().start)))
        };
        Node { origin, value: Value::Table(entries.into_iter().map(node).collect()) }
    }

    fn array(&self, array: &DeArray<'_>) -> Value {
        Value::Array(array.iter().map(|item| self.value(item.get_ref(), self.origin(item.span().start))).collect())
    }

    fn value(&self, value: &DeValue<'_>, origin: Origin) -> Node {
        let value = match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or_else(|_| Value::Other(digits.to_string()), Value::Integer),
            DeValue::Boolean(on) => Value::Boolean(*on),
            DeValue::Float(digits) => Value::Other(digits.to_string()),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(array) => self.array(array),
            DeValue::Table(table) => return self.table(table, origin),
        };
        Node { origin, value }
    }
}
