//! Getting a password from a person, who types it twice and unseen, or from another program through standard input.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Asks if somebody is there to ask, else takes one line of standard input.
pub fn read(user: &str) -> Result<Vec<u8>> {
    if !io::stdin().is_terminal() {
        return read_line(&mut io::stdin().lock());
    }
    let password = ask(&format!("Password for {user}: "))?;
    if ask("The same again: ")? != password {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(password)
}

fn ask(prompt: &str) -> Result<Vec<u8>> {
    let mut out = io::stderr().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    let unseen = Unseen::start().context("cannot keep the terminal from showing what is typed")?;
    let line = read_line(&mut io::stdin().lock());
    drop(unseen);
    writeln!(out)?;
    line
}

/// One line without its end, whatever bytes it holds.
fn read_line(input: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).context("cannot read the password")?;
    if line.pop_if(|end| *end == b'\n').is_some() {
        line.pop_if(|end| *end == b'\r');
    }
    if line.is_empty() {
        bail!("no password was given; nothing was changed");
    }
    Ok(line)
}

/// The terminal shows nothing while this lives.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn start() -> io::Result<Unseen> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Unseen { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that has gone away needs no echo.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        for input in ["secret", "secret\n", "secret\r\n", "secret\nmore\n"] {
            assert_eq!(read_line(&mut input.as_bytes()).unwrap(), b"secret", "{input:?}");
        }
        assert_eq!(read_line(&mut " spaces stay \n".as_bytes()).unwrap(), b" spaces stay ");
    }

    #[test]
    fn no_password_is_an_error() {
        for input in ["", "\n", "\r\n"] {
            assert!(read_line(&mut input.as_bytes()).is_err(), "{input:?}");
        }
    }
}
