//! Many agents send log lines, a few workers share them: shared subscriptions at QoS 1.
//!
//! ```text
//! cargo run                                   # a broker, in another terminal
//! cargo run --example log_collector -- --agents 10 --workers 3
//! ```
//!
//! All workers subscribe to `$share/collectors/logs/#`. The broker then gives each line to one worker of the group
//! `collectors`, to the next one in turn that has room. More workers take more lines; an agent knows nothing about them.
//! A worker acknowledges a line when it has stored it. What a worker had not stored when it died goes to another one.
//!
//! The agents speak MQTT 3.1.1 and the workers MQTT 5: the broker makes no difference.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rumqttc::v5;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[derive(Clone, Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, default_value_t = 1883)]
    port: u16,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    agents: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Log lines of each agent
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    lines: u32,
}

/// Lines that a worker may have and not have acknowledged.
const WINDOW: u16 = 100;
/// An example ends by itself, whatever happens.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    tokio::time::timeout(DEADLINE, run(args)).await.context("not done after a minute")?
}

async fn run(args: Args) -> Result<()> {
    let (store, mut stored) = mpsc::channel(100);
    let mut workers = JoinSet::new();
    for number in 0..args.workers {
        // Whoever publishes to a group without members publishes to nobody: first the workers, then the agents.
        let (client, eventloop) = start_worker(&args, number).await?;
        workers.spawn(work(client, eventloop, number, store.clone()));
    }
    let mut agents = JoinSet::new();
    for number in 0..args.agents {
        agents.spawn(agent(args.clone(), number));
    }

    // QoS 1 means at least once: after a lost acknowledgement a line comes again, and the set takes care of that.
    let mut lines = HashSet::new();
    let mut shares = vec![0; args.workers as usize];
    while lines.len() < (args.agents * args.lines) as usize {
        tokio::select! {
            Some((worker, line)) = stored.recv() => {
                shares[worker as usize] += 1;
                lines.insert(line);
            }
            // A worker only ends when something is wrong.
            Some(ended) = workers.join_next() => ended??,
        }
    }
    while let Some(ended) = agents.join_next().await {
        ended??;
    }
    println!("{} agents: {} lines stored, by worker: {shares:?}", args.agents, lines.len());
    Ok(())
}

async fn start_worker(args: &Args, number: u32) -> Result<(v5::AsyncClient, v5::EventLoop)> {
    let mut options = v5::MqttOptions::new(format!("worker-{number}"), &args.host, args.port);
    options.set_keep_alive(Duration::from_secs(30));
    // PUBACK says "stored", not "arrived": work() sends it. The broker sends at most so many lines ahead of it.
    options.set_manual_acks(true);
    options.set_receive_maximum(Some(WINDOW));
    let (client, mut eventloop) = v5::AsyncClient::new(options, WINDOW.into());
    client.subscribe("$share/collectors/logs/#", v5::mqttbytes::QoS::AtLeastOnce).await?;
    while !matches!(eventloop.poll().await?, v5::Event::Incoming(v5::mqttbytes::v5::Packet::SubAck(_))) {}
    Ok((client, eventloop))
}

async fn work(
    client: v5::AsyncClient,
    mut eventloop: v5::EventLoop,
    number: u32,
    store: mpsc::Sender<(u32, String)>,
) -> Result<()> {
    loop {
        if let v5::Event::Incoming(v5::mqttbytes::v5::Packet::Publish(line)) = eventloop.poll().await? {
            let text = format!("{} {}", std::str::from_utf8(&line.topic)?, std::str::from_utf8(&line.payload)?);
            store.send((number, text)).await?;
            // Not ack().await: it would wait for the event loop, which only this task polls. The window keeps room for it.
            client.try_ack(&line)?;
        }
    }
}

async fn agent(args: Args, number: u32) -> Result<()> {
    let mut options = MqttOptions::new(format!("agent-{number}"), &args.host, args.port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut eventloop) = AsyncClient::new(options, 10);
    for line in 0..args.lines {
        let text = format!("line {line}: all is well");
        client.publish(format!("logs/agent-{number}"), QoS::AtLeastOnce, false, text).await?;
        // The broker has the line now. An agent would only now take it off its own disk.
        until(&mut eventloop, |event| matches!(event, Event::Incoming(Packet::PubAck(_)))).await?;
    }
    client.disconnect().await?;
    until(&mut eventloop, |event| *event == Event::Outgoing(Outgoing::Disconnect)).await
}

/// Lets the client work until the event that is waited for. Nothing happens in rumqttc unless its event loop is polled.
async fn until(eventloop: &mut EventLoop, is_awaited: impl Fn(&Event) -> bool) -> Result<()> {
    while !is_awaited(&eventloop.poll().await?) {}
    Ok(())
}
