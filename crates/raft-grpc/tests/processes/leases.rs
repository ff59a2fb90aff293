//! Lease reads of real nodes: they need no round, never outlast the lease, and are linearizable while leaders die and
//! are isolated.

use crate::support::cluster::{Cluster, Leader};
use crate::support::load::Load;
use crate::support::wait::wait_until;
use raft_client::{Client, ClientOptions, Consistency};
use std::time::Duration;
use tokio::time::sleep;

/// Starts three nodes with lease reads on and these election timeouts.
async fn start(election_timeout: &str) -> (Cluster, Leader) {
    let flags = ["--control-stdin", "--lease-reads", "--election-timeout", election_timeout];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let leader = cluster.leader().await;
    (cluster, leader)
}

/// A client that starts at this node alone and gives up soon.
fn client_of(cluster: &mut Cluster, id: u64) -> Client {
    let (deadline, url) = (Duration::from_millis(400), cluster.node(id).ports[1].url());
    Client::new(ClientOptions { deadline, ..ClientOptions::new(vec![url]) }).expect("a URL")
}

async fn lease_reads(cluster: &mut Cluster, id: u64) -> u64 {
    cluster.statuses().await[&id].lease_reads
}

async fn next_leader(cluster: &mut Cluster, first: Leader) -> Leader {
    wait_until("the others elect", async || {
        let leader = cluster.leader().await;
        if leader.id == first.id { Err(format!("{leader:?}")) } else { Ok(leader) }
    })
    .await
}

/// An isolated leader cannot make a round: it answers linearizable reads by its lease only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_by_its_lease_and_no_longer() {
    // The lease is almost as long as the shortest election timeout, which is long compared with the test's requests.
    let (mut cluster, first) = start("6s..8s").await;
    cluster.client().put("k", "old").await.expect("there is a leader");
    let mut at_first = client_of(&mut cluster, first.id);
    at_first.get("k", Consistency::Linearizable).await.expect("it leads");
    assert_eq!(lease_reads(&mut cluster, first.id).await, 0, "no client has sent one");
    at_first.get("k", Consistency::Lease).await.expect("it leads");
    assert_eq!(lease_reads(&mut cluster, first.id).await, 1);

    cluster.node(first.id).tell("cut");
    // It may have answered before it read the line.
    wait_until("it is cut off", async || match at_first.get("k", Consistency::Linearizable).await {
        Ok(got) => Err(format!("{got:?}")),
        Err(_) => Ok(()),
    })
    .await;
    let by_lease = at_first.get("k", Consistency::Lease).await.expect("it holds a lease");
    assert_eq!(by_lease.value.as_deref(), Some(&b"old"[..]));
    assert_eq!(lease_reads(&mut cluster, first.id).await, 2);

    let second = next_leader(&mut cluster, first).await;
    assert!(second.term > first.term, "{second:?} after {first:?}");
    cluster.client().put("k", "new").await.expect("the others are a quorum");
    let statuses = cluster.statuses().await;
    assert!(statuses[&first.id].applied < statuses[&second.id].applied, "it is cut off: {statuses:?}");
    // While isolated, it has only old data, so it must not answer.
    for round in 0..10 {
        let mut at_first = client_of(&mut cluster, first.id);
        let reads = if round % 2 == 0 { Consistency::Lease } else { Consistency::Linearizable };
        let got = at_first.get("k", reads).await;
        assert!(!matches!(&got, Ok(got) if got.value.as_deref() == Some(b"old")), "{got:?}, {first:?}, {second:?}");
    }
    assert_eq!(lease_reads(&mut cluster, first.id).await, 2, "its lease is over");
    let stale =
        client_of(&mut cluster, first.id).get("k", Consistency::Stale).await.expect("it answers with its own state");
    assert_eq!(stale.value.as_deref(), Some(&b"old"[..]), "it could have answered with old data");
    cluster.node(first.id).tell("heal");
    cluster.agreement().await;
    let healed =
        client_of(&mut cluster, first.id).get("k", Consistency::Stale).await.expect("it answers with its own state");
    assert_eq!(healed.value.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_reads_are_linearizable_while_leaders_die_and_are_cut_off() {
    // An isolated leader steps down after the longest timeout, and the others elect earlier: in between two nodes lead.
    let (mut cluster, mut leader) = start("300ms..3s").await;
    let load = Load::start_reading(&cluster, Duration::from_secs(5), 64, Consistency::Lease);
    for strike in 0..6 {
        load.progress(200).await;
        // This is enough time for the next leader to get a lease, and for clients to ask it.
        assert!(lease_reads(&mut cluster, leader.id).await > 0, "{leader:?} has answered nothing by lease");
        let first = leader;
        if strike % 2 == 0 {
            cluster.node(first.id).tell("cut");
            leader = next_leader(&mut cluster, first).await;
            // Clients that write continue at the new leader. Clients that only read would stay as long as the old one
            // answers.
            sleep(Duration::from_millis(1_500)).await;
            cluster.node(first.id).tell("heal");
        } else {
            cluster.kill(first.id);
            leader = next_leader(&mut cluster, first).await;
            cluster.start_node(first.id);
        }
    }
    load.progress(200).await;
    let operations = load.end().await;
    cluster.agreement().await;
    let counts: Vec<u64> = cluster.statuses().await.values().map(|status| status.lease_reads).collect();
    println!("{operations} operations, reads by lease since each node's start: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leases_a_lease_read_is_confirmed_by_a_round() {
    let mut cluster = Cluster::start(3).await;
    cluster.client().put("k", "v").await.expect("there is a leader");
    let got = cluster.ask(&["kv", "get", "k", "--lease"]);
    assert_eq!((got.code, got.stdout.as_str()), (Some(0), "v\n"), "{got:?}");
    let range = cluster.ask(&["kv", "range", "k", "--lease"]);
    assert_eq!((range.code, range.stdout.as_str()), (Some(0), "k\tv\n"), "{range:?}");
    let bench = cluster.ask(&["bench", "--lease", "--verify", "--seconds", "1", "--clients", "4"]);
    assert_eq!(bench.code, Some(0), "{bench:?}");
    assert!(bench.stdout.contains("lease reads: none") && bench.stdout.contains("linearizable"), "{bench:?}");
    for (id, status) in cluster.statuses().await {
        assert_eq!(status.lease_reads, 0, "node {id}");
    }
}
