//! A client that leaves a will with the broker each time it comes, and goes in all the ways there are.

use std::net::SocketAddr;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::connection::{Connection, Next, PATIENCE};
use crate::history::Ledger;
use crate::wills::{Ending, Kind};
use crate::wire::{self, Connect, Version, Will, property};
use crate::world::{self, PUBLISHERS, Subject};

pub struct Testator {
    index: usize,
    choices: StdRng,
}

/// What a testator does on the connections of its task.
#[derive(Clone, Copy)]
pub enum Task {
    /// Comes and goes until the broker is gone or it has enough of it, or stays away.
    Live,
    /// Comes once more and says goodbye, or stays away for good.
    Finish,
}

/// How many messages others have acknowledged meanwhile, at most, when it has come or gone.
const PAUSE: u64 = 15;

impl Testator {
    pub fn new(index: usize, choices: StdRng) -> Self {
        Self { index, choices }
    }

    /// Ends when the broker is gone, or the task is done.
    pub fn run(&mut self, address: SocketAddr, task: Task, ledger: &Ledger) {
        let times_away = match task {
            Task::Live => 1,
            Task::Finish => 2,
        };
        if self.choices.random_ratio(times_away, 3) && ledger.open().may_stay_away(self.index) {
            return;
        }
        match task {
            Task::Live => _ = self.live(address, ledger),
            Task::Finish => _ = self.connect(address, ledger).and_then(|connection| self.leave(connection, ledger)),
        }
    }

    fn live(&mut self, address: SocketAddr, ledger: &Ledger) -> Option<()> {
        let mut taken_over = None;
        loop {
            ledger.wait_for_more(self.choices.random_range(0..PAUSE))?;
            if taken_over.is_some() {
                ledger.open().testator_goes(self.index, Ending::TakenOver);
            }
            let connection = self.connect(address, ledger)?;
            drop(taken_over.take());
            ledger.wait_for_more(self.choices.random_range(0..PAUSE))?;
            let has_enough = self.choices.random_ratio(1, 4);
            match self.choices.random_range(0..6) {
                0 => self.leave(connection, ledger)?,
                1 if connection.version == Version::V5 => self.leave_with_will(connection, ledger)?,
                2 => self.hang_up(connection, ledger)?,
                3 => self.vanish(connection, ledger),
                4 => taken_over = Some(connection),
                _ => stay(connection)?,
            }
            if has_enough && taken_over.is_none() {
                return None;
            }
        }
    }

    fn connect(&self, address: SocketAddr, ledger: &Ledger) -> Option<Connection> {
        let kind = Kind::of(self.index);
        let number = ledger.open().testament(self.index);
        let publisher = PUBLISHERS + self.index;
        let mut will = Will::new(Subject::Will.topic(publisher), world::payload(publisher, number)).qos(kind.qos);
        if kind.retain {
            will = will.retain();
        }
        let mut connect = Connect::new(kind.version, format!("testator-{}", self.index)).resume();
        if kind.version == Version::V5 {
            will = will.with(property::will_delay_interval(kind.delay));
            connect = connect.with(property::session_expiry_interval(kind.expiry));
        }
        let (connection, connack) = Connection::open(address, &connect.will(will), PATIENCE)?;
        ledger.open().accepted(self.index, connack.session_present);
        Some(connection)
    }

    /// Says that the will is not to be published.
    fn leave(&self, mut connection: Connection, ledger: &Ledger) -> Option<()> {
        ledger.open().testator_goes(self.index, Ending::Normal);
        connection.send(&wire::disconnect())?;
        self.until_closed(connection, ledger)
    }

    fn leave_with_will(&self, mut connection: Connection, ledger: &Ledger) -> Option<()> {
        ledger.open().testator_goes(self.index, Ending::Broken);
        connection.send(&wire::disconnect_because(0x04, &[]))?;
        self.until_closed(connection, ledger)
    }

    /// Goes without a word, and sees that the broker has noticed.
    fn hang_up(&self, connection: Connection, ledger: &Ledger) -> Option<()> {
        ledger.open().testator_goes(self.index, Ending::Broken);
        connection.end_of_input()?;
        self.until_closed(connection, ledger)
    }

    fn vanish(&self, connection: Connection, ledger: &Ledger) {
        ledger.open().testator_goes(self.index, Ending::Broken);
        drop(connection);
    }

    fn until_closed(&self, mut connection: Connection, ledger: &Ledger) -> Option<()> {
        wait(&mut connection);
        // Before the blow: it was the broker that closed, and it lives.
        ledger.is_untouched().then(|| ledger.open().testator_is_gone(self.index))
    }
}

/// Is there until the connection breaks.
fn stay(mut connection: Connection) -> Option<()> {
    wait(&mut connection);
    None
}

fn wait(connection: &mut Connection) {
    match connection.next() {
        Next::Closed => {}
        Next::Packet(frame) => panic!("a testator is sent {frame:02x?}"),
        Next::Nothing => panic!("the broker does not close the connection of a testator"),
    }
}
