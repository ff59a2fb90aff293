//! Raft Figure 3 and what follows from it, under random schedules: messages in any order, lost and repeated, writes
//! reported late, crashes that lose any unreported suffix, time that passes for one node and not for another.

use crate::cluster::history::{History, Property};
use crate::cluster::schedule::{runner, schedule};
use crate::cluster::{Cluster, entry, image};
use proptest::test_runner::TestCaseError;
use raft_core::{
    Action, Configuration, EntryId, HardState, InstallMode, LogIndex, NodeId, RequestId, RoleKind, Rpc, SnapshotMeta,
    SnapshotRecord, Term, Write, WriteId,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Runs random schedules, heals, and looks for violations of one property, or that progress fails if none is named.
/// Asserts too that what makes the property hard did happen.
fn check(stream: u64, property: Option<Property>) {
    let usual = ["election", "conflict", "truncation", "crash", "write lost", "commit", "read"];
    let snapshots = ["snapshot taken", "snapshot sent", "snapshot received", "stale snapshot", "snapshot installed"];
    let changes = ["transfer", "configuration", "joint configuration", "stall", "restore", "compaction", "read back"];
    let marks = [&usual[..], &snapshots, &changes].concat();
    check_in(Cluster::for_schedules, 150, stream, property, &marks);
}

/// The same in clusters of another kind.
fn check_in(cluster: fn(u64) -> Cluster, cases: u32, stream: u64, property: Option<Property>, marks: &[&str]) {
    let happened: RefCell<BTreeMap<&'static str, u64>> = RefCell::default();
    let mut runner = runner(stream, cases);
    runner
        .run(&schedule(600), |(size, happenings)| {
            let mut cluster = cluster(size);
            for happening in &happenings {
                cluster.happen(happening);
            }
            let heals = cluster.heals();
            for (mark, count) in cluster.history.marks() {
                *happened.borrow_mut().entry(mark).or_default() += count;
            }
            match property {
                None if !heals => Err(TestCaseError::fail(format!("no progress\n{}", cluster.trace.join("\n")))),
                None => Ok(()),
                Some(property) => match cluster.history.violation(property) {
                    Some(how) => Err(TestCaseError::fail(format!("{how}\n{}", cluster.trace.join("\n")))),
                    None => Ok(()),
                },
            }
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    let happened = happened.into_inner();
    for &mark in marks {
        assert!(happened.get(mark).is_some_and(|count| *count >= 20), "hardly any {mark}: {happened:?}");
    }
}

/// At most one leader a term.
#[test]
fn election_safety() {
    check(1, Some(Property::ElectionSafety));
}

/// A leader never overwrites or removes entries of its log.
#[test]
fn leader_append_only() {
    check(2, Some(Property::LeaderAppendOnly));
}

/// Two logs that agree in one entry agree in all before it.
#[test]
fn log_matching() {
    check(3, Some(Property::LogMatching));
}

/// What is committed in a term is in the logs of the leaders of all higher terms.
#[test]
fn leader_completeness() {
    check(4, Some(Property::LeaderCompleteness));
}

/// No two state machines apply different entries at the same place.
#[test]
fn state_machine_safety() {
    check(5, Some(Property::StateMachineSafety));
}

/// A node votes for one candidate a term, whatever it forgets in between.
#[test]
fn one_vote_a_term() {
    check(6, Some(Property::OneVoteATerm));
}

/// Votes, matches and applied entries never rest on what a crash could take back.
#[test]
fn promises_after_the_disk() {
    check(7, Some(Property::PromisesAfterTheDisk));
}

/// A read sees all that was committed before it was asked.
#[test]
fn linearizable_reads() {
    check(8, Some(Property::LinearizableReads));
}

/// The same for reads that rest on leases alone, with clocks that drift as far as they may, before and behind.
#[test]
fn linearizable_lease_reads() {
    let marks = ["election", "crash", "commit", "read", "lease read", "usurped", "transfer", "configuration"];
    check_in(Cluster::for_leases, 400, 11, Some(Property::LinearizableReads), &marks);
}

/// Every request gets at most one answer of its kind.
#[test]
fn one_answer_a_request() {
    check(9, Some(Property::OneAnswerARequest));
}

/// A snapshot is newer than the last, says what its log says, and takes the place of a log only if that cannot lead to it.
#[test]
fn snapshots() {
    check(12, Some(Property::Snapshots));
}

/// Once all is mended a leader is found, a command and a read go through, and all nodes become equal.
#[test]
fn progress_after_healing() {
    check(10, None);
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
        history.sent(NodeId(1), NodeId(to), &crate::cluster::replica::granted(term), &disk);
    }
    assert!(history.violations().is_empty());
    let mut disk = image(5, &[1], 3);
    disk.hard_state.voted_for = Some(NodeId(3));
    history.sent(NodeId(1), NodeId(3), &crate::cluster::replica::granted(5), &disk);
    assert_eq!(violated(&history), [Property::OneVoteATerm]);
}

#[test]
fn a_promise_before_the_disk_is_seen() {
    let promises: [Rpc; 3] = [
        crate::cluster::replica::granted(2),
        crate::cluster::replica::matched(1, 1, 3),
        crate::cluster::replica::request_vote(2, (2, 1)),
    ];
    for rpc in promises {
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

/// A snapshot of a log that `image` made for three voters.
fn meta(index: u64, term: u64) -> SnapshotMeta {
    let configuration = Configuration::of_voters((1..=3).map(NodeId));
    SnapshotMeta { last: EntryId::new(index, term), configuration, configured_at: EntryId::new(1, 1) }
}

#[test]
fn a_snapshot_that_goes_back_lies_or_takes_away_what_it_stands_for_is_seen() {
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
fn a_snapshot_used_or_a_log_let_go_of_or_read_before_the_disk_is_seen() {
    let mut disk = image(1, &[1, 1, 1], 3);
    disk.snapshot = Some(meta(2, 1));
    let uses: [fn(&mut History, &crate::cluster::Image); 6] = [
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
