//! Every scenario, in every version and at every QoS: all that is sent comes, and the counts add up.

use serde_json::Value;

use crate::support::{TestBroker, midge};

const VERSIONS: [&str; 3] = ["--v31", "--v3", "--v5"];

/// Runs a line in every version at every QoS, each against the same broker.
fn in_every_version(line: &str, qos: &[u8], check: impl Fn(&crate::support::Outcome)) {
    let broker = TestBroker::start();
    for version in VERSIONS {
        for qos in qos {
            check(&broker.bench(&format!("{line} {version} -q {qos}")));
        }
    }
}

#[test]
fn pairs() {
    in_every_version("pairs -N 3 -n 301", &[0, 1, 2], |run| {
        run.is_whole(301, 301);
        assert_eq!((run.count("slowest_subscriber"), run.count("fastest_subscriber")), (100, 101));
        assert_eq!(run.count("samples"), 301);
    });
}

#[test]
fn fanout() {
    in_every_version("fanout -p 2 -s 4 -n 200", &[0, 1, 2], |run| {
        run.is_whole(200, 800);
        assert_eq!((run.count("slowest_subscriber"), run.count("fastest_subscriber")), (200, 200));
    });
}

#[test]
fn fanin() {
    in_every_version("fanin -p 5 -s 2 -n 200", &[0, 1, 2], |run| run.is_whole(200, 400));
}

#[test]
fn fanin_to_a_shared_subscription() {
    in_every_version("fanin -p 5 -s 2 --shared -n 200", &[0, 1, 2], |run| {
        run.is_whole(200, 200);
        assert_eq!(run.count("slowest_subscriber") + run.count("fastest_subscriber"), 200);
    });
}

#[test]
fn sessions_that_last() {
    in_every_version("pairs -N 3 -n 100 --lasting", &[0, 1, 2], |run| run.is_whole(100, 100));
    in_every_version("fanin -p 3 -s 2 --shared -n 100 --lasting", &[2], |run| run.is_whole(100, 100));
    in_every_version("fanout -p 2 -s 3 -n 100 --lasting", &[1], |run| run.is_whole(100, 300));
}

#[test]
fn the_broker_keeps_what_lasting_sessions_are_due_and_nothing_of_others() {
    let broker = TestBroker::start_on_disk();
    let records = || broker.figure("midge_store_records_total");
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            broker.bench(&format!("pairs -N 2 -n 100 {version} -q {qos}")).is_whole(100, 100);
        }
    }
    assert_eq!(records(), 0);
    for version in VERSIONS {
        for (qos, messages_kept) in [(0, 0), (1, 100), (2, 100)] {
            let before = records();
            let line = format!("pairs -N 2 -n 100 --lasting {version} -q {qos}");
            broker.bench(&line).is_whole(100, 100);
            // Four sessions, the subscriptions of two, and the messages with their acknowledgements.
            let kept = records() - before;
            assert!(kept >= 6 + 2 * messages_kept, "{line}: {kept}");
        }
    }
}

#[test]
fn latency() {
    in_every_version("latency -N 3 --rate 1000 -d 0.2 --warmup 0.05", &[0, 1, 2], |run| {
        run.is_whole(250, 250);
        // Those due in the measured time, and no others; a rounding may move one.
        assert!((199..=201).contains(&run.count("samples")), "{run:?}");
        assert_eq!(run.count("samples"), run.count("send_lag_samples"));
        let [lag, half, all] = ["send_lag_p50_us", "p50_us", "max_us"].map(|name| run.metric(name));
        assert!(lag <= half && half <= all, "{run:?}");
    });
}

#[test]
fn connect() {
    let broker = TestBroker::start();
    for version in VERSIONS {
        for options in ["", "--subscribe", "--lasting", "--rate 1000"] {
            let run = broker.bench(&format!("connect -c 30 --settle 0 {options} {version}"));
            assert_eq!((run.code, run.count("connected"), run.count("failed")), (Some(0), 30, 0), "{run:?}");
            assert_eq!((run.count("pongs"), run.count("lost_while_idle")), (30, 0), "{run:?}");
            assert_eq!(run.count("connect_samples"), 30);
        }
    }
}

#[test]
fn retained() {
    in_every_version("retained -n 300 -s 3 --settle 0", &[0, 1, 2], |run| run.is_whole(300, 900));
}

#[test]
fn offline() {
    in_every_version("offline -p 2 -n 200 -s 3 --settle 0", &[1, 2], |run| {
        run.is_whole(200, 600);
        // MQTT 3.1 does not say.
        let told = if run.json["params"]["mqtt"] == "3.1" { 0 } else { 3 };
        assert_eq!(run.count("sessions_present"), told);
    });
}

#[test]
fn trie() {
    in_every_version("trie -N 600 -C 4 -K 2 -p 2 -n 300", &[0, 1, 2], |run| {
        run.is_whole(300, 600);
        assert!(run.count("slowest_subscriber") > 0, "{run:?}");
    });
    let broker = TestBroker::start();
    for (line, messages) in [("trie -N 10 -C 1 -K 3 --plus 1 --hash 0 -n 90", 3), ("trie -N 1 --hash 1 -n 30", 1)] {
        let run = broker.bench(line);
        run.is_whole(run.count("sent"), run.count("sent") * messages);
    }
    let run = broker.bench("trie -N 10 -C 1 -K 3 -n 3");
    assert_eq!((&run.json["params"]["subscriptions"], &run.json["params"]["connections"]), (&12.into(), &3.into()));
}

#[test]
fn churn() {
    in_every_version("churn -c 5 -d 0.2", &[0, 1, 2], |run| {
        assert_eq!((run.code, &*run.errors), (Some(0), ""), "{run:?}");
        let [sent, received, cycles] = ["sent", "received", "cycles"].map(|name| run.count(name));
        // Those that end after the measured time do not count.
        assert!(sent == received && received >= 5 && (cycles..=cycles + 5).contains(&received), "{run:?}");
        assert!(run.count("cycle_samples") <= cycles, "{run:?}");
        assert!(run.metric("cycle_p50_us") <= run.metric("cycle_max_us"), "{run:?}");
    });
}

#[test]
fn a_run_by_time_ends_and_all_that_was_sent_has_come() {
    let broker = TestBroker::start();
    for line in ["pairs -q 1", "fanout -s 3", "fanin -p 3 --shared -s 2 -q 2 --v5"] {
        let run = broker.bench(&format!("{line} -d 0.2 --warmup 0.1"));
        let receivers = if line.starts_with("fanout") { 3 } else { 1 };
        run.is_whole(run.count("sent"), run.count("sent") * receivers);
        assert!(run.count("samples") < run.count("received"), "the warm-up counts: {run:?}");
        assert!(run.metric("delivered_per_s") > 0.0 && run.metric("elapsed_s") >= 0.2, "{run:?}");
    }
}

#[test]
fn messages_of_any_size_come_and_qos_may_differ() {
    let broker = TestBroker::start();
    for line in ["pairs -N 1 -n 5 --size 16", "pairs -N 1 -n 20 --size 1000000 -q 1", "fanout -n 50 -q 2 --sub-qos 0"] {
        let run = broker.bench(line);
        run.is_whole(run.count("sent"), run.count("expected"));
    }
    broker.bench("pairs -N 2 -n 100 -q 0 --sub-qos 2 --wildcard plus").is_whole(100, 100);
    broker.bench("pairs -N 2 -n 100 --wildcard hash --threads 2 --window 5 --batch 5").is_whole(100, 100);
    broker.bench("pairs -N 1 -n 3000 -q 2 --v5 --inflight 65535 --receive-max 10 --window 100000").is_whole(3000, 3000);
}

#[test]
fn the_answer_says_what_was_measured_and_where() {
    let broker = TestBroker::start();
    let run = broker.bench("fanin --shared -p 3 -s 2 -n 30 -q 1 --v5 --size 100");
    let params = &run.json["params"];
    let port = broker.addresses()[0].port();
    for (name, value) in [
        ("host", Value::from("127.0.0.1")),
        ("port", port.into()),
        ("mqtt", "5.0".into()),
        ("qos", 1.into()),
        ("size", 100.into()),
        ("publishers", 3.into()),
        ("subscribers", 2.into()),
        ("shared", true.into()),
        ("window", 1000.into()),
        ("broker_pid", std::process::id().into()),
    ] {
        assert_eq!(params[name], value, "{name}");
    }
    assert_eq!(run.json["scenario"], "fanin");
    assert!(run.metric("rss_start_kb") > 0.0 && run.metric("rss_peak_kb") > 0.0, "{run:?}");
    assert!(run.json["metrics"]["broker_cpu_us_per_msg"].is_number(), "{run:?}");
}

#[test]
fn the_table_says_the_same_in_words() {
    let broker = TestBroker::start();
    let port = broker.addresses()[0].port().to_string();
    let output = midge(broker.directory(), &["bench", "pairs", "-n", "1200", "--port", &port]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("pairs: ok\n"), "{text}");
    for (label, value) in [("sent", "1,200"), ("received", "1,200"), ("lost", "0")] {
        let is_row = |line: &str| line.split_whitespace().take(2).eq([label, value]);
        assert!(text.lines().any(is_row), "{label}: {text}");
    }
    assert!(text.contains("messages that subscribers read"), "{text}");
}

#[test]
fn nothing_is_left_in_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ctl.sock");
    let broker = TestBroker::start_with(&format!("admin.socket = {socket:?}\nsys.interval = 0\n"), directory);
    for line in [
        "retained -n 50 -q 0",
        "retained -n 50 -q 1",
        "offline -n 20",
        "connect -c 20 --lasting --v5 --settle 0",
        "pairs -N 3 -n 20 --lasting",
        "fanin -p 3 -s 2 -n 20 -q 2 --shared --lasting --v5",
    ] {
        assert_eq!(broker.bench(line).code, Some(0));
    }
    for what in [["clients", "list"], ["retained", "list"]] {
        let arguments = [&["ctl", "--json", "--socket", socket.to_str().unwrap()], &what[..]].concat();
        let output = midge(broker.directory(), &arguments).output().unwrap();
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows, Value::Array(vec![]), "{what:?}");
    }
}
