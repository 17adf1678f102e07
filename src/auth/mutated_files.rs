//! Thousands of damaged password, SCRAM and access files: each is loaded or refused by line, none makes anything panic.
//! Seeded, so that a failure comes again; the same entry points are cargo-fuzz targets.

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::password_hash::PasswordHash;
use super::{AclFile, AuthFileError, Authorizer, Identity, Mistake, PasswordFile, ScramFile, Subscribing};

const ROUNDS: u64 = 4_000;

/// What the formats are made of, so that damage is often nearly right.
const TOKENS: [&str; 28] = [
    "$6$",
    "$7$",
    "$argon2id$",
    "v=19",
    "m=8",
    "t=1",
    "p=1",
    ",",
    ":",
    "$",
    "=",
    "SCRAM-SHA-256$",
    "4096",
    "99999999999",
    "user ",
    "topic ",
    "pattern ",
    "read ",
    "deny ",
    "#",
    "+",
    "/",
    "%c",
    "%u",
    "\n",
    "\r\n",
    "\0",
    "\u{ad}",
];

fn damaged(content: &str, random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = content.as_bytes().to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..20)).min(bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.splice(at..end, [])),
            1 => bytes.insert(at, random.random()),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => drop(bytes.splice(at..at, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
        }
    }
    bytes
}

/// Loads every damaged form of `content`; hands what was loaded to `ask` and checks that errors name a line of the file.
fn for_each_damaged<T>(
    content: &str,
    parse: impl Fn(&[u8]) -> Result<T, AuthFileError>,
    mut ask: impl FnMut(&[u8], T),
) {
    let mut outcomes = [0, 0];
    for seed in 0..ROUNDS {
        let bytes = damaged(content, &mut SmallRng::seed_from_u64(seed));
        let lines = bytes.split(|&byte| byte == b'\n').count();
        match parse(&bytes) {
            Ok(loaded) => {
                outcomes[0] += 1;
                ask(&bytes, loaded);
            }
            Err(AuthFileError::Lines { mistakes, .. }) => {
                outcomes[1] += 1;
                assert!(!mistakes.is_empty() && mistakes.is_sorted_by_key(|mistake| mistake.line), "seed {seed}");
                for Mistake { line, problem, remedy } in &mistakes {
                    assert!((1..=lines).contains(line) && !problem.is_empty() && !remedy.is_empty(), "seed {seed}");
                }
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    assert!(outcomes.iter().all(|&count| count > ROUNDS / 100), "damage of both kinds is wanted: {outcomes:?}");
}

const PASSWORDS: &str = "# users
alice:$6$+IhdcYtUgghc/w31$lBA2V/0TB+strUcj82RWAaOmcNdKQxCsoFwiqznRNo0C8on1IBRFLK+e62ZuWZ6x1yFCH3/86z93EUoLf68vLQ==
bob:$7$101$BVVjHCjTK/ll+O5P$J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==
eve:$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$cFmEA+ZESEpeo8vgc1uSGtwo4XgBMMwKGG7TbD70A0o
";

#[test]
fn damaged_password_files_are_loaded_or_refused_by_line() {
    let parse = |bytes: &[u8]| PasswordFile::parse(Path::new("users"), bytes);
    for_each_damaged(PASSWORDS, parse, |bytes, file| {
        // The hashes are not computed here: damage may well ask for ten million iterations.
        let users = String::from_utf8(bytes.to_vec()).unwrap();
        let hashes = users.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let hashes: Vec<_> = hashes.map(|line| PasswordHash::parse(line.split_once(':').unwrap().1).unwrap()).collect();
        assert_eq!(hashes.len(), file.len());
        for hash in hashes {
            assert!(PasswordHash::parse(&hash.to_string()).unwrap() == hash, "{users}");
        }
    });
}

const CREDENTIALS: &str = "# users
user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
bob:SCRAM-SHA-256$15000:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
";

#[test]
fn damaged_scram_files_are_loaded_or_refused_by_line() {
    let parse = |bytes: &[u8]| ScramFile::parse(Path::new("scram"), bytes);
    for_each_damaged(CREDENTIALS, parse, |_, file| {
        let (stranger, known) = file.credential("nobody at all");
        assert!(!known && stranger.iterations >= 4_096 && stranger.salt.len() >= 8);
    });
}

const RULES: &str = "topic read public/#
user alice
topic home/+/lamp
topic deny $SYS/broker/load/#
topic write my room/x
user bob
topic readwrite #
pattern write sensors/%c/#
pattern read users/%u/%c
";

#[test]
fn damaged_access_files_are_loaded_or_refused_by_line() {
    let clients = [("c1", Some("alice")), ("$SYS", None), ("a/b", Some("bob"))]
        .map(|(client_id, user_name)| Identity { client_id: client_id.into(), user_name: user_name.map(Into::into) });
    let parse = |bytes: &[u8]| AclFile::parse(Path::new("acl"), bytes);
    for_each_damaged(RULES, parse, |_, file| {
        for client in &clients {
            for topic in ["public/x", "home/x/lamp", "$SYS/broker/load/x", "sensors/c1/x", "users/bob/a/b"] {
                let granted = file.may_subscribe(client, topic) == Subscribing::Whole;
                assert_eq!(granted, file.may_receive(client, topic), "{client:?} {topic}");
                let _ = file.may_publish(client, topic);
            }
            if file.may_subscribe(client, "#") == Subscribing::Whole {
                assert!(file.may_receive(client, "whatever/else"), "{client:?}");
            }
        }
    });
}
