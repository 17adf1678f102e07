//! Where lines of the log go, and when.
//!
//! A line by itself is a system call, and wakes whoever reads it. When ten thousand clients come back at once that is a
//! tenth of what they cost, so a thread of the runtime gathers its lines, and writes them with one call when it has nothing
//! more to do or has polled a few dozen connections ([`thread_rests`]): milliseconds later as a rule. Warnings and errors are
//! written at once, behind what their thread had gathered, and so is all that other threads say. So lines of different
//! threads may be out of order by as much; their times are right. A process that is killed takes along what its threads
//! have gathered, 4 KiB each at most.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::logging::LoggingError;
use crate::config::LogDestination;

/// A thread gathers so much at most, which a pipe takes as a whole. A longer line is not gathered.
const GATHERED_BYTES_MAX: usize = 4096;

/// Writes whole lines to one destination, which never mix.
#[derive(Clone, Debug)]
pub(super) struct LogWriter(Arc<Destination>);

#[derive(Debug)]
enum Destination {
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
}

impl LogWriter {
    pub(super) fn open(destination: &LogDestination) -> Result<LogWriter, LoggingError> {
        let destination = match destination {
            LogDestination::Stderr => Destination::Stderr,
            LogDestination::File(path) => Destination::File { path: path.clone(), file: Mutex::new(append(path)?) },
        };
        Ok(LogWriter(Arc::new(destination)))
    }

    /// Leaves the old file in use when the new one cannot be opened.
    pub(super) fn reopen(&self) -> Result<(), LoggingError> {
        if let Destination::File { path, file } = &*self.0 {
            *file.lock() = append(path)?;
        }
        Ok(())
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(*self.0, Destination::Stderr) && io::stderr().is_terminal()
    }
}

fn append(path: &Path) -> Result<File, LoggingError> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|error| LoggingError::File { path: path.into(), error })
}

impl Destination {
    fn write_all(&self, lines: &[u8]) -> io::Result<()> {
        match self {
            Destination::Stderr => io::stderr().lock().write_all(lines),
            Destination::File { file, .. } => file.lock().write_all(lines),
        }
    }
}

/// Writes one line.
pub(super) struct LineWriter<'a> {
    to: &'a Arc<Destination>,
    at_once: bool,
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { to: &self.0, at_once: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { to: &self.0, at_once: *metadata.level() <= Level::WARN }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let gathered =
            GATHERED.try_with(|gathered| gathered.borrow_mut().as_mut().map(|gathered| gathered.take(line, self)));
        match gathered {
            Ok(Some(written)) => written?,
            _ => self.to.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Of a thread that says when it rests.
    static GATHERED: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// Lines that are not written yet.
#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    /// Where the last of them go.
    to: Option<Arc<Destination>>,
}

impl Gathered {
    fn take(&mut self, line: &[u8], writer: &LineWriter<'_>) -> io::Result<()> {
        let goes_on = self.to.as_ref().is_some_and(|to| Arc::ptr_eq(to, writer.to));
        let mut written = Ok(());
        if !goes_on || self.lines.len() + line.len() > GATHERED_BYTES_MAX {
            written = self.write_out();
            self.to = Some(Arc::clone(writer.to));
        }
        self.lines.extend_from_slice(line);
        if writer.at_once || self.lines.len() > GATHERED_BYTES_MAX {
            written = written.and(self.write_out());
        }
        written
    }

    fn write_out(&mut self) -> io::Result<()> {
        let Some(to) = self.to.as_ref().filter(|_| !self.lines.is_empty()) else { return Ok(()) };
        let written = to.write_all(&self.lines);
        self.lines.clear();
        self.lines.shrink_to(GATHERED_BYTES_MAX);
        written
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.write_out();
    }
}

/// The thread has nothing to do, or has been busy for a while: what it has gathered is written. From the first time on it
/// gathers.
pub fn thread_rests() {
    GATHERED.with_borrow_mut(|gathered| {
        // As for a line that is written by itself, nobody is told that it could not be.
        let _ = gathered.get_or_insert_default().write_out();
    });
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is in the file after each of the events that a thread logs, and after its end.
    fn after_each(rests: bool, events: &[(&str, Level)]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midge.log");
        let writer = LogWriter::open(&LogDestination::File(path.clone())).unwrap();
        let read = || fs::read_to_string(&path).unwrap();
        let lines = fmt::layer().with_ansi(false).without_time().with_target(false).with_writer(writer);
        let subscriber = tracing_subscriber::registry().with(lines);
        let work = || {
            if rests {
                thread_rests();
            }
            let log = |(text, level): &(&str, Level)| {
                match *level {
                    Level::WARN => tracing::warn!("{text}"),
                    Level::INFO => tracing::info!("{text}"),
                    _ => tracing::debug!("{text}"),
                }
                read()
            };
            tracing::subscriber::with_default(subscriber, || events.iter().map(log).collect::<Vec<_>>())
        };
        let mut seen = thread::scope(|scope| scope.spawn(work).join().unwrap());
        seen.push(read());
        seen.into_iter().map(|text| text.replace("DEBUG ", "").replace(" INFO ", "").replace(" WARN ", "")).collect()
    }

    #[test]
    fn a_thread_that_rests_gathers_until_something_is_urgent_and_ends_with_nothing_left() {
        let seen = after_each(true, &[("a", Level::INFO), ("b", Level::WARN), ("c", Level::DEBUG)]);
        assert_eq!(seen, ["", "a\nb\n", "a\nb\n", "a\nb\nc\n"]);
    }

    #[test]
    fn other_threads_write_at_once() {
        let seen = after_each(false, &[("a", Level::INFO), ("b", Level::DEBUG)]);
        assert_eq!(seen, ["a\n", "a\nb\n", "a\nb\n"]);
    }

    #[test]
    fn what_a_thread_gathers_is_bounded() {
        let (most, long) = ("m".repeat(GATHERED_BYTES_MAX - 10), "l".repeat(2 * GATHERED_BYTES_MAX));
        let seen = after_each(true, &[(&most, Level::INFO), ("x", Level::INFO), (&long, Level::INFO)]);
        let all = format!("{most}\nx\n{long}\n");
        assert_eq!(seen, [String::new(), format!("{most}\n"), all.clone(), all]);
    }

    #[test]
    fn what_is_gathered_goes_where_it_was_meant_to() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let writers = paths.each_ref().map(|path| LogWriter::open(&LogDestination::File(path.clone())).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread_rests();
                for writer in [&writers[0], &writers[1], &writers[0]] {
                    LineWriter { to: &writer.0, at_once: false }.write_all(b"x\n").unwrap();
                }
                thread_rests();
                assert_eq!(paths.each_ref().map(|path| fs::read_to_string(path).unwrap()), ["x\nx\n", "x\n"]);
            });
        });
    }
}
