//! Wills: which have to be published, and which must not be.
//!
//! ```text
//! CONNECT ──► CONNACK ──► the connection ends ──► CONNECT ──► CONNACK
//!   will k    k is stored  k is due after its      will k+1    k is published or gone
//!                          delay, or with the session
//! ```
//! A client that is back before its will is due, or that has said DISCONNECT 0x00, has none published ([MQTT-3.1.2-8],
//! [MQTT-3.1.3-9]). One that the broker left by being killed has at least the grace to come back in. What the broker did
//! before it stored something that was acknowledged is stored too: batches take effect in the order in which they were
//! taken. Of what it did last before it was killed nothing is known.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::Verdict;
use crate::filter::Filter;
use crate::history::{History, Inbox, Moment, Subscribed};
use crate::wills::{Ending, Kind, TESTATORS, Testament};
use crate::world::{PUBLISHERS, Subject};

/// What is waited for in the end: nothing that takes longer has to come.
const WAITED: Duration = Duration::from_secs(10);

/// What has to become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Published; `once` when no kill can have come between that and the broker's note of it.
    Owed {
        once: bool,
    },
    Never,
    /// A kill leaves both open.
    Either,
}

/// Figures of the wills of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wills {
    /// Connections with a will, and the wills that must not be published.
    pub left: u64,
    pub forbidden: u64,
    /// Copies of wills for those who had a SUBACK before; those that never came.
    pub owed: u64,
    pub lost: u64,
    pub delivered: u64,
    /// Copies of wills that must not be published.
    pub unwarranted: u64,
    /// QoS 2 copies of wills that were published more than once.
    pub duplicates: u64,
}

impl Wills {
    pub fn add(&mut self, other: Self) {
        self.left += other.left;
        self.forbidden += other.forbidden;
        self.owed += other.owed;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.unwarranted += other.unwarranted;
        self.duplicates += other.duplicates;
    }

    pub fn is_faulty(&self) -> bool {
        self.lost + self.unwarranted + self.duplicates > 0
    }
}

impl Display for Wills {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { left, forbidden, owed, lost, delivered, unwarranted, duplicates } = self;
        writeln!(f, "  wills left        {left:>9}   not to be published {forbidden}")?;
        writeln!(f, "  copies owed       {owed:>9}   lost {lost}")?;
        write!(f, "  copies delivered  {delivered:>9}   unwarranted {unwarranted}, QoS 2 twice {duplicates}")
    }
}

pub fn judge(history: &History, verdict: &mut Verdict) {
    let fates = Fates::of(history);
    verdict.wills.left += history.testaments.iter().flatten().filter(|it| it.accepted.is_some()).count() as u64;
    verdict.wills.forbidden += fates.all().filter(|(_, fate)| *fate == Fate::Never).count() as u64;
    for (subscriber, inbox) in history.inboxes.iter().enumerate() {
        let mut counts: HashMap<(usize, usize), u32> = HashMap::new();
        for delivered in inbox.delivered.iter().filter(|delivered| delivered.filter == Filter::Wills) {
            let will = (delivered.publisher, delivered.sequence);
            *counts.entry(will).or_default() += 1;
            let qos = Subject::Will.qos(delivered.publisher).min(Filter::Wills.qos(subscriber));
            if delivered.qos != qos {
                verdict.nonsense.push(format!("subscriber {subscriber}: QoS {} instead of {qos}", delivered.qos));
            }
        }
        judge_fates(subscriber, inbox, &counts, &fates, history, verdict);
    }
}

fn judge_fates(
    subscriber: usize,
    inbox: &Inbox,
    counts: &HashMap<(usize, usize), u32>,
    fates: &Fates,
    history: &History,
    verdict: &mut Verdict,
) {
    for (will @ (publisher, number), fate) in fates.all() {
        let count = counts.get(&will).copied().unwrap_or_default();
        let figures = &mut verdict.wills;
        figures.delivered += u64::from(count);
        let testament = &history.testaments[publisher - PUBLISHERS][number];
        let is_owed = is_owed(will, fate, inbox, history);
        figures.owed += u64::from(is_owed);
        let qos = Subject::Will.qos(publisher).min(Filter::Wills.qos(subscriber));
        let fault = match fate {
            Fate::Owed { .. } if is_owed && count == 0 => {
                figures.lost += 1;
                "has not come"
            }
            Fate::Owed { once: true } if qos == 2 && count > 1 => {
                figures.duplicates += u64::from(count - 1);
                "has come again"
            }
            Fate::Never if count > 0 => {
                figures.unwarranted += u64::from(count);
                "has come"
            }
            _ => continue,
        };
        let text = format!("subscriber {subscriber}: will {number} of {publisher} {fault}");
        verdict.details.push(format!("{text}: {fate:?}, {:?}, {testament:?}", Kind::of_publisher(publisher)));
    }
}

fn is_owed((publisher, number): (usize, usize), fate: Fate, inbox: &Inbox, history: &History) -> bool {
    let sent = history.testaments[publisher - PUBLISHERS][number].sent;
    let was_there = |it: &Subscribed| it.granted.is_some_and(|granted| granted < sent);
    matches!(fate, Fate::Owed { .. }) && inbox.subscriptions(Filter::Wills).iter().any(was_there)
}

/// The fates of all wills, each testator's in the order of its connections.
pub struct Fates([Vec<Fate>; TESTATORS]);

impl Fates {
    /// As of now: what is not due yet has not been published.
    pub fn of(history: &History) -> Self {
        let settled = Settled::of(history);
        Self(std::array::from_fn(|testator| {
            let testaments = &history.testaments[testator];
            (0..testaments.len()).map(|at| fate(Kind::of(testator), &testaments[at..], &settled)).collect()
        }))
    }

    /// What is still owed to a subscriber.
    pub fn owed_to(&self, inbox: &Inbox, history: &History) -> HashSet<(usize, usize)> {
        let arrived: HashSet<_> = (inbox.delivered.iter())
            .filter(|delivered| delivered.filter == Filter::Wills)
            .map(|delivered| (delivered.publisher, delivered.sequence))
            .collect();
        self.all()
            .filter(|(will, fate)| is_owed(*will, *fate, inbox, history) && !arrived.contains(will))
            .map(|(will, _)| will)
            .collect()
    }

    /// What is retained for each testator may be one of these; `None` is nothing. Empty where wills are not retained.
    pub fn retained(&self) -> [Vec<Option<usize>>; TESTATORS] {
        std::array::from_fn(|testator| {
            if !Kind::of(testator).retain {
                return Vec::new();
            }
            let fates = &self.0[testator];
            let last = fates.iter().rposition(|fate| matches!(fate, Fate::Owed { .. }));
            // Of a later one even its delivery does not tell that it is stored.
            let later = fates.iter().enumerate().skip(last.map_or(0, |last| last + 1));
            let later = later.filter(|(_, fate)| **fate == Fate::Either).map(|(number, _)| Some(number));
            [last].into_iter().chain(later).collect()
        })
    }

    pub fn all(&self) -> impl Iterator<Item = ((usize, usize), Fate)> {
        let wills = self.0.iter().enumerate();
        wills.flat_map(|(testator, fates)| {
            fates.iter().enumerate().map(move |(number, fate)| ((PUBLISHERS + testator, number), *fate))
        })
    }
}

/// What is known to be stored.
struct Settled {
    /// The moment up to which all that a process had done is stored.
    until: HashMap<u32, Moment>,
    /// The first process that was not killed.
    survivor: u32,
}

impl Settled {
    fn of(history: &History) -> Self {
        let mut until: HashMap<u32, Moment> = HashMap::new();
        for (publisher, published) in history.published.iter().enumerate() {
            // With its packet id every message of QoS 2 is stored, whoever gets it.
            for message in published.iter().filter(|message| message.is_prompt && message.subject.qos(publisher) == 2) {
                let until = until.entry(message.process).or_default();
                *until = message.sent.max(*until);
            }
        }
        Self { until, survivor: history.drain.map_or(u32::MAX, |(_, process)| process) }
    }

    fn is_stored(&self, what: Moment, process: u32) -> bool {
        process >= self.survivor || self.until.get(&process).is_some_and(|until| what < *until)
    }

    /// Whether a connection is stored with its will: the CONNACK of a session that lasts promises it.
    fn has(&self, testament: &Testament, kind: Kind) -> bool {
        let is_stored = |moment| kind.is_lasting() || self.is_stored(moment, testament.process);
        testament.accepted.as_ref().is_some_and(|accepted| is_stored(accepted.moment))
    }
}

/// The fate of the first one; the others have come after it.
fn fate(kind: Kind, testaments: &[Testament], settled: &Settled) -> Fate {
    let (this, later) = (&testaments[0], &testaments[1..]);
    let was_killed = this.process < settled.survivor;
    let is_stored = |testament: &&Testament| settled.has(testament, kind);
    let next = later.iter().find(is_stored).and_then(|next| Some((next.process, next.accepted.as_ref()?)));
    // Its client is back with the same process: nothing is open any more.
    let is_over = next.is_some_and(|(process, _)| process == this.process);
    let is_known = this.gone.is_some_and(|gone| settled.is_stored(gone, this.process));
    if this.ending == Some(Ending::Normal) {
        if is_known || this.gone.is_some() && is_over {
            return Fate::Never;
        }
    } else if this.accepted.is_some() && kind.due() == Duration::ZERO && (is_over || is_known) {
        return Fate::Owed { once: kind.is_lasting() };
    }
    let Some((_, accepted)) = next else { return fate_in_the_end(kind, this, later.is_empty(), was_killed, settled) };
    let away = accepted.at - this.sent_at;
    if away < this.due(kind, was_killed) {
        return Fate::Never;
    }
    let has_ended = kind.is_lasting() && away > kind.expires_after() && !accepted.found_session;
    if has_ended && this.accepted.is_some() && this.ending != Some(Ending::Normal) {
        return Fate::Owed { once: false };
    }
    Fate::Either
}

/// Of a will whose client has not come back.
fn fate_in_the_end(kind: Kind, this: &Testament, is_last: bool, was_killed: bool, settled: &Settled) -> Fate {
    let latest = if was_killed { kind.due().max(kind.due_after_kill()) } else { kind.due() };
    if latest > WAITED {
        return if this.sent_at.elapsed() < this.due(kind, was_killed) { Fate::Never } else { Fate::Either };
    }
    // The broker may have taken a later one.
    if is_last && settled.has(this, kind) && this.ending != Some(Ending::Normal) {
        Fate::Owed { once: false }
    } else {
        Fate::Either
    }
}

impl Testament {
    /// When it is published at the earliest, after it was sent.
    fn due(&self, kind: Kind, was_killed: bool) -> Duration {
        match self.ending {
            // What it has not stored, the broker does not know.
            None | Some(Ending::Normal) if was_killed => kind.due_after_kill(),
            // A goodbye may not have arrived.
            _ => kind.due(),
        }
    }
}
