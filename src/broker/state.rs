//! The broker's state on disk: opened and restored before the first client comes, looked after, closed last.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Broker, StartError};
use crate::config::{DurabilityClass, StoreConfig};
use crate::net::clock::Alarm;
use crate::net::context::Shared;
use crate::net::keeper::Durabilities;
use crate::router::Batch;
use crate::store::journal::{Journal, JournalOptions};
use crate::store::{Durability, Recovered, Store};

/// A store, and what it had.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) recovered: Recovered,
}

/// Opens the store that the configuration names; `None` keeps everything in memory.
pub(super) async fn open(config: &StoreConfig) -> Result<Option<Opened>, StartError> {
    let Some(directory) = config.directory.clone().filter(|_| !config.memory) else {
        tracing::info!("state is in memory only: it ends with the process");
        return Ok(None);
    };
    let options = JournalOptions {
        bytes_max: (config.bytes_max.0 > 0).then_some(config.bytes_max.0),
        free_bytes_min: config.free_bytes_min.0,
        ..JournalOptions::default()
    };
    let opening = tokio::task::spawn_blocking(move || Journal::open(&directory, &options));
    let (journal, recovered) = match opening.await {
        Ok(opened) => opened?,
        Err(panic) => return Err(StartError::Restore(format!("the store could not be opened: {panic}"))),
    };
    tracing::info!(
        directory = %config.directory.as_deref().unwrap_or_else(|| "".as_ref()).display(),
        durability = durability(config.durability).name(),
        rules = config.rules.len(),
        sessions = recovered.sessions.len(),
        retained = recovered.retained.len(),
        "state is kept on disk"
    );
    Ok(Some(Opened { store: Arc::new(journal), recovered }))
}

pub(super) fn durabilities(config: &StoreConfig) -> Durabilities {
    let rules = config.rules.iter().map(|rule| (rule.filter.as_str().into(), durability(rule.durability)));
    Durabilities { rules: rules.collect(), default: durability(config.durability) }
}

fn durability(class: DurabilityClass) -> Durability {
    match class {
        DurabilityClass::Memory => Durability::Memory,
        DurabilityClass::Os => Durability::Os,
        DurabilityClass::Fsync => Durability::Fsync,
    }
}

/// How often expired messages on disk are looked for, and broker time is stored.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Looks after what is on disk.
pub(super) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut alarm = Alarm::new(&shared.clock);
    loop {
        let next = shared.clock.now().after(KEEP_INTERVAL);
        tokio::select! {
            () = stop.cancelled() => return,
            () = std::future::poll_fn(|cx| alarm.poll(next, cx)) => {}
        }
        let shared = Arc::clone(&shared);
        let work = tokio::task::spawn_blocking(move || {
            shared.search_expired();
            shared.removals.look_after(&shared.keeper);
            shared.store_time();
        });
        if let Err(error) = work.await {
            tracing::error!(%error, "looking after the store failed");
        }
    }
}

impl Broker {
    pub(super) async fn restore(&self, recovered: Recovered) -> Result<(), StartError> {
        let (shared, listeners) = (Arc::clone(&self.shared), self.listeners.clone());
        match tokio::task::spawn_blocking(move || shared.restore(recovered, &listeners)).await {
            Ok(restored) => restored.map_err(|lost| StartError::Restore(lost.to_string())),
            Err(panic) => Err(StartError::Restore(format!("what the store has could not be restored: {panic}"))),
        }
    }

    /// When nobody changes anything any more.
    pub(super) async fn close_store(&self) {
        let shared = Arc::clone(&self.shared);
        shared.poll_late_wills(&mut Context::from_waker(Waker::noop()), &mut Batch::at(shared.clock.now()));
        if let Err(error) = tokio::task::spawn_blocking(move || shared.keeper.close()).await {
            tracing::error!(%error, "closing the store failed");
        }
    }
}
