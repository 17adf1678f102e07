use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Connect, Incoming, Publish, TestBroker, subscription};
use midge::packet::ReasonCode;

/// A broker with a socket, and `midge ctl` on it.
struct Ctl {
    broker: TestBroker,
    directory: TempDir,
}

fn midge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIDGE_")) {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("an exit code"))
}

impl Ctl {
    fn start() -> Ctl {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("ctl.sock");
        let broker = TestBroker::start(&format!("[admin]\nsocket = {socket:?}\n[sys]\ninterval = 0"));
        Ctl { broker, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("ctl.sock")
    }

    fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let socket = self.socket();
        let arguments = [&["ctl", "--socket", socket.to_str().unwrap()], arguments].concat();
        said(&midge(&arguments).output().unwrap())
    }

    fn says(&self, arguments: &[&str]) -> String {
        let (out, error, code) = self.run(arguments);
        assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}");
        out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// A session that is away, with messages waiting.
    fn away(&self, client_id: &str, waiting: usize) {
        let connect = Connect { client_id, session_expiry: 3600, ..Connect::default() };
        let mut client = self.broker.connect(connect);
        client.subscribe("t", subscription(1));
        client.leave();
        let mut publisher = self.broker.connect(Connect { client_id: "p", ..Connect::default() });
        (0..waiting)
            .for_each(|n| assert_eq!(publisher.publish_acked("t", &format!("message {n}")), ReasonCode::Success));
        publisher.leave();
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn clients_are_listed_as_a_table_and_as_json() {
    let ctl = Ctl::start();
    ctl.away("sleeper", 2);
    let _awake = ctl.broker.connect(Connect { client_id: "awake", user_name: Some("alice"), ..Connect::default() });
    let table = ctl.says(&["clients", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(words(lines[0])[..3], ["CLIENT", "CONNECTED", "USER"]);
    assert_eq!(words(lines[1]), ["awake", "yes", "alice", "127.0.0.1", "one", "5", "0", "0", "0", "0"]);
    assert_eq!(words(lines[2]), ["sleeper", "no", "-", "127.0.0.1", "one", "5", "1", "2", "0", "0"]);
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|row| row["clientid"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&ctl.json(&["clients", "list"])), ["awake", "sleeper"]);
    assert_eq!(ids(&ctl.json(&["clients", "list", "--disconnected"])), ["sleeper"]);
    assert_eq!(ids(&ctl.json(&["clients", "list", "--like", "wak", "--connected"])), ["awake"]);
    assert_eq!(ids(&ctl.json(&["clients", "list", "--user", "alice"])), ["awake"]);
}

#[test]
fn a_list_that_is_cut_says_so() {
    let ctl = Ctl::start();
    let _clients: Vec<_> =
        ["a", "b", "c"].map(|client_id| ctl.broker.connect(Connect { client_id, ..Connect::default() })).into();
    let (out, error, code) = ctl.run(&["clients", "list", "--limit", "2"]);
    assert_eq!((out.lines().count(), error.as_str(), code), (3, "2 of 3 shown: --limit shows more\n", 0));
}

#[test]
fn a_client_is_shown_kicked_and_deleted() {
    let ctl = Ctl::start();
    let connect = Connect { client_id: "plant/7 #1", session_expiry: 60, ..Connect::default() };
    let mut client = ctl.broker.connect(connect);
    client.subscribe("a/+", subscription(2));
    let shown = ctl.says(&["clients", "show", "plant/7 #1"]);
    assert!(shown.lines().any(|line| words(line) == ["connected", "yes"]), "{shown}");
    let subscription_line = shown.lines().last().map(words);
    assert_eq!(subscription_line, Some(vec!["a/+", "2", "no", "no", "-"]), "{shown}");
    assert_eq!(ctl.json(&["clients", "show", "plant/7 #1"])["subscriptions"][0]["topic"], "a/+");

    assert_eq!(ctl.says(&["clients", "kick", "plant/7 #1"]), "plant/7 #1 is disconnected\n");
    assert_eq!(client.next(), Incoming::Disconnect(ReasonCode::AdministrativeAction));
    let (_, error, code) = ctl.run(&["clients", "kick", "plant/7 #1"]);
    assert_eq!((error.as_str(), code), ("midge: the session has no connection now\n", 1));
    assert_eq!(ctl.says(&["clients", "delete", "plant/7 #1"]), "the session of plant/7 #1 is deleted\n");
    let (_, error, code) = ctl.run(&["clients", "show", "plant/7 #1"]);
    assert_eq!((error.as_str(), code), ("midge: there is no session of this client id\n", 4));
}

#[test]
fn what_a_client_lost_is_listed_and_shown_by_cause() {
    let ctl = Ctl::start();
    ctl.away("sleeper", 2);
    ctl.says(&["queue", "purge", "sleeper"]);
    let table = ctl.says(&["clients", "list"]);
    let column = |line: usize| table.lines().nth(line).and_then(|line| words(line).last().copied());
    assert_eq!((column(0), column(1)), (Some("LOST"), Some("2")), "{table}");
    let shown = ctl.says(&["clients", "show", "sleeper"]);
    let lines: Vec<_> = shown.lines().map(words).collect();
    for line in [
        ["mqueue_dropped", "0"],
        ["mqueue_refused", "0"],
        ["send_msg.dropped", "2"],
        ["send_msg.dropped.purged", "2"],
        ["send_msg.dropped.queue_full", "0"],
    ] {
        assert!(lines.contains(&line.to_vec()), "{line:?} is not in\n{shown}");
    }
}

#[test]
fn a_queue_is_shown_and_purged() {
    let ctl = Ctl::start();
    ctl.away("sleeper", 3);
    let table = ctl.says(&["queue", "show", "sleeper", "--payload"]);
    let lines: Vec<_> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["TOPIC", "QOS", "BYTES", "EXPIRES", "IN", "PAYLOAD"]);
    assert_eq!((lines.len(), &lines[1][..]), (4, &["t", "1", "9", "-", "message", "0"][..]));
    assert!(!ctl.says(&["queue", "show", "sleeper"]).contains("message"));
    assert_eq!(ctl.says(&["queue", "purge", "sleeper"]), "3 messages purged\n");
    assert_eq!(ctl.json(&["queue", "purge", "sleeper"]), json!({"purged": 0}));
}

#[test]
fn retained_messages_are_listed_and_cleared() {
    let ctl = Ctl::start();
    let mut publisher = ctl.broker.connect(Connect { client_id: "p", ..Connect::default() });
    for topic in ["plant/1/temp", "plant/2/temp", "other"] {
        publisher.publish(Publish { topic, payload: b"\x1b[2J", qos: 1, retain: true, ..Publish::default() });
        assert_eq!(publisher.next(), Incoming::PubAck(ReasonCode::NoMatchingSubscribers));
    }
    let table = ctl.says(&["retained", "list", "plant/+/temp", "--payload"]);
    assert_eq!(table.lines().nth(2).map(words), Some(vec!["plant/2/temp", "1", "4", "-", "\\u{1b}[2J"]));
    assert_eq!(ctl.says(&["retained", "clear", "plant/#"]), "2 retained messages cleared\n");
    assert_eq!(ctl.json(&["retained", "list"]).as_array().map(Vec::len), Some(1));
    let (_, error, code) = ctl.run(&["retained", "list", "a#"]);
    assert!(error.starts_with("midge: \"a#\" is no topic filter:") && code == 1, "{error}");
}

#[test]
fn status_tells_how_the_broker_does() {
    let ctl = Ctl::start();
    ctl.away("sleeper", 2);
    let status = ctl.says(&["status"]);
    for line in
        ["status                      running", "copies.queued               2", "sessions.count              1"]
    {
        assert!(status.lines().any(|found| found == line), "{line} is not in\n{status}");
    }
}

#[test]
fn the_configuration_tells_where_the_socket_is() {
    let ctl = Ctl::start();
    let by_variable = midge(&["ctl", "status"]).env("MIDGE_ADMIN__SOCKET", ctl.socket()).output().unwrap();
    assert_eq!(said(&by_variable).2, 0, "{by_variable:?}");
    let file = ctl.directory.path().join("midge.toml");
    std::fs::write(&file, "[admin]\nsocket = \"ctl.sock\"\n").unwrap();
    let by_file = midge(&["ctl", "-c", file.to_str().unwrap(), "status"]).output().unwrap();
    assert_eq!(said(&by_file).2, 0, "{by_file:?}");
}

#[test]
fn without_a_broker_the_error_says_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nobody.sock");
    let output = midge(&["ctl", "--socket", socket.to_str().unwrap(), "status"]).output().unwrap();
    let (out, error, code) = said(&output);
    assert_eq!((out.as_str(), code), ("", 3));
    assert!(error.starts_with(&format!("midge: no broker answers at {}: No such file", socket.display())), "{error}");
    assert!(error.contains("admin.socket") && error.contains("--socket"), "{error}");
}

#[test]
fn something_else_at_the_socket_is_told_from_a_broker() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("other.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let other = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    let output = midge(&["ctl", "--socket", socket.to_str().unwrap(), "status"]).output().unwrap();
    other.join().unwrap();
    let (_, error, code) = said(&output);
    assert!(error.contains("does not speak as a broker") && code == 1, "{error}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_broker() {
    let mut ctl = Ctl::start();
    assert_eq!(mode(&ctl.socket()), 0o600);
    ctl.broker.stop();
    assert!(!ctl.socket().exists());
    assert_eq!(ctl.run(&["status"]).2, 3);
}
