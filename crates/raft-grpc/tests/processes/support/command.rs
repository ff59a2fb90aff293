//! Runs the binary to its end.

use super::wait::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

/// The binary, without this process's configuration.
pub(crate) fn binary<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-grpc"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RAFT_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end, which must come before the deadline.
pub(crate) fn run(mut command: Command) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let id = Pid::from_child(&child);
    let (ended, end) = channel();
    // After the deadline there is no receiver any more.
    std::thread::spawn(move || drop(ended.send(child.wait_with_output())));
    let Ok(output) = end.recv_timeout(DEADLINE) else {
        let killed = kill_process(id, Signal::KILL);
        panic!("{command:?} has not ended within {DEADLINE:?}, killed: {killed:?}");
    };
    let output = output.expect("the output can be read");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ended {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The one line that says why the process ended early, with this exit code.
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().filter_map(|line| line.strip_prefix("raft-grpc: ")).collect();
        let [line] = lines[..] else { panic!("not one line: {self:?}") };
        assert_eq!(self.stderr.lines().last(), Some(&*format!("raft-grpc: {line}")), "it is the last: {self:?}");
        line
    }
}
