//! Shared subscriptions: one copy for one member, and what becomes of it when that member goes.

use std::ops::Range;

use super::*;

const FILTER: &str = "$share/g/t";

/// Members `0`, `1`, …: windows of ten, roomy queues, QoS 2.
fn group(strategy: ShareStrategy, members: usize) -> (Fixture, Vec<Client>) {
    group_with(&RouterConfig { share_strategy: strategy, ..config() }, members)
}

fn group_with(config: &RouterConfig, members: usize) -> (Fixture, Vec<Client>) {
    let fixture = Fixture::with(config);
    let members: Vec<_> = (0..members)
        .map(|n| fixture.client_with(&n.to_string(), QueueLimits { messages_max: 100, ..LIMITS }))
        .collect();
    for member in &members {
        fixture.subscribe(member, FILTER, qos(ExactlyOnce));
    }
    (fixture, members)
}

/// With room for runs in the group's queue.
fn roomy_group(strategy: ShareStrategy, members: usize) -> (Fixture, Vec<Client>) {
    let limits = GroupLimits { messages_max: 2_000, bytes_max: 1_000_000 };
    group_with(&RouterConfig { share_strategy: strategy, group: limits, ..config() }, members)
}

fn gather(fixture: &mut Fixture, numbers: Range<u32>, qos: QoS) {
    for number in numbers {
        assert!(fixture.router.gather(&draft("t", &number.to_string(), qos), &mut fixture.batch));
    }
    fixture.flush();
}

/// The numbers of the messages that it can have.
fn numbers(client: &mut Client, fixture: &mut Fixture) -> Vec<u32> {
    let lines = client.read_with_groups(fixture);
    lines.iter().map(|line| line.split('\'').nth(1).and_then(|number| number.parse().ok()).expect("a number")).collect()
}

/// Publishes to the group; which member got each message.
fn receivers(fixture: &mut Fixture, members: &mut [Client], count: usize) -> Vec<usize> {
    (0..count).map(|n| receiver(fixture, members, &message("t", &n.to_string(), AtLeastOnce))).collect()
}

fn receiver(fixture: &mut Fixture, members: &mut [Client], message: &Message) -> usize {
    assert_eq!(fixture.give(message), Outcome::Routed { matched: 1 });
    let got: Vec<_> = members.iter_mut().map(|member| member.read().len()).collect();
    assert_eq!(got.iter().sum::<usize>(), 1, "exactly one member gets it");
    got.iter().position(|n| *n == 1).unwrap()
}

#[test]
fn round_robin_goes_from_member_to_member() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 3);
    assert_eq!(receivers(&mut fixture, &mut members, 7), [0, 1, 2, 0, 1, 2, 0]);
    let leaver = members.remove(0);
    fixture.unsubscribe(&leaver, FILTER);
    assert_eq!(receivers(&mut fixture, &mut members, 3), [0, 1, 0], "whose turn it was, it stays");
}

// [MQTT-3.3.4-5]
#[test]
fn the_copy_of_a_group_has_the_identifier_of_the_membership_and_no_other() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client("c");
    fixture.subscribe_as(&client, FILTER, qos(AtMostOnce), 1);
    fixture.subscribe_as(&client, "$share/none/t", qos(AtMostOnce), 0);
    fixture.subscribe_as(&client, "t", qos(AtMostOnce), 3);
    assert_eq!(fixture.publish("t", "x", AtMostOnce), Outcome::Routed { matched: 3 });
    let mut copies = client.read();
    copies.sort();
    assert_eq!(copies, ["t 'x' q0", "t 'x' q0 [1]", "t 'x' q0 [3]"]);
}

#[test]
fn random_reaches_everybody() {
    let (mut fixture, mut members) = group(ShareStrategy::Random, 3);
    members.iter_mut().for_each(|member| member.window = 1_000);
    let mut seen = receivers(&mut fixture, &mut members, 200);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn sticky_stays_as_long_as_the_member_takes_messages() {
    let (mut fixture, mut members) = group(ShareStrategy::Sticky, 3);
    assert_eq!(receivers(&mut fixture, &mut members, 3), [0, 0, 0]);
    fixture.hang_up(&members[0]);
    assert_eq!(receivers(&mut fixture, &mut members, 2), [1, 1]);
    members[0].mailbox.attach(members[0].under_way());
    assert_eq!(receivers(&mut fixture, &mut members, 2), [1, 1]);
    let leaver = members.remove(0);
    fixture.unsubscribe(&leaver, FILTER);
    assert_eq!(receivers(&mut fixture, &mut members, 2), [0, 0], "the same member, one place further up");
}

#[test]
fn hash_of_the_client_id_and_of_the_topic_always_choose_the_same_member() {
    let (mut fixture, mut members) = group(ShareStrategy::HashClientId, 4);
    members.iter_mut().for_each(|member| member.window = 1_000);
    let from =
        |publisher| Message::new(&MessageParts { publisher: PublisherId(publisher), ..parts("t", "", AtLeastOnce) });
    let mut chosen: Vec<_> = (0..4).map(|publisher| receiver(&mut fixture, &mut members, &from(publisher))).collect();
    for (publisher, member) in chosen.iter().enumerate() {
        assert_eq!(receiver(&mut fixture, &mut members, &from(publisher as u64)), *member);
    }
    chosen.sort_unstable();
    assert_eq!(chosen, [0, 1, 2, 3]);

    let (mut fixture, mut members) = group(ShareStrategy::HashTopic, 4);
    members.iter_mut().for_each(|member| member.window = 1_000);
    for member in &members {
        fixture.subscribe(member, "$share/h/+/x", qos(AtLeastOnce));
    }
    let topic = |n: usize| message(&format!("{n}/x"), "", AtLeastOnce);
    let chosen: Vec<_> = (0..50).map(|n| receiver(&mut fixture, &mut members, &topic(n))).collect();
    for (n, member) in chosen.iter().enumerate() {
        assert_eq!(receiver(&mut fixture, &mut members, &topic(n)), *member);
    }
    assert!((0..4).all(|member| chosen.contains(&member)), "{chosen:?}");
}

#[test]
fn least_in_flight_prefers_those_who_have_least_to_do() {
    let (mut fixture, mut members) = group(ShareStrategy::LeastInFlight, 3);
    assert_eq!(receivers(&mut fixture, &mut members, 6).len(), 6);
    assert_eq!(members.iter().map(|member| member.inflight.len()).collect::<Vec<_>>(), [2, 2, 2]);
    members[1].acknowledge(2);
    members[1].wait();
    assert_eq!(receivers(&mut fixture, &mut members, 2), [1, 1]);
}

#[test]
fn members_that_are_away_or_have_no_window_are_passed_over() {
    for strategy in [
        ShareStrategy::RoundRobin,
        ShareStrategy::Random,
        ShareStrategy::Sticky,
        ShareStrategy::HashClientId,
        ShareStrategy::HashTopic,
        ShareStrategy::LeastInFlight,
    ] {
        let (mut fixture, mut members) = group(strategy, 3);
        fixture.hang_up(&members[0]);
        members[1].window = 0;
        members[1].wait();
        assert_eq!(receivers(&mut fixture, &mut members, 5), [2; 5], "{strategy:?}");
    }
}

// [MQTT-4.8.2-3]
#[test]
fn each_member_gets_the_message_under_its_own_options() {
    let mut fixture = Fixture::new();
    let (mut a, mut b) = (fixture.client("a"), fixture.client("b"));
    fixture.subscribe_as(&a, FILTER, qos(AtMostOnce), 1);
    let keeping = SubscribeOptions { retain_as_published: true, ..qos(AtLeastOnce) };
    fixture.subscribe_as(&b, FILTER, keeping, 2);
    for _ in 0..2 {
        fixture.give(&Message::new(&MessageParts { retain: true, ..parts("t", "x", ExactlyOnce) }));
    }
    assert_eq!((a.read(), b.read()), (vec!["t 'x' q0 [1]".into()], vec!["t 'x' q1 retain [2]".into()]));
    assert!(fixture.subscribe_as(&a, FILTER, qos(ExactlyOnce), 3).existed);
    fixture.publish("t", "y", ExactlyOnce);
    assert_eq!(a.read(), ["t 'y' q2 [3]"]);
    assert_eq!((fixture.router.shared_subscriptions_len(), fixture.router.subscriptions_len()), (2, 0));
}

#[test]
fn groups_with_another_name_or_filter_are_other_groups() {
    let mut fixture = Fixture::new();
    let mut client = fixture.client_with("c", QueueLimits { messages_max: 100, ..LIMITS });
    for filter in ["$share/g/t", "$share/h/t", "$share/g/+"] {
        fixture.subscribe(&client, filter, qos(AtLeastOnce));
    }
    assert_eq!(fixture.publish("t", "x", AtLeastOnce), Outcome::Routed { matched: 3 });
    assert_eq!(client.read().len(), 3);
}

#[test]
fn without_room_anywhere_messages_wait_and_are_pulled_when_a_window_opens() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 2);
    for member in &mut members {
        member.window = 1;
        member.wait();
    }
    for n in 0..5 {
        assert_eq!(fixture.publish("t", &n.to_string(), AtLeastOnce), Outcome::Routed { matched: 1 });
        members.iter_mut().for_each(|member| drop(member.read()));
    }
    assert_eq!(fixture.router.group_queued().0, 3);
    members[1].acknowledge(1);
    assert_eq!(members[1].read_with_groups(&mut fixture), ["t '2' q1"]);
    members[0].acknowledge(1);
    assert_eq!(members[0].read_with_groups(&mut fixture), ["t '3' q1"]);
    assert_eq!(fixture.router.group_queued().0, 1);
}

#[test]
fn a_member_that_comes_back_finds_what_waits() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 1);
    fixture.hang_up(&members[0]);
    for payload in ["1", "2"] {
        assert_eq!(fixture.publish("t", payload, AtLeastOnce), Outcome::Routed { matched: 1 });
    }
    assert_eq!(fixture.publish("t", "not kept", AtMostOnce), Outcome::Routed { matched: 1 });
    assert_eq!((fixture.dropped(DropCause::Offline), fixture.router.group_queued().0), (1, 2));
    members[0].mailbox.attach(members[0].under_way());
    assert_eq!(members[0].read_with_groups(&mut fixture), ["t '1' q1", "t '2' q1"]);
    let late = fixture.client("late");
    fixture.subscribe(&late, FILTER, qos(AtLeastOnce));
}

#[test]
fn when_the_groups_queue_is_full_the_publisher_is_refused_and_the_cause_is_the_window() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 1);
    members[0].window = 0;
    members[0].wait();
    for payload in ["1", "2", "3"] {
        assert_eq!(fixture.publish("t", payload, AtLeastOnce), Outcome::Routed { matched: 1 });
    }
    assert_eq!(fixture.publish("t", "4", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    let counts = &fixture.batch.counts;
    assert_eq!((counts.refused, fixture.dropped(DropCause::Window)), (1, 0));
    let other = fixture.client("other");
    fixture.subscribe(&other, "t", qos(AtLeastOnce));
    assert_eq!(fixture.publish("t", "5", AtLeastOnce), Outcome::Routed { matched: 2 });
    assert_eq!(fixture.dropped(DropCause::Window), 1);
    members[0].window = 10;
    assert_eq!(members[0].read_with_groups(&mut fixture).len(), 3);
}

#[test]
fn the_expired_make_room_in_the_groups_queue() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 1);
    members[0].window = 0;
    members[0].wait();
    for at in [10, 10, 30] {
        fixture.give(&expiring("brief", AtLeastOnce, at));
    }
    fixture.batch.now = BrokerTime::from_millis(10);
    assert_eq!(fixture.publish("t", "new", AtLeastOnce), Outcome::Routed { matched: 1 });
    assert_eq!((fixture.router.group_queued().0, fixture.dropped(DropCause::Expired)), (2, 2));
    fixture.batch.now = BrokerTime::from_millis(30);
    fixture.router.sweep(&mut fixture.batch);
    assert_eq!((fixture.router.group_queued().0, fixture.dropped(DropCause::Expired)), (1, 3));
    members[0].window = 10;
    assert_eq!(members[0].read_with_groups(&mut fixture), ["t 'new' q1"]);
}

// [MQTT-4.8.2-4] [MQTT-4.8.2-5]
#[test]
fn when_a_members_session_ends_only_what_it_has_not_begun_at_qos_2_goes_to_others() {
    let (mut fixture, mut members) = group(ShareStrategy::Sticky, 2);
    members[0].window = 2;
    fixture.publish("t", "one", AtLeastOnce);
    fixture.publish("t", "two", ExactlyOnce);
    assert_eq!(members[0].read().len(), 2);
    members[0].window = 4;
    members[0].wait();
    fixture.publish("t", "unsent one", AtLeastOnce);
    fixture.publish("t", "unsent two", ExactlyOnce);
    let mut gone = members.remove(0);
    fixture.end(&mut gone, &[FILTER]);
    let mut got = members[0].read();
    got.sort_unstable();
    assert_eq!(got, ["t 'one' q1", "t 'unsent one' q1", "t 'unsent two' q2"]);
    assert_eq!(fixture.dropped(DropCause::SessionEnded), 1, "the QoS 2 message that had begun");
}

#[test]
fn unsent_copies_of_a_member_that_hangs_up_go_to_others_and_those_in_flight_stay() {
    let (mut fixture, mut members) = group(ShareStrategy::Sticky, 2);
    members[0].window = 1;
    members[0].wait();
    fixture.publish("t", "in flight", AtLeastOnce);
    assert_eq!(members[0].read().len(), 1);
    members[0].window = 3;
    members[0].wait();
    fixture.publish("t", "unsent", AtLeastOnce);
    fixture.publish("t", "light", AtMostOnce);
    fixture.hang_up(&members[0]);
    assert_eq!(members[1].read(), ["t 'unsent' q1", "t 'light' q0"]);
    assert_eq!(members[0].inflight.len(), 1);
}

#[test]
fn the_last_member_takes_the_queue_with_it() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 2);
    for member in &mut members {
        member.window = 0;
        member.wait();
    }
    fixture.publish("t", "1", AtLeastOnce);
    assert!(fixture.unsubscribe(&members[0], FILTER) && !fixture.unsubscribe(&members[0], FILTER));
    assert_eq!(fixture.router.group_queued().0, 1);
    assert!(fixture.unsubscribe(&members[1], FILTER));
    assert_eq!((fixture.router.group_queued().0, fixture.dropped(DropCause::SessionEnded)), (0, 1));
    assert_eq!(fixture.publish("t", "2", AtLeastOnce), Outcome::Routed { matched: 0 });
    assert_eq!((fixture.router.subscriptions_len(), fixture.router.shared_subscriptions_len()), (0, 0));
    assert!(!fixture.subscribe(&members[0], FILTER, qos(AtLeastOnce)).existed);
    assert_eq!(fixture.publish("t", "3", AtLeastOnce), Outcome::Routed { matched: 1 });
}

#[test]
fn copies_whose_group_is_gone_are_lost_with_the_session() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 1);
    fixture.publish("t", "1", AtLeastOnce);
    members[0].read();
    let mut gone = members.remove(0);
    fixture.end(&mut gone, &[FILTER]);
    assert_eq!(fixture.dropped(DropCause::SessionEnded), 1);
}

#[test]
fn a_full_queue_of_a_member_passes_the_message_on() {
    let fixture = &mut Fixture::new();
    let mut narrow = fixture.client_with("narrow", QueueLimits { messages_max: 1, ..LIMITS });
    let mut roomy = fixture.client("roomy");
    fixture.subscribe(&narrow, FILTER, qos(AtLeastOnce));
    fixture.subscribe(&roomy, FILTER, qos(AtLeastOnce));
    for payload in ["1", "2", "3", "4"] {
        fixture.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(narrow.read(), ["t '1' q1"]);
    assert_eq!(roomy.read(), ["t '2' q1", "t '3' q1", "t '4' q1"]);
    assert_eq!(fixture.batch.counts.dropped_sum(), 0);
}

/// A copy that has not been sent is still its group's when the member leaves.
#[test]
fn who_leaves_a_group_leaves_behind_what_it_was_not_sent() {
    let (mut fixture, mut members) = group(ShareStrategy::RoundRobin, 2);
    fixture.give(&message("t", "1", AtLeastOnce));
    assert!(fixture.unsubscribe(&members[0], FILTER));
    assert_eq!((members[0].read().len(), members[1].read().len()), (0, 1));
    fixture.give(&message("t", "2", AtLeastOnce));
    assert!(fixture.unsubscribe(&members[1], FILTER));
    assert_eq!(members[1].read().len(), 0, "there is no group any more");
    assert_eq!(fixture.batch.counts.dropped[DropCause::SessionEnded as usize], 1);
}

#[test]
fn a_run_is_dealt_out_as_evenly_as_its_messages_one_by_one() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let (mut fixture, mut members) = roomy_group(ShareStrategy::RoundRobin, 4);
        gather(&mut fixture, 0..9, qos);
        let got = |fixture: &mut Fixture, members: &mut Vec<Client>| -> Vec<Vec<u32>> {
            members.iter_mut().map(|member| numbers(member, fixture)).collect()
        };
        assert_eq!(got(&mut fixture, &mut members), [vec![0, 1, 2], vec![3, 4], vec![5, 6], vec![7, 8]]);
        gather(&mut fixture, 9..11, qos);
        assert_eq!(got(&mut fixture, &mut members), [vec![], vec![9], vec![10], vec![]]);
        gather(&mut fixture, 11..12, qos);
        assert_eq!(got(&mut fixture, &mut members), [vec![], vec![], vec![], vec![11]]);
        gather(&mut fixture, 12..14, qos);
        assert_eq!(got(&mut fixture, &mut members), [vec![12], vec![13], vec![], vec![]]);
        let leaver = members.remove(0);
        fixture.unsubscribe(&leaver, FILTER);
        gather(&mut fixture, 14..15, qos);
        assert_eq!(got(&mut fixture, &mut members), [vec![], vec![14], vec![]], "whose turn it was, it stays");
        assert_eq!((fixture.router.group_queued(), fixture.batch.counts.dropped_sum()), ((0, 0), 0));
    }
}

#[test]
fn the_turn_of_a_member_that_takes_nothing_is_no_one_s_in_particular() {
    for len in 1..=7 {
        let (mut fixture, mut members) = roomy_group(ShareStrategy::RoundRobin, 4);
        members[1].window = 0;
        members[1].wait();
        let mut got = [0; 4];
        for _ in 0..12 {
            gather(&mut fixture, 0..len, AtLeastOnce);
            for (index, member) in members.iter_mut().enumerate() {
                let taken = member.read().len();
                got[index] += taken;
                member.acknowledge(taken);
            }
        }
        assert_eq!((got.iter().sum::<usize>(), got[1]), (12 * len as usize, 0));
        let others = [got[0], got[2], got[3]];
        assert!(others.iter().max().unwrap() - others.iter().min().unwrap() <= 1, "{len} at a time: {got:?}");
    }
}

#[test]
fn a_small_portion_does_not_keep_a_large_run() {
    let (mut fixture, members) = roomy_group(ShareStrategy::RoundRobin, 2);
    let size = |portions: &VecDeque<Queued>| -> Vec<(usize, usize)> {
        let runs = portions.iter().filter_map(|queued| match queued {
            Queued::Run(run) => Some((run.len() as usize, run.run.bytes().len())),
            Queued::One(_) => None,
        });
        runs.collect()
    };
    let draft = |len: usize| draft("t", &"x".repeat(len), AtMostOnce);
    for len in [1, 16_000, 50, 100] {
        assert!(fixture.router.gather(&draft(len), &mut fixture.batch));
        if len > 50 {
            fixture.flush();
        }
    }
    let [mut a, mut b] = [VecDeque::new(), VecDeque::new()];
    assert_eq!(members[0].poll(u64::MAX, &mut a), Poll::Ready(MailboxEvent::Deliveries));
    assert_eq!(members[1].poll(u64::MAX, &mut b), Poll::Ready(MailboxEvent::Deliveries));
    let (small, others) = (2 + 3 + 1, (2 + 3 + 50) + (2 + 3 + 100));
    assert_eq!(size(&a), [(1, small), (1, others)]);
    assert_eq!(size(&b), [(1, small + 16_000 + 6), (1, others)]);
    let [a, b] = [a, b].map(|queue| queue.iter().flat_map(Queued::deliveries).map(|it| words(&it)).collect::<Vec<_>>());
    let line = |len: usize| format!("t '{}' q0", "x".repeat(len));
    assert_eq!((a, b), (vec![line(1), line(50)], vec![line(16_000), line(100)]));
}

#[test]
fn of_a_run_that_was_not_promised_a_full_group_keeps_what_it_has_room_for() {
    let (mut fixture, members) = roomy_group(ShareStrategy::RoundRobin, 1);
    let other = fixture.client_with("other", QueueLimits { messages_max: 10_000, ..LIMITS });
    fixture.subscribe(&other, "t", qos(AtLeastOnce));
    fixture.hang_up(&members[0]);
    for _ in 0..3 {
        (0..1_000).for_each(|_| assert!(fixture.router.gather(&draft("t", "", AtLeastOnce), &mut fixture.batch)));
        fixture.router.hand_out(&mut fixture.batch);
    }
    assert_eq!((fixture.router.group_queued().0, fixture.dropped(DropCause::Window)), (2_000, 1_000));
}

#[test]
fn strategies_that_keep_to_a_member_give_it_the_whole_run() {
    for strategy in [ShareStrategy::Sticky, ShareStrategy::HashClientId, ShareStrategy::HashTopic] {
        let (mut fixture, mut members) = roomy_group(strategy, 3);
        gather(&mut fixture, 0..12, AtLeastOnce);
        let counts: Vec<_> = members.iter_mut().map(|member| numbers(member, &mut fixture).len()).collect();
        let first = counts.iter().position(|count| *count == 10).expect("as many as its window takes");
        assert_eq!((counts[(first + 1) % 3], counts[(first + 2) % 3]), (2, 0), "{strategy:?}");
    }
    for strategy in [ShareStrategy::Random, ShareStrategy::LeastInFlight] {
        let (mut fixture, _members) = roomy_group(strategy, 3);
        assert!(!fixture.router.gather(&draft("t", "each for itself", AtLeastOnce), &mut fixture.batch));
    }
}

#[test]
fn what_no_member_can_take_of_a_run_waits_and_is_pulled_as_windows_open() {
    let (mut fixture, mut members) = roomy_group(ShareStrategy::RoundRobin, 2);
    (members[0].window, members[1].window) = (3, 1);
    members.iter().for_each(Client::wait);
    gather(&mut fixture, 0..10, AtLeastOnce);
    assert_eq!(fixture.router.group_queued().0, 6);
    assert_eq!(
        (numbers(&mut members[0], &mut fixture), numbers(&mut members[1], &mut fixture)),
        (vec![0, 1, 2], vec![3])
    );
    gather(&mut fixture, 10..12, ExactlyOnce);
    members[0].acknowledge(2);
    assert_eq!(numbers(&mut members[0], &mut fixture), [4, 5]);
    members[1].window = 20;
    assert_eq!(numbers(&mut members[1], &mut fixture), [6, 7, 8, 9, 10, 11]);
    assert_eq!((fixture.router.group_queued(), fixture.batch.counts.dropped_sum()), ((0, 0), 0));
}

// [MQTT-4.8.2-3]
#[test]
fn each_member_gets_its_part_of_a_run_under_its_own_options() {
    let (mut fixture, _) = roomy_group(ShareStrategy::RoundRobin, 0);
    let (mut a, mut b) = (fixture.client("a"), fixture.client("b"));
    fixture.subscribe_as(&a, FILTER, qos(AtMostOnce), 1);
    fixture.subscribe_as(&b, FILTER, qos(AtLeastOnce), 2);
    // One that gets them twice: as a member, and on its own account.
    fixture.subscribe_as(&b, "t", qos(ExactlyOnce), 3);
    gather(&mut fixture, 0..2, ExactlyOnce);
    assert_eq!(a.read(), ["t '0' q0 [1]"]);
    assert_eq!(b.read(), ["t '0' q2 [3]", "t '1' q2 [3]", "t '1' q1 [2]"]);
    b.window = 0;
    b.wait();
    a.mailbox.detach(0, &mut fixture.batch);
    gather(&mut fixture, 2..4, ExactlyOnce);
    b.window = 10;
    let mut got = b.read_with_groups(&mut fixture);
    got.sort_unstable();
    assert_eq!(got, ["t '2' q1 [2]", "t '2' q2 [3]", "t '3' q1 [2]", "t '3' q2 [3]"]);
}

// [MQTT-4.8.2-4], [MQTT-4.8.2-5]
#[test]
fn the_messages_of_a_run_come_back_from_a_member_that_goes() {
    let (mut fixture, mut members) = roomy_group(ShareStrategy::Sticky, 2);
    members[0].window = 2;
    members[0].wait();
    gather(&mut fixture, 0..2, AtLeastOnce);
    assert_eq!(numbers(&mut members[0], &mut fixture), [0, 1]);
    members[0].window = 4;
    members[0].wait();
    gather(&mut fixture, 2..4, ExactlyOnce);
    let mut gone = members.remove(0);
    fixture.end(&mut gone, &[FILTER]);
    let mut got = numbers(&mut members[0], &mut fixture);
    got.sort_unstable();
    assert_eq!((got, fixture.batch.counts.dropped_sum()), (vec![0, 1, 2, 3], 0));
    gather(&mut fixture, 4..6, AtMostOnce);
    gather(&mut fixture, 6..8, AtLeastOnce);
    fixture.hang_up(&members[0]);
    assert_eq!((fixture.dropped(DropCause::Offline), fixture.router.group_queued().0), (2, 2));
}

#[test]
fn a_promised_run_is_kept_even_if_another_has_taken_the_room() {
    let (mut fixture, members) = roomy_group(ShareStrategy::RoundRobin, 1);
    fixture.hang_up(&members[0]);
    let mut other = Batch::default();
    let payload = "x".repeat(10);
    // No promise is made for which there may be no room: a run may have 1,024 messages.
    for n in 0..976 {
        assert!(fixture.router.gather(&draft("t", &payload, AtLeastOnce), &mut fixture.batch), "{n}");
        fixture.flush();
    }
    for _ in 0..1_000 {
        for batch in [&mut fixture.batch, &mut other] {
            assert!(fixture.router.gather(&draft("t", &payload, AtLeastOnce), batch));
        }
    }
    [&mut fixture.batch, &mut other].into_iter().for_each(|batch| fixture.router.flush(batch));
    assert_eq!(fixture.router.group_queued().0, 976 + 2 * 1_000, "over the limit of 2,000");
    assert!(!fixture.router.gather(&draft("t", "", AtLeastOnce), &mut fixture.batch));
    assert_eq!(fixture.publish("t", "", AtLeastOnce), Outcome::Refused(Refused::QueueFull));
    // Who is told nothing is promised nothing.
    gather(&mut fixture, 0..2, AtMostOnce);
    let counts = fixture.router.counters().snapshot();
    assert_eq!((counts.dropped_sum(), counts.refused), (2, 1));
}

#[test]
fn runs_that_wait_in_a_group_expire() {
    let (mut fixture, mut members) = roomy_group(ShareStrategy::RoundRobin, 1);
    members[0].window = 1;
    members[0].wait();
    for at in [20, 10] {
        (0..3).for_each(|_| {
            assert!(fixture.router.gather(&expiring_draft("brief", AtLeastOnce, at), &mut fixture.batch))
        });
        fixture.router.hand_out(&mut fixture.batch);
    }
    assert_eq!(members[0].read().len(), 1);
    fixture.batch.now = BrokerTime::from_millis(10);
    fixture.router.sweep(&mut fixture.batch);
    assert_eq!((fixture.router.group_queued().0, fixture.dropped(DropCause::Expired)), (2, 3));
    fixture.batch.now = BrokerTime::from_millis(20);
    members[0].window = 10;
    assert_eq!(members[0].read_with_groups(&mut fixture).len(), 0);
    assert_eq!((fixture.router.group_queued(), fixture.dropped(DropCause::Expired)), ((0, 0), 5));
}
