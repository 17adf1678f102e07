//! The `midge` command as an operator meets it: exit codes, signals, and what it says.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use midge::message::{BrokerTime, OwnerId};
use midge::store::journal::{Journal, JournalOptions};
use midge::store::{Change, Durability, SessionRecord, Store};

/// Nothing here takes a fraction of this, on a machine that works.
const PATIENCE: Duration = Duration::from_secs(20);

fn midge(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIDGE_")) {
        command.env_remove(name);
    }
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    midge(directory, arguments).output().expect("the command runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A `midge serve` that ends with the test.
struct Broker {
    child: Child,
    log: Receiver<String>,
}

impl Broker {
    fn start(directory: &Path, arguments: &[&str]) -> Broker {
        let mut child = midge(directory, arguments).stderr(Stdio::piped()).spawn().expect("the command runs");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, log) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Broker { child, log }
    }

    /// Waits until the log says `what`.
    fn says(&self, what: &str) -> String {
        self.says_after(what).1
    }

    /// The same, with the lines before it.
    fn says_after(&self, what: &str) -> (Vec<String>, String) {
        let mut before = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return (before, line),
                Ok(line) => before.push(line),
                Err(_) => panic!("{what:?} is not in the log:\n{}", before.join("\n")),
            }
        }
    }

    fn address(&self) -> SocketAddr {
        let line = self.says("listening");
        line.rsplit_once("address=").expect("an address").1.parse().expect("an address")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    fn stops(mut self) {
        self.says("midge stops");
        assert_eq!(self.child.wait().expect("a child of ours").code(), Some(0));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The return code with which a 3.1.1 client is answered.
fn connect(address: SocketAddr, user: &str, password: &str) -> u8 {
    let mut packet = b"\x00\x04MQTT\x04\xC2\x00\x00\x00\x04test".to_vec();
    for text in [user, password] {
        packet.extend([0, text.len() as u8]);
        packet.extend(text.as_bytes());
    }
    let mut stream = TcpStream::connect(address).expect("a broker");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&[&[0x10, packet.len() as u8], &packet[..]].concat()).expect("written");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("a CONNACK");
    assert_eq!(answer[..3], [0x20, 2, 0]);
    answer[3]
}

fn passwd(directory: &Path, options: &[&str], user: &str, password: &str) {
    let arguments = [&["passwd", "--hash", "sha512"], options, &["passwd", user]].concat();
    let mut child = midge(directory, &arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("runs");
    child.stdin.take().expect("piped").write_all(format!("{password}\n").as_bytes()).expect("written");
    assert!(child.wait().expect("a child of ours").success());
}

#[test]
fn check_has_an_exit_code_and_names_every_mistake() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("good.toml"), "log.filter = \"warn\"").unwrap();
    fs::write(directory.path().join("bad.toml"), "[limts]\n[[listener]]\naddress = \"0.0.0.0:1883\"\n").unwrap();
    let good = run(directory.path(), &["check", "-c", "good.toml"]);
    assert_eq!((good.status.code(), said(&good)), (Some(0), String::new()));
    let bad = run(directory.path(), &["check", "-c", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(1));
    let said = said(&bad);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..2],
        ["midge: 2 mistakes in the configuration:", "bad.toml:1: limts: unknown key; did you mean `limits`?"]
    );
    assert!(lines[2].starts_with("bad.toml:3: listener[0].address: 0.0.0.0:1883 can be reached from the network"));
}

#[test]
fn check_names_every_mistake_in_the_files_of_users_and_rights() {
    let directory = tempfile::tempdir().unwrap();
    let files = [("users", "alice\nbob:secret\n"), ("acl", "usr bob\ntopic read a/#/b\n"), ("scram", "carol:x\n")];
    let keys = "access = { password_file = \"users\", acl_file = \"acl\", scram_file = \"scram\" }";
    for (name, content) in files.into_iter().chain([("midge.toml", keys)]) {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let said = said(&run(directory.path(), &["check", "-c", "midge.toml"]));
    let places: Vec<_> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["midge", "users:1", "users:2", "scram:1", "acl:1", "acl:2"], "{said}");
    assert!(said.starts_with("midge: 5 mistakes in the configuration:\n"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_one_reason() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["check", "-c", "none"][..], &["serve", "-c", "none"]] {
        let said = said(&run(directory.path(), arguments));
        assert_eq!(said, "midge: cannot read the configuration file none: No such file or directory (os error 2)\n");
    }
    let said = said(&run(directory.path(), &["passwd", "-D", "none", "alice"]));
    assert_eq!(said, "midge: cannot open none: No such file or directory (os error 2)\n");
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_2_and_a_network_without_passwords_with_1() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(directory.path(), &["--lisen", "127.0.0.1:0"]).status.code(), Some(2));
    let open = run(directory.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(1));
    assert!(said(&open).starts_with("midge: flag --listen: listener[0].address: 0.0.0.0:0 can be reached"));
}

#[test]
fn without_a_subcommand_it_serves_says_how_to_open_it_and_stops_on_either_signal() {
    let directory = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let broker = Broker::start(directory.path(), &["--listen", "127.0.0.1:0"]);
        assert_eq!(connect(broker.address(), "", ""), 0);
        broker.says("only this machine can reach the broker; for the network:");
        broker.signal(signal);
        broker.stops();
    }
}

/// Makes a data directory with sessions that sleep.
fn store_sessions(directory: &Path, count: u64) {
    let session = |owner| {
        Change::PutSession(Box::new(SessionRecord {
            owner: OwnerId(owner),
            client_id: format!("sleeper-{owner}").into(),
            user_name: None,
            listener: "default".into(),
            mount_point: "".into(),
            expiry_interval: 3600,
            disconnected_at: Some(BrokerTime::default()),
            sent_up_to: None,
            will: None,
        }))
    };
    let (journal, _) = Journal::open(directory, &JournalOptions::default()).unwrap();
    journal.append(&(1..=count).map(session).collect::<Vec<_>>(), Durability::Os).unwrap();
    journal.close();
}

#[test]
fn a_start_on_many_sessions_says_how_far_it_is_and_one_on_few_does_not() {
    let directory = tempfile::tempdir().unwrap();
    for (count, expected) in [(1, None), (10_000, Some("restoring 10000 sessions percent=0"))] {
        let data = format!("data-{count}");
        store_sessions(&directory.path().join(&data), count);
        let broker = Broker::start(directory.path(), &["--listen", "127.0.0.1:0", "--data-dir", &data]);
        let (before, _) = broker.says_after("listening");
        let said = before.iter().find(|line| line.contains("restoring"));
        assert!(said.is_some() == expected.is_some(), "{before:?}");
        assert!(said.is_none_or(|said| said.ends_with(expected.unwrap_or_default())), "{said:?}");
        assert!(before.iter().any(|line| line.contains(&format!("sessions={count} "))), "{before:?}");
    }
}

#[test]
fn a_reload_takes_over_users_and_says_what_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = (directory.path(), directory.path().join("midge.toml"));
    passwd(path, &["-c"], "alice", "wonderland");
    let text = "access.password_file = \"passwd\"\nlistener = [{ name = \"a\", address = \"127.0.0.1:0\" }]\n";
    fs::write(&file, text).unwrap();
    let broker = Broker::start(path, &["serve", "-c", "midge.toml"]);
    let address = broker.address();
    assert_eq!((connect(address, "alice", "wonderland"), connect(address, "bob", "builder")), (0, 4));
    passwd(path, &[], "bob", "builder");
    fs::write(&file, format!("worker_threads = 7\ndefaults.maximum_qos = 1\n{text}")).unwrap();
    broker.signal("HUP");
    assert!(broker.says("reloaded").contains("listener.a.maximum_qos"));
    assert!(broker.says("need a restart").contains("worker_threads"));
    assert_eq!((connect(address, "alice", "wonderland"), connect(address, "bob", "builder")), (0, 0));
    broker.signal("TERM");
    broker.stops();
}

#[test]
fn a_reload_changes_what_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = (directory.path(), directory.path().join("midge.toml"));
    let text =
        |filter| format!("log.filter = \"{filter}\"\nlistener = [{{ name = \"a\", address = \"127.0.0.1:0\" }}]\n");
    fs::write(&file, text("info,midge::net=warn")).unwrap();
    let broker = Broker::start(path, &["serve", "-c", "midge.toml"]);
    let address = broker.address();
    assert_eq!(connect(address, "", ""), 0);
    fs::write(&file, text("info")).unwrap();
    broker.signal("HUP");
    let (before, line) = broker.says_after("reloaded");
    assert!(
        line.ends_with("changed=\"log.filter\"") && !before.iter().any(|line| line.contains(" connected")),
        "{line}"
    );
    assert_eq!(connect(address, "", ""), 0);
    broker.says(" connected");
}

/// Two files in which every key that waits for a restart differs, and none that does not.
const BEFORE: &str = "
[[listener]]
name = \"a\"
address = \"127.0.0.1:0\"
[listener.proxy_protocol]
from = [\"10.0.0.1\"]
";
const AFTER: &str = "
worker_threads = 7
[[listener]]
name = \"a\"
address = \"127.0.0.2:0\"
unix_mode = \"0600\"
transport = \"websocket\"
connections_max = 7
connect_rate = 7
connect_timeout = \"7s\"
write_timeout = \"7s\"
backlog = 7
reuse_port = true
ipv6_only = false
no_delay = false
on_queue_full = \"refuse\"
queue_qos0 = true
[listener.proxy_protocol]
versions = [\"v1\"]
from = [\"10.0.0.2\"]
[listener.websocket]
path = \"/other\"
origins = [\"https://app.example.com\"]
subprotocols = [\"mqtt\"]
headers_bytes_max = \"7KiB\"
frame_bytes_max = \"7MiB\"
trusted_proxies = [\"10.0.0.1\"]
[limits]
sessions_max = 7
queue_messages_max = 7
queue_bytes_max = \"7KiB\"
[retained]
messages_max = 7
bytes_max = \"7KiB\"
[shared]
strategy = \"random\"
queue_messages_max = 7
queue_bytes_max = \"7KiB\"
[store]
directory = \"elsewhere\"
memory = true
durability = \"os\"
rules = [{ filter = \"a/#\", durability = \"memory\" }]
bytes_max = \"7MiB\"
free_bytes_min = \"7MiB\"
[sys]
interval = \"7s\"
[admin]
http = \"127.0.0.1:0\"
http_api = false
socket = \"ctl.sock\"
[log]
format = \"json\"
destination = \"midge.log\"
";

#[test]
fn a_reload_names_every_key_that_waits_for_a_restart_and_does_nothing_about_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = (directory.path(), directory.path().join("midge.toml"));
    fs::write(&file, BEFORE).unwrap();
    let broker = Broker::start(path, &["serve", "-c", "midge.toml"]);
    broker.says("only this machine");
    fs::write(&file, AFTER).unwrap();
    broker.signal("HUP");
    assert!(broker.says("reloaded").ends_with("changed=\"\""));
    // Still as text, and still on standard error.
    let line = broker.says("changed keys that need a restart still hold as before");
    let (_, keys) = line.rsplit_once("keys=").expect("the keys");
    let mut named: Vec<_> = keys.trim_matches('"').split(", ").map(|key| key.replace(".a.", ".")).collect();
    named.sort_unstable();
    let live = midge::config::live_keys();
    // What listeners start from holds where it is not written in one; a listener is known by its name.
    let is_own = |key: &str| !["defaults.", "access."].iter().any(|of| key.starts_with(of)) && key != "listener.name";
    let mut waiting: Vec<_> = midge::config::all_keys();
    waiting.retain(|key| is_own(key) && !live.contains(key));
    // A list of rules changes as a whole.
    waiting.iter_mut().filter(|key| key.starts_with("store.rules.")).for_each(|key| *key = "store.rules".into());
    waiting.sort_unstable();
    waiting.dedup();
    assert_eq!(named, waiting);
    for made in ["ctl.sock", "midge.log", "elsewhere"] {
        assert!(!path.join(made).exists(), "{made}");
    }
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (log, old) = (path.join("midge.log"), path.join("midge.log.1"));
    let text = "log.destination = \"midge.log\"\nlistener = [{ address = \"127.0.0.1:0\" }]\n";
    fs::write(path.join("midge.toml"), text).unwrap();
    let mut broker = Broker::start(path, &["serve", "-c", "midge.toml"]);
    wait_for(&log, "only this machine");
    fs::rename(&log, &old).unwrap();
    broker.signal("HUP");
    wait_for(&log, "reloaded");
    broker.signal("TERM");
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    assert!(!fs::read_to_string(&old).unwrap().contains("reloaded"));
    assert!(fs::read_to_string(&log).unwrap().contains("midge stops"));
}

fn wait_for(file: &Path, text: &str) {
    let until = std::time::Instant::now() + PATIENCE;
    while !fs::read_to_string(file).is_ok_and(|content| content.contains(text)) {
        assert!(std::time::Instant::now() < until, "{text:?} is not in {}", file.display());
        thread::yield_now();
    }
}

fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).expect("files").map(|entry| entry.expect("an entry").path());
    files.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

/// Changes a byte of the checkpoint of a store that has just been made.
fn spoil(data: &Path, at: impl Fn(usize) -> usize) {
    let is_checkpoint = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("checkpoint");
    let files = content(data);
    let path = files.keys().find(is_checkpoint).expect("a checkpoint");
    let mut bytes = files[path].clone();
    let at = at(bytes.len());
    bytes[at] ^= 0x60;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_data_directory_that_cannot_be_used_has_an_exit_code_of_its_own_and_stays_as_it_is() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let serve = ["--listen", "127.0.0.1:0", "--data-dir", "data"];
    let data = home.path().join("data");
    // It is killed when it is there.
    let make = || Broker::start(home.path(), &serve).address();
    let refused = |commands: &[&[&str]], code: i32, why: &str| {
        let before = content(&data);
        for command in commands {
            let output = run(home.path(), command);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
            assert!(said(&output).contains(why), "{command:?}: {}", said(&output));
            assert_eq!(content(&data), before, "{command:?} has changed something");
        }
        fs::remove_dir_all(&data).expect("ours");
    };
    let check: &[&str] = &["store", "check", "--data-dir", "data"];

    make();
    spoil(&data, |_| 8);
    refused(&[&serve, check], 13, "data/checkpoint-0000000000000001 has format 98, and this program reads 1 to 2");
    make();
    spoil(&data, |length| length - 1);
    refused(&[&serve, check], 11, "`midge store repair --data-dir data` goes on without it");
    fs::create_dir(&data).expect("made");
    fs::write(data.join("notes.txt"), "not a broker's").expect("written");
    refused(&[&serve, check], 12, "data is not a data directory of midge: notes.txt is in it");
    let broker = Broker::start(home.path(), &serve);
    broker.address();
    refused(&[&serve, check], 10, "data is in use by another broker");
}
