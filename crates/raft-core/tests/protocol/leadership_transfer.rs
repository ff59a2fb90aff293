//! Leadership transfer on request (R29; Thesis §3.10).

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use raft_core::{
    Action, Input, LogIndex, MAX_NUMBER, NodeId, PeerState, RejectReason, RequestId, RoleKind, TargetProblem,
    TransferFailure,
};

fn transfer(n1: &mut Replica, to: Option<NodeId>) -> Vec<Action> {
    n1.step(Input::TransferLeadership { id: RequestId(77), to })
}

#[test]
fn a_target_that_holds_everything_gets_timeout_now_at_once() {
    let mut n1 = Replica::new(&[1, 1]).established();
    assert_eq!(timeouts(&transfer(&mut n1, Some(N2))), ["n2 timeout now term 2 last 3@2"]);
}

#[test]
fn a_target_that_lags_gets_timeout_now_when_it_holds_everything() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let newest = appends_to(&n1.propose(1), N2)[0].seq.0;
    n1.persist();
    assert!(timeouts(&transfer(&mut n1, Some(N2))).is_empty(), "n2 lacks 4@2");
    assert_eq!(timeouts(&n1.receive(N2, matched(2, newest, 4))), ["n2 timeout now term 2 last 4@2"]);
}

#[test]
fn meanwhile_proposals_and_changes_are_refused_and_reads_are_not() {
    let mut n1 = Replica::new(&[1, 1]).established();
    transfer(&mut n1, Some(N2));
    let refused = |id| Action::Rejected { id: RequestId(id), reason: RejectReason::Transferring };
    assert!(n1.propose(5).contains(&refused(5)));
    assert!(n1.step(Input::TransferLeadership { id: RequestId(6), to: Some(N3) }).contains(&refused(6)));
    let change = Input::ChangeMembership { id: RequestId(7), change: Default::default() };
    assert!(n1.step(change).contains(&refused(7)));
    assert!(!n1.read(8).iter().any(|action| matches!(action, Action::Rejected { .. })));
}

#[test]
fn it_is_done_when_the_target_asks_for_votes_in_the_next_term() {
    let mut n1 = Replica::new(&[1, 1]).established();
    transfer(&mut n1, Some(N2));
    let actions = n1.receive(N2, request_vote_for_transfer(3, (3, 2)));
    assert!(actions.contains(&Action::TransferDone { id: RequestId(77), to: N2 }), "{actions:?}");
    assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 3));
}

#[test]
fn another_end_of_leadership_is_a_failure() {
    let mut n1 = Replica::new(&[1, 1]).established();
    transfer(&mut n1, Some(N2));
    let actions = n1.receive(N3, stale_term(9, 1));
    let reason = TransferFailure::LeadershipLost;
    assert!(actions.contains(&Action::TransferFailed { id: RequestId(77), reason }), "{actions:?}");
}

#[test]
fn after_the_deadline_the_leader_goes_on() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.check_quorum = false).established();
    transfer(&mut n1, Some(N2));
    n1.pass(299);
    assert!(!n1.tick().iter().any(|action| matches!(action, Action::TransferFailed { .. })));
    n1.pass(1);
    let reason = TransferFailure::TimedOut;
    assert!(n1.tick().contains(&Action::TransferFailed { id: RequestId(77), reason }));
    assert!(n1.propose(9).iter().any(|action| matches!(action, Action::Appended { .. })));
}

#[test]
fn at_the_deadline_what_arrived_comes_first() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let newest = appends_to(&n1.propose(1), N2)[0].seq.0;
    transfer(&mut n1, Some(N2));
    n1.receive(N2, matched(2, newest, 4));
    n1.pass(300);
    let rpc = request_vote_for_transfer(3, (4, 2));
    let actions = n1.batch([Input::Persisted { write: n1.last_write }, Input::Receive { from: N2, rpc }]);
    assert!(actions.contains(&Action::TransferDone { id: RequestId(77), to: N2 }), "{actions:?}");
}

#[test]
fn a_lost_request_is_repeated_each_heartbeat() {
    let mut n1 = Replica::new(&[1, 1]).established();
    transfer(&mut n1, Some(N2));
    assert!(timeouts(&n1.tick()).is_empty(), "not at every call");
    n1.pass(50);
    assert_eq!(timeouts(&n1.tick()).len(), 1);
}

#[test]
fn the_best_target_is_the_longest_log_that_answers() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let newest = appends_to(&n1.propose(1), N2)[0].seq.0;
    n1.persist();
    n1.receive(N3, mismatch(2, 2, (2, 1), (1, 1)));
    n1.receive(N2, matched(2, newest, 4));
    assert_eq!(timeouts(&transfer(&mut n1, None)), ["n2 timeout now term 2 last 4@2"]);
    let mut alone = Replica::new(&[1, 1]).leader();
    let no = Action::Rejected { id: RequestId(77), reason: RejectReason::NoTarget };
    assert!(transfer(&mut alone, None).contains(&no), "no voter answers");
}

/// R48: each of these would stop the writes until the deadline of the transfer.
#[test]
fn a_target_that_cannot_take_over_soon_is_refused_at_once_and_with_the_reason() {
    let refused = |n1: &mut Replica, target: NodeId, why| {
        let actions = transfer(n1, Some(target));
        let reason = RejectReason::UnfitTarget { id: target, why };
        assert!(actions.contains(&Action::Rejected { id: RequestId(77), reason }), "{target} {why}: {actions:?}");
        assert_eq!(n1.raft.status().transfer_to, None);
    };
    let established = || Replica::new(&[1, 1]).established();
    refused(&mut established(), N9, TargetProblem::NotAVoter);
    refused(&mut established(), N1, TargetProblem::IsLeader);
    refused(&mut established(), N3, TargetProblem::Silent);
    let mut later = Replica::with(&[1, 1], 3, |config, _| config.check_quorum = false).established();
    later.pass(301);
    refused(&mut later, N2, TargetProblem::Silent);
    let mut lost = established();
    lost.pass(60);
    let newest = appends_to(&lost.tick(), N2)[0].seq.0;
    lost.receive(N2, mismatch(2, newest, (3, 2), (1, 1)));
    refused(&mut lost, N2, TargetProblem::LostData);
    // n2 answers each heartbeat and does not keep up: its round takes longer than an election timeout.
    let mut behind = established();
    behind.propose(1);
    for _ in 0..6 {
        behind.pass(50);
        let newest = appends_to(&behind.tick(), N2).last().map_or(2, |append| append.seq.0);
        behind.receive(N2, matched(2, newest, 3));
    }
    refused(&mut behind, N2, TargetProblem::FarBehind);
}

#[test]
fn a_target_that_is_being_sent_a_snapshot_is_refused() {
    let mut n1 = Replica::with(&[1, 1, 2], 3, |config, restored| {
        (config.trailing_entries, restored.applied) = (0, LogIndex(3));
    })
    .established();
    n1.step(Input::SnapshotTaken { index: LogIndex(3) });
    n1.persist();
    n1.receive(N3, mismatch(3, 2, (3, 2), (1, 1)));
    assert_eq!(n1.raft.status().peers[&N3].state, PeerState::Snapshot);
    let reason = RejectReason::UnfitTarget { id: N3, why: TargetProblem::NeedsSnapshot };
    assert!(transfer(&mut n1, Some(N3)).contains(&Action::Rejected { id: RequestId(77), reason }));
}

#[test]
fn a_request_is_bound_to_term_and_log_and_obeyed_once() {
    let follower = || Replica::new(&[1, 1]).following(3);
    let mut obeys = follower();
    let actions = obeys.receive(N2, timeout_now(3, (2, 1)));
    assert_eq!((obeys.role(), obeys.term()), (RoleKind::Candidate, 4), "without a pre-vote: {actions:?}");
    let asked = sends(&obeys.persist());
    assert!(asked.iter().any(|line| line == "n2 request vote term 4 last 2@1 on the leader's request"), "{asked:?}");
    let again = obeys.receive(N2, timeout_now(3, (2, 1)));
    assert!(sends(&again).is_empty() && obeys.term() == 4, "{again:?}");
    for (rpc, why) in [
        (timeout_now(2, (2, 1)), "an older term"),
        (timeout_now(3, (3, 3)), "a longer log"),
        (timeout_now(3, (1, 1)), "a shorter log"),
        (timeout_now(3, (2, 3)), "another log of the same length"),
    ] {
        let mut n1 = follower();
        n1.receive(N2, rpc);
        assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 3), "{why}");
    }
    let mut unwritten = follower();
    unwritten.receive(N2, append(3, 2, (2, 1), 0, &[(3, 3)]));
    unwritten.receive(N2, timeout_now(3, (3, 3)));
    assert_eq!(unwritten.role(), RoleKind::Follower, "its log is not durable");
    let mut later = follower();
    later.receive(N2, timeout_now(5, (2, 1)));
    assert_eq!((later.role(), later.term()), (RoleKind::Candidate, 6), "of a term that it did not know yet");
    let mut other = follower();
    other.receive(N3, timeout_now(3, (2, 1)));
    assert_eq!(other.role(), RoleKind::Follower, "not from its leader");
    let mut learner = Replica::with(&[1, 1], 3, |config, _| config.id = N9).following(3);
    learner.receive(N2, timeout_now(3, (2, 1)));
    assert_eq!(learner.role(), RoleKind::Follower, "it does not vote");
}

#[test]
fn a_target_without_a_term_left_reports_that_its_leader_is_unknown() {
    let mut n1 = Replica::new(&[1, 1]).following(MAX_NUMBER);
    let actions = n1.receive(N2, timeout_now(MAX_NUMBER, (2, 1)));
    assert_eq!((n1.role(), n1.term(), n1.raft.leader()), (RoleKind::PreCandidate, MAX_NUMBER, None));
    assert_eq!(news(&actions), [format!("leader of term {MAX_NUMBER} is unknown")]);
}

#[test]
fn only_a_flagged_request_passes_stickiness_and_only_one_round_is_flagged() {
    let mut sticky = Replica::new(&[1, 1]).following(3);
    assert!(sends(&sticky.receive(N3, request_vote(4, (2, 1))))[0].contains("a leader is alive"));
    let mut obeys = Replica::new(&[1, 1]).following(3);
    obeys.receive(N2, timeout_now(3, (2, 1)));
    obeys.persist();
    obeys.pass(1_000);
    let next = sends(&obeys.tick());
    assert!(next.iter().all(|line| line.contains("pre-vote")), "an ordinary round: {next:?}");
}

#[test]
fn leadership_moves_within_one_round_trip_while_all_have_contact_with_the_leader() {
    let mut cluster = Cluster::with(5, |_| ());
    let leader = cluster.elect();
    let target = cluster.ids().into_iter().find(|&id| id != leader).expect("five nodes");
    let before = cluster.now;
    cluster.transfer(leader, Some(target));
    cluster.settle();
    assert_eq!((cluster.leader(), cluster.now), (Some(target), before), "no timer had to run out");
    assert!(cluster.history.violations().is_empty());
}
