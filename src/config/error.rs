//! What is wrong with a configuration: every mistake with the place where it was written and what would be right.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why no [`Config`](super::Config) came out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// All mistakes at once, in the order in which they were found; one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    /// Dotted, as in `listener[0].tls.client_ca`; empty when the text is no TOML at all.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File {
        name: Arc<str>,
        line: u32,
    },
    /// The variable's name.
    Environment(Arc<str>),
    /// The flag as typed, with its dashes.
    Flag(Arc<str>),
    /// Nowhere: a default, or a `Config` built by a program.
    BuiltIn,
}

impl Origin {
    /// A path as meant: in a file it starts from the file's directory, elsewhere from the working directory.
    pub(super) fn resolve(&self, path: PathBuf) -> PathBuf {
        match self {
            Origin::File { name, .. } => Path::new(&**name).parent().map_or(path.clone(), |dir| dir.join(path)),
            _ => path,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
            Origin::BuiltIn => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
