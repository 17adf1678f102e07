//! The files of this room as Debian's mosquitto understands them: the same list and the same passwords given to both must
//! mean the same. Skipped, with a line that says so, where mosquitto or its clients are not installed.
//!
//! The broker listens on a Unix socket in a scratch directory: no port, nothing that another test could meet.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::password_file::edit;
use super::{AclFile, Authorizer, HashAlgorithm, Identity};

/// A running mosquitto that ends with this value.
struct Mosquitto {
    process: Child,
    directory: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts it with these lines of configuration, in which `DIR` is the scratch directory with these files.
    fn start(configuration: &str, files: &[(&str, &str)]) -> Option<Mosquitto> {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        Mosquitto::start_in(directory, configuration)
    }

    fn start_in(directory: tempfile::TempDir, configuration: &str) -> Option<Mosquitto> {
        let path = directory.path().to_str().unwrap();
        // As root it would become a user who cannot look into the directory.
        let own = format!("listener 0 {path}/socket\nuser root\nlog_dest stderr\nlog_type all\n");
        fs::write(directory.path().join("conf"), own + &configuration.replace("DIR", path)).unwrap();
        let program =
            ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program.filter(|_| Path::new("/usr/bin/mosquitto_pub").exists()) else {
            println!("SKIPPED: mosquitto and mosquitto-clients (Debian packages) are not installed");
            return None;
        };
        let mut command = Command::new(program);
        command.arg("-c").arg(directory.path().join("conf")).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut started = String::new();
        while !started.ends_with(" running\n") {
            assert_ne!(log.read_line(&mut started).unwrap(), 0, "mosquitto did not start: {started}");
        }
        // Its later lines are read away, or it would stop when the pipe is full.
        std::thread::spawn(move || log.lines().count());
        Some(Mosquitto { process, directory })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn client(&self, program: &str, who: &Identity) -> Command {
        let mut command = Command::new(program);
        command.arg("--unix").arg(self.socket()).args(["-V", "5", "-q", "1", "-i", &who.client_id]);
        if let Some(name) = &who.user_name {
            command.args(["-u", name]);
        }
        command
    }

    fn publish(&self, who: &Identity, arguments: &[&str]) -> Output {
        self.client("mosquitto_pub", who).args(arguments).output().unwrap()
    }

    fn may_publish(&self, who: &Identity, topic: &str) -> bool {
        let output = self.publish(who, &["-t", topic, "-m", "x"]);
        assert!(output.status.success(), "{who:?} {topic}: {output:?}");
        !String::from_utf8_lossy(&output.stderr).contains("Not authorized")
    }

    /// The topics of all retained messages that reach a client which subscribes to everything; the last one, `end`, is not
    /// part of `#`.
    fn receives(&self, who: &Identity, end: &str) -> BTreeSet<String> {
        let mut command = self.client("mosquitto_sub", who);
        command.args(["-F", "%t", "-t", "#", "-t", "$local/#", "-t", end]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let topics = lines.take_while(|topic| topic != end).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        topics
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself, after an assertion of its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn who(client_id: &str, user_name: Option<&str>) -> Identity {
    Identity { client_id: client_id.into(), user_name: user_name.map(Into::into) }
}

const LIST: &str = "\
# for anonymous clients
topic read public/#
topic deny public/cellar
topic hall

user alice
topic read home/+/temperature
topic deny home/attic/temperature
topic readwrite home/my lamp
topic write later/#
topic readwrite $local/+
user bob
topic #
topic deny home/#
topic deny sensors/c1/#
user alice
topic deny later/x/#

pattern write sensors/%c/#
pattern read users/%u
pattern deny sensors/%c/secret
pattern readwrite both/%u/%c
user admin
topic #
topic $local/#
topic $end/#
pattern read $end/x
";

const TOPICS: [&str; 19] = [
    "public/x",
    "public/cellar",
    "public",
    "hall",
    "home/attic/temperature",
    "home/hall/temperature",
    "home/my lamp",
    "home",
    "later",
    "later/x",
    "later/x/y",
    "later/y",
    "$local/x",
    "$local/x/y",
    "sensors/c1",
    "sensors/c1/x",
    "sensors/c1/secret",
    "users/alice",
    "both/alice/c1",
];

#[test]
fn an_access_control_list_means_what_it_means_to_mosquitto() {
    let Some(mosquitto) = Mosquitto::start("allow_anonymous true\nacl_file DIR/acl\n", &[("acl", LIST)]) else {
        return;
    };
    let ours = AclFile::parse(Path::new("acl"), LIST.as_bytes()).unwrap();
    let admin = who("admin", Some("admin"));
    for topic in TOPICS.into_iter().chain(["$end/x"]) {
        let output = mosquitto.publish(&admin, &["-r", "-m", "x", "-t", topic]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let clients =
        [("c1", None), ("c1", Some("alice")), ("c2", Some("alice")), ("c1", Some("bob")), ("c1", Some("eve"))];
    for (client_id, user_name) in clients {
        let client = who(client_id, user_name);
        let allowed = TOPICS.into_iter().filter(|topic| ours.may_receive(&client, topic)).map(str::to_owned);
        assert_eq!(allowed.collect::<BTreeSet<_>>(), mosquitto.receives(&client, "$end/x"), "read: {client:?}");
        for topic in TOPICS {
            assert_eq!(ours.may_publish(&client, topic), mosquitto.may_publish(&client, topic), "{client:?} {topic}");
        }
    }
    // Patterns are closed to it, so it would wait for the end in vain.
    let wildcard = who("c#", Some("alice"));
    for topic in TOPICS {
        assert_eq!(ours.may_publish(&wildcard, topic), mosquitto.may_publish(&wildcard, topic), "{wildcard:?} {topic}");
    }
}

#[test]
fn mosquitto_accepts_the_passwords_that_were_set_here() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    edit::set(&path, "alice", b"one", HashAlgorithm::Sha512).unwrap();
    edit::set(&path, "bob", "zw\u{f6}lf $:".as_bytes(), HashAlgorithm::Sha512Pbkdf2 { iterations: 5_000 }).unwrap();
    edit::set(&path, "alice", b"two", HashAlgorithm::Sha512Pbkdf2 { iterations: 101 }).unwrap();
    edit::set(&path, "old", b"six", HashAlgorithm::Sha512).unwrap();
    let Some(mosquitto) = Mosquitto::start_in(directory, "password_file DIR/users\n") else { return };
    for (user, password, admitted) in
        [("alice", "two", true), ("alice", "one", false), ("bob", "zw\u{f6}lf $:", true), ("old", "six", true)]
    {
        let output = mosquitto.publish(&who("c", Some(user)), &["-P", password, "-t", "t", "-m", "x"]);
        assert_eq!(output.status.success(), admitted, "{user}: {output:?}");
    }
}
