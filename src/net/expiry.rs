//! Messages on disk whose Message Expiry Interval has passed: they are never sent late, but the room they take is given
//! back while their session still sleeps.

use std::sync::Arc;

use super::context::Shared;
use crate::message::{BrokerTime, RowId};
use crate::router::{Batch, Mailbox};
use crate::store::Lost;

impl Shared {
    /// Looks through the sessions on whose queues something may have expired. Blocks on the disk.
    pub(crate) fn search_expired(&self) {
        let now = self.clock.now();
        let mut searched: Vec<(Arc<Mailbox>, RowId)> = Vec::new();
        self.sessions.for_each_mailbox(|mailbox| {
            searched.extend(mailbox.begin_search(now).map(|front| (Arc::clone(mailbox), front)));
        });
        for (mailbox, front) in searched {
            let mut batch = Batch::at(now);
            match self.expired_rows(&mailbox, front, now) {
                Ok((expired, next)) => mailbox.end_search(&expired, next, &mut batch),
                // Looked at again the next time.
                Err(_) => mailbox.end_search(&[], now, &mut batch),
            }
            self.flush(&mut batch);
        }
    }

    /// Those that have expired, ascending, and when the next of the others does.
    fn expired_rows(&self, mailbox: &Mailbox, front: RowId, now: BrokerTime) -> Result<(Vec<RowId>, BrokerTime), Lost> {
        let (mut expired, mut next) = (Vec::new(), BrokerTime::NEVER);
        let mut after = RowId(front.0.saturating_sub(1));
        loop {
            let rows = self.keeper.rows(mailbox.owner(), after)?;
            let Some(last) = rows.last() else { return Ok((expired, next)) };
            after = last.row;
            for row in rows {
                if row.expires_at <= now {
                    expired.push(row.row);
                } else {
                    next = next.min(row.expires_at);
                }
            }
        }
    }
}
