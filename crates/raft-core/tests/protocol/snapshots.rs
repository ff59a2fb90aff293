//! Snapshots: taken, received, sent, and the log that they cover (R35 to R40; Raft §7).

use crate::cluster::meta;
use crate::cluster::replica::*;
use raft_core::*;
use std::time::Duration;

fn received(from: NodeId, term: u64, meta: SnapshotMeta) -> Input {
    Input::SnapshotReceived { from, term: Term(term), meta }
}

fn taken(index: u64) -> Input {
    Input::SnapshotTaken { index: LogIndex(index) }
}

fn applied(n1: &mut Replica, index: u64) -> Vec<Action> {
    n1.step(Input::Applied { index: LogIndex(index) })
}

fn sent(n1: &mut Replica, outcome: SnapshotOutcome) -> Vec<Action> {
    n1.step(Input::SnapshotSent { to: N2, outcome })
}

fn state(n1: &Replica, id: NodeId) -> PeerState {
    n1.raft.status().peers[&id].state
}

const THREE: &str = "{n1 n2 n3}";

fn no_trailing(config: &mut Config, _: &mut RecoveredState) {
    config.trailing_entries = 0;
}

// ---- taken ----

#[test]
fn a_taken_snapshot_is_one_more_record_and_compacts_the_log_once_durable() {
    let mut n1 = Replica::with(&[1, 1, 1], 3, no_trailing).established();
    applied(&mut n1, 3);
    let actions = n1.step(taken(3));
    assert_eq!(write(&actions), Some(format!("persist w3 snapshot 3@1 with {THREE} of 1@1")));
    assert!(news(&actions).is_empty(), "nothing is compacted yet: {actions:?}");
    assert_eq!(n1.raft.status().first, LogIndex(1));
    assert_eq!(news(&n1.persist()), ["compact ..4"]);
    let status = n1.raft.status();
    assert_eq!(
        (status.first, status.last, status.snapshot),
        (LogIndex(4), EntryId::new(4, 2), Some(EntryId::new(3, 1)))
    );
    assert_eq!(n1.raft.configuration(), Some(&meta(3, 1).configuration), "kept with the snapshot");
}

#[test]
fn entries_that_trail_the_snapshot_stay() {
    let mut n1 = Replica::with(&[1, 1, 1], 3, |config, _| config.trailing_entries = 2).established();
    applied(&mut n1, 4);
    n1.step(taken(4));
    assert_eq!(news(&n1.persist()), ["compact ..3"]);
    assert_eq!(n1.raft.status().first, LogIndex(3));
}

#[test]
fn a_taken_snapshot_that_is_not_newer_or_not_applied_is_not_needed() {
    let mut n1 = Replica::with(&[1, 1, 1], 3, no_trailing).established();
    applied(&mut n1, 3);
    n1.step(taken(2));
    for index in [0, 1, 2, 4, u64::MAX] {
        let actions = n1.step(taken(index));
        assert_eq!(write(&actions), None, "{index}");
        assert_eq!(events(&actions), [format!("does not need a snapshot of {index}")]);
    }
    assert!(write(&n1.step(taken(3))).is_some(), "a newer one, while the record of the last one is in flight");
    let raft = &n1.raft;
    assert_eq!(raft.snapshot_meta(LogIndex(2)), None, "below the newest");
    assert_eq!(raft.snapshot_meta(LogIndex(3)), Some(meta(3, 1)));
    assert_eq!(raft.snapshot_meta(LogIndex(4)), None, "not applied");
}

#[test]
fn the_configuration_of_a_snapshot_is_as_of_its_last_entry() {
    let mut n1 = Replica::with(&[1, 1], 1, |config, _| config.trailing_entries = 0);
    n1.persist();
    n1.persist();
    assert_eq!((n1.role(), n1.commit()), (RoleKind::Leader, 3));
    let step = raft_core::MembershipStep::AddLearner { id: N2, context: "b".into() };
    let change = raft_core::MembershipChange { steps: vec![step], ..Default::default() };
    n1.step(Input::ChangeMembership { id: raft_core::RequestId(1), change });
    n1.persist();
    applied(&mut n1, 4);
    let at = |index| n1.raft.snapshot_meta(LogIndex(index)).map(|meta| meta.configured_at);
    assert_eq!((at(3), at(4)), (Some(EntryId::new(1, 1)), Some(EntryId::new(4, 2))));
}

// ---- received ----

#[test]
fn a_snapshot_beyond_the_log_replaces_it_and_is_acknowledged_and_restored_once_durable() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    let actions = n1.step(received(N2, 3, meta(9, 2)));
    assert_eq!(write(&actions), Some(format!("persist w2 snapshot 9@2 with {THREE} of 1@1, log discarded")));
    assert_eq!(news(&actions), [format!("configuration {THREE} of 1@1 committed")], "no restore yet");
    assert!(sends(&actions).is_empty(), "nothing is promised yet: {actions:?}");
    assert_eq!((n1.commit(), n1.last()), (9, 9));
    let status = n1.raft.status();
    assert_eq!((status.durable, status.first), (LogIndex(0), LogIndex(10)), "the old entries may be gone now");

    // The log continues after the snapshot at once, but the state machine must restore it before anything is applied.
    n1.receive(N2, append(3, 2, (9, 2), 10, &[(10, 3)]));
    assert_eq!(n1.commit(), 10);
    let durable = n1.report(2);
    assert_eq!(news(&durable), [format!("restore snapshot 9@2 with {THREE} of 1@1")]);
    assert_eq!(sends(&durable), ["n2 append term 3 s2 match 9"]);
    let rest = n1.persist();
    assert_eq!(
        (applies(&rest), sends(&rest)),
        (vec!["apply [10@3]".into()], vec!["n2 append term 3 s2 match 10".into()])
    );
    applied(&mut n1, 9);
    assert_eq!(n1.raft.applied(), LogIndex(9));
}

#[test]
fn a_stale_snapshot_never_moves_the_state_backwards() {
    let mut n1 = Replica::new(&[1, 1, 1]).following(3);
    n1.receive(N2, append(3, 2, (3, 1), 3, &[]));
    assert_eq!(n1.commit(), 3);
    for (index, term) in [(2, 1), (3, 1)] {
        let actions = n1.step(received(N2, 3, meta(index, term)));
        assert_eq!((write(&actions), n1.last(), n1.commit()), (None, 3, 3));
        assert_eq!(sends(&actions), ["n2 append term 3 s2 match 3"], "the answer uses the local state");
    }
    n1.step(received(N2, 3, meta(9, 2)));
    assert_eq!(write(&n1.step(received(N2, 3, meta(8, 2)))), None, "a newer snapshot is in flight to the disk");
    assert_eq!(n1.last(), 9);
}

#[test]
fn a_snapshot_that_the_log_leads_to_only_moves_the_commit_index() {
    let mut n1 = Replica::new(&[1, 1, 2, 2]).following(3);
    let actions = n1.step(received(N2, 3, meta(3, 2)));
    assert_eq!((write(&actions), n1.commit(), n1.last()), (None, 3, 4), "the suffix stays");
    assert_eq!(applies(&actions), ["apply [1@1..3@2]"]);
    assert_eq!(sends(&actions), ["n2 append term 3 s1 match 3"]);
    assert_eq!(events(&actions), ["commits up to 3", "does not need a snapshot of 3"]);
}

#[test]
fn a_snapshot_replaces_a_conflicting_log() {
    let mut n1 = Replica::new(&[1, 1, 2, 2]).following(4);
    let actions = n1.step(received(N2, 4, meta(3, 3)));
    assert_eq!((n1.last(), n1.commit()), (3, 3));
    assert!(write(&actions).expect("a record").ends_with("log discarded"));
}

#[test]
fn a_snapshot_of_an_older_term_is_used_and_not_answered() {
    let mut n1 = Replica::new(&[1, 1]).following(5);
    n1.step(received(N3, 3, meta(9, 2)));
    assert_eq!((n1.last(), n1.term(), n1.raft.leader()), (9, 5, Some(N2)));
    let durable = n1.persist();
    assert_eq!(news(&durable).len(), 1);
    assert!(sends(&durable).is_empty(), "{durable:?}");
}

#[test]
fn a_snapshot_of_a_higher_term_shows_the_term_and_its_leader_but_is_no_contact() {
    let mut n1 = Replica::new(&[1, 1]);
    let deadline = n1.raft.deadline();
    n1.step(received(N2, 7, meta(9, 2)));
    assert_eq!((n1.term(), n1.raft.leader(), n1.role()), (7, Some(N2), RoleKind::Follower));
    assert_eq!(n1.raft.deadline(), deadline, "its age is unknown");
    let durable = n1.persist();
    assert!(sends(&durable).is_empty(), "an answer echoes an append, and there was none: {durable:?}");
    let answer = sends(&n1.receive(N2, heartbeat(7, 4, (9, 2), 9)));
    assert_eq!(answer, ["n2 append term 7 s4 match 9"]);
}

#[test]
fn a_candidate_gives_up_when_a_snapshot_replaces_its_log() {
    for mut n1 in [Replica::new(&[1, 1]).candidate(), Replica::new(&[1, 1]).pre_candidate()] {
        n1.step(received(N2, 1, meta(9, 1)));
        assert_eq!((n1.role(), n1.last()), (RoleKind::Follower, 9));
    }
    let mut untouched = Replica::new(&[1, 1]).candidate();
    untouched.step(received(N2, 1, meta(2, 1)));
    assert_eq!((untouched.role(), untouched.commit()), (RoleKind::Candidate, 2), "nothing changes its content");
}

#[test]
fn impossible_snapshots_are_ignored() {
    let table = [
        (N2, 3, meta(0, 0)),
        (N2, 3, meta(9, 4)),
        (N2, 0, meta(9, 0)),
        (N2, u64::MAX, meta(9, 2)),
        (N2, 3, SnapshotMeta { configuration: Configuration::default(), ..meta(9, 2) }),
        (N2, 3, SnapshotMeta { configured_at: EntryId::new(10, 2), ..meta(9, 2) }),
        (N2, 3, SnapshotMeta { configured_at: EntryId::ZERO, ..meta(9, 2) }),
        (N2, 3, meta(u64::MAX, 2)),
        (N1, 3, meta(9, 2)),
        (N3, 3, meta(9, 2)),
    ];
    for (from, term, meta) in table {
        let mut n1 = Replica::new(&[1, 1]).following(3);
        let before = n1.raft.digest();
        n1.step(received(from, term, meta.clone()));
        assert_eq!(n1.raft.digest(), before, "{from} {term} {meta}");
    }
    let mut leader = Replica::new(&[1, 1]).established();
    let before = leader.raft.digest();
    leader.step(received(N2, 1, meta(9, 1)));
    leader.step(received(N2, 2, meta(9, 1)));
    assert_eq!(leader.raft.digest(), before, "a leader's log has all entries");
}

#[test]
fn the_configuration_of_an_installed_snapshot_is_in_force() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    let five = Configuration::of_voters((1..=5).map(NodeId));
    let meta = SnapshotMeta { configuration: five.clone(), configured_at: EntryId::new(4, 2), ..meta(9, 2) };
    let actions = n1.step(received(N2, 3, meta));
    assert_eq!(n1.raft.configuration(), Some(&five));
    assert_eq!(news(&actions), ["configuration {n1 n2 n3 n4 n5} of 4@2 committed"]);
}

#[test]
fn appends_that_begin_before_the_snapshot_are_skipped_up_to_it() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    n1.step(received(N2, 3, meta(9, 2)));
    n1.persist();
    let actions = n1.receive(N2, append(3, 2, (5, 1), 9, &[(6, 1), (7, 1), (8, 2), (9, 2), (10, 3)]));
    assert!(write(&actions).expect("a record").ends_with("[10@3]"), "{actions:?}");
    assert_eq!(sends(&n1.receive(N2, heartbeat(3, 3, (4, 1), 4))), ["n2 append term 3 s3 match 9"]);
    let refused = n1.receive(N2, heartbeat(3, 4, (12, 3), 9));
    assert_eq!(sends(&refused), ["n2 append term 3 s4 refused: no entry 12@3, at best 10@3, Raft §5.3"]);
    let conflict = n1.receive(N2, heartbeat(3, 5, (9, 3), 9));
    assert_eq!(
        news(&conflict),
        ["leader of term 3 is unknown", "stopped: 9@2 is committed and the leader sent 9@3 for it"]
    );
}

// ---- restart ----

#[test]
fn a_start_below_the_snapshot_begins_with_it_and_keeps_the_whole_log() {
    for snapshot in [1, 2] {
        let n1 = Replica::with(&[1, 1, 1], 3, |_, restored| restored.snapshot = Some(meta(snapshot, 1)));
        assert_eq!(n1.raft.status().first, LogIndex(1), "a snapshot of {snapshot} has not shortened the log");
    }
    let mut n1 = Replica::unstarted(&[1, 1, 1, 2], 3, |_, restored| restored.snapshot = Some(meta(3, 1)));
    assert_eq!((n1.commit(), n1.raft.applied()), (3, LogIndex(0)));
    let actions = n1.tick();
    assert!(news(&actions).contains(&format!("restore snapshot 3@1 with {THREE} of 1@1")), "{actions:?}");
    let mut current = Replica::unstarted(&[1, 1, 1, 2], 3, |_, restored| {
        restored.snapshot = Some(meta(3, 1));
        restored.applied = LogIndex(3);
    });
    assert!(!news(&current.tick()).iter().any(|news| news.starts_with("restore")));
}

#[test]
fn a_start_without_a_log_goes_on_after_the_snapshot() {
    let mut n1 = Replica::with(&[], 3, |_, restored| {
        restored.hard_state.term = Term(2);
        restored.snapshot = Some(meta(9, 2));
    });
    assert_eq!((n1.last(), n1.commit(), n1.raft.configuration().is_some()), (9, 9, true));
    n1.receive(N2, append(2, 1, (9, 2), 9, &[(10, 2)]));
    assert_eq!(sends(&n1.persist()), ["n2 append term 2 s1 match 10"]);
}

// ---- sent ----

/// A leader with five entries, four of them covered by a snapshot; n3 has the whole log, n2 has not answered.
fn compacted(adjust: impl FnOnce(&mut Config)) -> Replica {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |config, _| {
        config.trailing_entries = 0;
        adjust(config);
    })
    .leader();
    n1.persist();
    n1.receive(N3, matched(2, 2, 5));
    applied(&mut n1, 5);
    n1.step(taken(4));
    n1.persist();
    assert_eq!((n1.raft.status().first, n1.commit()), (LogIndex(5), 5));
    n1
}

/// The newest append to n2.
fn beat(n1: &mut Replica) -> raft_core::AppendEntries {
    n1.pass(50);
    appends_to(&n1.tick(), N2).pop().expect("a heartbeat")
}

/// n2 denies all entries of the log; the snapshot leaves.
pub(crate) fn sending(adjust: impl FnOnce(&mut Config)) -> Replica {
    let mut n1 = compacted(adjust);
    n1.receive(N3, matched(2, 2, 5));
    let denied = n1.receive(N2, mismatch(2, 1, (4, 1), (2, 1)));
    assert_eq!(news(&denied), [format!("-> n2 term 2 snapshot 4@1 with {THREE} of 1@1")]);
    assert_eq!(state(&n1, N2), PeerState::Snapshot);
    n1
}

#[test]
fn only_a_peer_that_denies_the_earliest_place_gets_a_snapshot() {
    let mut n1 = compacted(|_| ());
    let probe = beat(&mut n1);
    assert_eq!(
        (probe.prev, state(&n1, N2)),
        (EntryId::new(4, 1), PeerState::Probe),
        "a peer that is away costs nothing"
    );
    let mut n1 = sending(|_| ());
    let beat = beat(&mut n1);
    assert_eq!((beat.prev, beat.entries.len()), (EntryId::new(4, 1), 0), "empty appends probe the entry after it");
    let denied = n1.receive(N2, mismatch(2, beat.seq.0, (4, 1), (2, 1)));
    assert!(news(&denied).is_empty(), "one at a time: {denied:?}");
    assert!(appends_to(&n1.propose(1), N2).is_empty());
    assert_eq!(n1.raft.status().peers[&N2].snapshot, Some(EntryId::new(4, 1)));
}

#[test]
fn whatever_brings_the_peer_to_the_log_ends_the_sending() {
    let mut n1 = sending(|_| ());
    let actions = n1.receive(N2, matched(2, 1, 4));
    assert_eq!((state(&n1, N2), appends_to(&actions, N2).len()), (PeerState::Replicate, 1));
    assert_eq!(n1.raft.status().peers[&N2].snapshot, None);
    let mut below = sending(|_| ());
    below.receive(N2, matched(2, 1, 2));
    assert_eq!(state(&below, N2), PeerState::Snapshot, "its last entry is not in the log");
}

#[test]
fn a_delivered_snapshot_is_asked_for_by_the_next_heartbeat() {
    let mut n1 = sending(|_| ());
    assert!(sends(&sent(&mut n1, SnapshotOutcome::Delivered)).is_empty());
    assert_eq!(state(&n1, N2), PeerState::Probe);
    let probe = beat(&mut n1);
    assert_eq!(probe.prev, EntryId::new(4, 1));
    assert!(appends_to(&n1.tick(), N2).is_empty(), "one probe at a time, even if it is empty");
    // The entry is not durable there yet: the position is right, the match is not.
    let actions = n1.receive(N2, matched(2, probe.seq.0, 2));
    let next = appends_to(&actions, N2);
    assert_eq!((next[0].prev, next[0].entries.len(), state(&n1, N2)), (EntryId::new(4, 1), 1, PeerState::Replicate));
}

#[test]
fn a_failed_or_silent_snapshot_is_abandoned_and_sent_again_only_when_the_peer_answers() {
    let mut n1 = sending(|_| ());
    let failed = sent(&mut n1, SnapshotOutcome::Failed);
    assert_eq!(events(&failed), ["abandons the snapshot of 4@1 for n2: it failed"]);
    let probe = beat(&mut n1);
    let again = n1.receive(N2, mismatch(2, probe.seq.0, (4, 1), (2, 1)));
    assert_eq!(news(&again).len(), 1, "{again:?}");

    let mut n1 = sending(|config| config.snapshot_timeout = Duration::from_millis(80));
    n1.pass(79);
    sent(&mut n1, SnapshotOutcome::Progress);
    n1.pass(79);
    n1.receive(N3, matched(2, 2, 5));
    assert_eq!(state(&n1, N2), PeerState::Snapshot, "it made progress");
    n1.pass(1);
    assert_eq!(events(&n1.tick()), ["abandons the snapshot of 4@1 for n2: no progress in time"]);
    assert_eq!(state(&n1, N2), PeerState::Probe);
    for outcome in [SnapshotOutcome::Progress, SnapshotOutcome::Delivered, SnapshotOutcome::Failed] {
        let before = n1.raft.digest();
        sent(&mut n1, outcome);
        assert_eq!(n1.raft.digest(), before, "obsolete");
    }
}

#[test]
fn the_log_after_a_snapshot_on_its_way_stays_for_a_while() {
    let grow = |n1: &mut Replica| {
        for id in 1..=2 {
            n1.propose(id);
        }
        n1.persist();
        n1.pass(50);
        let seq = appends_to(&n1.tick(), N3).pop().expect("a heartbeat").seq.0;
        n1.receive(N3, matched(2, seq, 7));
        applied(n1, 7);
        n1.step(taken(7));
        n1.persist()
    };
    let mut patient = sending(|_| ());
    assert!(news(&grow(&mut patient)).is_empty(), "the peer needs entry 5 next");
    assert_eq!(patient.raft.status().first, LogIndex(5));
    assert!(
        news(&sent(&mut patient, SnapshotOutcome::Delivered)).is_empty(),
        "otherwise it would need the next one at once"
    );
    assert!(
        news(&patient.receive(N2, matched(2, 1, 4))).is_empty(),
        "the peer has it, and the entries that it needs are in flight"
    );
    assert_eq!(news(&patient.receive(N2, matched(2, 1, 7))), ["compact ..8"], "beyond the newer snapshot");

    let mut impatient = sending(|config| config.max_retained_bytes = 49);
    let actions = grow(&mut impatient);
    assert_eq!(news(&actions), ["compact ..8"]);
    assert_eq!(events(&actions), ["abandons the snapshot of 4@1 for n2: the log continues after a later one"]);
    assert_eq!(state(&impatient, N2), PeerState::Probe);
}

#[test]
fn a_peer_that_offers_less_than_it_acknowledged_has_lost_data_wherever_the_log_begins() {
    let mut n1 = compacted(|_| ());
    let probe = beat(&mut n1);
    n1.receive(N2, matched(2, probe.seq.0, 5));
    n1.pass(50);
    n1.tick();
    n1.propose(1);
    n1.pass(50);
    let next = appends_to(&n1.tick(), N2).pop().expect("a heartbeat");
    let denied = n1.receive(N2, mismatch(2, next.seq.0, (next.prev.index.0, next.prev.term.0), (0, 0)));
    assert!(events(&denied).iter().any(|event| event.starts_with("n2 lost data")), "{denied:?}");
    assert_eq!(state(&n1, N2), PeerState::LostData);
}

#[test]
fn a_log_that_was_never_compacted_needs_no_snapshot() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N3).pop().expect("a heartbeat");
    let denied = n1.receive(N3, mismatch(2, beat.seq.0, (beat.prev.index.0, beat.prev.term.0), (0, 0)));
    assert_eq!(appends_to(&denied, N3)[0].prev, EntryId::ZERO);
    assert_eq!(state(&n1, N3), PeerState::Probe);
}

#[test]
fn an_unreachable_peer_is_probed_where_the_log_begins_at_the_earliest() {
    let mut n1 = compacted(|_| ());
    n1.receive(N2, matched(2, 1, 2));
    assert_eq!(state(&n1, N2), PeerState::Replicate, "it holds the entry, although not durably");
    n1.step(Input::Unreachable { peer: N2 });
    assert_eq!(beat(&mut n1).prev, EntryId::new(4, 1));
}

#[test]
fn a_snapshot_that_contradicts_the_leader_of_this_term_is_ignored() {
    let mut n1 = Replica::new(&[1, 1, 2, 2]).following(4);
    n1.receive(N2, append(4, 2, (4, 2), 0, &[]));
    let before = n1.raft.digest();
    n1.step(received(N2, 4, meta(3, 3)));
    assert_eq!((n1.raft.digest(), n1.last()), (before, 4), "what is acknowledged stays");
}
