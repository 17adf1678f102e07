//! The `midge` program with the shim in front of its C library, on a data directory that outlives it.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use midge::packet::{Connect, ProtocolVersion};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::program::Program;

/// The library is built once for all tests of this process.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, unfinished) =
            (directory.join("faults.so"), directory.join(format!("faults-{}.so", std::process::id())));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.rs");
        let words = ["--edition=2024", "--crate-type=cdylib", "--crate-name=faults", "-O", source, "-o"];
        let built = Command::new("rustc").args(words).arg(&unfinished).status();
        assert!(built.is_ok_and(|status| status.success()), "rustc does not build {source}");
        fs::rename(unfinished, &library).expect("the directory of the tests");
        library
    })
}

/// A data directory, the configuration of the brokers that run on it, and the faults that they are told.
pub struct Site(TempDir);

impl Site {
    pub fn new(settings: &str) -> Site {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = format!(
            "log.format = \"json\"\nstore.directory = \"data\"\nadmin.http = \"127.0.0.1:0\"\n{settings}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n"
        );
        fs::write(directory.path().join("midge.toml"), text).expect("a temporary file");
        fs::create_dir(directory.path().join("faults")).expect("a directory");
        Site(directory)
    }

    /// From now on, in the brokers that run and in those to come.
    pub fn begin(&self, fault: &str) {
        fs::write(self.0.path().join("faults").join(fault), "").expect("a temporary file");
    }

    pub fn end(&self, fault: &str) {
        fs::remove_file(self.0.path().join("faults").join(fault)).expect("a fault that has begun");
    }

    pub fn start(&self) -> Broker {
        let variable = |name: &str, value: &Path| OsString::from(format!("{name}={}", value.display()));
        let mut program = Program::kept(&[
            "env".into(),
            variable("LD_PRELOAD", shim()),
            variable("MIDGE_FAULTS", &self.0.path().join("faults")),
            env!("CARGO_BIN_EXE_midge").into(),
            "serve".into(),
            "-c".into(),
            self.0.path().join("midge.toml").into(),
        ]);
        let (admin, _) = address(&mut program, "HTTP for operators");
        let (mqtt, year) = address(&mut program, "listening");
        Broker { program, mqtt, admin, year }
    }
}

/// A running broker; the end of it is SIGTERM.
pub struct Broker {
    program: Program,
    mqtt: SocketAddr,
    pub admin: SocketAddr,
    /// What its wall clock showed when it began to serve.
    pub year: u32,
}

impl Broker {
    pub async fn dial(&self, version: ProtocolVersion) -> Client {
        Client::dial(self.mqtt, version).await
    }

    /// A client that has been let in; whether its session was there.
    pub async fn join(&self, connect: Connect<'_>) -> (Client, bool) {
        let mut client = self.dial(connect.version).await;
        let connack = client.connect(connect).await;
        assert!(connack.is_success(), "{connack}");
        let session_present = connack.connack().session_present;
        (client, session_present)
    }

    /// What its wall clock showed when this client connected.
    pub fn year_of(&mut self, client_id: &str) -> u32 {
        let line = said(&mut self.program, "connected", |event| event["client_id"] == client_id);
        year(&line)
    }
}

fn said(program: &mut Program, message: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    program.expect(message, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["message"] == message && is_it(&event)).then_some(event)
    })
}

fn address(program: &mut Program, message: &str) -> (SocketAddr, u32) {
    let event = said(program, message, |_| true);
    let address = event["address"].as_str().and_then(|address| address.parse().ok());
    (address.expect("an address"), year(&event))
}

fn year(event: &Value) -> u32 {
    let year = event["timestamp"].as_str().and_then(|time| time.split('-').next()?.parse().ok());
    year.unwrap_or_else(|| panic!("{event} has no year"))
}
