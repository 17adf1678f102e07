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
//! A stamp in each payload says who sent it, which message of that publisher it is, and when it was to leave (`stamp`). By
//! these, subscribers notice what is missing, repeated, late or in the wrong order. Packets are encoded once and copied; of
//! those that come, the stamp is looked at and the rest skipped.
//!
//! Closed loop: only so many messages are under way at a time, so that what is measured is work and not a queue that grows,
//! and a lost message stops its publishers. Open loop (`latency`): a clock decides when messages leave, and whoever makes one
//! wait, its waiting counts (no coordinated omission).
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
mod mayfly;
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
mod topics;
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
    conductor.forget_sessions().await;
    conductor.finish(&begin)
}
