//! Raft Figure 3 and its consequences, under random schedules: messages are reordered, lost and repeated, writes are
//! reported late, crashes lose any unreported suffix, and clocks differ.

use crate::cluster::history::{History, Property};
use crate::cluster::replica::{granted, matched, request_vote};
use crate::cluster::schedule::{for_random_cases, schedule};
use crate::cluster::{Cluster, Image, entry, image, meta};
use raft_core::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Runs random schedules and then repairs all faults: no property is violated, and the cluster makes progress again.
/// The `marks` show that the difficult cases happened.
fn all_properties_hold(cluster: fn(u64) -> Cluster, stream: u64, cases: u32, marks: &[&str]) {
    let happened: RefCell<BTreeMap<&'static str, u64>> = RefCell::default();
    for_random_cases(stream, cases, &schedule(600), |(size, happenings)| {
        let mut cluster = cluster(size);
        happenings.iter().for_each(|happening| cluster.happen(happening));
        if !cluster.heals() {
            cluster.history.violated(Property::Progress, "the repaired cluster makes no progress".into());
        }
        let violations = cluster.history.violations();
        assert!(violations.is_empty(), "{violations:#?}\n{}", cluster.trace.join("\n"));
        for (mark, count) in cluster.history.marks() {
            *happened.borrow_mut().entry(mark).or_default() += count;
        }
    });
    let happened = happened.into_inner();
    let rare: Vec<_> = marks.iter().filter(|&mark| happened.get(mark).is_none_or(|&count| count < 20)).collect();
    assert!(rare.is_empty(), "hardly any {rare:?}: {happened:?}");
}

#[test]
fn all_properties_hold_under_random_schedules() {
    let usual = ["election", "conflict", "truncation", "crash", "write lost", "commit", "read"];
    let snapshots = ["snapshot taken", "snapshot sent", "snapshot received", "stale snapshot", "snapshot installed"];
    let changes = ["transfer", "configuration", "joint configuration", "stall", "restore", "compaction", "read back"];
    all_properties_hold(Cluster::for_schedules, 1, 200, &[&usual[..], &snapshots, &changes].concat());
}

/// The same test for lease reads, with clocks that drift as much as allowed.
#[test]
fn all_properties_hold_with_leases_and_drifting_clocks() {
    let marks = ["election", "crash", "commit", "read", "lease read", "usurped", "transfer", "configuration"];
    all_properties_hold(Cluster::for_leases, 11, 300, &marks);
}

// ---- each checker fires ----

fn leader(term: u64) -> (RoleKind, Term) {
    (RoleKind::Leader, Term(term))
}

fn follower(term: u64) -> (RoleKind, Term) {
    (RoleKind::Follower, Term(term))
}

fn violated(history: &History) -> Vec<Property> {
    history.violations().keys().copied().collect()
}

#[test]
fn two_leaders_of_a_term_are_seen() {
    let mut history = History::default();
    history.stepped(NodeId(1), follower(2), leader(2), LogIndex(0), &[]);
    history.stepped(NodeId(2), follower(2), leader(3), LogIndex(0), &[]);
    assert!(history.violations().is_empty());
    history.stepped(NodeId(2), follower(1), leader(2), LogIndex(0), &[]);
    assert_eq!(violated(&history), [Property::ElectionSafety]);
}

#[test]
fn a_log_that_grew_from_another_past_is_seen() {
    let mut history = History::default();
    history.wrote(&[entry(1, 1, 3), entry(2, 1, 3), entry(3, 3, 3)], 0);
    history.wrote(&[entry(1, 1, 3), entry(2, 2, 3)], 0);
    assert!(history.violations().is_empty());
    history.wrote(&[entry(1, 1, 3), entry(2, 2, 3), entry(3, 3, 3)], 2);
    assert_eq!(violated(&history), [Property::LogMatching]);
}

#[test]
fn a_leader_without_a_committed_entry_is_seen() {
    let log = image(1, &[1, 1], 3).log;
    let mut history = History::default();
    history.stepped(NodeId(1), leader(1), leader(1), LogIndex(2), &log);
    history.stepped(NodeId(2), follower(2), leader(2), LogIndex(0), &log);
    assert!(history.violations().is_empty());
    history.stepped(NodeId(3), follower(3), leader(3), LogIndex(0), &log[..1]);
    assert_eq!(violated(&history), [Property::LeaderCompleteness]);
}

#[test]
fn different_entries_at_one_place_are_seen() {
    let mut history = History::default();
    history.applied(NodeId(1), 1, &entry(2, 1, 3), &image(1, &[1, 1], 3));
    assert!(history.violations().is_empty());
    history.applied(NodeId(2), 1, &entry(2, 2, 3), &image(2, &[1, 2], 3));
    assert_eq!(violated(&history), [Property::StateMachineSafety]);
}

#[test]
fn a_leader_that_truncates_is_seen() {
    let mut history = History::default();
    let write = Write {
        id: WriteId(2),
        hard_state: None,
        truncate_from: Some(LogIndex(2)),
        snapshot: None,
        entries: vec![entry(2, 5, 3)].into(),
    };
    history.asked_to_write(NodeId(1), leader(4), follower(5), &write);
    history.asked_to_write(NodeId(1), follower(5), follower(5), &write);
    assert!(history.violations().is_empty());
    history.asked_to_write(NodeId(1), leader(5), leader(5), &write);
    assert_eq!(violated(&history), [Property::LeaderAppendOnly]);
}

#[test]
fn two_votes_of_a_term_are_seen() {
    let mut history = History::default();
    for (to, term) in [(2, 5), (2, 5), (3, 6)] {
        let mut disk = image(term, &[1], 3);
        disk.hard_state = HardState { term: Term(term), voted_for: Some(NodeId(to)) };
        history.sent(NodeId(1), NodeId(to), &granted(term), &disk);
    }
    assert!(history.violations().is_empty());
    let mut disk = image(5, &[1], 3);
    disk.hard_state.voted_for = Some(NodeId(3));
    history.sent(NodeId(1), NodeId(3), &granted(5), &disk);
    assert_eq!(violated(&history), [Property::OneVoteATerm]);
}

#[test]
fn a_promise_before_the_disk_is_seen() {
    for rpc in [granted(2), matched(1, 1, 3), request_vote(2, (2, 1))] {
        let mut history = History::default();
        history.sent(NodeId(1), NodeId(2), &rpc, &image(1, &[1, 1], 3));
        assert_eq!(violated(&history), [Property::PromisesAfterTheDisk], "{rpc}");
    }
    let mut history = History::default();
    history.applied(NodeId(1), 2, &entry(3, 1, 3), &image(1, &[1, 1], 3));
    assert_eq!(violated(&history), [Property::PromisesAfterTheDisk]);
}

#[test]
fn a_stale_read_is_seen() {
    let mut history = History::default();
    history.asked(NodeId(1), RequestId(1), Some(LogIndex(4)));
    history.answered(NodeId(1), &Action::ReadReady { id: RequestId(1), index: LogIndex(3) });
    assert_eq!(violated(&history), [Property::LinearizableReads]);
}

#[test]
fn a_second_answer_is_seen() {
    let mut history = History::default();
    history.asked(NodeId(1), RequestId(1), None);
    let answer = Action::Appended { id: RequestId(1), entry: EntryId::new(2, 1) };
    history.answered(NodeId(1), &answer);
    assert!(history.violations().is_empty());
    history.answered(NodeId(1), &answer);
    assert_eq!(violated(&history), [Property::OneAnswerARequest]);
}

#[test]
fn a_snapshot_that_is_older_or_does_not_match_its_log_is_seen() {
    let record = |meta, log| Write {
        snapshot: Some(SnapshotRecord { meta, log }),
        ..Write::bootstrap(Configuration::of_voters([NodeId(1)]))
    };
    let five = Configuration::of_voters((1..=5).map(NodeId));
    let mut memory = image(1, &[1, 1, 1], 3);
    memory.snapshot = Some(meta(2, 1));
    let table = [
        (record(meta(3, 1), InstallMode::Keep), true),
        (record(meta(2, 1), InstallMode::Keep), false),
        (record(meta(3, 1), InstallMode::Discard), false),
        (record(SnapshotMeta { configuration: five, ..meta(3, 1) }, InstallMode::Keep), false),
    ];
    for (write, is_legal) in table {
        let mut history = History::default();
        history.snapshot_recorded(NodeId(1), &write, &memory);
        let expected = if is_legal { vec![] } else { vec![Property::Snapshots] };
        assert_eq!(violated(&history), expected, "{write}");
    }
}

#[test]
fn a_snapshot_used_or_a_log_compacted_or_read_before_the_disk_is_seen() {
    let mut disk = image(1, &[1, 1, 1], 3);
    disk.snapshot = Some(meta(2, 1));
    let uses: [fn(&mut History, &Image); 6] = [
        |history, disk| history.snapshot_used(NodeId(1), "sends", &meta(2, 1), disk),
        |history, disk| history.compacted(NodeId(1), LogIndex(3), disk),
        |history, disk| history.read_asked(NodeId(1), LogIndex(3), disk),
        |history, disk| history.snapshot_used(NodeId(1), "restores", &meta(3, 1), disk),
        |history, disk| history.compacted(NodeId(1), LogIndex(4), disk),
        |history, disk| history.read_asked(NodeId(1), LogIndex(4), disk),
    ];
    for (place, call) in uses.iter().enumerate() {
        let mut history = History::default();
        call(&mut history, &disk);
        let expected = if place < 3 { vec![] } else { vec![Property::PromisesAfterTheDisk] };
        assert_eq!(violated(&history), expected, "use {place}");
    }
}
