//! Three processes, clients at all of them, and a leader that dies or ends meanwhile.

use crate::support::cluster::Cluster;
use crate::support::load::Load;
use raft_client::Consistency;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_takes_no_acknowledged_word_with_it() {
    let mut cluster = Cluster::start(3).await;
    let first = cluster.leader().await;
    let load = Load::start(&cluster, Duration::from_secs(6), 64);
    load.progress(200).await;

    cluster.kill(first.id);
    let second = cluster.leader().await;
    assert_ne!(second.id, first.id);
    assert!(second.term > first.term, "{second:?} after {first:?}");
    load.progress(200).await;

    cluster.start_node(first.id);
    load.progress(200).await;
    let operations = load.end().await;
    assert!(operations >= 600, "{operations}");
    cluster.agreement().await;
    let restarted = cluster.statuses().await[&first.id].clone();
    assert_eq!(restarted.incarnation, 2);
    assert!(restarted.members.iter().all(|member| member.connected), "{restarted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_ends_in_order_is_there_again() {
    let mut cluster = Cluster::start(3).await;
    let revision = cluster.client().put("k", "v").await.expect("there is a leader").revision;
    cluster.agreement().await;
    for id in 1..=3 {
        let status = cluster.stop(id).await;
        assert_eq!(status.code(), Some(0), "{}", cluster.node(id).stderr());
    }
    for id in 1..=3 {
        cluster.start_node(id);
    }
    let got = cluster.client().get("k", Consistency::Linearizable).await.expect("there is a leader");
    assert_eq!((got.value.as_deref(), got.modified_revision), (Some(&b"v"[..]), revision));
    cluster.agreement().await;
}
