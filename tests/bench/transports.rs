//! TLS, WebSocket, and both; users and certificates.

use std::process::Stdio;

use crate::support::{TestBroker, bench, midge};

/// Of every scenario one that is over at once.
const LINES: [(&str, u64, u64); 7] = [
    ("pairs -N 2 -n 300 -q 2", 300, 300),
    ("fanout -s 3 -n 300 -q 0", 300, 900),
    ("fanin -p 4 -s 2 --shared -n 100 -q 1 --v5", 100, 100),
    ("latency -N 2 -r 500 -d 0.1 --warmup 0.1 -q 1", 100, 100),
    ("retained -n 100 -s 2 --settle 0 --v5", 100, 200),
    ("offline -n 100 -s 2 --settle 0 -q 2 --v31", 100, 200),
    ("pairs -N 1 -n 4 --size 300000", 4, 4),
];

fn run_all(broker: &TestBroker, listener: usize, options: &str) {
    let address = broker.addresses()[listener];
    for (line, sent, expected) in LINES {
        broker.bench_at(address, &format!("{line} {options}")).is_whole(sent, expected);
    }
    let run = broker.bench_at(address, &format!("connect -c 20 --settle 0 {options}"));
    assert_eq!((run.code, run.count("pongs")), (Some(0), 20), "{run:?}");
}

#[test]
fn every_scenario_over_websocket() {
    run_all(&TestBroker::start(), 1, "--ws");
}

#[test]
fn every_scenario_over_tls() {
    run_all(&TestBroker::start_with_tls(), 0, "--tls --ca certs/ca.pem --host localhost");
}

#[test]
fn every_scenario_over_websocket_over_tls() {
    run_all(&TestBroker::start_with_tls(), 1, "--tls --insecure --ws /mqtt");
}

#[test]
fn a_certificate_that_is_not_to_be_believed_ends_the_run() {
    let broker = TestBroker::start_with_tls();
    let other = tempfile::tempdir().unwrap();
    let made = midge(other.path(), &["certs", "certs"]).stdout(Stdio::null()).status().unwrap();
    assert!(made.success());
    let ca = other.path().join("certs/ca.pem");
    let run = broker.bench(&format!("pairs -n 10 --tls --ca {}", ca.display()));
    run.ended(1, "failed");
    run.says("certificate");
    let run = broker.bench("pairs -n 10 --tls --ca nowhere.pem");
    run.ended(1, "failed");
    run.says("cannot read nowhere.pem");
}

#[test]
fn a_client_certificate_is_shown() {
    let broker = TestBroker::start_with_tls();
    let line = "pairs -n 10 --tls --ca certs/ca.pem --cert certs/client.pem --key certs/client.key";
    broker.bench(line).is_whole(10, 10);
    // The key of another one.
    let run = broker.bench(&line.replace("client.key", "server.key"));
    run.ended(1, "failed");
}

#[test]
fn users_and_passwords_are_sent() {
    let directory = tempfile::tempdir().unwrap();
    let mut passwd = midge(directory.path(), &["passwd", "--hash", "sha512", "-c", "passwd", "alice"]);
    let mut passwd = passwd.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut passwd.stdin.take().unwrap(), b"secret\n").unwrap();
    assert!(passwd.wait().unwrap().success());
    let broker = TestBroker::start_with("access.password_file = \"passwd\"\n", directory);
    broker.bench("pairs -n 10 -u alice -P secret").is_whole(10, 10);
    let run = broker.bench("pairs -n 10 -u alice -P wrong --v5");
    run.ended(1, "failed");
    run.says("the broker refuses a connection: ");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = bench(directory.path(), &format!("pairs --port {}", free.port()));
    run.ended(1, "failed");
    run.says(&format!("cannot connect to {free}: Connection refused"));
}

#[test]
fn a_broker_that_hangs_up_on_connect_refuses_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let run = bench(tempfile::tempdir().unwrap().path(), &format!("pairs --port {port}"));
    run.ended(1, "failed");
    run.says("closes a connection without an answer to CONNECT");
    broker.join().unwrap();
}

#[test]
fn a_port_that_speaks_something_else_is_noticed() {
    let broker = TestBroker::start();
    let websocket = broker.addresses()[1];
    let run = broker.bench_at(websocket, "pairs -n 10");
    run.ended(1, "failed");
    let run = broker.bench_at(websocket, "pairs -n 10 --ws /elsewhere");
    run.ended(1, "failed");
    run.says("404");
}
