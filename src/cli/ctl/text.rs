//! Answers for people: tables and records. Nothing that a client chose reaches the terminal as a control character.

use std::fmt::Write;

use serde_json::Value;

/// Whom the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Text,
    Json,
}

/// A heading, and the member of a row that stands under it.
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str);

impl Tone {
    pub(super) fn table(self, columns: &[Column], rows: &[Value]) -> String {
        match self {
            Tone::Json => json(rows),
            Tone::Text => table(columns, rows),
        }
    }

    /// One member a line, those of members below them with their whole name.
    pub(super) fn record(self, record: &Value) -> String {
        let mut lines = Vec::new();
        match self {
            Tone::Json => return json(record),
            Tone::Text => flatten("", record, &mut lines),
        }
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }

    pub(super) fn done(self, text: &str, value: Value) -> String {
        match self {
            Tone::Json => json(&value),
            Tone::Text => format!("{}\n", harmless(text)),
        }
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    // Values print; there is nothing in them that could fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let heading = columns.iter().map(|Column(heading, _)| (*heading).to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|Column(_, member)| cell(&row[*member])).collect());
    let lines: Vec<Vec<String>> = std::iter::once(heading).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => harmless(text),
        other => other.to_string(),
    }
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |member: &str| if name.is_empty() { member.to_owned() } else { format!("{name}.{member}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(member, value)| flatten(&below(member), value, lines)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, lines));
        }
        value => lines.push((name.to_owned(), cell(value))),
    }
}

/// Client ids and topics are chosen by strangers, and a terminal obeys control characters.
fn harmless(text: &str) -> String {
    let escape = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_what_is_not_there_is_a_dash() {
        let rows = [json!({"id": "a", "on": true, "n": 5}), json!({"id": "größer", "on": false})];
        let columns = [Column("ID", "id"), Column("ON", "on"), Column("N", "n")];
        assert_eq!(Tone::Text.table(&columns, &rows), "ID      ON   N\na       yes  5\ngrößer  no   -\n");
        assert_eq!(Tone::Text.table(&columns, &[]), "ID  ON  N\n");
    }

    #[test]
    fn records_name_members_of_members() {
        let record = json!({"version": "1", "copies": {"matched": 3, "by": [{"name": "x"}]}});
        assert_eq!(Tone::Text.record(&record), "copies.by.0.name  x\ncopies.matched    3\nversion           1\n");
    }

    #[test]
    fn a_client_id_cannot_command_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\nc\u{85}")), "a\\u{1b}[2Jb\\nc\\u{85}");
    }
}
