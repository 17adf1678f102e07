//! What the tests share: a broker, its clients, its log.

mod client;
mod gate;
mod log;
mod packets;
mod received;
pub mod scram;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use midge::broker::{Broker, StartError};
use midge::config::Config;
use midge::message::DropCause;
use midge::net::clock::Clock;
use midge::packet::{Connect, ProtocolVersion};
use midge::store::memory::MemoryStore;
use tempfile::TempDir;

pub use client::Client;
pub use gate::Gate;
pub use log::Log;
pub use packets::{message, v3, v4, v5, will};
pub use received::Received;

/// A broker with its clock and the directory of its files.
pub struct Midge {
    pub broker: Broker,
    pub clock: Clock,
    /// Where its state is kept, if it is.
    pub gate: Arc<Gate>,
    text: String,
    directory: TempDir,
}

/// Where clients come in; one for each listener, in their order.
#[derive(Clone, Copy)]
pub struct Door(SocketAddr);

impl Midge {
    /// Starts a broker with the text of a configuration file; without a `[[listener]]` in it there is one.
    pub async fn start(text: &str) -> Midge {
        Midge::start_with_files(text, &[]).await
    }

    /// The same with files (name and content) that the configuration speaks of.
    pub async fn start_with_files(text: &str, files: &[(&str, &str)]) -> Midge {
        log::install();
        let directory = tempfile::tempdir().expect("a scratch directory");
        write(directory.path(), files);
        let (config, clock) = (config(directory.path(), text), Clock::manual());
        let broker = Broker::start_with_clock(&config, clock.clone()).await.expect("the broker starts");
        Midge { broker, clock, gate: Arc::default(), text: text.to_owned(), directory }
    }

    /// Starts a broker that keeps its state in a store.
    pub async fn start_stored(text: &str) -> Midge {
        Midge::start_over(text, MemoryStore::default()).await
    }

    /// Starts a broker with what another one has left.
    pub async fn start_over(text: &str, image: MemoryStore) -> Midge {
        log::install();
        let directory = tempfile::tempdir().expect("a scratch directory");
        let recovered = image.recovered();
        let (config, clock) = (config(directory.path(), text), Clock::manual_from(recovered.time));
        let gate = Arc::new(Gate::over(image));
        let store = Arc::clone(&gate);
        let started = Broker::start_with_store(&config, clock.clone(), store, recovered).await;
        Midge { broker: started.expect("the broker starts"), clock, gate, text: text.to_owned(), directory }
    }

    /// The process is killed, and another one started. Connections to the first stay open and are nobody's.
    pub async fn kill(&self) -> Midge {
        Midge::start_over(&self.text, self.gate.after_kill()).await
    }

    /// The power goes, and comes back: only what was safe is there.
    pub async fn lose_power(&self) -> Midge {
        Midge::start_over(&self.text, self.gate.after_power_loss()).await
    }

    /// Takes over another configuration, and other files.
    pub fn reload(&mut self, text: &str, files: &[(&str, &str)]) -> Result<(), StartError> {
        write(self.directory.path(), files);
        self.broker.reload(&config(self.directory.path(), text))
    }

    pub fn door(&self, listener: usize) -> Door {
        Door(self.broker.local_addresses()[listener])
    }

    /// A client of the first listener that has been let in.
    pub async fn join(&self, connect: Connect<'_>) -> Client {
        self.door(0).join(connect).await
    }

    /// What the first listener answers to a CONNECT that it does not accept.
    pub async fn refuse(&self, connect: Connect<'_>) -> Received {
        self.door(0).refuse(connect).await
    }

    /// A connection on which nothing has been said.
    pub async fn dial(&self, version: ProtocolVersion) -> Client {
        self.door(0).dial(version).await
    }

    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.broker.counts().dropped[cause as usize]
    }
}

impl Door {
    pub async fn dial(self, version: ProtocolVersion) -> Client {
        Client::dial(self.0, version).await
    }

    pub async fn join(self, connect: Connect<'_>) -> Client {
        let mut client = self.dial(connect.version).await;
        let connack = client.connect(connect).await;
        assert!(connack.is_success(), "{connack}");
        client
    }

    pub async fn refuse(self, connect: Connect<'_>) -> Received {
        let mut client = self.dial(connect.version).await;
        let connack = client.connect(connect).await;
        assert!(!connack.is_success(), "{connack}");
        client.expect_closed().await;
        connack
    }
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        fs::write(directory.join(name), content).expect("a file of the test");
    }
}

fn config(directory: &Path, text: &str) -> Config {
    let listener = if text.contains("[[listener]]") { "" } else { "[[listener]]\naddress = \"127.0.0.1:0\"\n" };
    let name = directory.join("midge.toml");
    Config::parse(&name.to_string_lossy(), &format!("{text}\n{listener}")).expect("a configuration")
}
