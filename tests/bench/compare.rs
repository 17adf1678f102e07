//! benches/compare: every broker in every scenario of every round, and a table of what that gave.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::may_make_network;

/// A CPU that this process may use.
fn cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    allowed.split(['-', ',']).next().unwrap().into()
}

fn compare(line: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare");
    let mut command = Command::new(script);
    command.args(["--midge", env!("CARGO_BIN_EXE_midge"), "--broker-cpus", &cpu(), "--bench-cpus", &cpu()]);
    command.args(["--settle", "0", "--seconds", "0.2"]).args(line.split_whitespace()).output().unwrap()
}

#[test]
fn brokers_stand_beside_each_other_with_median_and_range() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.json");
    let line = format!("--rounds 2 --rows pairs-q1,ws --rumqttd nowhere --json {}", file.display());
    let output = compare(&line);
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("rumqttd is not installed and is left out"), "{errors}");

    let runs: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let runs = runs["runs"].as_array().unwrap();
    let order: Vec<_> = runs.iter().map(|run| (&run["scenario"], &run["round"], &run["broker"])).collect();
    let expected = ["pairs-q1", "ws"].into_iter().flat_map(|scenario| {
        let brokers = [(1, "midge"), (1, "mosquitto"), (2, "midge"), (2, "mosquitto")];
        brokers.map(|(round, broker)| (Value::from(scenario), Value::from(round), Value::from(broker)))
    });
    let expected: Vec<_> = expected.collect();
    assert!(order.iter().map(|(a, b, c)| ((*a).clone(), (*b).clone(), (*c).clone())).eq(expected), "{order:?}");
    assert!(runs.iter().all(|run| run["result"]["status"] == "ok"), "{runs:?}");

    let mut lines = table.lines();
    let head = lines.next().unwrap();
    assert!(head.starts_with("| | Midge 0.") && head.contains(" | mosquitto 2."), "{table}");
    let row = lines.find(|line| line.starts_with("| messages delivered a second |")).unwrap();
    let rate = |at: usize| runs[at]["result"]["metrics"]["delivered_per_s"].as_f64().unwrap();
    let (low, high) = (rate(0).min(rate(2)), rate(0).max(rate(2)));
    let cell = row.split('|').nth(2).unwrap().replace(',', "");
    let numbers = cell.split(['(', '–', ')']).filter_map(|number| number.trim().parse::<f64>().ok());
    for (number, expected) in numbers.zip([(low + high) / 2.0, low, high]) {
        assert!((number - expected).abs() <= expected / 500.0, "{row}: {low}, {high}");
    }
    assert_eq!(cell.matches('–').count(), 1, "{row}");

    let medians = |broker: &str| {
        let ours = runs.iter().filter(|run| run["scenario"] == "pairs-q1" && run["broker"] == broker);
        ours.map(|run| run["result"]["metrics"]["broker_cpu_us_per_msg"].as_f64().unwrap()).sum::<f64>() / 2.0
    };
    let row = table.lines().find(|line| line.starts_with("| pairs-q1: CPU")).unwrap();
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    assert_eq!((cells[2], cells[4]), ("mosquitto", "0.035"), "{row}");
    let ratio: f64 = cells[3].trim_end_matches(" (above)").parse().unwrap();
    let expected = medians("midge") / medians("mosquitto");
    assert!((ratio - expected).abs() <= expected / 100.0, "{row}: {expected}");
    assert_eq!(cells[3].ends_with(" (above)"), ratio > 0.035, "{row}");
}

#[test]
fn a_program_that_is_no_broker_takes_the_rows_that_it_can_do() {
    let output = compare("--rounds 1 --rows pairs-q2,shared --brokers floor");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.trim_end(), "shared: floor, midge bench: ok");
    let rates: Vec<_> = table.lines().filter(|line| line.starts_with("| messages delivered a second |")).collect();
    assert!(table.starts_with("| | floor |\n"), "{table}");
    assert!(rates.len() == 2 && rates[0].ends_with("| – |") && !rates[1].ends_with("| – |"), "{table}");
}

#[test]
fn a_scenario_that_does_not_exist_is_refused() {
    let output = compare("--rows pairs-q1,flood");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("there is no row flood"), "{errors}");
}

#[test]
fn the_growth_of_our_costs_is_measured_in_a_network_of_its_own() {
    if !may_make_network() {
        println!("skipped, it takes the right to make a network");
        return;
    }
    let output = compare("--rounds 1 --rows grow-payload-16 --brokers midge --congestion reno");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(table.contains("TCP congestion control reno") && table.contains("| memory at most |"), "{table}");
    assert!(errors.contains("grow-payload-16: midge, midge bench: ok"), "{errors}");
}
