//! Runs the blocks of one section, one after the other, as a reader would: in a directory with what a clone has, with
//! `midge` on the PATH, and with the broker of "In two commands" running.
//!
//! Sections run beside each other and beside other brokers, so ports are the one thing that is not as printed: every
//! number of [`PORTS`] in a block is replaced by a free port, the default broker hears of its port by a `MIDGE_…`
//! variable, mosquitto's clients by their file of default options, and a `cargo` of ours stands for `cargo run`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use tempfile::TempDir;

use crate::document::{Block, Kind, Section};

/// Every port that the README names.
const PORTS: [&str; 6] = ["1883", "1884", "1885", "8083", "8883", "8888"];
/// The one that clients take when they are told none.
const DEFAULT_PORT: &str = "1883";
/// How long a block may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a section; the error says which block failed, and how.
pub fn run(section: &Section) -> Result<(), String> {
    // A port that was free a moment ago may be taken by then.
    let is_taken = |error: &String| error.contains("Address already in use");
    run_once(section).or_else(|error| if is_taken(&error) { run_once(section) } else { Err(error) })
}

fn run_once(section: &Section) -> Result<(), String> {
    Tour::new().section(section)
}

/// Runs sections one after the other in the same directory, with what those before have left there.
pub fn run_through(sections: &[Section]) -> Result<(), String> {
    let is_taken = |error: &String| error.contains("Address already in use");
    let run = || {
        let mut tour = Tour::new();
        sections.iter().try_for_each(|section| tour.section(section))
    };
    run().or_else(|error| if is_taken(&error) { run() } else { Err(error) })
}

/// Whether a broker takes the default port.
fn is_default(command: &str) -> bool {
    ["midge", "cargo run --release"].contains(&command.trim())
}

struct Tour {
    directory: TempDir,
    ports: HashMap<&'static str, u16>,
    /// Of this section.
    brokers: Vec<Broker>,
    /// How many brokers there have been.
    started: u32,
    /// Of the block before.
    output: String,
}

struct Broker {
    child: Child,
    log: PathBuf,
}

/// A port that stays free until a broker takes it: below those that the kernel gives to outgoing connections and to
/// tests that listen on port 0, and no other tour of this process has it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    let start = process::id().wrapping_mul(97);
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Tour {
    fn new() -> Tour {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let ports = PORTS.map(|port| (port, free_port())).into();
        let tour = Tour { directory, ports, brokers: Vec::new(), started: 0, output: String::new() };
        tour.lay_out_clone();
        tour.lay_out_home();
        tour
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the commands use of a clone.
    fn lay_out_clone(&self) {
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), self.path("config")).expect("a link");
        fs::create_dir(self.path("certs")).expect("a directory");
    }

    fn lay_out_home(&self) {
        let (bin, config) = (self.path("home/bin"), self.path("home/.config"));
        fs::create_dir_all(&bin).expect("a directory");
        fs::create_dir_all(&config).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_midge"), bin.join("midge")).expect("a link");
        fs::write(bin.join("cargo"), CARGO).expect("a file");
        fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("a file of ours");
        for client in ["mosquitto_sub", "mosquitto_pub", "mosquitto_rr"] {
            fs::write(config.join(client), format!("-p {}\n", self.ports[DEFAULT_PORT])).expect("a file");
        }
    }

    /// All blocks of a section; its brokers end with it.
    fn section(&mut self, section: &Section) -> Result<(), String> {
        self.brokers.clear();
        if !section.blocks.iter().any(|block| block.kind == Kind::Broker && is_default(&block.text)) {
            self.start("midge").map_err(|error| format!("the default broker: {error}"))?;
        }
        for block in &section.blocks {
            self.block(block).map_err(|error| format!("README.md:{}: {error}\n{}", block.line, self.logs()))?;
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        let text = self.with_free_ports(&block.text);
        match &block.kind {
            Kind::Commands => self.run("bash", &format!("set -euo pipefail\n{text}")),
            Kind::Program { interpreter } => self.run(interpreter, &text),
            Kind::Broker => self.start(&text),
            Kind::Output => expect(&text, &self.output),
            Kind::File(name) => self.file(name, &text),
            Kind::Elsewhere => Ok(()),
        }
    }

    fn with_free_ports(&self, text: &str) -> String {
        let mut replaced = String::new();
        for piece in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
            let number = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
            match self.ports.get(number) {
                Some(port) => replaced += &format!("{port}{}", &piece[number.len()..]),
                None => replaced += piece,
            }
        }
        replaced
    }

    fn file(&mut self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.path(name), text).map_err(|error| error.to_string())?;
        if name.ends_with(".toml") { self.run("bash", &format!("midge check -c {name}")) } else { Ok(()) }
    }

    /// A program in the directory of the tour, in a process group of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
        let path = env::var("PATH").expect("a PATH");
        let path = format!("{}:{}:{path}", self.path("home/bin").display(), tools.join("venv/bin").display());
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIDGE_")) {
            command.env_remove(name);
        }
        command
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("NODE_PATH", tools.join("node/node_modules"))
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("home/.config"))
            .env("EXAMPLES", examples())
            .env("DEFAULT_PORT", self.ports[DEFAULT_PORT].to_string())
            .process_group(0);
        command
    }

    /// Runs a program that reads its text from a file; what it prints is kept.
    fn run(&mut self, interpreter: &str, text: &str) -> Result<(), String> {
        let (script, printed) = (self.path("home/script"), self.path("home/printed"));
        fs::write(&script, text).map_err(|error| error.to_string())?;
        let out = File::create(&printed).map_err(|error| error.to_string())?;
        let errors = out.try_clone().map_err(|error| error.to_string())?;
        let child = self.command(interpreter).arg(&script).stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let child = child.map_err(|error| format!("{interpreter}: {error}"))?;
        let success = ends_well(child);
        self.output = fs::read_to_string(&printed).unwrap_or_default();
        match success {
            Some(true) => Ok(()),
            Some(false) => Err(format!("failed, and printed:\n{}", self.output)),
            None => Err(format!("does not end, and printed:\n{}", self.output)),
        }
    }

    /// Starts a broker and waits until it tells its service manager, which this test plays, that it is ready.
    fn start(&mut self, command: &str) -> Result<(), String> {
        self.started += 1;
        let number = self.started;
        let (ready, log) = (self.path(&format!("home/{number}.ready")), self.path(&format!("home/{number}.log")));
        let socket = UnixDatagram::bind(&ready).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).map_err(|error| error.to_string())?;
        let out = File::create(&log).map_err(|error| error.to_string())?;
        let mut broker = self.command("bash");
        broker.args(["-c", &format!("exec {}", command.trim())]).env("NOTIFY_SOCKET", &ready);
        if is_default(command) {
            broker.env("MIDGE_LISTENER__0__ADDRESS", format!("127.0.0.1:{}", self.ports[DEFAULT_PORT]));
        }
        let child = broker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).spawn();
        let mut broker = Broker { child: child.map_err(|error| error.to_string())?, log };
        let is_ready = broker.is_ready(&socket);
        self.brokers.push(broker);
        is_ready
    }

    /// What the brokers said, for the message of a failure.
    fn logs(&self) -> String {
        self.brokers.iter().map(|broker| fs::read_to_string(&broker.log).unwrap_or_default()).collect()
    }
}

impl Broker {
    fn is_ready(&mut self, socket: &UnixDatagram) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let mut message = [0; 256];
        while Instant::now() < until {
            match socket.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"READY=1") => return Ok(()),
                Ok(_) => {}
                // A wait with a time limit is not taken up again by itself after a signal, such as that a child has ended.
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                    if let Ok(Some(status)) = self.child.try_wait() {
                        return Err(format!("the broker ended with {status}"));
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the broker does not start".into())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        signal_group("TERM", self.child.id());
        let _ = self.child.wait();
    }
}

/// Waits for a program; `None` when it took too long. Whatever it left in the background goes with it.
fn ends_well(mut child: Child) -> Option<bool> {
    let group = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || sender.send(child.wait().is_ok_and(|status| status.success())));
    let success = receiver.recv_timeout(PATIENCE).ok();
    signal_group("KILL", group);
    let _ = waiter.join();
    success
}

/// A group of ours, none of which is left when the signal fails. Without a program to send it, the wait that follows would
/// not end.
fn signal_group(signal: &str, group: u32) {
    let sent = Command::new("kill").args(["-s", signal, "--", &format!("-{group}")]).stderr(Stdio::null()).status();
    sent.expect("a kill program");
}

/// Every line that is expected comes, in this order.
fn expect(expected: &str, output: &str) -> Result<(), String> {
    let mut lines = output.lines();
    for line in expected.lines() {
        if !lines.any(|found| is_like(line, found)) {
            return Err(format!("{line:?} is not in the output, or not in its place:\n{output}"));
        }
    }
    Ok(())
}

/// `…` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut ends_open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        ends_open = piece.is_empty();
    }
    rest.is_empty() || ends_open
}

/// Beside this test: target/<profile>/deps/readme-… and target/<profile>/examples.
fn examples() -> PathBuf {
    let test = env::current_exe().expect("this test");
    test.parent().and_then(Path::parent).expect("a directory of the profile").join("examples")
}

/// What `cargo run` would build is there already.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
    "run --release") exec midge ;;
    "run --example embedded_broker") exec "$EXAMPLES/embedded_broker" ;;
    "run --example "*) shift 2; name=$1; shift; [ "${1-}" != -- ] || shift; exec "$EXAMPLES/$name" --port "$DEFAULT_PORT" "$@" ;;
esac
echo "cargo $*: nothing here stands for that" >&2
exit 1
"#;

#[test]
fn expected_output_may_leave_something_open() {
    assert!(is_like("a … b", "a 17 b") && is_like("a …", "a 17") && is_like("ab", "ab"));
    assert!(!is_like("a … b", "a 17 c") && !is_like("ab", "abc") && !is_like("… b", "b"));
    assert!(expect("one\nthree\n", "one\ntwo\nthree\n").is_ok());
    assert!(expect("three\none\n", "one\ntwo\nthree\n").is_err());
}
