//! README.md as its readers see it: sections, the blocks in them, and the tables.
//!
//! A block says in its info string what it is. The first word is the language, which is all that GitHub looks at:
//!
//! | info string | what it is |
//! |---|---|
//! | `sh` | commands: they are run, and have to succeed |
//! | `sh broker` | a broker, in a terminal of its own: it runs until the section ends |
//! | `sh elsewhere` | commands that change the machine, or are this very test run: not run here, and listed in `main.rs` |
//! | `python`, `js` | a program: it is run, and has to succeed |
//! | `text` | what the block before prints; `…` stands for anything |
//! | `<language> FILE` | the content of FILE; `midge check` has to like a configuration |

use std::fs;
use std::path::Path;

pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

pub struct Block {
    /// Where it begins in README.md.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Commands,
    Broker,
    Elsewhere,
    Program { interpreter: &'static str },
    Output,
    File(String),
}

/// The README's text.
pub fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md")
}

/// Every heading begins a section.
pub fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section { title: String::new(), blocks: Vec::new() }];
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let content: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let block = Block { line: at + 1, kind: kind(info, at + 1), text: content.join("\n") + "\n" };
            sections.last_mut().expect("there is one").blocks.push(block);
        } else if line.starts_with('#') {
            sections.push(Section { title: line.trim_start_matches(['#', ' ']).into(), blocks: Vec::new() });
        }
    }
    sections
}

fn kind(info: &str, line: usize) -> Kind {
    match info.split_once(' ').unwrap_or((info, "")) {
        ("sh", "") => Kind::Commands,
        ("sh", "broker") => Kind::Broker,
        ("sh", "elsewhere") => Kind::Elsewhere,
        ("python", "") => Kind::Program { interpreter: "python3" },
        ("js", "") => Kind::Program { interpreter: "node" },
        ("text", "") => Kind::Output,
        ("toml" | "text", file) if !file.is_empty() => Kind::File(file.into()),
        _ => panic!("README.md:{line}: `{info}` is no kind of block that this test knows"),
    }
}

/// What stands between backticks outside of blocks.
pub fn code_words(text: &str) -> Vec<String> {
    let mut is_in_block = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_in_block ^= is_fence;
        !is_in_block && !is_fence
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The cells of all rows of tables under a heading, without the head.
pub fn table(text: &str, title: &str) -> Vec<Vec<String>> {
    let section = text.lines().skip_while(|line| line.trim_start_matches(['#', ' ']) != title).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}
