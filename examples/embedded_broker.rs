//! A broker inside a program: Midge as a library.
//!
//! ```text
//! cargo run --example embedded_broker
//! ```
//!
//! The broker listens on a port that the system chooses, so that any number of them run beside each other: in tests, or in
//! a gateway that needs a broker and nothing to install. A device publishes through it, and the program looks at what became
//! of every message before it stops the broker.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use midge::broker::Broker;
use midge::config::Config;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

#[derive(Parser)]
struct Args {
    /// Where the broker listens; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
}

/// An example ends by itself, whatever happens.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let broker = start(args.listen).await?;
    let address = broker.local_addresses()[0];

    let exchange = exchange(address, args.messages);
    let received = tokio::time::timeout(DEADLINE, exchange).await.context("not done after a minute")??;

    // Every message is accounted for: what was published is delivered, queued, dropped for a reason, or refused.
    let counts = broker.counts();
    // Says goodbye to every client, and returns when all tasks of the broker have ended.
    broker.shutdown().await;
    ensure!(counts.received_qos1 == args.messages, "the broker counted {} messages", counts.received_qos1);
    println!("broker on {address}: {received} messages published and received, then stopped");
    Ok(())
}

/// The configuration is the one of `midge serve -c FILE`: config/midge.toml shows every key. What it says here would be the
/// defaults, but for the address.
async fn start(listen: SocketAddr) -> Result<Broker> {
    let text = format!(
        r#"
        [[listener]]
        name = "inside"
        address = "{listen}"
        maximum_packet_size = "64KiB"

        [limits]
        queue_messages_max = 1000
        "#
    );
    // All mistakes are reported, with their line and what would be right.
    let config = Config::parse("embedded", &text)?;
    Ok(Broker::start(&config).await?)
}

/// One client that subscribes, publishes, and receives what it published.
async fn exchange(address: SocketAddr, messages: u64) -> Result<u64> {
    let mut options = MqttOptions::new("inside", address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut eventloop) = AsyncClient::new(options, 10);
    client.subscribe("counter", QoS::AtLeastOnce).await?;
    // The broker handles the packets of a connection in their order: the subscription is there before the first message.
    let publisher = tokio::spawn(async move {
        for number in 0..messages {
            client.publish("counter", QoS::AtLeastOnce, false, number.to_string()).await?;
        }
        anyhow::Ok(client)
    });
    let mut received = 0;
    while received < messages {
        if let Event::Incoming(Packet::Publish(publish)) = eventloop.poll().await? {
            // They also come in the order in which they were published.
            ensure!(publish.payload == received.to_string(), "message {received} did not come in its turn");
            received += 1;
        }
    }
    publisher.await??;
    Ok(received)
}
