//! What is typed wrong is said, with the exit code for it.

use crate::support::midge;

fn refusal(line: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let arguments: Vec<_> = ["bench"].into_iter().chain(line.split_whitespace()).collect();
    let output = midge(directory.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    for (line, what) in [
        ("", "Usage"),
        ("flood", "unrecognized subcommand"),
        ("pairs -q 3", "3 is not in 0..=2"),
        ("pairs --size 15", "15 is not in 16"),
        ("pairs -N 0", "0 is not in 1"),
        ("pairs --v3 --v5", "cannot be used with"),
        ("pairs -n 10 -d 1", "cannot be used with"),
        ("pairs -d -1", "unexpected argument"),
        ("pairs --duration=-1", "expected seconds"),
        ("pairs --tls", "--ca"),
        ("pairs --ca x.pem", "--tls"),
        ("pairs --tls --insecure --cert x.pem", "--key"),
        ("pairs -P secret", "--user"),
        ("pairs --wildcard star", "plus, hash"),
        ("pairs --receive-max 0", "--receive-max"),
        ("latency --rate 0", "expected a number a second"),
        ("offline -q 0", "0 is not in 1..=2"),
        ("trie --plus 1.5", "expected a part"),
        ("trie -K 0", "0 is not in 1..=1000"),
        ("churn -q 3", "3 is not in 0..=2"),
        ("retained -n 100000001", "100000001 is not in 1..=100000000"),
    ] {
        let refusal = refusal(line);
        assert!(refusal.contains(what), "{line}: {refusal}");
    }
}

#[test]
fn the_help_of_every_scenario_says_units_defaults_and_limits() {
    let directory = tempfile::tempdir().unwrap();
    for scenario in ["fanout", "fanin", "pairs", "latency", "connect", "retained", "offline", "trie", "churn"] {
        let output = midge(directory.path(), &["bench", scenario, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for what in ["<SECONDS>", "[default: 127.0.0.1]", "--insecure", "--json", "[default: 5]"] {
            assert!(help.contains(what), "{scenario}: {what} is not in {help}");
        }
        assert_eq!(help.contains("16 at least"), scenario != "connect");
    }
}
