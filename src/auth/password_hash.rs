//! One salted password hash in the text forms that mosquitto's password files use.
//!
//! `$6$salt$hash` (one SHA-512, mosquitto 1.x), `$7$iterations$salt$hash` (PBKDF2-HMAC-SHA-512, 2.0) and
//! `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (2.1). Salt and hash are base64, padded in the first two.

use std::fmt;
use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, STANDARD_PAD_INDIFFERENT};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use super::auth_file::{AuthFileError, Flaw};

/// How a new password is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// With mosquitto 2.1's parameters: 46 MiB of memory, one pass, one lane. mosquitto 2.0 cannot read it.
    #[default]
    Argon2id,
    /// What mosquitto 2.0 and 2.1 can both read.
    Sha512Pbkdf2 { iterations: u32 },
    /// For files shared with mosquitto before 2.0; a stolen file falls to guessing at once.
    Sha512,
}

impl HashAlgorithm {
    /// For [`HashAlgorithm::Sha512Pbkdf2`]: what OWASP advises for PBKDF2-HMAC-SHA-512. mosquitto's own tool writes 101
    /// (2.0) or 1000 (2.1), and reads any number.
    pub const PBKDF2_ITERATIONS: u32 = 210_000;

    /// Random bytes in a new hash's salt. mosquitto 2.0 reads 12 and no other number.
    fn salt_bytes(self) -> usize {
        match self {
            HashAlgorithm::Argon2id => 64,
            HashAlgorithm::Sha512Pbkdf2 { .. } | HashAlgorithm::Sha512 => 12,
        }
    }

    fn scheme(self) -> Result<Scheme, AuthFileError> {
        let (least, most) = (*ITERATIONS.start(), *ITERATIONS.end());
        match self {
            HashAlgorithm::Argon2id => Ok(Scheme::Argon2id { memory_kib: 47_104, passes: 1, lanes: 1 }),
            HashAlgorithm::Sha512Pbkdf2 { iterations } if ITERATIONS.contains(&iterations) => {
                Ok(Scheme::Sha512Pbkdf2 { iterations })
            }
            HashAlgorithm::Sha512Pbkdf2 { iterations } => Err(AuthFileError::Iterations { iterations, least, most }),
            HashAlgorithm::Sha512 => Ok(Scheme::Sha512),
        }
    }
}

// Limits of what a file may ask for: one login must not take the machine's memory or minutes of its time.
const ITERATIONS: RangeInclusive<u32> = 1..=10_000_000;
const MEMORY_KIB: RangeInclusive<u32> = 8..=1_048_576;
const PASSES: RangeInclusive<u32> = 1..=1_000;
const LANES: RangeInclusive<u32> = 1..=64;
const DIGEST_BYTES: RangeInclusive<usize> = 16..=1_024;
const SHA512_BYTES: usize = 64;

const SHAPE_6: &str = "$6$<base64 salt>$<base64 hash>";
const SHAPE_7: &str = "$7$<iterations>$<base64 salt>$<base64 hash>";
const SHAPE_ARGON2ID: &str = "$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<base64 salt>$<base64 hash>";

/// The function between password and hash, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scheme {
    // In order of cost, which `PartialOrd` relies on.
    Sha512,
    Sha512Pbkdf2 { iterations: u32 },
    Argon2id { memory_kib: u32, passes: u32, lanes: u32 },
}

impl Scheme {
    /// Whether computing a hash takes long enough to keep it off the I/O threads.
    pub(super) fn is_costly(self) -> bool {
        self != Scheme::Sha512
    }

    /// Fills `digest` from the password; false when the parameters do not allow it, which parsing rules out.
    fn compute(self, password: &[u8], salt: &[u8], digest: &mut [u8]) -> bool {
        match self {
            Scheme::Sha512 => {
                let hash = Sha512::new().chain_update(password).chain_update(salt).finalize();
                digest.len() == hash.len() && {
                    digest.copy_from_slice(&hash);
                    true
                }
            }
            Scheme::Sha512Pbkdf2 { iterations } => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, digest);
                true
            }
            Scheme::Argon2id { memory_kib, passes, lanes } => {
                Params::new(memory_kib, passes, lanes, Some(digest.len()))
                    .and_then(|params| {
                        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                            .hash_password_into(password, salt, digest)
                    })
                    .is_ok()
            }
        }
    }
}

/// A password as a file stores it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PasswordHash {
    scheme: Scheme,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

impl PasswordHash {
    /// Hashes a new password; `fill_random` makes the salt.
    pub(super) fn create(
        algorithm: HashAlgorithm,
        password: &[u8],
        fill_random: impl FnOnce(&mut [u8]),
    ) -> Result<PasswordHash, AuthFileError> {
        let scheme = algorithm.scheme()?;
        let mut salt = vec![0; algorithm.salt_bytes()].into_boxed_slice();
        fill_random(&mut salt);
        let mut digest = vec![0; SHA512_BYTES].into_boxed_slice();
        if !scheme.compute(password, &salt, &mut digest) {
            return Err(AuthFileError::Password { why: "it is too long to be hashed" });
        }
        Ok(PasswordHash { scheme, salt, digest })
    }

    /// Reads one of the three text forms. The error never repeats the text: it may be a plain password.
    pub(super) fn parse(text: &str) -> Result<PasswordHash, Flaw> {
        let fields: Vec<&str> = text.strip_prefix('$').map(|rest| rest.split('$').collect()).unwrap_or_default();
        match fields[..] {
            ["6", salt, digest] => PasswordHash::of_sha512(Scheme::Sha512, salt, digest),
            ["7", iterations, salt, digest] => {
                let iterations = number("iterations", iterations, ITERATIONS)?;
                PasswordHash::of_sha512(Scheme::Sha512Pbkdf2 { iterations }, salt, digest)
            }
            ["argon2id", "v=19", parameters, salt, digest] => PasswordHash::of_argon2id(parameters, salt, digest),
            ["argon2id", version, ..] if version.starts_with("v=") && version != "v=19" => {
                Err(Flaw::new("this version of Argon2 is not supported", format!("the form is {SHAPE_ARGON2ID}")))
            }
            ["6", ..] => Err(misshapen(SHAPE_6)),
            ["7", ..] => Err(misshapen(SHAPE_7)),
            ["argon2id", ..] => Err(misshapen(SHAPE_ARGON2ID)),
            _ => Err(Flaw::new(
                "the password is not hashed, or in a way that is not known here",
                format!("set it with `midge passwd`, which writes {SHAPE_ARGON2ID}; $6$ and $7$ are understood too"),
            )),
        }
    }

    fn of_sha512(scheme: Scheme, salt: &str, digest: &str) -> Result<PasswordHash, Flaw> {
        let (salt, digest) = (decode("salt", salt, 1)?, decode("hash", digest, SHA512_BYTES)?);
        if digest.len() != SHA512_BYTES {
            return Err(Flaw::new(format!("the hash has {} bytes", digest.len()), "SHA-512 makes 64"));
        }
        Ok(PasswordHash { scheme, salt, digest })
    }

    fn of_argon2id(parameters: &str, salt: &str, digest: &str) -> Result<PasswordHash, Flaw> {
        let mut values = [("m=", MEMORY_KIB, 0), ("t=", PASSES, 0), ("p=", LANES, 0)];
        let texts: Vec<&str> = parameters.split(',').collect();
        if texts.len() != values.len() {
            return Err(misshapen(SHAPE_ARGON2ID));
        }
        for ((name, range, value), text) in values.iter_mut().zip(texts) {
            let text = text.strip_prefix(*name).ok_or_else(|| misshapen(SHAPE_ARGON2ID))?;
            *value = number(name, text, range.clone())?;
        }
        let [(_, _, memory_kib), (_, _, passes), (_, _, lanes)] = values;
        if memory_kib < 8 * lanes {
            return Err(Flaw::new(
                format!("m={memory_kib} is too little for p={lanes}"),
                "Argon2 needs m of at least 8 times p",
            ));
        }
        // 8 bytes is the least that Argon2 itself allows.
        let (salt, digest) =
            (decode("salt", salt, argon2::MIN_SALT_LEN)?, decode("hash", digest, *DIGEST_BYTES.start())?);
        Ok(PasswordHash { scheme: Scheme::Argon2id { memory_kib, passes, lanes }, salt, digest })
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Compares in a time that depends on the hash's parameters and the password's length only.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let mut digest = vec![0; self.digest.len()];
        self.scheme.compute(password, &self.salt, &mut digest) && bool::from(digest.ct_eq(&self.digest))
    }
}

/// The text form that [`PasswordHash::parse`] reads.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = (STANDARD.encode(&self.salt), STANDARD.encode(&self.digest));
        match self.scheme {
            Scheme::Sha512 => write!(f, "$6${}${}", padded.0, padded.1),
            Scheme::Sha512Pbkdf2 { iterations } => write!(f, "$7${iterations}${}${}", padded.0, padded.1),
            Scheme::Argon2id { memory_kib, passes, lanes } => {
                let (salt, digest) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.digest));
                write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}")
            }
        }
    }
}

// By hand: a hash is nearly as secret as a password.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

fn misshapen(shape: &str) -> Flaw {
    Flaw::new("the password hash is incomplete or has parts too many", format!("the form is {shape}"))
}

fn number(name: &str, text: &str, range: RangeInclusive<u32>) -> Result<u32, Flaw> {
    let name = name.trim_end_matches('=');
    let (least, most) = (range.start(), range.end());
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| {
        Flaw::new(
            format!("{name} of the password hash is out of range"),
            format!("it is a number from {least} to {most}"),
        )
    })
}

fn decode(what: &str, text: &str, least: usize) -> Result<Box<[u8]>, Flaw> {
    let bytes = STANDARD_PAD_INDIFFERENT.decode(text).map_err(|_| {
        Flaw::new(format!("the {what} of the password is not base64"), "copy the line again from where it was made")
    })?;
    let range = least..=*DIGEST_BYTES.end();
    if !range.contains(&bytes.len()) {
        let problem = format!("the {what} of the password has {} bytes", bytes.len());
        return Err(Flaw::new(problem, format!("from {least} to {} are possible", range.end())));
    }
    Ok(bytes.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by mosquitto_passwd 2.0.11 with `-H sha512` and without, the password is "wonderland".
    const MADE_BY_MOSQUITTO: [&str; 2] = [
        "$6$+IhdcYtUgghc/w31$lBA2V/0TB+strUcj82RWAaOmcNdKQxCsoFwiqznRNo0C8on1IBRFLK+e62ZuWZ6x1yFCH3/86z93EUoLf68vLQ==",
        "$7$101$BVVjHCjTK/ll+O5P$J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==",
    ];
    // Made by libargon2, which mosquitto 2.1 uses; the password is "small".
    const SMALL_ARGON2ID: &str = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$cFmEA+ZESEpeo8vgc1uSGtwo4XgBMMwKGG7TbD70A0o";
    // The same with mosquitto 2.1's parameters; the password is "correct horse", the salt 0 to 63.
    const FULL_ARGON2ID: &str = "$argon2id$v=19$m=47104,t=1,p=1$\
        AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$\
        aVo1St5PsxylF7NjjIPOOE5jxNbeUNweT/LEl8ONyxYqiqflWO7BotCdzcmTPqR4fg0oMZSzDQFY9PDfbH+biw";

    #[test]
    fn hashes_made_by_mosquitto_verify_and_are_written_back_the_same() {
        for text in MADE_BY_MOSQUITTO {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(b"wonderland"), "{text}");
            assert!(!hash.verify(b"Wonderland") && !hash.verify(b""), "{text}");
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn hashes_made_by_libargon2_verify_and_are_written_back_the_same() {
        let hash = PasswordHash::parse(SMALL_ARGON2ID).unwrap();
        assert!(hash.verify(b"small") && !hash.verify(b"smalL"));
        assert_eq!(hash.to_string(), SMALL_ARGON2ID);
    }

    #[test]
    fn a_new_argon2id_hash_is_what_libargon2_makes_with_the_parameters_of_mosquitto() {
        let count = |salt: &mut [u8]| salt.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
        let hash = PasswordHash::create(HashAlgorithm::Argon2id, b"correct horse", count).unwrap();
        assert_eq!(hash.to_string(), FULL_ARGON2ID);
    }

    #[test]
    fn a_new_hash_verifies_after_a_round_trip_through_its_text() {
        for algorithm in [HashAlgorithm::Sha512, HashAlgorithm::Sha512Pbkdf2 { iterations: 3 }] {
            let hash = PasswordHash::create(algorithm, "pä$$:w0rd".as_bytes(), |salt| salt.fill(7)).unwrap();
            let read = PasswordHash::parse(&hash.to_string()).unwrap();
            assert_eq!(read, hash);
            assert!(read.verify("pä$$:w0rd".as_bytes()) && !read.verify(b"p"));
        }
    }

    #[test]
    fn iterations_that_could_not_be_loaded_again_are_refused_when_hashing() {
        for iterations in [0, 10_000_001] {
            let error = PasswordHash::create(HashAlgorithm::Sha512Pbkdf2 { iterations }, b"x", |_| ()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{iterations} iterations: at least 1 and at most 10000000 are possible")
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_hash_is_said_with_what_would_be_right() {
        let (salt, hash) = ("c2FsdHNhbHQ", STANDARD.encode([0; 64]));
        let cases = [
            ("secret".to_owned(), "the password is not hashed", "set it with `midge passwd`"),
            ("$5$abc$def".to_owned(), "the password is not hashed, or in a way", "$6$ and $7$ are understood too"),
            ("$2b$12$abc".to_owned(), "the password is not hashed, or in a way", "set it with `midge passwd`"),
            (String::new(), "the password is not hashed", "set it with `midge passwd`"),
            (format!("$6${salt}"), "incomplete", SHAPE_6),
            (format!("$7${salt}${hash}"), "incomplete", SHAPE_7),
            (format!("$7$0${salt}${hash}"), "iterations of the password hash is out of range", "from 1 to 10000000"),
            (format!("$7$many${salt}${hash}"), "iterations of the password hash is out of range", "a number"),
            (format!("$6$!!${hash}"), "the salt of the password is not base64", "copy the line again"),
            (format!("$6$${hash}"), "the salt of the password has 0 bytes", "from 1"),
            (format!("$6${salt}$AAAA"), "the hash of the password has 3 bytes", "from 64"),
            (format!("$6${salt}${}", STANDARD.encode([0; 65])), "the hash has 65 bytes", "SHA-512 makes 64"),
            (format!("$argon2id$v=16$m=64,t=1,p=1${salt}${hash}"), "this version of Argon2", "v=19"),
            (format!("$argon2id$v=19$m=64,t=1${salt}${hash}"), "incomplete", SHAPE_ARGON2ID),
            (format!("$argon2id$v=19$t=1,m=64,p=1${salt}${hash}"), "incomplete", SHAPE_ARGON2ID),
            (format!("$argon2id$v=19$m=4294967295,t=1,p=1${salt}${hash}"), "m of the password hash", "to 1048576"),
            (format!("$argon2id$v=19$m=64,t=0,p=1${salt}${hash}"), "t of the password hash", "from 1"),
            (format!("$argon2id$v=19$m=64,t=1,p=9${salt}${hash}"), "m=64 is too little for p=9", "8 times p"),
            (format!("$argon2id$v=19$m=64,t=1,p=1$AAAA${hash}"), "the salt of the password has 3 bytes", "from 8"),
        ];
        for (text, problem, remedy) in cases {
            let flaw = PasswordHash::parse(&text).unwrap_err();
            assert!(flaw.problem.contains(problem), "{text}: {flaw:?}");
            assert!(flaw.remedy.contains(remedy), "{text}: {flaw:?}");
        }
    }

    #[test]
    fn no_message_repeats_what_may_be_a_plain_password() {
        for text in ["hunter2", "$hunter2", "$6$hunter2", "$7$hunter2$hunter2$hunter2", "$argon2id$hunter2"] {
            let flaw = PasswordHash::parse(text).unwrap_err();
            assert!(!format!("{flaw:?}").contains("hunter2"), "{flaw:?}");
        }
        let hash = PasswordHash::parse(SMALL_ARGON2ID).unwrap();
        assert!(!format!("{hash:?}").contains("cFmEA"), "{hash:?}");
    }

    #[test]
    fn schemes_are_ordered_by_cost() {
        let argon2id = Scheme::Argon2id { memory_kib: 64, passes: 1, lanes: 1 };
        assert!(
            Scheme::Sha512 < Scheme::Sha512Pbkdf2 { iterations: 1 }
                && Scheme::Sha512Pbkdf2 { iterations: 9 } < argon2id
        );
        assert!(!Scheme::Sha512.is_costly() && argon2id.is_costly());
    }
}
