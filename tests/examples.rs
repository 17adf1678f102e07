//! Every program in `examples/` runs once, against a broker of its own, and does what its comment says.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use midge::broker::Broker;
use midge::config::Config;
use tokio::runtime::Runtime;

/// Beyond what an example gives itself.
const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn a_sensor_fleet_leaves_last_values_and_a_will() {
    let summary = run_against_a_broker("sensor_fleet", &["--sensors", "12", "--readings", "3"]);
    assert_eq!(summary, "12 sensors: 36 readings acknowledged, 11 offline, 1 lost\n");
}

#[test]
fn a_sensor_fleet_may_run_twice_against_one_broker() {
    let broker = RunningBroker::start();
    let arguments = |sensors| ["--sensors", sensors, "--readings", "1"];
    run("sensor_fleet", &broker.with_port(&arguments("9")));
    let summary = run("sensor_fleet", &broker.with_port(&arguments("5")));
    assert_eq!(summary, "5 sensors: 5 readings acknowledged, 4 offline, 1 lost\n");
    broker.stop();
}

#[test]
fn log_lines_are_shared_among_the_workers_and_all_stored() {
    let summary = run_against_a_broker("log_collector", &["--agents", "5", "--workers", "4", "--lines", "40"]);
    let shares =
        summary.strip_prefix("5 agents: 200 lines stored, by worker: [").and_then(|rest| rest.strip_suffix("]\n"));
    let shares: Vec<u32> = shares.expect(&summary).split(", ").map(|share| share.parse().expect(&summary)).collect();
    assert_eq!(shares, [50; 4]);
}

#[test]
fn requests_are_answered_and_a_wrong_one_is_refused() {
    let summary = run_against_a_broker("request_response", &["--requests", "500"]);
    assert_eq!(summary, "500 requests: 499 answers, 1 refused\n");
}

#[test]
fn a_program_contains_a_broker() {
    let summary = run("embedded_broker", &["--messages", "250"]);
    assert!(summary.starts_with("broker on 127.0.0.1:"), "{summary}");
    assert!(summary.ends_with(": 250 messages published and received, then stopped\n"), "{summary}");
}

#[test]
fn an_example_without_a_broker_says_so_and_fails() {
    // Bound and never listening: nobody else is given this port while the examples try it.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = silent.local_addr().unwrap().as_socket().expect("an IPv4 address").port().to_string();
    for name in ["sensor_fleet", "log_collector", "request_response"] {
        let outcome = outcome(name, &["--port", &port]);
        assert!(!outcome.success && outcome.errors.contains("Connection refused"), "{name}: {}", outcome.errors);
    }
}

#[test]
fn every_example_has_its_test_and_is_short() {
    let source = include_str!("examples.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name in ASCII");
        assert!(source.contains(&format!("(\"{name}\", ")), "no test runs {name}");
        assert!(fs::read_to_string(&path).unwrap().lines().count() < 150, "{name} is no example any more");
    }
}

/// What an example prints when it runs against a broker that nobody else uses.
fn run_against_a_broker(name: &str, arguments: &[&str]) -> String {
    let broker = RunningBroker::start();
    let summary = run(name, &broker.with_port(arguments));
    broker.stop();
    summary
}

struct RunningBroker {
    runtime: Runtime,
    broker: Broker,
}

impl RunningBroker {
    fn start() -> RunningBroker {
        let runtime = Runtime::new().unwrap();
        let config = Config::parse("test", "[[listener]]\naddress = \"127.0.0.1:0\"").unwrap();
        let broker = runtime.block_on(Broker::start(&config)).unwrap();
        RunningBroker { runtime, broker }
    }

    fn with_port(&self, arguments: &[&str]) -> Vec<String> {
        let port = self.broker.local_addresses()[0].port().to_string();
        arguments.iter().copied().chain(["--port", &port]).map(String::from).collect()
    }

    fn stop(self) {
        self.runtime.block_on(self.broker.shutdown());
    }
}

struct Outcome {
    success: bool,
    output: String,
    errors: String,
}

fn run(name: &str, arguments: &[impl AsRef<std::ffi::OsStr>]) -> String {
    let outcome = outcome(name, arguments);
    assert!(outcome.success, "{name} failed: {}{}", outcome.output, outcome.errors);
    outcome.output
}

fn outcome(name: &str, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Outcome {
    let mut child = Command::new(binary(name))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (output, errors) = (read_all(output), read_all(errors));
    let texts = output.recv_timeout(DEADLINE).and_then(|output| Ok((output, errors.recv_timeout(DEADLINE)?)));
    let Ok((output, errors)) = texts else {
        child.kill().unwrap();
        panic!("{name} does not end");
    };
    Outcome { success: child.wait().unwrap().success(), output, errors }
}

fn read_all(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        // Nobody listens any more when the deadline is over.
        let _ = sender.send(text);
    });
    receiver
}

/// Beside this test: target/<profile>/deps/examples-… and target/<profile>/examples/<name>.
fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let directory = test.parent().and_then(Path::parent).expect("a directory of the profile").join("examples");
    let binary = directory.join(name);
    assert!(
        binary.exists(),
        "there is no {}: `cargo build --examples` makes it, and `cargo test` too",
        binary.display()
    );
    binary
}
