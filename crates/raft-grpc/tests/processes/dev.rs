//! `dev` as a process: it announces its cluster, survives its children, and leaves none behind.

use crate::support::command::{binary, run};
use crate::support::dev::Dev;
use rustix::process::{Signal, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[test]
fn a_killed_child_is_reported_and_a_signal_ends_all() {
    let mut dev = Dev::start(&["--nodes", "3"], None);
    assert_eq!(dev.nodes.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let urls: Vec<String> = dev.nodes.values().map(|(_, address)| format!("http://{address}")).collect();
    assert_eq!(dev.endpoints, urls.join(","));
    dev.kill(2);
    assert_eq!(dev.line_with("node 2 ended"), "node 2 ended: signal 9");
    assert!(dev.process.try_wait().expect("the wait for it succeeds").is_none(), "dev goes on");
    for survivor in [1, 3] {
        TcpStream::connect(&dev.nodes[&survivor].1).expect("the others go on");
    }
    dev.signal(Signal::TERM);
    assert_eq!(dev.wait().code(), Some(0));
}

#[test]
fn the_death_of_dev_ends_its_children() {
    // A temporary folder of `dev` would remain.
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
    let mut second = binary(["dev", "--data-dir"]);
    second.arg(&data);
    let second = run(second);
    assert!(second.refused(1).contains("another `raft-grpc dev` runs here"), "{second:?}");
    dev.signal(Signal::INT);
    assert_eq!(dev.wait().code(), Some(0));
    // The folder would refuse a node of another cluster, and no leader would be announced.
    let mut again = Dev::start(&[], Some(&data));
    assert_eq!(again.nodes.len(), 1);
    again.signal(Signal::TERM);
    assert_eq!(again.wait().code(), Some(0));
}

#[test]
fn a_killed_leader_is_replaced_within_a_clients_patience() {
    let mut dev = Dev::start(&["--nodes", "3"], None);
    assert!(dev.ask(&["kv", "put", "greeting", "hello"]).ok().starts_with("OK revision=1 "));
    let leader = dev.leader();
    dev.kill(leader);
    assert_eq!(dev.ask(&["kv", "get", "greeting", "--timeout", "10s"]).ok(), "hello\n");
    assert!(dev.ask(&["kv", "put", "greeting", "bye"]).ok().starts_with("OK revision=2 "));
    assert_ne!(dev.leader(), leader);
    assert_eq!(dev.line_with("node ").as_str(), format!("node {leader} ended: signal 9"));
    dev.signal(Signal::TERM);
    assert_eq!(dev.wait().code(), Some(0));
}

/// Names the terminal in which this test process acts as `dev`.
const TERMINAL: &str = "RAFT_TEST_TERMINAL";

#[test]
fn keys_kill_cut_mend_and_quit() {
    if let Some(terminal) = std::env::var_os(TERMINAL) {
        become_dev(&terminal);
    }
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("it can be opened");
    let terminal = ptsname(&keyboard, Vec::new()).expect("it has a name");
    let mut keyboard = File::from(keyboard);
    let mut press = |key: &[u8]| keyboard.write_all(key).expect("it is a keyboard");

    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "dev::keys_kill_cut_mend_and_quit", "--nocapture", "--quiet"]);
    command.env(TERMINAL, OsStr::from_bytes(terminal.as_bytes())).stdin(Stdio::null());
    let mut dev = Dev::start_by(command);
    assert!(dev.said.iter().any(|line| line.starts_with("keys: k kill the leader")), "{:?}", dev.said);
    let first = dev.leader();
    press(b"k");
    assert_eq!(dev.line_with("kill: "), format!("kill: SIGKILL to node {first}, the leader"));
    assert_eq!(dev.line_with(&format!("node {first} ended")), format!("node {first} ended: signal 9"));
    let killed = dev.nodes[&first].0;
    press(b"r");
    assert_eq!(dev.line_with("restart: "), format!("restart: node {first} is started"));
    dev.line_with(&format!("node {first} pid "));
    assert_ne!(dev.nodes[&first].0, killed, "another process");

    press(b"p");
    let said = dev.line_with("cut: node ");
    let cut =
        said.strip_prefix("cut: node ").and_then(|rest| rest.split_once(", the leader, is cut off from its peers"));
    let cut = cut.unwrap_or_else(|| panic!("{said}")).0;
    assert!(dev.ask(&["kv", "put", "greeting", "hello"]).ok().starts_with("OK revision=1 "), "the others elect");
    press(b"r");
    assert_eq!(dev.line_with("restart: "), format!("restart: node {cut} is connected again"));
    press(b"q");
    dev.line_with("quit: ");
    assert_eq!(dev.wait().code(), Some(0));
    let modes = tcgetattr(&keyboard).expect("it is a terminal").local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "as it was before: {modes:?}");
}

/// Turns this process into `dev` in the foreground of a terminal. A new session gets the first terminal that it opens.
fn become_dev(terminal: &OsStr) -> ! {
    setsid().expect("a child does not lead a group yet");
    let terminal = File::options().read(true).write(true).open(terminal).expect("the terminal opens");
    let error = binary(["dev", "--nodes", "3"]).stdin(terminal).exec();
    panic!("it could not become dev: {error}");
}
