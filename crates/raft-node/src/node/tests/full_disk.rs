//! A node whose disk is full: what it still does, what it refuses, and how it comes back.

use super::*;
use std::time::Duration;

fn low(cluster: &mut Cluster, id: NodeId, is_low: bool) {
    cluster.feed(id, NodeInput::Space { is_low });
    cluster.settle();
}

/// Nodes whose stores keep a reserve.
fn cluster() -> Cluster {
    let options = NodeOptions {
        max_sessions: 4,
        snapshot_after_entries: 0,
        snapshot_after_bytes: 0,
        reserve_bytes: 4_000,
        ..pieces()
    };
    Cluster::with(3, Config::new(NodeId(0)), options)
}

fn follower(leader: NodeId) -> NodeId {
    (1..=3).map(NodeId).find(|id| *id != leader).expect("there are three")
}

fn last(cluster: &Cluster, id: NodeId) -> LogIndex {
    cluster.nodes[&id].status().last.index
}

/// Lets this much time pass.
fn wait(cluster: &mut Cluster, time: Duration) {
    let until = cluster.now.after(time);
    cluster.run_until(|cluster| cluster.now >= until);
}

#[test]
fn a_leader_without_space_refuses_commands_and_goes_on_with_all_else() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.request(leader, 2, command(session, 1));
    cluster.settle();
    low(&mut cluster, leader, true);
    let change = MembershipChange { expected: None, steps: vec![MembershipStep::Remove { id: follower(leader) }] };
    let requests = [command(session, 2), Request::OpenSession, Request::ChangeMembership { change }];
    for (id, request) in (3..).zip(requests) {
        cluster.request(leader, id, request);
        assert_eq!(cluster.reply(id), Some(&Reply::NoSpace));
    }
    let before = last(&cluster, leader);
    // Others say who leads, whatever their own disks are like.
    let other = follower(leader);
    low(&mut cluster, other, true);
    cluster.request(other, 6, command(session, 2));
    assert_eq!(cluster.reply(6), Some(&Reply::Rejected { reason: RejectReason::NotLeader { leader: Some(leader) } }));
    wait(&mut cluster, Duration::from_secs(3));
    assert_eq!(
        (cluster.leader(), last(&cluster, leader)),
        (leader, before),
        "heartbeats go on, and nothing is written"
    );
    cluster.request(leader, 7, query());
    cluster.settle();
    assert_eq!(cluster.reply(7), Some(&answer(before.0, "1")), "reads go on");
    low(&mut cluster, leader, false);
    cluster.request(leader, 8, command(session, 2));
    cluster.settle();
    assert!(matches!(cluster.reply(8), Some(Reply::Applied { .. })), "{:?}", cluster.reply(8));
}

#[test]
fn the_store_is_asked_once_a_second_until_there_is_space() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let asked = |cluster: &Cluster| {
        cluster.outputs.iter().filter(|output| **output == NodeOutput::Disk(DiskJob::MakeRoom)).count()
    };
    wait(&mut cluster, Duration::from_secs(3));
    assert_eq!(asked(&cluster), 0, "there is space");
    low(&mut cluster, leader, true);
    wait(&mut cluster, Duration::from_millis(5_500));
    assert_eq!(asked(&cluster), 5);
    low(&mut cluster, leader, false);
    wait(&mut cluster, Duration::from_secs(3));
    assert_eq!(asked(&cluster), 5);
}

#[test]
fn a_follower_without_space_takes_no_entries_stays_loyal_and_catches_up() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    let full = follower(leader);
    wait(&mut cluster, Duration::from_secs(1));
    let before = last(&cluster, full);
    low(&mut cluster, full, true);
    for (id, sequence) in (2..22).zip(1..) {
        cluster.request(leader, id, command(session, sequence));
        cluster.settle();
        assert!(matches!(cluster.reply(id), Some(Reply::Applied { .. })), "two of three are enough");
    }
    wait(&mut cluster, Duration::from_secs(3));
    assert_eq!((cluster.leader(), last(&cluster, full)), (leader, before), "it took nothing and disturbed nobody");
    let status = cluster.nodes[&full].status();
    assert_eq!((status.leader, status.role), (Some(leader), RoleKind::Follower));
    // An election: it votes, and what that writes is written.
    cluster.cut.insert(leader);
    let third = (1..=3).map(NodeId).find(|id| ![leader, full].contains(id)).expect("there are three");
    assert_eq!(cluster.disks[&full].hard_state.term, cluster.nodes[&full].status().term);
    cluster.run_until(|cluster| cluster.nodes[&third].status().role == RoleKind::Leader);
    assert_eq!(cluster.disks[&full].hard_state.voted_for, Some(third));
    cluster.cut.clear();
    low(&mut cluster, full, false);
    cluster.run_until(|cluster| {
        let status = cluster.nodes[&full].status();
        status.applied == cluster.nodes[&third].status().applied && status.applied > before
    });
    assert_eq!(cluster.node(full.0).machine(), cluster.node(third.0).machine());
}

#[test]
fn no_more_is_on_its_way_than_the_reserve_allows() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    // In one call, so that nothing is durable meanwhile.
    let inputs =
        (0..20).map(|number| NodeInput::Request { id: RequestId(2 + number), request: command(session, 1 + number) });
    let mut outputs = Vec::new();
    let now = cluster.now;
    cluster.nodes.get_mut(&leader).expect("it leads").step(now, inputs, &mut outputs);
    let busy = Reply::Rejected { reason: RejectReason::Busy };
    let refused =
        outputs.iter().filter(|output| matches!(output, NodeOutput::Reply { reply, .. } if *reply == busy)).count();
    let entries: usize = outputs
        .iter()
        .map(|output| if let NodeOutput::Persist(write) = output { write.entries.len() } else { 0 })
        .sum();
    assert_eq!(entries + refused, 20);
    assert!(entries > 5 && refused > 5, "{entries} taken, {refused} refused");
}
