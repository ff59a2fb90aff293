//! The output of `kv`, `status` and `bench`, and their exit codes.

use crate::support::cluster::Cluster;
use crate::support::command::{Ended, binary, run};
use crate::support::ports::Port;
use raft_check::history::read_history;
use raft_check::linearizability::{Verdict, check};
use serde_json::Value;
use std::io::BufReader;

/// The numbers of `OK revision=7 term=2 leader=2 2.1ms`, without the time.
fn numbers(line: &str) -> [u64; 3] {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let ["OK", revision, term, leader, took] = words[..] else { panic!("{line}") };
    let millis = took.strip_suffix("ms").and_then(|took| took.parse::<f64>().ok());
    assert!(millis.is_some_and(|millis| millis > 0.0), "{line}");
    [("revision=", revision), ("term=", term), ("leader=", leader)].map(|(name, word)| {
        let number = word.strip_prefix(name).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{name} in {line}"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_clients_print_what_is_documented() {
    let mut cluster = Cluster::start(3).await;
    kv(&mut cluster).await;
    ranges_and_transactions(&cluster);
    watches(&cluster);
    status(&mut cluster).await;
    bench(&cluster);
}

async fn kv(cluster: &mut Cluster) {
    let put = cluster.ask(&["kv", "put", "greeting", "hello"]).ok();
    let [revision, term, leader] = numbers(&put);
    let known = cluster.leader().await;
    assert_eq!((term, leader), (known.term, known.id), "{put}");
    let get = cluster.ask(&["kv", "get", "greeting"]);
    assert_eq!((get.stdout.as_str(), get.stderr.as_str(), get.code), ("hello\n", "", Some(0)));
    let verbose = cluster.ask(&["kv", "get", "greeting", "-v"]);
    assert_eq!((verbose.stdout.as_str(), verbose.code), ("hello\n", Some(0)));
    assert!(verbose.stderr.contains(&format!("modified_revision={revision} ")), "{verbose:?}");

    let missing = cluster.ask(&["kv", "get", "nothing"]);
    assert!(missing.refused(1).contains("key \"nothing\" is absent"), "{missing:?}");
    assert_eq!(missing.stdout, "");

    let swapped = cluster.ask(&["kv", "cas", "greeting", "hello", "bye"]).ok();
    assert_eq!(numbers(&swapped)[0], revision + 1);
    let unequal = cluster.ask(&["kv", "cas", "greeting", "hello", "bye"]);
    assert!(unequal.refused(1).contains("has the value \"bye\""), "{unequal:?}");

    let deleted = cluster.ask(&["kv", "delete", "greeting"]).ok();
    assert!(deleted.starts_with(&format!("OK existed=true revision={} ", revision + 2)), "{deleted}");
    assert_eq!(cluster.ask(&["kv", "get", "greeting"]).code, Some(1));

    let nobody = Port::any();
    let unheard = run(binary(["kv", "put", "a", "b", "--timeout", "300ms", "--endpoints", &nobody.url()]));
    assert!(unheard.refused(1).contains(&nobody.url()), "{unheard:?}");
}

/// Runs a client's command with this on its stdin.
fn tell(cluster: &Cluster, words: &[&str], text: &str) -> Ended {
    let file = cluster.folder.path().join("stdin");
    std::fs::write(&file, text).expect("it can be written");
    let mut command = cluster.command(words);
    command.stdin(std::fs::File::open(&file).expect("it was written"));
    run(command)
}

fn ranges_and_transactions(cluster: &Cluster) {
    for (key, value) in [("r/b", "2"), ("r/a", "1"), ("r/c", "line\nline")] {
        cluster.ask(&["kv", "put", key, value]).ok();
    }
    assert_eq!(cluster.ask(&["kv", "range", "r/"]).ok(), "r/a\t1\nr/b\t2\nr/c\tline\\nline\n");
    let two = cluster.ask(&["kv", "range", "r/", "--limit", "2"]);
    assert_eq!((two.stdout.as_str(), two.code), ("r/a\t1\nr/b\t2\n", Some(0)));
    assert!(two.stderr.contains("there are more keys"), "{two:?}");
    assert_eq!(cluster.ask(&["kv", "range", "nothing", "--stale"]).ok(), "");

    let text = "if r/a value = 1\nif r/d absent\nthen put r/d 4\nthen delete r/b\nthen get r/a\nelse get r/d\n";
    let first = tell(cluster, &["kv", "txn"], text).ok();
    let (line, results) = first.split_once('\n').expect("a line and more");
    assert!(line.starts_with("OK succeeded=true revision="), "{first}");
    assert_eq!(results, "put\ndelete\texisted=true\nget\tr/a\t1\n");
    let second = tell(cluster, &["kv", "txn"], text);
    assert!(second.refused(1).contains("a compare failed"), "{second:?}");
    assert!(second.stdout.ends_with("\nget\tr/d\t4\n"), "{second:?}");
    let wrong = tell(cluster, &["kv", "txn"], "then fly\n");
    assert!(wrong.refused(2).contains("stdin: line 1: an operation is"), "{wrong:?}");
    let twice = tell(cluster, &["kv", "txn"], "then put a b\nthen delete a\n");
    assert!(twice.refused(1).contains("at most once"), "{twice:?}");
}

fn watches(cluster: &Cluster) {
    let [first, ..] = numbers(&cluster.ask(&["kv", "put", "w/a", "1", "--ttl", "200ms"]).ok());
    cluster.ask(&["kv", "put", "w/b", "2"]).ok();
    cluster.ask(&["kv", "delete", "w/b"]).ok();
    let seen = cluster.ask(&["kv", "watch", "w/", "--from", &first.to_string(), "--count", "4"]).ok();
    let kinds: Vec<Vec<&str>> = seen.lines().map(|line| line.split('\t').skip(1).collect()).collect();
    let mut expected = [vec!["put", "w/a", "1"], vec!["put", "w/b", "2"], vec!["delete", "w/b"], vec!["expire", "w/a"]];
    let mut sorted = kinds.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!((&kinds[0], sorted), (&vec!["put", "w/a", "1"], expected.to_vec()), "{seen}");
    let revisions: Vec<u64> = seen.lines().filter_map(|line| line.split('\t').next()?.parse().ok()).collect();
    assert!(revisions[0] == first && revisions.is_sorted(), "{seen}");
    assert_eq!(cluster.ask(&["kv", "get", "w/a"]).code, Some(1), "its time is up");
    assert!(cluster.ask(&["kv", "put", "w/a", "1", "--ttl", "0s"]).code == Some(2), "a TTL of 0s is invalid");
}

async fn status(cluster: &mut Cluster) {
    cluster.agreement().await;
    let leader = cluster.leader().await;
    let members: Vec<Value> = serde_json::from_str(&cluster.ask(&["status", "--format", "json"]).ok()).expect("a list");
    let ids: Vec<Option<u64>> = members.iter().map(|member| member["id"].as_u64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3)]);
    for member in &members {
        let role = if member["id"] == leader.id { "leader" } else { "follower" };
        assert_eq!(member["role"], role, "{member}");
        assert_eq!(member["term"], leader.term, "{member}");
        assert!(member["commit"].as_u64().is_some_and(|commit| commit >= 5), "{member}");
        assert_eq!((&member["applied"], &member["ready"]), (&member["commit"], &Value::Bool(true)), "{member}");
        assert!(member["state_hash"].as_str().is_some_and(|hash| hash.len() == 32), "{member}");
        assert_eq!(member["state_hash"], members[0]["state_hash"]);
    }
    let dead = 1 + leader.id % 3;
    cluster.kill(dead);
    let table = cluster.ask(&["status"]).ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert_eq!(
        lines[0][..11],
        ["id", "role", "term", "commit", "applied", "lag", "contact", "snapshot", "ready", "disk", "state"]
    );
    assert!(lines.iter().any(|line| line[..2] == [&*dead.to_string(), "unreachable"]), "{table}");
    assert!(lines.iter().any(|line| line[..2] == [&*leader.id.to_string(), "leader"]), "{table}");
    cluster.start_node(dead);
}

fn bench(cluster: &Cluster) {
    let file = cluster.folder.path().join("history.jsonl");
    let path = file.to_str().expect("a path of text");
    let out = cluster.ask(&["bench", "--clients", "4", "--seconds", "2", "--verify", "--history", path]).ok();
    assert!(out.contains("0 lost, 0 applied twice, linearizable"), "{out}");
    let history = std::fs::File::open(&file).expect("the history was written");
    let history = read_history(BufReader::new(history)).expect("each line has one operation");
    assert!(history.len() > 50, "{} operations", history.len());
    assert_eq!(check(&history, 50_000_000), Verdict::Linearizable);
    assert!(out.contains(&format!("history: {} operations in {path}", history.len())), "{out}");
}
