//! connect: how fast clients get in, what each costs while it does nothing, and whether all still answer.

use std::time::Duration;

use crate::bench::board::{Count, Last};
use crate::bench::client::Caller;
use crate::bench::conductor::{Conductor, Stop};
use crate::bench::report::{CONNECT_TIME, Status};
use crate::bench::subscriber::{Subscriber, Subscription};
use crate::bench::topics::Filters;
use crate::packet::QoS;

/// What is asked for.
pub(super) struct Connect {
    pub(super) clients: u32,
    /// Connections begun a second; `None` for as many as go.
    pub(super) rate: Option<f64>,
    pub(super) subscribes: bool,
    pub(super) is_lasting: bool,
    pub(super) settle: Duration,
}

pub(super) async fn run(conductor: &mut Conductor<'_>, asked: &Connect) {
    conductor.report.param("clients", asked.clients);
    conductor.report.param("rate", asked.rate);
    conductor.report.param("subscribe", asked.subscribes);
    conductor.report.param("lasting", asked.is_lasting);
    conductor.is_tolerant = true;
    let clients = make_clients(conductor, asked);
    let outcome = connect_and_stay(conductor, asked, clients).await;
    conductor.conclude(outcome);
    let connect_time = conductor.board.connect_time.lock().clone();
    conductor.report.distribution(CONNECT_TIME, &connect_time);
    judge(conductor);
}

fn make_clients(conductor: &mut Conductor<'_>, asked: &Connect) -> Vec<Subscriber> {
    let client = |n: u32| {
        let filters = Filters::one(conductor.topic(&format!("connect/{n}")));
        let due = asked.rate.map(|rate| conductor.board.now() + (f64::from(n) / rate * 1e9) as u64);
        Subscriber {
            caller: Caller { due, ..conductor.caller(&format!("c{n}"), asked.is_lasting) },
            subscription: asked.subscribes.then_some(Subscription { filters, batch: 1, qos: QoS::AtMostOnce }),
            share: None,
            comes_back: false,
        }
    };
    (0..asked.clients).map(client).collect()
}

async fn connect_and_stay(
    conductor: &mut Conductor<'_>,
    asked: &Connect,
    clients: Vec<Subscriber>,
) -> Result<(), Stop> {
    let all = u64::from(asked.clients);
    // Between two clients nothing has to move.
    conductor.stall =
        asked.rate.map_or(conductor.stall, |rate| conductor.stall.max(Duration::from_secs_f64(3.0 / rate)));
    let begin = conductor.mark();
    clients.into_iter().for_each(|client| conductor.spawn(client.run()));
    let outcome = conductor.until("connecting", |counts| counts[Count::Connected] + counts[Count::Failed] >= all).await;
    let end = conductor.mark();
    let connected = end.counts[Count::Connected];
    let seconds = conductor.board.last(Last::Connected).saturating_sub(begin.at) as f64 / 1e9;
    conductor.report.set("connected", connected as f64);
    conductor.report.set("failed", (all - connected) as f64);
    conductor.report.set("connect_s", seconds);
    if connected > 0 {
        conductor.report.set("connects_per_s", connected as f64 / seconds);
    }
    conductor.tell_cpu(&begin, &end, ["broker_cpu_us_per_connect", "gen_cpu_us_per_connect"], connected as f64);
    conductor.note_limits();
    outcome?;
    if asked.subscribes {
        conductor.until("subscribing", |counts| counts[Count::Subscribed] >= connected).await?;
    }
    conductor.rest("settling", asked.settle).await?;
    conductor.tell_memory(&begin, "rss_per_connection_bytes", connected as f64);
    conductor.report.set("lost_while_idle", conductor.closed as f64);
    ping(conductor, connected - conductor.closed.min(connected)).await
}

async fn ping(conductor: &mut Conductor<'_>, alive: u64) -> Result<(), Stop> {
    let begin = conductor.mark();
    conductor.ping_all();
    let outcome = conductor.until("pinging", |counts| counts[Count::Pongs] >= alive).await;
    let end = conductor.mark();
    let pongs = end.counts[Count::Pongs];
    let seconds = conductor.board.last(Last::Pong).saturating_sub(begin.at) as f64 / 1e9;
    conductor.report.set("pongs", pongs as f64);
    if pongs > 0 {
        conductor.report.set("pings_per_s", pongs as f64 / seconds);
        conductor.tell_cpu_each(&begin, &end, "broker_cpu_us_per_ping", pongs as f64);
    }
    outcome
}

fn judge(conductor: &mut Conductor<'_>) {
    let failed = conductor.board.counts()[Count::Failed];
    let first = conductor.first_fault.take().map(|fault| fault.to_string()).unwrap_or_default();
    if failed > 0 {
        conductor.report.fail(Status::Failed, format!("{failed} clients did not get through: {first}"));
    } else if conductor.closed > 0 {
        conductor.report.fail(Status::Disconnected, format!("{} connections were closed: {first}", conductor.closed));
    } else if !first.is_empty() {
        conductor.report.fail(Status::Failed, first);
    }
}
