//! README.md is true: its commands run as printed, and what it says about keys, limits, metrics and files is so.

mod claims;
mod document;
mod service;
mod tour;

use std::thread;

use document::{Kind, Section};

/// Blocks that cannot run in a test, by their first line.
const ELSEWHERE: [&str; 5] = [
    "./test",
    "sudo systemctl stop mosquitto",
    "benches/compare",
    "cargo build --release",
    "cargo test --lib                   # while you write",
];

#[test]
fn every_command_works_as_printed() {
    let sections = document::sections(&document::text());
    let runs = |section: &&Section| section.blocks.iter().any(|block| block.kind != Kind::Elsewhere);
    let failures: Vec<String> = thread::scope(|scope| {
        let tours = sections.iter().filter(runs).map(|section| (section, scope.spawn(|| tour::run(section))));
        let tours: Vec<_> = tours.collect();
        assert!(!tours.is_empty(), "README.md shows no commands");
        tours
            .into_iter()
            .filter_map(|(section, tour)| {
                let outcome = tour.join().unwrap_or_else(|_| Err("panicked".into()));
                Some(format!("== {}: {}", section.title, outcome.err()?))
            })
            .collect()
    });
    assert!(failures.is_empty(), "{}\n(./test installs the programs that are needed)", failures.join("\n"));
}

#[test]
fn a_reader_may_go_through_all_of_it_in_one_clone() {
    let sections = document::sections(&document::text());
    tour::run_through(&sections).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_commands_that_no_test_runs_are_known() {
    let sections = document::sections(&document::text());
    let elsewhere = sections.iter().flat_map(|section| &section.blocks).filter(|block| block.kind == Kind::Elsewhere);
    let first_lines: Vec<_> = elsewhere.map(|block| block.text.lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(first_lines, ELSEWHERE);
}
