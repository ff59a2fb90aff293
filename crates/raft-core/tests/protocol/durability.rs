//! One write in a call (R2), and answers that promise only durable state (R3 to R9).

use crate::cluster::replica::*;
use raft_core::{Action, HardState, Input, LogIndex, RoleKind, Rpc, Term};

fn receive(from: raft_core::NodeId, rpc: Rpc) -> Input {
    Input::Receive { from, rpc }
}

// ---- R2: one write and one answer a call ----

#[test]
fn a_batch_emits_one_write_and_one_answer() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    let actions = n1.batch([
        receive(N2, append(2, 2, (2, 1), 0, &[(3, 2)])),
        receive(N2, append(2, 3, (3, 2), 0, &[(4, 2), (5, 2)])),
        receive(N2, heartbeat(2, 4, (5, 2), 0)),
    ]);
    assert_eq!(write(&actions).as_deref(), Some("persist w2 [3@2..5@2]"));
    assert_eq!(sends(&actions), ["n2 append term 2 s4 match 2"], "one answer, the newest seq");
    assert_eq!(sends(&n1.persist()), ["n2 append term 2 s4 match 5"]);
}

#[test]
fn a_batch_that_appends_and_cuts_leaves_one_consistent_write() {
    // n2's entries arrive and, in the same call, those of the next leader, which replace some of them.
    let mut n1 = Replica::new(&[1, 1, 1]).following(2);
    let actions = n1.batch([
        receive(N2, append(2, 2, (3, 1), 0, &[(4, 2), (5, 2)])),
        receive(N3, append(3, 1, (4, 2), 0, &[(5, 3)])),
    ]);
    assert_eq!(write(&actions).as_deref(), Some("persist w2 term 3 [4@2..5@3]"));
    let cut_deeper =
        n1.batch([receive(N2, append(4, 1, (2, 1), 0, &[(3, 4)])), receive(N3, append(5, 1, (1, 1), 0, &[(2, 5)]))]);
    assert_eq!(write(&cut_deeper).as_deref(), Some("persist w3 term 5 truncate 2.. [2@5]"));
}

#[test]
fn actions_that_stand_there_already_are_left_alone() {
    let mut n1 = Replica::new(&[1, 1]);
    let first = Action::LeadershipLost { term: Term(7) };
    let mut actions = vec![first.clone()];
    n1.raft.step_batch(n1.now, [receive(N2, heartbeat(1, 1, (2, 1), 0))], &mut actions);
    assert_eq!(actions[0], first);
    assert!(actions.len() > 1);
}

// ---- R8: votes ----

#[test]
fn a_grant_waits_for_the_write_of_this_term_and_vote() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.pass(150);
    n1.receive(N2, request_vote(5, (2, 1)));
    n1.receive(N3, request_vote(6, (2, 1)));
    assert!(sends(&n1.report(1)).is_empty(), "the write of (5, n2) is not that of (6, n3)");
    assert_eq!(sends(&n1.report(2)), ["n3 vote term 6 granted"], "and n2's grant was dropped with its term");
}

#[test]
fn a_candidate_asks_and_counts_itself_only_when_its_vote_is_durable() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.pre_vote = false);
    let started = n1.wait();
    assert_eq!((write(&started).as_deref(), sends(&started).len()), (Some("persist w1 term 2 vote n1"), 0));
    assert_eq!(n1.raft.deadline(), None, "an input other than the disk's changes nothing");
    n1.receive(N2, granted(2));
    assert_eq!(n1.role(), RoleKind::Candidate, "no request has left");
    assert_eq!(sends(&n1.persist()).len(), 2);
    n1.receive(N2, granted(2));
    assert_eq!(n1.role(), RoleKind::Leader);
}

#[test]
fn a_higher_term_while_the_own_vote_is_in_flight_ends_the_candidacy() {
    let mut n1 = Replica::new(&[1, 1]).voting_for_itself();
    n1.receive(N2, request_vote(3, (2, 1)));
    assert_eq!(sends(&n1.report(1)), [""; 0], "the vote of term 2 is durable and obsolete");
    assert_eq!(sends(&n1.persist()), ["n2 vote term 3 granted"]);
}

// ---- R4, R5, R6: matches ----

#[test]
fn a_heartbeat_is_answered_at_once_with_what_is_durable_and_matches() {
    let mut n1 = Replica::new(&[1, 1, 1]).following(2);
    // The log is durable up to 3, and known to match up to 2 only.
    assert_eq!(sends(&n1.receive(N2, heartbeat(2, 2, (2, 1), 0))), ["n2 append term 2 s2 match 2"]);
    n1.receive(N2, append(2, 3, (3, 1), 0, &[(4, 2)]));
    // The log is known to match up to 4, and durable up to 3 only.
    assert_eq!(sends(&n1.receive(N2, heartbeat(2, 4, (4, 2), 0))), ["n2 append term 2 s4 match 3"]);
    assert_eq!(sends(&n1.persist()), ["n2 append term 2 s4 match 4"]);
}

#[test]
fn nothing_is_answered_before_the_term_is_durable() {
    let mut n1 = Replica::new(&[1, 1]);
    let actions = n1.receive(N2, heartbeat(4, 1, (2, 1), 0));
    assert_eq!((write(&actions).as_deref(), sends(&actions).len()), (Some("persist w1 term 4"), 0));
    assert!(sends(&n1.receive(N2, heartbeat(4, 2, (2, 1), 0))).is_empty());
    assert_eq!(sends(&n1.persist()), ["n2 append term 4 s2 match 2"]);
}

#[test]
fn an_append_with_new_entries_is_answered_as_they_become_durable() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    for (seq, index) in [(2, 3), (3, 4), (4, 5)] {
        let prev = if index == 3 { (2, 1) } else { (index - 1, 2) };
        let actions = n1.receive(N2, append(2, seq, prev, 0, &[(index, 2)]));
        assert!(sends(&actions).is_empty(), "{actions:?}");
    }
    assert_eq!(sends(&n1.report(2)), ["n2 append term 2 s4 match 3"]);
    assert!(sends(&n1.tick()).is_empty(), "not again");
    assert_eq!(sends(&n1.report(4)), ["n2 append term 2 s4 match 5"]);
}

#[test]
fn a_success_echoes_the_newest_append_seen() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    n1.receive(N2, heartbeat(2, 5, (2, 1), 0));
    assert_eq!(sends(&n1.receive(N2, heartbeat(2, 3, (2, 1), 0))), ["n2 append term 2 s5 match 2"]);
    n1.receive(N2, append(2, 9, (7, 2), 0, &[]));
    assert_eq!(sends(&n1.receive(N2, heartbeat(2, 6, (2, 1), 0))), ["n2 append term 2 s9 match 2"]);
}

#[test]
fn pending_answers_are_dropped_with_the_term_and_with_the_role() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    n1.receive(N2, append(2, 2, (2, 1), 0, &[(3, 2)]));
    let mut campaigns = n1.clone();
    campaigns.wait();
    assert_eq!(campaigns.role(), RoleKind::PreCandidate);
    assert!(sends(&campaigns.persist()).is_empty());
    n1.receive(N3, heartbeat(3, 1, (2, 1), 0));
    let answers = sends(&n1.persist());
    assert_eq!(answers, ["n3 append term 3 s1 match 2"], "3@2 is durable, but not known to be n3's");
}

#[test]
fn a_truncation_in_flight_lowers_what_is_durable() {
    let mut n1 = Replica::new(&[1, 1, 1, 1]).following(2);
    n1.receive(N2, append(2, 2, (2, 1), 0, &[(3, 2)]));
    assert_eq!(n1.raft.status().durable, LogIndex(2));
    assert_eq!(sends(&n1.receive(N2, heartbeat(2, 3, (3, 2), 0))), ["n2 append term 2 s3 match 2"]);
    assert_eq!(sends(&n1.persist()), ["n2 append term 2 s3 match 3"]);
}

#[test]
fn a_leader_counts_itself_up_to_what_is_durable() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.receive(N2, matched(2, 1, 3));
    assert_eq!(n1.commit(), 0, "its own no-op is in flight");
    let actions = n1.persist();
    assert_eq!(n1.commit(), 3);
    assert_eq!(applies(&actions), ["apply [1@1..3@2]"]);
}

#[test]
fn peers_alone_commit_and_applying_waits_for_the_own_disk() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.receive(N2, matched(2, 1, 3));
    let actions = n1.receive(N3, matched(2, 2, 3));
    assert_eq!((n1.commit(), applies(&actions)), (3, vec!["apply [1@1..2@1]".to_string()]));
    n1.step(Input::Applied { index: LogIndex(2) });
    assert_eq!(applies(&n1.persist()), ["apply [3@2]"]);
}

#[test]
fn rejections_do_not_wait_for_the_disk() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.receive(N2, heartbeat(4, 1, (2, 1), 0));
    assert_eq!(sends(&n1.receive(N3, heartbeat(3, 1, (2, 1), 0))).len(), 1, "a stale term");
    assert_eq!(sends(&n1.receive(N3, heartbeat(4, 1, (2, 1), 0))).len(), 1, "another leader");
    assert_eq!(sends(&n1.receive(N2, heartbeat(4, 2, (9, 4), 0))).len(), 1, "a mismatch");
    assert_eq!(sends(&n1.receive(N3, pre_vote(9, 1, (2, 1)))).len(), 1, "a pre-vote");
    assert_eq!(sends(&n1.receive(N3, request_vote(9, (2, 1)))).len(), 1, "a vote inside the window");
}

#[test]
fn a_heartbeat_leaves_to_every_peer_each_interval_with_the_window_closed() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_inflight_messages = 1).established();
    n1.pass(40);
    n1.receive(N3, matched(2, 2, 3));
    assert_eq!(appends_to(&n1.propose(1), N2).len(), 1);
    assert_eq!(appends_to(&n1.propose(2), N2).len(), 0, "the window is closed");
    n1.pass(10);
    let beat = n1.tick();
    for peer in [N2, N3] {
        let empty = appends_to(&beat, peer).iter().filter(|rpc| rpc.entries.is_empty()).count();
        assert_eq!(empty, 1, "{peer}: {beat:?}");
    }
}

// ---- reports ----

#[test]
fn reports_are_cumulative_and_unknown_or_older_ones_change_nothing() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    n1.receive(N2, append(2, 2, (2, 1), 0, &[(3, 2)]));
    n1.receive(N2, append(2, 3, (3, 2), 0, &[(4, 2)]));
    let before = n1.raft.digest();
    for unknown in [0, 1, 4, u64::MAX] {
        assert!(n1.report(unknown).is_empty(), "w{unknown}");
        assert_eq!(n1.raft.digest(), before, "w{unknown}");
    }
    assert_eq!(sends(&n1.report(3)), ["n2 append term 2 s3 match 4"]);
    let after = n1.raft.digest();
    n1.report(2);
    assert_eq!(n1.raft.digest(), after);
}

// ---- restart ----

#[test]
fn a_restart_keeps_the_vote_and_counts_writes_from_one() {
    let vote = HardState { term: Term(5), voted_for: Some(N2) };
    let mut n1 = Replica::with(&[1, 1], 3, |_, restored| restored.hard_state = vote);
    n1.pass(150);
    let refusal = "n3 vote term 5 refused: voted for n2 in this term, Raft §5.2";
    assert_eq!(sends(&n1.receive(N3, request_vote(5, (9, 4)))), [refusal]);
    assert_eq!(sends(&n1.receive(N2, request_vote(5, (2, 1)))), ["n2 vote term 5 granted"], "it is durable");
    let actions = n1.receive(N3, request_vote(6, (2, 1)));
    assert_eq!(write(&actions).as_deref(), Some("persist w1 term 6 vote n3"));
}

#[test]
fn commit_and_leader_match_start_at_applied() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |_, restored| restored.applied = LogIndex(3));
    assert_eq!((n1.commit(), n1.raft.applied()), (3, LogIndex(3)));
    n1.receive(N2, heartbeat(1, 1, (1, 1), 0));
    assert_eq!(sends(&n1.tick()), [""; 0]);
    assert_eq!(sends(&n1.receive(N2, heartbeat(1, 2, (1, 1), 0))), ["n2 append term 1 s2 match 3"]);
    let actions = n1.receive(N2, heartbeat(1, 3, (4, 1), 4));
    assert_eq!(applies(&actions), ["apply [4@1]"], "entries applied before the restart are not applied again");
}
