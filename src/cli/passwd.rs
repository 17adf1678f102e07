//! `midge passwd`: users and their passwords, in the files that `password_file` and `scram_file` name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use midge::auth::{Edited, HashAlgorithm, password_file, scram_file};

use super::password_input;

const EXAMPLES: &str = "\
Examples:
  midge passwd -c passwd alice         make the file, with its first user; asks for the password
  midge passwd passwd bob              add bob, or give him a new password
  pwgen 20 1 | midge passwd passwd bob
                                       take the password from another program
  midge passwd -D passwd bob           take bob out
  midge passwd --hash pbkdf2 passwd bob
                                       for a file that mosquitto 2.0 reads as well
  midge passwd --scram -c scram alice  credentials for SCRAM-SHA-256, in a file of their own

A running broker takes the file over on SIGHUP.

Exit codes:
  0  the file is changed
  1  it is not; standard error says why
  2  the command line was not understood";

/// Add, update and delete users in a password file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PasswdArgs {
    /// Make FILE, which must not exist yet
    #[arg(short, long, conflicts_with = "delete")]
    create: bool,

    /// Delete USER
    #[arg(short = 'D', long)]
    delete: bool,

    /// Take the password from the command line, where other users of this machine can see it
    #[arg(short, long, requires = "password", conflicts_with = "delete")]
    batch: bool,

    /// FILE holds SCRAM-SHA-256 credentials (the key `scram_file`), which clients of MQTT 5 use without ever sending the
    /// password
    #[arg(long)]
    scram: bool,

    /// How the password is kept: argon2id is the strongest; mosquitto before 2.1 reads pbkdf2, before 2.0 sha512
    #[arg(long, value_name = "NAME", default_value = "argon2id", conflicts_with = "scram")]
    hash: Hash,

    file: PathBuf,

    user: String,

    /// Only with --batch
    #[arg(requires = "batch")]
    password: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hash {
    Argon2id,
    Pbkdf2,
    Sha512,
}

impl Hash {
    fn algorithm(self) -> HashAlgorithm {
        match self {
            Hash::Argon2id => HashAlgorithm::Argon2id,
            Hash::Pbkdf2 => HashAlgorithm::Sha512Pbkdf2 { iterations: HashAlgorithm::PBKDF2_ITERATIONS },
            Hash::Sha512 => HashAlgorithm::Sha512,
        }
    }
}

pub fn run(args: &PasswdArgs) -> Result<()> {
    let message = if args.delete { delete(args) } else { set(args) }?;
    println!("{message}");
    Ok(())
}

fn delete(args: &PasswdArgs) -> Result<String> {
    match args.scram {
        true => scram_file::edit::delete(&args.file, &args.user)?,
        false => password_file::edit::delete(&args.file, &args.user)?,
    }
    Ok(format!("{} is no longer in {}", args.user, args.file.display()))
}

fn set(args: &PasswdArgs) -> Result<String> {
    let PasswdArgs { file, user, .. } = args;
    match (args.create, file.exists()) {
        (true, true) => bail!("{} exists: leave out --create to add {user} to it", file.display()),
        (false, false) => bail!("there is no {}: --create makes it", file.display()),
        _ => {}
    }
    let password = match &args.password {
        Some(password) => password.clone().into_bytes(),
        None => password_input::read(user)?,
    };
    let edited = match args.scram {
        true => scram_file::edit::set(file, user, &password, scram_file::edit::DEFAULT_ITERATIONS),
        false => password_file::edit::set(file, user, &password, args.hash.algorithm()),
    }?;
    let what = match edited {
        Edited::Added => "is now in",
        Edited::Updated => "has a new password in",
    };
    Ok(format!("{user} {what} {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::Parser;
    use midge::auth::ScramFile;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        passwd: PasswdArgs,
    }

    fn passwd(options: &str, file: &Path, user_and_password: &str) -> Result<String, String> {
        let mut words: Vec<_> = std::iter::once("passwd").chain(options.split_whitespace()).collect();
        words.push(file.to_str().unwrap());
        words.extend(user_and_password.split_whitespace());
        let args = Line::try_parse_from(words).map_err(|error| error.to_string())?.passwd;
        if args.delete { delete(&args) } else { set(&args) }.map_err(|error| error.to_string())
    }

    #[test]
    fn users_come_change_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("passwd");
        let shown = file.display();
        assert_eq!(passwd("-c -b --hash sha512", &file, "alice one"), Ok(format!("alice is now in {shown}")));
        assert_eq!(passwd("-b --hash sha512", &file, "bob two"), Ok(format!("bob is now in {shown}")));
        assert_eq!(passwd("-b --hash sha512", &file, "bob three"), Ok(format!("bob has a new password in {shown}")));
        assert_eq!(passwd("-D", &file, "alice"), Ok(format!("alice is no longer in {shown}")));
        let content = fs::read_to_string(&file).unwrap();
        assert!(content.starts_with("bob:$6$") && content.lines().count() == 1, "{content}");
    }

    #[test]
    fn scram_credentials_come_and_go_in_a_file_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("scram");
        passwd("--scram -c -b", &file, "alice one").unwrap();
        assert_eq!(ScramFile::load(&file).unwrap().len(), 1);
        passwd("--scram -D", &file, "alice").unwrap();
        assert!(ScramFile::load(&file).unwrap().is_empty());
        assert!(passwd("--scram --hash sha512 -b", &file, "alice one").unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn hashes_and_scram_credentials_are_never_mixed_in_one_file() {
        let directory = tempfile::tempdir().unwrap();
        for (own, other, problem) in [
            ("-b --hash sha512", "-b --scram", "this is no SCRAM-SHA-256 credential"),
            ("-b --scram", "-b --hash sha512", "the password is not hashed"),
        ] {
            let file = directory.path().join(problem);
            passwd(&format!("-c {own}"), &file, "alice one").unwrap();
            let before = fs::read_to_string(&file).unwrap();
            let error = passwd(other, &file, "bob two").unwrap_err();
            assert!(error.starts_with(&format!("{}:1: {problem}", file.display())), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
            // A line that is replaced may be what was wrong.
            passwd(other, &file, "alice two").unwrap();
        }
    }

    #[test]
    fn a_file_is_neither_made_nor_overwritten_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("passwd");
        let missing = format!("there is no {}: --create makes it", file.display());
        assert_eq!(passwd("-b", &file, "alice one"), Err(missing));
        fs::write(&file, "# mine\n").unwrap();
        let there = format!("{} exists: leave out --create to add alice to it", file.display());
        assert_eq!(passwd("-c -b", &file, "alice one"), Err(there));
        assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    }

    #[test]
    fn a_password_on_the_command_line_has_to_be_meant() {
        let file = Path::new("passwd");
        assert!(passwd("", file, "alice secret").unwrap_err().contains("--batch"));
        assert!(passwd("-b", file, "alice").unwrap_err().contains("<PASSWORD>"));
    }
}
