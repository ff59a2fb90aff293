//! Membership changes (R23 to R28 and R49; Raft §6, Thesis §4).

use crate::cluster::Cluster;
use crate::cluster::replica::{N1, N2, N3, Replica, appends_to, events, matched, mismatch, news};
use crate::inputs::membership_step;
use raft_core::*;

const N4: NodeId = NodeId(4);

fn add(id: u64) -> MembershipStep {
    membership_step(0, NodeId(id))
}

fn promote(id: u64) -> MembershipStep {
    membership_step(1, NodeId(id))
}

fn demote(id: u64) -> MembershipStep {
    membership_step(2, NodeId(id))
}

fn remove(id: u64) -> MembershipStep {
    membership_step(3, NodeId(id))
}

/// Three founders, one of which leads, and two nodes that may join.
fn cluster() -> (Cluster, NodeId) {
    let mut cluster = Cluster::with_joiners(3, 2, |_| ());
    let leader = cluster.elect();
    (cluster, leader)
}

/// The node's answer to this request.
fn answer(cluster: &Cluster, node: NodeId, request: RequestId) -> Option<Action> {
    let is_it = |news: &&Action| match news {
        Action::Appended { id, .. } | Action::Rejected { id, .. } => *id == request,
        _ => false,
    };
    cluster.servers[&node].news.iter().find(is_it).cloned()
}

fn rejected(cluster: &mut Cluster, node: NodeId, steps: Vec<MembershipStep>) -> Option<RejectReason> {
    let request = cluster.change(node, steps);
    match answer(cluster, node, request) {
        Some(Action::Rejected { reason, .. }) => Some(reason),
        _ => None,
    }
}

fn configuration(cluster: &Cluster, node: NodeId) -> String {
    cluster.raft(node.0).configuration().map_or_else(String::new, ToString::to_string)
}

/// Changes the configuration, and waits until the change is decided and known everywhere.
fn changed(cluster: &mut Cluster, steps: Vec<MembershipStep>) -> NodeId {
    let leader = cluster.elect();
    assert_eq!(rejected(cluster, leader, steps), None);
    cluster.elect()
}

/// The two others of three nodes.
fn others(of: NodeId) -> [u64; 2] {
    match of.0 {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    }
}

#[test]
fn a_joint_configuration_is_entered_and_left_exactly_once() {
    let (mut cluster, _) = cluster();
    changed(&mut cluster, vec![add(4)]);
    let leader = changed(&mut cluster, vec![promote(4)]);
    assert_eq!(configuration(&cluster, N4), "{n1 n2 n3 n4}");
    let log = cluster.servers[&leader].memory.log.iter();
    let carried = log.filter_map(|entry| match &entry.payload {
        Payload::Configuration(configuration) => Some(configuration.to_string()),
        _ => None,
    });
    let carried: Vec<String> = carried.collect();
    assert_eq!(carried, ["{n1 n2 n3}", "{n1 n2 n3; learners n4}", "{n1 n2 n3 -> n1 n2 n3 n4}", "{n1 n2 n3 n4}"]);
    assert!(cluster.history.violations().is_empty());
}

#[test]
fn what_the_smaller_quorum_decides_is_decided_in_the_same_call() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let change = MembershipChange { steps: vec![remove(2), remove(3)], ..Default::default() };
    let appends = n1.step(Input::ChangeMembership { id: RequestId(5), change });
    let seq = appends_to(&appends, N2)[0].seq.0;
    n1.persist();
    n1.read(8);
    let actions = n1.receive(N2, matched(2, seq, 4));
    assert!(news(&actions).contains(&"configuration {n1} of 5@2".into()), "the joint one is left: {actions:?}");
    assert!(actions.contains(&Action::ReadReady { id: RequestId(8), index: LogIndex(3) }), "n1 alone confirms it");
    assert!(n1.tick().is_empty());
}

#[test]
fn it_is_in_force_when_appended_and_rolled_back_when_truncated() {
    let (mut cluster, leader) = cluster();
    cluster.isolate(leader, true);
    let request = cluster.change(leader, vec![add(4)]);
    assert!(matches!(answer(&cluster, leader, request), Some(Action::Appended { .. })));
    assert_eq!(configuration(&cluster, leader), "{n1 n2 n3; learners n4}", "before it is durable");
    let [a, b] = others(leader);
    assert!(cluster.run_until(400, |cluster| {
        [a, b].iter().any(|&id| cluster.raft(id).role() == RoleKind::Leader && cluster.raft(id).commit() > LogIndex(2))
    }));
    cluster.isolate(leader, false);
    cluster.elect();
    assert_eq!(configuration(&cluster, leader), "{n1 n2 n3}", "the entry was replaced, and its configuration too");
}

#[test]
fn one_at_a_time_and_only_after_an_entry_of_the_own_term() {
    let (mut cluster, leader) = cluster();
    assert_eq!(rejected(&mut cluster, leader, vec![add(4)]), None);
    assert_eq!(rejected(&mut cluster, leader, vec![add(5)]), Some(RejectReason::NotReady), "not committed yet");
    // For a new leader the configuration is committed, its own no-op is not.
    let mut new = Replica::with(&[1, 1], 3, |_, restored| restored.applied = LogIndex(2)).leader();
    let change = MembershipChange { steps: vec![remove(3)], ..Default::default() };
    let actions = new.step(Input::ChangeMembership { id: RequestId(5), change });
    let rejected = Action::Rejected { id: RequestId(5), reason: RejectReason::NotReady };
    assert!(actions.contains(&rejected), "Thesis §4.1, the bug of 2015: {actions:?}");
}

#[test]
fn compare_and_set_on_the_index_of_the_configuration() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let mut change = |expected| {
        let change = MembershipChange { expected: Some(LogIndex(expected)), steps: vec![add(4)], force: false };
        n1.step(Input::ChangeMembership { id: RequestId(9), change })
    };
    let reason = RejectReason::ConfigurationMismatch { at: EntryId::new(1, 1) };
    assert_eq!(change(2), [Action::Rejected { id: RequestId(9), reason }]);
    let actions = change(1);
    assert!(actions.iter().any(|action| matches!(action, Action::Appended { .. })), "{actions:?}");
}

#[test]
fn a_learner_is_promoted_only_once_it_has_caught_up() {
    let (mut cluster, _) = cluster();
    cluster.isolate(N4, true);
    let leader = cluster.leader().expect("elected");
    assert_eq!(rejected(&mut cluster, leader, vec![add(4)]), None);
    let [a, b] = others(leader);
    cluster
        .run_until(60, |cluster| [a, b].iter().all(|&id| cluster.raft(id).commit() == cluster.raft(leader.0).commit()));
    assert_eq!(rejected(&mut cluster, leader, vec![promote(4)]), Some(RejectReason::NotCaughtUp { id: N4 }));
    assert_eq!(
        rejected(&mut cluster, leader, vec![promote(5)]),
        Some(RejectReason::InvalidChange(InvalidChange::NoMember { id: NodeId(5) }))
    );
    cluster.isolate(N4, false);
    changed(&mut cluster, vec![add(5)]);
    // The learner has the whole log and is away.
    let leader = cluster.elect();
    cluster.isolate(N4, true);
    assert!(!cluster.run_until(40, |_| false), "for two seconds it gets no heartbeat");
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(rejected(&mut cluster, leader, vec![promote(4)]), Some(RejectReason::NotCaughtUp { id: N4 }));
    cluster.isolate(N4, false);
    assert!(!cluster.run_until(10, |_| false), "and answers again");
    changed(&mut cluster, vec![promote(4)]);
    assert!(cluster.raft(4).configuration().is_some_and(|configuration| configuration.is_voter(N4)));
}

#[test]
fn a_leader_that_removes_itself_steps_down_when_that_is_committed_and_names_a_successor() {
    let (mut cluster, leader) = cluster();
    assert_eq!(rejected(&mut cluster, leader, vec![remove(leader.0)]), None);
    assert!(cluster.run_until(40, |cluster| {
        let leader_now = cluster.leader();
        leader_now.is_some_and(|now| now != leader)
    }));
    let now = cluster.elect();
    assert_ne!(now, leader);
    assert!(
        !cluster.raft(now.0).configuration().is_some_and(|configuration| configuration.members.contains_key(&leader))
    );
    cluster.run_until(40, |_| false);
    assert!(matches!(cluster.raft(leader.0).status().stopped, Some(StopReason::Removed { .. })));
    let is_sent = cluster.trace.iter().any(|line| line.contains("transfers leadership to it"));
    assert!(is_sent, "the successor did not have to wait for its timer");
}

/// Delivers one event at a time, until the joint configuration is decided and the leader has appended the next one.
fn until_the_joint_one_is_left(cluster: &mut Cluster, leader: NodeId) {
    while configuration(cluster, leader).contains("->") {
        let ids = cluster.ids();
        let writing = ids.into_iter().find(|id| !cluster.servers[id].pending.is_empty());
        match (writing, cluster.busy_links().first().copied()) {
            (Some(id), _) => drop(cluster.persist(id, 1)),
            (None, Some((from, to))) => drop(cluster.deliver(from, to, 0)),
            (None, None) => panic!("nothing moves:\n{}", cluster.trace.join("\n")),
        }
    }
}

#[test]
fn a_leaving_leader_takes_nothing_new_and_does_not_count_itself() {
    let (mut cluster, leader) = cluster();
    assert_eq!(rejected(&mut cluster, leader, vec![remove(leader.0)]), None);
    until_the_joint_one_is_left(&mut cluster, leader);
    cluster.persist(leader, usize::MAX);
    let status = cluster.raft(leader.0).status();
    assert_eq!((status.role, status.durable), (RoleKind::Leader, status.last.index));
    assert!(status.commit < status.last.index, "its own copy does not count");
    let request = cluster.propose(leader);
    let rejected = Action::Rejected { id: request, reason: RejectReason::Leaving };
    assert!(cluster.servers[&leader].news.contains(&rejected));
}

#[test]
fn a_leaving_node_gets_appends_until_that_is_committed() {
    let (mut cluster, leader) = cluster();
    let [a, b] = others(leader);
    let request = cluster.change(leader, vec![remove(a)]);
    assert!(matches!(answer(&cluster, leader, request), Some(Action::Appended { .. })));
    until_the_joint_one_is_left(&mut cluster, leader);
    let status = cluster.raft(leader.0).status();
    assert!(
        status.commit < status.last.index && status.peers.contains_key(&NodeId(a)),
        "it has left, but not for good"
    );
    cluster.run_until(40, |cluster| cluster.raft(leader.0).status().peers.len() == 1);
    assert_eq!(cluster.raft(leader.0).status().peers.keys().copied().collect::<Vec<_>>(), [NodeId(b)]);
}

#[test]
fn a_restart_inside_a_joint_configuration_goes_on_with_it() {
    let (mut cluster, leader) = cluster();
    let [a, _] = others(leader);
    assert_eq!(rejected(&mut cluster, leader, vec![demote(a)]), None);
    cluster.persist(leader, usize::MAX);
    for id in cluster.ids() {
        cluster.crash(id, usize::MAX);
    }
    cluster.links.clear();
    for id in cluster.ids() {
        cluster.restart(id, false);
    }
    assert!(configuration(&cluster, leader).contains("->"), "{}", configuration(&cluster, leader));
    let now = cluster.elect();
    let decided = cluster.raft(now.0).configuration().cloned().unwrap_or_default();
    assert!(!decided.is_joint());
    assert!(cluster.history.violations().is_empty());
}

#[test]
fn one_voter_becomes_three_and_one_again() {
    let mut cluster = Cluster::with_joiners(1, 4, |_| ());
    cluster.elect();
    for id in [2, 3] {
        changed(&mut cluster, vec![add(id)]);
        changed(&mut cluster, vec![promote(id)]);
    }
    assert_eq!(configuration(&cluster, N1), "{n1 n2 n3}");
    let leader = changed(&mut cluster, vec![add(4), add(5)]);
    assert_eq!(
        cluster.raft(leader.0).configuration().map(Configuration::to_string).as_deref(),
        Some("{n1 n2 n3; learners n4 n5}")
    );
    let [a, b] = others(leader);
    let last = changed(&mut cluster, vec![remove(a), remove(b), remove(4), remove(5)]);
    assert_eq!(last, leader);
    assert_eq!(configuration(&cluster, last), format!("{{n{}}}", last.0));
    cluster.propose(last);
    cluster.elect();
}

#[test]
fn a_promoted_learner_that_does_not_know_it_can_vote() {
    let (mut cluster, leader) = cluster();
    changed(&mut cluster, vec![add(4)]);
    cluster.isolate(N4, true);
    // n4 has the whole log so far; the others decide its promotion without it.
    let [a, b] = others(leader);
    assert_eq!(rejected(&mut cluster, leader, vec![promote(4)]), None);
    assert!(cluster.run_until(60, |cluster| [leader.0, a, b].iter().all(|&id| {
        let raft = cluster.raft(id);
        raft.configuration().is_some_and(|configuration| !configuration.is_joint() && configuration.is_voter(N4))
            && raft.commit() == raft.status().last.index
    })));
    assert!(!cluster.raft(4).configuration().is_some_and(|configuration| configuration.is_voter(N4)));
    // Two of four go down for good: no election succeeds without the vote of n4.
    cluster.isolate(N4, false);
    cluster.crash(leader, usize::MAX);
    cluster.links.clear();
    assert!(cluster.run_until(400, |cluster| {
        cluster.leader().is_some_and(|now| cluster.raft(now.0).commit() == cluster.raft(now.0).status().last.index)
    }));
    assert!(cluster.history.violations().is_empty());
}

#[test]
fn a_leader_that_its_own_log_removes_campaigns_until_that_is_decided() {
    let mut cluster = Cluster::with_joiners(2, 0, |_| ());
    let leader = cluster.elect();
    assert_eq!(rejected(&mut cluster, leader, vec![remove(leader.0)]), None);
    // The next configuration is on the leader's disk only.
    until_the_joint_one_is_left(&mut cluster, leader);
    cluster.persist(leader, usize::MAX);
    cluster.links.clear();
    for id in cluster.ids() {
        cluster.crash(id, usize::MAX);
        cluster.restart(id, false);
    }
    let other = NodeId(3 - leader.0);
    cluster.tick(leader);
    assert!(cluster.raft(leader.0).deadline().is_some(), "no other log can win (Thesis §4.2.2)");
    assert!(cluster.run_until(200, |cluster| {
        cluster.leader() == Some(other) && configuration(cluster, other) == format!("{{n{}}}", other.0)
    }));
    assert!(cluster.history.violations().is_empty());
}

fn change(steps: Vec<MembershipStep>, force: bool) -> Input {
    Input::ChangeMembership { id: RequestId(5), change: MembershipChange { steps, force, ..Default::default() } }
}

/// R49: n3 of three is silent, or has lost its data. Every change that needs it is refused, unless forced.
#[test]
fn a_change_whose_quorum_would_not_answer_is_refused_with_who_does_not_unless_forced() {
    let is_appended = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Appended { .. }));
    let refused = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::Rejected { reason: RejectReason::NoQuorumToCome { silent }, .. } => Some(silent.clone()),
            _ => None,
        })
    };
    let established = || Replica::new(&[1, 1]).established();
    for steps in [vec![remove(2)], vec![demote(2)], vec![add(4), remove(2)], vec![remove(1)]] {
        let actions = established().step(change(steps.clone(), false));
        assert_eq!(refused(&actions), Some([N3].into()), "{steps:?}: {actions:?}");
        let forced = established().step(change(steps.clone(), true));
        assert!(is_appended(&forced), "{steps:?}: {forced:?}");
        assert!(events(&forced).iter().any(|event| event.ends_with("without an answer from: n3")), "{forced:?}");
    }
    for steps in [vec![remove(3)], vec![demote(3)], vec![add(4)], vec![add(4), remove(3)], vec![remove(2), remove(3)]] {
        let actions = established().step(change(steps.clone(), false));
        assert!(is_appended(&actions) && events(&actions).iter().all(|event| !event.contains("forced")), "{actions:?}");
    }
    // n3 answers, and then denies what it had acknowledged.
    let mut lost = established();
    lost.receive(N3, matched(2, 2, 3));
    lost.pass(60);
    let newest = appends_to(&lost.tick(), N3)[0].seq.0;
    lost.receive(N3, mismatch(2, newest, (3, 2), (1, 1)));
    assert_eq!(refused(&lost.step(change(vec![remove(2)], false))), Some([N3].into()));
}

#[test]
fn force_overrides_no_other_refusal() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.step(change(vec![add(4)], true));
    let rejected = |n1: &mut Replica, steps| {
        n1.step(change(steps, true)).into_iter().find_map(|action| match action {
            Action::Rejected { reason, .. } => Some(reason),
            _ => None,
        })
    };
    assert_eq!(rejected(&mut n1, vec![remove(3)]), Some(RejectReason::NotReady));
    n1.persist();
    n1.receive(N2, matched(2, 3, 4));
    n1.receive(N2, matched(2, 4, 4));
    assert_eq!(n1.commit(), 4);
    assert_eq!(rejected(&mut n1, vec![promote(4)]), Some(RejectReason::NotCaughtUp { id: N4 }));
}

/// R26: the learner has matched all that there was at first, in a short round. Then it needs a snapshot.
#[test]
fn a_learner_with_a_snapshot_on_its_way_is_not_promoted() {
    let mut n1 = Replica::with(&[1, 1, 2], 3, |config, restored| {
        (config.trailing_entries, restored.applied) = (0, LogIndex(3));
    })
    .established();
    let newest = |actions: &[Action], peer| appends_to(actions, peer).last().expect("an append").seq.0;
    let sent = n1.step(change(vec![add(4)], false));
    n1.persist();
    n1.receive(N2, matched(3, newest(&sent, N2), 5));
    n1.step(Input::Applied { index: LogIndex(5) });
    assert_eq!(n1.commit(), 5, "the learner is a member");
    n1.step(Input::SnapshotTaken { index: LogIndex(4) });
    n1.persist();
    n1.receive(N4, mismatch(3, newest(&sent, N4), (4, 3), (0, 0)));
    assert_eq!(n1.raft.status().peers[&N4].state, PeerState::Snapshot);
    let refused = Action::Rejected { id: RequestId(5), reason: RejectReason::NotCaughtUp { id: N4 } };
    assert!(n1.step(change(vec![promote(4)], false)).contains(&refused));
    n1.pass(200);
    let sent = n1.tick();
    n1.receive(N2, matched(3, newest(&sent, N2), 5));
    n1.receive(N4, matched(3, newest(&sent, N4), 4));
    assert_eq!(n1.raft.status().peers[&N4].state, PeerState::Replicate);
    assert!(n1.step(change(vec![promote(4)], false)).contains(&refused), "the round with the snapshot is not over");
    n1.receive(N4, matched(3, newest(&sent, N4), 5));
    assert!(!n1.step(change(vec![promote(4)], false)).contains(&refused));
}
