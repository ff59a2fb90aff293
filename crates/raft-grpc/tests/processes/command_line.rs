//! The binary as a process: exit codes, one-line errors, and its behaviour when a reader closes the pipe.

use crate::support::command::binary;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

fn run(folder: &Path, line: &str) -> Output {
    binary(line.split_whitespace()).current_dir(folder).output().expect("it starts")
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
        (
            "run node1",
            "raft-grpc: run: the node's id and address are missing; usage: raft-grpc run node1 PEER_HOST:PORT \
             CLIENT_HOST:PORT [node2 http://HOST:PORT].., or raft-grpc run ID PEER_HOST:PORT",
        ),
        ("run 1 127.0.0.1:7070 2=x", "raft-grpc: command line: peers = 2=x: not a URL"),
        ("node --id 1 --log loud=loud", "raft-grpc: --log: log = loud=loud: must be"),
    ];
    for (line, expected) in table {
        let output = run(folder.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
        let error = stderr(&output);
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{line}: {error}");
    }
    let mistyped = binary(["node", "--id", "1"]).current_dir(folder.path()).env("RAFT_PEER", "x").output();
    let mistyped = mistyped.expect("it starts");
    assert_eq!(mistyped.status.code(), Some(2));
    let error = stderr(&mistyped);
    assert!(error.contains("RAFT_PEER: ") && error.contains("did you mean `RAFT_PEERS`?"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was made");
}

#[test]
fn a_written_configuration_is_found_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run(folder.path(), "config init").status.code(), Some(0));
    assert_eq!(run(folder.path(), "config init").status.code(), Some(2), "it is there already");
    let mut check = binary(["config", "check", "--max-connections", "99"]);
    let check = check.current_dir(folder.path()).env("RAFT_CLUSTER", "mine").output().expect("it starts");
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    let table = String::from_utf8_lossy(&check.stdout).into_owned();
    let row =
        |key: &str| table.lines().find(|line| line.starts_with(key)).map(|line| line.split_whitespace().collect());
    assert_eq!(row("id "), Some(vec!["id", "1", "config.toml:8"]));
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
        let mut command = binary(line.split_whitespace());
        let child = command.current_dir(folder.path()).stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.and_then(std::process::Child::wait_with_output).expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{line}");
    }
}
