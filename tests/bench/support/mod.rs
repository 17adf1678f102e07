//! A broker with listeners of all kinds, and the command that is tested.

mod tampering;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use midge::broker::Broker;
use midge::config::Config;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub use tampering::{Tamper, tampering};

/// Ours, in this process, in memory.
pub struct TestBroker {
    runtime: Runtime,
    broker: Option<Broker>,
    directory: TempDir,
}

const CONFIG: &str = "
[[listener]]
name = \"tcp\"
address = \"127.0.0.1:0\"
[[listener]]
name = \"ws\"
address = \"127.0.0.1:0\"
transport = \"websocket\"
";

/// For a broker with certificates beside it.
const TLS_CONFIG: &str = "
[[listener]]
name = \"tls\"
address = \"127.0.0.1:0\"
[listener.tls]
certificates = [{ chain = \"certs/server.pem\", key = \"certs/server.key\" }]
client_auth = \"optional\"
client_ca = \"certs/ca.pem\"
[[listener]]
name = \"wss\"
address = \"127.0.0.1:0\"
transport = \"websocket\"
[listener.tls]
certificates = [{ chain = \"certs/server.pem\", key = \"certs/server.key\" }]
";

impl TestBroker {
    /// Listeners for TCP and WebSocket.
    pub fn start() -> TestBroker {
        Self::with(CONFIG, tempfile::tempdir().unwrap())
    }

    /// The same with TLS.
    pub fn start_with_tls() -> TestBroker {
        let directory = tempfile::tempdir().unwrap();
        let made = midge(directory.path(), &["certs", "certs"]).stdout(Stdio::null()).status().unwrap();
        assert!(made.success());
        Self::with(TLS_CONFIG, directory)
    }

    /// With what is asked for before the listeners of [`TestBroker::start`]; relative paths are in its directory.
    pub fn start_with(keys: &str, directory: TempDir) -> TestBroker {
        Self::with(&format!("{keys}{CONFIG}"), directory)
    }

    fn with(text: &str, directory: TempDir) -> TestBroker {
        Self::with_config(text, directory, |config| config.store.memory = true)
    }

    fn with_config(text: &str, directory: TempDir, adapt: impl Fn(&mut Config)) -> TestBroker {
        let file = directory.path().join("midge.toml");
        let mut config = Config::parse(file.to_str().unwrap(), text).unwrap_or_else(|error| panic!("{error}"));
        adapt(&mut config);
        let runtime = Runtime::new().unwrap();
        let broker = runtime.block_on(Broker::start(&config)).unwrap_or_else(|error| panic!("{error}"));
        TestBroker { runtime, broker: Some(broker), directory }
    }

    /// With its store on disk, and figures for [`TestBroker::figure`].
    pub fn start_on_disk() -> TestBroker {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let keys = format!("admin.http = \"127.0.0.1:0\"\nsys.interval = 0\n[store]\ndirectory = {store:?}\n");
        Self::with_config(&format!("{keys}{CONFIG}"), directory, |_| {})
    }

    /// One of those that Prometheus gets.
    pub fn figure(&self, name: &str) -> u64 {
        let mut http = TcpStream::connect(self.broker.as_ref().unwrap().admin_address().unwrap()).unwrap();
        http.write_all(b"GET /metrics HTTP/1.1\r\nHost: midge\r\nConnection: close\r\n\r\n").unwrap();
        let mut metrics = String::new();
        http.read_to_string(&mut metrics).unwrap();
        let figure = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        figure.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Of the listeners, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.broker.as_ref().unwrap().local_addresses().to_vec()
    }

    /// Runs `midge bench` at the first listener; `line` is split at blanks.
    pub fn bench(&self, line: &str) -> Outcome {
        self.bench_at(self.addresses()[0], line)
    }

    pub fn bench_at(&self, address: SocketAddr, line: &str) -> Outcome {
        bench(self.directory(), &format!("{line} --port {}", address.port()))
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}

pub fn midge(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIDGE_")) {
        command.env_remove(name);
    }
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    /// What was printed; `Null` when it is no JSON.
    pub json: Value,
    pub errors: String,
}

/// Runs `midge bench` with JSON as the answer.
pub fn bench(directory: &Path, line: &str) -> Outcome {
    let arguments: Vec<_> = ["bench"].into_iter().chain(line.split_whitespace()).chain(["--json", "--quiet"]).collect();
    let output = midge(directory, &arguments).output().unwrap();
    Outcome {
        code: output.status.code(),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Outcome {
    pub fn metric(&self, name: &str) -> f64 {
        self.json["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    pub fn count(&self, name: &str) -> u64 {
        self.json["metrics"][name].as_u64().unwrap_or_else(|| panic!("no count {name}: {self:?}"))
    }

    /// Everything has come, once, and as often as it should.
    pub fn is_whole(&self, sent: u64, expected: u64) {
        assert_eq!((self.code, self.json["status"].as_str(), &*self.errors), (Some(0), Some("ok"), ""), "{self:?}");
        let counts = ["sent", "expected", "received", "lost", "duplicates"].map(|name| self.count(name));
        assert_eq!(counts, [sent, expected, expected, 0, 0], "{self:?}");
        assert!(!self.json["notes"].to_string().contains("could not"), "{self:?}");
    }

    pub fn ended(&self, code: i32, status: &str) {
        assert_eq!((self.code, self.json["status"].as_str()), (Some(code), Some(status)), "{self:?}");
        let detail = self.json["detail"].as_str().unwrap_or_default();
        assert_eq!(self.errors, format!("midge: {status}: {detail}\n"));
    }

    pub fn says(&self, what: &str) {
        assert!(self.json["detail"].as_str().is_some_and(|detail| detail.contains(what)), "{self:?}");
    }
}

/// Whether a test may make a network, in which another congestion control holds.
pub fn may_make_network() -> bool {
    let choose = "ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control";
    let output = Command::new("unshare").args(["--net", "sh", "-c", choose]).output();
    output.is_ok_and(|output| output.status.success())
}
