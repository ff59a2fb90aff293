//! Three processes, clients at all of them, and a leader that dies, ends or is cut off in the middle.

use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::wait::wait_until;
use raft_client::{Client, ClientOptions, Consistency};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_nothing_old() {
    let mut cluster = Cluster::start(3).await;
    cluster.client().put("k", "old").await.expect("there is a leader");
    let first = cluster.leader().await;
    cluster.node(first.id).tell("cut");
    let second = wait_until("the others elect", async || {
        let leader = cluster.leader().await;
        if leader.id == first.id { Err(format!("{leader:?}")) } else { Ok(leader) }
    })
    .await;
    assert!(second.term > first.term, "{second:?} after {first:?}");
    cluster.client().put("k", "new").await.expect("there is a quorum without it");

    // Asked by itself: a client that knows others is led to them.
    let statuses = cluster.statuses().await;
    let alone = statuses[&first.id].clone();
    assert!(alone.applied < statuses[&second.id].applied, "it is cut off: {alone:?}");
    let deadline = Duration::from_secs(2);
    let url = cluster.node(first.id).ports[1].url();
    let mut client = Client::new(ClientOptions { deadline, ..ClientOptions::new(vec![url]) }).expect("a URL");
    let stale = client.get("k", Consistency::Stale).await.expect("it answers what it has");
    assert_eq!(stale.value.as_deref(), Some(&b"old"[..]));
    let refused = client.get("k", Consistency::Linearizable).await;
    assert!(!matches!(&refused, Ok(got) if got.value.as_deref() == Some(b"old")), "{refused:?}");

    cluster.node(first.id).tell("heal");
    cluster.agreement().await;
    let healed = client.get("k", Consistency::Stale).await.expect("it answers what it has");
    assert_eq!(healed.value.as_deref(), Some(&b"new"[..]));
}
