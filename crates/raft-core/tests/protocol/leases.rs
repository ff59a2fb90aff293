//! A lease read costs no message, and a node serves it only while no other leader can have been elected (R30 to R32;
//! Thesis §6.4.1).
//!
//! The drift bound is 20 % here, so a lease lasts 150 ms x 0.8 / 1.2 = 100 ms.

use crate::cluster::replica::*;
use raft_core::{Action, Config, Input, Instant, MembershipChange, MembershipStep, NodeId, RequestId, RoleKind};
use std::time::Duration;

fn with(adjust: impl FnOnce(&mut Config)) -> Replica {
    Replica::with(&[1, 1], 3, |config, _| {
        config.lease_reads = true;
        config.max_clock_drift_ppm = 200_000;
        adjust(config);
    })
}

/// A leader that has committed and holds no lease: the answers so far had no promise.
fn leader() -> Replica {
    with(|_| ()).established()
}

/// Sends a heartbeat; returns its time and its number for a peer.
fn beat(n1: &mut Replica, peer: NodeId) -> (Instant, u64) {
    n1.pass(50);
    let beat = appends_to(&n1.tick(), peer);
    (n1.now, beat.last().expect("a heartbeat is due").seq.0)
}

/// Sends a heartbeat that the peer answers with the promise that a lease needs; returns the send time.
fn promised(n1: &mut Replica, peer: NodeId) -> Instant {
    let (sent, seq) = beat(n1, peer);
    n1.receive(peer, matched_sticky(2, seq, 3, 150));
    sent
}

/// A leader with a lease by the promise of n2, and the start of the lease.
fn leased() -> (Replica, Instant) {
    let mut n1 = leader();
    let sent = promised(&mut n1, N2);
    assert!(is_served(&n1));
    (n1, sent)
}

/// Whether the node would serve a lease read at once, without a message.
fn is_served(n1: &Replica) -> bool {
    let mut copy = n1.clone();
    let actions = copy.lease_read(900);
    let is_ready = news(&actions).contains(&format!("r900 ready at {}", n1.commit()));
    assert!(!is_ready || copy.raft.status().pending_reads == n1.raft.status().pending_reads);
    is_ready
}

fn is_served_at(n1: &Replica, now: Instant) -> bool {
    let mut copy = n1.clone();
    copy.now = now;
    is_served(&copy)
}

#[test]
fn a_lease_read_costs_no_message_and_a_safe_read_rests_on_no_clock() {
    let (mut n1, _) = leased();
    let actions = n1.lease_read(1);
    assert_eq!((news(&actions), sends(&actions).len()), (vec!["r1 ready at 3".to_string()], 0));
    let asking = n1.read(2);
    assert_eq!((news(&asking).len(), appends_to(&asking, N2).len()), (0, 1));
}

#[test]
fn a_lease_runs_from_the_send_time_and_is_shortened_by_the_drift_but_by_no_older_answer() {
    let mut n1 = leader();
    let (sent, seq) = beat(&mut n1, N2);
    n1.pass(40);
    n1.receive(N2, matched_sticky(2, seq, 3, 150));
    n1.receive(N2, matched_sticky(2, 1, 3, 150));
    assert!(is_served_at(&n1, Instant(sent.0 + 99_999_999)));
    assert!(!is_served_at(&n1, Instant(sent.0 + 100_000_000)));
}

#[test]
fn an_answer_is_dated_by_the_mark_at_or_below_what_it_echoes() {
    let mut n1 = leader();
    let (sent, _) = beat(&mut n1, N2);
    n1.pass(30);
    let later = appends_to(&n1.propose(1), N2)[0].seq.0;
    n1.persist();
    n1.receive(N2, matched_sticky(2, later, 3, 150));
    assert!(is_served_at(&n1, Instant(sent.0 + 99_999_999)));
    assert!(!is_served_at(&n1, Instant(sent.0 + 100_000_000)), "no mark of its own: dated too early, never too late");
}

#[test]
fn a_denial_promises_as_much_as_a_success() {
    let mut n1 = leader();
    let (_, seq) = beat(&mut n1, N3);
    n1.receive(N3, mismatch_sticky(2, seq, (2, 1), (1, 1), 150));
    assert!(is_served(&n1));
}

#[test]
fn without_a_lease_it_is_an_ordinary_read() {
    let mut n1 = leader();
    let sent = promised(&mut n1, N2);
    n1.now = Instant(sent.0 + 100_000_000);
    let asking = n1.lease_read(1);
    assert!(news(&asking).is_empty());
    let round = appends_to(&asking, N2).last().expect("a round").seq.0;
    assert_eq!(news(&n1.receive(N2, matched_sticky(2, round, 3, 150))), ["r1 ready at 3"]);
    assert_eq!(news(&n1.lease_read(2)), ["r2 ready at 3"], "and its answers brought a lease");
}

#[test]
fn leases_are_off_unless_asked_for() {
    let mut n1 = Replica::new(&[1, 1]).established();
    promised(&mut n1, N2);
    assert!(!is_served(&n1));
}

#[test]
fn a_lease_read_waits_for_the_first_commit_of_the_term() {
    let mut n1 = with(|_| ()).leader();
    n1.persist();
    n1.receive(N2, matched_sticky(2, 1, 2, 150));
    assert!(news(&n1.lease_read(1)).is_empty(), "the commit index of earlier terms is not known");
    let (_, seq) = beat(&mut n1, N2);
    assert!(news(&n1.receive(N2, matched_sticky(2, seq, 3, 150))).contains(&"r1 ready at 3".to_string()));
    assert!(is_served(&n1));
}

#[test]
fn only_a_promise_as_long_as_the_own_counts_and_another_is_reported_once() {
    let mut n1 = leader();
    let reports = |actions: &[Action]| events(actions).into_iter().filter(|event| event.contains("sticky")).count();
    for (millis, reported, counts) in
        [(149, 1, false), (149, 0, false), (0, 1, false), (150, 0, true), (149, 1, false), (10_000, 0, true)]
    {
        let (_, seq) = beat(&mut n1, N2);
        let actions = n1.receive(N2, matched_sticky(2, seq, 3, millis));
        assert_eq!((reports(&actions), is_served(&n1)), (reported, counts), "{millis} ms: {actions:?}");
    }
}

#[test]
fn every_half_of_the_latest_configuration_must_have_promised() {
    let (mut n1, _) = leased();
    n1.receive(N3, matched_sticky(2, 2, 3, 150));
    n1.pass(60);
    promised(&mut n1, N2);
    assert!(is_served(&n1), "n1 and n2 of three");
    let change = MembershipChange { steps: vec![MembershipStep::Demote { id: N2 }], ..Default::default() };
    n1.step(Input::ChangeMembership { id: RequestId(1), change });
    assert_eq!(n1.raft.configuration().map(ToString::to_string).as_deref(), Some("{n1 n2 n3 -> n1 n3}"));
    assert!(!is_served(&n1), "n1 alone of the new half: its last promise is over");
    promised(&mut n1, N3);
    assert!(is_served(&n1));
}

#[test]
fn a_peer_that_lost_data_promises_nothing() {
    let (mut n1, _) = leased();
    let (_, seq) = beat(&mut n1, N2);
    n1.receive(N2, mismatch_sticky(2, seq, (3, 2), (2, 1), 150));
    assert!(!is_served(&n1));
}

#[test]
fn a_leader_that_has_sent_timeout_now_has_no_lease_for_the_rest_of_its_term() {
    let (mut n1, _) = leased();
    let mut waiting = n1.clone();
    waiting.propose(1);
    waiting.step(Input::TransferLeadership { id: RequestId(2), to: Some(N3) });
    assert!(is_served(&waiting), "n3 lacks an entry: TimeoutNow has not left");
    let actions = n1.step(Input::TransferLeadership { id: RequestId(1), to: Some(N2) });
    assert!(sends(&actions).contains(&"n2 timeout now term 2 last 3@2".to_string()), "{actions:?}");
    assert!(!is_served(&n1));
    for _ in 0..8 {
        promised(&mut n1, N2);
        assert!(!is_served(&n1), "its message may still be on the way");
    }
    assert_eq!((n1.role(), n1.raft.status().transfer_to), (RoleKind::Leader, None), "it goes on leading");
    n1.lease_read(2);
    let (_, seq) = beat(&mut n1, N2);
    assert_eq!(news(&n1.receive(N2, matched_sticky(2, seq, 3, 150))), ["r2 ready at 3"], "by a round");
}

#[test]
fn without_check_quorum_a_lease_ends_all_the_same() {
    let mut n1 = with(|config| config.check_quorum = false).established();
    let sent = promised(&mut n1, N2);
    assert!(is_served(&n1));
    for _ in 0..2 {
        n1.wait();
    }
    assert!(n1.now >= sent.after(Duration::from_millis(100)) && !is_served(&n1));
    n1.pass(10_000);
    assert_eq!((is_served(&n1), n1.role()), (false, RoleKind::Leader));
}

#[test]
fn every_answer_to_an_append_says_what_it_promises() {
    let answers = |lease_reads, stickiness| {
        let mut n1 = Replica::with(&[1, 1], 3, |config, _| {
            (config.lease_reads, config.stickiness) = (lease_reads, stickiness);
        });
        let mut n1 = {
            n1.tick();
            n1.following(3)
        };
        let mut answers = sends(&n1.receive(N2, heartbeat(3, 2, (2, 1), 0)));
        answers.extend(sends(&n1.receive(N2, heartbeat(3, 3, (3, 1), 0))));
        answers.extend(sends(&n1.receive(N3, heartbeat(3, 4, (2, 1), 0))));
        answers.extend(sends(&n1.receive(N3, heartbeat(2, 5, (2, 1), 0))));
        assert_eq!(answers.len(), 4, "{answers:?}");
        answers.iter().filter(|answer| answer.ends_with(", sticky for 150ms")).count()
    };
    assert_eq!((answers(true, true), answers(false, true), answers(false, false)), (4, 0, 0));
}

#[test]
fn a_sole_voter_with_lease_reads_waits_like_any_node_and_then_needs_no_other() {
    let mut alone = Replica::with(&[1], 1, |config, _| config.lease_reads = true);
    assert_eq!(alone.role(), RoleKind::Follower, "it may have promised to another leader");
    alone.pass(149);
    alone.step(Input::Campaign);
    assert_eq!(alone.role(), RoleKind::Follower);
    alone.wait();
    alone.persist();
    assert_eq!(alone.role(), RoleKind::Leader);
    assert!(news(&alone.lease_read(1)).is_empty(), "not before its first commit");
    alone.persist();
    assert_eq!(news(&alone.lease_read(2)), ["r2 ready at 2"]);
}
