//! The `midge` command.

<<<<<<< HEAD
mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midge: {error:#}");
            ExitCode::FAILURE
        }
    }
=======
use std::process::ExitCode;

use midge::broker::Broker;
use midge::config::Config;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    runtime.block_on(async {
        match Broker::start(&Config::default()).await {
            Ok(broker) => {
                let _ = tokio::signal::ctrl_c().await;
                broker.shutdown().await;
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("midge: {error}");
                ExitCode::FAILURE
            }
        }
    })
>>>>>>> c574cb2 (A broker that serves: composition root and the thin slice all the way through)
}
