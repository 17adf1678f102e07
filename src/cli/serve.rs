//! `midge serve`: from the configuration to a running broker, its signals, and its stop.

use std::io;

use anyhow::{Context, Result};
use clap::Args;
use midge::{
    broker::Broker,
    config::{Config, ConfigError, Layers, ListenerAddress, Loaded, Running},
    telemetry::logging::{self, Logging},
};
use sd_notify::NotifyState;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{LayerArgs, STORE_EXIT_CODES};

const EXAMPLES: &str = "\
Examples:
  midge
      A broker for this machine, on port 1883, that lets everybody in.
  midge serve -c /etc/midge/midge.toml
      With a configuration; `midge check` looks at it first.
  midge passwd -c passwd alice
  midge --listen 0.0.0.0:1883 --password-file passwd
      For the network, with a password.
  midge certs certs --san broker.example.com
  midge --listen 0.0.0.0:8883 --tls certs/server.pem certs/server.key --password-file passwd
      The same, encrypted.
  MIDGE_LOG__FORMAT=json midge
      Every key of the configuration is a variable, too.

Signals:
  SIGHUP   reads the configuration and the files it names again, says what that
           changed and what needs a restart, and opens the log file anew
  SIGTERM  stops; clients get shutdown_timeout to take what they were promised.
           SIGINT does the same. A second one stops at once

Exit codes:
  0  stopped when asked to
  1  could not start; standard error says why
  2  the command line was not understood";

/// Serve; what `midge` without a command does
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = format!("{EXAMPLES}{STORE_EXIT_CODES}"))]
pub struct ServeArgs {
    #[command(flatten)]
    layers: LayerArgs,
}

pub fn run(args: &ServeArgs) -> Result<()> {
    let layers = args.layers.layers();
    let Loaded { config, ignored } = layers.load()?;
    let logging = Logging::install(&config.log)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "midge starts");
    warn_of(&ignored);
    raise_open_files();
    midge::net::at_rest(logging::thread_rests);
    runtime(config.worker_threads)?.block_on(serve(&layers, config, &logging))
}

async fn serve(layers: &Layers, config: Config, logging: &Logging) -> Result<()> {
    // Before the broker: a signal that arrives while it starts is not lost.
    let mut signals = Signals::install().context("cannot listen to signals")?;
    let mut broker = Broker::start(&config).await?;
    if let Some(hint) = hint(&config) {
        tracing::info!("{hint}");
    }
    notify(&[NotifyState::Ready]);
    let mut running = Running::new(config);
    while signals.next().await == Asked::Reload {
        reload(layers, &mut running, logging, &mut broker);
    }
    tracing::info!("midge stops");
    notify(&[NotifyState::Stopping]);
    tokio::select! {
        () = broker.shutdown() => {}
        () = signals.stop() => tracing::warn!("midge stops at once"),
    }
    Ok(())
}

/// Applies what can change; a configuration that is wrong changes nothing. The log file is opened anew all the same: who
/// moved it away does not look at the configuration.
fn reload(layers: &Layers, running: &mut Running, logging: &Logging, broker: &mut Broker) {
    notify_reloading();
    if let Err(error) = logging.reopen() {
        tracing::error!("{error}: the log goes on as before");
    }
    match layers.load() {
        Ok(loaded) => apply(loaded, running, logging, broker),
        Err(ConfigError::Invalid(problems)) => {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            tracing::error!("the configuration has mistakes: nothing was changed");
        }
        Err(error) => tracing::error!("{error}: nothing was changed"),
    }
    notify(&[NotifyState::Ready]);
}

fn apply(loaded: Loaded, running: &mut Running, logging: &Logging, broker: &mut Broker) {
    let Loaded { config, ignored } = loaded;
    if let Err(error) = broker.reload(&config) {
        // A file of users or rights may have several mistakes, one a line.
        error.to_string().lines().for_each(|mistake| tracing::error!("{mistake}"));
        tracing::error!("the configuration cannot be taken over: nothing was changed");
        return;
    }
    if let Err(error) = logging.reload(&config.log) {
        tracing::error!("{error}: the log goes on as before");
    }
    warn_of(&ignored);
    let changes = running.reload(config);
    tracing::info!(changed = changes.live.join(", "), "reloaded");
    if !changes.needs_restart.is_empty() {
        tracing::warn!(
            keys = changes.needs_restart.join(", "),
            "changed keys that need a restart still hold as before"
        );
    }
}

fn warn_of(ignored: &[String]) {
    for variable in ignored {
        tracing::warn!(variable, "the variable is no key of the configuration and is left out");
    }
}

/// How to open a broker that only this machine can reach.
fn hint(config: &Config) -> Option<&'static str> {
    let mut addresses = config.listeners.iter().flat_map(|listener| &listener.addresses);
    addresses.all(ListenerAddress::is_local).then_some(
        "only this machine can reach the broker; for the network: `midge passwd -c passwd NAME`, then \
         `midge --listen 0.0.0.0:1883 --password-file passwd`, with TLS as `midge serve --help` shows",
    )
}

/// A connection is an open file. The hard limit is what the system allows without asking.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::info!(limit, "open files, and so connections, at most"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// What a look at the sockets brings at most: half of the sixty tasks that are run until the next, for each may wake
/// another. Where it brought more than were run, a worker's queue of 256 would overflow into the one for all, of which
/// hardly any is taken as long as the own has some: of 500 pairs a few would have it all, and others wait for 130 ms.
const READY_SOCKETS_MAX: usize = 32;
/// Of so many tasks one comes from the queue for all in any case, for receivers can be more than a queue holds.
const FROM_QUEUE_FOR_ALL: u32 = 16;

fn runtime(worker_threads: u16) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads.into());
    }
    builder.max_io_events_per_tick(READY_SOCKETS_MAX).global_queue_interval(FROM_QUEUE_FOR_ALL);
    builder.enable_all().thread_name("midge").on_thread_park(midge::net::thread_parks).build()
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}

fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot tell the service manager"),
    }
}

/// What an operator asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
        }
    }

    async fn stop(&mut self) {
        while self.next().await == Asked::Reload {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::{fs, path::Path};

    use midge::config::{LogConfig, LogDestination};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("midge.toml", text).unwrap()
    }

    #[test]
    fn of_many_busy_connections_each_has_its_turn() {
        const MANY: usize = 500;
        const ROUNDS: usize = 100;
        let runtime = runtime(1).unwrap();
        let answering = |_| {
            let (client, server) = UnixStream::pair().unwrap();
            client.set_nonblocking(true).and_then(|()| server.set_nonblocking(true)).unwrap();
            runtime.spawn(async move {
                let mut server = tokio::net::UnixStream::from_std(server).unwrap();
                let mut byte = [0];
                while server.read_exact(&mut byte).await.is_ok() && server.write_all(&byte).await.is_ok() {}
            });
            (client, 0)
        };
        let mut clients: Vec<(UnixStream, usize)> = (0..MANY).map(answering).collect();
        clients.iter_mut().for_each(|(client, _)| client.write_all(b"?").unwrap());
        while clients.iter().map(|(_, answers)| answers).sum::<usize>() < MANY * ROUNDS {
            for (client, answers) in &mut clients {
                match client.read(&mut [0]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => {
                        assert_eq!(read.unwrap(), 1);
                        *answers += 1;
                        client.write_all(b"?").unwrap();
                    }
                }
            }
        }
        let fewest = clients.iter().map(|(_, answers)| answers).min();
        assert!(fewest.is_some_and(|fewest| *fewest > ROUNDS / 2), "{fewest:?} of {ROUNDS}");
    }

    #[test]
    fn a_broker_that_only_this_machine_can_reach_says_how_to_open_it() {
        let only_local = hint(&Config::default()).unwrap();
        assert!(
            only_local.contains("midge passwd") && only_local.contains("--password-file") && !only_local.contains('\n')
        );
        let text = "access.allow_anonymous = true\nlistener = [{ address = [\"127.0.0.1:1883\", \"[::]:1884\"] }]";
        assert_eq!(hint(&config(text)), None);
    }

    fn layers(file: &Path, text: &str) -> Layers {
        fs::write(file, format!("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n{text}")).unwrap();
        Layers { file: Some(file.into()), ..Layers::default() }
    }

    #[tokio::test]
    async fn a_reload_says_what_it_changed_and_what_needs_a_restart_and_mistakes_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (file, log) = (directory.path().join("midge.toml"), directory.path().join("midge.log"));
        let destination = LogDestination::File(log.clone());
        let logging = Logging::install(&LogConfig { destination, ..LogConfig::default() }).unwrap();
        let started = layers(&file, "").load().unwrap().config;
        let mut broker = Broker::start(&started).await.unwrap();
        let mut running = Running::new(started.clone());

        reload(&layers(&file, "maximum_qos = 9\n"), &mut running, &logging, &mut broker);
        assert_eq!(running.current(), &started);
        // The log goes on in a new file, and at the old level.
        let moved = directory.path().join("moved.log");
        fs::rename(&log, &moved).unwrap();
        let wrong = layers(&file, "access.password_file = \"midge.toml\"\n[log]\nfilter = \"off\"\n");
        reload(&wrong, &mut running, &logging, &mut broker);
        assert_eq!(running.current(), &started);
        reload(&layers(&file, "maximum_qos = 1\n[sys]\ninterval = 0\n"), &mut running, &logging, &mut broker);
        assert_eq!(running.current().sys.interval.as_secs(), 0);

        let (before, log) = (fs::read_to_string(moved).unwrap(), fs::read_to_string(log).unwrap());
        assert!(before.contains("listener[0].maximum_qos: expected 0, 1 or 2, found 9"), "{before}");
        for line in [
            "midge.toml:2: there is no ':' after the user name",
            "the configuration cannot be taken over: nothing was changed",
            "midge.toml:1: there is no ':' after the user name",
            "reloaded changed=\"listener.a.maximum_qos\"",
            "need a restart still hold as before keys=\"sys.interval\"",
        ] {
            assert!(log.contains(line), "{line} is not in the log:\n{log}");
        }
        broker.shutdown().await;
    }
}
