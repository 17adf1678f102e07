//! A report for people.

use std::fmt::Write;

use midge::bench::{Count, Metric, Progress, Report};
use serde_json::Value;

pub(super) fn table(report: &Report) -> String {
    let mut text = format!("{}: {}", report.scenario, report.status.name());
    if !report.detail.is_empty() {
        let _ = write!(text, ": {}", report.detail);
    }
    text.push('\n');
    let params = report.params.iter().filter_map(|(name, value)| match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some((*name).to_owned()),
        Value::String(value) => Some(format!("{name} {value}")),
        value => Some(format!("{name} {value}")),
    });
    let params: Vec<_> = params.collect();
    if !params.is_empty() {
        let _ = writeln!(text, "{}", params.join(", "));
    }
    let rows: Vec<_> = report.figures().map(|(metric, value)| (metric, number(value))).collect();
    let width = |of: fn(&(&Metric, String)) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let labels = width(|(metric, _)| metric.label.chars().count());
    let values = width(|(_, value)| value.len());
    let units = width(|(metric, _)| metric.unit.chars().count());
    for (Metric { label, unit, meaning, .. }, value) in &rows {
        let line = format!("  {label:labels$}  {value:>values$} {unit:units$}  {meaning}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

pub(super) fn progress(progress: &Progress) -> String {
    let seconds = progress.elapsed.as_secs();
    let counts = &progress.counts;
    let mut line = format!("{seconds:>4} s  {}", progress.phase);
    for (count, what) in [(Count::Connected, "connected"), (Count::Sent, "sent"), (Count::Received, "received")] {
        if counts[count] > 0 {
            let _ = write!(line, ", {} {what}", number(counts[count] as f64));
        }
    }
    if progress.received_per_s > 0.0 {
        let _ = write!(line, ", {} /s", number(progress.received_per_s.round()));
    }
    line
}

/// With as many digits as tell something, and thousands apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        whole if whole.fract() == 0.0 || whole >= 1000.0 => 0,
        100.0.. => 1,
        1.0.. => 2,
        _ => 4,
    };
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let groups: Vec<_> = whole.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    let grouped = groups.join(",");
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_their_thousands_apart() {
        for (value, text) in
            [(0.0, "0"), (1_234_567.0, "1,234,567"), (-12_345.6, "-12,346"), (0.031_23, "0.0312"), (7.5, "7.50")]
        {
            assert_eq!(number(value), text);
        }
    }
}
