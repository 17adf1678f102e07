//! Brokers that are killed: real processes, SIGKILL at random moments, and a model of what was acknowledged.
//!
//! ```text
//! episode   one data directory: start, traffic, SIGKILL, start, traffic, … then everything is drained and compared
//! clients   publisher (QoS 1 and 2, retained)   subscriber (online, late, asleep, changing; alone or in groups)
//!           testator (its will, when its connection breaks)   witness (retained)
//! history   who sent, who acknowledged, who received, and in which order of these events
//! verdict   what the history owes, against what has arrived
//! ```
//! `full_disk` is about a file system that fills up instead, `read_only` about one that cannot be written.
//!
//! `MIDGE_SEED=n` repeats the choices of a run (not its timing), `MIDGE_CRASH_KILLS=5000` makes it long. With
//! `MIDGE_TEST_TARGET=mosquitto` the same is done to Debian's mosquitto, persistence on and otherwise at its defaults;
//! `MIDGE_TEST_MOSQUITTO_CONF` adds lines to its configuration. Its figures are printed, not asserted.

mod backup;
mod broker;
mod connection;
mod episode;
mod filter;
mod full_disk;
mod history;
mod notices;
mod proxy;
mod publisher;
mod read_only;
#[allow(dead_code)]
#[path = "../it/support/received.rs"]
mod received;
mod subscriber;
mod testator;
mod verdict;
mod wills;
#[allow(dead_code)]
#[path = "../it/support/wire.rs"]
mod wire;
mod witness;
mod world;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use broker::Target;
use episode::Blow;
use verdict::Verdict;

/// Kills of the quick form.
const KILLS: u32 = 240;
/// What one data directory lives through.
const BLOWS_IN_AN_EPISODE: u32 = 30;
/// Brokers at the same time.
const LANES: usize = 4;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number was expected")))
}

/// As many blows as were asked for, on as many data directories as that takes.
fn run(blow: Blow, blows: u32) {
    let target = Target::under_test();
    let seed = number("MIDGE_SEED").unwrap_or_else(rand::random);
    let episodes = blows.div_ceil(BLOWS_IN_AN_EPISODE);
    println!("MIDGE_SEED={seed}: {episodes} data directories, {BLOWS_IN_AN_EPISODE} times {blow:?} each");
    let (begin, next, all) = (Instant::now(), AtomicU32::new(0), Mutex::new(Verdict::default()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= episodes {
                        return;
                    }
                    let verdict = episode::run(target, blow, seed, number, BLOWS_IN_AN_EPISODE);
                    if verdict.is_faulty() {
                        println!("data directory {number}:\n{verdict}");
                    }
                    all.lock().expect("no lane has failed").add(verdict);
                }
            });
        }
    });
    let all = all.into_inner().expect("no lane has failed");
    println!("{target:?}, MIDGE_SEED={seed}, {:.0?}:\n{all}", begin.elapsed());
    if target == Target::Midge {
        assert!(!all.is_faulty(), "MIDGE_SEED={seed} makes the same choices:\n{all}");
        // A run in which nothing is acknowledged shows nothing.
        let [blows, own, shared] = [u64::from(blows), all.own.owed, all.shared.owed];
        assert!(all.acknowledged > blows && own > all.acknowledged && shared > blows, "too little traffic:\n{all}");
        assert!(all.wills.owed > 0 && all.wills.forbidden > 0, "too few wills:\n{all}");
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_broker_is_killed() {
    let kills = number("MIDGE_CRASH_KILLS").map_or(KILLS, |kills| kills.try_into().expect("a number of kills"));
    run(Blow::Kill, kills);
}

/// The same rig without a kill: what it finds here has nothing to do with the store.
#[test]
fn nothing_that_was_acknowledged_is_lost_when_all_connections_break() {
    run(Blow::Cut, BLOWS_IN_AN_EPISODE);
}
