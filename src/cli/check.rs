//! `midge check`: whether a broker would start with this configuration.

use std::{io, io::Write, path::Path};

use anyhow::{Result, bail};
use clap::Args;
use midge::{
    auth::{AclFile, AuthFileError, PasswordFile, ScramFile},
    broker::check_tls,
    config::{AccessConfig, Config, ConfigError, DurabilityClass, ListenerConfig, Loaded, StoreConfig, Transport},
};

use super::LayerArgs;

const EXAMPLES: &str = "\
Examples:
  midge check -c /etc/midge/midge.toml
      Before a reload or a restart.
  MIDGE_LOG__FILTER=debug midge check -c midge.toml --listen 127.0.0.1:1883
      With everything that `midge serve` would be given.

Exit codes:
  0  a broker would start with it
  1  it has mistakes; standard error names file, line, key and what would be right
  2  the command line was not understood";

/// Say everything that is wrong with a configuration
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    #[command(flatten)]
    layers: LayerArgs,
}

pub fn run(args: &CheckArgs) -> Result<()> {
    let Loaded { config, ignored } = args.layers.layers().load().map_err(counted)?;
    let mut problems = access_problems(&config);
    problems.extend(tls_problems(&config));
    if !problems.is_empty() {
        let lines = problems.join("\n");
        bail!("{}", counted_lines(&lines, lines.lines().count()));
    }
    let mut out = io::stdout().lock();
    for name in ignored {
        writeln!(out, "note: the variable {name} is no key and is left out")?;
    }
    for listener in &config.listeners {
        writeln!(out, "{}", summary(listener))?;
    }
    for line in durability(&config.store) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "the configuration is right")?;
    Ok(())
}

fn counted(error: ConfigError) -> anyhow::Error {
    match &error {
        ConfigError::Invalid(problems) => anyhow::Error::msg(counted_lines(&error.to_string(), problems.len())),
        ConfigError::Unreadable { .. } => error.into(),
    }
}

fn counted_lines(lines: &str, count: usize) -> String {
    let what = if count == 1 { "1 mistake" } else { &format!("{count} mistakes") };
    format!("{what} in the configuration:\n{lines}")
}

/// What the files about users and their rights hold; each file once.
fn access_problems(config: &Config) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for listener in &config.listeners {
        let AccessConfig { password_file, scram_file, acl_file, .. } = &listener.access;
        let checks = [
            problem(password_file, PasswordFile::load),
            problem(scram_file, ScramFile::load),
            problem(acl_file, AclFile::load),
        ];
        for problem in checks.into_iter().flatten() {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// Certificates, keys and lists that cannot be used together.
fn tls_problems(config: &Config) -> Vec<String> {
    config.listeners.iter().filter_map(|listener| Some(check_tls(listener).err()?.to_string())).collect()
}

fn problem<T>(path: &Option<impl AsRef<Path>>, load: fn(&Path) -> Result<T, AuthFileError>) -> Option<String> {
    load(path.as_ref()?.as_ref()).err().map(|error| error.to_string())
}

/// What an acknowledgement promises, and for which topics it is something else.
fn durability(store: &StoreConfig) -> Vec<String> {
    let directory = match &store.directory {
        Some(directory) if !store.memory => directory.display(),
        _ => return vec!["store: memory only, nothing outlives the process".into()],
    };
    let name = |class| match class {
        DurabilityClass::Memory => "memory",
        DurabilityClass::Os => "os",
        DurabilityClass::Fsync => "fsync",
    };
    let mut lines = vec![format!("store: {directory}, {}", name(store.durability))];
    lines.extend(store.rules.iter().map(|rule| format!("store: {}, {}", rule.filter, name(rule.durability))));
    lines
}

fn summary(listener: &ListenerConfig) -> String {
    let ListenerConfig { name, addresses, transport, tls, .. } = listener;
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let protocol = match (transport, tls.is_some()) {
        (Transport::Tcp, false) => "MQTT",
        (Transport::Tcp, true) => "MQTT over TLS",
        (Transport::WebSocket, false) => "MQTT over WebSocket",
        (Transport::WebSocket, true) => "MQTT over WebSocket and TLS",
    };
    let who = if listener.allows_anonymous() { "anonymous clients allowed" } else { "only clients with a name" };
    format!("listener {name}: {addresses}, {protocol}, {who}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_and_how_safely_is_told() {
        let text = "store = { directory = \"d\", rules = [{ filter = \"t/#\", durability = \"memory\" }] }";
        assert_eq!(durability(&config(text).store), ["store: d, fsync", "store: t/#, memory"]);
        let only = ["store: memory only, nothing outlives the process"];
        assert_eq!(durability(&config("store.memory = true").store), only);
        assert_eq!(durability(&StoreConfig::default()), only);
    }

    fn config(text: &str) -> Config {
        Config::parse("midge.toml", text).unwrap()
    }

    #[test]
    fn a_listener_is_summed_up_in_a_line() {
        let text =
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:8083\", \"[::1]:8083\"]\ntransport = \"websocket\"";
        let expected = "listener web: 127.0.0.1:8083, [::1]:8083, MQTT over WebSocket, anonymous clients allowed";
        assert_eq!(summary(&config(text).listeners[0]), expected);
    }

    #[test]
    fn a_file_of_users_that_two_listeners_share_is_reported_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        std::fs::write(&path, "alice:secret\n").unwrap();
        let text = format!(
            "access.password_file = {path:?}\n[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:2\""
        );
        let problems = access_problems(&config(&text));
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.starts_with(&format!("{}:1: the password is not hashed", path.display())), "{problem}");
    }

    #[test]
    fn a_key_of_another_certificate_is_a_mistake() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["one", "other"] {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
            std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        let problems = |key: &str| {
            let certificate = format!("[{{ chain = {:?}, key = {:?} }}]", path("one.pem"), path(key));
            tls_problems(&config(&format!(
                "listener = [{{ address = \"127.0.0.1:1\", tls.certificates = {certificate} }}]"
            )))
        };
        assert!(problems("one.key").is_empty());
        let expected = format!("listener 127.0.0.1:1: {} is not the key of the first", path("other.key").display());
        assert!(
            problems("other.key").iter().any(|problem| problem.starts_with(&expected)),
            "{:?}",
            problems("other.key")
        );
    }

    #[test]
    fn mistakes_are_counted() {
        let error = Config::parse("midge.toml", "a = 1\nb = 2").unwrap_err();
        assert!(counted(error).to_string().starts_with("2 mistakes in the configuration:\nmidge.toml:1: a: unknown"));
    }
}
