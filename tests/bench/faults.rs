//! A broker that does wrong is found out, and the exit code says how.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{Outcome, Tamper, TestBroker, midge, tampering};

/// What a run says when something happens to the messages of each subscriber.
fn with(tamper: Tamper, line: &str) -> Outcome {
    let broker = TestBroker::start();
    let address = tampering(broker.addresses()[0], tamper);
    broker.bench_at(address, &format!("{line} --stall 0.5"))
}

#[test]
fn a_message_that_does_not_come_is_a_loss() {
    for (line, of) in [("fanout -s 2 -n 300", 600), ("pairs -N 2 -n 300", 300), ("fanin -p 3 -s 2 -n 300", 600)] {
        let run = with(Tamper::Drop(50), line);
        run.ended(4, "loss");
        run.says(&format!("2 of {of} deliveries are missing"));
        assert_eq!((run.count("lost"), run.count("received")), (2, of - 2));
    }
}

#[test]
fn the_last_message_can_be_missing_too() {
    let run = with(Tamper::Drop(300), "fanout -s 1 -n 300");
    run.ended(4, "loss");
    assert_eq!(run.count("lost"), 1);
}

#[test]
fn a_loss_shows_in_every_scenario() {
    for line in
        ["retained -n 100 --settle 0", "offline -n 100 -s 1 --settle 0", "latency -N 1 -r 500 -d 0.2 --warmup 0"]
    {
        let run = with(Tamper::Drop(20), line);
        run.ended(4, "loss");
        assert_eq!(run.count("lost"), 1, "{line}");
    }
    let run = with(Tamper::Drop(20), "trie -N 100 -C 2 -n 200");
    run.ended(4, "loss");
    assert_eq!(run.count("lost"), 2);
    let run = with(Tamper::Drop(20), "fanin --shared -p 2 -s 1 -n 100 --v5");
    run.ended(4, "loss");
}

#[test]
fn a_message_that_comes_twice_is_a_duplicate() {
    let run = with(Tamper::Double(50), "fanout -s 2 -n 300");
    run.ended(4, "duplicates");
    assert_eq!((run.count("duplicates"), run.count("received"), run.count("lost")), (2, 600, 0));
    for (line, is_duplicate) in [("churn -c 1 -d 0.1", true), ("churn -c 1 -d 0.1 -q 1", false)] {
        let run = with(Tamper::Double(1), line);
        assert_eq!(run.json["status"] == "duplicates", is_duplicate, "{run:?}");
        assert_eq!(run.count("duplicates"), run.count("received"), "{run:?}");
    }
    let run = with(Tamper::Double(300), "retained -n 300 -q 0 --settle 0");
    run.ended(4, "duplicates");
}

#[test]
fn a_duplicate_is_allowed_at_qos_1_and_counted() {
    let run = with(Tamper::Double(50), "fanout -s 1 -n 300 -q 1");
    assert_eq!((run.code, run.count("duplicates"), run.count("lost")), (Some(0), 1, 0), "{run:?}");
}

#[test]
fn a_qos_2_message_may_come_again_before_its_release() {
    let run = with(Tamper::Double(50), "fanout -s 1 -n 300 -q 2");
    assert_eq!((run.count("resent"), run.count("duplicates"), run.count("lost")), (1, 0, 0), "{run:?}");
}

#[test]
fn messages_out_of_order_are_counted() {
    let run = with(Tamper::Delay(50), "fanout -s 1 -n 300");
    assert_eq!((run.code, run.count("reordered"), run.count("lost"), run.count("duplicates")), (Some(0), 1, 0, 0));
}

#[test]
fn a_message_that_was_changed_is_not_the_one_that_was_sent() {
    let run = with(Tamper::Spoil(50), "fanout -s 1 -n 300 --size 16");
    run.ended(4, "loss");
    assert_eq!((run.count("lost"), run.count("foreign")), (1, 1));
}

#[test]
fn a_window_that_losses_have_filled_stops_the_run() {
    for line in ["fanout -s 2 -d 30", "fanout -s 2 -n 100000", "pairs -N 1 -q 1 -d 30"] {
        let run = with(Tamper::Freeze(500), &format!("{line} --window 100"));
        run.ended(3, "stalled");
        run.says("nothing moved for 0.5 s, while ");
        run.says("deliveries are missing");
        assert!(run.count("lost") > 0);
    }
}

#[test]
fn a_life_without_its_message_does_not_end() {
    let run = with(Tamper::Drop(1), "churn -c 3 -d 0.1");
    run.ended(4, "loss");
    assert_eq!((run.count("unfinished"), run.count("sent"), run.count("received")), (3, 3, 0));
    let run = with(Tamper::Spoil(1), "churn -c 1 -d 0.1 --size 16");
    run.ended(4, "loss");
    assert_eq!((run.count("unfinished"), run.count("foreign")), (1, 1));
    with(Tamper::Freeze(1), "churn -c 1 -d 30").ended(3, "stalled");
    with(Tamper::Cut(1), "churn -c 1 -d 30").ended(5, "disconnected");
}

#[test]
fn a_run_has_an_end_in_any_case() {
    let broker = TestBroker::start();
    let run = broker.bench("pairs -n 1000000000 --max-time 0.7");
    run.ended(3, "timeout");
    run.says("0.7 s are over");
}

#[test]
fn a_connection_that_the_broker_closes_ends_the_run() {
    let run = with(Tamper::Cut(50), "fanout -s 2 -n 3000");
    run.ended(5, "disconnected");
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let run = with(Tamper::Refuse(5), "connect -c 3");
    run.ended(1, "failed");
    run.says("the broker refuses a connection: Not authorized");
}

#[test]
fn what_the_broker_cannot_do_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let broker = TestBroker::start_with("defaults.maximum_qos = 1\n", directory);
    broker.bench("pairs -n 10 -q 1").is_whole(10, 10);
    for version in ["--v5", "--v3"] {
        let run = broker.bench(&format!("pairs -n 10 -q 2 {version}"));
        run.ended(1, "failed");
        run.says("the broker grants QoS 1 where 2 is asked for");
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_broker_that_dies_in_the_middle_is_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = midge(directory.path(), &["--listen", "127.0.0.1:0", "--memory"]);
    let mut broker = Killed(broker.stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(broker.0.stderr.take().unwrap());
    let listening = log.lines().map_while(Result::ok).find(|line| line.contains("listening")).unwrap();
    let (_, port) = listening.rsplit_once(':').unwrap();
    let pid = broker.0.id();
    let arguments = ["bench", "pairs", "-d", "60", "--json", "--port", port, "--broker-pid", &pid.to_string()];
    let mut run = midge(directory.path(), &arguments);
    let mut run = Killed(run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut progress = BufReader::new(run.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    progress.find(|line| line.contains("measuring") && line.contains(" received")).expect("a line of progress");
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    assert!(progress.any(|line| line.starts_with("midge: crashed: the broker's process is gone, while measuring")));
    assert_eq!(run.0.wait().unwrap().code(), Some(5));
}
