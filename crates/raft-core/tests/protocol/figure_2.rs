//! Raft Figure 2, rule by rule; docs/protocol.md lists the rule of each test. n1 is the replica; the test plays n2 and
//! n3.

use crate::cluster::replica::*;
use raft_core::{Input, LogIndex, NodeId, RoleKind};

// ---- State ----

#[test]
fn persistent_state_is_updated_before_responding() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.pass(150);
    let actions = n1.receive(N2, request_vote(5, (2, 1)));
    assert_eq!(write(&actions).as_deref(), Some("persist w1 term 5 vote n2"));
    assert!(sends(&actions).is_empty(), "{actions:?}");
    let again = n1.receive(N2, request_vote(5, (2, 1)));
    assert!(sends(&again).is_empty() && write(&again).is_none(), "a repeated request is answered once: {again:?}");
    assert_eq!(sends(&n1.persist()), ["n2 vote term 5 granted"]);
}

#[test]
fn log_entries_are_persistent_before_responding() {
    let mut n1 = Replica::new(&[1, 1]).following(1);
    let actions = n1.receive(N2, append(1, 2, (2, 1), 0, &[(3, 1)]));
    assert_eq!(write(&actions).as_deref(), Some("persist w1 [3@1]"));
    assert!(sends(&actions).is_empty(), "{actions:?}");
    assert_eq!(sends(&n1.persist()), ["n2 append term 1 s2 match 3"]);
}

#[test]
fn volatile_state_starts_as_the_figure_says() {
    let fresh = Replica::new(&[1, 1]);
    assert_eq!((fresh.raft.commit(), fresh.raft.applied()), (LogIndex(0), LogIndex(0)));
    let n1 = Replica::new(&[1, 1]).leader();
    for (peer, progress) in n1.raft.status().peers {
        assert_eq!(progress.match_index, LogIndex(0), "{peer}");
        assert_eq!(progress.next_index, LogIndex(3), "{peer}: the position of the no-op");
    }
}

// ---- RequestVote RPC, receiver ----

#[test]
fn request_vote_1_refuses_a_stale_term() {
    let mut n1 = Replica::new(&[1, 5]);
    n1.pass(150);
    let actions = n1.receive(N2, request_vote(4, (9, 4)));
    assert_eq!(sends(&actions), ["n2 vote term 5 refused: its term is behind, Raft §5.1"]);
    assert_eq!(write(&actions), None);
}

#[test]
fn request_vote_2_grants_one_candidate_a_term() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.pass(150);
    n1.receive(N2, request_vote(5, (2, 1)));
    n1.persist();
    let again = n1.receive(N2, request_vote(5, (2, 1)));
    assert_eq!(sends(&again), ["n2 vote term 5 granted"], "the answer may have been lost");
    let other = n1.receive(N3, request_vote(5, (9, 4)));
    assert_eq!(sends(&other), ["n3 vote term 5 refused: voted for n2 in this term, Raft §5.2"]);
    assert_eq!(n1.raft.status().voted_for, Some(N2));
}

#[test]
fn request_vote_2_wants_an_up_to_date_log() {
    for (last, is_granted) in
        [((9, 2), false), ((2, 3), false), ((3, 3), true), ((4, 3), true), ((1, 4), true), ((0, 0), false)]
    {
        let mut n1 = Replica::new(&[1, 3, 3]);
        n1.pass(150);
        let refused = sends(&n1.receive(N2, request_vote(5, last)));
        let answer = if is_granted { sends(&n1.persist()) } else { refused };
        let expected = if is_granted {
            "n2 vote term 5 granted"
        } else {
            "n2 vote term 5 refused: its log is behind 3@3, Raft §5.4.1"
        };
        assert_eq!(answer, [expected], "{last:?}");
    }
}

// ---- AppendEntries RPC, receiver ----

#[test]
fn append_entries_1_refuses_a_stale_term() {
    let mut n1 = Replica::with(&[1, 5], 3, |_, restored| restored.applied = LogIndex(2));
    let actions = n1.receive(N2, append(4, 7, (2, 5), 2, &[]));
    assert!(sends(&actions).is_empty(), "the term of prev is above its leader's: malformed");
    let actions = n1.receive(N2, append(4, 7, (1, 1), 1, &[(2, 4)]));
    assert_eq!(sends(&actions), ["n2 append term 5 s7 refused: its term is behind, Raft §5.1"]);
    assert_eq!((n1.last(), n1.commit(), n1.raft.leader()), (2, 2, None));
    assert_eq!(n1.role(), RoleKind::Follower, "an obsolete conflict with a committed entry does not stop the replica");
}

#[test]
fn append_entries_2_refuses_without_the_previous_entry() {
    let mut n1 = Replica::new(&[1, 1, 2]).following(4);
    let missing = n1.receive(N2, append(4, 2, (5, 4), 5, &[(6, 4)]));
    assert_eq!(sends(&missing), ["n2 append term 4 s2 refused: no entry 5@4, at best 3@2, Raft §5.3"]);
    let other_term = n1.receive(N2, append(4, 3, (3, 3), 3, &[(4, 4)]));
    assert_eq!(sends(&other_term), ["n2 append term 4 s3 refused: no entry 3@3, at best 3@2, Raft §5.3"]);
    let other_term = n1.receive(N2, append(4, 4, (3, 1), 3, &[(4, 4)]));
    assert_eq!(sends(&other_term), ["n2 append term 4 s4 refused: no entry 3@1, at best 2@1, Raft §5.3"]);
    assert_eq!((n1.last(), n1.commit()), (3, 0));
}

#[test]
fn append_entries_3_removes_a_conflicting_suffix() {
    let mut n1 = Replica::new(&[1, 1, 2, 2, 2]).following(4);
    let actions = n1.receive(N2, append(4, 2, (2, 1), 0, &[(3, 4)]));
    assert_eq!(write(&actions).as_deref(), Some("persist w2 truncate 3.. [3@4]"));
    assert_eq!(n1.raft.status().last.to_string(), "3@4");
}

#[test]
fn append_entries_3_keeps_what_does_not_conflict() {
    let mut n1 = Replica::new(&[1, 1]).following(1);
    n1.receive(N2, append(1, 3, (2, 1), 0, &[(3, 1), (4, 1)]));
    n1.persist();
    let late = n1.receive(N2, append(1, 2, (2, 1), 0, &[(3, 1)]));
    assert_eq!((write(&late), n1.last()), (None, 4));
}

#[test]
fn append_entries_4_appends_what_is_new() {
    let mut n1 = Replica::new(&[1, 1, 2]).following(2);
    let actions = n1.receive(N2, append(2, 2, (1, 1), 0, &[(2, 1), (3, 2), (4, 2), (5, 2)]));
    assert_eq!(write(&actions).as_deref(), Some("persist w1 [4@2..5@2]"));
}

#[test]
fn append_entries_5_moves_the_commit_index_to_the_last_new_entry() {
    for (leader_commit, expected) in [(0, 0), (2, 2), (3, 3), (4, 4), (9, 4)] {
        let mut n1 = Replica::new(&[1, 1]).following(1);
        n1.receive(N2, append(1, 2, (2, 1), leader_commit, &[(3, 1), (4, 1)]));
        assert_eq!(n1.commit(), expected, "leader commit {leader_commit}");
        n1.receive(N2, heartbeat(1, 3, (2, 1), 0));
        assert_eq!(n1.commit(), expected, "it never goes back");
    }
}

#[test]
fn append_entries_5_does_not_commit_what_was_not_compared() {
    let mut n1 = Replica::new(&[1, 1, 2, 2]).following(5);
    n1.receive(N2, heartbeat(5, 2, (2, 1), 4));
    assert_eq!(n1.commit(), 2, "3@2 and 4@2 may differ from the leader's entries");
    n1.receive(N2, append(5, 3, (9, 2), 4, &[]));
    assert_eq!(n1.commit(), 2, "a rejected append moves nothing");
}

// ---- Rules for all servers ----

#[test]
fn all_servers_apply_what_is_committed() {
    let mut n1 = Replica::new(&[1, 1, 1]).following(1);
    let first = n1.receive(N2, heartbeat(1, 2, (2, 1), 2));
    assert_eq!(applies(&first), ["apply [1@1..2@1]"]);
    let second = n1.receive(N2, heartbeat(1, 3, (3, 1), 3));
    assert_eq!(applies(&second), ["apply [3@1]"]);
    n1.step(Input::Applied { index: LogIndex(3) });
    assert_eq!(n1.raft.applied(), LogIndex(3));
}

#[test]
fn all_servers_follow_a_higher_term() {
    type Become = fn(Replica) -> Replica;
    let roles: [(&str, Become); 5] = [
        ("follower", |n1| n1.following(2)),
        ("pre-candidate", Replica::pre_candidate),
        ("candidate before its vote is durable", Replica::voting_for_itself),
        ("candidate", Replica::candidate),
        ("leader", Replica::leader),
    ];
    let teachers = [
        append(9, 1, (2, 1), 0, &[]),
        stale_term(9, 1),
        refused(9),
        granted(9),
        matched(9, 1, 1),
        pre_vote_refused(9, 1),
        request_vote(9, (1, 1)),
    ];
    for (name, role) in roles {
        for rpc in &teachers {
            let mut n1 = role(Replica::new(&[1, 1]));
            let is_for_pre_candidates = matches!(rpc, raft_core::Rpc::PreVoteResponse(_));
            if is_for_pre_candidates && n1.role() != RoleKind::PreCandidate {
                continue;
            }
            // No timer fires inside the window of stickiness.
            let is_sticky = matches!(name, "follower" | "leader") && matches!(rpc, raft_core::Rpc::RequestVote(_));
            if is_sticky {
                continue;
            }
            let actions = n1.receive(N3, rpc.clone());
            assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 9), "{name}: {rpc}");
            assert!(write(&actions).is_some_and(|write| write.contains("term 9")), "{name}: {rpc}: {actions:?}");
        }
    }
}

// ---- Rules for followers ----

#[test]
fn followers_respond_to_leaders_and_candidates() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    assert_eq!(sends(&n1.receive(N2, heartbeat(3, 2, (2, 1), 0))), ["n2 append term 3 s2 match 2"]);
    n1.pass(150);
    n1.receive(N3, request_vote(4, (2, 1)));
    assert_eq!(sends(&n1.persist()), ["n3 vote term 4 granted"]);
}

#[test]
fn followers_campaign_after_an_election_timeout() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    let deadline = n1.raft.deadline().expect("a timer runs");
    n1.now = raft_core::Instant(deadline.0 - 1);
    assert!(n1.tick().is_empty());
    n1.now = deadline;
    n1.tick();
    assert_eq!((n1.role(), n1.term()), (RoleKind::PreCandidate, 3));
}

#[test]
fn followers_wait_again_after_an_append_or_a_granted_vote() {
    let base = Replica::new(&[1, 1]).following(3);
    let before = base.raft.deadline();
    let mut heard = base.clone();
    heard.pass(100);
    heard.receive(N2, heartbeat(3, 2, (2, 1), 0));
    assert!(heard.raft.deadline() > before);
    let mut granting = base.clone();
    granting.pass(150);
    granting.receive(N3, request_vote(4, (2, 1)));
    assert!(granting.raft.deadline() > before);
    let mut refusing = base;
    refusing.pass(150);
    refusing.receive(N3, request_vote(4, (1, 1)));
    assert_eq!((refusing.term(), refusing.raft.deadline()), (4, before));
}

// ---- Rules for candidates ----

#[test]
fn candidates_start_an_election() {
    let mut n1 = Replica::new(&[1, 1]).pre_candidate();
    assert_eq!(n1.term(), 1, "a pre-vote changes nothing");
    let won = n1.receive(N2, pre_vote_granted(1, 1));
    assert_eq!(write(&won).as_deref(), Some("persist w1 term 2 vote n1"));
    // The timer of the round starts when its requests leave.
    n1.pass(10_000);
    let asking = n1.persist();
    assert_eq!(sends(&asking), ["n2 request vote term 2 last 2@1", "n3 request vote term 2 last 2@1"]);
    assert!(n1.raft.deadline().is_some_and(|deadline| deadline.0 >= n1.now.0 + 150_000_000));
}

#[test]
fn candidates_become_leader_by_a_majority() {
    let mut n1 = Replica::with(&[1, 1], 5, |config, _| config.pre_vote = false);
    n1.wait();
    n1.persist();
    n1.receive(N2, granted(2));
    n1.receive(N2, granted(2));
    n1.receive(N9, granted(2));
    n1.receive(N3, refused(2));
    assert_eq!(n1.role(), RoleKind::Candidate, "n2 counts once, n9 not at all");
    n1.receive(NodeId(5), granted(2));
    assert_eq!(n1.role(), RoleKind::Leader);
}

#[test]
fn candidates_follow_the_leader_of_their_term() {
    let mut n1 = Replica::new(&[1, 1]).candidate();
    n1.receive(N3, heartbeat(2, 1, (2, 1), 0));
    assert_eq!((n1.role(), n1.term(), n1.raft.leader()), (RoleKind::Follower, 2, Some(N3)));
    assert_eq!(n1.raft.status().voted_for, Some(N1), "the vote of the term stays");
}

#[test]
fn candidates_start_a_new_election_after_a_timeout() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.pre_vote = false);
    n1.wait();
    n1.persist();
    assert_eq!((n1.role(), n1.term()), (RoleKind::Candidate, 2));
    n1.wait();
    assert_eq!((n1.role(), n1.term()), (RoleKind::Candidate, 3));
}

// ---- Rules for leaders ----

#[test]
fn leaders_send_heartbeats() {
    let mut n1 = Replica::new(&[1, 1]).candidate();
    let elected = n1.receive(N2, granted(2));
    assert_eq!(appends_to(&elected, N2).len() + appends_to(&elected, N3).len(), 2, "{elected:?}");
    n1.persist();
    for round in 0..2 {
        n1.pass(50);
        let beat = n1.tick();
        for peer in [N2, N3] {
            let beats = appends_to(&beat, peer);
            assert!(beats.iter().any(|rpc| rpc.entries.is_empty()), "round {round}, {peer}: {beat:?}");
        }
    }
}

#[test]
fn leaders_append_commands_and_answer_after_applying() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let actions = n1.propose(7);
    assert_eq!(news(&actions), ["r7 appended as 4@2"]);
    assert_eq!(write(&actions).as_deref(), Some("persist w3 [4@2]"));
    assert!(applies(&actions).is_empty());
    n1.step(Input::Applied { index: LogIndex(3) });
    n1.persist();
    let committed = n1.receive(N2, matched(2, appends_to(&actions, N2)[0].seq.0, 4));
    assert_eq!(applies(&committed), ["apply [4@2]"]);
}

#[test]
fn leaders_send_entries_from_the_next_index() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let actions = n1.propose(1);
    let to_n2 = appends_to(&actions, N2);
    assert_eq!(to_n2.len(), 1);
    assert_eq!((to_n2[0].prev.to_string(), to_n2[0].entries.to_string()), ("3@2".into(), "[4@2]".into()));
    assert!(appends_to(&actions, N3).is_empty(), "n3 is still being probed");
}

#[test]
fn leaders_move_match_and_next_index_on_success() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.receive(N3, matched(2, 2, 3));
    let peer = n1.raft.status().peers[&N3];
    assert_eq!((peer.match_index, peer.next_index), (LogIndex(3), LogIndex(4)));
}

#[test]
fn leaders_lower_the_next_index_on_mismatch_and_retry() {
    let mut n1 = Replica::new(&[1, 1, 1]).leader();
    let retried = n1.receive(N3, mismatch(2, 2, (3, 1), (1, 1)));
    let retries = appends_to(&retried, N3);
    assert_eq!(retries.len(), 1);
    assert_eq!((retries[0].prev.to_string(), retries[0].entries.to_string()), ("1@1".into(), "[2@1..4@2]".into()));
}

#[test]
fn leaders_commit_what_a_majority_holds() {
    let mut n1 = Replica::with(&[1, 1], 5, |config, _| config.pre_vote = false);
    n1.wait();
    n1.persist();
    n1.receive(N2, granted(2));
    n1.receive(N3, granted(2));
    n1.persist();
    n1.receive(N2, matched(2, 1, 3));
    assert_eq!(n1.commit(), 0, "two of five");
    n1.receive(N3, matched(2, 2, 3));
    assert_eq!(n1.commit(), 3);
}

#[test]
fn leaders_do_not_count_entries_of_older_terms() {
    let mut n1 = Replica::new(&[1, 2]).leader();
    n1.persist();
    n1.receive(N2, matched(3, 1, 2));
    n1.receive(N3, matched(3, 2, 2));
    assert_eq!(n1.commit(), 0, "2@2 is everywhere and may still be overwritten");
    n1.receive(N2, matched(3, 1, 3));
    assert_eq!(n1.commit(), 3, "its own no-op commits the rest");
}
