//! What is demanded of wills, case by case.

use std::time::Duration;

use crate::filter::Filter;
use crate::history::History;
use crate::verdict::{Fate, Fates, Verdict, Wills};
use crate::wills::Ending;
use crate::world::{PUBLISHERS, Subject};

/// With no delay and a session that lasts.
const PROMPT: usize = 0;
/// The same, retained.
const RETAINED: usize = 2;
/// With a delay of an hour.
const PATIENT: usize = 4;
/// The same; its session lasts two seconds.
const SHORT: usize = 6;
/// The same; its session ends with the connection.
const PASSING: usize = 7;

/// Longer than the grace.
const LATE: Duration = Duration::from_secs(20);

/// Who gets the wills at QoS 2.
const HEIR: usize = 2;

/// One testator's story.
struct Story {
    history: History,
    testator: usize,
}

impl Story {
    fn new(testator: usize) -> Self {
        let mut history = History::default();
        history.changing(HEIR, Filter::Wills, true);
        history.changed(HEIR, Filter::Wills, true);
        Self { history, testator }.comes()
    }

    fn comes(self) -> Self {
        self.asks().answered(true)
    }

    fn asks(mut self) -> Self {
        self.history.testament(self.testator);
        self
    }

    fn answered(mut self, found_session: bool) -> Self {
        self.history.accepted(self.testator, found_session);
        self
    }

    fn goes(mut self, ending: Ending) -> Self {
        self.history.testator_goes(self.testator, ending);
        self
    }

    /// The broker has closed the connection too.
    fn noticed(mut self) -> Self {
        self.history.testator_is_gone(self.testator);
        self
    }

    /// What was done so far is stored.
    fn settles(mut self) -> Self {
        let subject = Subject::Topic { branch: 3, number: 1 };
        assert_eq!(subject.qos(0), 2);
        let sequence = self.history.sent(0, subject);
        self.history.acknowledged(0, sequence);
        self.history.completed(0, sequence);
        self
    }

    fn killed(mut self) -> Self {
        self.history.process += 1;
        self
    }

    /// Time passes.
    fn late(mut self) -> Self {
        self.history.testaments[self.testator].iter_mut().for_each(|testament| testament.sent_at -= LATE);
        self
    }

    /// The last broker, which is not killed.
    fn ends(mut self) -> Self {
        self.history.drains();
        self
    }
}

#[track_caller]
fn check(story: Story, demanded: Fate) {
    let Story { history, testator } = story.ends();
    assert_eq!(
        Fates::of(&history).all().find(|((publisher, _), _)| *publisher == PUBLISHERS + testator),
        Some(((PUBLISHERS + testator, 0), demanded))
    );
}

const ONCE: Fate = Fate::Owed { once: true };
const PUBLISHED: Fate = Fate::Owed { once: false };

use Ending::{Broken, Normal, TakenOver};
use Fate::{Either, Never};

#[test]
fn a_client_that_the_broker_has_left_has_time_to_come_back() {
    check(Story::new(PROMPT).killed().comes(), Never);
    check(Story::new(PROMPT).killed().killed().comes(), Never);
    check(Story::new(PROMPT).killed().late().comes(), Either);
    check(Story::new(PROMPT).killed(), PUBLISHED);
    check(Story::new(PATIENT).killed().late().comes(), Never);
    check(Story::new(PATIENT).killed().late(), Never);
}

#[test]
fn a_client_that_has_said_goodbye_leaves_no_will() {
    check(Story::new(PROMPT).goes(Normal).noticed().comes().killed(), Never);
    check(Story::new(PROMPT).goes(Normal).noticed().settles().killed().late(), Never);
    check(Story::new(PASSING).goes(Normal).noticed().settles().killed().late(), Never);
    // Unless the broker forgets it, as nobody has been told that it would not.
    check(Story::new(PROMPT).goes(Normal).noticed().killed().comes(), Never);
    check(Story::new(PROMPT).goes(Normal).noticed().killed().late().comes(), Either);
    check(Story::new(PROMPT).goes(Normal).killed().late(), Either);
    check(Story::new(PASSING).goes(Normal).noticed().comes().killed().late(), Either);
    check(Story::new(PASSING).goes(Normal).noticed().comes().settles().killed().late(), Never);
    // It may not have arrived.
    check(Story::new(PROMPT).goes(Normal).comes(), Either);
    check(Story::new(PATIENT).goes(Normal).comes(), Never);
}

#[test]
fn a_connection_that_breaks_has_its_will_published() {
    check(Story::new(PROMPT).goes(Broken).comes().killed(), ONCE);
    check(Story::new(PROMPT).goes(Broken).noticed().settles().killed().comes(), ONCE);
    check(Story::new(PROMPT).goes(Broken).noticed().settles().killed(), ONCE);
    check(Story::new(PASSING).goes(Broken).noticed().settles().killed(), PUBLISHED);
    // A blow that is no kill.
    check(Story::new(PROMPT).comes(), ONCE);
    check(Story::new(PROMPT), PUBLISHED);
    // Nobody knows whether the broker has noticed.
    check(Story::new(PROMPT).goes(Broken).noticed().killed().comes(), Either);
    check(Story::new(PROMPT).goes(Broken).settles().killed().comes(), Either);
    check(Story::new(PROMPT).goes(Broken).killed(), PUBLISHED);
}

#[test]
fn a_connection_that_is_taken_over_has_its_will_published() {
    check(Story::new(PROMPT).goes(TakenOver).comes().killed(), ONCE);
    check(Story::new(PROMPT).goes(TakenOver).asks().killed().comes(), Either);
    check(Story::new(PATIENT).goes(TakenOver).comes().killed().comes(), Never);
    check(Story::new(PASSING).goes(TakenOver).comes().settles().killed(), PUBLISHED);
    check(Story::new(PASSING).goes(TakenOver).comes().killed(), Either);
}

#[test]
fn a_will_that_waits_is_published_with_the_end_of_the_session_only() {
    check(Story::new(PATIENT).goes(Broken).noticed().settles().killed().late().comes(), Never);
    check(Story::new(PATIENT).goes(Broken).noticed().settles().killed().late(), Never);
    let absent = |story: Story| story.asks().answered(false);
    check(absent(Story::new(SHORT).goes(Broken).noticed().killed().late()), PUBLISHED);
    check(absent(Story::new(SHORT).killed().late()), PUBLISHED);
    check(Story::new(SHORT).killed().late().comes(), Either);
    check(Story::new(SHORT).killed().comes(), Never);
    check(Story::new(SHORT).killed(), PUBLISHED);
    check(absent(Story::new(SHORT).goes(Normal).noticed().killed().late()), Either);
}

#[test]
fn a_will_is_stored_with_what_connack_promises() {
    let not_answered = |testator: usize| {
        let mut story = Story::new(testator);
        story.history.testaments[testator].clear();
        story.asks()
    };
    check(not_answered(PROMPT).killed(), Either);
    check(not_answered(PROMPT).killed().comes(), Never);
    check(Story::new(PROMPT).killed().asks().killed(), Either);
    check(Story::new(PASSING).killed(), Either);
    check(Story::new(PASSING).settles().killed(), PUBLISHED);
    check(Story::new(PASSING).settles().killed().comes(), Never);
    check(Story::new(PASSING).settles().killed().comes().killed(), Either);
    check(Story::new(PASSING).settles().killed().comes().settles().killed(), Never);
}

#[test]
fn a_session_that_has_not_expired_and_is_not_there_is_lost() {
    for (story, lost) in [
        (Story::new(PROMPT).killed().late().asks().answered(false), 1),
        (Story::new(SHORT).killed().asks().answered(false), 1),
        (Story::new(SHORT).killed().late().asks().answered(false), 0),
        (Story::new(PASSING).killed().asks().answered(false), 0),
    ] {
        assert_eq!(Verdict::on(story.ends().history).sessions_lost, lost);
    }
}

#[test]
fn the_last_will_that_was_published_is_retained() {
    let retained = |story: Story| Fates::of(&story.ends().history).retained();
    let said_goodbye = |story: Story| story.comes().goes(Normal).noticed();
    assert_eq!(retained(Story::new(PROMPT))[PROMPT], []);
    assert_eq!(retained(said_goodbye(Story::new(RETAINED).killed()))[RETAINED], [None]);
    let published = || Story::new(RETAINED).goes(Broken).comes().goes(Broken);
    assert_eq!(retained(said_goodbye(published()))[RETAINED], [Some(1)]);
    // Whether it was published, and stored, nobody knows.
    let maybe = |story: Story| said_goodbye(story.comes().goes(Broken).killed());
    assert_eq!(retained(maybe(published()))[RETAINED], [Some(1), Some(2)]);
    assert_eq!(retained(maybe(Story::new(RETAINED).killed()))[RETAINED], [None, Some(1)]);
    let mut history = Story::new(RETAINED).history;
    for (seen, lost) in [(Some(1), 0), (Some(0), 1), (None, 2)] {
        history.saw_retained_will(RETAINED, &[Some(1)], seen);
        assert_eq!((history.retained_lost, history.has_failed()), (lost, lost > 0));
    }
}

#[test]
fn what_is_not_as_demanded_is_a_fault() {
    let once = || Story::new(PROMPT).goes(Broken).comes().goes(Normal).noticed();
    let published = || Story::new(PROMPT);
    let never = || Story::new(PROMPT).goes(Normal).noticed();
    let either = || Story::new(PROMPT).killed().late().comes().goes(Normal).noticed();
    for (copies, once_fault, published_fault, never_fault) in
        [(0, [1, 0, 0], [1, 0, 0], [0; 3]), (1, [0; 3], [0; 3], [0, 1, 0]), (2, [0, 0, 1], [0; 3], [0, 2, 0])]
    {
        let stories = [once(), published(), never(), either()];
        for (story, expected) in stories.into_iter().zip([once_fault, published_fault, never_fault, [0; 3]]) {
            let mut history = story.ends().history;
            (0..copies).for_each(|_| history.delivered(HEIR, 1, (PUBLISHERS + PROMPT, 0), 2, None));
            let verdict = Verdict::on(history);
            let Wills { lost, unwarranted, duplicates, delivered, .. } = verdict.wills;
            assert_eq!(([lost, unwarranted, duplicates], delivered), (expected, copies), "{verdict}");
            assert_eq!(verdict.is_faulty(), expected != [0; 3], "{verdict}");
        }
    }
}

#[test]
fn a_will_is_owed_to_those_who_were_subscribed_before() {
    let mut history = Story::new(PROMPT).goes(Broken).comes().goes(Normal).noticed().ends().history;
    history.changing(HEIR + 2, Filter::Wills, true);
    history.changed(HEIR + 2, Filter::Wills, true);
    assert_eq!(Verdict::on(history).wills.owed, 1);
}

#[test]
fn a_will_that_nobody_has_left_is_never_right() {
    let mut history = Story::new(PROMPT).ends().history;
    history.delivered(HEIR, 1, (PUBLISHERS + PROMPT, 0), 1, None);
    history.delivered(HEIR, 1, (PUBLISHERS + PROMPT, 1), 2, None);
    history.delivered(HEIR, 1, (PUBLISHERS + PROMPT, 0), 2, Some(Filter::Branch(0)));
    assert_eq!(Verdict::on(history).nonsense.len(), 3);
}
