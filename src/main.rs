//! The `midge` command.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midge: {error:#}");
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
