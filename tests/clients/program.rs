//! Running programs whose output is events: lines on standard output, JSON objects where the program is ours.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;

/// How long something that must happen may take; programs start slowly on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program, and the lines it has written that nobody has asked for yet.
pub struct Program {
    name: String,
    running: Running,
    lines: Receiver<String>,
    early: VecDeque<String>,
    /// Everything it wrote, for the message of a failed expectation.
    log: Vec<String>,
}

enum Running {
    /// Its standard input is ours to write.
    Scripted(Child, Option<ChildStdin>),
    /// It reads nothing.
    Kept { _process: Process },
}

impl Program {
    /// Starts a program that takes commands on its standard input and ends with it.
    pub fn scripted(command: &mut Command) -> Self {
        let name = format!("{:?}", command.get_program());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): ./test installs what the tests need"));
        let stdin = child.stdin.take();
        let lines = lines_of(&mut child);
        Self { name, running: Running::Scripted(child, stdin), lines, early: VecDeque::new(), log: Vec::new() }
    }

    /// Starts a program that runs until it is told to stop.
    pub fn kept(program: &[OsString]) -> Self {
        let name = format!("{:?}", program[0]);
        let mut process = Process::start(program, Stdio::piped(), Stdio::piped());
        let lines = lines_of(&mut process.child);
        Self { name, running: Running::Kept { _process: process }, lines, early: VecDeque::new(), log: Vec::new() }
    }

    /// Writes one command.
    pub fn tell(&mut self, command: &Value) {
        let Running::Scripted(_, Some(stdin)) = &mut self.running else { panic!("{} takes no commands", self.name) };
        writeln!(stdin, "{command}").unwrap_or_else(|error| panic!("{} is gone ({error}): {:?}", self.name, self.log));
    }

    /// The first line that `find` recognizes; the others stay for later expectations.
    pub fn expect<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        if let Some((index, found)) = self.early.iter().enumerate().find_map(|(i, line)| Some((i, find(line)?))) {
            self.early.remove(index);
            return found;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| {
                let tail = &self.log[self.log.len().saturating_sub(40)..];
                panic!("{} was expected to say {what}; it said\n{}", self.name, tail.join("\n"))
            });
            self.log.push(line.clone());
            match find(&line) {
                Some(found) => return found,
                None => self.early.push_back(line),
            }
        }
    }

    /// The next JSON object whose `event` is this one.
    pub fn event(&mut self, event: &str) -> Value {
        self.expect(&format!("{{\"event\":\"{event}\", …}}"), |line| {
            let object: Value = serde_json::from_str(line).ok()?;
            (object["event"] == event).then_some(object)
        })
    }

    /// Ends it without giving it a chance to say goodbye.
    pub fn kill(&mut self) {
        let Running::Scripted(child, _) = &mut self.running else { panic!("{} is behind a shell", self.name) };
        child.kill().expect("a child of ours");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Running::Scripted(child, stdin) = &mut self.running {
            // The script ends with its commands.
            stdin.take();
            let _ = child.wait();
        }
    }
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    forward(child.stdout.take().expect("piped"), sender.clone());
    forward(child.stderr.take().expect("piped"), sender);
    receiver
}

fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// A file that `./test` has installed.
pub fn tool(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(path)
}

/// Bytes in the hexadecimal digits of the events.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub fn unhex(digits: &str) -> Vec<u8> {
    let digit =
        |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("{digits} is no hex"));
    (0..digits.len()).step_by(2).map(digit).collect()
}
