//! A node with a full disk: what it still does, what it refuses, and how it recovers.

use super::*;

/// Nodes whose stores reserve space.
fn cluster() -> (Cluster, NodeId, SessionId) {
    let options = NodeOptions { max_sessions: 4, reserve_bytes: 4_000, ..options() };
    Cluster::with(3, Config::new(NodeId(0)), options).with_session()
}

impl Cluster {
    fn space(&mut self, id: NodeId, is_low: bool) {
        self.feed(id, NodeInput::Space { is_low });
        self.settle();
    }

    fn last(&self, id: NodeId) -> LogIndex {
        self.nodes[&id].status().last.index
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        self.run_until(|cluster| cluster.now >= until);
    }
}

#[test]
fn a_leader_without_space_transfers_leadership_and_refuses_no_command_for_it() {
    let (mut cluster, leader, session) = cluster();
    cluster.commands(leader, session, 1..=1);
    cluster.wait(1_000);
    // One call: the command behind the report may be retried, and nothing has failed for lack of space.
    let request = NodeInput::Request { id: RequestId(90), request: command(session, 2) };
    cluster.feed_all(leader, vec![NodeInput::Space { is_low: true }, request]);
    assert_eq!(cluster.reply(90), rejected(RejectReason::Transferring));
    cluster.run_until(|cluster| {
        cluster.nodes.values().any(|node| node.status().role == RoleKind::Leader && node.raft().id() != leader)
    });
    let successor = cluster.leader();
    assert_ne!(successor, leader);
    cluster.commands(successor, session, 2..=9);
    cluster.wait(3_000);
    assert_eq!(cluster.leader(), successor, "it has space, and stays");
    cluster.space(leader, false);
    cluster.catch_up();
}

#[test]
fn a_cluster_without_space_keeps_its_leader_which_refuses_commands_and_continues_otherwise() {
    let (mut cluster, leader, session) = cluster();
    let follower = next(leader);
    cluster.commands(leader, session, 1..=1);
    for other in [follower, next(follower)] {
        cluster.space(other, true);
    }
    cluster.wait(1_000);
    cluster.space(leader, true);
    let change = MembershipChange { steps: vec![MembershipStep::Remove { id: follower }], ..Default::default() };
    let requests = [command(session, 2), Request::OpenSession, Request::ChangeMembership { change }];
    for (id, request) in (3..).zip(requests) {
        cluster.request(leader, id, request);
        assert_eq!(cluster.reply(id), rejected(RejectReason::NoSpace));
    }
    let before = cluster.last(leader);
    // A follower names the leader even if its own disk is full.
    cluster.request(follower, 6, command(session, 2));
    assert_eq!(cluster.reply(6), rejected(RejectReason::NotLeader { leader: Some(leader) }));
    cluster.wait(3_000);
    assert_eq!((cluster.leader(), cluster.last(leader)), (leader, before), "heartbeats, but no writes");
    assert_eq!(cluster.ask(leader, 7, query()), answer(before, "1"), "reads continue");
    for node in [leader, follower, next(follower)] {
        cluster.space(node, false);
    }
    cluster.commands(leader, session, 2..=2);
}

#[test]
fn the_node_asks_for_space_every_second_until_there_is_some() {
    let (mut cluster, leader, _) = cluster();
    for (is_low, ms, expected) in [(false, 3_000, 0), (true, 5_500, 5), (false, 3_000, 5)] {
        cluster.space(leader, is_low);
        cluster.wait(ms);
        assert_eq!(cluster.count(|output| *output == NodeOutput::Disk(DiskJob::ReserveSpace)), expected);
    }
}

#[test]
fn a_follower_without_space_takes_no_entries_but_votes_and_catches_up() {
    let (mut cluster, leader, session) = cluster();
    let (full, third) = (next(leader), next(next(leader)));
    cluster.wait(1_000);
    let before = cluster.last(full);
    cluster.space(full, true);
    cluster.commands(leader, session, 1..=20);
    cluster.wait(3_000);
    assert_eq!((cluster.leader(), cluster.last(full)), (leader, before), "it appends nothing and does not campaign");
    let status = cluster.nodes[&full].status();
    assert_eq!((status.leader, status.role), (Some(leader), RoleKind::Follower));
    // In an election the node votes and writes its vote.
    cluster.cut.insert(leader);
    assert_eq!(cluster.disks[&full].hard_state.term, cluster.nodes[&full].status().term);
    cluster.run_until(|cluster| cluster.nodes[&third].status().role == RoleKind::Leader);
    assert_eq!(cluster.disks[&full].hard_state.voted_for, Some(third));
    cluster.space(full, false);
    cluster.heal();
    assert!(cluster.nodes[&full].state.applied > before);
}

#[test]
fn no_more_is_in_flight_than_the_reserve_allows() {
    let (mut cluster, leader, session) = cluster();
    // This is one call, so nothing becomes durable meanwhile.
    let inputs =
        (0..20).map(|number| NodeInput::Request { id: RequestId(2 + number), request: command(session, 1 + number) });
    cluster.outputs.clear();
    cluster.feed_all(leader, inputs.collect());
    let busy = Reply::Rejected { reason: RejectReason::Busy };
    let refused = cluster.count(|output| matches!(output, NodeOutput::Reply { reply, .. } if *reply == busy));
    let entries = |output: &NodeOutput| if let NodeOutput::Persist(write) = output { write.entries.len() } else { 0 };
    let taken: usize = cluster.outputs.iter().map(entries).sum();
    assert!(taken > 5 && refused > 5 && taken + refused == 20, "{taken} taken, {refused} refused");
}
