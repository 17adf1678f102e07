//! What README.md says about keys, limits, commands and files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use midge::config::all_keys;
use midge::message::DropCause;
use midge::telemetry::metrics::{self, Kind};
use midge::telemetry::snapshot::Snapshot;
use toml::{Table, Value};

use crate::document;

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A value of config/midge.toml, as it is written there.
fn default_of(document: &Table, key: &str) -> Option<String> {
    let (section, last) = key.rsplit_once('.').unwrap_or(("", key));
    let table =
        section.split('.').filter(|name| !name.is_empty()).try_fold(document, |table, name| table[name].as_table())?;
    Some(match table.get(last)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[test]
fn every_limit_in_the_table_has_the_default_that_it_says() {
    let document: Table = fs::read_to_string(in_repository("config/midge.toml")).unwrap().parse().unwrap();
    let limits = document::table(&document::text(), "Limits");
    assert!(limits.len() > 10, "the table of limits is gone");
    for row in limits {
        let [key, default, _] = &row[..] else { panic!("{row:?} has three cells") };
        let actual = default_of(&document, key.trim_matches('`')).unwrap_or_else(|| panic!("{key} is no key"));
        let said = default.split(':').next().unwrap_or_default();
        assert_eq!(said, actual, "{key}");
    }
}

#[test]
fn every_limit_there_is_stands_in_the_table() {
    let limits = document::table(&document::text(), "Limits");
    let described: HashSet<_> = limits.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let is_limit = |key: &String| {
        let last = key.rsplit('.').next().unwrap_or_default();
        let is_bound = ["_max", "_timeout", "_rate", "_maximum"].iter().any(|end| last.ends_with(end))
            || last.starts_with("session_expiry")
            || last == "maximum_packet_size"
            || last == "topic_alias_maximum_outbound";
        is_bound && last != "version_max" && !key.starts_with("listener.")
    };
    let missing: Vec<_> = all_keys().into_iter().filter(is_limit).filter(|key| !described.contains(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_cause_of_a_loss_stands_in_the_table() {
    let rows = document::table(&document::text(), "What a client lost");
    let described: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(described, DropCause::ALL.map(DropCause::name));
}

/// How metrics, programs and what the API tells of a client begin; no key does.
const OTHER_NAMES: [&str; 6] = ["broker_", "midge_", "mosquitto_", "mqueue_", "process_", "send_msg."];

#[test]
fn every_key_that_is_named_exists() {
    let keys = all_keys();
    let names: HashSet<&str> = keys.iter().flat_map(|key| key.split('.')).collect();
    let tops: HashSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
    };
    let is_cause = |word: &str| DropCause::ALL.iter().any(|cause| cause.name() == word);
    let mut named = 0;
    for code in document::code_words(&document::text()) {
        // `key`, `key = value`, or `[section] key`.
        let code = code.split('=').next().unwrap_or_default().replace(['[', ']'], " ");
        for word in code.split_whitespace().filter(is_name) {
            let first = word.split('.').next().unwrap_or_default();
            if word.contains('.') && tops.contains(first) {
                assert!(keys.iter().any(|key| key == word), "`{word}` is no key");
                named += 1;
            } else if word.contains('_') && !OTHER_NAMES.iter().any(|of| word.starts_with(of)) && !is_cause(word) {
                assert!(names.contains(word), "`{word}` is no key");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} keys were recognized");
}

const METRICS_TABLES: [&str; 2] = ["Midge's own", "The mosquitto exporter's"];

/// The names in a cell: what stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_metric_there_is_stands_in_a_table_with_its_type_and_labels_and_no_other_does() {
    let mut told = HashMap::new();
    for title in METRICS_TABLES {
        for row in document::table(&document::text(), title) {
            let [metrics, kind, labels, _] = &row[..] else { panic!("{row:?} has four cells") };
            for metric in names(metrics) {
                let labels: Vec<_> = names(labels).map(str::to_owned).collect();
                let twice = told.insert(metric.to_owned(), (kind.clone(), labels));
                assert_eq!(twice, None, "{metric}");
            }
        }
    }
    let kind = |kind| if kind == Kind::Counter { "counter" } else { "gauge" };
    for family in metrics::families(&Snapshot::default()) {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        let in_code = (kind(family.kind).to_owned(), labels);
        assert_eq!(told.remove(&*family.name()), Some(in_code), "{}", family.name());
    }
    assert!(told.is_empty(), "there are no such metrics: {told:?}");
}

#[test]
fn our_metrics_are_told_in_the_words_of_the_page() {
    let page: HashMap<_, _> = metrics::families(&Snapshot::default())
        .into_iter()
        .map(|family| (format!("`{}`", family.name()), family.help))
        .collect();
    for row in document::table(&document::text(), METRICS_TABLES[0]) {
        assert_eq!(page.get(&row[0]).copied(), Some(&*row[3]), "{}", row[0]);
    }
}

#[test]
fn every_cause_of_a_drop_is_told_and_no_other() {
    let rows = document::table(&document::text(), "Why a copy was dropped");
    let told: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(told, DropCause::ALL.map(DropCause::name));
}

#[test]
fn every_metric_that_is_named_exists() {
    let page = metrics::families(&Snapshot::default());
    let metrics: HashSet<_> = page.iter().map(|family| family.name().into_owned()).collect();
    let is_metric = |word: &String| ["broker_", "midge_", "process_"].iter().any(|of| word.starts_with(of));
    let named: Vec<_> = document::code_words(&document::text()).into_iter().filter(is_metric).collect();
    assert!(named.len() > 5, "only {named:?} were recognized");
    for name in named {
        assert!(metrics.contains(&name), "there is no metric {name}");
    }
}

/// What `midge … --help` lists below a command, with what is below that.
fn commands_below(command: &str) -> Vec<String> {
    let words = command.split_whitespace().skip(1).chain(["--help"]);
    let output = Command::new(env!("CARGO_BIN_EXE_midge")).args(words).output().expect("midge");
    let help = String::from_utf8(output.stdout).expect("text");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let entries = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = entries.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let commands = names.map(|name| format!("{command} {name}"));
    commands.flat_map(|command| [commands_below(&command), vec![command]].concat()).collect()
}

#[test]
fn every_command_is_shown() {
    let (text, commands) = (document::text(), commands_below("midge"));
    assert!(commands.contains(&"midge serve".to_owned()), "{commands:?}");
    for command in &commands {
        assert!(text.contains(command.as_str()), "`{command}` is not in README.md");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let text = document::text();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchors: HashSet<String> = headings.map(|line| anchor(line.trim_start_matches(['#', ' ']))).collect();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    for target in targets.filter(|target| !target.starts_with("https://")) {
        match target.strip_prefix('#') {
            Some(name) => assert!(anchors.contains(name), "there is no heading for {target}"),
            None => assert!(in_repository(target).exists(), "there is no {target}"),
        }
    }
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_source_is_told_whole() {
    let rows = document::table(&document::text(), "The source");
    let told: String = rows.iter().map(|row| row[0].as_str()).collect();
    for entry in fs::read_dir(in_repository("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().expect("a name in ASCII");
        // A directory is told by its own name, or by that of the file that is its module.
        let names = [format!("[src/{name}]"), format!("[src/{name}/]"), format!("[src/{name}.rs]")];
        assert!(names.iter().any(|name| told.contains(name)), "src/{name} is not in README.md");
    }
}
