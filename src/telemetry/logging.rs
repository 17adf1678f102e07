//! The log: tracing events as text or JSON lines, on stderr or in a file.
//!
//! The filter can be changed and the file opened anew while the broker runs; format and destination cannot.

use std::{env, io, path::PathBuf};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

pub use super::log_writer::thread_rests;
use super::{log_line::TextLine, log_writer::LogWriter};
use crate::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("cannot open the log file {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("log.filter: {0}")]
    Filter(#[from] ParseError),
    #[error(transparent)]
    Installed(#[from] TryInitError),
    #[error("the log's filter cannot be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// The running log.
#[derive(Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    writer: LogWriter,
}

impl Logging {
    /// Starts the log of this process; once.
    pub fn install(config: &LogConfig) -> Result<Logging, LoggingError> {
        let (logging, subscriber) = Logging::build(config)?;
        subscriber.try_init()?;
        Ok(logging)
    }

    /// Opens the file anew, which somebody may have moved away.
    pub fn reopen(&self) -> Result<(), LoggingError> {
        self.writer.reopen()
    }

    /// Takes over a new filter.
    pub fn reload(&self, config: &LogConfig) -> Result<(), LoggingError> {
        Ok(self.filter.reload(filter(config)?)?)
    }

    fn build(config: &LogConfig) -> Result<(Logging, impl Subscriber + Send + Sync), LoggingError> {
        let writer = LogWriter::open(&config.destination)?;
        let (filter, handle) = reload::Layer::new(filter(config)?);
        let lines = fmt::layer().with_ansi(takes_colours(&writer)).with_writer(writer.clone());
        let lines = match config.format {
            LogFormat::Text => lines.event_format(TextLine::default()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        Ok((Logging { filter: handle, writer }, tracing_subscriber::registry().with(filter).with(lines)))
    }
}

fn takes_colours(writer: &LogWriter) -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    writer.is_terminal() && !unwanted
}

fn filter(config: &LogConfig) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).parse(&config.filter)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::LogDestination;

    fn to_file(path: &Path, filter: &str, format: LogFormat) -> LogConfig {
        LogConfig { filter: filter.into(), format, destination: LogDestination::File(path.into()) }
    }

    #[test]
    fn lines_are_appended_as_text_with_their_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midge.log");
        fs::write(&path, "before\n").unwrap();
        let (_, subscriber) = Logging::build(&to_file(&path, "info", LogFormat::Text)).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(client_id = "plant/7", "connected");
            tracing::debug!("a packet");
        });
        let log = fs::read_to_string(&path).unwrap();
        let [before, line] = log.lines().collect::<Vec<_>>()[..] else { panic!("{log}") };
        assert_eq!(before, "before");
        assert!(line.ends_with("connected client_id=\"plant/7\""), "{line}");
    }

    #[test]
    fn json_lines_hold_message_and_fields_on_one_level() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midge.log");
        let (_, subscriber) = Logging::build(&to_file(&path, "info", LogFormat::Json)).unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::info!(client_id = "a\nb", "connected"));
        let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&line["message"], &line["client_id"]), (&"connected".into(), &"a\nb".into()));
    }

    #[test]
    fn the_filter_is_changed_and_the_file_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, rotated) = (directory.path().join("midge.log"), directory.path().join("midge.log.1"));
        let (logging, subscriber) = Logging::build(&to_file(&path, "error", LogFormat::Text)).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("one");
            tracing::info!("unseen");
            fs::rename(&path, &rotated).unwrap();
            tracing::error!("two");
            logging.reopen().unwrap();
            logging.reload(&to_file(&path, "info", LogFormat::Text)).unwrap();
            tracing::info!("three");
        });
        let (old, new) = (fs::read_to_string(&rotated).unwrap(), fs::read_to_string(&path).unwrap());
        assert_eq!((old.lines().count(), new.lines().count()), (2, 1), "{old}{new}");
        assert!(new.contains("three"), "{new}");
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let error = Logging::build(&to_file(Path::new("/no/such/dir/log"), "info", LogFormat::Text)).err().unwrap();
        assert_eq!(
            error.to_string(),
            "cannot open the log file /no/such/dir/log: No such file or directory (os error 2)"
        );
    }
}
