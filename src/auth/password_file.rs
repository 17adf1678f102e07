//! Users and their password hashes, in mosquitto's file format: one `user:hash` a line.
//!
//! A loaded file never changes; a reload makes a new one. [`edit`] is what `midge passwd` does.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;

use super::auth_file::{self, AuthFileError, Flaw};
use super::password_hash::{PasswordHash, Scheme};

const SHAPE: &str = "user:hash, as `midge passwd` and mosquitto_passwd do";

/// A loaded password file.
#[derive(Debug)]
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash>,
    /// What an unknown user's password is checked against, so that the time taken does not tell who exists;
    /// `None` when nobody does.
    decoy: Option<PasswordHash>,
}

impl PasswordFile {
    pub fn load(path: &Path) -> Result<PasswordFile, AuthFileError> {
        PasswordFile::parse(path, &auth_file::read(path)?)
    }

    /// `path` is what errors name.
    pub fn parse(path: &Path, content: &[u8]) -> Result<PasswordFile, AuthFileError> {
        let mut users = HashMap::new();
        let mut lines: HashMap<&str, usize> = HashMap::new();
        auth_file::for_each_entry(path, content, |number, line| {
            let (user, text) = auth_file::split_user(line, SHAPE)?;
            if let Some(first) = lines.insert(user, number) {
                let problem = format!("user {user:?} stands in line {first} already");
                return Err(Flaw::new(problem, "remove one of the two lines"));
            }
            users.insert(Box::from(user), PasswordHash::parse(text)?);
            Ok(())
        })?;
        let decoy = decoy(users.values());
        Ok(PasswordFile { users, decoy })
    }

    /// How many users the file has.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether checking a password is work for a blocking pool.
    pub(super) fn is_costly(&self) -> bool {
        self.users.values().any(|hash| hash.scheme().is_costly())
    }

    /// Costs the same for a user who does not exist (as long as all hashes have the same parameters).
    pub(super) fn check(&self, user: &str, password: &[u8]) -> Result<(), Mismatch> {
        match (self.users.get(user), &self.decoy) {
            (Some(hash), _) if hash.verify(password) => Ok(()),
            (Some(_), _) => Err(Mismatch::WrongPassword),
            (None, decoy) => {
                // The result is not wanted, the time is.
                black_box(decoy.as_ref().map(|hash| hash.verify(password)));
                Err(Mismatch::UnknownUser)
            }
        }
    }
}

/// Why a password was not accepted: for the log, the client must not learn which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    UnknownUser,
    WrongPassword,
}

/// A hash with the parameters that most users have, of the costlier ones when there is a tie.
fn decoy<'h>(hashes: impl Iterator<Item = &'h PasswordHash>) -> Option<PasswordHash> {
    let mut counts: HashMap<Scheme, (usize, &PasswordHash)> = HashMap::new();
    for hash in hashes {
        counts.entry(hash.scheme()).or_insert((0, hash)).0 += 1;
    }
    let (_, (_, hash)) = counts.into_iter().max_by_key(|(scheme, (count, _))| (*count, *scheme))?;
    Some(hash.clone())
}

/// Changing a password file, as `midge passwd` does.
pub mod edit {
    use std::path::Path;

    use super::PasswordFile;
    use crate::auth::auth_file::AuthFileError;
    use crate::auth::credential_lines::{self, Edited};
    use crate::auth::password_hash::{HashAlgorithm, PasswordHash};

    /// Adds a user or gives one a new password; other lines, the file's mode and its owner stay. Makes the file if needed.
    pub fn set(path: &Path, user: &str, password: &[u8], algorithm: HashAlgorithm) -> Result<Edited, AuthFileError> {
        if password.is_empty() {
            return Err(AuthFileError::Password { why: "it is empty" });
        }
        let hash = PasswordHash::create(algorithm, password, |salt| rand::fill(salt))?;
        credential_lines::set(path, user, &hash.to_string(), PasswordFile::parse)
    }

    pub fn delete(path: &Path, user: &str) -> Result<(), AuthFileError> {
        credential_lines::delete(path, user)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::auth::credential_lines::Edited;
    use crate::auth::password_hash::HashAlgorithm;

    // Made by mosquitto_passwd 2.0.11 and libargon2; the passwords are "wonderland", "wonderland" and "small".
    const SHA512: &str =
        "$6$+IhdcYtUgghc/w31$lBA2V/0TB+strUcj82RWAaOmcNdKQxCsoFwiqznRNo0C8on1IBRFLK+e62ZuWZ6x1yFCH3/86z93EUoLf68vLQ==";
    const PBKDF2: &str = "$7$101$BVVjHCjTK/ll+O5P$J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==";
    const ARGON2ID: &str = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$cFmEA+ZESEpeo8vgc1uSGtwo4XgBMMwKGG7TbD70A0o";

    fn parse(content: &str) -> Result<PasswordFile, String> {
        PasswordFile::parse(Path::new("users"), content.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_three_kinds_of_hash_stand_side_by_side() {
        let content = format!("# users\nold:{SHA512}\r\n\nnew:{PBKDF2}\n  newest:{ARGON2ID}");
        let file = parse(&content).unwrap();
        assert_eq!(file.len(), 3);
        for (user, password) in [("old", "wonderland"), ("new", "wonderland"), ("newest", "small")] {
            assert_eq!(file.check(user, password.as_bytes()), Ok(()), "{user}");
            assert_eq!(file.check(user, b"Small"), Err(Mismatch::WrongPassword), "{user}");
        }
        assert_eq!(file.check("nobody", b"small"), Err(Mismatch::UnknownUser));
    }

    #[test]
    fn an_empty_file_knows_nobody() {
        let file = parse("# nobody yet\n").unwrap();
        assert!(file.is_empty() && !file.is_costly());
        assert_eq!(file.check("a", b""), Err(Mismatch::UnknownUser));
    }

    #[test]
    fn bad_lines_are_named_with_what_would_be_right() {
        let cases = [
            ("alice".to_owned(), "users:1: there is no ':' after the user name; write user:hash"),
            ("\n# c\nalice:secret".to_owned(), "users:3: the password is not hashed"),
            (":$6$".to_owned(), "users:1: \"\" cannot be a user name: it is empty; write user:hash"),
            ("alice:".to_owned(), "users:1: the password is not hashed"),
            (format!("a:{SHA512}\nb:{PBKDF2}\na:{PBKDF2}"), "users:3: user \"a\" stands in line 1 already; remove one"),
        ];
        for (content, expected) in cases {
            let error = parse(&content).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = PasswordFile::load(Path::new("/nonexistent/users")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/users: "), "{error}");
    }

    #[test]
    fn unknown_users_are_checked_with_the_parameters_that_most_users_have() {
        let decoy = |content: &str| parse(content).unwrap().decoy.map(|hash| hash.to_string());
        assert_eq!(decoy(""), None);
        assert_eq!(decoy(&format!("a:{SHA512}\nb:{PBKDF2}\nc:{PBKDF2}\nd:{ARGON2ID}")).as_deref(), Some(PBKDF2));
        assert_eq!(decoy(&format!("a:{SHA512}\nd:{ARGON2ID}\nb:{PBKDF2}")).as_deref(), Some(ARGON2ID));
    }

    #[test]
    fn a_file_is_costly_as_soon_as_one_hash_is() {
        assert!(!parse(&format!("a:{SHA512}")).unwrap().is_costly());
        assert!(parse(&format!("a:{SHA512}\nb:{PBKDF2}")).unwrap().is_costly());
    }

    #[test]
    fn an_edited_file_loads_again_with_the_new_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, format!("# keep me\nbob:{SHA512}\n")).unwrap();
        let pbkdf2 = HashAlgorithm::Sha512Pbkdf2 { iterations: 2 };
        assert_eq!(edit::set(&path, "alice", b"one", pbkdf2).unwrap(), Edited::Added);
        assert_eq!(edit::set(&path, "alice", b"two", HashAlgorithm::Sha512).unwrap(), Edited::Updated);
        let file = PasswordFile::load(&path).unwrap();
        assert_eq!((file.check("alice", b"two"), file.check("bob", b"wonderland")), (Ok(()), Ok(())));
        assert_eq!(file.check("alice", b"one"), Err(Mismatch::WrongPassword));
        edit::delete(&path, "alice").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("# keep me\nbob:{SHA512}\n"));
    }

    #[test]
    fn an_empty_password_is_refused_when_editing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let error = edit::set(&path, "alice", b"", HashAlgorithm::Sha512).unwrap_err();
        assert_eq!(error.to_string(), "this password cannot be used: it is empty");
        assert!(!path.exists());
    }

    /// Runs Debian's tool; false (and a line that says so) where it is not installed.
    fn mosquitto_passwd(arguments: &[&str]) -> bool {
        match Command::new("mosquitto_passwd").args(arguments).status() {
            Ok(status) => {
                assert!(status.success(), "mosquitto_passwd {arguments:?}");
                true
            }
            Err(error) => {
                println!("SKIPPED: mosquitto_passwd (Debian package mosquitto) cannot be run: {error}");
                false
            }
        }
    }

    #[test]
    fn files_go_back_and_forth_between_this_and_mosquitto_passwd() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let name = path.to_str().unwrap();
        if !mosquitto_passwd(&["-b", "-c", name, "alice", "wönder $:land"]) {
            return;
        }
        assert!(mosquitto_passwd(&["-H", "sha512", "-b", name, "bob", "builder"]));
        edit::set(&path, "carol", b"sings", HashAlgorithm::Sha512Pbkdf2 { iterations: 101 }).unwrap();
        assert!(mosquitto_passwd(&["-b", name, "bob", "rebuilder"]));
        let file = PasswordFile::load(&path).unwrap();
        for (user, password) in [("alice", "wönder $:land"), ("bob", "rebuilder"), ("carol", "sings")] {
            assert_eq!(file.check(user, password.as_bytes()), Ok(()), "{user}");
        }
        assert!(mosquitto_passwd(&["-D", name, "alice"]));
        assert_eq!(PasswordFile::load(&path).unwrap().len(), 2);
    }
}
