//! A line of the text log: as tracing-subscriber writes it, for a quarter of the instructions.
//!
//! Every connection is a line or two, so what a line costs shows in what a connection costs.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Writes events of this program, which has no spans, itself; leaves colours, and what libraries say through the `log`
/// crate, to tracing-subscriber.
#[derive(Default)]
pub(super) struct TextLine {
    general: Format,
}

/// The target of events that come from the `log` crate; their true one is a field.
const LOG_CRATE: &str = "log";
/// The field that is written without its name.
const MESSAGE: &str = "message";
/// What a thread keeps of a long line's room.
const LINE_BYTES_KEPT: usize = 4096;

thread_local! {
    /// What a line is put together in: its pieces are many and small.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
    static SECOND: RefCell<Second> = const { RefCell::new(Second { since_epoch: 0, text: String::new() }) };
}

/// The start of a line, which most have in common with the one before.
struct Second {
    since_epoch: u64,
    /// Such as `2026-11-28T10:11:12`, or nothing yet.
    text: String,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if writer.has_ansi_escapes() || event.metadata().target() == LOG_CRATE {
            return self.general.format_event(context, writer, event);
        }
        // Taken out: a value that logs while it is written gets a line of its own.
        let mut line = LINE.take();
        let written = write_line(&mut line, event).and_then(|()| writer.write_str(&line));
        line.clear();
        line.shrink_to(LINE_BYTES_KEPT);
        LINE.set(line);
        written
    }
}

fn write_line(line: &mut String, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    write_time(line, SystemTime::now())?;
    line.push_str(level(*metadata.level()));
    line.push_str(metadata.target());
    line.push(':');
    let mut fields = Fields { line, result: Ok(()) };
    event.record(&mut fields);
    fields.result?;
    line.push('\n');
    Ok(())
}

fn write_time(line: &mut String, time: SystemTime) -> fmt::Result {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|second| {
        if second.text.is_empty() || second.since_epoch != since_epoch.as_secs() {
            let whole = UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
            second.text.clear();
            // Fails from the year 10,000 on.
            write!(second.text, "{}", humantime::format_rfc3339_seconds(whole))?;
            second.text.pop();
            second.since_epoch = since_epoch.as_secs();
        }
        line.push_str(&second.text);
        Ok(())
    })?;
    let mut fraction = *b".000000Z";
    let mut rest = since_epoch.subsec_micros();
    for digit in fraction[1..7].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    line.extend(fraction.map(char::from));
    Ok(())
}

/// As wide as the widest, with a space on either side.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => " ERROR ",
        Level::WARN => "  WARN ",
        Level::INFO => "  INFO ",
        Level::DEBUG => " DEBUG ",
        Level::TRACE => " TRACE ",
    }
}

struct Fields<'a> {
    line: &'a mut String,
    result: fmt::Result,
}

impl Fields<'_> {
    /// A space, and what comes before the value: nothing before the message.
    fn begin(&mut self, field: &Field) {
        self.line.push(' ');
        if field.name() != MESSAGE {
            self.line.push_str(field.name());
            self.line.push('=');
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            return self.record_debug(field, &format_args!("{value}"));
        }
        // Most need no escape: copied, not written letter by letter.
        if !is_plain(value, |byte| !matches!(byte, b'"' | b'\\')) {
            return self.record_debug(field, &value);
        }
        self.begin(field);
        self.line.push('"');
        self.line.push_str(value);
        self.line.push('"');
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.begin(field);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.begin(field);
        self.result = self.result.and(write!(Harmless(self.line), "{value:?}"));
    }
}

/// Whether it has nothing but printable ASCII, and of that only what `may_be`.
fn is_plain(text: &str, may_be: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & may_be(byte))
}

/// Writes out what a terminal would act on, so that nobody's text does more than be read.
struct Harmless<'a>(&'a mut String);

impl Write for Harmless<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text, |_| true) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '\n' | '\t' => self.0.push(character),
                _ if character.is_control() => self.0.extend(character.escape_default()),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Read, Seek};

    use tracing_subscriber::fmt as lines;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Lines, those that begin with a time stamp without it.
    fn without_time(mut written: File) -> Vec<String> {
        let mut text = String::new();
        written.rewind().unwrap();
        written.read_to_string(&mut text).unwrap();
        let rest = |line: &str| {
            let (time, rest) = line.split_at_checked("2026-11-28T10:11:12.123456Z".len())?;
            humantime::parse_rfc3339(time).is_ok().then(|| rest.to_owned())
        };
        text.lines().map(|line| rest(line).unwrap_or_else(|| line.to_owned())).collect()
    }

    /// What `say` says, as we write it and as tracing-subscriber does.
    fn both(say: impl Fn()) -> [Vec<String>; 2] {
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let written = [ours.try_clone().unwrap(), theirs.try_clone().unwrap()];
        let subscriber = tracing_subscriber::registry()
            .with(lines::layer().with_ansi(false).with_writer(ours).event_format(TextLine::default()))
            .with(lines::layer().with_ansi(false).with_writer(theirs));
        tracing::subscriber::with_default(subscriber, say);
        written.map(without_time)
    }

    #[test]
    fn lines_are_those_of_tracing_subscriber() {
        let [ours, theirs] = both(|| {
            tracing::info!(client_id = "plant/7", peer = %"127.0.0.1:1", user = "", resumed = true, "connected");
            tracing::error!(error = %io::Error::other("no"), name = ?Some("a"), count = 7, signed = -7_i64, half = 0.5);
            tracing::warn!(client_id = "a \"quoted\" \\ \u{fc} \n \u{1b}[31m", "what {} says", "it");
            tracing::debug!(why = %"two\nlines", "debug");
            tracing::trace!(target: "elsewhere", "trace");
            tracing::info!(message = "said as a field");
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 7);
    }

    #[test]
    fn times_are_those_of_humantime() {
        for micros in [0, 1, 999_999, 1_000_000, 1_795_867_932_123_456, 1_795_867_932_999_999, 1_795_867_933_000_000, 7]
        {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let mut written = String::new();
            write_time(&mut written, time).unwrap();
            assert_eq!(written, humantime::format_rfc3339_micros(time).to_string());
        }
        let year_10000 = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        assert_eq!([write_time(&mut String::new(), year_10000); 2], [Err(fmt::Error); 2]);
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_written() {
        let [ours, theirs] = both(|| tracing::info!(why = %"\u{1b}[31mred\u{9b}\r", "bell \u{7}"));
        assert!(ours[0].ends_with(r"bell \u{7} why=\u{1b}[31mred\u{9b}\r"), "{}", ours[0]);
        assert_ne!(ours, theirs);
    }
}
