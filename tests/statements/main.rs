//! Every statement of MQTT 5.0 that binds a server: the line that keeps it, the tests that show it.
//!
//! A statement is cited by its id, `// [MQTT-3.10.4-6]`: on the line of code that keeps it or over that function, and
//! over its tests. In the packet table it stands in the name of the row, without brackets. `table.md` beside this file
//! is made from these citations; `MIDGE_UPDATE=1 cargo test --test statements` makes it anew.

mod citations;
mod duties;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::fs;

use citations::{Citation, Role, Source, citations, repository, statements_in};
use duties::{CLIENTS_ALONE, CLIENTS_HELD_TO, NOT_SHOWN, statements};

const TABLE: &str = "tests/statements/table.md";

/// Names in the code and in the tests, by file.
#[derive(Default)]
struct Evidence<'a> {
    enforced: BTreeMap<&'a str, BTreeSet<&'a str>>,
    shown: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Evidence<'a> {
    fn of(statement: &str, citations: &'a [Citation]) -> Self {
        let mut evidence = Evidence::default();
        for citation in citations.iter().filter(|citation| citation.statement == statement) {
            let files = match citation.role {
                Role::Enforced => &mut evidence.enforced,
                Role::Shown => &mut evidence.shown,
                Role::Mentioned => continue,
            };
            files.entry(&citation.path).or_default().extend(citation.names.iter().map(String::as_str));
        }
        evidence
    }

    fn is_whole(&self) -> bool {
        !self.enforced.is_empty() && !self.shown.is_empty()
    }

    fn missing(&self) -> &'static str {
        match (self.enforced.is_empty(), self.shown.is_empty()) {
            (true, true) => "no line that keeps it and no test",
            (true, false) => "no line that keeps it",
            (false, true) => "no test",
            (false, false) => "nothing",
        }
    }
}

fn why_not(list: &[(&'static str, &'static str)], statement: &str) -> Option<&'static str> {
    list.iter().find(|(id, _)| *id == statement).map(|(_, why)| *why)
}

#[test]
fn every_statement_that_is_cited_exists() {
    let known: HashSet<String> = statements().collect();
    assert_eq!(known.len(), 251);
    let citations = citations();
    for Citation { statement, path, .. } in &citations {
        assert!(known.contains(statement), "{path}: there is no statement [MQTT-{statement}]");
    }
    assert!(citations.len() > 800, "only {} citations were found", citations.len());
    let excused = CLIENTS_ALONE.iter().chain(&NOT_SHOWN).map(|(id, _)| *id);
    for id in excused.chain(CLIENTS_HELD_TO) {
        assert!(known.contains(id), "duties.rs: there is no statement [MQTT-{id}]");
    }
}

#[test]
fn every_statement_that_binds_a_server_has_a_line_that_keeps_it_and_a_test_that_shows_it() {
    let citations = citations();
    let mut wrong = Vec::new();
    for statement in statements() {
        let evidence = Evidence::of(&statement, &citations);
        let excused = why_not(&CLIENTS_ALONE, &statement).or(why_not(&NOT_SHOWN, &statement)).is_some();
        if excused && evidence.is_whole() {
            wrong.push(format!("[MQTT-{statement}] has a line and a test: strike it from duties.rs"));
        } else if !excused && !evidence.is_whole() {
            wrong.push(format!("[MQTT-{statement}] has {}", evidence.missing()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_statements_is_what_the_citations_say() {
    let table = table(&citations());
    let path = repository().join(TABLE);
    if std::env::var_os("MIDGE_UPDATE").is_some() {
        fs::write(&path, &table).expect("a table");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    for (line, stored) in table.lines().zip(stored.lines().chain(std::iter::repeat(""))) {
        assert_eq!(line, stored, "{TABLE} is old: MIDGE_UPDATE=1 cargo test --test statements");
    }
    assert_eq!(table, stored, "{TABLE} is old: MIDGE_UPDATE=1 cargo test --test statements");
}

fn table(citations: &[Citation]) -> String {
    let mut text = String::from(
        "# MQTT 5.0, statement by statement\n\n\
         Made from the citations in src/ and tests/ by `MIDGE_UPDATE=1 cargo test --test statements`; not to be edited. \
         Statements marked *client* bind clients only: the broker refuses clients that break them, or keeps the same \
         rule in its own direction.\n\n\
         | statement | kept in src/ | shown by tests |\n|---|---|---|\n",
    );
    for statement in statements() {
        let evidence = Evidence::of(&statement, citations);
        let alone = why_not(&CLIENTS_ALONE, &statement);
        let mark = if alone.is_some() || CLIENTS_HELD_TO.contains(&&*statement) { " *client*" } else { "" };
        let row = match alone.or(why_not(&NOT_SHOWN, &statement)) {
            Some(why) => format!("{why} | –"),
            None => format!("{} | {}", places(&evidence.enforced), places(&evidence.shown)),
        };
        writeln!(text, "| {statement}{mark} | {row} |").expect("a string takes all");
    }
    text
}

/// ``protocol/connection.rs` `close` `send_refusal`, …``
fn places(files: &BTreeMap<&str, BTreeSet<&str>>) -> String {
    let place = |(path, names): (&&str, &BTreeSet<&str>)| {
        let path = path.strip_prefix("src/").unwrap_or(path);
        let names = names.iter().map(|name| format!(" `{name}`")).collect::<String>();
        format!("{path}{names}")
    };
    files.iter().map(place).collect::<Vec<_>>().join(", ")
}

const EXAMPLE: &str = r#"
//! A module ([MQTT-4.2-1]).
/// A type ([MQTT-3.1.2-1]).
pub(super) struct Kept {
    /// A field, [MQTT-3.1.2-2].
    field: u32,
}
impl Kept {
    fn long(
        self,
        /// and [MQTT-3.1.1 3.1.2-8], which is another standard's
        more: u32,
    ) -> u32 {
        if more > 1 {
            return 1; // [MQTT-3.1.2-3], [MQTT-3.1.2-4]
        }
        2
    }
}
#[cfg(test)]
mod tests {
    // [MQTT-3.1.2-5]
    #[test]
    fn shown() {}
    // [MQTT-3.1.2-6]
    fn helper() {}
}
const fn after() -> u32 {
    1 // [MQTT-3.1.2-7]
}
"#;

const CASES: &str = r#"
cases! {
    a_case: V3 V5;
}
// [MQTT-3.1.2-1]
table! { refused:
    // [MQTT-3.1.2-2]
    first_row: V5 => |_case| 1;
    second_row: V4 V5 => |_case| {
        2
    };
}
// [MQTT-3.1.2-3]
fn a_case(case: &Case) {}
// [MQTT-3.1.2-4]
fn no_case(case: &Case) {}
"#;

fn read(path: &str, text: &str) -> Vec<String> {
    let citations = Source::new(path, text).citations(path.starts_with("tests/"));
    let line = |it: &Citation| format!("{} {:?} {}", it.statement, it.role, it.names.join(" "));
    citations.iter().map(|citation| line(citation).trim_end().to_owned()).collect()
}

#[test]
fn a_citation_is_of_what_it_stands_over_or_in() {
    let code = [
        "4.2-1 Mentioned",
        "3.1.2-1 Enforced Kept",
        "3.1.2-2 Enforced Kept",
        "3.1.2-3 Enforced long",
        "3.1.2-4 Enforced long",
        "3.1.2-5 Shown shown",
        "3.1.2-6 Mentioned",
        "3.1.2-7 Enforced after",
    ];
    assert_eq!(read("src/example.rs", EXAMPLE), code);
    let cases = [
        "3.1.2-1 Shown first_row … second_row",
        "3.1.2-2 Shown first_row",
        "3.1.2-3 Shown a_case",
        "3.1.2-4 Mentioned",
    ];
    assert_eq!(read("tests/it/example.rs", CASES), cases);
    assert_eq!(statements_in("\"MQTT-3.6.1-1 MQTT-3.8.1-1 flags\""), ["3.6.1-1", "3.8.1-1"]);
}
