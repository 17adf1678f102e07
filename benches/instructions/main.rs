//! How many instructions a message takes, by script: the figures that no noise of the machine disturbs.
//!
//! ```text
//! cargo bench --profile instructions --bench instructions               compares with baseline.txt: more than 5 % worse fails
//! cargo bench --profile instructions --bench instructions -- --record   accepts today's figures
//! ```
//! Each script runs under valgrind, which counts its rounds and not what it takes to get there: that differs from run to run
//! with the seeds of the hash tables. System calls are not in it. Figures of another compiler say nothing: they are
//! compared only with those of the same.

mod scripts;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Rounds of a script: the more, the less a single odd one counts.
const ROUNDS: u64 = 2_000;
/// Worse than this is a regression; better than this wants a new baseline, lest the gain be lost again unseen.
const TOLERANCE: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", script, rounds] => {
            scripts::run(script, rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        ["--record"] => record(),
        [] => compare(),
        _ => {
            say("usage: cargo bench --profile instructions --bench instructions [-- --record]");
            ExitCode::from(2)
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn measure() -> BTreeMap<&'static str, f64> {
    scripts::NAMES.iter().map(|script| (*script, instructions(script) as f64 / ROUNDS as f64)).collect()
}

/// Of all rounds of a script.
fn instructions(script: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*scripts*counted*"])
        .arg(env::current_exe().expect("a path"))
        .args(["--run", script, &ROUNDS.to_string()])
        .output()
        .expect("valgrind: apt-get install valgrind");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :")).expect("what callgrind collected");
    let collected = collected.1.trim().parse().expect("a number");
    assert!(collected > 0, "{script}: valgrind found no function `counted` to count");
    collected
}

fn baseline() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.txt")
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn record() -> ExitCode {
    let mut text = format!("{}\n", compiler());
    for (script, figure) in measure() {
        say(&format!("{script:<40} {figure:>9.0}"));
        let _ = writeln!(text, "{script} {figure:.0}");
    }
    fs::write(baseline(), text).expect("benches/instructions/baseline.txt can be written");
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let text = fs::read_to_string(baseline()).expect("benches/instructions/baseline.txt: record it first");
    let (by, lines) = text.split_once('\n').expect("a compiler and figures");
    if by != compiler() {
        say(&format!("the baseline is of {by}, this is {}: not compared", compiler()));
        return ExitCode::SUCCESS;
    }
    let before: BTreeMap<&str, f64> = lines
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(script, figure)| (script, figure.parse().expect("a figure")))
        .collect();
    let mut is_worse = false;
    for (script, figure) in measure() {
        let Some(before) = before.get(script) else {
            say(&format!("{script:<40} {figure:>9.0}  not in the baseline"));
            is_worse = true;
            continue;
        };
        let change = figure / before - 1.0;
        let verdict = match change {
            change if change > TOLERANCE => "WORSE",
            change if change < -TOLERANCE => "better: record it",
            _ => "",
        };
        is_worse |= change > TOLERANCE;
        say(&format!("{script:<40} {figure:>9.0}  {:+6.1} %  {verdict}", 100.0 * change));
    }
    if is_worse {
        say(
            "more instructions than the baseline allows; where that is worth it, record them and say why in the commit",
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
