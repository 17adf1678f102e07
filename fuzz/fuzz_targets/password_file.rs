//! Any bytes as a password file and as a file of SCRAM credentials: loaded, or refused with a line that the file has.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use midge::auth::{AuthFileError, PasswordFile, ScramFile};

fuzz_target!(|content: &[u8]| {
    // The passwords are not checked: a file may ask for ten million iterations.
    check(content, PasswordFile::parse(Path::new("users"), content).map(|file| file.len()));
    check(content, ScramFile::parse(Path::new("scram"), content).map(|file| file.len()));
});

fn check(content: &[u8], outcome: Result<usize, AuthFileError>) {
    let lines = content.split(|&byte| byte == b'\n').count();
    match outcome {
        Ok(users) => assert!(users <= lines),
        Err(AuthFileError::Lines { mistakes, .. }) => {
            assert!(!mistakes.is_empty() && mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
        }
        Err(other) => panic!("{other}"),
    }
}
