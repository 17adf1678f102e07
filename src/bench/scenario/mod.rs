//! The scenarios: what clients there are, and the phases that they go through.

mod churn;
mod connect;
mod flow;
mod latency;
mod load;
mod offline;
mod retained;
mod trie;

use std::time::Duration;

use self::connect::Connect;
use self::latency::Latency;
use self::trie::Trie;
use super::conductor::Conductor;
use super::plan::Scenario;

/// A SUBACK may come before the broker has told its other threads of the subscription.
const SETTLE: Duration = Duration::from_millis(200);

pub(super) async fn run(conductor: &mut Conductor<'_>) {
    match conductor.plan.scenario {
        Scenario::Fanout { publishers, subscribers, flow } => {
            flow::fanout(conductor, publishers, subscribers, flow).await
        }
        Scenario::Fanin { publishers, subscribers, is_shared, flow } => {
            flow::fanin(conductor, publishers, subscribers, is_shared, flow).await
        }
        Scenario::Pairs { pairs, wildcard, flow } => flow::pairs(conductor, pairs, wildcard, flow).await,
        Scenario::Latency { pairs, rate, duration, warmup, is_spinning } => {
            latency::run(conductor, &Latency { pairs, rate, duration, warmup, is_spinning }).await;
        }
        Scenario::Connect { clients, rate, subscribes, is_lasting, settle } => {
            connect::run(conductor, &Connect { clients, rate, subscribes, is_lasting, settle }).await;
        }
        Scenario::Retained { count, subscribers, settle } => {
            retained::run(conductor, count, subscribers, settle).await;
        }
        Scenario::Offline { publishers, subscribers, count, settle } => {
            offline::run(conductor, publishers, subscribers, count, settle).await;
        }
        Scenario::Trie { publishers, subscriptions, connections, matches, plus, hash, flow } => {
            let asked = Trie { publishers, subscriptions, connections, matches, plus, hash };
            trie::run(conductor, &asked, flow).await;
        }
        Scenario::Churn { clients, duration } => churn::run(conductor, clients, duration).await,
    }
}
