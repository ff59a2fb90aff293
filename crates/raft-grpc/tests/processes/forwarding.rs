//! Clients that do not reach the leader: a follower forwards their requests; and a leader that stands still costs them no
//! more than an election.

use crate::support::cluster::Cluster;
use crate::support::wait::{DEADLINE, wait_until};
use raft_client::{Client, ClientOptions, Consistency};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A client that knows only this node.
fn client_of(cluster: &mut Cluster, id: u64) -> Client {
    let url = cluster.node(id).ports[1].url();
    Client::new(ClientOptions { deadline: DEADLINE, ..ClientOptions::new([url]) }).expect("a URL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reaches_only_a_follower_keeps_writing() {
    // Nobody listens where the nodes say that they serve clients.
    let mut cluster =
        Cluster::start_unlogged(3, &["--control-stdin", "--advertise-client", "http://127.0.0.1:1"]).await;
    cluster.met().await;
    let leader = cluster.leader().await;
    let follower = leader.id % 3 + 1;
    let mut client = client_of(&mut cluster, follower);
    let mut direct = 0;
    for number in 1..=30_u64 {
        let written = client.put("k", number.to_string()).await.expect("a follower forwards it");
        assert_eq!((written.revision, written.leader), (number, Some(leader.id)), "once, and the answer says by whom");
        direct += written.attempts - 1;
    }
    assert!(direct <= 5, "the leader is tried now and then, not each time: {direct}");
    let got = client.get("k", Consistency::Linearizable).await.expect("a follower forwards it");
    assert_eq!(got.value.as_deref(), Some(&b"30"[..]));
    assert_eq!(cluster.leader().await, leader, "nobody campaigned");
}

/// How long a write takes that begins when the leader stops.
async fn outage(cluster: &mut Cluster, client: &mut Client) -> Duration {
    let leader = cluster.leader().await;
    client.put("k", "before").await.expect("there is a leader");
    cluster.node(leader.id).signal(Signal::STOP);
    let start = Instant::now();
    let written = client.put("k", "after").await.expect("the others elect");
    let outage = start.elapsed();
    assert_ne!(written.leader, Some(leader.id));
    cluster.node(leader.id).signal(Signal::CONT);
    wait_until("the old leader follows", async || {
        let statuses = cluster.statuses().await;
        let follows = statuses.get(&leader.id).is_some_and(|status| status.term > leader.term && status.ready);
        if follows { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    outage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stands_still_costs_a_client_less_than_a_second() {
    let flags = ["--control-stdin", "--election-timeout", "150ms..300ms", "--heartbeat-interval", "50ms"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    cluster.met().await;
    let mut client = cluster.client();
    let mut outages = Vec::new();
    for _ in 0..5 {
        outages.push(outage(&mut cluster, &mut client).await);
    }
    outages.sort();
    println!("outages: {outages:?}");
    assert!(outages[2] < Duration::from_secs(1), "the median of {outages:?}");
}
