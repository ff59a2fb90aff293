//! Snapshots: taken, saved, loaded, sent to a peer and deleted, and their effect on clients.

use super::*;
use crate::snapshots::content::SnapshotEncoder;
use raft_core::SnapshotRecord;
use raft_proto::{SnapshotMessage, SnapshotState};

/// Nodes that take a snapshot every `entries` entries, and keep neither the entries that it covers nor payloads in
/// memory.
fn snapshotting(count: u64, entries: u64) -> Cluster {
    let config = Config { trailing_entries: 0, max_cached_bytes: 0, ..Config::new(NodeId(0)) };
    Cluster::with(count, config, NodeOptions { snapshot_after_entries: entries, ..options() })
}

/// A leader with a snapshot, and a peer that needs it because it was isolated after the third command.
fn one_behind() -> (Cluster, NodeId, NodeId) {
    let (mut cluster, leader, session) = snapshotting(3, 5).with_session();
    let away = next(leader);
    cluster.commands(leader, session, 1..=3);
    cluster.cut.insert(away);
    cluster.commands(leader, session, 4..=23);
    cluster.outputs.clear();
    cluster.cut.clear();
    (cluster, leader, away)
}

impl Cluster {
    /// Crashes and restarts a node; its messages and disk results are lost.
    fn restart(&mut self, id: NodeId) {
        self.queue.retain(|(to, _)| *to != id);
        self.held.retain(|(to, _)| *to != id);
        self.start(id);
        self.feed(id, NodeInput::Tick);
    }

    /// Continues until a peer has received this many bytes of a snapshot.
    fn until_received(&mut self, away: NodeId, bytes: usize) {
        for _ in 0..10_000 {
            if self.disks[&away].unfinished[1].len() >= bytes {
                return;
            }
            match self.queue.pop_front() {
                Some((to, input)) => self.feed(to, input),
                None => self.tick(),
            }
        }
        panic!("no snapshot is sent");
    }

    /// The offsets of all chunks sent.
    fn sent_offsets(&self) -> Vec<u64> {
        let offset = |output: &NodeOutput| match output {
            NodeOutput::SendSnapshot { message: SnapshotMessage::Chunk(chunk), .. } if !chunk.bytes.is_empty() => {
                Some(chunk.offset)
            }
            _ => None,
        };
        self.outputs.iter().filter_map(offset).collect()
    }

    /// Checks that the transfer is complete and did not restart below this offset.
    fn continued_from(&mut self, offset: u64) {
        self.heal();
        let sent = self.sent_offsets();
        assert!(!sent.is_empty() && sent.iter().all(|&sent| sent >= offset), "{sent:?}");
    }
}

fn job(output: &NodeOutput) -> Option<&SnapshotJob> {
    if let NodeOutput::Disk(DiskJob::Snapshot(job)) = output { Some(job) } else { None }
}

/// The index of a snapshot whose first chunk is written.
fn saves(output: &NodeOutput) -> Option<u64> {
    match job(output)? {
        SnapshotJob::Write { file: SnapshotFile::Own, meta, offset: 0, .. } => Some(meta.last.index.0),
        _ => None,
    }
}

fn is_save(output: &NodeOutput) -> bool {
    saves(output).is_some()
}

fn load(meta: &SnapshotMeta) -> NodeOutput {
    SnapshotJob::Load { meta: meta.clone() }.into()
}

fn record(output: &NodeOutput) -> Option<&SnapshotRecord> {
    if let NodeOutput::Persist(write) = output { write.snapshot.as_ref() } else { None }
}

#[test]
fn after_so_many_entries_a_snapshot_is_saved_then_named_then_the_log_is_compacted() {
    let (mut cluster, leader, session) = snapshotting(1, 10).with_session();
    cluster.outputs.clear();
    cluster.holds_files = true;
    cluster.commands(leader, session, 1..=40);
    assert_eq!(cluster.count(is_save), 1, "one at a time, however many entries are applied meanwhile");
    assert_eq!(cluster.count(|output| record(output).is_some()), 0, "no record before the file is complete");
    let applied = cluster.node(1).state.applied;

    let mut chunks = 0;
    let saved = loop {
        let [(_, written)] = std::mem::take(&mut cluster.held).try_into().expect("one chunk at a time");
        let NodeInput::SnapshotWritten { last, outcome: WriteOutcome::Done, .. } = &written else {
            panic!("{written:?}")
        };
        assert_eq!(last.index, LogIndex(10));
        cluster.outputs.clear();
        cluster.feed(leader, written.clone());
        chunks += 1;
        if matches!(cluster.outputs.first(), Some(NodeOutput::Persist(_))) {
            break written;
        }
    };
    assert!(chunks > 3, "{chunks} chunks of 30 bytes");
    cluster.holds_files = false;
    cluster.queue.extend(std::mem::take(&mut cluster.held));
    let [named, next] = &cluster.outputs[..] else { panic!("the next one is due: {:?}", cluster.outputs) };
    let named = record(named).map(|record| (record.meta.last.index, record.log));
    assert_eq!((named, saves(next)), (Some((LogIndex(10), InstallMode::Keep)), Some(applied.0)));
    cluster.settle();
    let compact = |index: u64| NodeOutput::Disk(DiskJob::Compact { before: LogIndex(index + 1) });
    let is_compact = |output: &&NodeOutput| matches!(output, NodeOutput::Disk(DiskJob::Compact { .. }));
    let compacted: Vec<_> = cluster.outputs.iter().filter(is_compact).collect();
    assert_eq!(compacted, [&compact(10), &compact(applied.0)], "once the records are durable");

    cluster.outputs.clear();
    cluster.feed(leader, saved);
    assert_eq!(cluster.outputs, [], "an unexpected result");
}

#[test]
fn after_so_many_bytes_or_on_request_a_snapshot_is_taken() {
    let mut cluster = Cluster::new(1);
    cluster.options.snapshot_after_bytes = 1_000;
    cluster.restart(NodeId(1));
    let (mut cluster, leader, session) = cluster.with_session();
    cluster.commands(leader, session, 1..=5);
    assert_eq!(cluster.count(is_save), 0);
    cluster.commands(leader, session, 6..=30);
    assert_eq!(cluster.count(is_save), 1, "24 bytes for an entry, and about 20 for the command");
    for _ in 0..2 {
        cluster.feed(leader, NodeInput::TakeSnapshot);
        cluster.settle();
        assert_eq!(cluster.count(is_save), 2, "the second request finds nothing new");
    }
    cluster.commands(leader, session, 31..=31);
    assert_eq!(cluster.count(is_save), 2, "a request is valid for one call only");
}

#[test]
fn after_a_failed_save_the_next_snapshot_is_taken_when_it_is_due() {
    let (mut cluster, leader, session) = snapshotting(1, 10).with_session();
    cluster.holds_files = true;
    cluster.commands(leader, session, 1..=15);
    cluster.outputs.clear();
    let last = cluster.node(1).raft.snapshot_meta(LogIndex(10)).expect("it is applied").last;
    let (file, outcome) = (SnapshotFile::Own, WriteOutcome::NoSpace);
    cluster.feed(leader, NodeInput::SnapshotWritten { file, last, end: 30, outcome });
    assert_eq!(cluster.outputs, []);
    cluster.commands(leader, session, 16..=18);
    assert_eq!(cluster.outputs.iter().find_map(saves), Some(20));
}

#[test]
fn a_restart_loads_the_snapshot_and_reads_the_log_after_it() {
    let (mut cluster, id, session) = snapshotting(1, 7).with_session();
    cluster.commands(id, session, 1..=16);
    let before = cluster.node(1).clone();
    let snapshot = cluster.disk(id).snapshot.clone().expect("there is one");
    let behind = before.state.applied.0 - snapshot.last.index.0;
    assert!(behind > 0 && cluster.disk(id).log.len() as u64 == behind);

    cluster.outputs.clear();
    cluster.restart(id);
    assert_eq!(cluster.count(|output| *output == load(&snapshot)), 1, "in the first call");
    assert_eq!(cluster.node(1).state.applied, LogIndex(0));
    cluster.leader();
    assert_eq!(cluster.node(1).machine(), before.machine());
    assert!(cluster.count(|output| matches!(output, NodeOutput::Disk(DiskJob::ReadLog { .. }))) > 0);
    assert_eq!((cluster.count(restores), cluster.count(|output| *output == load(&snapshot))), (1, 1));
    // The new leader's no-op changes only the applied index.
    let mut after = cluster.node(1).clone();
    assert!(after.state.applied > before.state.applied);
    after.state.applied = before.state.applied;
    assert_eq!(after.state_hash(), before.state_hash());
}

#[test]
fn a_peer_that_was_away_gets_a_snapshot_and_then_entries() {
    let (mut cluster, _, away) = one_behind();
    cluster.heal();
    assert_eq!(cluster.count(restores), 1);
    let discards = |output: &NodeOutput| record(output).is_some_and(|record| record.log == InstallMode::Discard);
    assert_eq!((cluster.count(discards), cluster.journal(away).len()), (1, 23));
}

#[test]
fn equal_states_have_equal_snapshots_on_all_nodes() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.commands(leader, session, 1..=5);
    cluster.catch_up();
    for id in 1..=3 {
        cluster.feed(NodeId(id), NodeInput::TakeSnapshot);
    }
    cluster.settle();
    let files: BTreeSet<_> = cluster.disks.values().map(|disk| disk.files.clone()).collect();
    assert_eq!(files.len(), 1, "the same on three nodes");
    let file = files.first().and_then(|files| files.values().next()).expect("there is one");
    assert!(file.ends_with(b"command 1,command 2,command 3,command 4,command 5"));
}

#[test]
fn sessions_survive_a_snapshot() {
    let (mut cluster, leader, oldest) = snapshotting(3, 1).with_session();
    let second = cluster.open_session(leader, 2);
    let third = cluster.open_session(leader, 3);
    cluster.commands(leader, third, 1..=3);
    let first_reply = cluster.reply(1_001);
    cluster.catch_up();
    for id in [1, 2, 3].map(NodeId) {
        assert!(cluster.disk(id).snapshot.is_some());
        cluster.restart(id);
    }
    let leader = cluster.leader();
    assert_eq!(cluster.ask(leader, 10, command(third, 1)), first_reply, "applied once");
    assert_eq!(cluster.ask(leader, 11, command(oldest, 1)), Some(Reply::SessionExpired), "it had ended");
    assert!(matches!(cluster.ask(leader, 12, command(second, 1)), Some(Reply::Applied { .. })), "it is still open");
    cluster.heal();
}

#[test]
fn an_installed_snapshot_makes_waiting_requests_unknown() {
    let (mut cluster, leader, session) = snapshotting(3, 5).with_session();
    cluster.commands(leader, session, 1..=3);
    cluster.cut.insert(leader);
    cluster.request(leader, 2, command(session, 4));
    cluster.request(leader, 3, query());
    let next = cluster.leader();
    cluster.commands(next, session, 5..=25);
    cluster.heal();
    assert_eq!((cluster.count(restores), cluster.reply(2)), (1, Some(Reply::Unknown)));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })));

    // There was no change of leader: only the requests that the snapshot covers get a reply.
    let mut node = cluster.nodes.remove(&next).expect("it is there");
    let meta = node.raft.snapshot_meta(node.state.applied).expect("there is a configuration");
    node.waiters.insert(meta.last, RequestId(1));
    node.waiters.insert(EntryId { index: meta.last.index.next(), ..meta.last }, RequestId(2));
    let mut outputs = Vec::new();
    node.execute(Action::Restore { meta: meta.clone() }, &mut outputs);
    assert_eq!(outputs, [NodeOutput::Reply { id: RequestId(1), reply: Reply::Unknown }, load(&meta)]);
}

/// A node that has applied a few commands, snapshots of two later states, and the entries after them.
fn behind_two_snapshots() -> (Node<Journal>, [(SnapshotMeta, Bytes); 2], Entries) {
    let (mut cluster, leader, session) = Cluster::new(1).with_session();
    let node = cluster.node(1).clone();
    let snapshots = [1..=3, 4..=6].map(|numbers| {
        cluster.commands(leader, session, numbers);
        cluster.feed(leader, NodeInput::TakeSnapshot);
        cluster.settle();
        let disk = cluster.disk(leader);
        let meta = disk.snapshot.clone().expect("it was taken");
        (meta.clone(), disk.files[&meta.last].clone())
    });
    cluster.commands(leader, session, 7..=9);
    let after = cluster.disk(leader).log.split_off(&snapshots[1].0.last.index.next()).into_values().collect();
    (node, snapshots, after)
}

#[test]
fn entries_wait_until_the_snapshot_before_them_is_loaded() {
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
        node.execute(action, &mut outputs);
    }
    assert_eq!(outputs, [load(&first), load(&second)]);
    outputs.clear();
    node.step(Instant(0), [NodeInput::TakeSnapshot], &mut outputs);
    assert_eq!((node.state_hash(), outputs.iter().any(is_save)), (before, false), "no snapshot of the old state");

    outputs.clear();
    node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: first, data: old }], &mut outputs);
    assert_eq!((node.state_hash(), outputs.as_slice()), (before, &[][..]), "it was replaced");
    let loaded = NodeInput::SnapshotLoaded { meta: second.clone(), data };
    node.step(Instant(0), [loaded.clone()], &mut outputs);
    let [NodeOutput::Report(Report::Restored { meta, .. }), NodeOutput::Report(Report::Applied { entries, .. }), ..] =
        outputs.as_slice()
    else {
        panic!("not {outputs:?}")
    };
    assert_eq!((meta, entries, node.machine().commands.len()), (&second, &after, 9));
    let hash = node.state_hash();
    node.step(Instant(0), [loaded], &mut outputs);
    assert_eq!(node.state_hash(), hash, "loaded once");
}

#[test]
fn an_unreadable_snapshot_ends_the_node() {
    let (mut node, [(first, _), (second, data)], after) = behind_two_snapshots();
    let before = node.state_hash();
    let encode = |last, machine| -> Bytes {
        let mut encoder = SnapshotEncoder::new(last, &node.state.sessions, Bytes::from_static(machine));
        std::iter::from_fn(|| encoder.next_chunk(1 << 20)).flatten().collect()
    };
    let other = SnapshotError::OtherEntry { expected: second.last, found: first.last };
    let table = [
        (Bytes::from_static(b"\xff"), None),
        (data.slice(..7), None),
        (Bytes::new(), None),
        (Bytes::from_static(b"\x02\x08\x03"), Some(SnapshotError::UnknownFormat { found: 3 })),
        (encode(first.last, b""), Some(other)),
        (encode(second.last, b"!"), Some(SnapshotError::malformed("not a journal"))),
    ];
    let mut outputs = Vec::new();
    node.execute(Action::Restore { meta: second.clone() }, &mut outputs);
    node.execute(Action::Apply { entries: after }, &mut outputs);
    for (data, expected) in table {
        outputs.clear();
        node.step(Instant(0), [NodeInput::SnapshotLoaded { meta: second.clone(), data }], &mut outputs);
        let [NodeOutput::Report(Report::SnapshotUnreadable { meta, error })] = outputs.as_slice() else {
            panic!("not {outputs:?}")
        };
        assert_eq!(meta, &second);
        match expected {
            Some(expected) => assert_eq!(error, &expected),
            None => assert!(matches!(error, SnapshotError::Malformed(_)), "{error}"),
        }
        assert_eq!(node.state_hash(), before, "nothing has changed, and nothing is applied");
    }
}

#[test]
fn a_transfer_continues_after_lost_messages() {
    let (mut cluster, _, away) = one_behind();
    cluster.until_received(away, 60);
    cluster.cut.insert(away);
    cluster.queue.retain(|(to, input)| *to != away || !matches!(input, NodeInput::SnapshotMessage { .. }));
    cluster.settle();
    cluster.outputs.clear();
    cluster.continued_from(60);
}

#[test]
fn another_leader_continues_the_transfer_of_the_same_file() {
    let (mut cluster, leader, session) = snapshotting(3, 0).with_session();
    let (away, other) = (next(leader), next(next(leader)));
    cluster.cut.insert(away);
    cluster.commands(leader, session, 1..=20);
    // The other two have applied the same entries, so their snapshots are equal.
    cluster.catch_up();
    for id in [leader, other] {
        cluster.feed(id, NodeInput::TakeSnapshot);
    }
    cluster.settle();
    cluster.cut.clear();
    cluster.until_received(away, 60);
    cluster.cut.insert(leader);
    cluster.queue.retain(|(to, _)| *to != leader);
    cluster.outputs.clear();
    assert_eq!(cluster.leader(), other, "the third has a shorter log");
    cluster.continued_from(60);
}

#[test]
fn a_duplicated_chunk_in_the_call_that_completes_the_snapshot_does_not_remove_the_file() {
    let (mut cluster, leader, away) = one_behind();
    let is_chunk = |input: &NodeInput| matches!(input, NodeInput::SnapshotMessage { message: SnapshotMessage::Chunk(chunk), .. } if !chunk.bytes.is_empty());
    let mut first = None;
    loop {
        let (to, input) = cluster.queue.pop_front().unwrap_or((leader, NodeInput::Tick));
        if to == away && first.is_none() && is_chunk(&input) {
            first = Some(input.clone());
        }
        match (&input, first.clone()) {
            // The disk has written the last chunk, and a duplicate of the first chunk arrives at the same time.
            (NodeInput::SnapshotWritten { file: SnapshotFile::Received, last, .. }, Some(copy))
                if cluster.disks[&to].files.contains_key(last) =>
            {
                let last = Some(*last);
                cluster.feed_all(away, vec![input, copy]);
                let named = cluster.disks[&away].snapshot.as_ref().map(|meta| meta.last);
                assert_eq!(named, last, "a record names it");
                break;
            }
            (NodeInput::Tick, _) => cluster.tick(),
            _ => cluster.feed(to, input),
        }
    }
    // `use_disk` refuses to remove a file that a record names, and needs the file for the load.
    cluster.heal();
}

#[test]
fn after_a_failed_write_at_the_peer_the_snapshot_is_sent_again() {
    for (outcome, expected) in [
        (WriteOutcome::NoSpace, SnapshotState::Unwanted),
        (WriteOutcome::Damaged, SnapshotState::Damaged),
        (WriteOutcome::Unusable(SnapshotError::UnknownFormat { found: 3 }), SnapshotState::Unwanted),
    ] {
        let (mut cluster, leader, away) = one_behind();
        cluster.until_received(away, 60);
        let written =
            |(to, input): &(NodeId, NodeInput)| *to == away && matches!(input, NodeInput::SnapshotWritten { .. });
        let place = cluster.queue.iter().position(written).expect("a chunk is being written");
        let Some((_, NodeInput::SnapshotWritten { file, last, end, .. })) = cluster.queue.remove(place) else {
            panic!("just found")
        };
        cluster.outputs.clear();
        cluster.feed(away, NodeInput::SnapshotWritten { file, last, end, outcome: outcome.clone() });
        let refused = cluster.count(|output| matches!(output, NodeOutput::Report(Report::SnapshotRefused { .. })));
        assert_eq!(refused, usize::from(matches!(outcome, WriteOutcome::Unusable(_))));
        let Some(NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) }) =
            cluster.outputs.get(refused)
        else {
            panic!("{:?}", cluster.outputs)
        };
        assert_eq!((*to, progress.state, cluster.outputs.len()), (leader, expected, refused + 1));
        cluster.heal();
        let verified = cluster.count(|output| job(output) == Some(&SnapshotJob::Verify { last }));
        assert_eq!(verified, usize::from(expected == SnapshotState::Damaged));
    }
}

#[test]
fn an_older_file_is_removed_once_it_is_not_sent_any_more() {
    let (mut cluster, leader, away) = one_behind();
    cluster.until_received(away, 60);
    let sent = cluster.disks[&leader].snapshot.clone().expect("it is being sent").last;
    cluster.cut.insert(away);
    let session = cluster.open_session(leader, 2);
    cluster.commands(leader, session, 24..=40);
    let removed = |cluster: &Cluster| cluster.count(|output| job(output) == Some(&SnapshotJob::Remove { last: sent }));
    assert!(cluster.disks[&leader].snapshot.as_ref().is_some_and(|meta| meta.last > sent), "a newer one exists");
    assert!(cluster.disks[&leader].files.contains_key(&sent), "it is still being sent");
    let before = removed(&cluster);
    cluster.heal();
    assert!(removed(&cluster) > before && !cluster.disks[&leader].files.contains_key(&sent));
    assert!(cluster.disks.values().all(|disk| disk.files.len() == 1), "the file that the newest record names");
}

#[test]
fn members_save_in_turns_and_finish_when_nothing_is_applied() {
    let options = NodeOptions { snapshot_after_entries: 12, snapshot_turn_entries: 4, ..options() };
    let (mut cluster, leader, session) = Cluster::with(3, Config::new(NodeId(0)), options).with_session();
    let written = |cluster: &Cluster, id| {
        let Disk { files, unfinished: [own, _], .. } = &cluster.disks[&id];
        files.values().map(Bytes::len).sum::<usize>() + own.len()
    };
    let ids = [1, 2, 3].map(NodeId);
    let mut saved = BTreeSet::new();
    for sequence in 1..=60 {
        let before = ids.map(|id| written(&cluster, id));
        cluster.commands(leader, session, sequence..=sequence);
        for (id, before) in ids.into_iter().zip(before) {
            if written(&cluster, id) > before {
                let applied = cluster.nodes[&id].state.applied;
                assert_eq!(applied.0 / 4 % 3 + 1, id.0, "{applied} is not the turn of {id}");
                saved.insert(id);
            }
        }
    }
    assert_eq!(saved.len(), 3, "each has a turn");
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.snapshots.deadline().is_none()));
    let newest = ids.map(|id| cluster.disks[&id].snapshot.as_ref().map(|meta| meta.last.index));
    assert!(newest.iter().all(|newest| *newest > Some(LogIndex(30))), "{newest:?}");
}
