//! Backups of real clusters: saved under load, verified, damaged, restored; a cluster recovered from one node of three; and the log
//! of a running node, read from outside.

use crate::support::cluster::Cluster;
use crate::support::command::{Ended, binary, run};
use crate::support::load::Load;
use crate::support::node::Line;
use raft_client::Consistency;
use raft_client::service::client_client::ClientClient;
use raft_proto::wire::raft::{Applied, OpenSessionRequest, command_response, open_session_response};
use raft_proto::wire::session;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A snapshot every 300 entries, so that the log is compacted while it is read.
const FLAGS: [&str; 5] = ["--control-stdin", "--segment-bytes", "256KiB", "--snapshot-after-entries", "300"];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn save(cluster: &Cluster, file: &Path, more: &[&str]) -> Ended {
    let endpoints = cluster.endpoints().join(",");
    let line = ["snapshot", "save", text(file), "--endpoints", &endpoints];
    run(binary(line.iter().chain(more)))
}

fn verify(file: &Path) -> Ended {
    run(binary(["snapshot", "verify", text(file), "--format", "json"]))
}

/// Restores the file as this node of a cluster of this name.
fn restore(file: &Path, line: &Line, name: &[&str]) -> Ended {
    let id = line.id.to_string();
    let mut arguments = vec!["restore", text(file), "--id", &id, "--data-dir", text(&line.data_dir)];
    let peers: Vec<String> = line.peers.iter().map(|(id, url)| format!("--peer={id}={url}")).collect();
    arguments.extend(peers.iter().map(String::as_str).chain(name.iter().copied()));
    run(binary(arguments))
}

async fn value(cluster: &Cluster, key: &str) -> Option<String> {
    let got = cluster.client().get(key.to_owned(), Consistency::Linearizable).await.expect("there is a leader");
    got.value.map(|value| String::from_utf8(value.to_vec()).expect("UTF-8"))
}

async fn stub(cluster: &mut Cluster) -> ClientClient<Channel> {
    let leader = cluster.leader().await.id;
    let endpoint = Endpoint::from_shared(cluster.node(leader).ports[1].url()).expect("a URL");
    ClientClient::new(endpoint.connect().await.expect("it listens"))
}

async fn open_session(cluster: &mut Cluster) -> u64 {
    let opened = stub(cluster).await.open_session(OpenSessionRequest {}).await.expect("the leader answers");
    match opened.into_inner().outcome {
        Some(open_session_response::Outcome::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

/// Sends a command of a session; as often as that is done, it is applied once.
async fn send(cluster: &mut Cluster, command: &session::Command) -> Applied {
    let sent = stub(cluster).await.command(command.clone()).await.expect("the leader answers");
    match sent.into_inner().outcome {
        Some(command_response::Outcome::Applied(applied)) => Applied { node: 0, ..applied },
        other => panic!("{other:?}"),
    }
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("an entry").path());
    files.filter(|file| text(file).ends_with(".part")).collect()
}

/// Three new nodes that have restored the file.
async fn restored(file: &Path) -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for id in 1..=3 {
        let node = cluster.node(id);
        restore(file, &node.line, &["--cluster", "second"]).ok();
        node.line.more.extend(["--cluster", "second"].map(str::to_owned));
        cluster.start_node(id);
    }
    cluster.leader().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_saved_under_load_is_restored_into_a_new_cluster_with_its_sessions() {
    let mut cluster = Cluster::start_with(3, &FLAGS).await;
    let mut client = cluster.client();
    for number in 0..100 {
        client.put(format!("key{number:03}"), format!("value {number}")).await.expect("there is a leader");
    }
    let session = open_session(&mut cluster).await;
    let put = raft_kv::command::Command::Put { key: "once".into(), value: "a".into(), ttl_ms: 0 }.encode();
    let command = session::Command { session, sequence: 1, lowest_pending: 1, command: put };
    let first = send(&mut cluster, &command).await;
    let load = Load::start(&cluster, Duration::from_secs(2), 200);
    load.progress(100).await;
    let before = client.put("last", "before the backup").await.expect("there is a leader");
    let file = cluster.folder.path().join("backup");
    let said = save(&cluster, &file, &[]).ok();
    load.progress(100).await;
    load.end().await;
    client.put("last", "after the backup").await.expect("there is a leader");

    let found: serde_json::Value = serde_json::from_str(&verify(&file).ok()).expect("JSON");
    let number = |key: &str| found[key].as_u64().expect("a number");
    assert!(number("index") >= before.entry.index.0 && number("keys") >= 102, "{found} {before:?}");
    assert_eq!(found["voters"], serde_json::json!([1, 2, 3]));
    assert_eq!(number("bytes"), std::fs::metadata(&file).expect("the file").len());
    assert!(said.contains(&format!("{} keys", number("keys"))), "{said}");
    let again = save(&cluster, &file, &[]);
    assert!(again.refused(2).contains("choose another name, or replace it with --force"), "{again:?}");
    let other = cluster.folder.path().join("stale");
    save(&cluster, &other, &["--stale"]).ok();
    save(&cluster, &other, &["--force"]).ok();
    assert_eq!((verify(&other).code, parts(cluster.folder.path())), (Some(0), vec![]));

    let mut new = restored(&file).await;
    drop(cluster);
    for number in 0..100 {
        assert_eq!(value(&new, &format!("key{number:03}")).await, Some(format!("value {number}")));
    }
    assert_eq!(value(&new, "last").await.as_deref(), Some("before the backup"));
    assert_eq!(send(&mut new, &command).await, first, "it was applied before the backup");
    new.client().put("last", "in the new cluster").await.expect("there is a leader");
    assert_eq!(value(&new, "last").await.as_deref(), Some("in the new cluster"));
    new.agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_and_wrong_folders_are_refused() {
    let cluster = Cluster::start(1).await;
    cluster.client().put("key", "value").await.expect("there is a leader");
    let folder = cluster.folder.path().to_owned();
    let file = folder.join("backup");
    save(&cluster, &file, &[]).ok();
    let whole = std::fs::read(&file).expect("the file");
    let wrong = folder.join("wrong");
    let check = |bytes: &[u8], code: i32, words: &str| {
        std::fs::write(&wrong, bytes).expect("written");
        let ended = verify(&wrong);
        assert!(ended.refused(code).contains(words), "{words}: {ended:?}");
    };
    for place in [0, 9, 20, 30, 39, 41, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        check(&flipped, 4, "is damaged at byte");
    }
    for length in [0, 7, 39, 60, whole.len() - 8, whole.len() - 1] {
        check(&whole[..length], 4, &format!("is damaged at byte {length}"));
    }
    check(&[&whole[..], b"x"].concat(), 4, &format!("is damaged at byte {}", whole.len()));
    let mut newer = whole.clone();
    newer[8] = 2;
    let checksum = crc32c::crc32c(&newer[..36]);
    newer[36..40].copy_from_slice(&checksum.to_le_bytes());
    check(&newer, 3, "format 2");

    let mut target = Cluster::prepare(3).node(1).line.clone();
    target.data_dir = folder.join("restored");
    std::fs::write(&wrong, &whole[..whole.len() / 2]).expect("written");
    restore(&wrong, &target, &["--cluster", "second"]).refused(4);
    assert!(!target.data_dir.exists(), "nothing was made of a damaged file");
    let unnamed = restore(&file, &target, &[]);
    assert!(unnamed.refused(2).contains("add --cluster NAME"), "{unnamed:?}");
    let own = Line { peers: [].into(), ..target.clone() };
    let said = restore(&file, &own, &[]).ok();
    assert!(said.contains("start it with: raft-grpc node --id 1 --cluster restored-"), "{said}");
    let misnamed = run(binary(["node", "--id", "1", "--data-dir", text(&own.data_dir), "--cluster", "another"]));
    assert!(misnamed.refused(3).contains("and the settings say `another`"), "{misnamed:?}");
    let taken = restore(&file, &own, &["--cluster", "third"]);
    assert!(taken.refused(3).contains("expected an empty folder"), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_nodes_becomes_a_new_cluster() {
    let mut cluster = Cluster::start_with(3, &FLAGS).await;
    let mut client = cluster.client();
    for number in 0..400 {
        client.put(format!("key{:02}", number % 50), format!("value {number}")).await.expect("there is a leader");
    }
    cluster.agreement().await;
    let folder = cluster.node(2).line.data_dir.clone();
    let recover = |more: &[&str]| {
        let line = ["recover", "--force-new-cluster", "--data-dir", text(&folder), "--cluster", "recovered"];
        run(binary(line.iter().chain(more)))
    };
    assert!(recover(&["--yes"]).refused(8).contains("uses this folder"));
    (1..=3).for_each(|id| cluster.kill(id));
    let unconfirmed = recover(&[]);
    assert_eq!(unconfirmed.code, Some(2));
    assert!(unconfirmed.stderr.contains("It is known that those up to"), "{unconfirmed:?}");
    let recovering = PathBuf::from(format!("{}.recovering", text(&folder)));
    let nameless =
        run(binary(["recover", "--force-new-cluster", "--yes", "--data-dir", text(&folder), "--cluster", ""]));
    assert!(nameless.code == Some(2) && nameless.stderr.contains("1 to 64 letters"), "{nameless:?}");
    // The place of the old folder is taken, by a link to nowhere.
    let kept = PathBuf::from(format!("{}.before-recovery", text(&folder)));
    symlink("nowhere", &kept).expect("made");
    assert!(recover(&["--yes"]).refused(1).contains("an earlier recovery left it"));
    std::fs::remove_file(&kept).expect("removed");
    let said = recover(&["--yes"]).ok();
    assert!(!recovering.exists());
    assert!(said.contains("its only member") && said.contains(text(&kept)), "{said}");
    run(binary(["wal", "verify", text(&kept)])).ok();

    let line = &mut cluster.node(2).line;
    let peers = std::mem::take(&mut line.peers);
    line.more.extend(["--cluster", "recovered"].map(str::to_owned));
    // The others are of the old cluster, and have a quorum of it.
    assert_eq!(peers.len(), 2);
    cluster.start_node(2);
    cluster.start_node(1);
    let mut alone = raft_client::Client::new(raft_client::ClientOptions {
        endpoints: vec![cluster.node(2).ports[1].url()],
        ..cluster.client_options()
    })
    .expect("a URL");
    for key in 0..50 {
        let got = alone.get(format!("key{key:02}"), Consistency::Linearizable).await.expect("it leads");
        assert_eq!(got.value, Some(format!("value {}", 350 + key).into()));
    }
    alone.put("key00", "in the new cluster").await.expect("it leads");
    let status = alone.status(&cluster.node(2).ports[1].url()).await.expect("it answers");
    assert_eq!(status.members.iter().map(|member| member.id).collect::<Vec<_>>(), [2]);

    [1, 3].into_iter().for_each(|id| cluster.forget(id));
    for id in [4, 5] {
        cluster.join(id, IpAddr::V4(Ipv4Addr::LOCALHOST), &["--cluster", "recovered"]);
    }
    cluster.members(&[2, 4, 5], &[]).await;
    cluster.kill(2);
    assert_eq!(value(&cluster, "key00").await.as_deref(), Some("in the new cluster"));
    cluster.client().put("key00", "without the recovered node").await.expect("there is a leader");
    cluster.start_node(2);
    cluster.agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_running_node_is_read_and_never_called_damaged() {
    let mut cluster = Cluster::start_with(3, &FLAGS).await;
    let load = Load::start(&cluster, Duration::from_secs(2), 2_000);
    load.progress(50).await;
    for round in 0..10 {
        let folder = cluster.node(1 + round % 3).line.data_dir.clone();
        for verb in ["verify", "dump"] {
            let said = run(binary(["wal", verb, text(&folder)])).ok();
            assert!(said.ends_with("node is running: the end of the log may be in flight\n"), "{said}");
        }
        load.progress(20).await;
    }
    load.end().await;
}
