//! Measures a broker, ours or another, as its clients see it: rates, latencies, CPU for each message, and whether anything
//! is lost or comes twice.
//!
//! ```text
//! conductor   what is done in which order, and when it is over        scenario/, conductor
//!    │ starts                                       ▲ reads
//!    ▼                                              │
//! publishers ──► broker ──► subscribers ──► board, lanes             one task a client
//!      ▲                                            │
//!      └─────────── the window opens ───────────────┘
//! ```
//!
//! Every message carries its publisher, its number and the time it is due (`stamp`), so that loss, duplicates, order and
//! latency are known of each one. Publishers send ready-made bytes; subscribers read what they need of what comes.
//!
//! Closed loop: publishers go on while fewer than a window of messages are on their way, so that no queue of the broker is
//! what is measured, and dropping never looks fast. Open loop (`latency`): messages are due at a rate, and late is late
//! whoever is to blame (no coordinated omission).
//!
//! Nothing here knows our broker's inside: it speaks MQTT through sockets.

mod board;
mod client;
mod conductor;
mod fault;
mod greeting;
mod histogram;
mod incoming;
mod lane;
mod link;
mod outgoing;
mod pace;
mod plan;
mod precise_timer;
mod process;
mod publisher;
mod report;
mod scenario;
mod seen;
mod stage;
mod stamp;
mod subscriber;
mod transport;

use std::io;

pub use board::{Count, Counts};
pub use conductor::Progress;
pub use plan::{Amount, Flow, Generator, Messages, Plan, Scenario, Target, Wildcard};
pub use report::{METRICS, Metric, Report, Status};
pub use stamp::{PUBLISHERS_MAX, STAMP_BYTES};
use tokio::runtime::{Builder, Runtime};
pub use transport::{TlsClient, Transport};

use conductor::Conductor;

/// Runs a plan to its end; `progress` hears of it every second.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> io::Result<Report> {
    Ok(runtime(plan.generator.threads)?.block_on(measure(plan, progress)))
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

async fn measure(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Report {
    let mut conductor = match Conductor::begin(plan, progress).await {
        Ok(conductor) => conductor,
        Err(stop) => {
            let mut report = Report::new(plan.scenario.name());
            report.fail(stop.status, stop.detail);
            return report;
        }
    };
    conductor.tell_params();
    let begin = conductor.mark();
    scenario::run(&mut conductor).await;
    conductor.stop_clients().await;
    conductor.finish(&begin)
}
