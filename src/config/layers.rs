//! Where settings come from, and which of them wins: file, then environment, then flags.
//!
//! A variable `MIDGE_LIMITS__QUEUE_BYTES_MAX` sets `limits.queue_bytes_max`: lower case, a double underscore is a dot,
//! a number counts through a list (`MIDGE_LISTENER__0__ADDRESS`). Its value is written without quotes; lists are
//! separated by commas or written as in TOML.

use std::{env, fs, path::PathBuf};

use super::{
    Config, ConfigError, check,
    error::{Origin, Problem},
    files,
    raw::{Node, Value},
    read::{Reader, top_level_keys},
};

/// The layers above the defaults, to be read now and again at every reload.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    pub file: Option<PathBuf>,
    /// Names with their `MIDGE_` prefix; others are not looked at.
    pub environment: Vec<(String, String)>,
    pub flags: Vec<Flag>,
    /// Where state is kept when no layer says where; `None` keeps it in memory.
    pub data_directory: Option<PathBuf>,
}

/// A flag of the command line that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, `--listen`.
    pub name: &'static str,
    /// Dotted, with indices: `listener.0.address`.
    pub key: String,
    pub value: String,
}

/// What came out of the layers.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Variables that look like settings and are none.
    pub ignored: Vec<String>,
}

const PREFIX: &str = "MIDGE_";
/// Names the configuration file itself, before there are any keys.
pub const FILE_VARIABLE: &str = "MIDGE_CONFIG";

impl Layers {
    /// The variables of this process.
    pub fn variables() -> Vec<(String, String)> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        env::vars_os().map(text).filter(|(name, _)| name.starts_with(PREFIX)).collect()
    }

    /// Reads all layers, and looks whether the files they name are there and hold what they should.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut tree = self.read_file()?;
        let mut problems = Vec::new();
        let ignored = self.lay_environment(&mut tree, &mut problems);
        self.lay_flags(&mut tree, &mut problems);
        let mut reader = Reader::new(problems);
        let mut config = reader.config(&tree);
        if config.store.directory.is_none() {
            config.store.directory.clone_from(&self.data_directory);
        }
        check::check(&config, &mut reader);
        files::check(&config, &mut reader);
        Ok(Loaded { config: reader.finish(config)?, ignored })
    }

    fn read_file(&self) -> Result<Node, ConfigError> {
        let Some(path) = &self.file else { return Ok(Node::empty()) };
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
        Node::parse_file(&path.to_string_lossy(), &text).map_err(ConfigError::Invalid)
    }

    /// Answers with the variables that were left out.
    ///
    /// Kubernetes gives every container variables about a service called "midge", such as `MIDGE_PORT`: a name without
    /// a double underscore that is no key of the top level may be somebody else's.
    fn lay_environment(&self, tree: &mut Node, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut ignored = Vec::new();
        let mut settings: Vec<_> = self.environment.iter().filter_map(|(name, value)| setting(name, value)).collect();
        settings.sort();
        for (path, name, value) in settings {
            if let [Step::Name(only)] = &path[..]
                && !top_level_keys().any(|key| key == only)
            {
                ignored.push(name.to_owned());
                continue;
            }
            lay(tree, &path, value, Origin::Environment(name.into()), problems);
        }
        ignored
    }

    fn lay_flags(&self, tree: &mut Node, problems: &mut Vec<Problem>) {
        if self.flags.iter().any(|flag| flag.key.starts_with("listener.0")) {
            tree.remove("listener");
        }
        for flag in &self.flags {
            lay(tree, &steps(&flag.key, "."), &flag.value, Origin::Flag(flag.name.into()), problems);
        }
    }
}

/// One step of the way to a key. Numbers sort as numbers, so that lists grow in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Index(usize),
    Name(String),
}

fn steps(key: &str, separator: &str) -> Vec<Step> {
    let step = |text: &str| text.parse().map_or_else(|_| Step::Name(text.to_owned()), Step::Index);
    key.split(separator).map(step).collect()
}

fn setting<'a>(name: &'a str, value: &'a str) -> Option<(Vec<Step>, &'a str, &'a str)> {
    let key = name.strip_prefix(PREFIX).filter(|_| name != FILE_VARIABLE)?;
    let mut path = steps(&key.to_lowercase(), "__");
    if let Some(first @ Step::Index(_)) = path.first_mut() {
        // The top level is no list.
        *first = Step::Name(key.split("__").next()?.to_owned());
    }
    Some((path, name, value))
}

fn lay(tree: &mut Node, path: &[Step], value: &str, origin: Origin, problems: &mut Vec<Problem>) {
    let node = Node { origin: origin.clone(), value: Value::Text(value.to_owned()) };
    if let Err(message) = tree.set(path, node) {
        problems.push(Problem { origin, key: String::new(), message });
    }
}

impl Node {
    /// Puts `node` at the end of `path`, with the tables and lists on the way that are not there yet.
    fn set(&mut self, path: &[Step], node: Node) -> Result<(), String> {
        match path.split_first() {
            None => *self = node,
            Some((Step::Index(at), rest)) => self.set_item(*at, rest, node)?,
            Some((Step::Name(name), rest)) => self.set_entry(name, rest, node)?,
        }
        Ok(())
    }

    fn set_item(&mut self, at: usize, rest: &[Step], node: Node) -> Result<(), String> {
        let mut items = match self.take_structure() {
            Value::Array(items) => items,
            _ => self.begin_anew(&node.origin),
        };
        if at == items.len() {
            items.push(Node { origin: node.origin.clone(), ..Node::empty() });
        }
        let count = items.len();
        let no_item = || format!("the list has {count} items, counted from 0: there is no number {at}");
        let outcome = items.get_mut(at).ok_or_else(no_item).and_then(|item| item.set(rest, node));
        self.value = Value::Array(items);
        outcome
    }

    fn set_entry(&mut self, name: &str, rest: &[Step], node: Node) -> Result<(), String> {
        let mut entries = match self.take_structure() {
            Value::Table(entries) => entries,
            _ => self.begin_anew(&node.origin),
        };
        let mut inner = match entries.iter().position(|(key, _)| key == name) {
            Some(at) => entries.swap_remove(at).1,
            None => Node { origin: node.origin.clone(), ..Node::empty() },
        };
        let outcome = inner.set(rest, node);
        entries.push((name.to_owned(), inner));
        self.value = Value::Table(entries);
        outcome
    }

    /// What the layer below wrote was of another kind; who is wrong is the stronger layer's affair.
    fn begin_anew<T>(&mut self, origin: &Origin) -> Vec<T> {
        self.origin = origin.clone();
        Vec::new()
    }

    fn take_structure(&mut self) -> Value {
        let value = std::mem::replace(&mut self.value, Node::empty().value);
        Node { origin: self.origin.clone(), value }.structured().value
    }

    fn remove(&mut self, name: &str) {
        if let Value::Table(entries) = &mut self.value {
            entries.retain(|(key, _)| key != name);
        }
    }
}
