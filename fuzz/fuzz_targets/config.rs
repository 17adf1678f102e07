//! Any text as a configuration file: it never panics, every mistake has a line in the text, and what is accepted is safe:
//! no listener that the network can reach lets strangers in unless that is written down.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::config::{Config, ConfigError, ListenerAddress, ListenerConfig, Origin, Problem};

fuzz_target!(|text: &str| {
    match Config::parse("midge.toml", text) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && config.listeners.iter().all(is_safe));
            assert!(midge::config::diff(&config, &config).is_empty());
        }
        Err(ConfigError::Invalid(problems)) => problems.iter().for_each(|problem| check(text, problem)),
        Err(ConfigError::Unreadable { .. }) => unreachable!("no file is read"),
    }
});

fn check(text: &str, problem: &Problem) {
    let Origin::File { line, .. } = problem.origin else { panic!("{problem}: not in the file") };
    let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
    assert!((1..=lines).contains(&(line as usize)) && !problem.message.is_empty(), "{problem}");
}

fn is_safe(listener: &ListenerConfig) -> bool {
    let is_local = listener.addresses.iter().all(ListenerAddress::is_local);
    let is_meant = listener.access.allow_anonymous == Some(true);
    !listener.addresses.is_empty() && (is_local || is_meant || listener.authenticates())
}
