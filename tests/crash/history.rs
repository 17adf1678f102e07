//! What happened, as the clients saw it: what was promised to them and what they received, in one order of events.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::filter::{Filter, Wish};
use crate::verdict;
use crate::wills::{TESTATORS, Testament};
use crate::world::{PUBLISHERS, RETAINED, SUBSCRIBERS, Subject};

/// Counts events. What is sent is noted before it is sent, what is received after it was received: of two events, the
/// earlier one has happened earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

pub struct Published {
    pub subject: Subject,
    pub sent: Moment,
    /// Where it was sent first.
    pub process: u32,
    /// How often it was sent.
    pub transmissions: u32,
    /// PUBACK or PUBREC.
    pub acknowledged: Option<Moment>,
    /// By the process that it was sent to first.
    pub is_prompt: bool,
    /// PUBACK or PUBCOMP. A broker may look for subscriptions, and retain, as late as at PUBREL.
    pub completed: Option<Moment>,
}

/// A subscription, from its SUBSCRIBE to its UNSUBACK.
#[derive(Clone, Copy, Default)]
pub struct Subscribed {
    pub asked: Moment,
    pub granted: Option<Moment>,
    pub ending: Option<Moment>,
    pub ended: Option<Moment>,
}

pub struct Delivered {
    pub publisher: usize,
    pub sequence: usize,
    pub filter: Filter,
    pub qos: u8,
    /// Counts this subscriber's connections.
    pub connection: u32,
    pub at: Moment,
}

/// One subscriber's part.
#[derive(Default)]
pub struct Inbox {
    subscriptions: HashMap<Filter, Vec<Subscribed>>,
    pub delivered: Vec<Delivered>,
}

impl Inbox {
    pub fn subscriptions(&self, filter: Filter) -> &[Subscribed] {
        self.subscriptions.get(&filter).map_or(&[], Vec::as_slice)
    }
}

#[derive(Default)]
pub struct History {
    clock: u64,
    pub published: [Vec<Published>; PUBLISHERS],
    pub inboxes: [Inbox; SUBSCRIBERS],
    pub testaments: [Vec<Testament>; TESTATORS],
    pub blows: u64,
    /// Counts the processes of the broker.
    pub process: u32,
    /// Reconnects of clients that had a session, and how many did not find it.
    pub sessions: u64,
    pub sessions_lost: u64,
    /// Retained topics that a new subscriber has looked at, and how many were not as they have to be.
    pub retained: u64,
    pub retained_lost: u64,
    /// What was acknowledged before has been found lost, and is not counted again.
    forgiven: [[Moment; RETAINED]; PUBLISHERS],
    /// Payloads that nobody has sent, packet ids of QoS 2 that changed their message, refusals: never right.
    pub nonsense: Vec<String>,
    /// What else there is to say about faults.
    pub details: Vec<String>,
    /// Messages that a group still has to get before all is drained.
    pub missing: HashSet<(Filter, (usize, usize))>,
    /// When the first broker was started that is stopped in good order, and which process that is: from here on all is
    /// drained.
    pub drain: Option<(Moment, u32)>,
    /// When everything had been drained and that broker was stopped.
    pub end: Option<Moment>,
}

impl History {
    pub fn now(&mut self) -> Moment {
        self.clock += 1;
        Moment(self.clock)
    }

    /// The number of a message that is about to be sent for the first time.
    pub fn sent(&mut self, publisher: usize, subject: Subject) -> usize {
        let published = Published {
            subject,
            sent: self.now(),
            process: self.process,
            transmissions: 1,
            acknowledged: None,
            is_prompt: false,
            completed: None,
        };
        self.published[publisher].push(published);
        self.published[publisher].len() - 1
    }

    pub fn sent_again(&mut self, publisher: usize, sequence: usize) {
        self.published[publisher][sequence].transmissions += 1;
    }

    pub fn acknowledged(&mut self, publisher: usize, sequence: usize) {
        let (now, process) = (self.now(), self.process);
        let message = &mut self.published[publisher][sequence];
        if message.acknowledged.is_none() {
            (message.acknowledged, message.is_prompt) = (Some(now), message.process == process);
        }
    }

    pub fn completed(&mut self, publisher: usize, sequence: usize) {
        let now = self.now();
        self.published[publisher][sequence].completed.get_or_insert(now);
    }

    /// A SUBSCRIBE or UNSUBSCRIBE is about to be sent for the first time.
    pub fn changing(&mut self, subscriber: usize, filter: Filter, subscribes: bool) {
        let now = self.now();
        let subscriptions = self.inboxes[subscriber].subscriptions.entry(filter).or_default();
        if subscribes {
            subscriptions.push(Subscribed { asked: now, ..Subscribed::default() });
        } else if let Some(last) = subscriptions.last_mut() {
            last.ending = Some(now);
        }
    }

    /// Its SUBACK or UNSUBACK has come.
    pub fn changed(&mut self, subscriber: usize, filter: Filter, subscribes: bool) {
        let now = self.now();
        let subscriptions = self.inboxes[subscriber].subscriptions.get_mut(&filter);
        if let Some(last) = subscriptions.and_then(|all| all.last_mut()) {
            let moment = if subscribes { &mut last.granted } else { &mut last.ended };
            moment.get_or_insert(now);
        }
    }

    /// `told` is the filter that its subscription identifier stands for.
    pub fn delivered(
        &mut self,
        subscriber: usize,
        connection: u32,
        message: (usize, usize),
        qos: u8,
        told: Option<Filter>,
    ) {
        let (publisher, sequence) = message;
        let subject = self.subject(message);
        let is_right = |filter: &Filter| {
            let is_wanted = filter.wish_of(subscriber) != Wish::Never;
            is_wanted
                && subject.is_some_and(|subject| filter.matches(subject))
                && told.is_none_or(|told| told == *filter)
        };
        let Some(filter) = Filter::all().find(is_right) else {
            let text = format!("subscriber {subscriber}: message {sequence} of {publisher} is not for it by {told:?}");
            return self.nonsense.push(text);
        };
        self.missing.remove(&(filter, message));
        let at = self.now();
        self.inboxes[subscriber].delivered.push(Delivered { publisher, sequence, filter, qos, connection, at });
    }

    pub fn subject(&self, (publisher, sequence): (usize, usize)) -> Option<Subject> {
        match publisher.checked_sub(PUBLISHERS) {
            None => Some(self.published[publisher].get(sequence)?.subject),
            Some(testator) => self.testaments.get(testator)?.get(sequence).map(|_| Subject::Will),
        }
    }

    /// A client that had a session is back.
    pub fn resumed(&mut self, is_present: bool) {
        self.sessions += 1;
        self.sessions_lost += u64::from(!is_present);
    }

    /// What a retained topic may hold now; `None` is nothing. Only one if all that was sent is acknowledged.
    pub fn retained_now(&self, publisher: usize, number: usize) -> Vec<Option<usize>> {
        let mut possible = Vec::new();
        for (sequence, message) in self.published[publisher].iter().enumerate().rev() {
            let Subject::Retained { number: of, clears } = message.subject else { continue };
            if of != number {
                continue;
            }
            possible.push((!clears).then_some(sequence));
            // What is before this one has been replaced: they are sent and completed in order.
            if message.completed.is_some_and(|at| at > self.forgiven[publisher][number]) {
                return possible;
            }
        }
        possible.push(None);
        possible
    }

    /// What a new subscriber got for a retained topic while nobody published.
    pub fn saw_retained(&mut self, publisher: usize, number: usize, seen: Option<usize>) {
        let now = self.now();
        self.retained += 1;
        let possible = self.retained_now(publisher, number);
        if !possible.contains(&seen) {
            self.retained_lost += 1;
            let topic = Subject::Retained { number, clears: false }.topic(publisher);
            self.details
                .push(format!("after {} blows {topic} holds {seen:?}, and not one of {possible:?}", self.blows));
            self.forgiven[publisher][number] = now;
        }
    }

    /// A broker is about to start that is stopped in good order.
    pub fn drains(&mut self) {
        let now = self.now();
        self.drain.get_or_insert((now, self.process));
    }

    /// It was stopped.
    pub fn ends(&mut self) {
        let now = self.now();
        self.end.get_or_insert(now);
    }

    /// Nothing is published any more.
    pub fn expect_of_groups(&mut self) {
        let arrived: HashSet<_> = (self.inboxes.iter().flat_map(|inbox| &inbox.delivered))
            .map(|delivered| (delivered.filter, (delivered.publisher, delivered.sequence)))
            .collect();
        self.missing = verdict::owed_to_groups(self).filter(|owed| !arrived.contains(owed)).collect();
    }

    /// A fault that shows before the end.
    pub fn has_failed(&self) -> bool {
        self.sessions_lost > 0 || self.retained_lost > 0 || !self.nonsense.is_empty()
    }

    pub fn is_subscribed(&self, subscriber: usize, filter: Filter) -> bool {
        let last = self.inboxes[subscriber].subscriptions(filter).last();
        last.is_some_and(|last| last.granted.is_some() && last.ending.is_none())
    }
}

/// The history of an episode that goes on, and a bell for those who wait until something has happened in it.
#[derive(Default)]
pub struct Ledger {
    history: Mutex<History>,
    progress: Condvar,
    state: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    acknowledged: u64,
    /// The blow is about to fall, or has fallen.
    is_struck: bool,
    is_killed: bool,
}

impl Ledger {
    pub fn open(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn into_history(self) -> History {
        self.history.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broker is about to start.
    pub fn begin(&self) {
        *self.state() = Progress::default();
    }

    /// The broker is about to be killed: that connections end says nothing any more.
    pub fn strike(&self) {
        self.state().is_struck = true;
    }

    pub fn is_untouched(&self) -> bool {
        !self.state().is_struck
    }

    /// The broker has been killed: nobody needs to wait any more.
    pub fn end(&self) {
        self.state().is_killed = true;
        self.progress.notify_all();
    }

    pub fn progress(&self) {
        self.state().acknowledged += 1;
        self.progress.notify_all();
    }

    /// Waits until so many messages have been acknowledged since the start; false when the broker is killed before.
    pub fn wait_for(&self, acknowledged: u64) -> bool {
        let waits = |progress: &mut Progress| !progress.is_killed && progress.acknowledged < acknowledged;
        let state = self.progress.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        !state.is_killed
    }

    /// Waits until so many more have been; `None` when the broker is killed before.
    pub fn wait_for_more(&self, more: u64) -> Option<()> {
        let acknowledged = self.state().acknowledged + more;
        self.wait_for(acknowledged).then_some(())
    }

    fn state(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
