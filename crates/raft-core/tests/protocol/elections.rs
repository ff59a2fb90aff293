//! Stickiness is a duration and does not depend on the leader (R16); check-quorum (R17); pre-votes (R18); campaigns on
//! request; rounds.

use crate::cluster::replica::*;
use raft_core::{Input, Instant, RoleKind, Term};

/// Whether the node refuses votes and pre-votes and ignores their terms.
fn is_sticky(n1: &Replica) -> bool {
    let (mut vote, mut pre_vote_) = (n1.clone(), n1.clone());
    let term = n1.term();
    let refusal = format!("n3 vote term {term} refused: a leader is alive, Thesis §4.2.3");
    let refused = sends(&vote.receive(N3, request_vote(term + 7, (99, term)))).contains(&refusal);
    let refusal = format!("n3 pre-vote p1 term {term} refused: a leader is alive, Thesis §4.2.3");
    let refused = refused && sends(&pre_vote_.receive(N3, pre_vote(term + 7, 1, (99, term)))).contains(&refusal);
    assert_eq!(refused, vote.term() == term, "the node ignores the term of a refused request");
    refused
}

/// Checks that the node is sticky for exactly 150 ms from now on.
fn is_sticky_for_the_window(mut n1: Replica) {
    assert!(is_sticky(&n1));
    n1.now = Instant(n1.now.0 + 149_999_999);
    assert!(is_sticky(&n1), "until the last nanosecond");
    n1.now = Instant(n1.now.0 + 1);
    assert!(!is_sticky(&n1));
}

#[test]
fn a_follower_is_sticky_after_contact() {
    is_sticky_for_the_window(Replica::new(&[1, 1]).following(3));
    let learner = Replica::with(&[1, 1], 3, |config, _| config.id = N9);
    assert_eq!(learner.raft.deadline(), None, "it never campaigns");
    is_sticky_for_the_window(learner.following(3));
    // A restarted node may have had contact just before the crash.
    is_sticky_for_the_window(Replica::new(&[1, 1]));
}

#[test]
fn a_rejected_or_ignored_append_is_contact_too() {
    for rpc in [append(3, 2, (9, 3), 0, &[]), append(3, 2, (2, 1), 0, &[(3, 3)])] {
        let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_unpersisted_bytes = 1).following(3);
        n1.receive(N2, append(3, 1, (2, 1), 0, &[(3, 3)]));
        n1.pass(149);
        n1.receive(N2, rpc);
        is_sticky_for_the_window(n1);
    }
}

#[test]
fn candidates_of_both_kinds_are_sticky_after_contact() {
    let short = |role: fn(Replica) -> Replica| {
        let mut n1 = role(Replica::new(&[1, 1]).following(1));
        // An append of another term's leader is contact too, so the window starts again.
        assert!(!is_sticky(&n1), "the window was over when the timer fired");
        n1.receive(N2, heartbeat(n1.term() + 1, 1, (2, 1), 0));
        n1
    };
    is_sticky_for_the_window(short(Replica::pre_candidate));
    is_sticky_for_the_window(short(Replica::candidate));
}

#[test]
fn the_window_outlives_the_role_in_which_it_began() {
    // The node campaigns as early as possible, and has had no contact since.
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.pre_vote = false);
    n1.receive(N2, heartbeat(1, 1, (2, 1), 0));
    n1.pass(150);
    n1.step(Input::Campaign);
    assert_eq!((n1.role(), n1.term()), (RoleKind::Candidate, 2));
    n1.receive(N3, heartbeat(2, 1, (2, 1), 0));
    n1.receive(N3, stale_term(5, 1));
    assert_eq!((n1.role(), n1.term(), n1.raft.leader()), (RoleKind::Follower, 5, None), "its leader is gone");
    is_sticky_for_the_window(n1);
}

#[test]
fn a_leader_with_a_quorum_is_sticky_and_one_without_is_not() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.check_quorum = false).established();
    is_sticky_for_the_window(n1.clone());
    n1.pass(140);
    n1.receive(N3, matched(2, 2, 3));
    is_sticky_for_the_window(n1.clone());
    n1.pass(100);
    n1.receive(N3, matched(2, 9_999, 3));
    assert!(is_sticky(&n1));
    n1.pass(50);
    assert!(!is_sticky(&n1), "a refused answer is no contact");
}

#[test]
fn a_leader_that_stepped_down_stays_sticky() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.receive(N3, stale_term(4, 2));
    assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 4), "an answer teaches a term inside the window");
    is_sticky_for_the_window(n1);
}

#[test]
fn granting_is_no_contact() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.pass(150);
    n1.receive(N2, request_vote(5, (2, 1)));
    n1.persist();
    assert!(!is_sticky(&n1));
}

#[test]
fn a_sole_voter_and_a_node_with_stickiness_off_are_not_sticky() {
    assert!(!is_sticky(&Replica::with(&[1, 1], 1, |_, _| ())));
    assert!(!is_sticky(&Replica::with(&[1, 1], 3, |config, _| config.stickiness = false).following(3)));
}

#[test]
fn check_quorum_steps_down_an_election_timeout_after_the_last_quorum() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.pass(100);
    n1.receive(N2, mismatch(2, 1, (2, 1), (1, 1)));
    let end = Instant(n1.now.0 + 300_000_000);
    n1.now = Instant(end.0 - 1);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Leader, "a rejection is an answer");
    n1.read(4);
    n1.now = end;
    let actions = n1.tick();
    assert_eq!(
        news(&actions),
        ["r4 failed: not the leader; none is known", "leadership of term 2 lost", "leader of term 2 is unknown"]
    );
    assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 2));
}

#[test]
fn a_new_leader_has_an_election_timeout_to_reach_a_quorum() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.now = Instant(n1.now.0 + 299_999_999);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Leader);
    n1.now = Instant(n1.now.0 + 1);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Follower);
}

#[test]
fn a_learner_is_no_quorum_and_a_sole_voter_is_one() {
    let mut alone = Replica::with(&[1], 1, |_, _| ());
    alone.persist();
    alone.persist();
    alone.pass(100_000);
    alone.tick();
    assert_eq!(alone.role(), RoleKind::Leader);
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.check_quorum = false).leader();
    n1.persist();
    n1.pass(100_000);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Leader, "switched off");
}

#[test]
fn a_request_to_campaign_is_refused_where_it_may_not() {
    let refusal = |n1: &mut Replica| {
        let (term, role) = (n1.term(), n1.role());
        let actions = n1.step(Input::Campaign);
        assert_eq!((n1.term(), n1.role()), (term, role));
        events(&actions)
    };
    let mut inside = Replica::new(&[1, 1]).following(3);
    inside.pass(149);
    assert_eq!(refusal(&mut inside), ["does not campaign: a leader is alive, Thesis §4.2.3"]);
    let mut learner = Replica::with(&[1, 1], 3, |config, _| config.id = N9);
    learner.pass(1_000);
    assert_eq!(refusal(&mut learner), ["does not campaign: not a voter"]);
    assert_eq!(refusal(&mut Replica::new(&[1, 1]).leader()), ["does not campaign: already leads"]);
    let mut in_flight = Replica::new(&[1, 1]).voting_for_itself();
    assert_eq!(refusal(&mut in_flight), ["does not campaign: the last vote is not durable yet"]);
    let mut free = Replica::new(&[1, 1]).following(3);
    free.pass(150);
    free.step(Input::Campaign);
    assert_eq!(free.role(), RoleKind::PreCandidate);
}

#[test]
fn no_new_round_while_the_write_of_the_last_is_in_flight() {
    let mut n1 = Replica::new(&[1, 1]).voting_for_itself();
    n1.pass(10_000);
    n1.tick();
    assert_eq!((n1.term(), n1.last_write.0), (2, 1), "as a candidate");
    // The write is the same, but n3 has won the term meanwhile and then sends nothing.
    n1.receive(N3, heartbeat(2, 1, (2, 1), 0));
    assert_eq!(n1.role(), RoleKind::Follower);
    n1.pass(10_000);
    assert!(sends(&n1.tick()).is_empty());
    n1.step(Input::Campaign);
    assert_eq!((n1.role(), n1.term(), n1.last_write.0), (RoleKind::Follower, 2, 1), "as a follower");
    assert_eq!(n1.raft.deadline(), None, "an input other than the disk's changes nothing");
    n1.persist();
    assert_eq!(n1.role(), RoleKind::PreCandidate, "its timer ran out long ago");
}

#[test]
fn a_pre_vote_shows_no_term_and_is_answered_with_the_own() {
    let mut n1 = Replica::new(&[1, 1]);
    n1.pass(150);
    let deadline = n1.raft.deadline();
    let actions = n1.receive(N2, pre_vote(9, 4, (2, 1)));
    assert_eq!(sends(&actions), ["n2 pre-vote p4 term 1 granted"]);
    assert_eq!((n1.term(), n1.raft.deadline(), write(&actions)), (1, deadline, None));
    let both = n1.receive(N3, pre_vote(9, 1, (2, 1)));
    assert_eq!(sends(&both), ["n3 pre-vote p1 term 1 granted"], "it is not a vote: a node may grant any number");
    let stale = n1.receive(N3, pre_vote(1, 2, (2, 1)));
    assert_eq!(sends(&stale), ["n3 pre-vote p2 term 1 refused: its term is behind, Raft §5.1"]);
    let behind = n1.receive(N3, pre_vote(2, 3, (1, 1)));
    assert_eq!(sends(&behind), ["n3 pre-vote p3 term 1 refused: its log is behind 2@1, Raft §5.4.1"]);
}

#[test]
fn answers_of_a_pre_vote_round_that_is_over_change_nothing() {
    let mut n1 = Replica::new(&[1, 1]).pre_candidate();
    n1.wait();
    for rpc in [pre_vote_granted(1, 1), pre_vote_refused(9, 1)] {
        assert_eq!(events(&n1.receive(N2, rpc)), ["ignores n2: it answers no current request"]);
        assert_eq!((n1.role(), n1.term()), (RoleKind::PreCandidate, 1));
    }
    n1.receive(N9, pre_vote_granted(1, 2));
    assert_eq!(n1.role(), RoleKind::PreCandidate, "n9 is no voter");
    n1.receive(N2, pre_vote_refused(9, 2));
    assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 9), "the running round's answer teaches its term");
}

#[test]
fn a_pre_vote_round_changes_nothing_durable() {
    let mut n1 = Replica::new(&[1, 1]);
    for round in 1..=5 {
        let actions = n1.wait();
        assert_eq!(write(&actions), None);
        assert_eq!(sends(&actions)[0], format!("n2 pre-vote p{round} term 2 last 2@1"));
    }
    assert_eq!(n1.term(), 1);
}

#[test]
fn only_answers_of_this_term_are_votes_and_a_request_unseats_no_candidate() {
    let mut candidate = Replica::new(&[1, 1]).candidate();
    let term = candidate.term();
    let ignored = candidate.receive(N2, granted(term - 1));
    assert_eq!(candidate.role(), RoleKind::Candidate, "of an older round: {ignored:?}");
    let answer = sends(&candidate.receive(N3, request_vote(term, (2, 1))));
    assert_eq!(candidate.role(), RoleKind::Candidate, "{answer:?}");
    candidate.receive(N2, granted(term));
    assert_eq!(candidate.role(), RoleKind::Leader);
}

#[test]
fn a_pre_candidate_that_votes_for_another_gives_up_its_round() {
    let mut voter = Replica::with(&[1, 1], 3, |_, restored| restored.hard_state.term = Term(4)).pre_candidate();
    voter.receive(N2, request_vote(4, (2, 1)));
    assert_eq!((voter.role(), voter.term()), (RoleKind::Follower, 4));
    let mut follower = Replica::with(&[1, 1], 3, |config, _| config.stickiness = false).following(4);
    follower.receive(N3, request_vote(4, (2, 1)));
    assert_eq!(follower.raft.leader(), Some(N2), "a follower that votes in its leader's term keeps its state");
}
