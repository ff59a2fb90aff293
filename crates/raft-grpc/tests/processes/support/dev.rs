//! `dev` as a process, and the lines it prints.

use super::command::{Ended, binary, run};
use super::wait::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Dev {
    pub(crate) process: Child,
    lines: Receiver<String>,
    /// The facts that it prints about its nodes: process id, and the address for clients.
    pub(crate) nodes: BTreeMap<u64, (i32, String)>,
    pub(crate) endpoints: String,
    pub(crate) said: Vec<String>,
}

impl Dev {
    /// Starts it and waits until it has announced its cluster.
    pub(crate) fn start(arguments: &[&str], data: Option<&Path>) -> Self {
        let mut command = binary(["dev"]);
        // A variable of one node must neither reach the children nor stop `dev`.
        command.args(arguments).env("RAFT_ID", "77").env("RAFT_ENDPOINTS", "http://127.0.0.1:1");
        command.args(data.iter().flat_map(|path| [Path::new("--data-dir"), path]));
        Self::start_by(command)
    }

    /// Starts it with a command that leads to it.
    pub(crate) fn start_by(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("it starts");
        let stdout = process.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut dev = Self { process, lines, nodes: BTreeMap::new(), endpoints: String::new(), said: Vec::new() };
        let announced = dev.line_with("RAFT_ENDPOINTS=");
        dev.endpoints = announced.trim_start_matches("RAFT_ENDPOINTS=").to_owned();
        dev
    }

    /// The next line with this beginning; facts about nodes in earlier lines are stored.
    pub(crate) fn line_with(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line `{beginning}..`"));
            self.said.push(line.clone());
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["node", id, "pid", pid, "client", client, "peer", _, "admin", _] = words[..] {
                let address = client.trim_start_matches("http://").to_owned();
                self.nodes.insert(id.parse().expect("an id"), (pid.parse().expect("a process id"), address));
            }
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Ended {
        let mut command = binary(words);
        command.env("RAFT_ENDPOINTS", &self.endpoints);
        run(command)
    }

    pub(crate) fn leader(&self) -> u64 {
        poll("a leader", || {
            let members: Vec<Value> =
                serde_json::from_str(&self.ask(&["status", "--format", "json"]).ok()).expect("a list");
            members.iter().find(|member| member["role"] == "leader")?["id"].as_u64()
        })
    }

    pub(crate) fn kill(&self, id: u64) {
        kill_process(Pid::from_raw(self.nodes[&id].0).expect("a process id"), Signal::KILL).expect("it is alive");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is alive");
    }

    /// Waits for its end and for the end of its children.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = poll("the end of dev", || self.process.try_wait().expect("the wait for it succeeds"));
        for (_, address) in self.nodes.values() {
            poll("the children end", || TcpStream::connect(address).is_err().then_some(()));
        }
        end
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A failed test leaves no process: the children end with it. It has already ended if the test passed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn poll<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}
