//! Real snapshots: a log that does not grow without limit, a node that was away for too long, starts that load a
//! snapshot, and peers that send invalid ones.

use crate::support::cluster::Cluster;
use crate::support::wait::wait_until;
use bytes::Bytes;
use raft_client::Consistency;
use raft_core::{Configuration, EntryId, NodeId, SnapshotMeta, Term};
use raft_grpc::services::peer_client::PeerClient;
use raft_proto::wire::raft::{self, Hello, SnapshotRequest};
use raft_proto::{SnapshotChunk, chunk_to_wire};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// This many keys with this many bytes each: a snapshot of a few frames.
const KEYS: u64 = 50;
const VALUE: usize = 60_000;

/// A snapshot every 50 entries, with 5 entries after it.
const COMPACTING: [&str; 7] =
    ["--control-stdin", "--segment-bytes", "256KiB", "--snapshot-after-entries", "50", "--trailing-entries", "5"];

/// Writes `count` values, beginning with number `first`.
async fn write(cluster: &Cluster, first: u64, count: u64) {
    let mut client = cluster.client();
    for number in first..first + count {
        client.put(format!("k{}", number % KEYS), format!("{number:>VALUE$}")).await.expect("there is a leader");
    }
}

fn files(cluster: &mut Cluster, id: u64, beginning: &str) -> Vec<String> {
    let names = std::fs::read_dir(&cluster.node(id).line.data_dir).expect("its folder").map(|file| {
        let file = file.expect("an entry of the folder");
        file.file_name().into_string().expect("UTF-8")
    });
    names.filter(|name| name.starts_with(beginning)).collect()
}

/// Waits for an own snapshot that covers most of 160 values. Members save in turns, so it may come later than the last write.
async fn has_saved(cluster: &mut Cluster, id: u64) {
    wait_until("a snapshot covers most of the log", async || {
        let log = cluster.node(id).stderr();
        let saved = log.split("this node's snapshot of ").skip(1).filter(|text| text.contains(" is saved"));
        let newest = saved.filter_map(|text| text.split('@').next()?.parse().ok()).max().unwrap_or(0);
        if newest >= 100 { Ok(()) } else { Err(format!("node {id}: {newest}")) }
    })
    .await;
}

/// Waits until the older snapshots are gone.
async fn one_snapshot_is_left(cluster: &mut Cluster, id: u64) {
    wait_until("one snapshot is left", async || {
        let snapshots = files(cluster, id, "snapshot-");
        let is_whole = snapshots.len() == 1 && !snapshots[0].ends_with(".new");
        if is_whole { Ok(()) } else { Err(format!("node {id}: {snapshots:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_is_sent_a_snapshot_and_starts_load_theirs() {
    let mut cluster = Cluster::start_with(3, &COMPACTING).await;
    write(&cluster, 0, 10).await;
    cluster.agreement().await;
    let leader = cluster.leader().await;
    let away = 1 + leader.id % 3;
    cluster.kill(away);
    write(&cluster, 10, 150).await;
    for id in (1..=3).filter(|id| *id != away) {
        has_saved(&mut cluster, id).await;
    }
    cluster.start_node(away);
    cluster.agreement().await;
    let log = cluster.node(away).stderr();
    assert!(log.contains("the state is now that of the snapshot"), "{log}");

    for id in 1..=3 {
        one_snapshot_is_left(&mut cluster, id).await;
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.start_node(id);
    }
    let got = cluster.client().get("k0", Consistency::Linearizable).await.expect("there is a leader");
    assert_eq!(got.value.as_deref(), Some(format!("{:>VALUE$}", 150).as_bytes()));
    write(&cluster, 160, 5).await;
    cluster.agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_snapshot_or_of_no_use_is_refused_or_removed_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster, 0, 3).await;
    let before = cluster.agreement().await;
    let leader = cluster.leader().await;
    let victim = 1 + leader.id % 3;
    cluster.met().await;
    let url = cluster.node(victim).ports[0].url();

    let right = cluster.hello(leader.id, victim).await;
    let old = request(&right, leader.term, 1);
    let ahead = request(&right, leader.term, 1_000_000);
    let with = |change: &dyn Fn(&mut SnapshotRequest, &mut raft::SnapshotChunk)| {
        let mut request = ahead.clone();
        let mut chunk = request.chunk.take().expect("it has one");
        change(&mut request, &mut chunk);
        SnapshotRequest { chunk: Some(chunk), ..request }
    };
    let stranger = Hello { from: 9, ..right.clone() };
    let on_another_disk = Hello { disk: vec![7; 16].into(), ..right };
    let refused = [
        (with(&|request, _| request.hello = Some(on_another_disk.clone())), Code::FailedPrecondition),
        (with(&|request, _| request.hello = Some(stranger.clone())), Code::FailedPrecondition),
        (with(&|request, _| request.hello = None), Code::InvalidArgument),
        (SnapshotRequest { chunk: None, ..ahead.clone() }, Code::InvalidArgument),
        (with(&|_, chunk| chunk.bytes_checksum ^= 1), Code::InvalidArgument),
    ];
    for (request, code) in refused {
        let refused = send(&url, request).await.expect_err("it is refused");
        assert_eq!(refused.code(), code, "{refused}");
    }
    // The node receives these files and cannot use them: one covers entries that are applied, one is too large, one is
    // not a snapshot.
    send(&url, old).await.expect("the node receives it");
    send(&url, with(&|_, chunk| chunk.size = 1 << 40)).await.expect("the node receives it");
    send(&url, ahead.clone()).await.expect("the node receives it");
    wait_until("the node checks it and removes it", async || {
        let (log, left) = (cluster.node(victim).stderr(), files(&mut cluster, victim, "snapshot-"));
        let is_seen = log.contains("a peer's snapshot of 1000000@1 does not match its checksum");
        if is_seen && left.is_empty() { Ok(()) } else { Err(format!("{left:?}, {log}")) }
    })
    .await;
    assert_eq!(cluster.agreement().await, before);
    assert_eq!(cluster.leader().await, leader, "no election was needed");
    write(&cluster, 3, 3).await;
    cluster.agreement().await;
}

/// A single chunk with the whole content of a file that claims to be a snapshot after this entry.
fn request(hello: &Hello, term: u64, index: u64) -> SnapshotRequest {
    let configuration = Configuration::of_voters([1, 2, 3].map(NodeId));
    let meta = SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) };
    let bytes = Bytes::from_static(b"what is no snapshot, whatever it is called");
    let (term, size) = (Term(term), bytes.len() as u64);
    let chunk = SnapshotChunk { term, meta, size, checksum: 7, offset: 0, bytes };
    SnapshotRequest { hello: Some(hello.clone()), chunk: Some(chunk_to_wire(&chunk)) }
}

async fn send(url: &str, request: SnapshotRequest) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL");
    let mut peer = PeerClient::new(endpoint.connect().await.expect("it listens"));
    peer.snapshot(request).await.map(drop)
}
