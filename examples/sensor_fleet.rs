//! A fleet of sensors (MQTT 3.1.1, QoS 1), each with a retained last value and a will.
//!
//! ```text
//! cargo run                                   # a broker, in another terminal
//! cargo run --example sensor_fleet -- --sensors 20 --readings 5
//! ```
//!
//! Each sensor publishes its readings to `fleet/<number>/temperature` and its state to `fleet/<number>/state`. All but the
//! last say "offline" before they disconnect. The last one just vanishes, as if its power went: the broker publishes its
//! will, "lost", in its place. A dashboard that connects after all that still sees where every sensor stands, because the
//! broker retains the last message of each topic.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use tokio::task::JoinSet;

#[derive(Clone, Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, default_value_t = 1883)]
    port: u16,
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    sensors: u32,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    readings: u32,
}

/// An example ends by itself, whatever happens.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    tokio::time::timeout(DEADLINE, run(args)).await.context("not done after a minute")?
}

async fn run(args: Args) -> Result<()> {
    let mut sensors = JoinSet::new();
    for number in 0..args.sensors {
        sensors.spawn(sensor(args.clone(), number));
    }
    while let Some(ended) = sensors.join_next().await {
        ended??;
    }
    let values = dashboard(&args).await?;
    let in_state = |state: &str| values.values().filter(|value| *value == state).count();
    println!(
        "{} sensors: {} readings acknowledged, {} offline, {} lost",
        args.sensors,
        args.sensors * args.readings,
        in_state("offline"),
        in_state("lost")
    );
    Ok(())
}

fn topic(number: u32, what: &str) -> String {
    format!("fleet/{number}/{what}")
}

async fn sensor(args: Args, number: u32) -> Result<()> {
    let mut options = MqttOptions::new(format!("sensor-{number}"), &args.host, args.port);
    // A sensor that is silent for one and a half times this long counts as lost.
    options.set_keep_alive(Duration::from_secs(30));
    options.set_last_will(LastWill::new(topic(number, "state"), "lost", QoS::AtLeastOnce, true));
    let (client, mut eventloop) = AsyncClient::new(options, 10);

    publish(&client, &mut eventloop, topic(number, "state"), "online".into()).await?;
    for reading in 0..args.readings {
        let temperature = format!("{}.{}", 20 + number % 5, reading % 10);
        publish(&client, &mut eventloop, topic(number, "temperature"), temperature).await?;
    }
    if number == args.sensors - 1 {
        // The connection closes without a DISCONNECT. That is what the will is for.
        return Ok(());
    }
    publish(&client, &mut eventloop, topic(number, "state"), "offline".into()).await?;
    // DISCONNECT tells the broker to forget the will.
    client.disconnect().await?;
    until(&mut eventloop, |event| *event == Event::Outgoing(Outgoing::Disconnect)).await
}

/// Publishes a retained message and waits until the broker has it.
///
/// A device that must not wait publishes on, and counts the acknowledgements as they come: up to 100 messages are on their
/// way at a time, unless `MqttOptions::set_inflight` says otherwise.
async fn publish(client: &AsyncClient, eventloop: &mut EventLoop, topic: String, payload: String) -> Result<()> {
    client.publish(topic, QoS::AtLeastOnce, true, payload).await?;
    until(eventloop, |event| matches!(event, Event::Incoming(Packet::PubAck(_)))).await
}

/// Lets the client work until the event that is waited for.
///
/// Nothing happens in rumqttc unless its event loop is polled. An example gives up at the first error; a device would poll
/// on: the next poll connects again, and sends what was not acknowledged.
async fn until(eventloop: &mut EventLoop, is_awaited: impl Fn(&Event) -> bool) -> Result<()> {
    while !is_awaited(&eventloop.poll().await?) {}
    Ok(())
}

/// The last value and the last state of every sensor, by topic; `mosquitto_sub -t 'fleet/#' -v` shows the same.
async fn dashboard(args: &Args) -> Result<HashMap<String, String>> {
    let mut options = MqttOptions::new("dashboard", &args.host, args.port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut eventloop) = AsyncClient::new(options, 10);
    client.subscribe("fleet/+/+", QoS::AtLeastOnce).await?;
    let topics: HashSet<_> = (0..args.sensors).flat_map(|n| [topic(n, "temperature"), topic(n, "state")]).collect();
    let lost = topic(args.sensors - 1, "state");
    let mut values = HashMap::new();
    // The retained messages come at once; the will comes when the broker has noticed that its sensor is gone.
    while values.len() < topics.len() || values[&lost] != "lost" {
        if let Event::Incoming(Packet::Publish(publish)) = eventloop.poll().await?
            && topics.contains(&publish.topic)
        {
            values.insert(publish.topic, String::from_utf8(publish.payload.to_vec())?);
        }
    }
    client.disconnect().await?;
    until(&mut eventloop, |event| *event == Event::Outgoing(Outgoing::Disconnect)).await?;
    Ok(values)
}
