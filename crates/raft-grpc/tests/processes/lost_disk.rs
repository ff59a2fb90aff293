//! A machine that comes back with its id and an empty disk has lost its votes and acknowledged entries. Every node that
//! knew it rejects it, it reports this and ends, and acknowledged entries survive.

use crate::support::cluster::Cluster;
use crate::support::wait::wait_until;
use raft_client::{Client, Consistency};
use std::fs;

async fn write(client: &mut Client, keys: std::ops::Range<u64>) {
    for key in keys {
        client.put(format!("k{key}"), format!("v{key}")).await.expect("two nodes go on");
    }
}

async fn all_is_there(client: &mut Client, keys: std::ops::Range<u64>) {
    for key in keys {
        let got = client.get(format!("k{key}"), Consistency::Linearizable).await.expect("there is a leader");
        assert_eq!(got.value.as_deref(), Some(format!("v{key}").as_bytes()), "k{key} was acknowledged");
    }
}

fn empty(cluster: &mut Cluster, id: u64) {
    fs::remove_dir_all(&cluster.node(id).line.data_dir).expect("it had one");
}

/// Checks that node `id` ends, because one of these knows it with another disk, and says why in one line.
async fn it_is_refused(cluster: &mut Cluster, id: u64, by: &[u64]) {
    let before = cluster.node(id).stderr();
    cluster.start_node(id);
    let status = cluster.node(id).end().await;
    let log = cluster.node(id).stderr();
    let log = &log[before.len()..];
    assert_eq!(status.code(), Some(3), "{log}");
    let folder = cluster.node(id).line.data_dir.display().to_string();
    let words = format!(
        "refuses this node: node {id} is known with another disk: if its disk was lost, remove node {id} and add the \
         machine under a new id"
    );
    let said: Vec<&str> = log.lines().filter(|line| line.contains("another disk")).collect();
    let is_by = |line: &str| by.iter().any(|peer| line.contains(&format!("{folder}: peer {peer} {words}")));
    assert!(matches!(said[..], [line] if is_by(line)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_node_is_refused_for_ever_and_the_others_go_on() {
    let mut cluster = Cluster::start(3).await;
    cluster.met().await;
    let mut client = cluster.client();
    write(&mut client, 0..20).await;
    let lost = cluster.leader().await.id;
    let others: Vec<u64> = (1..=3).filter(|id| *id != lost).collect();
    cluster.kill(lost);
    empty(&mut cluster, lost);
    // Its second start finds the folder that its first start created.
    for _ in 0..2 {
        it_is_refused(&mut cluster, lost, &others).await;
    }
    write(&mut client, 20..40).await;
    all_is_there(&mut client, 0..40).await;
    let refused = format!("a caller on the peer port is refused: node {lost} is known with another disk");
    for id in &others {
        wait_until("every other refuses it", async || {
            let log = cluster.node(*id).stderr();
            if log.contains(&refused) { Ok(()) } else { Err(log) }
        })
        .await;
    }
    // They know the disk for good, even after they restart.
    for id in &others {
        assert_eq!(cluster.stop(*id).await.code(), Some(0));
        cluster.start_node(*id);
    }
    cluster.leader().await;
    it_is_refused(&mut cluster, lost, &others).await;
    all_is_there(&mut client, 0..40).await;
}

/// A node that acknowledged and one that was down are two of three. If the others accepted the first without its disk,
/// they would elect a leader without the acknowledged entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_node_makes_no_quorum_with_one_that_was_behind() {
    let mut cluster = Cluster::start(3).await;
    cluster.met().await;
    cluster.kill(3);
    let mut client = cluster.client();
    write(&mut client, 0..20).await;
    for id in [1, 2] {
        cluster.kill(id);
    }
    empty(&mut cluster, 2);
    cluster.start_node(3);
    it_is_refused(&mut cluster, 2, &[3]).await;
    assert_eq!(cluster.leader_now().await, None, "one of three is no quorum");
    cluster.start_node(1);
    assert_eq!(cluster.leader().await.id, 1, "the only one that has all entries");
    all_is_there(&mut client, 0..20).await;
}
