//! What the broker logs, as text.
//!
//! A test's broker runs on the test's own thread, so the thread's subscriber sees all of it and nothing else.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;

/// Gathers the log of this thread until it is dropped.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn gather() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Log { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines so far that hold `what`; which values stand in quotes does not matter.
    pub fn lines_with(&self, what: &str) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        String::from_utf8_lossy(&lines)
            .replace('"', "")
            .lines()
            .filter(|line| line.contains(what))
            .map(str::to_owned)
            .collect()
    }

    /// The only line that holds `what`.
    pub fn line_with(&self, what: &str) -> String {
        let lines = self.lines_with(what);
        assert_eq!(lines.len(), 1, "{what}: {lines:?} of {}", String::from_utf8_lossy(&self.lines.0.lock().unwrap()));
        lines.into_iter().next().unwrap_or_default()
    }
}
