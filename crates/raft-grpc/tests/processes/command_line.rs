//! The binary as a process: exit codes, one-line errors, and what a reader that goes away does to it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `raft-grpc` in `folder`, with no variable of ours.
fn raft_grpc(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-grpc"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFT_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, line: &str) -> Output {
    raft_grpc(folder).args(line.split_whitespace()).output().expect("it starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_no_errors_and_wrong_usage_is_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    for line in ["--help", "--version", "node --help", "run --help", "dev --help", "config check --help"] {
        let output = run(folder.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert!(!output.stdout.is_empty(), "{line}");
    }
    for line in ["", "nod", "node --idd 1", "node extra", "run", "dev --nodes 0", "dev --nodes 10", "config"] {
        let output = run(folder.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
    }
}

#[test]
fn what_is_wrong_is_said_in_a_line_with_its_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = [
        ("node", "raft-grpc: id is not set"),
        ("node --id 0", "raft-grpc: --id: id = 0: must be a number, 1 to 2^62"),
        ("node --id 1 --config missing.toml", "raft-grpc: missing.toml: cannot read the configuration"),
        ("run node", "raft-grpc: run: the node's id and address are missing; usage: raft-grpc run"),
        ("run 1 127.0.0.1:7070 2=x", "raft-grpc: command line: peers = 2=x: not a URL"),
        ("node --id 1 --log loud=loud", "raft-grpc: --log: log = loud=loud: must be"),
    ];
    for (line, expected) in table {
        let output = run(folder.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
        let error = stderr(&output);
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{line}: {error}");
    }
    let mistyped = raft_grpc(folder.path()).args(["node", "--id", "1"]).env("RAFT_PEER", "x").output().expect("starts");
    assert_eq!(mistyped.status.code(), Some(2));
    assert!(stderr(&mistyped).contains("did you mean `RAFT_PEERS`?"), "{}", stderr(&mistyped));
}

#[test]
fn a_written_configuration_is_found_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run(folder.path(), "config init").status.code(), Some(0));
    assert_eq!(run(folder.path(), "config init").status.code(), Some(2), "it is there already");
    let mut check = raft_grpc(folder.path());
    let check = check.args(["config", "check", "--max-connections", "99"]).env("RAFT_CLUSTER", "mine").output();
    let check = check.expect("it starts");
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    let table = String::from_utf8_lossy(&check.stdout).into_owned();
    let row =
        |key: &str| table.lines().find(|line| line.starts_with(key)).map(|line| line.split_whitespace().collect());
    assert_eq!(row("id "), Some(vec!["id", "1", "config.toml:7"]));
    assert_eq!(row("cluster "), Some(vec!["cluster", "mine", "RAFT_CLUSTER"]));
    assert_eq!(row("max_connections "), Some(vec!["max_connections", "99", "--max-connections"]));
    fs::write(folder.path().join("config.toml"), "id = 1\nheartbeat = 3\n").expect("written");
    let wrong = run(folder.path(), "node");
    assert_eq!(wrong.status.code(), Some(2));
    let expected = "raft-grpc: config.toml:2: unknown key `heartbeat`, did you mean `heartbeat_interval`?\n";
    assert_eq!(stderr(&wrong), expected);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for line in ["config check --id 1", "--help"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = raft_grpc(folder.path());
        let child = command.args(line.split_whitespace()).stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.and_then(std::process::Child::wait_with_output).expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{line}");
    }
}

#[test]
fn an_address_in_use_is_code_6() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let free = "--listen-peer 127.0.0.1:0 --listen-admin 127.0.0.1:0";
    let output = run(folder.path(), &format!("node --id 1 --log error {free} --listen-client {address}"));
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address.to_string()), "{}", stderr(&output));
}
