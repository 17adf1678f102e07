//! benches/load: what it prints of each kind of load, and that nothing of it stays.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::may_make_network;

fn load(line: &str) -> Command {
    load_behind(0, line)
}

/// So far behind other tests that they are not kept from running: what comes first here counts from there.
fn load_behind(niceness: i32, line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new("nice");
    command.args(["-n", &niceness.to_string()]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load"));
    command.args(words.next()).args(["--midge", env!("CARGO_BIN_EXE_midge")]).args(words);
    command
}

fn refused(line: &str, why: &str) {
    let output = load(line).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains(why), "{line}: {errors}");
}

/// What a run prints; `None` where it may not come before other processes.
fn printed(mut command: Command) -> Option<String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (output, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if ["this takes two CPUs", "takes a right that is missing"].iter().any(|why| errors.contains(why)) {
        println!("skipped: {errors}");
        return None;
    }
    assert!(status.success(), "{output}{errors}");
    Some(output.into_owned())
}

/// The cells of the row that begins so.
fn row<'a>(output: &'a str, begins: &str) -> Vec<&'a str> {
    let line = output.lines().find(|line| line.starts_with(&format!("| {begins}")));
    let line = line.unwrap_or_else(|| panic!("no row {begins} in\n{output}"));
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// The median, the lowest and the highest of a cell, such as `0.12 ms (0.11 to 0.2)`.
fn spread(cell: &str) -> [f64; 3] {
    let (median, range) = cell.split_once(" (").unwrap_or_else(|| panic!("no range in {cell}"));
    let (low, high) = range.trim_end_matches(')').split_once(" to ").unwrap();
    [median.split(' ').next().unwrap(), low, high].map(|number| number.replace(',', "").parse().unwrap())
}

fn count(cell: &str) -> u64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {cell}"))
}

/// As far as numbers of three digits can tell.
fn is_close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= expected / 50.0
}

#[test]
fn quiet_clients_are_measured_alone_and_beside_each_flood() {
    let network = if may_make_network() { "--congestion reno" } else { "" };
    let line = format!("beside --rounds 1 --seconds 0.2 --floods stream,storm,backlog,1m* {network}");
    let Some(output) = printed(load_behind(15, &line)) else { return };
    assert!(output.starts_with("| beside | it carries a second | median, ms | 99 % | times alone |"), "{output}");
    let alone = row(&output, "**alone**: ");
    assert_eq!((alone[1], alone[4]), ("–", "–"), "{output}");
    for (name, unit) in [("stream", "copies"), ("storm", "requests"), ("backlog", "copies"), ("1mb", "copies")] {
        let cells = row(&output, &format!("**{name}**: "));
        assert!(cells[1].contains(&format!(" {unit} (")) && spread(cells[1])[1] > 0.0, "{output}");
        for cell in [alone[2], alone[3], cells[1], cells[2], cells[3], cells[4], cells[5]] {
            let [median, low, high] = spread(cell);
            assert!(0.0 <= low && low <= median && median <= high, "{cell}");
        }
        // Of one round.
        let ([_, low, high], [_, alone_low, alone_high]) = (spread(cells[3]), spread(alone[3]));
        let ratios = [low / alone_low, high / alone_high, low / alone_high, high / alone_low];
        for ratio in &spread(cells[4])[1..] {
            assert!(ratios.iter().any(|expected| is_close(*ratio, *expected)), "{ratio} is none of {ratios:?}");
        }
    }
    assert_eq!(output.lines().filter(|line| line.starts_with("| **")).count(), 5, "{output}");
    assert!(output.contains("backlog: the broker has `[limits] queue_messages_max = 200000"), "{output}");
    assert!(network.is_empty() || output.contains("TCP congestion control reno"), "{output}");
}

#[test]
fn what_a_second_core_brings_is_measured() {
    let Some(output) = printed(load_behind(10, "cores --rounds 1 --seconds 0.3 --loads *q0,shared")) else { return };
    assert!(output.starts_with("| each generator's load | one core | two | two carry, times as much |"), "{output}");
    for title in ["50 pairs, QoS 0", "1 publisher to", "50 publishers to"] {
        let cells = row(&output, title);
        let [one, two, ratio] = [1, 2, 3].map(|at| spread(cells[at])[0]);
        assert!(one > 0.0 && is_close(ratio, 2.0 * one / two), "{output}");
    }
}

#[test]
fn everything_at_once_loses_nothing_and_adds_up() {
    let output = printed(load("soak --minutes 0.02")).unwrap();
    let all = row(&output, "**all** ");
    assert_eq!(all[2..], ["0", "0"], "{output}");
    let loads = output.lines().skip(2).take_while(|line| !line.starts_with("| **all**"));
    let received: Vec<_> = loads.map(|line| count(line.trim_matches('|').split('|').nth(1).unwrap().trim())).collect();
    assert!(received.len() == 11 && received.iter().all(|received| *received > 0), "{output}");
    assert_eq!(received.iter().sum::<u64>(), count(all[1]), "{output}");

    assert!(row(&output, "at most ")[1].parse::<f64>().unwrap() > 1.0, "{output}");
    assert_eq!(row(&output, "after 60 s ")[1], "–", "{output}");
    let copies = |name: &str| count(row(&output, name)[1]);
    assert_eq!(copies("matched "), copies("delivered ") + copies("dropped ") + copies("refused "), "{output}");
    assert_eq!((copies("matched "), copies("unaccounted ")), (count(all[1]), 0), "{output}");
}

#[test]
fn what_cannot_be_run_is_refused() {
    refused("beside --floods storm,rain", "there is no rain among stream");
    refused("beside --rounds 0", "there has to be a round");
    refused("beside --seconds 0", "0 is not more than 0");
    refused("cores --seconds soon", "invalid positive value: 'soon'");
    refused("soak --minutes nan", "nan is not more than 0");
    refused("soak --midge nowhere", "there is no program nowhere");
    refused("soak --congestion none", "invalid choice: 'none'");
    refused("peace", "invalid choice: 'peace'");
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            end(&self.0);
            let _ = self.0.wait();
        }
    }
}

fn end(child: &Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
}

/// Ids of those that have this in their command line, in which each argument ends with a zero byte.
fn processes(of: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let line = |entry: &fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let found = entries.filter(|entry| String::from_utf8_lossy(&line(entry)).contains(of));
    found.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn until(what: &str, there: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < end, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_stays_of_a_run_that_is_told_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let of = directory.path().to_str().unwrap();
    let mut command = load("soak --minutes 1");
    command.env("TMPDIR", of).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Ended(command.spawn().unwrap());
    until("a broker", || processes(of).len() == 1);
    let generators = format!("--broker-pid\0{}\0", processes(of)[0]);
    until("its load", || processes(&generators).len() > 5);
    end(&run.0);
    assert_eq!(run.0.wait().unwrap().code(), Some(143));
    assert_eq!((processes(of).len(), processes(&generators).len()), (0, 0));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
