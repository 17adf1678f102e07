//! The log of one test, in the broker's text format: the broker's tasks run on the test's thread.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use tracing_subscriber::fmt::MakeWriter;

/// What this thread's test has logged since [`Log::capture`].
pub struct Log(());

thread_local! {
    static TEXT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// One subscriber for all tests, before the first of them logs: what others install later may miss lines.
pub fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(OfThisTest).init());
}

impl Log {
    pub fn capture() -> Log {
        TEXT.set(Some(Vec::new()));
        Log(())
    }

    /// The lines that contain `part`.
    pub fn lines(&self, part: &str) -> Vec<String> {
        let text = TEXT.with_borrow(|text| text.clone().unwrap_or_default());
        String::from_utf8_lossy(&text).lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

struct OfThisTest;

impl Write for OfThisTest {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        TEXT.with_borrow_mut(|text| text.iter_mut().for_each(|text| text.extend_from_slice(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for OfThisTest {
    type Writer = OfThisTest;

    fn make_writer(&'a self) -> OfThisTest {
        OfThisTest
    }
}
