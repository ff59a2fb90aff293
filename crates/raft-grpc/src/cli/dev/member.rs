//! One node as a child process.

use super::Event;
use super::logs;
use super::ports::Ports;
use raft_grpc::config::{LOG_VARIABLE, VARIABLE_PREFIX};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

pub(super) struct Member {
    pub(super) id: u64,
    pub(super) ports: Ports,
    /// The number of its last start, counted over all children.
    pub(super) start: u64,
    pub(super) listening: bool,
    /// Whether the node drops all traffic with its peers.
    pub(super) cut: bool,
    process: Option<Process>,
}

struct Process {
    child: Child,
    /// The child ends when this pipe closes, so it ends with this process.
    stdin: ChildStdin,
    copiers: Vec<JoinHandle<()>>,
}

impl Member {
    pub(super) fn new(id: u64, ports: Ports) -> Self {
        Self { id, ports, start: 0, listening: false, cut: false, process: None }
    }

    /// Starts the process with this command, as the start number `start`; `events` receives an event when the node
    /// listens.
    pub(super) fn spawn(&mut self, mut command: Command, events: Sender<Event>, start: u64) -> io::Result<()> {
        // A variable for one node must not configure all nodes.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLE_PREFIX) && name != LOG_VARIABLE {
                command.env_remove(name);
            }
        }
        // In its own process group the child does not receive Ctrl-C: this process ends the children in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let ((stdin, stdout), stderr) = pipes.ok_or_else(|| io::Error::other("a pipe is missing"))?;
        let id = self.id;
        let prefix = logs::prefix(id, logs::coloured());
        let (of_stdout, of_stderr) = (prefix.clone(), prefix);
        let listens = format!("node {id} listening ");
        let copiers = vec![
            thread::spawn(move || {
                logs::copy_lines(stdout, io::stderr(), &of_stdout, |line| {
                    line.starts_with(&listens) && events.send(Event::Listening { id, start }).is_ok()
                });
            }),
            thread::spawn(move || logs::copy_lines(stderr, io::stderr(), &of_stderr, |_| false)),
        ];
        self.process = Some(Process { child, stdin, copiers });
        (self.start, self.listening, self.cut) = (start, false, false);
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    pub(super) fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        let process = self.process.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(process.stdin, "{line}").and_then(|()| process.stdin.flush())
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.child.kill())
    }

    pub(super) fn terminate(&self) -> io::Result<()> {
        // The child is not reaped yet, so the process id is still its own.
        let pid = self.process.as_ref().map(|process| Pid::from_child(&process.child));
        pid.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM).map_err(io::Error::from))
    }

    /// The end of the process, if it ended since the last call. All of its output is copied by then.
    pub(super) fn reap(&mut self) -> io::Result<Option<Ended>> {
        let Some(process) = self.process.as_mut() else { return Ok(None) };
        let Some(status) = process.child.try_wait()? else { return Ok(None) };
        for copier in self.process.take().map(|process| process.copiers).unwrap_or_default() {
            // A panic of a copier loses only log lines.
            let _ = copier.join();
        }
        self.listening = false;
        Ok(Some(Ended(status)))
    }
}

pub(super) struct Ended(pub(super) ExitStatus);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.signal(), self.0.code()) {
            (Some(signal), _) => write!(f, "signal {signal}"),
            (None, Some(code)) => write!(f, "exit code {code}"),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_signal_or_a_code() {
        assert_eq!(Ended(ExitStatus::from_raw(9)).to_string(), "signal 9");
        assert_eq!(Ended(ExitStatus::from_raw(6 << 8)).to_string(), "exit code 6");
    }
}
