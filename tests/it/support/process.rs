//! Child processes that end with this one, however it ends.

use std::env;
use std::ffi::OsStr;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running program. A shell stands between it and this process and waits for the end of its standard input, which only
/// this process holds open; then the program gets SIGTERM.
pub struct Process {
    pub child: Child,
    leash: Option<ChildStdin>,
}

const END_WITH_STDIN: &str = r#"exec 3<&0
"$@" 3<&- & program=$!
(while read -r _; do :; done; kill "$program" 2>/dev/null) <&3 >/dev/null 2>&1 &
wait "$program""#;

impl Process {
    /// Programs of system administrators are found as well.
    pub fn start(program: &[impl AsRef<OsStr>], stdout: Stdio, stderr: Stdio) -> Self {
        let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut child = Command::new("sh")
            .args(["-c", END_WITH_STDIN, "sh"])
            .args(program)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("a shell");
        let leash = child.stdin.take();
        Self { child, leash }
    }

    /// Sends SIGTERM, and waits.
    pub fn end(&mut self) {
        drop(self.leash.take());
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
