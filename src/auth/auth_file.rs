//! What the three files of this room (passwords, SCRAM credentials, access rules) have in common: they are read whole,
//! line by line, and every line that is wrong is named with what would be right.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file of users or rules was not loaded or not changed.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    #[error("cannot {action} {}: {error}", path.display())]
    Io { path: PathBuf, action: &'static str, error: io::Error },
    /// All lines that are wrong, one a line; there is at least one.
    #[error("{}", in_lines(path, mistakes))]
    Lines { path: PathBuf, mistakes: Vec<Mistake> },
    #[error("{} has no user {user:?}", path.display())]
    NoSuchUser { path: PathBuf, user: String },
    #[error("{user:?} cannot be a user name: {why}")]
    UserName { user: String, why: &'static str },
    #[error("this password cannot be used: {why}")]
    Password { why: &'static str },
    #[error("{iterations} iterations: at least {least} and at most {most} are possible")]
    Iterations { iterations: u32, least: u32, most: u32 },
}

/// What is wrong with one line of a file, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counts from 1.
    pub line: usize,
    pub problem: String,
    pub remedy: String,
}

fn in_lines(path: &Path, mistakes: &[Mistake]) -> String {
    let one = |Mistake { line, problem, remedy }: &Mistake| format!("{}:{line}: {problem}; {remedy}", path.display());
    mistakes.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// What is wrong with one line, and what would be right; never quotes a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Flaw {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Flaw {
        Flaw { problem: problem.into(), remedy: remedy.into() }
    }

    fn at(self, line: usize) -> Mistake {
        Mistake { line, problem: self.problem, remedy: self.remedy }
    }
}

pub(super) fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> AuthFileError {
    move |error| AuthFileError::Io { path: path.to_owned(), action, error }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, AuthFileError> {
    std::fs::read(path).map_err(io_error(path, "read"))
}

/// Calls `entry` with every line that is neither blank nor a comment, trimmed, and its number; goes on after a flaw, so that
/// all of them are found at once.
pub(super) fn for_each_entry<'c>(
    path: &Path,
    content: &'c [u8],
    mut entry: impl FnMut(usize, &'c str) -> Result<(), Flaw>,
) -> Result<(), AuthFileError> {
    let mut mistakes = Vec::new();
    for (index, bytes) in content.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let outcome = match std::str::from_utf8(bytes).map(str::trim) {
            Ok("") => Ok(()),
            Ok(line) if line.starts_with('#') => Ok(()),
            Ok(line) => entry(number, line),
            Err(error) => Err(not_utf8(error)),
        };
        mistakes.extend(outcome.err().map(|flaw| flaw.at(number)));
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(AuthFileError::Lines { path: path.to_owned(), mistakes })
}

fn not_utf8(error: std::str::Utf8Error) -> Flaw {
    let problem = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
    Flaw::new(problem, "save the file as UTF-8, which is what MQTT user names and topics are")
}

/// The user and the rest of a `user:rest` line.
pub(super) fn split_user<'l>(line: &'l str, shape: &str) -> Result<(&'l str, &'l str), Flaw> {
    let remedy = || format!("write {shape}");
    let (user, rest) =
        line.split_once(':').ok_or_else(|| Flaw::new("there is no ':' after the user name", remedy()))?;
    check_user_name(user).map_err(|why| Flaw::new(format!("{user:?} cannot be a user name: {why}"), remedy()))?;
    Ok((user, rest))
}

/// MQTT's limit for a UTF-8 Encoded String, which a user name is.
const USER_NAME_BYTES_MAX: usize = 65_535;

/// Whether a name can stand before the colon of a line and come back the same.
pub(super) fn check_user_name(user: &str) -> Result<(), &'static str> {
    match user {
        "" => Err("it is empty"),
        _ if user.len() > USER_NAME_BYTES_MAX => Err("it is longer than the 65535 bytes that MQTT allows"),
        _ if user.contains(':') => Err("the file uses ':' to end the name"),
        _ if user.contains(char::is_control) => Err("it contains a control character"),
        _ if user.trim() != user => Err("it begins or ends with white space"),
        _ if user.starts_with('#') => Err("a line that begins with '#' is a comment"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(content: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let mut seen = Vec::new();
        let outcome = for_each_entry(Path::new("f"), content, |number, line| {
            seen.push((number, line.to_owned()));
            Ok(())
        });
        outcome.map(|()| seen).map_err(|error| error.to_string())
    }

    #[test]
    fn blank_lines_comments_and_line_endings_are_no_entries() {
        let seen = entries(b"# c\r\n\r\n  a b \r\n\t# indented\nlast").unwrap();
        assert_eq!(seen, [(3, "a b".to_owned()), (5, "last".to_owned())]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        let error = entries(b"ok\nz\xfcrich:x\n").unwrap_err();
        assert!(error.starts_with("f:2: byte 2 of the line is not UTF-8; save the file as UTF-8"), "{error}");
    }

    #[test]
    fn all_wrong_lines_are_named_at_once() {
        let outcome = for_each_entry(Path::new("f"), b"a\nno\n# no\n\xff\nno", |_, line| match line {
            "no" => Err(Flaw::new("it says no", "write yes")),
            _ => Ok(()),
        });
        let said = outcome.unwrap_err().to_string();
        let [first, second, third] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert_eq!((first, third), ("f:2: it says no; write yes", "f:5: it says no; write yes"));
        assert!(second.starts_with("f:4: byte 1 of the line is not UTF-8"), "{second}");
    }

    #[test]
    fn names_that_a_line_cannot_carry_are_refused() {
        for bad in ["", "a:b", "a\nb", "nul\0", " a", "a ", "#a", &"x".repeat(65_536)] {
            assert!(check_user_name(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a b", "zürich", "a#", "$a", &"x".repeat(65_535)] {
            assert_eq!(check_user_name(good), Ok(()), "{good:?}");
        }
    }
}
