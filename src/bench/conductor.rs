//! Leads a run: starts clients, waits for what they do, sees when nothing moves any more, and takes the figures.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::board::{Board, Count, Counts};
use super::client::Caller;
use super::fault::Fault;
use super::greeting::{Greeting, Welcome};
use super::link::Link;
use super::plan::{Plan, Scenario};
use super::process::{self, Usage, Watched};
use super::report::{Report, Status};
use super::stage::Stage;
use super::transport::Dialer;
use crate::packet::ProtocolVersion;

/// How a run goes, for those who wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: &'static str,
    pub elapsed: Duration,
    pub counts: Counts,
    /// Since the last time.
    pub received_per_s: f64,
}

/// Why a run ended before its time.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) status: Status,
    pub(super) detail: String,
}

impl Stop {
    pub(super) fn new(status: Status, detail: impl Into<String>) -> Stop {
        Stop { status, detail: detail.into() }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::new(if fault.is_disconnect() { Status::Disconnected } else { Status::Failed }, fault.to_string())
    }
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Nanoseconds since the run began.
    pub(super) at: u64,
    pub(super) counts: Counts,
    pub(super) usage: Usage,
}

pub(super) struct Conductor<'a> {
    pub(super) plan: &'a Plan,
    pub(super) board: Arc<Board>,
    pub(super) report: Report,
    /// Tells this run's clients and topics from those of others.
    run: String,
    dialer: Arc<Dialer>,
    broker: Option<Watched>,
    tasks: JoinSet<Result<(), Fault>>,
    clients: usize,
    /// Those whose sessions stay in the broker until they are ended.
    lasting: Vec<Caller>,
    /// Without progress for so long, the run is over.
    pub(super) stall: Duration,
    /// Clients may fail; they are counted.
    pub(super) is_tolerant: bool,
    /// What the first of them said.
    pub(super) first_fault: Option<Fault>,
    /// Connections that the broker closed.
    pub(super) closed: u64,
    moved: (u64, u64),
    told: (u64, u64),
    progress: &'a mut dyn FnMut(&Progress),
}

/// How often the counters are looked at.
const TICK: Duration = Duration::from_millis(2);
const TELL_INTERVAL: u64 = 1_000_000_000;

impl<'a> Conductor<'a> {
    /// Finds the broker, and connects once to see whether it lets clients in.
    pub(super) async fn begin(plan: &'a Plan, progress: &'a mut dyn FnMut(&Progress)) -> Result<Self, Stop> {
        let first_look = tokio::time::timeout(plan.generator.stall, first_look(plan));
        let late = |_| Stop::new(Status::Failed, format!("{}:{} does not answer", plan.target.host, plan.target.port));
        let FirstLook { dialer, run, is_local, link } = first_look.await.map_err(late)??;
        link.close().await;
        let mut report = Report::new(plan.scenario.name());
        let broker = watched(plan, &dialer, is_local, &mut report)?;
        if let Some(broker) = &broker {
            broker.forget_peak();
        }
        Ok(Conductor {
            plan,
            board: Arc::new(Board::new(plan.generator.threads, plan.generator.connecting_max)),
            report,
            run,
            dialer: Arc::new(dialer),
            broker,
            tasks: JoinSet::new(),
            clients: 0,
            lasting: Vec::new(),
            stall: plan.generator.stall,
            is_tolerant: false,
            first_fault: None,
            closed: 0,
            moved: (0, 0),
            told: (0, 0),
            progress,
        })
    }

    /// A topic of this run.
    pub(super) fn topic(&self, rest: &str) -> String {
        format!("midge-bench/{}/{rest}", self.run)
    }

    pub(super) fn share_name(&self) -> String {
        format!("midge-bench-{}", self.run)
    }

    /// A client of this run, by a name that nobody else of it has; lasting is a session that outlives its connection.
    pub(super) fn caller(&mut self, name: &str, is_lasting: bool) -> Caller {
        let number = self.clients;
        self.clients += 1;
        let greeting = Greeting { clean_start: !is_lasting, is_lasting, ..greeting(self.plan, &self.run, name) };
        let caller =
            Caller { board: Arc::clone(&self.board), dialer: Arc::clone(&self.dialer), number, greeting, due: None };
        if is_lasting {
            self.lasting.push(caller.clone());
        }
        caller
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = Result<(), Fault>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Every client asks the broker whether it is there.
    pub(super) fn ping_all(&self) {
        self.board.stage.turn(Stage::Ping);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { at: self.board.now(), counts: self.board.counts(), usage: process::usage(self.broker.as_ref()) }
    }

    /// Waits until it is done; an error when nothing moves.
    pub(super) async fn until(&mut self, phase: &'static str, done: impl Fn(&Counts) -> bool) -> Result<(), Stop> {
        self.moved.1 = self.board.now();
        loop {
            if self.look(phase, &done)? {
                return Ok(());
            }
            self.check_stall(phase)?;
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits for a moment; an error when nothing moves before.
    pub(super) async fn until_moment(&mut self, phase: &'static str, at: u64) -> Result<(), Stop> {
        self.moved.1 = self.board.now();
        while !self.look(phase, |_| false)? {
            let now = self.board.now();
            if now >= at {
                break;
            }
            self.check_stall(phase)?;
            tokio::time::sleep(TICK.min(Duration::from_nanos(at - now))).await;
        }
        Ok(())
    }

    /// Waits while nothing has to move.
    pub(super) async fn rest(&mut self, phase: &'static str, duration: Duration) -> Result<(), Stop> {
        let at = self.board.now() + duration.as_nanos() as u64;
        while !self.look(phase, |_| false)? && self.board.now() < at {
            tokio::time::sleep(TICK.min(duration)).await;
        }
        Ok(())
    }

    /// Whether it is done; an error when the run cannot go on.
    fn look(&mut self, phase: &'static str, done: impl Fn(&Counts) -> bool) -> Result<bool, Stop> {
        while let Some(ended) = self.tasks.try_join_next() {
            let fault = ended.unwrap_or_else(|error| Err(std::io::Error::other(error).into())).err();
            self.on_fault(phase, fault)?;
        }
        let counts = self.board.counts();
        self.tell(phase, counts);
        Ok(done(&counts))
    }

    fn on_fault(&mut self, phase: &'static str, fault: Option<Fault>) -> Result<(), Stop> {
        let Some(fault) = fault else { return Ok(()) };
        if self.is_tolerant {
            self.closed += u64::from(fault.is_disconnect());
            self.first_fault.get_or_insert(fault);
            return Ok(());
        }
        let has_crashed = fault.is_disconnect() && self.broker.as_ref().is_some_and(|broker| !broker.is_there());
        let mut stop = Stop::from(fault);
        stop.detail += &format!(", while {phase}");
        if has_crashed {
            stop = Stop::new(Status::Crashed, format!("the broker's process is gone, while {phase}"));
        }
        Err(stop)
    }

    fn check_stall(&mut self, phase: &'static str) -> Result<(), Stop> {
        let (now, progress) = (self.board.now(), self.board.counts().progress());
        if progress != self.moved.0 {
            self.moved = (progress, now);
        }
        if Duration::from_nanos(now) > self.plan.generator.time_max {
            let seconds = self.plan.generator.time_max.as_secs_f64();
            return Err(Stop::new(Status::Timeout, format!("{seconds} s are over, while {phase}")));
        }
        if Duration::from_nanos(now - self.moved.1) > self.stall {
            let seconds = self.stall.as_secs_f64();
            return Err(Stop::new(Status::Stalled, format!("nothing moved for {seconds} s, while {phase}")));
        }
        Ok(())
    }

    fn tell(&mut self, phase: &'static str, counts: Counts) {
        let now = self.board.now();
        let (received, at) = self.told;
        if now < at + TELL_INTERVAL {
            return;
        }
        self.told = (counts[Count::Received], now);
        let received_per_s = (counts[Count::Received] - received) as f64 / ((now - at) as f64 / 1e9);
        (self.progress)(&Progress { phase, elapsed: Duration::from_nanos(now), counts, received_per_s });
    }

    /// What every run is run with.
    pub(super) fn tell_params(&mut self) {
        let Plan { target, messages, generator, scenario } = self.plan;
        let version = match target.version {
            ProtocolVersion::V3 => "3.1",
            ProtocolVersion::V4 => "3.1.1",
            ProtocolVersion::V5 => "5.0",
        };
        self.report.param("host", target.host.clone());
        self.report.param("port", target.port);
        self.report.param("mqtt", version);
        self.report.param("tls", target.transport.tls.is_some());
        self.report.param("websocket", target.transport.websocket.is_some());
        if !matches!(scenario, Scenario::Connect { .. }) {
            self.report.param("qos", messages.qos as u8);
            self.report.param("subscription_qos", messages.subscription_qos as u8);
            self.report.param("size", messages.payload_bytes);
        }
        self.report.param("threads", generator.threads);
    }

    /// Takes in how the phases of a scenario ended.
    pub(super) fn conclude(&mut self, outcome: Result<(), Stop>) {
        if let Err(stop) = outcome {
            self.report.fail(stop.status, stop.detail);
        }
    }

    /// The CPU of broker and generator between two moments, and for each of so many things done meanwhile.
    pub(super) fn tell_cpu(&mut self, begin: &Mark, end: &Mark, [broker, generator]: [&'static str; 2], things: f64) {
        let seconds = (end.at - begin.at) as f64 / 1e9;
        let own = end.usage.own_since(&begin.usage);
        let mut tell = |names: [&'static str; 3], cpu: f64| {
            self.report.set(names[0], cpu);
            self.report.set(names[1], cpu / seconds);
            if things > 0.0 {
                self.report.set(names[2], cpu * 1e6 / things);
            }
        };
        tell(["gen_cpu_s", "gen_cpu_util", generator], own);
        if let Some(of_broker) = end.usage.of_broker_since(&begin.usage) {
            tell(["broker_cpu_s", "broker_cpu_util", broker], of_broker);
            let all = end.usage.of_all_since(&begin.usage);
            self.report.set("other_cpu_s", (all - of_broker - own).max(0.0));
        }
    }

    /// CPU of the broker between two moments for each of so many things.
    pub(super) fn tell_cpu_each(&mut self, begin: &Mark, end: &Mark, name: &'static str, things: f64) {
        if let Some(of_broker) = end.usage.of_broker_since(&begin.usage).filter(|_| things > 0.0) {
            self.report.set(name, of_broker * 1e6 / things);
        }
    }

    /// By how much the broker's memory grew for each of so many things.
    pub(super) fn tell_memory(&mut self, begin: &Mark, name: &'static str, things: f64) {
        if self.broker.is_some() && things > 0.0 {
            let now = process::usage(self.broker.as_ref()).broker_memory as f64;
            self.report.set(name, (now - begin.usage.broker_memory as f64) / things);
        }
    }

    /// Says when the figures are this generator's rather than the broker's.
    pub(super) fn note_limits(&mut self) {
        let figure = |name| self.report.figure(name).unwrap_or_default();
        let (own, broker) = (figure("gen_cpu_util"), figure("broker_cpu_util"));
        if own > 0.9 * self.plan.generator.threads as f64 && own > broker {
            self.report
                .note("the generator was busy all the time: the broker may be faster than this; --threads helps");
        }
    }

    /// Clients say good-bye; those that cannot are dropped.
    pub(super) async fn stop_clients(&mut self) {
        self.board.stage.turn(Stage::Stop);
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all_gone).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// Ends sessions that clients have left in the broker.
    pub(super) async fn forget_sessions(&mut self) {
        let callers = std::mem::take(&mut self.lasting);
        let all = self.board.counts()[Count::Ended] + callers.len() as u64;
        callers.into_iter().for_each(|caller| self.spawn(caller.forget()));
        self.is_tolerant = false;
        if let Err(stop) = self.until("ending sessions", |counts| counts[Count::Ended] >= all).await {
            self.report.note(format!("could not end all sessions: {}", stop.detail));
        }
    }

    /// The broker's memory, and the report.
    pub(super) fn finish(mut self, begin: &Mark) -> Report {
        if let Some(broker) = &self.broker {
            let end = process::usage(Some(broker));
            self.report.set("rss_start_kb", begin.usage.broker_memory as f64 / 1024.0);
            self.report.set("rss_end_kb", end.broker_memory as f64 / 1024.0);
            self.report.set("rss_peak_kb", broker.peak_memory() as f64 / 1024.0);
        }
        let counts = self.board.counts();
        for (name, count) in [
            ("refused", Count::Refused),
            ("foreign", Count::Foreign),
            ("resent", Count::Resent),
            ("stray_acks", Count::StrayAcks),
        ] {
            self.report.set_some(name, counts[count]);
        }
        self.report
    }
}

/// For all clients to take leave.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

fn greeting(plan: &Plan, run: &str, name: &str) -> Greeting {
    Greeting {
        version: plan.target.version,
        // MQTT 3.1 allows 23 characters.
        client_id: format!("mb{run}{name}"),
        clean_start: true,
        is_lasting: false,
        user_name: plan.target.user_name.clone(),
        password: plan.target.password.clone(),
        keep_alive: plan.generator.keep_alive,
        receive_maximum: plan.generator.receive_maximum,
    }
}

/// What the first client finds out.
struct FirstLook {
    dialer: Dialer,
    run: String,
    /// Whether the broker is on this machine.
    is_local: bool,
    link: Link,
}

async fn first_look(plan: &Plan) -> Result<FirstLook, Stop> {
    let target = &plan.target;
    let unreachable = |error| Fault::NoConnection { address: format!("{}:{}", target.host, target.port), error };
    let (dialer, stream) = Dialer::find(&target.host, target.port, &target.transport).await.map_err(unreachable)?;
    let is_local = stream.local_addr().is_ok_and(|local| local.ip() == dialer.address().ip());
    let wire = dialer.over(stream).await.map_err(unreachable)?;
    let run = format!("{:06x}", rand::random::<u32>() & 0xFF_FFFF);
    let (link, welcome) = Link::open(wire, &greeting(plan, &run, "probe")).await?;
    check(plan, &welcome)?;
    Ok(FirstLook { dialer, run, is_local, link })
}

fn check(plan: &Plan, welcome: &Welcome) -> Result<(), Fault> {
    let asked = plan.messages.qos.max(plan.messages.subscription_qos);
    let granted = welcome.maximum_qos;
    if granted < asked { Err(Fault::LowerQoS { granted, asked }) } else { Ok(()) }
}

/// The broker's process, where there is a way to it.
fn watched(plan: &Plan, dialer: &Dialer, is_local: bool, report: &mut Report) -> Result<Option<Watched>, Stop> {
    let found = match plan.target.broker_pid {
        Some(pid) => {
            let missing = || Stop::new(Status::Failed, format!("there is no process {pid}"));
            Some(Watched::of(pid).ok_or_else(missing)?)
        }
        None if is_local => Watched::listening_at(dialer.address()),
        None => None,
    };
    match &found {
        Some(broker) => {
            report.param("broker", broker.name.clone());
            report.param("broker_pid", broker.pid);
        }
        None if is_local => report.note("the broker's process cannot be seen: its user or root would see its CPU"),
        None => report.note("the broker is on another machine: its CPU is not known"),
    }
    Ok(found)
}
