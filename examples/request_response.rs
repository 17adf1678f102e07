//! A service that answers requests over MQTT 5: response topic and correlation data.
//!
//! ```text
//! cargo run                                   # a broker, in another terminal
//! cargo run --example request_response -- --requests 100
//! ```
//!
//! The service turns degrees Celsius into Fahrenheit. A request says where its answer goes (the response topic) and carries
//! bytes that the service copies into the answer (the correlation data). So a client can have many requests on their way,
//! and a service that shares its subscription with others of its kind needs no change: `$share/converters/convert/celsius`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, default_value_t = 1883)]
    port: u16,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    requests: u16,
}

const REQUESTS: &str = "convert/celsius";
/// Of this client alone: nobody else gets its answers.
const ANSWERS: &str = "answers/client-1";
/// Requests that the service may have and not have answered.
const WINDOW: u16 = 50;
/// An example ends by itself, whatever happens.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut options = MqttOptions::new("converter", &args.host, args.port);
    // An acknowledgement says "answered", not "arrived". The broker sends at most so many requests ahead of it.
    options.set_manual_acks(true);
    options.set_receive_maximum(Some(WINDOW));
    let service = connect(options, REQUESTS).await?;
    let client = connect(MqttOptions::new("client-1", &args.host, args.port), ANSWERS).await?;
    tokio::select! {
        result = serve(service) => result,
        result = ask(client, args.requests) => result,
        () = tokio::time::sleep(DEADLINE) => bail!("not done after a minute"),
    }
}

/// A client that has subscribed to its topic.
async fn connect(mut options: MqttOptions, topic: &str) -> Result<(AsyncClient, EventLoop)> {
    options.set_keep_alive(Duration::from_secs(30));
    // Room for an answer and an acknowledgement of each request in the window.
    let (client, mut eventloop) = AsyncClient::new(options, 2 * usize::from(WINDOW));
    client.subscribe(topic, QoS::AtLeastOnce).await?;
    while !matches!(eventloop.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    Ok((client, eventloop))
}

async fn serve((client, mut eventloop): (AsyncClient, EventLoop)) -> Result<()> {
    loop {
        let Event::Incoming(Packet::Publish(request)) = eventloop.poll().await? else { continue };
        if let Some((topic, properties, payload)) = answer(&request) {
            // Not publish().await: it would wait for the event loop, which only this task polls.
            client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)?;
        }
        client.try_ack(&request)?;
    }
}

/// Nobody waits for the answer to a request without a response topic.
fn answer(request: &Publish) -> Option<(String, PublishProperties, String)> {
    let asked = request.properties.as_ref()?;
    let mut properties =
        PublishProperties { correlation_data: asked.correlation_data.clone(), ..PublishProperties::default() };
    let celsius = std::str::from_utf8(&request.payload).ok().and_then(|text| text.parse::<f64>().ok());
    let payload = match celsius {
        Some(celsius) => format!("{:.1}", celsius * 9.0 / 5.0 + 32.0),
        None => {
            // MQTT has no status of an answer: services agree on a user property.
            properties.user_properties.push(("error".into(), "a number was expected".into()));
            String::new()
        }
    };
    Some((asked.response_topic.clone()?, properties, payload))
}

/// Sends all requests, the last one with a mistake, and matches the answers with them.
async fn ask((client, mut eventloop): (AsyncClient, EventLoop), requests: u16) -> Result<()> {
    let mut waiting: HashMap<_, _> = (0..requests).map(|number| (number, f64::from(number))).collect();
    tokio::spawn(async move {
        for number in 0..requests {
            let properties = PublishProperties {
                response_topic: Some(ANSWERS.into()),
                correlation_data: Some(number.to_be_bytes().to_vec().into()),
                // A service that comes too late need not bother: whoever asked has gone.
                message_expiry_interval: Some(DEADLINE.as_secs() as u32),
                ..PublishProperties::default()
            };
            let payload = if number == requests - 1 { "warm".into() } else { number.to_string() };
            client.publish_with_properties(REQUESTS, QoS::AtLeastOnce, false, payload, properties).await?;
        }
        anyhow::Ok(())
    });
    let mut errors = 0;
    while !waiting.is_empty() {
        let Event::Incoming(Packet::Publish(answer)) = eventloop.poll().await? else { continue };
        let properties = answer.properties.context("an answer without properties")?;
        let correlation = properties.correlation_data.context("an answer without correlation data")?;
        let number = u16::from_be_bytes((&correlation[..]).try_into().context("correlation data of somebody else")?);
        let celsius = waiting.remove(&number).context("an answer to nothing that was asked")?;
        if properties.user_properties.iter().any(|(name, _)| name == "error") {
            errors += 1;
            continue;
        }
        let fahrenheit: f64 = std::str::from_utf8(&answer.payload)?.parse()?;
        ensure!((fahrenheit - (celsius * 1.8 + 32.0)).abs() < 0.1, "{celsius} °C are not {fahrenheit} °F");
    }
    println!("{requests} requests: {} answers, {errors} refused", usize::from(requests) - errors);
    Ok(())
}
