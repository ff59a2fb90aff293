//! Whole nodes without a world: messages in a queue, disks that are always fast, time that jumps to the next deadline.

pub(crate) mod full_disk;
pub(crate) mod snapshot_lifecycle;
pub(crate) mod timers_and_watches;

use super::*;
use crate::clients::envelope::SessionCommand;
use crate::node::outputs::{SessionId, SnapshotFile, WriteOutcome};
use crate::snapshots::content::SnapshotError;
use crate::state_machine::{Timer, TimerName, Watched};
use bytes::Bytes;
use raft_core::{
    AppendEntries, EntryId, HardState, InstallMode, InvalidChange, MembershipChange, MembershipStep, NodeId, ReadMode,
    Rpc, Seq, SnapshotMeta, TransferFailure, Write,
};
use raft_store::FileChunk;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A state machine that remembers everything it was told; it answers with how much that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Journal(Vec<Bytes>);

impl Journal {
    fn count(&self) -> Bytes {
        Bytes::from(self.0.len().to_string())
    }
}

impl StateMachine for Journal {
    type Snapshot = Bytes;

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Bytes {
        self.0.push(command.clone());
        self.count()
    }

    fn query(&self, _query: &Bytes) -> Bytes {
        self.count()
    }

    /// "N" waits for the N-th command, and goes on with the next.
    fn watch(&self, query: &Bytes) -> Watched {
        let number: usize = std::str::from_utf8(query).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        match self.0.get(number.wrapping_sub(1)) {
            Some(command) => {
                let next = Some(Bytes::from((number + 1).to_string()));
                Watched::Now { response: command.clone(), next }
            }
            None => Watched::Later(query.clone()),
        }
    }

    /// "after 50" is a timer of so many milliseconds, until "done" with its number says that it is over.
    fn timers(&self, after: u64) -> Vec<Timer> {
        let timer = |(number, command): (u64, &Bytes)| {
            let ms = std::str::from_utf8(command).ok()?.strip_prefix("after ")?.parse().ok()?;
            Some(Timer { name: TimerName { number, name: Bytes::new() }, after: Duration::from_millis(ms) })
        };
        (1..).zip(&self.0).filter(|(number, _)| *number > after).filter_map(timer).collect()
    }

    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        let done = |timer: &TimerName| Bytes::from(format!("done {}", timer.number));
        due.iter().map(done).find(|done| !self.0.contains(done))
    }

    fn state_hash(&self) -> u128 {
        self.0.len() as u128
    }

    fn snapshot(&self) -> Bytes {
        self.0.join(&b","[..]).into()
    }

    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError> {
        if snapshot.starts_with(b"!") {
            return Err(SnapshotError::Malformed("not a journal".to_owned()));
        }
        let parts = snapshot.split(|&byte| byte == b',').filter(|part| !part.is_empty());
        self.0 = parts.map(Bytes::copy_from_slice).collect();
        Ok(())
    }
}

/// What is on a node's disk.
#[derive(Clone, Default)]
struct Disk {
    hard_state: HardState,
    log: BTreeMap<LogIndex, Entry>,
    snapshot: Option<SnapshotMeta>,
    files: BTreeMap<EntryId, Bytes>,
    /// The files that are not whole: this node's own and a peer's.
    unfinished: [Vec<u8>; 2],
}

impl Disk {
    /// Writes a piece of a snapshot's file.
    fn write_snapshot(&mut self, file: SnapshotFile, last: EntryId, offset: u64, bytes: &[u8], is_last: bool) {
        let unfinished = &mut self.unfinished[usize::from(file == SnapshotFile::Received)];
        if offset == 0 {
            unfinished.clear();
        }
        assert_eq!(unfinished.len() as u64, offset, "piece after piece");
        unfinished.extend_from_slice(bytes);
        if is_last {
            self.files.insert(last, std::mem::take(unfinished).into());
        }
    }

    /// Reads a piece of one.
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
            assert!(self.files.contains_key(&record.meta.last), "its file is durable before it is named");
            self.snapshot = Some(record.meta.clone());
            if record.log == InstallMode::Discard {
                self.log.clear();
            }
        }
        self.log.extend(write.entries.iter().map(|entry| (entry.id.index, entry.clone())));
    }

    /// What a restart finds, with nothing of the log in memory.
    fn restored(&self) -> RecoveredState {
        let entries = self.log.values().cloned().collect();
        RecoveredState {
            tail: Entries::new(),
            ..RecoveredState::of_log(self.hard_state, self.snapshot.clone(), entries)
        }
    }
}

/// Small pieces, as fast as they go.
fn pieces() -> NodeOptions {
    NodeOptions { snapshot_chunk_bytes: 30, snapshot_bytes_per_second: 0, ..NodeOptions::default() }
}

/// Nodes, and messages on their way.
struct Cluster {
    config: Config,
    options: NodeOptions,
    nodes: BTreeMap<NodeId, Node<Journal>>,
    disks: BTreeMap<NodeId, Disk>,
    queue: VecDeque<(NodeId, NodeInput)>,
    cut: BTreeSet<NodeId>,
    /// Whether files take for ever: their answers come to `held`.
    holds_files: bool,
    held: Vec<(NodeId, NodeInput)>,
    replies: BTreeMap<RequestId, Reply>,
    outputs: Vec<NodeOutput>,
    now: Instant,
}

impl Cluster {
    /// Nodes with room for two sessions, which never take a snapshot by themselves.
    fn new(count: u64) -> Self {
        let options = NodeOptions { max_sessions: 2, snapshot_after_entries: 0, snapshot_after_bytes: 0, ..pieces() };
        Self::with(count, Config::new(NodeId(0)), options)
    }

    /// What is applied is reported; what the core says of itself is left out of the outputs.
    fn with(count: u64, config: Config, options: NodeOptions) -> Self {
        let config = Config { observe: true, ..config };
        let ids = || (1..=count).map(NodeId);
        let mut disk = Disk::default();
        disk.write(&Write::bootstrap(Configuration::of_voters(ids())));
        let mut cluster = Self {
            config,
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

    /// Starts a node with what its disk holds, and an empty state machine.
    fn start(&mut self, id: NodeId) {
        let config = Config { id, ..self.config.clone() };
        let node = Node::new(config, self.options.clone(), self.disks[&id].restored(), Journal::default());
        self.nodes.insert(id, node.expect("what a disk holds is legal"));
    }

    fn node(&self, id: u64) -> &Node<Journal> {
        &self.nodes[&NodeId(id)]
    }

    /// Hands one input to a node and puts what it asks for on its way. Messages from and to a node that is cut off
    /// vanish; its disk works.
    fn feed(&mut self, id: NodeId, input: NodeInput) {
        self.feed_all(id, vec![input]);
    }

    /// The same with several inputs in one call.
    fn feed_all(&mut self, id: NodeId, inputs: Vec<NodeInput>) {
        let mut outputs = Vec::new();
        self.nodes.get_mut(&id).expect("a node of this cluster").step(self.now, inputs, &mut outputs);
        for output in outputs {
            match output.clone() {
                NodeOutput::Send { to, rpc } if !self.cut.contains(&id) && !self.cut.contains(&to) => {
                    self.queue.push_back((to, NodeInput::Receive { from: id, rpc }));
                }
                NodeOutput::Persist(write) => {
                    self.disk(id).write(&write);
                    self.queue.push_back((id, NodeInput::Persisted { write: write.id }));
                }
                NodeOutput::Reply { id, reply } => {
                    assert_eq!(self.replies.insert(id, reply), None, "{id} was answered twice");
                }
                NodeOutput::SendSnapshot { to, message } if !self.cut.contains(&id) && !self.cut.contains(&to) => {
                    self.queue.push_back((to, NodeInput::SnapshotMessage { from: id, message }));
                }
                NodeOutput::Disk(job) => self.use_disk(id, job),
                NodeOutput::Send { .. } | NodeOutput::SendSnapshot { .. } | NodeOutput::Report(_) => {}
            }
            if !matches!(output, NodeOutput::Report(Report::Observed(_))) {
                self.outputs.push(output);
            }
        }
    }

    /// What concerns a node's files and log.
    fn use_disk(&mut self, id: NodeId, job: DiskJob) {
        let disk = self.disks.get_mut(&id).expect("every node has a disk");
        let answer = match job {
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
                let chunk = disk.read_snapshot(last, offset, max_bytes);
                NodeInput::SnapshotRead { to, last, offset, chunk }
            }
            DiskJob::Snapshot(SnapshotJob::Drop { .. }) => return disk.unfinished[1].clear(),
            DiskJob::Snapshot(SnapshotJob::Remove { last }) => {
                let named = disk.snapshot.as_ref().map(|meta| meta.last);
                assert_ne!(named, Some(last), "what the log goes by stays");
                return drop(disk.files.remove(&last));
            }
            DiskJob::Snapshot(SnapshotJob::Load { meta }) => {
                let data = disk.files[&meta.last].clone();
                NodeInput::SnapshotLoaded { meta, data }
            }
            DiskJob::MakeRoom | DiskJob::Snapshot(SnapshotJob::Verify { .. }) => return,
        };
        if self.holds_files { self.held.push((id, answer)) } else { self.queue.push_back((id, answer)) }
    }

    fn disk(&mut self, id: NodeId) -> &mut Disk {
        self.disks.get_mut(&id).expect("every node has a disk")
    }

    fn settle(&mut self) {
        while let Some((to, input)) = self.queue.pop_front() {
            self.feed(to, input);
        }
    }

    /// Lets time pass until this holds.
    fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            self.settle();
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("it never came to that");
    }

    /// Lets time pass until the first node has something to do.
    fn tick(&mut self) {
        let due = |(id, node): (&NodeId, &Node<Journal>)| node.deadline().map(|deadline| (deadline, *id));
        let (deadline, id) = self.nodes.iter().filter_map(due).min().expect("some node has a deadline");
        self.now = self.now.max(deadline);
        self.feed(id, NodeInput::Tick);
    }

    /// The node that leads and is not cut off, once there is one that can commit.
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

    /// Lets time pass until all that are not cut off have applied the same.
    fn catch_up(&mut self) {
        self.run_until(|cluster| {
            let mut applied =
                cluster.nodes.iter().filter(|(id, _)| !cluster.cut.contains(id)).map(|(_, node)| node.applied);
            let first = applied.next();
            applied.all(|other| Some(other) == first)
        });
    }

    fn hashes(&self) -> BTreeSet<u128> {
        self.nodes.values().map(Node::state_hash).collect()
    }

    fn request(&mut self, at: NodeId, id: u64, request: Request) {
        self.feed(at, NodeInput::Request { id: RequestId(id), request });
    }

    fn reply(&self, id: u64) -> Option<&Reply> {
        self.replies.get(&RequestId(id))
    }

    fn open_session(&mut self, at: NodeId, id: u64) -> SessionId {
        self.request(at, id, Request::OpenSession);
        self.settle();
        match self.reply(id) {
            Some(Reply::SessionOpened { session }) => *session,
            other => panic!("no session but {other:?}"),
        }
    }
}

fn command(session: SessionId, sequence: u64) -> Request {
    let command = Bytes::from(format!("command {sequence}"));
    Request::Command(SessionCommand { session, sequence, lowest_pending: 1, command })
}

fn query() -> Request {
    Request::Query { query: Bytes::new(), mode: ReadMode::Safe }
}

fn watch() -> Request {
    Request::Watch { query: Bytes::from_static(b"9") }
}

fn stale_query() -> Request {
    Request::StaleQuery { query: Bytes::new() }
}

fn answer(applied: u64, response: &'static str) -> Reply {
    Reply::Answer { applied: LogIndex(applied), response: Bytes::from_static(response.as_bytes()) }
}

#[test]
fn a_node_alone_proposes_persists_applies_and_replies() {
    let mut cluster = Cluster::new(1);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.outputs.clear();

    cluster.request(leader, 2, command(session, 1));
    let asked: Vec<_> = cluster.outputs.drain(..).collect();
    let [NodeOutput::Persist(write)] = asked.as_slice() else { panic!("one write, nothing else: {asked:?}") };
    assert_eq!((write.entries.len(), cluster.reply(2)), (1, None), "nothing is answered before it is durable");

    let (written, entry) = (write.entries.clone(), write.entries[0].id);
    cluster.settle();
    let response = Bytes::from_static(b"1");
    let reply = Reply::Applied { entry, response };
    let state_hash = cluster.node(1).state_hash();
    let done = [
        NodeOutput::Report(Report::Applied { entries: written, state_hash }),
        NodeOutput::Reply { id: RequestId(2), reply },
    ];
    assert_eq!(cluster.outputs, done);
    assert_eq!(cluster.node(1).machine().0, [Bytes::from_static(b"command 1")], "without its envelope");
    assert_eq!(cluster.node(1).status().applied, entry.index, "the core was told in the same call");

    cluster.request(leader, 3, query());
    cluster.settle();
    assert_eq!(cluster.reply(3), Some(&answer(entry.index.0, "1")));
}

#[test]
fn a_stale_query_is_answered_at_once_by_anyone() {
    let mut cluster = Cluster::new(3);
    cluster.request(NodeId(2), 1, stale_query());
    assert_eq!(cluster.reply(1), Some(&answer(0, "0")), "even before the first election");
    cluster.request(NodeId(2), 2, query());
    cluster.settle();
    assert_eq!(cluster.reply(2), Some(&Reply::Rejected { reason: RejectReason::NotLeader { leader: None } }));
}

#[test]
fn a_change_of_the_configuration_is_answered_when_it_is_decided() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let steps = vec![MembershipStep::Demote { id: leader }];
    let change = MembershipChange { expected: None, steps };
    cluster.request(leader, 1, Request::ChangeMembership { change: change.clone() });
    assert_eq!(cluster.reply(1), None);
    cluster.settle();
    let Some(Reply::ConfigurationDecided { configuration, .. }) = cluster.reply(1) else {
        panic!("not decided but {:?}", cluster.reply(1))
    };
    assert!(configuration.is_joint(), "it is decided from here on: {configuration}");
    let next = cluster.leader();
    assert_ne!(next, leader, "whoever votes no more leads no more");
    cluster.request(next, 2, Request::ChangeMembership { change });
    let problem = InvalidChange::NoVoter { id: leader };
    let reason = RejectReason::InvalidChange(problem);
    assert_eq!(cluster.reply(2), Some(&Reply::Rejected { reason }));
}

#[test]
fn leadership_is_handed_over_or_it_is_said_why_not() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let other = |leader: NodeId| NodeId(leader.0 % 3 + 1);
    let to = other(leader);
    cluster.request(leader, 1, Request::TransferLeadership { to: Some(to) });
    cluster.settle();
    assert_eq!(cluster.reply(1), Some(&Reply::LeadershipTransferred { to }));
    assert_eq!(cluster.leader(), to);
    let cut = other(to);
    cluster.cut.insert(cut);
    cluster.request(to, 2, Request::TransferLeadership { to: Some(cut) });
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    let reason = TransferFailure::TimedOut;
    assert_eq!(cluster.reply(2), Some(&Reply::NotHandedOver { reason }));
    assert_eq!(cluster.leader(), to, "it goes on leading");
}

#[test]
fn a_retry_at_the_next_leader_is_applied_once() {
    let mut cluster = Cluster::new(3);
    let first = cluster.leader();
    let session = cluster.open_session(first, 1);

    // The entry reaches the followers; their answers do not reach the leader, which is cut off.
    cluster.request(first, 2, command(session, 1));
    cluster.cut.insert(first);
    cluster.settle();
    assert_eq!(cluster.reply(2), None);
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    assert_eq!(cluster.reply(2), Some(&Reply::Unknown), "it may be applied, and will be");

    let second = cluster.leader();
    assert_ne!(first, second);
    cluster.request(second, 3, command(session, 1));
    cluster.settle();
    let Some(Reply::Applied { entry, response }) = cluster.reply(3).cloned() else { panic!("not applied") };
    let last = cluster.nodes[&second].status().last;
    assert!(entry.term < last.term && last.index > entry.index, "{entry} was the first attempt, {last} the retry");
    assert_eq!(response, Bytes::from_static(b"1"));

    cluster.cut.clear();
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.status().applied == last.index));
    let hashes: BTreeSet<u128> = cluster.nodes.values().map(Node::state_hash).collect();
    assert_eq!(hashes.len(), 1, "sessions included");
    assert!(cluster.nodes.values().all(|node| node.machine().0.len() == 1), "applied once, everywhere");
}

#[test]
fn what_was_never_replicated_is_unknown_and_then_gone() {
    let mut cluster = Cluster::new(3);
    let first = cluster.leader();
    let session = cluster.open_session(first, 1);
    cluster.cut.insert(first);
    cluster.request(first, 2, command(session, 1));
    cluster.request(first, 3, query());
    let second = cluster.leader();
    cluster.request(second, 4, command(session, 2));
    cluster.settle();
    cluster.cut.clear();
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.machine().0.len() == 1));
    assert_eq!(cluster.reply(2), Some(&Reply::Unknown));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })), "a read has no effect: {:?}", cluster.reply(3));
    assert_eq!(cluster.nodes[&first].machine().0, [Bytes::from_static(b"command 2")]);
}

#[test]
fn sessions_expire_alike_on_all_nodes_and_after_a_restart() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let oldest = cluster.open_session(leader, 1);
    let second = cluster.open_session(leader, 2);
    cluster.request(leader, 3, command(oldest, 1));
    let third = cluster.open_session(leader, 4);
    for (id, session, stays) in [(5, second, false), (6, oldest, true), (7, third, true)] {
        cluster.request(leader, id, command(session, 2));
        cluster.settle();
        let expired = cluster.reply(id) == Some(&Reply::SessionExpired);
        assert_eq!(expired, !stays, "two sessions fit, {second:?} was used least recently");
    }
    let last = cluster.nodes[&leader].status().last.index;
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.status().applied == last));
    let hash = cluster.nodes[&leader].state_hash();
    assert!(cluster.nodes.values().all(|node| node.state_hash() == hash));

    // A restart applies the log again, from the first entry.
    let mut entries: BTreeMap<LogIndex, Entry> = BTreeMap::new();
    for output in &cluster.outputs {
        if let NodeOutput::Report(Report::Applied { entries: applied, .. }) = output {
            entries.extend(applied.iter().map(|entry| (entry.id.index, entry.clone())));
        }
    }
    let mut again = cluster.node(1).clone();
    again.machine = Journal::default();
    again.sessions = Sessions::new(2);
    again.apply(entries.into_values().collect(), &mut Vec::new());
    assert_eq!(again.state_hash(), hash);
}

#[test]
fn bytes_that_are_no_envelope_are_applied_as_nothing() {
    let mut node = Cluster::new(1).nodes.remove(&NodeId(1)).expect("there is one");
    let garbage = Payload::Command(Bytes::from_static(b"garbage"));
    let before = (node.machine.clone(), node.sessions.clone());
    let mut outputs = Vec::new();
    node.waiters.insert(EntryId::new(1, 1), RequestId(1));
    node.apply([Entry { id: EntryId::new(1, 1), payload: garbage }].into_iter().collect(), &mut outputs);
    assert_eq!((node.machine.clone(), node.sessions.clone()), before);
    assert!(matches!(outputs[0], NodeOutput::Report(Report::Applied { .. })));
    assert_eq!(outputs[1], NodeOutput::Reply { id: RequestId(1), reply: Reply::Lost });
}

#[test]
fn a_stopped_node_answers_everybody() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    let peer = NodeId(leader.0 % 3 + 1);
    cluster.cut.insert(leader);
    cluster.request(leader, 2, command(session, 1));
    cluster.request(leader, 3, query());
    cluster.request(leader, 8, watch());
    // What Raft proves impossible: a later leader with another entry in a committed place.
    let status = cluster.nodes[&leader].status();
    let conflict = Entry { id: EntryId { term: status.term.next(), index: LogIndex(2) }, payload: Payload::Noop };
    let rpc = Rpc::AppendEntries(AppendEntries {
        term: status.term.next(),
        seq: Seq(1),
        prev: EntryId::new(1, 1),
        entries: vec![conflict].into(),
        leader_commit: LogIndex(0),
    });
    cluster.feed(leader, NodeInput::Receive { from: peer, rpc });
    assert!(cluster.outputs.iter().any(|output| matches!(output, NodeOutput::Report(Report::Stopped { .. }))));
    assert_eq!(cluster.reply(2), Some(&Reply::Unknown));
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })));
    assert_eq!(cluster.reply(8), Some(&Reply::Rejected { reason: RejectReason::Stopped }));
    let requests = [Request::OpenSession, command(session, 2), query(), stale_query(), watch()];
    for (id, request) in (10..).zip(requests) {
        cluster.request(leader, id, request);
        assert_eq!(cluster.reply(id), Some(&Reply::Rejected { reason: RejectReason::Stopped }), "request {id}");
    }
}

#[test]
fn a_state_machine_that_is_not_empty_is_refused() {
    let configuration = Configuration::of_voters([NodeId(1)]);
    let restored = RecoveredState { applied: LogIndex(1), ..RecoveredState::bootstrap(configuration) };
    let node = Node::new(Config::new(NodeId(1)), NodeOptions::default(), restored, Journal::default());
    assert!(matches!(node.map(|_| ()), Err(RestoreError::Config(_))));
}
