//! Who is in a cluster, and where: the settings of the start, the log after that, and changes while clients work.

use crate::support::cluster::Cluster;
use crate::support::command::run;
use crate::support::load::Load;
use crate::support::node::Line;
use crate::support::ports::Port;
use crate::support::wait::wait_until;
use raft_client::Consistency;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::{Duration, Instant};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The IPv6 address of this machine, where there is one.
fn ipv6() -> IpAddr {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map_or(HERE, |_| Ipv6Addr::LOCALHOST.into())
}

async fn write(cluster: &Cluster, keys: std::ops::Range<u64>) {
    let mut client = cluster.client();
    for key in keys {
        client.put(format!("k{key}"), format!("v{key}")).await.expect("there is a leader");
    }
}

async fn all_is_there(cluster: &Cluster, keys: std::ops::Range<u64>) {
    let mut client = cluster.client();
    for key in keys {
        let got = client.get(format!("k{key}"), Consistency::Linearizable).await.expect("there is a leader");
        assert_eq!(got.value.as_deref(), Some(format!("v{key}").as_bytes()), "k{key} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_differ_from_the_log_are_reported_and_the_log_counts() {
    let mut cluster = Cluster::start(3).await;
    cluster.client().put("k", "v").await.expect("there is a leader");
    cluster.agreement().await;
    for id in 1..=3 {
        assert_eq!(cluster.stop(id).await.code(), Some(0), "{}", cluster.node(id).stderr());
    }
    // One id is mistyped on one node, and another has no list at all.
    cluster.node(2).line.peers.clear();
    let line = &mut cluster.node(1).line;
    let third = line.peers.remove(&3).expect("a peer");
    line.peers.insert(4, third);
    for id in 1..=3 {
        cluster.start_node(id);
    }
    let got = cluster.client().get("k", Consistency::Linearizable).await.expect("there is a leader");
    assert_eq!(got.value.as_deref(), Some(&b"v"[..]));
    cluster.agreement().await;
    let log = cluster.node(1).stderr();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("`peers` differs from the log")).collect();
    let words = "node 3 is a member and is missing in the settings; node 4 is in the settings and is no member";
    assert!(matches!(said[..], [line] if line.contains("WARN") && line.contains(words)), "{log}");
    assert!(!cluster.node(2).stderr().contains("differs from the log"), "its settings are right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_from_three_to_five_and_back_while_clients_work() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, Duration::from_secs(3), 64);
    load.progress(100).await;
    let begun = Instant::now();
    for (id, host) in [(4, ipv6()), (5, HERE)] {
        cluster.join(id, host, &[]);
    }
    cluster.members(&[1, 2, 3, 4, 5], &[]).await;
    println!("grown from 3 to 5 in {:?}", begun.elapsed());
    load.progress(100).await;
    let begun = Instant::now();
    let leader = cluster.leader().await.id;
    // The leader leaves, too: three of the five stay.
    let leaving = [leader, 1 + leader % 5];
    for id in leaving {
        let changed = cluster.ask(&["member", "remove", &id.to_string()]).ok();
        assert!(changed.starts_with("OK voters="), "{changed}");
        cluster.forget(id);
    }
    let staying: Vec<u64> = (1..=5).filter(|id| !leaving.contains(id)).collect();
    cluster.members(&staying, &[]).await;
    println!("shrunk from 5 to 3 in {:?}", begun.elapsed());
    load.progress(100).await;
    let (operations, failed) = load.end_counting().await;
    assert!(operations >= 300 && failed == 0, "{failed} of {operations} failed");
    cluster.agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_is_replaced_under_a_new_id() {
    let mut cluster = Cluster::start(3).await;
    cluster.met().await;
    write(&cluster, 0..20).await;
    let lost = cluster.leader().await.id;
    cluster.kill(lost);
    fs::remove_dir_all(&cluster.node(lost).line.data_dir).expect("it had one");
    // Its own id is not given to an empty folder: it has voted under it.
    let mut again = cluster.node(lost).line.clone();
    again.peers.clear();
    let others: Vec<String> = (1..=3).filter(|id| *id != lost).map(|id| cluster.node(id).ports[1].url()).collect();
    again.more = vec!["--join".to_owned(), others.join(",")];
    let refused = run(again.command());
    let words = format!("node {lost} is a voter of this cluster, and the folder has no log");
    assert!(refused.refused(3).contains(&words), "{refused:?}");
    cluster.join(4, HERE, &[]);
    let all: Vec<u64> = (1..=4).collect();
    cluster.members(&all, &[]).await;
    cluster.ask(&["member", "remove", &lost.to_string()]).ok();
    cluster.forget(lost);
    let staying: Vec<u64> = (1..=4).filter(|id| *id != lost).collect();
    let found = cluster.members(&staying, &[]).await;
    assert!(
        found.members.iter().all(|member| !member.peer_url.is_empty() && !member.client_url.is_empty()),
        "{found:?}"
    );
    write(&cluster, 20..40).await;
    all_is_there(&cluster, 0..40).await;
    cluster.agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_can_be_repeated_and_leads_to_one_cluster_only() {
    let mut cluster = Cluster::start(1).await;
    // Its founders have the same ids, so it needs another name.
    let flags = ["--segment-bytes", "256KiB", "--control-stdin", "--cluster", "stranger"];
    let mut stranger = Cluster::start_with(1, &flags).await;
    write(&stranger, 0..3).await;
    cluster.join(2, ipv6(), &["--no-promote"]);
    cluster.members(&[1], &[2]).await;
    write(&cluster, 0..5).await;
    cluster.agreement().await;
    assert_eq!(cluster.stop(2).await.code(), Some(0), "{}", cluster.node(2).stderr());

    // The same line, and then without --no-promote: a learner becomes a voter.
    cluster.start_node(2);
    cluster.agreement().await;
    cluster.members(&[1], &[2]).await;
    assert_eq!(cluster.stop(2).await.code(), Some(0), "{}", cluster.node(2).stderr());
    cluster.node(2).line.more.retain(|flag| flag != "--no-promote");
    cluster.start_node(2);
    cluster.members(&[1, 2], &[]).await;

    // Another folder for the same id, the name of another cluster, and an id that is taken.
    let ports = Port::row(HERE);
    let fresh = |id: u64, more: &[&str]| Line {
        id,
        listen: ports.each_ref().map(|port| port.address.to_string()),
        peers: [].into(),
        data_dir: cluster.folder.path().join(format!("fresh{id}")),
        more: more.iter().map(ToString::to_string).collect(),
    };
    let endpoints = cluster.endpoints().join(",");
    let refusals = [
        (fresh(2, &["--join", &endpoints]), 3, "node 2 is a voter of this cluster, and the folder has no log"),
        (fresh(3, &["--join", &endpoints, "--cluster", "x"]), 2, "this is cluster `raft`, not `x`"),
        (fresh(3, &["--join", "http://127.0.0.1:1"]), 1, "does the cluster run there?"),
    ];
    for (line, code, words) in refusals {
        let ended = run(line.command());
        assert!(ended.refused(code).contains(words), "{ended:?}");
        assert!(!line.data_dir.exists(), "nothing is made before the cluster agrees");
    }
    // A folder with the log of one cluster, and the address of another.
    assert_eq!(cluster.stop(2).await.code(), Some(0), "{}", cluster.node(2).stderr());
    let place = cluster.node(2).line.more.iter().position(|flag| flag == "--join").expect("it has one") + 1;
    cluster.node(2).line.more[place] = stranger.endpoints().join(",");
    cluster.start_node(2);
    assert_eq!(cluster.node(2).end().await.code(), Some(3));
    let log = cluster.node(2).stderr();
    assert!(log.contains("and --join leads to cluster") && log.contains("keep the folder as it is"), "{log}");
    assert_eq!(stranger.members(&[1], &[]).await.members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_reached_after_an_update() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster, 0..5).await;
    let moved = 1 + cluster.leader().await.id % 3;
    assert_eq!(cluster.stop(moved).await.code(), Some(0), "{}", cluster.node(moved).stderr());
    let ports = [Port::any(), Port::any(), Port::any()];
    cluster.node(moved).line.listen = ports.each_ref().map(|port| port.address.to_string());
    cluster.node(moved).ports = ports;
    cluster.start_node(moved);
    wait_until("it says that it is elsewhere", async || {
        let log = cluster.node(moved).stderr();
        if log.contains("peers reach this node at") && log.contains("member update") { Ok(()) } else { Err(log) }
    })
    .await;
    // By name: it is looked up at each attempt to connect.
    let [peer, client, _] =
        cluster.node(moved).ports.each_ref().map(|port| format!("http://localhost:{}", port.address.port()));
    let id = moved.to_string();
    let changed = cluster.ask(&["member", "update", &id, "--peer", &peer, "--client", &client]).ok();
    assert!(changed.starts_with("OK voters=1,2,3 learners=- entry="), "{changed}");
    write(&cluster, 5..10).await;
    cluster.agreement().await;
    let found = cluster.members(&[1, 2, 3], &[]).await;
    assert_eq!(found.member(moved).map(|member| member.peer_url.as_str()), Some(peer.as_str()));
    let listed = cluster.ask(&["member", "list"]).ok();
    assert!(listed.contains(&peer), "{listed}");
    let refused = cluster.ask(&["member", "update", "9", "--peer", "http://127.0.0.1:1"]);
    assert!(refused.refused(1).contains("node 9 is no member"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_changed_by_hand() {
    let cluster = Cluster::start(3).await;
    let add = ["member", "add", "7", "--peer", "http://127.0.0.1:1"];
    for _ in 0..2 {
        let added = cluster.ask(&add).ok();
        assert!(added.starts_with("OK voters=1,2,3 learners=7 entry="), "{added}");
    }
    let late = cluster.ask(&["member", "promote", "7", "--wait", "300ms"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.stderr.contains("node 7 catches up: entry 0 of "), "{late:?}");
    assert!(late.stderr.contains("node 7 has not caught up within 300ms: it has entry 0 of "), "{late:?}");
    let taken = cluster.ask(&["member", "add", "8", "--peer", "http://127.0.0.1:1"]);
    assert!(
        taken.refused(1).contains("node 7 is at http://127.0.0.1:1: each member needs its own address"),
        "{taken:?}"
    );
    let demoted = cluster.ask(&["member", "demote", "3"]).ok();
    assert!(demoted.starts_with("OK voters=1,2 learners=3,7 "), "{demoted}");
    let status: serde_json::Value =
        serde_json::from_str(&cluster.ask(&["status", "--format", "json"]).ok()).expect("a list");
    let is_voter = |id: u64| {
        status.as_array().expect("a list").iter().find(|row| row["id"] == id).expect("a row")["voter"].clone()
    };
    assert_eq!([is_voter(1), is_voter(3), is_voter(7)], [true, false, false].map(serde_json::Value::from));
    cluster.ask(&["member", "remove", "7"]).ok();
    let again = cluster.ask(&["member", "remove", "7"]);
    assert!(again.refused(1).contains("node 7 is no member: see `raft-grpc member list`"), "{again:?}");
    let promoted = cluster.ask(&["member", "promote", "3"]).ok();
    assert!(promoted.starts_with("OK voters=1,2,3 learners=- "), "{promoted}");
    let list: serde_json::Value =
        serde_json::from_str(&cluster.ask(&["member", "list", "--format", "json"]).ok()).expect("a list");
    let roles: Vec<&str> = list.as_array().expect("a list").iter().filter_map(|row| row["role"].as_str()).collect();
    assert_eq!(roles.iter().filter(|role| **role == "leader").count(), 1, "{list}");
    assert_eq!(roles.iter().filter(|role| **role == "voter").count(), 2, "{list}");
}

/// Rule R49: one of three is down. Without another one of them, the voters to come have no quorum that answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_quorum_to_come_is_refused_unless_forced() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster, 0..5).await;
    cluster.agreement().await;
    let leader = cluster.leader().await.id;
    let (down, other) = (1 + leader % 3, 1 + (leader + 1) % 3);
    cluster.kill(down);
    let (down_name, other_name) = (down.to_string(), other.to_string());
    let words = format!("no quorum of the voters to come answers: node {down} does not. Start it");
    wait_until("the leader misses the node that is down", async || {
        let refused = cluster.ask(&["leader", "transfer", &down_name]);
        let is_missed = refused.stderr.contains(&format!("node {down} cannot take over: it does not answer: start it"));
        if is_missed { Ok(()) } else { Err(format!("{refused:?}")) }
    })
    .await;
    for verb in ["remove", "demote"] {
        let refused = cluster.ask(&["member", verb, &other_name]);
        let text = refused.refused(1);
        assert!(text.contains(&words) && text.contains("With --force the change begins"), "{refused:?}");
    }
    write(&cluster, 5..10).await;
    let begun = cluster.ask(&["member", "remove", &other_name, "--force", "--timeout", "2s"]);
    assert_eq!(begun.code, Some(1), "it is not committed before a quorum answers: {begun:?}");
    // Only the old leader has the entry: without it the others would lead on with the members as before.
    cluster.forget(other);
    cluster.start_node(down);
    let staying = if leader < down { [leader, down] } else { [down, leader] };
    cluster.members(&staying, &[]).await;
    write(&cluster, 10..15).await;
    all_is_there(&cluster, 0..15).await;
}

/// Rules R47 and R50: the others have closed their streams to it, so it asks on its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_while_it_was_away_ends_when_it_comes_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.join(4, HERE, &["--no-promote"]);
    cluster.members(&[1, 2, 3], &[4]).await;
    write(&cluster, 0..5).await;
    cluster.agreement().await;
    let away = 1 + cluster.leader().await.id % 3;
    for id in [away, 4] {
        cluster.kill(id);
        cluster.ask(&["member", "remove", &id.to_string()]).ok();
    }
    let stays: Vec<u64> = (1..=3).filter(|id| *id != away).collect();
    for id in &stays {
        for gone in [away, 4] {
            let closed = format!("node {gone} is removed: its stream is closed");
            wait_until(&closed, async || {
                let log = cluster.node(*id).stderr();
                if log.contains(&closed) { Ok(()) } else { Err(log) }
            })
            .await;
        }
    }
    // Its flag would make the learner a new member.
    cluster
        .node(4)
        .line
        .more
        .retain(|flag| !flag.starts_with("http") && !["--join", "--no-promote"].contains(&&**flag));
    for id in [away, 4] {
        cluster.start_node(id);
        assert_eq!(cluster.node(id).end().await.code(), Some(7), "{}", cluster.node(id).stderr());
        let log = cluster.node(id).stderr();
        assert!(log.contains("this node is not a member of the cluster since entry "), "{log}");
        cluster.forget(id);
    }
    write(&cluster, 5..10).await;
    all_is_there(&cluster, 0..10).await;
}

/// As a supervisor does. At first the others still take its calls and have a stream to it; then neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_that_starts_again_and_again_always_ends() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster, 0..5).await;
    let leader = cluster.leader().await.id;
    let (gone, stays) = (1 + leader % 3, 1 + (leader + 1) % 3);
    cluster.ask(&["member", "remove", &gone.to_string()]).ok();
    let closed = format!("node {gone} is removed: its stream is closed");
    loop {
        let are_closed = [leader, stays].iter().all(|id| cluster.node(*id).stderr().contains(&closed));
        assert_eq!(cluster.node(gone).end().await.code(), Some(7), "{}", cluster.node(gone).stderr());
        if are_closed {
            break;
        }
        cluster.start_node(gone);
    }
    cluster.forget(gone);
    write(&cluster, 5..10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_a_named_node_and_to_any() {
    let mut cluster = Cluster::start(3).await;
    cluster.agreement().await;
    let first = cluster.leader().await.id;
    let to = 1 + first % 3;
    let named = to.to_string();
    for _ in 0..2 {
        // The second time nothing is left to do.
        let transferred = cluster.ask(&["leader", "transfer", &named]).ok();
        assert!(transferred.starts_with(&format!("OK leader={to} ")), "{transferred}");
        wait_until("it leads", async || match cluster.leader_now().await {
            Some(leader) if leader.id == to => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    cluster.agreement().await;
    let transferred = cluster.ask(&["leader", "transfer"]).ok();
    assert!(
        transferred.starts_with("OK leader=") && !transferred.starts_with(&format!("OK leader={to} ")),
        "{transferred}"
    );
    let refused = cluster.ask(&["leader", "transfer", "9"]);
    assert!(
        refused.refused(1).contains("node 9 cannot take over: it is not a voter: `raft-grpc member promote 9`"),
        "{refused:?}"
    );
    write(&cluster, 0..3).await;
}
