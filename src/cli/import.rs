//! `midge import`: what another broker has saved, into a data directory that has nothing yet.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use midge::import::{Counts, mosquitto};
use midge::message::BrokerTime;
use midge::store::Store;
use midge::store::journal::{Journal, JournalOptions};

use super::STORE_EXIT_CODES;
use super::layers::data_directory;

const EXAMPLES: &str = "\
Examples:
  systemctl stop mosquitto
  midge import mosquitto /var/lib/mosquitto --data-dir /var/lib/midge
      Sessions, subscriptions, queued and retained messages; mosquitto saves them
      when it stops, if its configuration says `persistence true`.

The data directory has to be empty or missing, and no broker may be using it.

Exit codes:
  0  all of it is in the data directory
  1  nothing was imported; standard error says why
  2  the command line was not understood";

/// Take over what another broker has saved
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{STORE_EXIT_CODES}"))]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// The persistence file of mosquitto 1.6 to 2.x
    #[command(after_help = format!("{EXAMPLES}{STORE_EXIT_CODES}"))]
    Mosquitto {
        /// mosquitto.db, or the directory that it is in
        #[arg(value_name = "PATH")]
        path: PathBuf,

        /// Import into DIR instead of $STATE_DIRECTORY or midge-data
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

pub fn run(args: ImportArgs) -> Result<()> {
    let From::Mosquitto { path, data_dir } = args.from;
    let directory = data_dir.unwrap_or_else(data_directory);
    // Once before anything is made: a file that cannot be read leaves no data directory behind.
    mosquitto::read(&path, BrokerTime::default(), &mut 1)?;
    let (journal, recovered) = Journal::open(&directory, &JournalOptions::default())?;
    let has_something =
        !(recovered.sessions.is_empty() && recovered.groups.is_empty() && recovered.retained.is_empty());
    if has_something {
        journal.close();
        bail!("{} has sessions or messages already: import into a directory that has none", directory.display());
    }
    let mut next_owner = recovered.next_owner.max(1);
    let imported = mosquitto::read(&path, recovered.time, &mut next_owner)?;
    let written = imported.write_into(&journal);
    journal.close();
    written.with_context(|| {
        format!("only a part of it is in {}: remove that directory before you try again", directory.display())
    })?;
    say(&imported.counts, &directory)?;
    Ok(())
}

fn say(counts: &Counts, directory: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Counts { sessions, subscriptions, copies, retained, received, .. } = *counts;
    let directory = directory.display();
    writeln!(
        out,
        "imported into {directory}: {sessions} sessions, {subscriptions} subscriptions, {copies} waiting messages, \
         {retained} retained messages, {received} unfinished QoS 2 exchanges of publishers"
    )?;
    let left = [
        (counts.sessions_ended, "sessions that have ended"),
        (counts.messages_expired, "messages that have expired"),
        (counts.left_behind, "messages of QoS 0, or messages and subscriptions of sessions that have ended"),
    ];
    for (count, what) in left.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "left behind: {count} {what}")?;
    }
    Ok(())
}
