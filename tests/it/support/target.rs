//! The broker under test: Midge unless `MIDGE_TEST_TARGET` names another one.
//!
//! `MIDGE_TEST_TARGET=mosquitto` starts a mosquitto of our own; `MIDGE_TEST_TARGET=host:port` takes a broker that runs
//! already, and `MIDGE_TEST_GUARDED=host:port` its listener that asks for the credentials of `guarded.passwd` and keeps to
//! `guarded.acl`. `MIDGE_TEST_DIFFERENCES=file` names the table of cases in which that broker is known to differ.

use std::backtrace::Backtrace;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs};

use midge::broker::Broker;
use midge::config::Config;

use super::difference::Differences;
use super::process::Process;

/// A broker that takes connections, and what is known about it.
pub struct Target {
    pub address: SocketAddr,
    /// The listener that asks for credentials.
    pub guarded: Option<SocketAddr>,
    pub differences: Differences,
    /// Keeps a broker of our own alive; `None` for one that ran before.
    _process: Option<Process>,
}

/// The broker that this test run is about; started at the first use.
pub fn under_test() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| match env::var("MIDGE_TEST_TARGET") {
        Err(_) => midge(),
        Ok(name) if name == "mosquitto" => mosquitto(),
        Ok(address) => external(&address),
    })
}

/// A file of this directory.
fn support(name: &str) -> String {
    format!("{}/tests/it/support/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Where Midge keeps its state, as it does by default; that of earlier runs is removed.
fn data_directory() -> PathBuf {
    let runs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
    let own = runs.join(std::process::id().to_string());
    for earlier in fs::read_dir(&runs).into_iter().flatten().flatten() {
        // Another run may still be there, or gone by now.
        let _ = fs::remove_dir_all(earlier.path());
    }
    own
}

/// Midge with its defaults on ports of the kernel's choice, in a runtime of its own.
fn midge() -> Target {
    let text = format!(
        "store.directory = {:?}\n[[listener]]\nname = \"open\"\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"guarded\"\naddress = \"127.0.0.1:0\"\n\
         access.password_file = {:?}\naccess.acl_file = {:?}\n",
        data_directory(),
        support("guarded.passwd"),
        support("guarded.acl")
    );
    let config = Config::parse("midge.toml", &text).expect("a configuration");
    let (started, addresses) = mpsc::channel();
    abort_on_panic_of(MIDGE);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name(MIDGE).enable_all().build();
    let runtime = runtime.expect("a runtime");
    std::thread::spawn(move || {
        runtime.block_on(async {
            let broker = Broker::start(&config).await.expect("Midge starts");
            started.send(broker.local_addresses().to_vec()).expect("somebody waits");
            // It serves until this process ends.
            std::future::pending::<()>().await;
        });
    });
    let addresses = addresses.recv().expect("Midge starts");
    Target { address: addresses[0], guarded: Some(addresses[1]), differences: Differences::default(), _process: None }
}

/// The name of the threads that Midge runs on.
const MIDGE: &str = "midge under test";

/// A panic in the broker would look like a connection that it closed, which many cases ask for: it ends the run instead.
fn abort_on_panic_of(threads: &'static str) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some(threads) {
            // Past libtest, which would keep the message for a test that is never over.
            let _ = writeln!(std::io::stderr(), "the broker panicked: {panic}\n{}", Backtrace::force_capture());
            std::process::abort();
        }
        report(panic);
    }));
}

fn external(address: &str) -> Target {
    let guarded = env::var("MIDGE_TEST_GUARDED").ok().map(|address| resolve(&address));
    let differences = env::var_os("MIDGE_TEST_DIFFERENCES").map(PathBuf::from);
    let differences = differences.map_or_else(Differences::default, |path| Differences::read(&path));
    Target { address: resolve(address), guarded, differences, _process: None }
}

fn resolve(address: &str) -> SocketAddr {
    let resolved = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.unwrap_or_else(|| panic!("{address}: host:port of a broker was expected"))
}

fn mosquitto() -> Target {
    let (process, address, guarded) = start_mosquitto();
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mosquitto.md");
    Target { address, guarded: Some(guarded), differences: Differences::read(&table), _process: Some(process) }
}

/// A mosquitto that permits everything at one listener and asks at another; the ports are free at the time of choosing, and
/// others are tried when they are taken by then. Started by root it stays root: its own user could not read the files of a
/// clone in root's home.
fn start_mosquitto() -> (Process, SocketAddr, SocketAddr) {
    for _ in 0..10 {
        let sockets = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [address, guarded] = sockets.each_ref().map(|socket| socket.local_addr().expect("a bound socket"));
        drop(sockets);
        let config = env::temp_dir().join(format!("midge-it-mosquitto-{}.conf", address.port()));
        let text = format!(
            "user root\nper_listener_settings true\nmax_packet_size 2000000\nmax_queued_messages 1000000\n\
             set_tcp_nodelay true\nlog_type none\npersistence false\nlistener {} 127.0.0.1\nallow_anonymous true\n\
             listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\nacl_file {}\n",
            address.port(),
            guarded.port(),
            support("guarded.passwd"),
            support("guarded.acl")
        );
        fs::write(&config, text).expect("a temporary file");
        let program = ["mosquitto".as_ref(), "-c".as_ref(), config.as_os_str()];
        let process = serves(Process::start(&program, Stdio::null(), Stdio::null()), address);
        let _ = fs::remove_file(&config);
        if let Some(process) = process {
            return (process, address, guarded);
        }
    }
    panic!("mosquitto does not start: is it installed? ./test installs it");
}

/// Waits until the broker takes connections; `None` when it has ended instead.
fn serves(mut process: Process, address: SocketAddr) -> Option<Process> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until && process.child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Some(process);
        }
        std::thread::yield_now();
    }
    None
}
