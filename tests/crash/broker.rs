//! The broker as a process of its own, on a data directory that outlives it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs};

/// How long a start or an orderly stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Midge,
    Mosquitto,
}

impl Target {
    pub fn under_test() -> Self {
        match env::var("MIDGE_TEST_TARGET") {
            Err(_) => Target::Midge,
            Ok(name) if name == "mosquitto" => Target::Mosquitto,
            Ok(other) => panic!("MIDGE_TEST_TARGET={other}: only mosquitto can be killed here"),
        }
    }

    /// How long nothing has to come before nothing more is expected. Where all that is owed comes, nobody waits for it.
    pub fn quiet(self) -> Duration {
        match self {
            Target::Midge => Duration::from_secs(15),
            Target::Mosquitto => Duration::from_millis(500),
        }
    }
}

/// A data directory and the configuration of the brokers that run on it, one after the other.
pub struct Site {
    target: Target,
    config: PathBuf,
    /// mosquitto is told its port; Midge tells its own.
    port: Option<u16>,
}

impl Site {
    /// `settings` is more text for Midge's configuration.
    pub fn new(target: Target, directory: &Path, data: &Path, settings: &str) -> Self {
        let config = directory.join("broker.conf");
        fs::create_dir_all(data).expect("a data directory");
        let (text, port) = match target {
            Target::Midge => {
                let text = format!(
                    "log.format = \"json\"\nstore.directory = {data:?}\n\
                     limits.queue_messages_max = 4000000000\nlimits.queue_bytes_max = \"64GiB\"\n\
                     {settings}\n[[listener]]\naddress = \"127.0.0.1:0\"\n"
                );
                (text, None)
            }
            Target::Mosquitto => {
                let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
                let port = free.expect("a free port").port();
                let more = env::var("MIDGE_TEST_MOSQUITTO_CONF").unwrap_or_default();
                let text = format!(
                    "persistence true\npersistence_location {}/\nallow_anonymous true\nlistener {port} 127.0.0.1\n\
                     max_queued_messages 0\nset_tcp_nodelay true\nuser root\n{more}\n",
                    data.display()
                );
                (text, Some(port))
            }
        };
        fs::write(&config, text).expect("a temporary file");
        Self { target, config, port }
    }

    /// Starts a broker, and does not wait until it serves.
    pub fn spawn(&self) -> Broker {
        let program = match self.target {
            Target::Midge => vec![env!("CARGO_BIN_EXE_midge").into(), "serve".into(), "-c".into()],
            Target::Mosquitto => vec![PathBuf::from("mosquitto"), "-c".into()],
        };
        let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut child = Command::new("sh")
            .args(["-c", END_WITH_STDIN, "sh"])
            .args(program)
            .arg(&self.config)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let leash = child.stdin.take().expect("piped");
        let log = lines_of(child.stderr.take().expect("piped"));
        Broker { child: Some((child, leash)), log, port: self.port }
    }

    /// Starts a broker, and says where it listens.
    pub fn start(&self) -> (Broker, SocketAddr) {
        let mut broker = self.spawn();
        let address = broker.serves();
        (broker, address)
    }
}

/// The shell becomes the broker, so that its process id is the child's. Its watcher kills it when the end of standard
/// input comes, which this process holds open; a line before that says that there is nothing to kill any more.
const END_WITH_STDIN: &str = r#"exec 3<&0
(read -r _ <&3 || kill -9 $$) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null"#;

/// Whether a client is accepted.
fn answers(address: SocketAddr) -> io::Result<()> {
    let mut client = TcpStream::connect_timeout(&address, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")?;
    client.read_exact(&mut [0; 4])?;
    client.write_all(b"\xe0\x00")
}

/// A running broker.
pub struct Broker {
    child: Option<(Child, ChildStdin)>,
    log: Receiver<String>,
    port: Option<u16>,
}

impl Broker {
    fn serves(&mut self) -> SocketAddr {
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while let Ok(line) = self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening" {
                return event["address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
            }
            if let Some(port) = self.port.filter(|_| line.ends_with(" running")) {
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                // A SIGTERM that comes before the first client has been heard is forgotten.
                assert!(answers(address).is_ok(), "mosquitto does not listen");
                return address;
            }
            said.push(line);
        }
        panic!("the broker does not serve; it said\n{}", said.join("\n"));
    }

    /// SIGKILL, now.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits until it has ended.
    pub fn stop(mut self) {
        let (child, _) = self.child.as_mut().expect("it runs");
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -TERM");
        // The end of its log is the end of the broker: only then is it waited for, and its process id free again.
        let until = Instant::now() + PATIENCE;
        while self.log.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        assert!(Instant::now() < until, "the broker does not stop");
        self.end();
    }

    fn end(&mut self) {
        let Some((mut child, mut leash)) = self.child.take() else { return };
        // Until it is waited for, its process id is nobody else's. It may have ended already.
        let _ = child.kill();
        let _ = leash.write_all(b"\n");
        let _ = child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A panic of the broker would look like a kill.
            assert!(!line.contains("panicked at"), "{line}");
            // Nobody may want to read on.
            let _ = sender.send(line);
        }
    });
    receiver
}
