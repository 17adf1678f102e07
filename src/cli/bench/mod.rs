//! `midge bench`: puts load on a broker, ours or another, and tells what it does with it.
//!
//! The work is done by `midge::bench`; here is what can be typed, and how the answer looks.

mod args;
mod plan;
mod text;

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use midge::bench::{self, Progress, Report, Status};

use self::args::ScenarioArgs;

const EXAMPLES: &str = "\
Examples:
  midge bench pairs
      10 publishers, each with a subscriber: how many messages a second go through a broker on
      127.0.0.1:1883, and what CPU each takes.
  midge bench fanout -s 100 -q 1 --host broker.example.com
      Every message goes to 100 subscribers, at QoS 1.
  midge bench pairs -N 100 -q 1 --lasting
      Between sessions that outlive their connections: every message is kept before it is acknowledged.
  midge bench fanin -p 1000 -s 4 --shared --v5
      1000 publishers; 4 subscribers share their messages.
  midge bench latency --rate 20000
      How long messages take at 20,000 a second.
  midge bench connect -c 10000
      How fast 10,000 clients get in, and the memory that they take.
  midge bench retained -n 100000
  midge bench offline -n 10000 -s 10
      Messages that wait: for those who subscribe later, for those who come back.
  midge bench trie -N 1000000 -K 2
      A million subscriptions, of which each message matches two.
  midge bench churn -c 64
      Clients that come, send themselves a message and go, again and again.
  midge bench pairs -n 100000 --tls --ca certs/ca.pem --host localhost --json
      A fixed number of messages, over TLS, and the answer for a program.
  midge bench pairs --ws --port 8083
      Over WebSocket.

Each payload says who sent it, which message it is and when it was to leave, and every one of them is
checked. fanout, fanin, pairs and trie keep at most --window messages under way: a broker that loses some
stops them, rather than seem fast. What their latencies tell is how long that queue is; `latency` is
for the others: there the clock says when messages leave, and every delay counts.

The broker's CPU and memory are told when it runs on this machine under this user, or root asks.
Topics and clients have names of their own, and what a run leaves in the broker it takes away again.

Exit codes:
  0  everything has come, once
  1  it could not be measured: no connection, a refusal, something that the broker cannot do
  2  the command line was not understood
  3  nothing moved for --stall seconds, or --max-time was over
  4  messages were lost; or, where QoS 0 or 2 rules that out, came twice
  5  the broker ended connections, or itself";

/// Measure a broker: rates, latencies, CPU and memory, loss
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    #[command(subcommand)]
    scenario: ScenarioArgs,
}

/// A run that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", status.name())]
pub struct Verdict {
    status: Status,
    detail: String,
}

impl Verdict {
    /// What the command exits with.
    pub fn exit_code(&self) -> u8 {
        self.status.exit_code()
    }
}

pub fn run(args: &BenchArgs) -> Result<()> {
    let plan = args.scenario.plan();
    let output = args.scenario.output();
    // A connection is an open file.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut line = ProgressLine { is_terminal: io::stderr().is_terminal(), is_drawn: false };
    let report = bench::run(&plan, &mut |progress| {
        if !output.quiet {
            line.draw(progress);
        }
    })?;
    line.clear();
    print(&report, output.json)?;
    match report.status {
        Status::Ok => Ok(()),
        status => Err(Verdict { status, detail: report.detail }.into()),
    }
}

fn print(report: &Report, is_json: bool) -> io::Result<()> {
    let text = if is_json { format!("{:#}\n", report.json()) } else { text::table(report) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// On standard error: one line that changes on a terminal, a line each time elsewhere.
struct ProgressLine {
    is_terminal: bool,
    is_drawn: bool,
}

/// Back to the start of the line, and all of it gone.
const CLEAR_LINE: &str = "\r\x1b[K";

impl ProgressLine {
    fn draw(&mut self, progress: &Progress) {
        let line = text::progress(progress);
        if self.is_terminal {
            eprint!("{CLEAR_LINE}{line}");
            self.is_drawn = true;
        } else {
            eprintln!("{line}");
        }
    }

    fn clear(&mut self) {
        if self.is_drawn {
            eprint!("{CLEAR_LINE}");
        }
    }
}
