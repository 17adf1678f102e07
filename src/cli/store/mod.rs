//! `midge store`: looks after a data directory, mostly while no broker uses it.
//!
//! The work is done by `midge::store::journal`; here it is put into words.

mod export;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use midge::store::journal::{self, Repaired, Report};

use super::STORE_EXIT_CODES;
use super::layers::data_directory;

const EXAMPLES: &str = "\
Examples:
  midge store check --data-dir /var/lib/midge
      Reads everything, and says what is there or what is wrong. Changes nothing.
  midge store backup /backups/monday --data-dir /var/lib/midge
      A copy of it, while the broker runs.
  midge store restore /backups/monday --data-dir /var/lib/midge
      Back again, into an empty directory.
  midge store export --data-dir /backups/monday | jq -c 'select(.type == \"retained\")'
      All of it as JSON lines: sessions, subscriptions, retained and waiting messages.
  midge store repair --data-dir /var/lib/midge
      When a broker does not start: goes on without what is damaged, and says what that is.

All but backup need the directory for themselves: stop the broker first, or work on a backup.
check and export write nothing: a file system that is read-only will do, and files of others.

Exit codes:
  0  done; for check: everything is there
  1  it could not be done; standard error says why
  2  the command line was not understood";

/// Check, repair, compact, export, back up and restore a data directory
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{STORE_EXIT_CODES}"))]
pub struct StoreArgs {
    /// The broker's data directory, if it is not $STATE_DIRECTORY or midge-data
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything, and say what is there or what is wrong
    Check,
    /// Go on without what is damaged: says what is lost, keeps a copy of each damaged file as NAME.damaged-N
    Repair,
    /// Give back the space of what is no longer needed; a running broker does so by itself
    Compact,
    /// Write everything to standard output as lines of JSON, payloads in base64
    Export,
    /// Copy everything to DIR, which is empty or does not exist; a broker may be running
    Backup { dir: PathBuf },
    /// Copy a backup from DIR to the data directory, which is empty or does not exist
    Restore { dir: PathBuf },
}

pub fn run(args: &StoreArgs) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match run_to(args, &mut out).and_then(|()| Ok(out.flush()?)) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Whoever reads has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run_to(args: &StoreArgs, out: &mut dyn Write) -> Result<()> {
    let data = &args.data_dir.clone().unwrap_or_else(data_directory);
    match &args.command {
        StoreCommand::Check => check(data, out),
        StoreCommand::Repair => repair(data, out),
        StoreCommand::Compact => {
            let (before, after) = journal::compact(data)?;
            writeln!(out, "{before} bytes before, {after} after")?;
            Ok(())
        }
        StoreCommand::Export => export::export(data, out),
        StoreCommand::Backup { dir } => {
            open_many_files();
            let report = journal::backup(data, dir)?;
            finish_copy(&report, dir, out)
        }
        StoreCommand::Restore { dir } => {
            open_many_files();
            let report = journal::restore(dir, data).context("nothing is restored")?;
            finish_copy(&report, data, out)
        }
    }
}

/// A large store has more files than a shell allows a program; whoever may not have more will be told which one it was.
fn open_many_files() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

fn check(data: &Path, out: &mut dyn Write) -> Result<()> {
    let report = journal::check(data)?;
    write!(out, "{}", text(&report))?;
    if report.problems.is_empty() {
        writeln!(out, "everything is there")?;
        return Ok(());
    }
    out.flush()?;
    Err(damage(&report, data).into())
}

fn finish_copy(report: &Report, to: &Path, out: &mut dyn Write) -> Result<()> {
    write!(out, "{}", text(report))?;
    if report.problems.is_empty() {
        writeln!(out, "copied to {}", to.display())?;
        return Ok(());
    }
    out.flush()?;
    Err(damage(report, to).into())
}

/// Not all of a store can be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Damage(String);

fn damage(report: &Report, data: &Path) -> Damage {
    let count = report.problems.len();
    let what = if count == 1 { "1 thing" } else { &format!("{count} things") };
    let repair = format!("`midge store repair --data-dir {}` goes on without", data.display());
    Damage(format!("{what} cannot be read:\n{}\n{repair}", report.problems.join("\n")))
}

fn text(report: &Report) -> String {
    let Report { sessions, subscriptions, groups, messages, retained, segments, bytes, live_bytes, .. } = report;
    let mut text = format!(
        "sessions              {sessions}\n\
         subscriptions         {subscriptions}\n\
         shared subscriptions  {groups}\n\
         messages              {messages}\n\
         retained messages     {retained}\n\
         files                 {bytes} bytes in {segments} segments, {live_bytes} needed\n"
    );
    if report.torn_bytes > 0 {
        text +=
            &format!("note: the last {} bytes were not written to their end; a start cuts them\n", report.torn_bytes);
    }
    for note in &report.notes {
        text += &format!("note: {note}; nothing is needed of it\n");
    }
    text
}

fn repair(data: &Path, out: &mut dyn Write) -> Result<()> {
    let Repaired { lost, kept } = journal::repair(data)?;
    if kept.is_empty() {
        writeln!(out, "there is nothing to repair")?;
        return Ok(());
    }
    for lost in lost {
        writeln!(out, "lost: {lost}")?;
    }
    for kept in kept {
        writeln!(out, "kept as it was: {}", data.join(kept).display())?;
    }
    writeln!(out, "a broker starts with what is left")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use midge::message::{BrokerTime, Message, MessageParts, OwnerId, PublisherId, StoredCopy, SubscriptionIds};
    use midge::store::journal::{Journal, JournalOptions};
    use midge::store::{Change, Durability, SessionRecord, Store, StoredMessage};
    use midge::topic::QoS;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreArgs,
    }

    fn midge_store(words: &[&str], data: &Path) -> Result<String> {
        let data = data.to_str().unwrap();
        let line = Line::parse_from([&["store"], words, &["--data-dir", data]].concat());
        let mut out = Vec::new();
        run_to(&line.store, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn session() -> Change {
        Change::PutSession(Box::new(SessionRecord {
            owner: OwnerId(1),
            client_id: "pump-7".into(),
            user_name: None,
            listener: "tcp".into(),
            mount_point: "".into(),
            expiry_interval: 60,
            disconnected_at: None,
            sent_up_to: None,
            will: None,
        }))
    }

    fn message(payload: &[u8]) -> Change {
        let message = Message::new(&MessageParts {
            topic_prefix: "",
            topic: "plant/7",
            forward: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: BrokerTime::NEVER,
            publisher: PublisherId(1),
        });
        let copy = StoredCopy {
            owner: OwnerId(1),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: SubscriptionIds::One(5),
        };
        Change::Message(Box::new(StoredMessage { message, copies: vec![copy], retained: true, received: None }))
    }

    /// A store with a session for which two messages wait, one of them retained; its broker may be running.
    fn store(data: &Path) -> Journal {
        let (journal, _) = Journal::open(data, &JournalOptions::default()).unwrap();
        let filter = || "plant/#".into();
        let subscription =
            Change::PutSubscription { owner: OwnerId(1), filter: filter(), options: Default::default(), id: None };
        let changes = [session(), subscription, message(b"first"), message(b"second")];
        journal.append(&changes, Durability::Fsync).unwrap();
        // Reading waits until they are written.
        journal.read_rows(OwnerId(1), Default::default(), 1).unwrap();
        journal
    }

    #[test]
    fn check_says_what_is_there_and_that_a_broker_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let journal = store(&data);
        let error = midge_store(&["check"], &data).unwrap_err().to_string();
        assert!(error.ends_with("is in use by another broker"), "{error}");
        drop(journal);
        let said = midge_store(&["check"], &data).unwrap();
        assert!(said.contains("messages              2\n") && said.ends_with("everything is there\n"), "{said}");
        let error = midge_store(&["check"], directory.path().join("none").as_path()).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn check_and_export_leave_the_directory_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        drop(store(data));
        std::fs::remove_file(data.join("lock")).unwrap();
        let names = || {
            let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name());
            entries.collect::<std::collections::BTreeSet<_>>()
        };
        let before = names();
        assert!(midge_store(&["check"], data).is_ok() && midge_store(&["export"], data).is_ok());
        assert_eq!(names(), before);
    }

    #[test]
    fn export_writes_everything_as_lines_of_json() {
        let directory = tempfile::tempdir().unwrap();
        drop(store(directory.path()));
        let lines = midge_store(&["export"], directory.path()).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["session", "subscription", "retained", "message", "message"]);
        assert_eq!((&lines[0]["client_id"], &lines[1]["filter"]), (&"pump-7".into(), &"plant/#".into()));
        assert_eq!((&lines[2]["payload"], &lines[3]["payload"]), (&"c2Vjb25k".into(), &"Zmlyc3Q=".into()));
        assert_eq!(lines[4]["subscription_ids"], serde_json::json!([5]));
    }

    #[test]
    fn a_backup_of_a_running_broker_is_a_store_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let [data, copy, again] = ["data", "copy", "again"].map(|name| directory.path().join(name));
        let journal = store(&data);
        let said = midge_store(&["backup", copy.to_str().unwrap()], &data).unwrap();
        assert!(said.contains("messages              2\n") && said.contains("copied to"), "{said}");
        let error = midge_store(&["backup", copy.to_str().unwrap()], &data).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        drop(journal);
        midge_store(&["restore", copy.to_str().unwrap()], &again).unwrap();
        let (journal, recovered) = Journal::open(&again, &JournalOptions::default()).unwrap();
        assert_eq!((recovered.sessions.len(), recovered.sessions[0].waiting.rows), (1, 2));
        assert_eq!(journal.read_page(OwnerId(1), Default::default(), 10, 1000).unwrap().rows.len(), 2);
    }

    #[test]
    fn repair_says_what_is_lost_and_keeps_the_damaged_file() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        drop(store(data));
        assert_eq!(midge_store(&["repair"], data).unwrap(), "there is nothing to repair\n");
        let segment = data.join("0000000000000001.segment");
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(5).position(|piece| piece == b"first").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&segment, &bytes).unwrap();
        let error = midge_store(&["check"], data).unwrap_err().to_string();
        assert!(error.contains("message 3 of session \"pump-7\": 0000000000000001.segment"), "{error}");
        let said = midge_store(&["repair"], data).unwrap();
        assert!(
            said.starts_with("lost: message 3 of session \"pump-7\"") && said.contains(".segment.damaged-1"),
            "{said}"
        );
        let said = midge_store(&["check"], data).unwrap();
        assert!(said.contains("messages              1\n") && said.ends_with("everything is there\n"), "{said}");
        assert_eq!(std::fs::read(data.join("0000000000000001.segment.damaged-1")).unwrap(), bytes);
    }

    #[test]
    fn compact_gives_back_what_is_not_needed() {
        let directory = tempfile::tempdir().unwrap();
        let journal = store(directory.path());
        journal.append(&[message(&[7; 100_000]), Change::DeleteOwner(OwnerId(1))], Durability::Fsync).unwrap();
        journal.append(&[message(b"last")], Durability::Fsync).unwrap();
        drop(journal);
        let said = midge_store(&["compact"], directory.path()).unwrap();
        let bytes: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(bytes[0] > 100_000 && bytes[1] < 1000, "{said}");
        assert!(midge_store(&["check"], directory.path()).unwrap().contains("retained messages     1\n"));
    }
}
