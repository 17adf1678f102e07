//! Mosquitto's persistence file, `mosquitto.db` of its 2.x versions.
//!
//! Everything in it has a place in a store, with these differences: a copy of QoS 1 in flight is sent again as if it were
//! the first time, with another packet id. A QoS 2 message whose PUBREL has not come is handed out by mosquitto when it
//! comes; here it was handed out when it came, so the import does that. Mosquitto does not save shared subscriptions.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use file::{Client, Copy, File, Flaw, State, Stored};

use super::{Counts, ImportError, Imported, Sent};
use crate::message::{BrokerTime, Message, MessageParts, OwnerId, PublisherId, RowId, StoredCopy, SubscriptionIds};
use crate::store::{Change, SessionRecord, StoredMessage};
use crate::topic::{ParsedFilter, QoS, SubscribeOptions, filter_matches};

/// The name of the file in mosquitto's directory, unless its configuration gives another.
pub const FILE_NAME: &str = "mosquitto.db";

/// Of a client of another broker: the key under which a store knows publishers is not that broker's.
const SOMEBODY: PublisherId = PublisherId(u64::MAX);

/// Reads a persistence file, or the one in a directory. Owners get numbers from `next_owner` on.
pub fn read(path: &Path, now: BrokerTime, next_owner: &mut u64) -> Result<Imported, ImportError> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ImportError::Unreadable { path, source }),
    };
    decode(&bytes, now, SystemTime::now(), next_owner).map_err(|flaw| match flaw {
        Flaw::Foreign => ImportError::Foreign { path },
        Flaw::Version(version) => ImportError::Version { path, version },
        Flaw::Damaged { offset, what } => ImportError::Damaged { path, offset, what },
    })
}

/// `wall` is the wall clock at `now`.
fn decode(bytes: &[u8], now: BrokerTime, wall: SystemTime, next_owner: &mut u64) -> Result<Imported, Flaw> {
    let file = File::read(bytes)?;
    let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut import = Import { clock: Clock { now, wall }, ..Import::default() };
    import.put_messages(&file)?;
    import.put_sessions(&file, next_owner)?;
    import.put_subscriptions(&file);
    import.mark_retained(&file)?;
    import.put_copies(&file)?;
    import.put_inbound(&file)?;
    Ok(import.imported)
}

/// Wall-clock seconds into broker time.
#[derive(Clone, Copy, Default)]
struct Clock {
    now: BrokerTime,
    wall: u64,
}

impl Clock {
    /// Seconds that are left; `None` when they have passed.
    fn left(self, at: i64) -> Option<u64> {
        u64::try_from(at).ok()?.checked_sub(self.wall).filter(|left| *left > 0)
    }
}

#[derive(Default)]
struct Import<'a> {
    clock: Clock,
    /// By mosquitto's numbers; `None` for those that have expired.
    messages: HashMap<u64, Option<Message>>,
    /// By client identifier; `None` for sessions that have ended.
    owners: HashMap<&'a str, Option<OwnerId>>,
    subscriptions: Vec<(OwnerId, &'a str, SubscribeOptions, Option<u32>)>,
    /// Messages that are retained.
    retained: BTreeSet<u64>,
    imported: Imported,
}

impl<'a> Import<'a> {
    fn counts(&mut self) -> &mut Counts {
        &mut self.imported.counts
    }

    fn put_messages(&mut self, file: &File<'a>) -> Result<(), Flaw> {
        for stored in &file.messages {
            let message = self.message(stored);
            self.counts().messages_expired += u64::from(message.is_none());
            if self.messages.insert(stored.id, message).is_some() {
                return Err(twice(stored.offset, &format!("message {}", stored.id)));
            }
        }
        Ok(())
    }

    fn message(&self, stored: &Stored<'_>) -> Option<Message> {
        let expires_at = match stored.expires_at {
            0 => BrokerTime::NEVER,
            at => self.clock.now.after(Duration::from_secs(self.clock.left(at)?)),
        };
        let mut forward = Vec::new();
        stored.properties.forward_into(&mut forward);
        Some(Message::new(&MessageParts {
            topic_prefix: "",
            topic: stored.topic,
            forward: &forward,
            payload: stored.payload,
            qos: stored.qos,
            retain: stored.retain,
            expires_at,
            publisher: SOMEBODY,
        }))
    }

    fn put_sessions(&mut self, file: &File<'a>, next_owner: &mut u64) -> Result<(), Flaw> {
        for client in &file.clients {
            let expiry_interval = self.expiry_interval(client);
            let owner = expiry_interval.map(|_| OwnerId(*next_owner));
            if self.owners.insert(client.id, owner).is_some() {
                return Err(twice(client.offset, &format!("client {:?}", client.id)));
            }
            let (Some(owner), Some(expiry_interval)) = (owner, expiry_interval) else {
                self.counts().sessions_ended += 1;
                continue;
            };
            *next_owner += 1;
            self.counts().sessions += 1;
            let record = SessionRecord {
                owner,
                client_id: client.id.into(),
                user_name: client.user_name.map(Into::into),
                listener: "".into(),
                mount_point: "".into(),
                expiry_interval,
                disconnected_at: Some(self.clock.now),
                sent_up_to: None,
                will: None,
            };
            self.imported.changes.push(Change::PutSession(Box::new(record)));
        }
        Ok(())
    }

    /// What is left of it from now on; `None` when it has ended.
    fn expiry_interval(&self, client: &Client<'_>) -> Option<u32> {
        match (client.expiry_interval, client.expires_at) {
            (0, _) => None,
            (u32::MAX, _) => Some(u32::MAX),
            // Its connection ended with the broker.
            (interval, 0) => Some(interval),
            (interval, at) => Some(u32::try_from(self.clock.left(at)?).unwrap_or(interval).min(interval)),
        }
    }

    fn put_subscriptions(&mut self, file: &File<'a>) {
        for subscription in &file.subscriptions {
            let Some(owner) = self.owners.get(subscription.client).copied().flatten() else {
                self.counts().left_behind += 1;
                continue;
            };
            let (filter, options, id) = (subscription.filter, subscription.options, subscription.id);
            self.counts().subscriptions += 1;
            self.imported.changes.push(Change::PutSubscription { owner, filter: filter.into(), options, id });
            self.subscriptions.push((owner, filter, options, id.map(Into::into)));
        }
    }

    fn mark_retained(&mut self, file: &File<'a>) -> Result<(), Flaw> {
        for (id, offset) in &file.retained {
            if self.known(*id, *offset)?.is_some() {
                self.retained.insert(*id);
                self.counts().retained += 1;
            }
        }
        Ok(())
    }

    /// A message that a record speaks of.
    fn known(&self, id: u64, offset: usize) -> Result<&Option<Message>, Flaw> {
        let what = || Flaw::Damaged { offset, what: format!("there is no message {id}") };
        self.messages.get(&id).ok_or_else(what)
    }

    /// Copies to clients. The file has each client's in order; mosquitto's numbers are the order of arrival. Where the two
    /// agree, a message is written once for all who get it.
    fn put_copies(&mut self, file: &File<'a>) -> Result<(), Flaw> {
        let mut queues: BTreeMap<OwnerId, Vec<&Copy<'a>>> = BTreeMap::new();
        for copy in file.copies.iter().filter(|copy| !copy.is_inbound) {
            let is_there = self.known(copy.message, copy.offset)?.is_some();
            match self.owner(copy)? {
                Some(owner) if copy.qos != QoS::AtMostOnce => {
                    if is_there {
                        queues.entry(owner).or_default().push(copy);
                    }
                }
                _ => self.counts().left_behind += 1,
            }
        }
        let mut together: BTreeMap<u64, Vec<(OwnerId, &Copy<'a>)>> = BTreeMap::new();
        self.retained.iter().for_each(|id| drop(together.insert(*id, Vec::new())));
        let mut alone = Vec::new();
        for (owner, queue) in queues {
            let is_by_arrival = queue.is_sorted_by(|earlier, later| earlier.message < later.message);
            for copy in queue {
                if is_by_arrival {
                    together.entry(copy.message).or_default().push((owner, copy));
                } else {
                    alone.push((owner, copy));
                }
            }
        }
        for (id, copies) in together {
            let retained = self.retained.contains(&id);
            self.put_message(id, &copies, retained);
        }
        for (owner, copy) in alone {
            self.put_message(copy.message, &[(owner, copy)], false);
        }
        Ok(())
    }

    fn put_message(&mut self, id: u64, copies: &[(OwnerId, &Copy<'a>)], retained: bool) {
        let Some(Some(message)) = self.messages.get(&id).cloned() else { return };
        let change = self.imported.changes.len();
        for (owner, copy) in copies {
            self.imported.counts.copies += 1;
            let is_handed = copy.state == State::AwaitsCompletion;
            if copy.qos == QoS::ExactlyOnce && copy.packet_id > 0 && (is_handed || copy.state == State::Published) {
                self.imported.sent.push(Sent { change, owner: *owner, packet_id: copy.packet_id, is_handed });
            }
        }
        let stored_copy = |(owner, copy): &(OwnerId, &Copy<'a>)| StoredCopy {
            owner: *owner,
            qos: copy.qos,
            retain: copy.retain,
            subscription_ids: copy.subscription_id.map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.into())),
        };
        let copies = copies.iter().map(stored_copy).collect();
        let stored = StoredMessage { message, copies, retained, received: None };
        self.imported.changes.push(Change::Message(Box::new(stored)));
    }

    /// Messages of QoS 2 from clients that wait for PUBREL: they are handed out now, and their packet ids remembered.
    fn put_inbound(&mut self, file: &File<'a>) -> Result<(), Flaw> {
        for copy in file.copies.iter().filter(|copy| copy.is_inbound) {
            let message = self.known(copy.message, copy.offset)?.clone();
            // Without a PUBREC its sender sends it again.
            let is_received = copy.state != State::Queued && copy.qos == QoS::ExactlyOnce && copy.packet_id > 0;
            let Some(owner) = self.owner(copy)?.filter(|_| is_received) else {
                self.counts().left_behind += 1;
                continue;
            };
            self.counts().received += 1;
            let Some(message) = message else {
                self.imported.changes.push(Change::Received { owner, packet_id: copy.packet_id });
                continue;
            };
            let (clears, topic) = (message.retain() && message.payload().is_empty(), message.topic().into());
            let retained = message.retain() && !clears;
            let copies = self.copies_of(&message, owner);
            self.counts().copies += copies.len() as u64;
            self.counts().retained += u64::from(retained);
            let stored = StoredMessage { message, copies, retained, received: Some((owner, copy.packet_id)) };
            self.imported.changes.push(Change::Message(Box::new(stored)));
            if clears {
                self.imported.changes.push(Change::DeleteRetained { topic, up_to: RowId(u64::MAX) });
            }
        }
        Ok(())
    }

    /// One copy for each session that has a matching subscription of QoS 1 or 2.
    fn copies_of(&self, message: &Message, sender: OwnerId) -> Vec<StoredCopy> {
        let mut matches: BTreeMap<OwnerId, (QoS, bool, Vec<u32>)> = BTreeMap::new();
        for (owner, filter, options, id) in &self.subscriptions {
            let is_shared = !matches!(ParsedFilter::parse(filter), Ok(ParsedFilter { share: None, .. }));
            let is_echo = options.no_local && *owner == sender;
            if is_shared || is_echo || !filter_matches(filter, message.topic()) {
                continue;
            }
            let (qos, retain, ids) = matches.entry(*owner).or_default();
            *qos = options.qos.max(*qos);
            *retain |= options.retain_as_published && message.retain();
            ids.extend(id);
        }
        matches.retain(|_, (qos, ..)| *qos > QoS::AtMostOnce);
        let copies = matches.into_iter().map(|(owner, (qos, retain, ids))| StoredCopy {
            owner,
            qos: qos.min(message.qos()),
            retain,
            subscription_ids: SubscriptionIds::from_slice(&ids),
        });
        copies.collect()
    }

    /// Whose copy it is; `None` when the session has ended.
    fn owner(&self, copy: &Copy<'_>) -> Result<Option<OwnerId>, Flaw> {
        let what = || format!("there is no client {:?}", copy.client);
        self.owners.get(copy.client).copied().ok_or_else(|| Flaw::Damaged { offset: copy.offset, what: what() })
    }
}

fn twice(offset: usize, what: &str) -> Flaw {
    Flaw::Damaged { offset, what: format!("{what} is there twice") }
}
