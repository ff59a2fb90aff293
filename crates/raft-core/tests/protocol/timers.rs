//! Time comes with every call (R1), and a run is a function of its inputs (R46).

use crate::cluster::replica::*;
use raft_core::{Input, Instant, RoleKind};
use std::time::Duration;

#[test]
fn the_first_deadline_is_zero_and_the_first_call_starts_the_timers() {
    let mut n1 = Replica::unstarted(&[1, 1], 3, |_, _| ());
    assert_eq!(n1.raft.deadline(), Some(Instant(0)));
    let actions = n1.tick();
    assert_eq!(news(&actions), ["configuration {n1 n2 n3} of 1@1"]);
    let deadline = n1.raft.deadline().expect("a timer runs").since(n1.now);
    assert!((Duration::from_millis(150)..Duration::from_millis(300)).contains(&deadline), "{deadline:?}");
    let mut applied = Replica::unstarted(&[1, 1], 3, |_, restored| restored.applied = raft_core::LogIndex(1));
    assert_eq!(news(&applied.tick()), ["configuration {n1 n2 n3} of 1@1 committed"]);
}

#[test]
fn a_joiner_without_a_configuration_waits_for_ever() {
    let mut n1 = Replica::unstarted(&[], 3, |_, _| ());
    assert!(n1.tick().is_empty());
    assert_eq!(n1.raft.deadline(), None);
    n1.now = Instant(u64::MAX / 2);
    assert!(n1.tick().is_empty());
}

#[test]
fn what_arrives_at_the_deadline_or_after_it_comes_before_the_timer() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    n1.now = n1.raft.deadline().expect("a timer runs");
    n1.receive(N2, heartbeat(2, 2, (2, 1), 0));
    assert_eq!(n1.role(), RoleKind::Follower);
    n1.pass(5_000);
    n1.receive(N2, heartbeat(2, 3, (2, 1), 0));
    assert_eq!(n1.role(), RoleKind::Follower, "even long after it: inputs come first");
    let mut leader = Replica::new(&[1, 1]).established();
    leader.pass(5_000);
    leader.receive(N2, matched(2, 1, 3));
    assert_eq!(leader.role(), RoleKind::Leader);
}

#[test]
fn a_call_before_the_deadline_is_harmless() {
    for role in [Replica::pre_candidate, Replica::voting_for_itself, Replica::candidate, Replica::leader] {
        let mut n1 = role(Replica::new(&[1, 1]));
        n1.persist();
        let (deadline, term) = (n1.raft.deadline(), n1.raft.term());
        n1.now = Instant(deadline.expect("a timer runs").0 - 1);
        let actions = n1.tick();
        assert!(actions.is_empty(), "{actions:?}");
        assert_eq!((n1.raft.deadline(), n1.raft.term()), (deadline, term));
    }
}

#[test]
fn a_time_that_went_back_counts_as_the_latest_seen() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    n1.pass(100);
    n1.tick();
    let mut same = n1.clone();
    n1.now = Instant(0);
    let late = n1.raft.step(raft_core::Message {
        now: Instant(0),
        input: Input::Receive { from: N2, rpc: heartbeat(2, 2, (2, 1), 0) },
    });
    let there = same.receive(N2, heartbeat(2, 2, (2, 1), 0));
    assert_eq!(late, there);
    assert_eq!(n1.raft.digest(), same.raft.digest());
}

#[test]
fn nothing_happens_at_the_end_of_time() {
    for role in [|n1| n1, Replica::pre_candidate, Replica::voting_for_itself, Replica::candidate, Replica::established]
    {
        let mut n1: Replica = role(Replica::new(&[1, 1]));
        n1.now = Instant(u64::MAX);
        for _ in 0..4 {
            n1.tick();
        }
        assert_eq!(n1.raft.deadline(), None, "{}: an instant after the last one means never", n1.role());
        assert!(n1.tick().is_empty(), "{}", n1.role());
    }
}

#[test]
fn only_a_sole_voter_campaigns_in_its_first_call() {
    let mut alone = Replica::unstarted(&[1], 1, |_, _| ());
    alone.tick();
    assert_eq!(alone.role(), RoleKind::Candidate);
    let won = alone.persist();
    assert_eq!(alone.role(), RoleKind::Leader);
    assert_eq!(news(&won), ["leader of term 2 is n1"]);
    assert_eq!(applies(&alone.persist()), ["apply [1@1..2@2]"]);
    assert_eq!(alone.raft.deadline().map(|deadline| deadline.since(alone.now)), Some(Duration::from_millis(50)));
}

#[test]
fn equal_runs_have_equal_digests_and_a_batch_of_one_is_a_step() {
    let run = || Replica::new(&[1, 1]).established();
    assert_eq!(run().raft.digest(), run().raft.digest());
    assert_eq!(run().raft, run().raft);
    let mut other = run();
    let id = raft_core::RequestId(1);
    let batched = other.batch([Input::Propose { id, command: "x".into() }]);
    assert_ne!(run().raft.digest(), other.raft.digest());
    let mut one = run();
    let stepped = one.raft.step(raft_core::Message { now: one.now, input: Input::Propose { id, command: "x".into() } });
    assert_eq!((stepped, one.raft.digest()), (batched, other.raft.digest()));
}

#[test]
fn an_empty_jitter_range_draws_nothing() {
    let fixed = |seed| {
        let mut n1 = Replica::with(&[1, 1], 3, |config, _| {
            config.seed = seed;
            config.election_timeout = Duration::from_millis(200)..Duration::from_millis(200);
        });
        let mut deadlines = Vec::new();
        for _ in 0..4 {
            deadlines.push(n1.raft.deadline().expect("a timer runs").since(n1.now));
            n1.wait();
        }
        deadlines
    };
    assert_eq!(fixed(1), vec![Duration::from_millis(200); 4]);
    assert_eq!(fixed(1), fixed(2));
}

#[test]
fn the_jitter_depends_on_seed_and_restored_state() {
    let draw = |seed, term| {
        let n1 = Replica::with(&[1, 1], 3, |config, restored| {
            config.seed = seed;
            restored.hard_state.term = raft_core::Term(term);
        });
        n1.raft.deadline()
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1), draw(2, 1));
    assert_ne!(draw(1, 1), draw(1, 2), "a node that crashes in a loop draws new timeouts each time");
}
