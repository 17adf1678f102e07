//! Where statements are cited: on lines of code, over tests, in the rows of the packet table.
//!
//! A citation names what it stands over or in, never a line: `protocol/connection.rs` `handle_pubrel`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a citation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A line of the broker: here the rule is kept.
    Enforced,
    /// A test: it shows that the rule is kept.
    Shown,
    /// Neither: a module's introduction, a comment of a test's tools.
    Mentioned,
}

#[derive(Debug)]
pub struct Citation {
    /// `3.1.2-24`
    pub statement: String,
    pub role: Role,
    /// From the root of the repository.
    pub path: String,
    /// Functions, types or cases.
    pub names: Vec<String>,
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every citation in src/ and tests/, by file in the order of their lines.
pub fn citations() -> Vec<Citation> {
    let sources = sources();
    let test_modules: HashSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    sources.iter().flat_map(|source| source.citations(source.is_all_test(&test_modules))).collect()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut waiting = vec![repository().join("src"), repository().join("tests")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What is said here of citations is none, and what npm installs is not ours.
                let is_ours = !["statements", "node_modules"].iter().any(|skip| path.ends_with(skip));
                waiting.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::read(&path));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

pub struct Source {
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn read(path: &PathBuf) -> Self {
        let text = fs::read_to_string(path).expect("text");
        let path = path.strip_prefix(repository()).expect("below it").to_str().expect("ASCII");
        Source::new(path, &text)
    }

    pub fn new(path: &str, text: &str) -> Self {
        Source { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// Paths without `.rs` of the modules that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let directory = stem.strip_suffix("/mod").unwrap_or(stem);
        let pairs =
            self.lines.iter().zip(self.lines.iter().skip(1)).filter(|(attribute, _)| *attribute == "#[cfg(test)]");
        let names = pairs.filter_map(|(_, line)| line.strip_prefix("mod ")?.strip_suffix(';'));
        names.map(|name| format!("{directory}/{name}")).collect()
    }

    fn is_all_test(&self, test_modules: &HashSet<String>) -> bool {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        self.path.starts_with("tests/")
            || Path::new(stem).ancestors().any(|above| above.to_str().is_some_and(|above| test_modules.contains(above)))
    }

    pub fn citations(&self, is_all_test: bool) -> Vec<Citation> {
        let mut found = Vec::new();
        let mut is_test = is_all_test;
        for (index, line) in self.lines.iter().enumerate() {
            if line == "#[cfg(test)]" {
                is_test = true;
            }
            self.check_form(line);
            for statement in statements_in(line) {
                let (role, names) = if is_test { self.shown_by(index) } else { self.enforced_in(index) };
                found.push(Citation { statement, role, path: self.path.clone(), names });
            }
            // rustfmt ends an item that has more than one line with a bracket at the margin.
            if !is_all_test && is_test && (line.starts_with('}') || line.ends_with(';') && !line.starts_with(' ')) {
                is_test = false;
            }
        }
        found
    }

    /// Whoever searches for `[MQTT-3.3.2-16]` finds all there is: no range hides it, and only rows do without brackets.
    fn check_form(&self, line: &str) {
        assert!(!line.contains("] to [MQTT-"), "{}: write the ids out: {line}", self.path);
        let bracketed = line.matches("[MQTT-").count();
        let is_row = self.is_packet_table() && bracketed == 0;
        assert!(is_row || line.matches("MQTT-").count() == bracketed, "{}: an id without brackets: {line}", self.path);
    }

    fn is_packet_table(&self) -> bool {
        self.path.starts_with("src/packet/tests/cases/")
    }

    fn enforced_in(&self, index: usize) -> (Role, Vec<String>) {
        if self.lines[index].trim_start().starts_with("//!") {
            return (Role::Mentioned, Vec::new());
        }
        let name = self.header_for(index).and_then(|header| name_of(&self.lines[header]));
        (Role::Enforced, name.into_iter().map(str::to_owned).collect())
    }

    fn shown_by(&self, index: usize) -> (Role, Vec<String>) {
        let line = self.lines[index].trim_start();
        let below = self.below_comment(index);
        // A row of a table of cases, or the table itself.
        if line.starts_with("//")
            && let Some(row) = case_name(&self.lines[below])
        {
            return (Role::Shown, vec![row.to_owned()]);
        }
        if line.starts_with("//") && self.lines[below].starts_with("table! {") {
            let rows: Vec<_> =
                self.lines[below..].iter().take_while(|line| *line != "}").filter_map(|row| case_name(row)).collect();
            let names = match rows[..] {
                [first, .., last] => format!("{first} … {last}"),
                _ => rows.concat(),
            };
            return (Role::Shown, vec![names]);
        }
        let Some(header) = self.header_for(index) else { return (Role::Mentioned, Vec::new()) };
        let name = name_of(&self.lines[header]).unwrap_or_default();
        let is_row = self.is_packet_table() && !line.starts_with("//");
        if is_row || self.is_test(header) || self.is_case(name) {
            return (Role::Shown, vec![name.to_owned()]);
        }
        (Role::Mentioned, Vec::new())
    }

    /// The first line from here on that is neither comment nor attribute.
    fn below_comment(&self, index: usize) -> usize {
        let is_above = |line: &String| ["//", "#["].iter().any(|mark| line.trim_start().starts_with(mark));
        let rest = self.lines[index..].iter().take_while(|line| is_above(line)).count();
        (index + rest).min(self.lines.len() - 1)
    }

    /// The line that begins the item over which a comment stands, or in which a line is.
    fn header_for(&self, index: usize) -> Option<usize> {
        let begin = self.below_comment(index);
        if begin > index && name_of(&self.lines[begin]).is_some() {
            return Some(begin);
        }
        let mut limit = indent(&self.lines[begin]);
        for above in (0..begin).rev() {
            let line = &self.lines[above];
            if line.trim().is_empty() || indent(line) >= limit {
                continue;
            }
            if name_of(line).is_some() {
                return Some(above);
            }
            // The end of a signature of several lines stands as far left as its begin.
            let is_signature = [")", "where", "{"].iter().any(|end| line.trim_start().starts_with(end));
            limit = indent(line) + usize::from(is_signature);
        }
        None
    }

    fn is_test(&self, header: usize) -> bool {
        let above = self.lines[..header].iter().rev().map(|line| line.trim_start());
        let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    }

    /// Whether `cases!` makes a test of this function.
    fn is_case(&self, name: &str) -> bool {
        self.path.starts_with("tests/it/") && self.lines.iter().any(|line| case_name(line) == Some(name))
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `name` of `    name: V4 V5;` in `cases!` and of `    name: V5 => …` in `table!`.
fn case_name(line: &str) -> Option<&str> {
    let (name, rest) = line.trim_start().split_once(": ")?;
    let is_name = word(name) == Some(name);
    let versions = ["V3", "V4", "V5"].iter().any(|version| rest.starts_with(version));
    let is_whole = rest.ends_with(';') || rest.contains(" => ");
    (is_name && versions && is_whole).then_some(name)
}

/// The name of the item that begins on this line.
fn name_of(line: &str) -> Option<&str> {
    let before = ["pub", "pub(crate)", "pub(super)", "async", "unsafe"];
    let mut words = line.split_whitespace().skip_while(|word| before.contains(word)).peekable();
    let mut item = words.next()?;
    if item == "const" {
        item = words.next_if_eq(&"fn").unwrap_or(item);
    }
    let items = ["fn", "struct", "enum", "trait", "type", "static", "const", "mod", "macro_rules!"];
    items.contains(&item).then(|| word(words.next()?)).flatten()
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    Some(&text[..end]).filter(|word| !word.is_empty())
}

/// The statements that a line cites; those of MQTT 3.1.1, [MQTT-3.1.1 3.3.5-1], are others.
pub fn statements_in(line: &str) -> Vec<String> {
    let found = line.split("MQTT-").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let id = |rest: &str| rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect::<String>();
    found.filter(|rest| !rest.starts_with("3.1.1 ")).map(id).collect()
}
