//! A broker in this process, and those who talk to it: an MQTT client that does what it is told, and HTTP.

mod client;
mod http;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use midge::broker::Broker;
use midge::config::Config;
use midge::net::census::Accounting;
use midge::net::clock::Clock;
use midge::router::Counts;
use tokio::runtime::Runtime;

pub use client::{Client, Connect, Incoming, Publish, subscription};
pub use http::{get, request, request_with};

/// How long anything may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A broker with a clock that stands still unless it is moved.
pub struct TestBroker {
    runtime: Runtime,
    broker: Option<Broker>,
    pub clock: Clock,
}

impl TestBroker {
    /// One listener on port 0, and what `text` adds to the configuration.
    pub fn start(text: &str) -> TestBroker {
        Self::with_listeners("[[listener]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\n", text)
    }

    pub fn with_listeners(listeners: &str, text: &str) -> TestBroker {
        let config = Config::parse("midge.toml", &format!("{text}\n{listeners}")).expect("a configuration");
        let runtime = Runtime::new().expect("a runtime");
        let clock = Clock::manual();
        let broker = runtime.block_on(Broker::start_with_clock(&config, clock.clone())).expect("a broker");
        TestBroker { runtime, broker: Some(broker), clock }
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("a running broker")
    }

    /// Of the listener at this place in the configuration.
    pub fn address(&self, listener: usize) -> SocketAddr {
        self.broker().local_addresses()[listener]
    }

    pub fn admin(&self) -> SocketAddr {
        self.broker().admin_address().expect("admin.http is set")
    }

    /// On the first listener.
    pub fn connect(&self, connect: Connect<'_>) -> Client {
        Client::connect(self.address(0), connect)
    }

    pub fn counts(&self) -> Counts {
        self.broker().counts()
    }

    pub fn accounting(&self) -> Accounting {
        self.broker().accounting()
    }

    /// Waits for what must become true.
    pub fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            let (counts, accounting) = (self.counts(), self.accounting());
            assert!(Instant::now() < deadline, "{what} did not come true: {accounting:?}, {counts:?}");
            std::thread::yield_now();
        }
    }

    pub fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.stop();
    }
}
