//! `dev` as a process: it announces its cluster, survives its children, and leaves none behind.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Generous: the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `dev` and the lines it prints.
struct Dev {
    process: Child,
    lines: Receiver<String>,
    /// What it says of its nodes: process id, and the address for clients.
    nodes: BTreeMap<u64, (i32, String)>,
    endpoints: String,
}

impl Dev {
    /// Starts it and waits until it has announced its cluster.
    fn start(arguments: &[&str], data: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raft-grpc"));
        // A variable of one node must not reach the children, nor be refused on the way.
        command.arg("dev").args(arguments).env("RAFT_ID", "77").env("RAFT_ENDPOINTS", "http://127.0.0.1:1");
        command.args(data.iter().flat_map(|path| [Path::new("--data-dir"), path]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
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
        let mut dev = Self { process, lines, nodes: BTreeMap::new(), endpoints: String::new() };
        let announced = dev.line_with("RAFT_ENDPOINTS=");
        dev.endpoints = announced.trim_start_matches("RAFT_ENDPOINTS=").to_owned();
        dev
    }

    /// The next line that begins with `beginning`; what is said of nodes on the way is remembered.
    fn line_with(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line `{beginning}..`"));
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

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is alive");
    }

    /// Waits for its end and for that of its children.
    fn wait(&mut self) -> ExitStatus {
        let end = poll("the end of dev", || self.process.try_wait().expect("it can be waited for"));
        for (_, address) in self.nodes.values() {
            poll("the end of its children", || TcpStream::connect(address).is_err().then_some(()));
        }
        end
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A failed test leaves nothing behind: the children end with it. It has ended already if all went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn poll<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_child_is_reported_and_a_signal_ends_all() {
    let mut dev = Dev::start(&["--nodes", "3"], None);
    assert_eq!(dev.nodes.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let urls: Vec<String> = dev.nodes.values().map(|(_, address)| format!("http://{address}")).collect();
    assert_eq!(dev.endpoints, urls.join(","));
    let victim = dev.nodes[&2].0;
    kill_process(Pid::from_raw(victim).expect("a process id"), Signal::KILL).expect("node 2 is alive");
    assert_eq!(dev.line_with("node 2 ended"), "node 2 ended: signal 9");
    assert!(dev.process.try_wait().expect("it can be waited for").is_none(), "dev goes on");
    for survivor in [1, 3] {
        TcpStream::connect(&dev.nodes[&survivor].1).expect("the others go on");
    }
    dev.signal(Signal::TERM);
    assert_eq!(dev.wait().code(), Some(0));
}

#[test]
fn the_death_of_dev_ends_its_children() {
    // A temporary folder of its own would stay behind.
    let folder = tempfile::tempdir().expect("a folder");
    let mut dev = Dev::start(&["--nodes", "2"], Some(folder.path()));
    dev.signal(Signal::KILL);
    assert_eq!(dev.wait().code(), None, "killed");
}

#[test]
fn the_same_folder_is_the_same_cluster_and_has_one_dev() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut dev = Dev::start(&["--nodes", "1"], Some(&data));
    let mut second = Command::new(env!("CARGO_BIN_EXE_raft-grpc"));
    let second = second.args(["dev", "--data-dir"]).arg(&data).stdin(Stdio::null()).output().expect("it starts");
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("another `raft-grpc dev` runs here"), "{error}");
    dev.signal(Signal::INT);
    assert_eq!(dev.wait().code(), Some(0));
    // A node of another cluster would be refused by its folder, and no leader would be announced.
    let mut again = Dev::start(&[], Some(&data));
    assert_eq!(again.nodes.len(), 1);
    again.signal(Signal::TERM);
    assert_eq!(again.wait().code(), Some(0));
}
