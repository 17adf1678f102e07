//! The house is tidy: who may use whom, what is never done where, and what never gets into the tree.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each room of src/, and the rooms that it may use. `broker` knows them all; `cli` and `main` use the library.
const ROOMS: [(&str, &[&str]); 14] = [
    ("topic", &[]),
    ("packet", &["topic"]),
    ("message", &["packet", "topic"]),
    ("protocol", &["message", "packet", "topic"]),
    ("router", &["message", "topic"]),
    ("store", &["message", "packet", "topic"]),
    ("import", &["message", "packet", "store", "topic"]),
    ("auth", &["message", "packet", "topic"]),
    ("config", &["topic"]),
    ("net", &["auth", "message", "packet", "protocol", "router", "store", "topic"]),
    ("telemetry", &["config", "message", "net", "packet", "router", "store", "topic"]),
    ("bench", &["net", "packet"]),
    ("admin", &["message", "net", "packet", "router", "telemetry", "topic"]),
    (
        "broker",
        &["admin", "auth", "config", "message", "net", "packet", "protocol", "router", "store", "telemetry", "topic"],
    ),
];

/// What turns a sans-IO room into another one.
const NEVER_IN_THE_CORE: [&str; 12] = [
    ".await",
    "async ",
    "Instant::now",
    "Mutex",
    "RwLock",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::thread",
    "tokio",
    "tracing",
    "thread::sleep",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the tree.
struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl Source {
    /// `topic` of src/topic/name.rs, `broker` of src/broker.rs.
    fn room(&self) -> &str {
        let rest = self.path.strip_prefix("src/").unwrap_or_default();
        rest.split(['/', '.']).next().unwrap_or_default()
    }

    /// Without comments and without what is for tests only.
    fn code(&self) -> String {
        let mut is_test = false;
        let is_code = |line: &&str| {
            is_test |= *line == "#[cfg(test)]";
            // rustfmt ends an item that has more than one line with a bracket at the margin.
            let ends = line.starts_with('}') || line.ends_with(';') && !line.starts_with(' ');
            let was_test = is_test;
            is_test &= !ends;
            !was_test
        };
        let lines = self.text.lines().filter(is_code);
        lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

/// All files below a directory, but for what tools write there.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![repository().join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() && [".git", "target", "corpus", "artifacts"].iter().any(|skip| name == *skip) => {
                }
                kind if kind.is_dir() => waiting.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn sources(directories: &[&str]) -> Vec<Source> {
    let paths = directories.iter().flat_map(|directory| files(directory));
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let sources: Vec<_> = rust
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("text"),
            path: path.strip_prefix(repository()).expect("below it").to_str().expect("ASCII").to_owned(),
        })
        .collect();
    assert!(sources.len() > 3, "nothing found in {directories:?}");
    sources
}

/// The rooms that code names: `crate::room::…` and `crate::{room::…, room}`.
fn rooms_used(code: &str) -> HashSet<&str> {
    let word = |text: &'_ str| text.len() - text.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let mut used = HashSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(&rest[..word(rest)]);
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !c.is_whitespace() => {
                    used.insert(&group[at..at + word(&group[at..])]);
                    begins = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn rooms_are_found_in_both_forms_of_use() {
    let code =
        "use crate::topic::Name;\nuse crate::{\n    net::{self, clock},\n    auth,\n};\nlet a = crate::packet::A;";
    assert_eq!(rooms_used(code), HashSet::from(["topic", "net", "auth", "packet"]));
}

#[test]
fn no_room_uses_another_that_it_may_not() {
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let room = source.room();
        if ["lib", "main", "cli"].contains(&room) {
            continue;
        }
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} is no room"));
        let code = source.code();
        let used = rooms_used(&code).into_iter().filter(|used| ROOMS.iter().any(|(name, _)| name == used));
        for used in used.filter(|used| *used != room) {
            assert!(allowed.contains(&used), "{} uses {used}, and {room} may not", source.path);
        }
    }
}

#[test]
fn the_core_never_does_io_reads_a_clock_waits_or_locks() {
    let core = ["topic", "packet", "message", "protocol"];
    for source in sources(&["src"]).iter().filter(|source| core.contains(&source.room()) && !source.is_test()) {
        let code = source.code();
        for word in NEVER_IN_THE_CORE {
            assert!(!code.contains(word), "{} says `{word}`", source.path);
        }
    }
}

#[test]
fn the_router_never_waits() {
    for source in sources(&["src/router"]).iter().filter(|source| !source.is_test()) {
        let code = source.code();
        assert!(!code.contains(".await") && !code.contains("async "), "{} waits", source.path);
    }
}

#[test]
fn every_file_is_part_of_the_build() {
    let sources = sources(&["src"]);
    let has_module = |file: &str, name: &str| {
        let source = sources.iter().find(|source| source.path == file);
        source.is_some_and(|source| source.text.lines().any(|line| line.trim_end().ends_with(&format!("mod {name};"))))
    };
    for source in &sources {
        let Some((parent, name)) = source.path.strip_suffix(".rs").and_then(|path| path.rsplit_once('/')) else {
            continue;
        };
        if ["src/lib.rs", "src/main.rs"].contains(&source.path.as_str()) {
            continue;
        }
        let (parent, name) = if name == "mod" { parent.rsplit_once('/').expect("below src") } else { (parent, name) };
        let parents = [
            format!("{parent}.rs"),
            format!("{parent}/mod.rs"),
            format!("{parent}/lib.rs"),
            format!("{parent}/main.rs"),
        ];
        assert!(parents.iter().any(|file| has_module(file, name)), "no module contains {}", source.path);
    }
}

#[test]
fn nothing_is_unfinished_and_no_file_is_endless() {
    for source in sources(&["src", "tests", "examples", "benches"]) {
        let code = source.code();
        // In two parts, or this file would find itself.
        for left_over in [concat!("todo", "!("), concat!("dbg", "!("), concat!("unimplemented", "!(")] {
            assert!(!code.contains(left_over), "{} has a {left_over}…)", source.path);
        }
        let lines = source.text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines: think of two files", source.path);
    }
}

/// What is untidy and known, as [`untidy`] says it. The list may only shrink: what is in it has to be there.
const KNOWN_UNTIDY: [&str; 0] = [];
const FUNCTION_LINES_MAX: usize = 70;

/// Words that put something off, in two parts, or this file would find itself.
const PUT_OFF: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("#[ig", "nore")];

/// The functions of a file that rustfmt has been over, each with its number of lines.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        // It ends where a line that is as far out closes it, on its first line, or with the semicolon of a declaration.
        let is_end = |(n, other): (usize, &&str)| {
            let closes = *other.trim_start() == *"}" || other.trim_start().starts_with(')') && other.ends_with(';');
            n == 0 && other.ends_with(['}', ';']) || indent(other) == indent(line) && closes
        };
        let end = lines[at..].iter().enumerate().position(is_end).unwrap_or_else(|| panic!("{name} has no end"));
        found.push((name, end + 1));
    }
    found
}

/// The name of the function whose signature begins here.
fn function_name(line: &str) -> Option<&str> {
    const QUALIFIERS: [&str; 5] = ["pub", "const", "async", "unsafe", "extern"];
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier =
        |word: &str| word.starts_with('"') || QUALIFIERS.iter().any(|of| word.split('(').next() == Some(of));
    let length = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (length > 0 && before.split_whitespace().all(is_qualifier)).then(|| &after[..length])
}

fn untidy(source: &Source) -> Vec<String> {
    let long = functions(&source.text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
    let long = long.map(|(name, lines)| format!("{}: {name} has {lines} lines", source.path));
    let lines = source.text.lines().filter_map(|line| Some((PUT_OFF.iter().find(|word| line.contains(**word))?, line)));
    let put_off = lines.map(|(word, line)| format!("{}: {word} in {}", source.path, line.trim()));
    long.chain(put_off).collect()
}

#[test]
fn functions_are_found_with_their_lengths() {
    let text = "fn one() {}\n\npub(super) async fn two(\n    a: A,\n) -> B {\n    {\n    }\n}\ntrait T {\n    fn three(\n        \
                &self,\n    );\n    fn four();\n}\nstruct F(fn (A) -> B); // not a fn either\n";
    assert_eq!(functions(text), [("one", 1), ("two", 6), ("three", 3), ("four", 1)]);
    let long = Source { path: "a.rs".into(), text: format!("fn long() {{\n{}}}\n", "    x();\n".repeat(69)) };
    assert_eq!(untidy(&long), ["a.rs: long has 71 lines"]);
    let late = Source { path: "a.rs".into(), text: format!("    // {}: later\n", PUT_OFF[0]) };
    assert_eq!(untidy(&late), [format!("a.rs: {0} in // {0}: later", PUT_OFF[0])]);
}

#[test]
fn no_function_is_endless_and_nothing_is_put_off_or_left_out_of_the_tests() {
    let mut found: Vec<_> = sources(&["src", "tests", "examples", "benches"]).iter().flat_map(untidy).collect();
    found.sort_unstable();
    assert_eq!(found, KNOWN_UNTIDY);
}

#[test]
fn no_private_key_is_in_the_tree() {
    let ignored = fs::read_to_string(repository().join(".gitignore")).expect(".gitignore");
    assert!(ignored.lines().any(|line| line == "certs/*") && ignored.lines().any(|line| line == "!certs/README.md"));
    let marks = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];
    let marks = marks.map(|mark| format!("-----BEGIN {mark}-----\n"));
    // certs/ is where everybody's own keys are.
    let certs = repository().join("certs");
    for path in files(".").into_iter().filter(|path| !path.starts_with(&certs)) {
        let is_key_file =
            path.extension().is_some_and(|extension| ["key", "p12", "pfx"].iter().any(|key| extension == *key));
        assert!(!is_key_file, "{} looks like a key", path.display());
        let bytes = fs::read(&path).expect("a readable file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!marks.iter().any(|mark| text.contains(mark)), "{} has a private key", path.display());
    }
}

/// Licences whose terms a program under ours can keep.
const LICENCES: [&str; 8] =
    ["Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];
/// What must not come in by the back door: archived, or another TLS.
const BANNED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "rustls-pemfile"];

/// Whether `(A OR B) AND C` can be kept.
fn can_be_kept(expression: &str) -> bool {
    let any = |part: &str| {
        let part = part.trim_matches(['(', ')', ' ']).replace('/', " OR ");
        part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()))
    };
    expression.split(" AND ").all(any)
}

#[test]
fn licences_are_read_as_they_are_written() {
    assert!(can_be_kept("MIT/Apache-2.0") && can_be_kept("(MIT OR GPL-3.0) AND Unicode-3.0") && can_be_kept("ISC"));
    assert!(!can_be_kept("GPL-3.0") && !can_be_kept("MIT AND GPL-3.0") && !can_be_kept("MIT-0"));
}

#[test]
fn every_crate_has_a_licence_that_ours_allows_and_comes_from_the_registry() {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(repository()).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 50, "only {} packages", packages.len());
    for package in packages.iter().filter(|package| package["name"] != "midge") {
        let name = package["name"].as_str().expect("a name");
        assert!(!BANNED.contains(&name), "{name} is among the dependencies");
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(can_be_kept(licence), "{name}: {licence}");
        let source = package["source"].as_str().unwrap_or("a path");
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
    }
}
