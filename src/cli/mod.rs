//! The `midge` command: what can be typed, and what it teaches.
//!
//! Each subcommand is a file of this module. Flags that set keys of the configuration become a layer of it; nothing is
//! decided here that a configuration file could not say.

mod bench;
mod certs;
mod check;
mod ctl;
mod import;
mod layers;
mod passwd;
mod password_input;
mod serve;
mod store;

use anyhow::Result;
use clap::{Parser, Subcommand};
use midge::broker::StartError;
use midge::store::journal::OpenError;

use layers::LayerArgs;

const EXAMPLES: &str = "\
Examples:
  midge
      A broker for this machine, on 127.0.0.1:1883 and [::1]:1883.
  midge serve -c /etc/midge/midge.toml
      With a configuration; `midge serve --help` shows how to open it to the network.
  midge check -c /etc/midge/midge.toml
      Says everything that is wrong with a configuration, and what would be right.
  midge passwd -c passwd alice
      A password file with its first user; asks for the password.
  midge certs certs --san broker.example.com
      Certificates to try TLS with, and the commands that use them.
  midge import mosquitto /var/lib/mosquitto
      Takes over sessions and messages that mosquitto has saved.
  midge ctl status
      How a running broker does; `midge ctl --help` shows what else it can be asked.
  midge bench pairs
      How fast it is, or another one; `midge bench --help` shows what can be measured.

Exit codes:
  0  done, or stopped when asked to
  1  it could not be done; standard error says why
  2  the command line was not understood
`midge ctl` and `midge bench` have more of them, and whatever uses a data directory; their help says which.";

/// An MQTT 3.1, 3.1.1 and 5.0 broker.
#[derive(Debug, Parser)]
#[command(name = "midge", version, after_help = EXAMPLES, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Ctl(ctl::CtlArgs),
    Store(store::StoreArgs),
    Passwd(passwd::PasswdArgs),
    Certs(certs::CertsArgs),
    Import(import::ImportArgs),
    Bench(Box<bench::BenchArgs>),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<()> {
        match self.command.unwrap_or(Command::Serve(self.serve)) {
            Command::Serve(args) => serve::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Ctl(args) => ctl::run(args),
            Command::Store(args) => store::run(&args),
            Command::Passwd(args) => passwd::run(&args),
            Command::Certs(args) => certs::run(&args),
            Command::Import(args) => import::run(args),
            Command::Bench(args) => bench::run(&args),
        }
    }
}

/// What the command exits with.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let of_ctl = error.downcast_ref().map(ctl::CtlError::exit_code);
    let of_bench = error.downcast_ref().map(bench::Verdict::exit_code);
    let of_store = error.downcast_ref().map(exit_code_of_store);
    let of_damage = error.downcast_ref::<store::Damage>().map(|_| 11);
    let of_start = error.downcast_ref().map(|error| match error {
        StartError::Store(error) => exit_code_of_store(error),
        _ => 1,
    });
    of_ctl.or(of_bench).or(of_store).or(of_damage).or(of_start).unwrap_or(1)
}

/// Of every command that uses a data directory, beside those it has anyway.
const STORE_EXIT_CODES: &str = "
  10 the data directory is in use by another broker
  11 it is damaged
  12 it is none of midge's, not empty where it should be, or not there
  13 another version of midge has written it
  14 it is on a file system that is read-only
  15 it may not be read, or not be written
  16 reading or writing it failed";

fn exit_code_of_store(error: &OpenError) -> u8 {
    match error {
        OpenError::Locked { .. } => 10,
        OpenError::Damaged { .. } => 11,
        OpenError::Foreign { .. } | OpenError::NotEmpty { .. } | OpenError::Missing { .. } => 12,
        OpenError::Version { .. } => 13,
        OpenError::ReadOnly { .. } => 14,
        OpenError::NoAccess { .. } => 15,
        OpenError::Io { .. } => 16,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_examples_and_exit_codes_for_every_command() {
        let mut command = Cli::command();
        let names: Vec<_> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let mut helps = vec![command.render_long_help().to_string()];
        helps.extend(names.iter().map(|name| {
            command.find_subcommand_mut(name).map(|command| command.render_long_help().to_string()).unwrap_or_default()
        }));
        for help in helps {
            assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
        }
    }
}
