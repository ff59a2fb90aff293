//! Snapshots: taken, saved, loaded on start and at runtime, and what clients notice of it.

use super::*;
use crate::snapshots::content::Pieces;
use raft_core::SnapshotRecord;
use raft_proto::{SnapshotMessage, SnapshotState};

/// Nodes that take a snapshot every `entries` entries and keep nothing of the log that one covers, nor in memory.
fn snapshotting(count: u64, entries: u64) -> Cluster {
    let config = Config { trailing_entries: 0, max_cached_bytes: 0, ..Config::new(NodeId(0)) };
    let options = NodeOptions { max_sessions: 2, snapshot_after_entries: entries, snapshot_after_bytes: 0, ..pieces() };
    Cluster::with(count, config, options)
}

impl Cluster {
    /// Has commands `from..=to` applied.
    fn commands(&mut self, at: NodeId, session: SessionId, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.request(at, 1_000 + number, command(session, number));
            self.settle();
            let (reply, last) = (self.reply(1_000 + number), self.outputs.len().saturating_sub(12));
            let is_applied = matches!(reply, Some(Reply::Applied { .. }));
            assert!(is_applied, "{number}: {reply:?} after {:#?}", &self.outputs[last..]);
        }
    }

    fn count(&self, is_counted: impl Fn(&NodeOutput) -> bool) -> usize {
        self.outputs.iter().filter(|output| is_counted(output)).count()
    }

    /// A crash and a restart of a node, with nothing of it on its way.
    fn restart(&mut self, id: NodeId) {
        self.queue.retain(|(to, _)| *to != id);
        self.held.retain(|(to, _)| *to != id);
        self.start(id);
        self.feed(id, NodeInput::Tick);
    }
}

fn saves(output: &NodeOutput) -> bool {
    matches!(output, NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Write { file: SnapshotFile::Own, offset: 0, .. })))
}

fn loads(output: &NodeOutput) -> bool {
    matches!(output, NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Load { .. })))
}

fn names(output: &NodeOutput) -> Option<&SnapshotRecord> {
    if let NodeOutput::Persist(write) = output { write.snapshot.as_ref() } else { None }
}

#[test]
fn after_so_many_entries_one_snapshot_is_saved_then_named_then_the_log_compacted() {
    let mut cluster = snapshotting(1, 10);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.outputs.clear();
    cluster.holds_files = true;
    cluster.commands(leader, session, 1..=40);
    assert_eq!(cluster.count(saves), 1, "one at a time, however much is applied meanwhile");
    assert!(cluster.outputs.iter().all(|output| names(output).is_none()), "nothing is named before it is saved");
    let applied = cluster.node(1).applied;

    let mut pieces = 0;
    let saved = loop {
        let [(_, written)] = std::mem::take(&mut cluster.held).try_into().expect("one piece at a time");
        let NodeInput::SnapshotWritten { last, outcome: WriteOutcome::Done, .. } = &written else {
            panic!("{written:?}")
        };
        assert_eq!(last.index, LogIndex(10));
        cluster.outputs.clear();
        cluster.feed(leader, written.clone());
        pieces += 1;
        if matches!(cluster.outputs.first(), Some(NodeOutput::Persist(_))) {
            break written;
        }
    };
    assert!(pieces > 3, "{pieces} pieces of 30 bytes");
    cluster.holds_files = false;
    cluster.queue.extend(std::mem::take(&mut cluster.held));
    let [NodeOutput::Persist(write), NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Write { meta, offset: 0, .. }))] =
        cluster.outputs.as_slice()
    else {
        panic!("the next one is due: {:?}", cluster.outputs)
    };
    let record = write.snapshot.clone().expect("it is named");
    assert_eq!((record.meta.last.index, record.log, meta.last.index), (LogIndex(10), InstallMode::Keep, applied));
    cluster.settle();
    let compact = |index: u64| NodeOutput::Disk(DiskJob::Compact { before: LogIndex(index + 1) });
    let compacted: Vec<_> =
        cluster.outputs.iter().filter(|output| matches!(output, NodeOutput::Disk(DiskJob::Compact { .. }))).collect();
    assert_eq!(compacted, [&compact(10), &compact(applied.0)], "once they are durable");

    cluster.outputs.clear();
    cluster.feed(leader, saved);
    assert_eq!(cluster.outputs, [], "it was not asked for");
}

#[test]
fn after_so_many_bytes_or_when_it_is_wished_one_is_taken() {
    let mut cluster = Cluster::new(1);
    cluster.options.snapshot_after_bytes = 1_000;
    cluster.restart(NodeId(1));
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.commands(leader, session, 1..=5);
    assert_eq!(cluster.count(saves), 0);
    cluster.commands(leader, session, 6..=30);
    assert_eq!(cluster.count(saves), 1, "24 bytes an entry, and some 20 for the command");

    cluster.feed(leader, NodeInput::TakeSnapshot);
    assert_eq!(cluster.count(saves), 2);
    cluster.settle();
    cluster.feed(leader, NodeInput::TakeSnapshot);
    cluster.settle();
    assert_eq!(cluster.count(saves), 2, "nothing new");
    cluster.commands(leader, session, 31..=31);
    assert_eq!(cluster.count(saves), 2, "the wish was for then");
}

#[test]
fn after_one_that_could_not_be_saved_the_next_is_taken_when_it_is_due() {
    let mut cluster = snapshotting(1, 10);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.holds_files = true;
    cluster.commands(leader, session, 1..=15);
    cluster.outputs.clear();
    let last = cluster.node(1).raft.snapshot_meta(LogIndex(10)).expect("it is applied").last;
    let outcome = WriteOutcome::NoSpace;
    cluster.feed(leader, NodeInput::SnapshotWritten { file: SnapshotFile::Own, last, end: 30, outcome });
    assert_eq!(cluster.outputs, []);
    cluster.commands(leader, session, 16..=18);
    let saved = cluster.outputs.iter().find(|output| saves(output));
    assert!(
        matches!(saved, Some(NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Write { meta, .. }))) if meta.last.index == LogIndex(20)),
        "{saved:?}"
    );
}

#[test]
fn a_restart_loads_the_snapshot_and_reads_back_what_follows() {
    let mut cluster = snapshotting(1, 7);
    let id = cluster.leader();
    let session = cluster.open_session(id, 1);
    cluster.commands(id, session, 1..=16);
    let (hash, applied, journal) =
        (cluster.node(1).state_hash(), cluster.node(1).applied, cluster.node(1).machine().clone());
    let snapshot = cluster.disk(id).snapshot.clone().expect("there is one");
    assert!(snapshot.last.index < applied && cluster.disk(id).log.len() as u64 == applied.0 - snapshot.last.index.0);

    cluster.outputs.clear();
    cluster.restart(id);
    assert!(
        cluster.outputs.contains(&NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Load { meta: snapshot.clone() }))),
        "in the first call"
    );
    assert_eq!((cluster.node(1).applied, cluster.count(loads)), (LogIndex(0), 1));
    cluster.leader();
    assert_eq!((cluster.node(1).machine(), cluster.node(1).applied > applied), (&journal, true));
    let read = cluster.count(|output| matches!(output, NodeOutput::Disk(DiskJob::ReadLog { .. })));
    assert!(read > 0, "nothing of the log was in memory");
    let restored =
        |output: &NodeOutput| matches!(output, NodeOutput::Report(Report::Restored { meta, .. }) if *meta == snapshot);
    assert_eq!(cluster.count(restored), 1);
    // The new leader's no-op is applied, too; but for its index the state is the same.
    let mut then = cluster.node(1).clone();
    then.applied = applied;
    assert_eq!(then.state_hash(), hash);
}

#[test]
fn a_peer_that_was_away_is_sent_a_snapshot_and_ends_in_the_same_state() {
    let mut cluster = snapshotting(3, 5);
    let leader = cluster.leader();
    let away = NodeId(leader.0 % 3 + 1);
    let session = cluster.open_session(leader, 1);
    cluster.commands(leader, session, 1..=3);
    cluster.cut.insert(away);
    cluster.commands(leader, session, 4..=23);
    cluster.outputs.clear();
    cluster.cut.clear();
    cluster.catch_up();
    let restored: Vec<u128> = cluster
        .outputs
        .iter()
        .filter_map(|output| match output {
            NodeOutput::Report(Report::Restored { state_hash, .. }) => *state_hash,
            _ => None,
        })
        .collect();
    assert_eq!(restored.len(), 1, "one jump, then entries");
    let discarded = |output: &NodeOutput| names(output).is_some_and(|record| record.log == InstallMode::Discard);
    assert_eq!(cluster.count(discarded), 1);
    assert_eq!(cluster.hashes().len(), 1);
    assert_eq!(cluster.nodes[&away].machine().0.len(), 23);
}

#[test]
fn equal_states_give_equal_bytes_whoever_takes_the_snapshot() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.commands(leader, session, 1..=5);
    cluster.catch_up();
    for id in 1..=3 {
        cluster.feed(NodeId(id), NodeInput::TakeSnapshot);
    }
    cluster.settle();
    let files: BTreeSet<_> = cluster.disks.values().map(|disk| disk.files.clone()).collect();
    assert_eq!(files.len(), 1, "the same, on three nodes");
    let file = files.first().and_then(|files| files.values().next()).expect("there is one");
    assert!(file.ends_with(b"command 1,command 2,command 3,command 4,command 5"));
}

#[test]
fn sessions_survive_a_snapshot() {
    let mut cluster = snapshotting(3, 1);
    let leader = cluster.leader();
    let oldest = cluster.open_session(leader, 1);
    let second = cluster.open_session(leader, 2);
    let third = cluster.open_session(leader, 3);
    cluster.commands(leader, third, 1..=3);
    let first_answer = cluster.reply(1_001).cloned();
    cluster.catch_up();
    for id in 1..=3 {
        assert!(cluster.disk(NodeId(id)).snapshot.is_some());
        cluster.restart(NodeId(id));
    }
    cluster.outputs.clear();
    let leader = cluster.leader();
    cluster.request(leader, 10, command(third, 1));
    cluster.request(leader, 11, command(oldest, 1));
    cluster.request(leader, 12, command(second, 1));
    cluster.settle();
    assert_eq!(cluster.reply(10), first_answer.as_ref(), "applied once, and answered with the first answer");
    assert_eq!(cluster.reply(11), Some(&Reply::SessionExpired), "what had ended stays ended");
    assert!(matches!(cluster.reply(12), Some(Reply::Applied { .. })), "what was open stays open");
    cluster.catch_up();
    assert_eq!(cluster.hashes().len(), 1);
}

#[test]
fn a_jump_makes_what_is_not_applied_unknown() {
    let mut cluster = snapshotting(3, 5);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.commands(leader, session, 1..=3);
    cluster.cut.insert(leader);
    cluster.request(leader, 2, command(session, 4));
    cluster.request(leader, 3, query());
    let next = cluster.leader();
    cluster.commands(next, session, 5..=25);
    cluster.cut.clear();
    cluster.catch_up();
    assert!(cluster.count(|output| matches!(output, NodeOutput::Report(Report::Restored { .. }))) == 1);
    assert_eq!(cluster.reply(2), Some(&Reply::Unknown));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })));
    assert_eq!(cluster.hashes().len(), 1);

    // By itself, without any news about leadership; and not before its time.
    let mut node = cluster.nodes.remove(&next).expect("it is there");
    let meta = node.raft.snapshot_meta(node.applied).expect("there is a configuration");
    node.waiters.insert(meta.last, RequestId(1));
    node.waiters.insert(EntryId { index: meta.last.index.next(), ..meta.last }, RequestId(2));
    let mut outputs = Vec::new();
    node.carry_out(Action::Restore { meta: meta.clone() }, &mut None, &mut outputs);
    let unknown = NodeOutput::Reply { id: RequestId(1), reply: Reply::Unknown };
    assert_eq!(outputs, [unknown, NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Load { meta }))]);
}

/// A node that has applied a few commands and a snapshot of each of two later states.
fn behind_two_snapshots() -> (Node<Journal>, [(SnapshotMeta, Bytes); 2], Entries) {
    let mut cluster = Cluster::new(1);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    let node = cluster.node(1).clone();
    let mut snapshots = Vec::new();
    for numbers in [1..=3, 4..=6] {
        cluster.commands(leader, session, numbers);
        cluster.feed(leader, NodeInput::TakeSnapshot);
        cluster.settle();
        let disk = cluster.disk(leader);
        let meta = disk.snapshot.clone().expect("it has been taken");
        snapshots.push((meta.clone(), disk.files[&meta.last].clone()));
    }
    cluster.commands(leader, session, 7..=9);
    let snapshots: [_; 2] = snapshots.try_into().expect("two");
    let after = cluster.disk(leader).log.split_off(&snapshots[1].0.last.index.next()).into_values().collect();
    (node, snapshots, after)
}

#[test]
fn what_follows_a_snapshot_waits_until_it_is_loaded() {
    let (mut node, [(first, old), (second, data)], after) = behind_two_snapshots();
    let before = node.state_hash();
    let mut outputs = Vec::new();
    let between = Entries::from(vec![Entry { id: EntryId::new(first.last.index.0 + 1, 1), payload: Payload::Noop }]);
    for action in [
        Action::Restore { meta: first.clone() },
        Action::Apply { entries: between },
        Action::Restore { meta: second.clone() },
        Action::Apply { entries: after.clone() },
    ] {
        node.carry_out(action, &mut None, &mut outputs);
    }
    let [first, second] =
        [first, second].map(|meta| (meta.clone(), NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Load { meta }))));
    assert_eq!(outputs, [first.1, second.1]);
    outputs.clear();
    node.step(Instant(0), [NodeInput::TakeSnapshot], &mut outputs);
    assert_eq!((node.state_hash(), outputs.iter().any(saves)), (before, false), "the state is about to be another");

    outputs.clear();
    node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: first.0, data: old }], &mut outputs);
    assert_eq!((node.state_hash(), outputs.as_slice()), (before, &[][..]), "nobody waits for it any more");
    node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: second.0.clone(), data: data.clone() }], &mut outputs);
    let [NodeOutput::Report(Report::Restored { meta, .. }), NodeOutput::Report(Report::Applied { entries, .. }), ..] =
        outputs.as_slice()
    else {
        panic!("not {outputs:?}")
    };
    assert_eq!((meta, entries), (&second.0, &after));
    assert_eq!(node.machine().0.len(), 9);
    let loaded = node.state_hash();
    node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: second.0, data }], &mut outputs);
    assert_eq!(node.state_hash(), loaded, "loaded once");
}

#[test]
fn what_cannot_be_read_ends_the_node() {
    let (mut node, [(first, _), (second, data)], after) = behind_two_snapshots();
    let before = node.state_hash();
    let machine = Bytes::from_static(b"!");
    let of = |last, machine: Bytes| -> Bytes {
        let mut pieces = Pieces::new(last, &node.sessions, machine);
        std::iter::from_fn(|| pieces.next(1 << 20)).flatten().collect()
    };
    let unreadable = of(second.last, machine);
    let other = SnapshotError::OtherEntry { expected: second.last, found: first.last };
    let newer = Bytes::from_static(b"\x02\x08\x03");
    let table = [
        (Bytes::from_static(b"\xff"), None),
        (data.slice(..7), None),
        (Bytes::new(), None),
        (newer, Some(SnapshotError::UnknownFormat { found: 3 })),
        (of(first.last, Bytes::new()), Some(other)),
        (unreadable, Some(SnapshotError::Malformed("not a journal".to_owned()))),
    ];
    let mut outputs = Vec::new();
    node.carry_out(Action::Restore { meta: second.clone() }, &mut None, &mut outputs);
    node.carry_out(Action::Apply { entries: after }, &mut None, &mut outputs);
    for (data, expected) in table {
        outputs.clear();
        node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: second.clone(), data }], &mut outputs);
        let [NodeOutput::Report(Report::SnapshotUnreadable { meta, error })] = outputs.as_slice() else {
            panic!("not {outputs:?}")
        };
        assert_eq!(meta, &second);
        assert!(expected.as_ref().is_none_or(|expected| error == expected), "{error}, not {expected:?}");
        assert!(expected.is_some() || matches!(error, SnapshotError::Malformed(_)), "{error}");
        assert_eq!(node.state_hash(), before, "nothing has changed, and nothing is applied");
    }
}

/// A leader with a snapshot that a peer, cut off since its third command, needs.
fn one_behind() -> (Cluster, NodeId, NodeId) {
    let mut cluster = snapshotting(3, 5);
    let leader = cluster.leader();
    let away = NodeId(leader.0 % 3 + 1);
    let session = cluster.open_session(leader, 1);
    cluster.commands(leader, session, 1..=3);
    cluster.cut.insert(away);
    cluster.commands(leader, session, 4..=23);
    cluster.outputs.clear();
    cluster.cut.clear();
    (cluster, leader, away)
}

fn pieces_for(outputs: &[NodeOutput]) -> Vec<u64> {
    let offset = |output: &NodeOutput| match output {
        NodeOutput::SendSnapshot { message: SnapshotMessage::Chunk(chunk), .. } if !chunk.bytes.is_empty() => {
            Some(chunk.offset)
        }
        _ => None,
    };
    outputs.iter().filter_map(offset).collect()
}

impl Cluster {
    /// Goes on until a peer has so many bytes of a snapshot.
    fn until_some_have_come(&mut self, away: NodeId, bytes: usize) {
        for _ in 0..10_000 {
            if self.disks[&away].unfinished[1].len() >= bytes {
                return;
            }
            match self.queue.pop_front() {
                Some((to, input)) => self.feed(to, input),
                None => self.tick(),
            }
        }
        panic!("it is not sent");
    }
}

#[test]
fn a_transfer_goes_on_where_it_was_when_messages_were_lost() {
    let (mut cluster, _, away) = one_behind();
    cluster.until_some_have_come(away, 60);
    cluster.cut.insert(away);
    cluster.queue.retain(|(to, input)| *to != away || !matches!(input, NodeInput::SnapshotMessage { .. }));
    cluster.settle();
    cluster.outputs.clear();
    cluster.cut.clear();
    cluster.catch_up();
    let sent = pieces_for(&cluster.outputs);
    assert!(!sent.is_empty() && sent.iter().all(|&offset| offset >= 60), "{sent:?}");
    assert_eq!(cluster.hashes().len(), 1);
}

#[test]
fn another_leader_goes_on_with_the_same_file() {
    let mut cluster = snapshotting(3, 0);
    let leader = cluster.leader();
    let away = NodeId(leader.0 % 3 + 1);
    let session = cluster.open_session(leader, 1);
    cluster.cut.insert(away);
    cluster.commands(leader, session, 1..=20);
    // Both have applied the same, so their snapshots are the same.
    let other = NodeId(6 - leader.0 - away.0);
    let (same, limit) = (cluster.nodes[&leader].applied, 100);
    for _ in 0..limit {
        if cluster.nodes[&other].applied < same {
            cluster.tick();
            cluster.settle();
        }
    }
    assert_eq!(cluster.nodes[&other].applied, same);
    for id in [leader, other] {
        cluster.feed(id, NodeInput::TakeSnapshot);
    }
    cluster.settle();
    cluster.cut.clear();
    cluster.until_some_have_come(away, 60);
    cluster.cut.insert(leader);
    cluster.queue.retain(|(to, _)| *to != leader);
    cluster.outputs.clear();
    let next = cluster.leader();
    assert_eq!(next, other, "the log of the one that was away is shorter");
    cluster.cut.clear();
    cluster.catch_up();
    let sent = pieces_for(&cluster.outputs);
    assert!(!sent.is_empty() && sent.iter().all(|&offset| offset >= 60), "{sent:?}");
    assert_eq!(cluster.hashes().len(), 1);
}

#[test]
fn a_late_copy_of_a_chunk_in_the_call_that_makes_the_snapshot_whole_does_not_remove_its_file() {
    let (mut cluster, leader, away) = one_behind();
    let is_chunk = |(to, input): &(NodeId, NodeInput)| {
        let chunk = matches!(input, NodeInput::SnapshotMessage { message: SnapshotMessage::Chunk(chunk), .. } if !chunk.bytes.is_empty());
        *to == away && chunk
    };
    let mut first = None;
    loop {
        let (to, input) = cluster.queue.pop_front().unwrap_or((leader, NodeInput::Tick));
        if first.is_none() && is_chunk(&(to, input.clone())) {
            first = Some(input.clone());
        }
        match (&input, first.clone()) {
            // The disk has done the last chunk, and a copy of the first one comes at the same time.
            (NodeInput::SnapshotWritten { file: SnapshotFile::Received, last, .. }, Some(copy))
                if cluster.disks[&to].files.contains_key(last) =>
            {
                let last = *last;
                cluster.feed_all(away, vec![input, copy]);
                assert_eq!(
                    cluster.disks[&away].snapshot.as_ref().map(|meta| meta.last),
                    Some(last),
                    "a record names it"
                );
                break;
            }
            (NodeInput::Tick, _) => cluster.tick(),
            _ => cluster.feed(to, input),
        }
    }
    // The disk refuses to remove what a record names (`use_disk`), and the file is there to be loaded.
    cluster.catch_up();
    assert_eq!(cluster.hashes().len(), 1);
}

#[test]
fn what_a_peer_cannot_take_in_is_sent_again_and_what_is_damaged_is_looked_at() {
    for outcome in [
        WriteOutcome::NoSpace,
        WriteOutcome::Damaged,
        WriteOutcome::Unusable(SnapshotError::UnknownFormat { found: 3 }),
    ] {
        let (mut cluster, leader, away) = one_behind();
        cluster.until_some_have_come(away, 60);
        let written =
            |(to, input): &(NodeId, NodeInput)| *to == away && matches!(input, NodeInput::SnapshotWritten { .. });
        let place = cluster.queue.iter().position(written).expect("a piece is being written");
        let Some((_, NodeInput::SnapshotWritten { file, last, end, .. })) = cluster.queue.remove(place) else {
            panic!("it is not there any more")
        };
        cluster.outputs.clear();
        cluster.feed(away, NodeInput::SnapshotWritten { file, last, end, outcome: outcome.clone() });
        let state = match &cluster.outputs[..] {
            [NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) }] if *to == leader => {
                progress.state
            }
            [
                NodeOutput::Report(Report::SnapshotRefused { .. }),
                NodeOutput::SendSnapshot { message: SnapshotMessage::Progress(progress), .. },
            ] => progress.state,
            other => panic!("{other:?}"),
        };
        let is_damaged = outcome == WriteOutcome::Damaged;
        assert_eq!(state, if is_damaged { SnapshotState::Damaged } else { SnapshotState::Unwanted });
        cluster.catch_up();
        let verified =
            cluster.count(|output| *output == NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Verify { last })));
        assert_eq!(verified, usize::from(is_damaged));
        assert_eq!(cluster.hashes().len(), 1, "the next one does it");
    }
}

#[test]
fn a_file_is_removed_only_when_it_is_of_no_use() {
    let (mut cluster, leader, away) = one_behind();
    cluster.until_some_have_come(away, 60);
    let sent = cluster.disks[&leader].snapshot.clone().expect("it is being sent").last;
    cluster.cut.insert(away);
    let session = cluster.open_session(leader, 2);
    cluster.commands(leader, session, 24..=40);
    let removed = |cluster: &Cluster| {
        cluster.count(|output| *output == NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Remove { last: sent })))
    };
    assert!(cluster.disks[&leader].snapshot.as_ref().is_some_and(|meta| meta.last > sent), "there is a newer one");
    assert!(cluster.disks[&leader].files.contains_key(&sent), "it is still being sent");
    let before = removed(&cluster);
    cluster.cut.clear();
    cluster.catch_up();
    assert!(removed(&cluster) > before && !cluster.disks[&leader].files.contains_key(&sent));
    for disk in cluster.disks.values() {
        assert_eq!(disk.files.len(), 1, "the one that the log goes by");
    }
    assert_eq!(cluster.hashes().len(), 1);
}
