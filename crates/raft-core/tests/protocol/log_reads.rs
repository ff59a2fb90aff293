//! The core reads entries that are no longer in memory back from the host, and an obsolete answer changes nothing
//! (R41).

use crate::cluster::replica::*;
use crate::cluster::{entry, meta};
use raft_core::{Action, Config, Entries, Input, LogIndex, PeerState, ReadId, RecoveredState, RoleKind};

fn forgetful(config: &mut Config, restored: &mut RecoveredState) {
    config.max_cached_bytes = 0;
    restored.tail = Entries::new();
}

/// The log reads among the actions.
fn asked(actions: &[Action]) -> Vec<String> {
    actions.iter().filter(|action| matches!(action, Action::ReadLog { .. })).map(ToString::to_string).collect()
}

fn answer(n1: &mut Replica, read: u64, indices: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Action> {
    let entries = indices.map(|index| entry(index, term, 3)).collect();
    n1.step(Input::LogRead { read: ReadId(read), entries })
}

#[test]
fn what_goes_from_memory_while_it_waits_for_room_is_asked_for_at_once() {
    let one = entry(3, 1, 3).size();
    let mut n1 = Replica::with(&[1, 1], 3, |config, restored| {
        (config.max_cached_bytes, config.max_apply_bytes) = (0, one + 1);
        restored.applied = LogIndex(2);
    })
    .following(1);
    n1.receive(N2, append(1, 2, (2, 1), 4, &[(3, 1), (4, 1)]));
    let actions = n1.persist();
    assert_eq!((applies(&actions).len(), asked(&actions)), (1, vec!["l1 read 4..=4 up to 1 B".to_owned()]));
    assert!(n1.tick().is_empty(), "nothing is left undone");
}

#[test]
fn what_is_applied_is_read_back_once_and_applied_as_it_comes() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, forgetful).following(1);
    let actions = n1.receive(N2, heartbeat(1, 2, (4, 1), 3));
    assert_eq!(asked(&actions), ["l1 read 1..=3 up to 16777216 B"]);
    assert!(applies(&actions).is_empty());
    assert!(news(&n1.receive(N2, heartbeat(1, 3, (4, 1), 4))).is_empty(), "one read at a time");
    let some = answer(&mut n1, 1, 1..=2, 1);
    assert_eq!(
        (applies(&some), asked(&some)),
        (vec!["apply [1@1..2@1]".into()], vec!["l2 read 3..=4 up to 16777117 B".into()])
    );
    assert!(n1.tick().is_empty(), "it reads the rest at once");
    assert_eq!(applies(&answer(&mut n1, 2, 3..=4, 1)), ["apply [3@1..4@1]"]);
}

#[test]
fn answers_that_are_late_repeated_or_of_another_log_change_nothing() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, forgetful).following(1);
    n1.receive(N2, heartbeat(1, 2, (4, 1), 2));
    for (read, first, term) in [(7, 1, 1), (0, 1, 1)] {
        let before = n1.raft.digest();
        assert!(applies(&answer(&mut n1, read, first..=2, term)).is_empty());
        assert_eq!(n1.raft.digest(), before);
    }
    let other = answer(&mut n1, 1, 1..=2, 9);
    assert!(applies(&other).is_empty(), "entries that differ from the log count as missing");
    assert_eq!(news(&other), ["l2 read 1..=2 up to 16777216 B"]);
    assert!(applies(&answer(&mut n1, 1, 1..=2, 1)).is_empty(), "the core no longer waits for that read");
    let gap = answer(&mut n1, 2, 2..=2, 1);
    assert!(applies(&gap).is_empty(), "it does not begin at the requested index");
    assert_eq!(applies(&answer(&mut n1, 3, 1..=2, 1)), ["apply [1@1..2@1]"]);
    assert!(applies(&answer(&mut n1, 3, 1..=2, 1)).is_empty(), "once");
}

#[test]
fn an_answer_that_is_longer_than_asked_is_cut_with_the_log() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |config, restored| {
        forgetful(config, restored);
        config.max_apply_bytes = 1;
    })
    .following(1);
    assert_eq!(asked(&n1.receive(N2, heartbeat(1, 2, (4, 1), 2))), ["l1 read 1..=2 up to 1 B"]);
    assert_eq!(applies(&answer(&mut n1, 1, 1..=4, 1)), ["apply [1@1]"]);
    assert_eq!(applies(&n1.step(Input::Applied { index: LogIndex(1) })), ["apply [2@1]"]);
    n1.step(Input::Applied { index: LogIndex(2) });
    n1.receive(N3, append(2, 1, (2, 1), 2, &[(3, 2), (4, 2)]));
    n1.persist();
    let committed = n1.receive(N3, heartbeat(2, 2, (4, 2), 4));
    assert_eq!((applies(&committed), asked(&committed)), (vec![], vec!["l2 read 3..=4 up to 1 B".to_owned()]));
    assert_eq!(applies(&answer(&mut n1, 2, 3..=4, 2)), ["apply [3@2]"]);
}

#[test]
fn a_discarded_log_forgets_the_read() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, forgetful).following(1);
    n1.receive(N2, heartbeat(1, 2, (4, 1), 2));
    n1.step(Input::SnapshotReceived { from: N2, term: raft_core::Term(1), meta: meta(9, 1) });
    assert!(applies(&answer(&mut n1, 1, 1..=2, 1)).is_empty());
    let gone = n1.step(Input::LogRead { read: ReadId(1), entries: Entries::new() });
    assert!(gone.is_empty(), "not even that it is gone: {gone:?}");
    assert_eq!(n1.role(), RoleKind::Follower);
}

#[test]
fn what_is_to_be_applied_and_is_gone_stops_the_replica() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, forgetful).following(1);
    n1.receive(N2, heartbeat(1, 2, (4, 1), 2));
    let actions = n1.step(Input::LogRead { read: ReadId(1), entries: Entries::new() });
    let stopped = "stopped: the entries from 1 on are missing and not applied";
    assert_eq!(news(&actions), ["leader of term 1 is unknown", stopped]);
    assert_eq!(n1.role(), RoleKind::Stopped);
}

/// Leads in term 2 without any payload in memory; n3 has the whole log, n2 has not answered.
fn leader(adjust: impl FnOnce(&mut Config)) -> Replica {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |config, restored| {
        forgetful(config, restored);
        restored.applied = LogIndex(4);
        adjust(config);
    })
    .leader();
    n1.persist();
    n1.receive(N3, matched(2, 2, 5));
    n1
}

/// The same leader while it reads entries for n2; and the number of the probe that n2 answered.
fn reading(adjust: impl FnOnce(&mut Config)) -> (Replica, u64) {
    let mut n1 = leader(adjust);
    let probed = n1.receive(N2, mismatch(2, 1, (4, 1), (2, 1)));
    let probe = appends_to(&probed, N2).pop().expect("a probe").seq.0;
    n1.receive(N2, matched(2, probe, 2));
    (n1, probe)
}

#[test]
fn a_peer_that_is_behind_gets_what_is_read_back() {
    let mut n1 = leader(|config| config.max_append_bytes = 60);
    // n2 denies the entry before the no-op, and offers the second entry.
    let probed = n1.receive(N2, mismatch(2, 1, (4, 1), (2, 1)));
    let probe = appends_to(&probed, N2).pop().expect("a probe");
    assert_eq!(
        (probe.prev.index, probe.entries.len()),
        (LogIndex(2), 0),
        "the leader does not read entries for a probe"
    );
    assert!(news(&probed).is_empty());
    let moved = n1.receive(N2, matched(2, probe.seq.0, 2));
    assert_eq!(asked(&moved), ["l1 read 3..=5 up to 60 B"]);
    let sent = answer(&mut n1, 1, 3..=4, 1);
    let appends = appends_to(&sent, N2);
    assert_eq!(appends.iter().map(|append| append.entries.len()).collect::<Vec<_>>(), [2], "27 bytes each");
    assert_eq!(asked(&sent), ["l2 read 5..=5 up to 60 B"], "the no-op is no longer in memory either");
    n1.receive(N2, matched(2, appends[0].seq.0, 4));
    assert_eq!(n1.raft.status().peers[&N2].match_index, LogIndex(4));
}

#[test]
fn a_read_ends_with_its_purpose() {
    let (mut n1, _) = reading(|_| ());
    n1.step(Input::Unreachable { peer: N2 });
    let before = n1.raft.digest();
    assert!(answer(&mut n1, 1, 3..=4, 1).is_empty(), "the peer is being probed");
    assert_eq!(n1.raft.digest(), before);

    let (mut deposed, _) = reading(|_| ());
    deposed.receive(N3, heartbeat(9, 1, (0, 0), 0));
    assert!(answer(&mut deposed, 1, 3..=4, 1).is_empty(), "it leads no longer");
}

#[test]
fn a_peer_whose_entries_are_gone_turns_to_a_snapshot() {
    let (mut n1, _) = reading(|_| ());
    n1.step(Input::SnapshotTaken { index: LogIndex(4) });
    n1.persist();
    let gone = n1.step(Input::LogRead { read: ReadId(1), entries: Entries::new() });
    assert!(news(&gone).iter().any(|news| news.starts_with("-> n2 term 2 snapshot 4@1")), "{gone:?}");
    assert_eq!(n1.raft.status().peers[&N2].state, PeerState::Snapshot);
}

#[test]
fn what_is_not_durable_stays_in_memory() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_cached_bytes = 0).established();
    n1.propose(1);
    n1.propose(2);
    let appended = n1.receive(N3, matched(2, 2, 3));
    assert_eq!(appends_to(&appended, N3).iter().map(|append| append.entries.len()).sum::<usize>(), 2);
    assert!(news(&appended).is_empty(), "no question: {appended:?}");
}

#[test]
fn entries_that_are_gone_but_needed_no_more_send_no_snapshot() {
    let (mut n1, probe) = reading(|config| config.trailing_entries = 0);
    // Older appends arrive, and then the peer no longer needs the first entries.
    n1.receive(N2, matched(2, probe, 4));
    n1.step(Input::SnapshotTaken { index: LogIndex(4) });
    n1.persist();
    let gone = n1.step(Input::LogRead { read: ReadId(1), entries: Entries::new() });
    assert!(!news(&gone).iter().any(|news| news.contains("snapshot")), "{gone:?}");
    let peer = n1.raft.status().peers[&N2];
    assert_eq!((peer.state, peer.match_index), (PeerState::Replicate, LogIndex(4)));
}

#[test]
fn a_probe_of_what_is_not_in_memory_is_empty_and_sent_once() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, forgetful).leader();
    let probes = appends_to(&n1.receive(N2, mismatch(2, 1, (4, 1), (2, 1))), N2);
    let [probe] = &probes[..] else { panic!("{probes:?}") };
    assert_eq!((probe.prev.index, probe.entries.len()), (LogIndex(2), 0));
    assert!(appends_to(&n1.tick(), N2).is_empty());
}
