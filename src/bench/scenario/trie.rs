//! trie: many subscriptions of which each message matches a few, to see how the cost of finding those grows.

use std::sync::Arc;

use super::flow::{self, WINDOW};
use super::load::{Load, LoadLane};
use crate::bench::conductor::Conductor;
use crate::bench::plan::Flow;
use crate::bench::topics::{Filters, Topics, Tree};

/// What is asked for.
pub(super) struct Trie {
    pub(super) publishers: u32,
    pub(super) subscriptions: u64,
    pub(super) connections: u32,
    pub(super) matches: u32,
    pub(super) plus: f64,
    pub(super) hash: f64,
}

pub(super) async fn run(conductor: &mut Conductor<'_>, asked: &Trie, flow: Flow) {
    let matches = asked.matches.max(1);
    // A connection has one filter of a topic at most, and a topic has all its filters.
    let connections = asked.connections.max(1).next_multiple_of(matches);
    let topics = asked.subscriptions.div_ceil(matches.into()).max(1);
    let subscriptions = topics * u64::from(matches);
    conductor.report.param("publishers", asked.publishers);
    conductor.report.param("subscriptions", subscriptions);
    conductor.report.param("connections", connections);
    conductor.report.param("matches", matches);
    conductor.report.param("plus", asked.plus);
    conductor.report.param("hash", asked.hash);
    let root = conductor.topic("trie");
    let tree = Arc::new(Tree { root, matches: matches.into(), plus: asked.plus, hash: asked.hash });
    let topic = tree.topic(0);
    // Filters of a topic are neighbours: each goes to a connection of another receiver.
    let deal = |first: u32| Filters::of(Arc::clone(&tree), first.into(), connections as usize, subscriptions);
    let filters = (0..connections).map(deal).collect();
    let window = flow.window.unwrap_or(WINDOW);
    let publishers = vec![topic; asked.publishers as usize];
    let lane = LoadLane::dealt(conductor, publishers, filters, matches as usize, window);
    flow::run(conductor, Load::new(vec![lane]), flow, Topics::Tree(topics), window).await;
}
