//! churn: whole lives of clients a second.

use std::time::Duration;

use crate::bench::board::Count;
use crate::bench::conductor::{Conductor, Stop};
use crate::bench::mayfly::Mayfly;
use crate::bench::report::{LIFE_TIME, Status};
use crate::bench::stage::Stage;
use crate::packet::QoS;

pub(super) async fn run(conductor: &mut Conductor<'_>, clients: u32, duration: Duration) {
    conductor.report.param("clients", clients);
    for n in 0..clients {
        let mayfly = Mayfly {
            caller: conductor.caller(&format!("c{n}"), false),
            topic: conductor.topic(&format!("churn/{n}")),
            qos: conductor.plan.messages.qos,
            payload_bytes: conductor.plan.messages.payload_bytes,
        };
        conductor.spawn(mayfly.run());
    }
    let outcome = live(conductor, clients, duration).await;
    conductor.conclude(outcome);
    let life_time = conductor.board.all_latencies();
    conductor.report.distribution(LIFE_TIME, &life_time);
    judge(conductor);
}

/// Lives begin until the time is over, and all come to their end.
async fn live(conductor: &mut Conductor<'_>, clients: u32, duration: Duration) -> Result<(), Stop> {
    let begin = conductor.mark();
    let to = begin.at + duration.as_nanos() as u64;
    conductor.board.measure(begin.at, to);
    let outcome = conductor.until_moment("measuring", to).await;
    let end = conductor.mark();
    let lives = (end.counts - begin.counts)[Count::Lives] as f64;
    let seconds = (end.at - begin.at) as f64 / 1e9;
    conductor.report.set("cycles", lives);
    conductor.report.set("cycles_per_s", lives / seconds);
    conductor.report.set("elapsed_s", seconds);
    conductor.tell_cpu(&begin, &end, ["broker_cpu_us_per_cycle", "gen_cpu_us_per_cycle"], lives);
    conductor.note_limits();
    outcome?;
    conductor.board.stage.turn(Stage::Stop);
    match conductor.until("ending", |counts| counts[Count::Ended] >= clients.into()).await {
        Err(Stop { status: Status::Stalled, .. }) => {
            let unfinished = u64::from(clients) - conductor.board.counts()[Count::Ended];
            conductor.report.set("unfinished", unfinished as f64);
            Err(Stop::new(
                Status::Loss,
                format!("{unfinished} of {clients} clients did not get to the end of their life"),
            ))
        }
        outcome => outcome,
    }
}

fn judge(conductor: &mut Conductor<'_>) {
    let counts = conductor.board.counts();
    let (sent, received, duplicates) = (counts[Count::Sent], counts[Count::Received], counts[Count::Duplicates]);
    for (name, count) in [("sent", sent), ("received", received), ("duplicates", duplicates)] {
        conductor.report.set(name, count as f64);
    }
    if duplicates > 0 && conductor.plan.messages.qos != QoS::AtLeastOnce {
        conductor.report.fail(Status::Duplicates, format!("{duplicates} messages came twice"));
    }
}
