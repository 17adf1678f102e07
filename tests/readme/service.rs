//! config/midge.service starts the broker as README.md installs it, and what it expects of a service comes.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::document;

/// Nothing here takes a fraction of this, on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = "/etc/midge/midge.toml";
const PROGRAM: &str = "/usr/local/bin/midge";

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/midge.service")).expect("the unit")
}

fn setting(unit: &str, name: &str) -> String {
    let value = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the unit has no {name}")).to_owned()
}

/// The broker that the unit starts, and what it tells systemd.
struct Service {
    child: Child,
    socket: UnixDatagram,
}

impl Service {
    fn start(directory: &Path, config: &Path) -> Service {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let command = setting(&unit(), "ExecStart").replace(CONFIG, config.to_str().expect("a path in UTF-8"));
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some(PROGRAM));
        let child = Command::new(env!("CARGO_BIN_EXE_midge"))
            .args(words)
            .env("NOTIFY_SOCKET", &path)
            .env("MIDGE_LISTENER__0__ADDRESS", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("midge");
        Service { child, socket }
    }

    fn says(&self, state: &str) -> io::Result<()> {
        let mut message = [0; 256];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) if message[..length].starts_with(state.as_bytes()) => return Ok(()),
                // A wait with a time limit is not taken up again by itself after a signal, such as that a child has ended.
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_unit_s_service_says_when_it_is_ready_reloads_and_stops() {
    assert_eq!(setting(&unit(), "Type"), "notify");
    let directory = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/midge.toml");
    let mut service = Service::start(directory.path(), &config);
    service.says("READY=1").unwrap();

    let reload = setting(&unit(), "ExecReload");
    let signal = reload.strip_prefix("/bin/kill ").and_then(|rest| rest.strip_suffix(" $MAINPID"));
    service.signal(signal.expect("a signal"));
    service.says("RELOADING=1").unwrap();
    service.says("READY=1").unwrap();

    service.signal("-TERM");
    service.says("STOPPING=1").unwrap();
    assert!(service.child.wait().unwrap().success());
}

#[test]
fn the_readme_installs_what_the_unit_starts() {
    let text = document::text();
    let user = setting(&unit(), "User");
    for command in [
        &format!("sudo install target/release/midge {}/\n", PROGRAM.strip_suffix("/midge").unwrap_or_default()),
        &format!("sudo install -D -m 644 config/midge.toml {CONFIG}\n"),
        &format!("sudo useradd --system --shell /usr/sbin/nologin {user}\n"),
    ] {
        assert!(text.contains(command), "{command} is not in README.md");
    }
}
