//! The broker that the clients talk to: the `midge` program with a listener for each transport, or mosquitto.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use std::{env, fs};

use crate::certificates::Certificates;
use crate::program::Program;

/// How a client reaches the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
}

/// A running broker.
pub struct Broker {
    addresses: HashMap<Transport, SocketAddr>,
    certificates: Certificates,
    _directory: tempfile::TempDir,
    /// Ends with this process; nobody reads its log.
    _program: Mutex<Program>,
}

impl Broker {
    /// The broker that all tests of this process share.
    pub fn shared() -> &'static Broker {
        static BROKER: OnceLock<Broker> = OnceLock::new();
        BROKER.get_or_init(Broker::start)
    }

    fn start() -> Broker {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificates = Certificates::make(directory.path());
        let (addresses, program) = match env::var("MIDGE_TEST_TARGET") {
            Ok(target) if target == "mosquitto" => mosquitto(directory.path(), &certificates),
            _ => midge(directory.path(), &certificates),
        };
        Broker { addresses, certificates, _directory: directory, _program: Mutex::new(program) }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        *self.addresses.get(&transport).unwrap_or_else(|| panic!("the broker under test has no {transport:?} listener"))
    }

    /// The file with the CA that signed the broker's certificate.
    pub fn ca(&self) -> &Path {
        &self.certificates.ca
    }
}

/// A name that no other test uses: for client identifiers and the first level of topics.
pub fn unique(label: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let process = PROCESS.get_or_init(rand::random);
    format!("{label}{process:08x}{:x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

const LISTENERS: [(Transport, &str); 4] = [
    (Transport::Tcp, "tcp"),
    (Transport::Tls, "tls"),
    (Transport::WebSocket, "ws"),
    (Transport::SecureWebSocket, "wss"),
];

fn midge(directory: &Path, certificates: &Certificates) -> (HashMap<Transport, SocketAddr>, Program) {
    let mut text = String::from("log.format = \"json\"\nstore.directory = \"data\"\n");
    for (transport, name) in LISTENERS {
        text += &format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n");
        if matches!(transport, Transport::WebSocket | Transport::SecureWebSocket) {
            text += "transport = \"websocket\"\n";
        }
        if matches!(transport, Transport::Tls | Transport::SecureWebSocket) {
            text +=
                &format!("tls.certificates = [{{ chain = {:?}, key = {:?} }}]\n", certificates.chain, certificates.key);
        }
    }
    let config = directory.join("midge.toml");
    fs::write(&config, text).expect("the run's directory");
    let program: [OsString; 4] = [env!("CARGO_BIN_EXE_midge").into(), "serve".into(), "-c".into(), config.into()];
    let mut program = Program::kept(&program);
    let addresses = LISTENERS.map(|(transport, name)| {
        let address = program.expect(&format!("that {name} is listening"), |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            (event["message"] == "listening" && event["listener"] == name).then(|| event["address"].clone())
        });
        let address = address.as_str().and_then(|address| address.parse().ok());
        (transport, address.expect("the address of a listener"))
    });
    (addresses.into(), program)
}

/// Debian's mosquitto has no WebSocket listener, and takes a fixed port: one that is free now. Started by root it stays
/// root: its own user could not read the key.
fn mosquitto(directory: &Path, certificates: &Certificates) -> (HashMap<Transport, SocketAddr>, Program) {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let (tcp, tls) = (free(), free());
    let text = format!(
        "user root\nallow_anonymous true\nmax_queued_messages 1000000\n\
         listener {} 127.0.0.1\nlistener {} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
        tcp.port(),
        tls.port(),
        certificates.chain.display(),
        certificates.key.display()
    );
    let config = directory.join("mosquitto.conf");
    fs::write(&config, text).expect("the run's directory");
    let program: [OsString; 3] = ["mosquitto".into(), "-c".into(), config.into()];
    let mut program = Program::kept(&program);
    program.expect("that it is running", |line| line.contains("running").then_some(()));
    assert!(TcpStream::connect_timeout(&tcp, Duration::from_secs(1)).is_ok(), "mosquitto does not listen");
    ([(Transport::Tcp, tcp), (Transport::Tls, tls)].into(), program)
}
