//! The flags that set keys of the configuration.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use midge::config::{FILE_VARIABLE, Flag, Layers};

// Where the configuration comes from, and what the command line says itself. (A doc comment would become the help text
// of the command.)
#[derive(Clone, Debug, Default, Args)]
pub struct LayerArgs {
    /// The configuration file; config/midge.toml shows every key. Without one the broker is on loopback only
    #[arg(short, long, value_name = "FILE", env = FILE_VARIABLE)]
    config: Option<PathBuf>,

    /// Listen on ADDR, such as 0.0.0.0:1883, [::]:1883 or unix:/run/midge/mqtt.sock, instead of on the listeners of the
    /// file. Can be repeated
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,

    /// Speak TLS on all listeners that do not say otherwise, with a PEM file of the certificate chain and one of its key
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    tls: Vec<String>,

    /// Who may connect, in mosquitto's format; `midge passwd` makes it
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,

    /// Let everybody in who can reach the broker
    #[arg(long)]
    allow_anonymous: bool,

    /// Keep sessions, queues and retained messages in DIR instead of $STATE_DIRECTORY or midge-data
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Keep nothing beyond the process
    #[arg(long, conflicts_with = "data_dir")]
    memory: bool,

    /// What is logged: error, warn, info, debug, trace, or for example info,midge::net=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,

    /// How a line of the log is written
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LayerArgs {
    /// All layers above the defaults, with the environment of this process.
    pub fn layers(&self) -> Layers {
        Layers {
            file: self.config.clone(),
            environment: Layers::variables(),
            flags: self.flags(),
            data_directory: Some(data_directory()),
        }
    }

    fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let mut set = |name, key: &str, value: &str| flags.push(Flag { name, key: key.into(), value: value.into() });
        for (at, address) in self.listen.iter().enumerate() {
            set("--listen", &format!("listener.{at}.address"), address);
        }
        if let [chain, key] = &self.tls[..] {
            set("--tls", "defaults.tls.certificates.0.chain", chain);
            set("--tls", "defaults.tls.certificates.0.key", key);
        }
        if let Some(file) = &self.password_file {
            set("--password-file", "access.password_file", file);
        }
        if self.allow_anonymous {
            set("--allow-anonymous", "access.allow_anonymous", "true");
        }
        if let Some(directory) = &self.data_dir {
            set("--data-dir", "store.directory", &directory.to_string_lossy());
        }
        if self.memory {
            set("--memory", "store.memory", "true");
        }
        if let Some(filter) = &self.log {
            set("--log", "log.filter", filter);
        }
        if let Some(format) = self.log_format {
            let word = match format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            set("--log-format", "log.format", word);
        }
        flags
    }
}

/// Where state is kept when nobody says where: systemd's StateDirectory=, the first of several.
pub fn data_directory() -> PathBuf {
    first_directory(&std::env::var("STATE_DIRECTORY").unwrap_or_default())
}

fn first_directory(state: &str) -> PathBuf {
    let first = state.split(':').next().filter(|first| !first.is_empty());
    first.unwrap_or("midge-data").into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use midge::config::{Config, ConfigError};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        layers: LayerArgs,
    }

    fn load(line: &str) -> Result<Config, ConfigError> {
        let line = Line::parse_from(std::iter::once("midge").chain(line.split_whitespace()));
        let layers = Layers { environment: Vec::new(), ..line.layers.layers() };
        layers.load().map(|loaded| loaded.config)
    }

    #[test]
    fn of_several_state_directories_the_first_is_taken_and_without_one_midge_data() {
        for (state, directory) in [("/a:/b", "/a"), ("/a", "/a"), ("", "midge-data")] {
            assert_eq!(first_directory(state), PathBuf::from(directory), "{state:?}");
        }
    }

    #[test]
    fn every_flag_sets_its_key() {
        let config =
            load("--listen 127.0.0.1:1 --listen 0.0.0.0:2 --allow-anonymous --log debug --log-format json").unwrap();
        let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.addresses[0].to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "0.0.0.0:2"]);
        assert_eq!(config.listeners[1].access.allow_anonymous, Some(true));
        assert_eq!(config.log.filter, "debug");
        assert_eq!(config.log.format, midge::config::LogFormat::Json);
    }

    #[test]
    fn tls_takes_a_chain_and_its_key() {
        let error = load("--tls /no/chain.pem /no/chain.key").unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        let [chain, key] = lines[..] else { panic!("{error}") };
        assert!(
            chain.starts_with("flag --tls: defaults.tls.certificates[0].chain: cannot read /no/chain.pem"),
            "{chain}"
        );
        assert!(key.starts_with("flag --tls: defaults.tls.certificates[0].key: cannot read /no/chain.key"), "{key}");
    }

    #[test]
    fn the_network_is_not_opened_by_a_listen_flag_alone() {
        let error = load("--listen 0.0.0.0:1883").unwrap_err().to_string();
        assert!(error.starts_with("flag --listen: listener[0].address: 0.0.0.0:1883 can be reached"), "{error}");
    }
}
