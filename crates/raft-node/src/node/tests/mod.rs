//! Whole nodes without a simulator: messages in a queue, disks without delay, time that advances to the next deadline.

mod backups;
mod forwarding;
mod full_disk;
mod snapshot_lifecycle;
mod timers_and_watches;

use super::*;
use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob, WriteOutcome};
use crate::interface::outputs::Report;
use crate::interface::requests::{Request, SessionCommand, SessionId};
use crate::interface::state_machine::{ChangedKeys, SnapshotError, Timer, TimerName, Watched};
use bytes::Bytes;
use raft_core::{
    AppendEntries, Entries, Entry, EntryId, HardState, InstallMode, InvalidChange, MembershipChange, MembershipStep,
    NodeId, Payload, ReadMode, RejectReason, RequestId, Seq, SnapshotMeta, TransferFailure, Write,
};
use raft_store::FileChunk;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A state machine that stores all commands; a response is their number. It counts the watches that it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Journal {
    commands: Vec<Bytes>,
    asked: Cell<u64>,
}

impl Journal {
    /// The first command that a watch can get.
    fn oldest(&self) -> u64 {
        (self.commands.len() as u64).saturating_sub(9).max(1)
    }
}

impl StateMachine for Journal {
    type Snapshot = Bytes;

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Bytes {
        self.commands.push(command.clone());
        self.query(command)
    }

    fn query(&self, _query: &Bytes) -> Bytes {
        Bytes::from(self.commands.len().to_string())
    }

    /// "N PREFIX" waits for the first command that begins with PREFIX, from the N-th on, and continues behind it. Only the latest ten
    /// are remembered.
    fn watch(&self, query: &Bytes, seen: u64) -> Watched {
        self.asked.set(self.asked.get() + 1);
        let text = std::str::from_utf8(query).expect("text");
        let (number, prefix) = text.split_once(' ').unwrap_or((text, ""));
        let from = number.parse::<u64>().expect("a number").max(seen + 1);
        let commands = (1..).zip(&self.commands);
        if from < self.oldest() {
            return Watched::Now { response: "forgotten".into(), next: None };
        }
        let found = |(number, command): &(u64, &Bytes)| *number >= from && command.starts_with(prefix.as_bytes());
        match commands.into_iter().find(found) {
            Some((number, command)) => {
                Watched::Now { response: command.clone(), next: Some(format!("{} {prefix}", number + 1).into()) }
            }
            None => {
                let next = self.commands.len() as u64 + 1;
                let query = format!("{} {prefix}", if from > next { from } else { 1 });
                Watched::Later { prefix: Bytes::copy_from_slice(prefix.as_bytes()), query: query.into() }
            }
        }
    }

    fn changed_keys(&self, after: u64) -> ChangedKeys {
        let is_known = after.saturating_add(1) >= self.oldest();
        let keys =
            || (1..).zip(&self.commands).filter(|(number, _)| *number > after).map(|(_, command)| command.clone());
        ChangedKeys { through: self.commands.len() as u64, keys: is_known.then(|| keys().collect()) }
    }

    /// "after 50" sets a timer of 50 milliseconds. "done" with the timer's number ends it.
    fn timers(&self, after: u64) -> Vec<Timer> {
        let timer = |(number, command): (u64, &Bytes)| {
            let ms = std::str::from_utf8(command).ok()?.strip_prefix("after ")?.parse().ok()?;
            Some(Timer { name: TimerName { number, name: Bytes::new() }, after: Duration::from_millis(ms) })
        };
        (1..).zip(&self.commands).filter(|(number, _)| *number > after).filter_map(timer).collect()
    }

    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        let done = |timer: &TimerName| Bytes::from(format!("done {}", timer.number));
        due.iter().map(done).find(|done| !self.commands.contains(done))
    }

    fn state_hash(&self) -> u128 {
        self.commands.len() as u128
    }

    fn snapshot(&self) -> Bytes {
        self.commands.join(&b","[..]).into()
    }

    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError> {
        if snapshot.starts_with(b"!") {
            return Err(SnapshotError::malformed("not a journal"));
        }
        let parts = snapshot.split(|&byte| byte == b',').filter(|part| !part.is_empty());
        self.commands = parts.map(Bytes::copy_from_slice).collect();
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Disk {
    hard_state: HardState,
    log: BTreeMap<LogIndex, Entry>,
    snapshot: Option<SnapshotMeta>,
    files: BTreeMap<EntryId, Bytes>,
    /// The incomplete files: the node's own and a peer's.
    unfinished: [Vec<u8>; 2],
}

impl Disk {
    fn write_snapshot(&mut self, file: SnapshotFile, last: EntryId, offset: u64, bytes: &[u8], is_last: bool) {
        let unfinished = &mut self.unfinished[usize::from(file == SnapshotFile::Received)];
        if offset == 0 {
            unfinished.clear();
        }
        assert_eq!(unfinished.len() as u64, offset, "chunk after chunk");
        unfinished.extend_from_slice(bytes);
        if is_last {
            self.files.insert(last, std::mem::take(unfinished).into());
        }
    }

    fn read_snapshot(&self, last: EntryId, offset: u64, max_bytes: u64) -> Option<FileChunk> {
        let file = self.files.get(&last)?;
        let (start, size) = (usize::try_from(offset).ok()?.min(file.len()), file.len() as u64);
        let end = start + usize::try_from(max_bytes).ok()?.min(file.len() - start);
        Some(FileChunk { size, checksum: 7, bytes: file.slice(start..end) })
    }

    fn write(&mut self, write: &Write) {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = write.truncate_from {
            self.log.split_off(&from);
        }
        if let Some(record) = &write.snapshot {
            assert!(self.files.contains_key(&record.meta.last), "its file is durable before a record names it");
            self.snapshot = Some(record.meta.clone());
            if record.log == InstallMode::Discard {
                self.log.clear();
            }
        }
        self.log.extend(write.entries.iter().map(|entry| (entry.id.index, entry.clone())));
    }

    /// The recovered state after a restart, with no entries in memory.
    fn restored(&self) -> RecoveredState {
        let entries = self.log.values().cloned().collect();
        let restored = RecoveredState::of_log(self.hard_state, self.snapshot.clone(), entries);
        RecoveredState { tail: Entries::new(), ..restored }
    }
}

/// Two sessions, small chunks without a rate limit, snapshots only on request, and followers that forward nothing.
fn options() -> NodeOptions {
    NodeOptions {
        max_sessions: 2,
        snapshot_after_entries: 0,
        snapshot_after_bytes: 0,
        snapshot_turn_entries: 0,
        snapshot_pauses: 0,
        snapshot_chunk_bytes: 30,
        snapshot_bytes_per_second: 0,
        max_forwarded_requests: 0,
        ..NodeOptions::default()
    }
}

/// Nodes, and messages between them.
struct Cluster {
    config: Config,
    options: NodeOptions,
    nodes: BTreeMap<NodeId, Node<Journal>>,
    disks: BTreeMap<NodeId, Disk>,
    queue: VecDeque<(NodeId, NodeInput)>,
    /// The nodes that have no network.
    cut: BTreeSet<NodeId>,
    /// Whether results of snapshot jobs go to `held` instead of the queue.
    holds_files: bool,
    held: Vec<(NodeId, NodeInput)>,
    replies: BTreeMap<RequestId, Reply>,
    outputs: Vec<NodeOutput>,
    now: Instant,
}

impl Cluster {
    fn new(count: u64) -> Self {
        Self::with(count, Config::new(NodeId(0)), options())
    }

    /// The nodes report applied entries; `outputs` omits the events of the core.
    fn with(count: u64, config: Config, options: NodeOptions) -> Self {
        let ids = || (1..=count).map(NodeId);
        let mut disk = Disk::default();
        disk.write(&Write::bootstrap(Configuration::of_voters(ids())));
        let mut cluster = Self {
            config: Config { observe: true, ..config },
            options,
            nodes: BTreeMap::new(),
            disks: ids().map(|id| (id, disk.clone())).collect(),
            queue: VecDeque::new(),
            cut: BTreeSet::new(),
            holds_files: false,
            held: Vec::new(),
            replies: BTreeMap::new(),
            outputs: Vec::new(),
            now: Instant(0),
        };
        ids().for_each(|id| cluster.start(id));
        cluster
    }

    /// Adds a leader and an open session.
    fn with_session(mut self) -> (Self, NodeId, SessionId) {
        let leader = self.leader();
        let session = self.open_session(leader, 1);
        (self, leader, session)
    }

    /// Starts a node from its disk, with an empty state machine.
    fn start(&mut self, id: NodeId) {
        let config = Config { id, ..self.config.clone() };
        let node = Node::new(config, self.options.clone(), self.disks[&id].restored(), Journal::default());
        self.nodes.insert(id, node.expect("the disk is valid"));
    }

    fn node(&self, id: u64) -> &Node<Journal> {
        &self.nodes[&NodeId(id)]
    }

    /// Gives a node one input and executes its outputs. Messages from and to an isolated node are lost; its disk works.
    fn feed(&mut self, id: NodeId, input: NodeInput) {
        self.feed_all(id, vec![input]);
    }

    fn feed_all(&mut self, id: NodeId, inputs: Vec<NodeInput>) {
        let mut outputs = Vec::new();
        self.nodes.get_mut(&id).expect("every node belongs to this cluster").step(self.now, inputs, &mut outputs);
        for output in outputs {
            match output.clone() {
                NodeOutput::Send { to, rpc } => self.send(id, to, NodeInput::Receive { from: id, rpc }),
                NodeOutput::SendSnapshot { to, message } => {
                    self.send(id, to, NodeInput::SnapshotMessage { from: id, message });
                }
                NodeOutput::Persist(write) => {
                    self.disk(id).write(&write);
                    self.queue.push_back((id, NodeInput::Persisted { write: write.id }));
                }
                NodeOutput::ForwardRequest { to, request, .. } => {
                    self.send(id, to, NodeInput::ForwardedRequest { from: id, request });
                }
                NodeOutput::ForwardReply { to, reply } => {
                    self.send(id, to, NodeInput::ForwardedReply { from: id, reply });
                }
                NodeOutput::Reply { id, reply } | NodeOutput::LeaderReply { id, reply, .. } => {
                    assert_eq!(self.replies.insert(id, reply), None, "a second reply to {id}");
                }
                NodeOutput::Disk(job) => self.use_disk(id, job),
                NodeOutput::Report(Report::Observed(_)) => continue,
                NodeOutput::Report(_) => {}
            }
            self.outputs.push(output);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, input: NodeInput) {
        if !self.cut.contains(&from) && !self.cut.contains(&to) {
            self.queue.push_back((to, input));
        }
    }

    fn use_disk(&mut self, id: NodeId, job: DiskJob) {
        let disk = self.disks.get_mut(&id).expect("every node has a disk");
        let result = match job {
            DiskJob::ReadLog { read, first, last, .. } => {
                let entries = disk.log.range(first..=last).map(|(_, entry)| entry.clone()).collect();
                return self.queue.push_back((id, NodeInput::LogRead { read, entries }));
            }
            DiskJob::Compact { before } => return disk.log = disk.log.split_off(&before),
            DiskJob::Snapshot(SnapshotJob::Write { file, meta, offset, bytes, is_last }) => {
                disk.write_snapshot(file, meta.last, offset, &bytes, is_last);
                let end = offset + bytes.len() as u64;
                NodeInput::SnapshotWritten { file, last: meta.last, end, outcome: WriteOutcome::Done }
            }
            DiskJob::Snapshot(SnapshotJob::Read { to, last, offset, max_bytes }) => {
                NodeInput::SnapshotRead { to, last, offset, chunk: disk.read_snapshot(last, offset, max_bytes) }
            }
            DiskJob::Snapshot(SnapshotJob::Drop { .. }) => return disk.unfinished[1].clear(),
            DiskJob::Snapshot(SnapshotJob::Remove { last }) => {
                let named = disk.snapshot.as_ref().map(|meta| meta.last);
                assert_ne!(named, Some(last), "a record names this file");
                return drop(disk.files.remove(&last));
            }
            DiskJob::Snapshot(SnapshotJob::Load { meta }) => {
                NodeInput::SnapshotLoaded { data: disk.files[&meta.last].clone(), meta }
            }
            DiskJob::ReserveSpace | DiskJob::Snapshot(SnapshotJob::Verify { .. }) => return,
        };
        if self.holds_files { self.held.push((id, result)) } else { self.queue.push_back((id, result)) }
    }

    fn disk(&mut self, id: NodeId) -> &mut Disk {
        self.disks.get_mut(&id).expect("every node has a disk")
    }

    fn settle(&mut self) {
        while let Some((to, input)) = self.queue.pop_front() {
            self.feed(to, input);
        }
    }

    /// Advances time until the condition holds.
    fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            self.settle();
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("the condition never held");
    }

    /// Advances time to the next deadline.
    fn tick(&mut self) {
        let due = |(id, node): (&NodeId, &Node<Journal>)| node.deadline().map(|deadline| (deadline, *id));
        let (deadline, id) = self.nodes.iter().filter_map(due).min().expect("some node has a deadline");
        self.now = self.now.max(deadline);
        self.feed(id, NodeInput::Tick);
    }

    /// The leader that is not isolated, once it can commit.
    fn leader(&mut self) -> NodeId {
        let find = |cluster: &Self| {
            let leads = |id: &&NodeId| {
                let status = cluster.nodes[id].status();
                status.role == RoleKind::Leader && status.commit == status.last.index && !cluster.cut.contains(id)
            };
            cluster.nodes.keys().find(leads).copied()
        };
        self.run_until(|cluster| find(cluster).is_some());
        find(self).expect("just found")
    }

    /// Advances time until all nodes that are not isolated have applied the same entries.
    fn catch_up(&mut self) {
        self.run_until(|cluster| {
            let connected = cluster.nodes.iter().filter(|(id, _)| !cluster.cut.contains(id));
            connected.map(|(_, node)| node.state.applied).collect::<BTreeSet<_>>().len() == 1
        });
    }

    /// Restores the network, waits until all nodes have caught up, and checks that they have the same state.
    fn heal(&mut self) {
        self.cut.clear();
        self.catch_up();
        let hashes: BTreeSet<u128> = self.nodes.values().map(Node::state_hash).collect();
        assert_eq!(hashes.len(), 1, "equal states, sessions included");
    }

    fn request(&mut self, at: NodeId, id: u64, request: Request) {
        self.feed(at, NodeInput::Request { id: RequestId(id), request });
    }

    /// Sends a request, delivers all messages, and returns the reply.
    fn ask(&mut self, at: NodeId, id: u64, request: Request) -> Option<Reply> {
        self.request(at, id, request);
        self.settle();
        self.reply(id)
    }

    fn reply(&self, id: u64) -> Option<Reply> {
        self.replies.get(&RequestId(id)).cloned()
    }

    fn open_session(&mut self, at: NodeId, id: u64) -> SessionId {
        match self.ask(at, id, Request::OpenSession) {
            Some(Reply::SessionOpened { session }) => session,
            other => panic!("no session but {other:?}"),
        }
    }

    /// Applies commands with these numbers.
    fn commands(&mut self, at: NodeId, session: SessionId, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let reply = self.ask(at, 1_000 + number, command(session, number));
            assert!(matches!(reply, Some(Reply::Applied { .. })), "{number}: {reply:?}");
        }
    }

    fn count(&self, is_counted: impl Fn(&NodeOutput) -> bool) -> usize {
        self.outputs.iter().filter(|output| is_counted(output)).count()
    }

    fn journal(&self, id: NodeId) -> &[Bytes] {
        &self.nodes[&id].machine().commands
    }
}

/// Another one of three nodes.
fn next(id: NodeId) -> NodeId {
    NodeId(id.0 % 3 + 1)
}

fn command(session: SessionId, sequence: u64) -> Request {
    let command = Bytes::from(format!("command {sequence}"));
    Request::Command(SessionCommand { session, sequence, lowest_pending: 1, command })
}

fn query() -> Request {
    Request::Query { query: Bytes::new(), mode: ReadMode::Safe }
}

fn watch() -> Request {
    Request::Watch { query: Bytes::from_static(b"9"), cluster: None }
}

fn stale_query() -> Request {
    Request::StaleQuery { query: Bytes::new() }
}

fn answer(applied: LogIndex, response: &'static str) -> Option<Reply> {
    Some(Reply::Answer { applied, response: Bytes::from_static(response.as_bytes()) })
}

fn rejected(reason: RejectReason) -> Option<Reply> {
    Some(Reply::Rejected { reason })
}

fn restores(output: &NodeOutput) -> bool {
    matches!(output, NodeOutput::Report(Report::Restored { .. }))
}

#[test]
fn a_single_node_proposes_persists_applies_and_replies() {
    let (mut cluster, leader, session) = Cluster::new(1).with_session();
    cluster.outputs.clear();
    cluster.request(leader, 2, command(session, 1));
    let [NodeOutput::Persist(write)] = &cluster.outputs[..] else { panic!("one write: {:?}", cluster.outputs) };
    assert_eq!((write.entries.len(), cluster.reply(2)), (1, None), "no reply before the write is durable");

    let (entries, entry) = (write.entries.clone(), write.entries[0].id);
    cluster.outputs.clear();
    cluster.settle();
    let state_hash = cluster.node(1).state_hash();
    let reply = Reply::Applied { entry, response: Bytes::from_static(b"1") };
    let done = [Report::Applied { entries, state_hash }.into(), NodeOutput::Reply { id: RequestId(2), reply }];
    assert_eq!(cluster.outputs, done);
    assert_eq!(cluster.journal(leader), [Bytes::from_static(b"command 1")], "without its envelope");
    assert_eq!(cluster.node(1).status().applied, entry.index, "the core learns it in the same call");
    assert_eq!(cluster.ask(leader, 3, query()), answer(entry.index, "1"));
}

#[test]
fn any_node_answers_a_stale_query_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.request(NodeId(2), 1, stale_query());
    assert_eq!(cluster.reply(1), answer(LogIndex(0), "0"), "even before the first election");
    assert_eq!(cluster.ask(NodeId(2), 2, query()), rejected(RejectReason::NotLeader { leader: None }));
}

#[test]
fn a_membership_change_gets_its_reply_once_it_is_committed() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let change = MembershipChange { steps: vec![MembershipStep::Demote { id: leader }], ..Default::default() };
    cluster.request(leader, 1, Request::ChangeMembership { change: change.clone() });
    assert_eq!(cluster.reply(1), None);
    cluster.settle();
    let Some(Reply::ConfigurationDecided { configuration, .. }) = cluster.reply(1) else {
        panic!("not decided but {:?}", cluster.reply(1))
    };
    assert!(configuration.is_joint(), "{configuration}");
    let next = cluster.leader();
    assert_ne!(next, leader, "a learner does not lead");
    let reply = cluster.ask(next, 2, Request::ChangeMembership { change });
    assert_eq!(reply, rejected(RejectReason::InvalidChange(InvalidChange::NoVoter { id: leader })));
}

#[test]
fn leadership_is_transferred_or_the_reply_says_why_not() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let to = next(leader);
    let reply = cluster.ask(leader, 1, Request::TransferLeadership { to: Some(to) });
    assert_eq!((reply, cluster.leader()), (Some(Reply::LeadershipTransferred { to }), to));
    let cut = next(to);
    cluster.cut.insert(cut);
    cluster.request(to, 2, Request::TransferLeadership { to: Some(cut) });
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    let failed = Reply::TransferFailed { reason: TransferFailure::TimedOut };
    assert_eq!((cluster.reply(2), cluster.leader()), (Some(failed), to), "it still leads");
}

#[test]
fn a_retry_at_the_next_leader_is_applied_once() {
    let (mut cluster, first, session) = Cluster::new(3).with_session();
    // The entry reaches the followers; their answers do not reach the leader.
    cluster.request(first, 2, command(session, 1));
    cluster.cut.insert(first);
    cluster.settle();
    assert_eq!(cluster.reply(2), None);
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    assert_eq!(cluster.reply(2), Some(Reply::Unknown), "it will be applied");

    let second = cluster.leader();
    let Some(Reply::Applied { entry, response }) = cluster.ask(second, 3, command(session, 1)) else {
        panic!("not applied")
    };
    let last = cluster.nodes[&second].status().last;
    assert!(entry.term < last.term && last.index > entry.index, "{entry} was the first attempt, {last} the retry");
    assert_eq!(response, Bytes::from_static(b"1"));
    cluster.heal();
    assert!(cluster.nodes.keys().all(|id| cluster.journal(*id).len() == 1), "every node applied it once");
}

#[test]
fn a_command_that_was_never_replicated_is_unknown_and_has_no_effect() {
    let (mut cluster, first, session) = Cluster::new(3).with_session();
    cluster.cut.insert(first);
    cluster.request(first, 2, command(session, 1));
    cluster.request(first, 3, query());
    let second = cluster.leader();
    cluster.ask(second, 4, command(session, 2));
    cluster.cut.clear();
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.machine().commands.len() == 1));
    assert_eq!(cluster.reply(2), Some(Reply::Unknown));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })), "a read has no effect: {:?}", cluster.reply(3));
    assert_eq!(cluster.journal(first), [Bytes::from_static(b"command 2")]);
}

#[test]
fn sessions_end_alike_on_all_nodes_and_after_a_restart() {
    let (mut cluster, leader, oldest) = Cluster::new(3).with_session();
    let second = cluster.open_session(leader, 2);
    cluster.request(leader, 3, command(oldest, 1));
    let third = cluster.open_session(leader, 4);
    for (id, session, stays) in [(5, second, false), (6, oldest, true), (7, third, true)] {
        let has_ended = cluster.ask(leader, id, command(session, 2)) == Some(Reply::SessionExpired);
        assert_eq!(has_ended, !stays, "two sessions fit, {second:?} was used least recently");
    }
    cluster.heal();

    // A restart applies the log again, from the first entry.
    let mut entries: BTreeMap<LogIndex, Entry> = BTreeMap::new();
    for output in &cluster.outputs {
        if let NodeOutput::Report(Report::Applied { entries: applied, .. }) = output {
            entries.extend(applied.iter().map(|entry| (entry.id.index, entry.clone())));
        }
    }
    let mut again = cluster.node(1).clone();
    again.state = ReplicatedState::new(Journal::default(), SessionLimits::new(&options()));
    again.apply(entries.into_values().collect(), &mut Vec::new());
    assert_eq!(again.state_hash(), cluster.nodes[&leader].state_hash());
}

#[test]
fn an_entry_without_an_envelope_has_no_effect() {
    let mut node = Cluster::new(1).nodes.remove(&NodeId(1)).expect("there is one");
    let (id, payload) = (EntryId::new(1, 1), Payload::Command(Bytes::from_static(b"garbage")));
    let before = (node.machine().clone(), node.state.sessions.clone());
    let mut outputs = Vec::new();
    node.waiters.insert(id, RequestId(1));
    node.apply([Entry { id, payload }].into_iter().collect(), &mut outputs);
    assert_eq!((node.machine().clone(), node.state.sessions.clone()), before);
    assert!(matches!(outputs[0], NodeOutput::Report(Report::Applied { .. })));
    assert_eq!(outputs[1], NodeOutput::Reply { id: RequestId(1), reply: Reply::Lost });
}

#[test]
fn a_stopped_node_replies_to_every_request() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.cut.insert(leader);
    for (id, request) in (2..).zip([command(session, 1), query(), watch()]) {
        cluster.request(leader, id, request);
    }
    // This is impossible in Raft: a later leader with another entry at a committed index.
    let term = cluster.nodes[&leader].status().term.next();
    let conflict = Entry { id: EntryId { term, index: LogIndex(2) }, payload: Payload::Noop };
    let (prev, entries) = (EntryId::new(1, 1), vec![conflict].into());
    let append = AppendEntries { term, seq: Seq(1), prev, entries, leader_commit: LogIndex(0) };
    cluster.feed(leader, NodeInput::Receive { from: next(leader), rpc: Rpc::AppendEntries(append) });
    assert_eq!(cluster.count(|output| matches!(output, NodeOutput::Report(Report::Stopped { .. }))), 1);
    assert_eq!(cluster.reply(2), Some(Reply::Unknown));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })));
    assert_eq!(cluster.reply(4), rejected(RejectReason::Stopped));
    let requests = [Request::OpenSession, command(session, 2), query(), stale_query(), watch()];
    for (id, request) in (10..).zip(requests) {
        cluster.request(leader, id, request);
        assert_eq!(cluster.reply(id), rejected(RejectReason::Stopped), "request {id}");
    }
}

#[test]
fn a_restored_state_that_is_already_applied_is_refused() {
    let configuration = Configuration::of_voters([NodeId(1)]);
    let restored = RecoveredState { applied: LogIndex(1), ..RecoveredState::bootstrap(configuration) };
    let node = Node::new(Config::new(NodeId(1)), NodeOptions::default(), restored, Journal::default());
    assert!(matches!(node.map(|_| ()), Err(RestoreError::Config(_))));
}
