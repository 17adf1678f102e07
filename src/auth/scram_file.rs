//! Users and their SCRAM-SHA-256 credentials: one `user:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` a line, salt and
//! keys in base64 (the stored form of RFC 5803, which PostgreSQL uses, too).
//!
//! The password cannot be had from a credential, nor can who has the file log in with it; other password files hold
//! hashes that SCRAM cannot use. A loaded file never changes; a reload makes a new one. [`edit`] is what
//! `midge passwd --scram` does.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::auth_file::{self, AuthFileError, Flaw};

pub(super) type Key = [u8; 32];

/// RFC 7677 wants at least 4096. One login must not take minutes, on the client's side here.
const ITERATIONS: RangeInclusive<u32> = 4_096..=10_000_000;
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
const NEW_SALT_BYTES: usize = 16;
const SHAPE: &str = "user:SCRAM-SHA-256$<iterations>:<base64 salt>$<base64 StoredKey>:<base64 ServerKey>";

/// What a server keeps of a user's password (RFC 5802 section 3).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ScramCredential {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

/// A loaded file of SCRAM credentials.
pub struct ScramFile {
    users: HashMap<Box<str>, ScramCredential>,
    /// Iterations and salt length that most users have, which an unknown user is shown as well.
    usual: (u32, usize),
}

/// What makes up the salts of users who do not exist: one secret for the whole process, since a salt that changed with a
/// reload would tell.
static DECOY_SECRET: LazyLock<Key> = LazyLock::new(rand::random);

impl ScramFile {
    pub fn load(path: &Path) -> Result<ScramFile, AuthFileError> {
        ScramFile::parse(path, &auth_file::read(path)?)
    }

    /// `path` is what errors name.
    pub fn parse(path: &Path, content: &[u8]) -> Result<ScramFile, AuthFileError> {
        let mut users = HashMap::new();
        let mut lines: HashMap<&str, usize> = HashMap::new();
        auth_file::for_each_entry(path, content, |number, line| {
            let (user, text) = auth_file::split_user(line, SHAPE)?;
            check_prepared(user)?;
            if let Some(first) = lines.insert(user, number) {
                let problem = format!("user {user:?} stands in line {first} already");
                return Err(Flaw::new(problem, "remove one of the two lines"));
            }
            users.insert(Box::from(user), ScramCredential::parse(text)?);
            Ok(())
        })?;
        let usual = usual(users.values());
        Ok(ScramFile { users, usual })
    }

    /// How many users the file has.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user's credential, or one that looks like it and that no password fits, and whether it is the user's.
    pub(super) fn credential(&self, user: &str) -> (ScramCredential, bool) {
        // Made for known users as well, so that it takes the same time.
        let decoy = self.decoy(user);
        self.users.get(user).map_or((decoy, false), |credential| (credential.clone(), true))
    }

    fn decoy(&self, user: &str) -> ScramCredential {
        let (iterations, salt_bytes) = self.usual;
        let mut salt = vec![0; salt_bytes].into_boxed_slice();
        pbkdf2::pbkdf2_hmac::<Sha256>(&*DECOY_SECRET, user.as_bytes(), 1, &mut salt);
        ScramCredential { iterations, salt, stored_key: *DECOY_SECRET, server_key: *DECOY_SECRET }
    }
}

// By hand: the keys let whoever knows them pretend to be the server.
impl fmt::Debug for ScramFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl ScramCredential {
    fn create(password: &str, salt: &[u8], iterations: u32) -> ScramCredential {
        let mut salted_password = Key::default();
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted_password);
        let stored_key = Sha256::digest(hmac(&salted_password, b"Client Key")).into();
        let server_key = hmac(&salted_password, b"Server Key");
        ScramCredential { iterations, salt: salt.into(), stored_key, server_key }
    }

    /// Reads what follows the user name.
    fn parse(text: &str) -> Result<ScramCredential, Flaw> {
        let shape =
            || Flaw::new("this is no SCRAM-SHA-256 credential", format!("`midge passwd --scram` writes {SHAPE}"));
        let (left, right) =
            text.strip_prefix("SCRAM-SHA-256$").and_then(|rest| rest.split_once('$')).ok_or_else(shape)?;
        let (iterations, salt) = left.split_once(':').ok_or_else(shape)?;
        let (stored_key, server_key) = right.split_once(':').ok_or_else(shape)?;
        Ok(ScramCredential {
            iterations: parse_iterations(iterations)?,
            salt: decode("salt", salt, SALT_BYTES)?.into(),
            stored_key: decode_key("StoredKey", stored_key)?,
            server_key: decode_key("ServerKey", server_key)?,
        })
    }
}

/// The text form that [`ScramCredential::parse`] reads.
impl fmt::Display for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// What most users have, of the greater ones when there is a tie; what new users get when there is nobody.
fn usual<'c>(credentials: impl Iterator<Item = &'c ScramCredential>) -> (u32, usize) {
    let mut counts: HashMap<(u32, usize), usize> = HashMap::new();
    for credential in credentials {
        *counts.entry((credential.iterations, credential.salt.len())).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|&(parameters, count)| (count, parameters));
    most.map_or((*ITERATIONS.start(), NEW_SALT_BYTES), |(parameters, _)| parameters)
}

/// Clients are looked up by the prepared form of their name, so another form would never be found.
fn check_prepared(user: &str) -> Result<(), Flaw> {
    match stringprep::saslprep(user) {
        Ok(prepared) if prepared == user => Ok(()),
        Ok(prepared) => {
            Err(Flaw::new(format!("{user:?} is not in the form of SASLprep"), format!("write {prepared:?}")))
        }
        Err(error) => Err(Flaw::new(format!("{user:?} cannot be a user name: {error}"), format!("write {SHAPE}"))),
    }
}

fn parse_iterations(text: &str) -> Result<u32, Flaw> {
    let value = text.parse().ok().filter(|value| ITERATIONS.contains(value));
    value.ok_or_else(|| {
        let remedy = format!("it is a number from {} to {}", ITERATIONS.start(), ITERATIONS.end());
        Flaw::new("the iteration count is out of range", remedy)
    })
}

fn decode(what: &str, text: &str, bytes: RangeInclusive<usize>) -> Result<Vec<u8>, Flaw> {
    let decoded = STANDARD
        .decode(text)
        .map_err(|_| Flaw::new(format!("the {what} is not base64"), "copy the line again from where it was made"))?;
    if !bytes.contains(&decoded.len()) {
        let remedy = format!("from {} to {} are possible", bytes.start(), bytes.end());
        return Err(Flaw::new(format!("the {what} has {} bytes", decoded.len()), remedy));
    }
    Ok(decoded)
}

fn decode_key(what: &str, text: &str) -> Result<Key, Flaw> {
    let bytes = decode(what, text, size_of::<Key>()..=size_of::<Key>())?;
    let mut key = Key::default();
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// Changing a file of SCRAM credentials, as `midge passwd --scram` does.
pub mod edit {
    use std::path::Path;

    use super::{ITERATIONS, NEW_SALT_BYTES, ScramCredential, ScramFile};
    use crate::auth::auth_file::AuthFileError;
    use crate::auth::credential_lines::{self, Edited};

    /// What RFC 7677 asks for at least. The client does this work at every login, and may be a microcontroller.
    pub const DEFAULT_ITERATIONS: u32 = *ITERATIONS.start();

    /// Adds a user or gives one a new password; other lines, the file's mode and its owner stay. Makes the file if needed.
    pub fn set(path: &Path, user: &str, password: &[u8], iterations: u32) -> Result<Edited, AuthFileError> {
        if !ITERATIONS.contains(&iterations) {
            return Err(AuthFileError::Iterations { iterations, least: *ITERATIONS.start(), most: *ITERATIONS.end() });
        }
        let unusable = |why| AuthFileError::Password { why };
        let password = std::str::from_utf8(password).map_err(|_| unusable("SCRAM needs it to be UTF-8"))?;
        let password = stringprep::saslprep(password)
            .map_err(|_| unusable("SASLprep refuses it: it has control characters or mixes writing directions"))?;
        if password.is_empty() {
            return Err(unusable("it is empty"));
        }
        let salt: [u8; NEW_SALT_BYTES] = rand::random();
        let credential = ScramCredential::create(&password, &salt, iterations);
        credential_lines::set(path, &prepared(user)?, &credential.to_string(), ScramFile::parse)
    }

    pub fn delete(path: &Path, user: &str) -> Result<(), AuthFileError> {
        credential_lines::delete(path, &prepared(user)?)
    }

    fn prepared(user: &str) -> Result<String, AuthFileError> {
        let why = "SASLprep refuses it: it has control characters or mixes writing directions";
        let prepared =
            stringprep::saslprep(user).map_err(|_| AuthFileError::UserName { user: user.to_owned(), why })?;
        Ok(prepared.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::Edited;

    // The credential of RFC 7677 section 3 (password "pencil").
    const RFC: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn parse(content: &str) -> Result<ScramFile, String> {
        ScramFile::parse(Path::new("scram"), content.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_credential_is_made_as_rfc_7677_shows_and_read_back_the_same() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = ScramCredential::create("pencil", &salt, 4_096);
        assert_eq!(credential.to_string(), RFC);
        let file = parse(&format!("# c\nuser:{RFC}\r\n")).unwrap();
        let (read, known) = file.credential("user");
        assert!(known && read == credential);
        assert!(!format!("{file:?}").contains("WG5d8"));
    }

    #[test]
    fn a_user_who_does_not_exist_looks_like_the_others_and_the_same_at_every_try() {
        let (file, reloaded) =
            (parse(&format!("user:{RFC}")).unwrap(), parse(&format!("user:{RFC}\nbob:{RFC}")).unwrap());
        let ((eve, known), (mallory, _)) = (file.credential("eve"), file.credential("mallory"));
        assert!(!known);
        assert_eq!((eve.iterations, eve.salt.len()), (4_096, 16));
        assert!(eve == file.credential("eve").0 && eve == reloaded.credential("eve").0);
        assert_ne!(eve.salt, mallory.salt);
        let (somebody, known) = parse("").unwrap().credential("eve");
        assert!(!known && (somebody.iterations, somebody.salt.len()) == (4_096, 16));
    }

    #[test]
    fn unknown_users_are_shown_the_parameters_that_most_users_have() {
        let other = RFC.replace("4096", "9000");
        let file = parse(&format!("a:{other}\nb:{RFC}\nc:{other}")).unwrap();
        assert_eq!(file.credential("nobody").0.iterations, 9_000);
    }

    #[test]
    fn bad_lines_are_named_with_what_would_be_right() {
        let shape =
            "scram:1: this is no SCRAM-SHA-256 credential; `midge passwd --scram` writes user:SCRAM-SHA-256$<iter";
        let cases = [
            ("alice".to_owned(), "scram:1: there is no ':' after the user name; write user:SCRAM-SHA-256$"),
            ("alice:secret".to_owned(), shape),
            ("alice:$7$101$AA$BB".to_owned(), shape),
            ("alice:SCRAM-SHA-256$4096:AAAA".to_owned(), shape),
            (
                format!("alice:{RFC}").replace("4096", "4095"),
                "scram:1: the iteration count is out of range; it is a number from 4096",
            ),
            (format!("alice:{RFC}").replace("W22Z", "!!!!"), "scram:1: the salt is not base64"),
            (
                format!("alice:{RFC}").replace("W22ZaJ0SNY7soEsUEjb6gQ==", "AAAA"),
                "scram:1: the salt has 3 bytes; from 8 to 64",
            ),
            (format!("alice:{RFC}").replace("WG5d", ""), "scram:1: the StoredKey has 29 bytes; from 32 to 32"),
            (format!("alice:{RFC}AAAA"), "scram:1: the ServerKey is not base64"),
            (format!("a:{RFC}\nb:{RFC}\n\na:{RFC}"), "scram:4: user \"a\" stands in line 1 already"),
            (format!("\u{2168}:{RFC}"), "scram:1: \"\u{2168}\" is not in the form of SASLprep; write \"IX\""),
            (format!("\u{627}1:{RFC}"), "scram:1: \"\u{627}1\" cannot be a user name: "),
        ];
        for (content, expected) in cases {
            let error = parse(&content).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = ScramFile::load(Path::new("/nonexistent/scram")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/scram: "), "{error}");
    }

    #[test]
    fn an_edited_file_loads_again_and_names_are_prepared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scram");
        fs::write(&path, format!("# keep me\nuser:{RFC}\n")).unwrap();
        assert_eq!(edit::set(&path, "\u{2168}", "p\u{a0}w".as_bytes(), 4_096).unwrap(), Edited::Added);
        let file = ScramFile::load(&path).unwrap();
        let (credential, known) = file.credential("IX");
        assert!(known && credential == ScramCredential::create("p w", &credential.salt, 4_096));
        assert_eq!(edit::set(&path, "IX", b"new", edit::DEFAULT_ITERATIONS).unwrap(), Edited::Updated);
        assert!(ScramFile::load(&path).unwrap().credential("IX").0 != credential);
        edit::delete(&path, "\u{2168}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("# keep me\nuser:{RFC}\n"));
    }

    #[test]
    fn what_scram_cannot_carry_is_refused_when_editing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scram");
        let cases: [(&str, &[u8], u32, &str); 6] = [
            ("a", b"", 4_096, "this password cannot be used: it is empty"),
            ("a", b"\xff", 4_096, "this password cannot be used: SCRAM needs it to be UTF-8"),
            ("a", b"bell\x07", 4_096, "this password cannot be used: SASLprep refuses it"),
            ("a", b"x", 4_095, "4095 iterations: at least 4096 and at most 10000000"),
            ("a:b", b"x", 4_096, "\"a:b\" cannot be a user name: the file uses ':'"),
            ("a\u{7}", b"x", 4_096, "\"a\\u{7}\" cannot be a user name: SASLprep refuses it"),
        ];
        for (user, password, iterations, expected) in cases {
            let error = edit::set(&path, user, password, iterations).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(!path.exists());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ScramFile::parse(Path::new("scram"), &content);
        }
    }
}
