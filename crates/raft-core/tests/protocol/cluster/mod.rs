//! Test support: replicas under full control. A single one is a [`replica`]; in a [`Cluster`] of several the test
//! chooses every message, write, crash and time.
//!
//! This module must not know the expectations of a test; the properties of every run are in [`history`].

pub(crate) mod history;
pub(crate) mod replica;
pub(crate) mod schedule;
pub(crate) mod script;

use history::History;
use raft_core::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The content of a disk. The log is complete, even where a snapshot covers it: it is the content of the snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// The number of compacted entries, which cannot be read back.
    pub(crate) base: usize,
    pub(crate) log: Vec<Entry>,
}

impl Image {
    /// Applies one record as recovery does: truncation, snapshot, entries. `content` contains the snapshots.
    pub(crate) fn take(&mut self, write: &Write, content: &History) {
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(index) = write.truncate_from {
            self.log.truncate(index.0 as usize - 1);
        }
        if let Some(SnapshotRecord { meta, log }) = &write.snapshot {
            self.snapshot = Some(meta.clone());
            if *log == InstallMode::Discard {
                self.log = content.log_up_to(meta.last);
                self.base = self.log.len();
            }
        }
        for entry in write.entries.iter() {
            assert_eq!(entry.id.index.0, self.log.len() as u64 + 1, "a gap on the disk before {entry}");
            self.log.push(entry.clone());
        }
    }

    /// The recovered state. Without `tail`, the replica has to read all entries back.
    pub(crate) fn restored(&self, applied: usize, tail: bool) -> RecoveredState {
        let entries = self.log[self.base..].to_vec().into();
        let mut restored = RecoveredState::of_log(self.hard_state, self.snapshot.clone(), entries);
        if !tail {
            restored.tail = Entries::new();
        }
        RecoveredState { applied: LogIndex(applied as u64), ..restored }
    }

    /// The host's answer to a `ReadLog`.
    fn read(&self, question: &Question) -> Entries {
        let mut bytes = 0;
        let wanted = self.log.iter().skip(self.base).skip_while(|entry| entry.id.index < question.first);
        let wanted = wanted.take_while(|entry| {
            let fits = entry.id.index == question.first || bytes + entry.size() <= question.max_bytes;
            bytes += entry.size();
            fits && entry.id.index <= question.last
        });
        let entries: Vec<Entry> = wanted.cloned().collect();
        if entries.first().is_some_and(|entry| entry.id.index == question.first) {
            entries.into()
        } else {
            Entries::new()
        }
    }
}

/// A `ReadLog` that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    read: ReadId,
    first: LogIndex,
    last: LogIndex,
    max_bytes: u64,
}

/// A snapshot in flight.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    term: Term,
    meta: SnapshotMeta,
}

/// A machine: its replica exists only while it is up, its disk always.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) raft: Option<Raft>,
    /// How much faster than true time the clock runs, in parts per million.
    pub(crate) drift_ppm: i64,
    /// The part of the disk that was reported durable.
    pub(crate) disk: Image,
    /// Log reads without an answer.
    pub(crate) questions: VecDeque<Question>,
    /// Writes that are not reported, in order.
    pub(crate) pending: VecDeque<Write>,
    /// The replica's memory: the disk after all pending writes.
    pub(crate) memory: Image,
    /// The state machine, which a crash clears.
    pub(crate) applied: Vec<Entry>,
    /// A copy of `applied` that survives a crash, like a state machine on disk.
    pub(crate) saved: Vec<Entry>,
    /// The answers and announcements since the start.
    pub(crate) news: Vec<Action>,
}

impl Server {
    /// The time that the clock shows at a true time.
    pub(crate) fn clock(&self, time: Instant) -> Instant {
        Instant((i128::from(time.0) * i128::from(MILLION + self.drift_ppm) / i128::from(MILLION)) as u64)
    }

    /// Queues a write for the disk; the memory changes at once.
    fn write(&mut self, id: NodeId, write: &Write, history: &mut History) {
        let kept = write.truncate_from.map_or(self.memory.log.len(), |index| index.0 as usize - 1);
        history.snapshot_recorded(id, write, &self.memory);
        self.memory.take(write, history);
        self.pending.push_back(write.clone());
        let is_discarded = write.snapshot.as_ref().is_some_and(|record| record.log == InstallMode::Discard);
        history.wrote(&self.memory.log, if is_discarded { self.memory.base } else { kept });
    }

    /// Compacts the disk a little less than requested.
    fn compact(&mut self, before: LogIndex, turn: u64) {
        let done = before.0.saturating_sub(1 + turn % 3) as usize;
        self.disk.base = self.disk.base.max(done);
    }

    /// The first true time at which the replica's deadline is reached.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = i128::from(self.raft.as_ref()?.deadline()?.0) * i128::from(MILLION);
        let rate = i128::from(MILLION + self.drift_ppm);
        Some(Instant(((deadline + rate - 1) / rate) as u64))
    }
}

const MILLION: i64 = 1_000_000;

/// Several servers, a queue for each directed link, and one true time. A clock without drift shows the true time.
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) servers: BTreeMap<NodeId, Server>,
    pub(crate) links: BTreeMap<(NodeId, NodeId), VecDeque<Rpc>>,
    /// The snapshots in flight.
    pub(crate) parcels: VecDeque<Parcel>,
    /// All snapshots that were ever sent.
    pub(crate) sent_parcels: Vec<Parcel>,
    /// The links that lose every message.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) history: History,
    /// The run as text.
    pub(crate) trace: Vec<String>,
    /// The mode of all reads.
    pub(crate) read_mode: ReadMode,
    requests: u64,
}

impl Cluster {
    /// `size` voters that have never run, with the default settings changed by `adjust`.
    pub(crate) fn with(size: u64, adjust: impl Fn(&mut Config)) -> Self {
        Self::with_joiners(size, 0, adjust)
    }

    /// `size` voters that have never run, and `joiners` nodes with empty disks.
    pub(crate) fn with_joiners(size: u64, joiners: u64, adjust: impl Fn(&mut Config)) -> Self {
        let founder = RecoveredState::bootstrap(Configuration::of_voters((1..=size).map(NodeId)));
        let founder = Image { hard_state: founder.hard_state, log: founder.tail.to_vec(), ..Image::default() };
        let disk = |id| if id <= size { founder.clone() } else { Image::default() };
        Self::of_disks((1..=size + joiners).map(|id| (NodeId(id), disk(id))).collect(), adjust)
    }

    /// Servers with these disks.
    pub(crate) fn of_disks(disks: BTreeMap<NodeId, Image>, adjust: impl Fn(&mut Config)) -> Self {
        let mut cluster = Self {
            now: Instant(0),
            servers: BTreeMap::new(),
            links: BTreeMap::new(),
            parcels: VecDeque::new(),
            sent_parcels: Vec::new(),
            cut: BTreeSet::new(),
            history: History::default(),
            trace: Vec::new(),
            read_mode: ReadMode::Safe,
            requests: 0,
        };
        for (id, disk) in disks {
            let mut config = Config { observe: true, ..Config::new(id) };
            adjust(&mut config);
            cluster.history.wrote(&disk.log, 0);
            let (applied, saved) = (Vec::new(), Vec::new());
            let (pending, news) = (VecDeque::new(), Vec::new());
            let memory = disk.clone();
            let questions = VecDeque::new();
            let server =
                Server { config, raft: None, drift_ppm: 0, disk, pending, questions, memory, applied, saved, news };
            cluster.servers.insert(id, server);
        }
        for id in cluster.ids() {
            cluster.restart(id, false);
        }
        cluster
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    pub(crate) fn server(&self, id: u64) -> &Server {
        &self.servers[&NodeId(id)]
    }

    pub(crate) fn raft(&self, id: u64) -> &Raft {
        self.server(id).raft.as_ref().expect("the node is up")
    }

    /// The leader of the highest term among those that are up.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let rafts = self.servers.values().filter_map(|server| server.raft.as_ref());
        rafts.filter(|raft| raft.role() == RoleKind::Leader).max_by_key(|raft| raft.term()).map(Raft::id)
    }

    // ---- one call ----

    /// Calls a node with one input and handles its actions: messages go to the links, writes to the disk's queue,
    /// entries to the state machine. A node that is down ignores it.
    pub(crate) fn step(&mut self, id: NodeId, input: Input) -> Vec<Action> {
        let Some(server) = self.servers.get_mut(&id) else { return Vec::new() };
        let now = server.clock(self.now);
        let Some(raft) = server.raft.as_mut() else { return Vec::new() };
        self.trace.push(format!("  {id} {}", script::describe(&input)));
        let before = (raft.role(), raft.term());
        let actions = raft.step(Message { now, input });
        let (after, status) = ((raft.role(), raft.term()), raft.status());
        assert!(raft.deadline().is_none_or(|deadline| deadline > now), "{id}: deadline {:?} at {now}", raft.deadline());
        self.trace.extend(actions.iter().map(|action| format!("    {action}")));

        for action in &actions {
            if let Action::Persist(write) = action {
                self.history.asked_to_write(id, before, after, write);
                server.write(id, write, &mut self.history);
            }
        }
        assert_eq!(status.last.index.0, server.memory.log.len() as u64, "{id} holds what it asked to be written");
        self.history.stepped(id, before, after, status.commit, &server.memory.log);

        let mut applied = Vec::new();
        for action in &actions {
            match action {
                Action::Send { to, rpc } => {
                    self.history.sent(id, *to, rpc, &server.disk);
                    if !self.cut.contains(&(id, *to)) {
                        self.links.entry((id, *to)).or_default().push_back(rpc.clone());
                    }
                }
                Action::Apply { entries } => {
                    for entry in entries.iter() {
                        self.history.applied(id, server.applied.len() as u64, entry, &server.disk);
                        server.applied.push(entry.clone());
                    }
                    applied.extend(entries.last_id());
                }
                Action::Restore { meta } => {
                    self.history.snapshot_used(id, "restores", meta, &server.disk);
                    server.applied = self.history.log_up_to(meta.last);
                    applied.push(meta.last);
                }
                Action::Compact { before } => {
                    self.history.compacted(id, *before, &server.disk);
                    server.compact(*before, self.history.marks()["compaction"]);
                }
                Action::SendSnapshot { to, term, meta } => {
                    self.history.snapshot_used(id, "sends", meta, &server.disk);
                    if !self.cut.contains(&(id, *to)) {
                        let parcel = Parcel { from: id, to: *to, term: *term, meta: meta.clone() };
                        self.sent_parcels.push(parcel.clone());
                        self.parcels.push_back(parcel);
                    }
                }
                &Action::ReadLog { read, first, last, max_bytes } => {
                    self.history.read_asked(id, last, &server.disk);
                    server.questions.push_back(Question { read, first, last, max_bytes });
                }
                Action::Observe(Event::WriteStalled { .. }) => self.history.mark("stall"),
                Action::Persist(_) | Action::Observe(_) => {}
                news => {
                    self.history.answered(id, news);
                    server.news.push(news.clone());
                }
            }
        }
        for last in applied {
            self.step(id, Input::Applied { index: last.index });
        }
        actions
    }

    pub(crate) fn tick(&mut self, id: NodeId) -> Vec<Action> {
        self.step(id, Input::Tick)
    }

    /// Advances the clock to this node's deadline, if it is in the future, and calls the node.
    pub(crate) fn wait_for(&mut self, id: NodeId) -> Vec<Action> {
        if let Some(deadline) = self.servers[&id].deadline() {
            self.now = self.now.max(deadline);
        }
        self.tick(id)
    }

    /// Advances time and calls each node at each of its deadlines.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = Instant(self.now.0 + millis * 1_000_000);
        while let Some((deadline, id)) = self.next_deadline().filter(|(deadline, _)| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.tick(id);
        }
        self.now = end;
    }

    pub(crate) fn next_deadline(&self) -> Option<(Instant, NodeId)> {
        self.servers.iter().filter_map(|(&id, server)| Some((server.deadline()?, id))).min()
    }

    // ---- messages ----

    /// Delivers the message at position `nth` of a link.
    pub(crate) fn deliver(&mut self, from: NodeId, to: NodeId, nth: usize) -> Vec<Action> {
        match self.links.get_mut(&(from, to)).and_then(|link| link.remove(nth)) {
            Some(rpc) => self.step(to, Input::Receive { from, rpc }),
            None => Vec::new(),
        }
    }

    /// The links with messages.
    pub(crate) fn busy_links(&self) -> Vec<(NodeId, NodeId)> {
        self.links.iter().filter(|(_, link)| !link.is_empty()).map(|(&ends, _)| ends).collect()
    }

    /// Delivers all messages and reports all writes until there are none, while time stands still.
    pub(crate) fn settle(&mut self) {
        loop {
            let busy = self.busy_links();
            let is_busy = |id: &NodeId| {
                let server = &self.servers[id];
                !server.pending.is_empty() || !server.questions.is_empty()
            };
            let writing: Vec<_> = self.ids().into_iter().filter(is_busy).collect();
            if busy.is_empty() && writing.is_empty() && self.parcels.is_empty() {
                return;
            }
            for id in writing {
                self.persist(id, usize::MAX);
                self.answer_read(id, 0);
            }
            self.deliver_snapshot(0, Some(SnapshotOutcome::Delivered));
            for (from, to) in busy {
                self.deliver(from, to, 0);
            }
        }
    }

    /// Cuts or restores every link of a node.
    pub(crate) fn isolate(&mut self, id: NodeId, is_cut: bool) {
        for other in self.ids().into_iter().filter(|&other| other != id) {
            for ends in [(id, other), (other, id)] {
                if is_cut {
                    self.cut.insert(ends);
                    self.links.remove(&ends);
                } else {
                    self.cut.remove(&ends);
                }
            }
        }
    }

    // ---- snapshots and the log read back ----

    /// Takes a snapshot of the node's state from `back` applied entries ago.
    pub(crate) fn take_snapshot(&mut self, id: NodeId, back: u64) {
        let index = LogIndex((self.servers[&id].applied.len() as u64).saturating_sub(back));
        let raft = self.servers[&id].raft.as_ref();
        if let Some(meta) = raft.and_then(|raft| raft.snapshot_meta(index)) {
            self.history.snapshot_described(id, &meta, &self.servers[&id].memory);
        }
        self.step(id, Input::SnapshotTaken { index });
    }

    /// Delivers a snapshot and reports the `outcome` to the sender; without one the snapshot is lost.
    pub(crate) fn deliver_snapshot(&mut self, nth: usize, outcome: Option<SnapshotOutcome>) {
        let Some(Parcel { from, to, term, meta }) = self.parcels.remove(nth) else { return };
        let arrives = outcome.is_some_and(|outcome| outcome != SnapshotOutcome::Failed);
        if arrives && self.servers[&to].raft.is_some() {
            let last = meta.last.index;
            let commit = self.servers[&to].raft.as_ref().map_or(LogIndex(0), Raft::commit);
            self.step(to, Input::SnapshotReceived { from, term, meta });
            self.history.mark(if last > commit { "snapshot received" } else { "stale snapshot" });
        }
        if let Some(outcome) = outcome {
            self.step(from, Input::SnapshotSent { to, outcome });
        }
    }

    /// Answers the oldest `ReadLog` of a node except for `nth`.
    pub(crate) fn answer_read(&mut self, id: NodeId, nth: usize) {
        let server = self.servers.get_mut(&id).expect("a known node");
        if let Some(question) = server.questions.remove(nth) {
            let entries = server.disk.read(&question);
            self.history.mark("read back");
            self.step(id, Input::LogRead { read: question.read, entries });
        }
    }

    // ---- disk and process ----

    /// Reports the oldest `count` writes with a single input.
    pub(crate) fn persist(&mut self, id: NodeId, count: usize) -> Vec<Action> {
        let server = self.servers.get_mut(&id).expect("a known node");
        let count = count.min(server.pending.len());
        let history = &self.history;
        let Some(last) = server.pending.drain(..count).inspect(|write| server.disk.take(write, history)).last() else {
            return Vec::new();
        };
        self.step(id, Input::Persisted { write: last.id })
    }

    /// Crashes the process; the oldest `kept` of the unreported writes have reached the disk.
    pub(crate) fn crash(&mut self, id: NodeId, kept: usize) {
        let server = self.servers.get_mut(&id).expect("a known node");
        if server.raft.take().is_none() {
            return;
        }
        let kept = kept.min(server.pending.len());
        if server.pending.len() > kept {
            self.history.mark("write lost");
        }
        let survivors: Vec<Write> = server.pending.drain(..kept).collect();
        survivors.iter().for_each(|write| server.disk.take(write, &self.history));
        server.pending.clear();
        server.questions.clear();
        server.saved = std::mem::take(&mut server.applied);
        self.history.crashed(id);
        self.trace.push(format!("  {id} crashes, {kept} of its unreported writes survive"));
    }

    /// Starts the process from its disk, with its old state machine or an empty one.
    pub(crate) fn restart(&mut self, id: NodeId, with_state_machine: bool) {
        let server = self.servers.get_mut(&id).expect("a known node");
        if server.raft.is_some() {
            return;
        }
        server.applied = if with_state_machine { std::mem::take(&mut server.saved) } else { Vec::new() };
        // If memory is scarce, some nodes start without any payloads in memory.
        let tail = server.config.max_cached_bytes > 1_000 || id.0.is_multiple_of(2);
        let restored = server.disk.restored(server.applied.len(), tail);
        server.memory = server.disk.clone();
        server.news.clear();
        server.raft = Some(Raft::new(server.config.clone(), restored).expect("what was written can be restored"));
    }

    // ---- requests ----

    /// Numbers a request to a node; for a read, `read` is the newest commit index.
    fn request(&mut self, id: NodeId, read: Option<LogIndex>) -> RequestId {
        self.requests += 1;
        self.history.asked(id, RequestId(self.requests), read);
        RequestId(self.requests)
    }

    pub(crate) fn propose(&mut self, id: NodeId) -> RequestId {
        let request = self.request(id, None);
        self.step(id, Input::Propose { id: request, command: format!("c{}", self.requests).into() });
        request
    }

    pub(crate) fn read(&mut self, id: NodeId) -> RequestId {
        let request = self.request(id, Some(self.history.newest_commit()));
        let mode = self.read_mode;
        let actions = self.step(id, Input::Read { id: request, mode });
        let is_ready = actions.iter().any(|action| matches!(action, Action::ReadReady { .. }));
        let configuration = self.servers[&id].raft.as_ref().and_then(Raft::configuration);
        if is_ready && configuration.is_some_and(|configuration| !configuration.is_sole_voter(id)) {
            self.history.mark("lease read");
        }
        request
    }

    pub(crate) fn change(&mut self, id: NodeId, steps: Vec<MembershipStep>) -> RequestId {
        let request = self.request(id, None);
        let change = MembershipChange { steps, ..Default::default() };
        self.step(id, Input::ChangeMembership { id: request, change });
        request
    }

    pub(crate) fn transfer(&mut self, id: NodeId, to: Option<NodeId>) -> RequestId {
        let request = self.request(id, None);
        self.step(id, Input::TransferLeadership { id: request, to });
        request
    }

    // ---- whole runs ----

    /// Advances time until `done`, and delivers and writes everything at once; returns false after `rounds` deadlines.
    pub(crate) fn run_until(&mut self, rounds: usize, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..rounds {
            self.settle();
            if done(self) {
                return true;
            }
            let Some((_, id)) = self.next_deadline() else { return false };
            self.wait_for(id);
        }
        false
    }

    /// Elects a leader that the others follow, and commits its no-op everywhere.
    pub(crate) fn elect(&mut self) -> NodeId {
        assert!(self.run_until(200, Self::has_converged), "no leader:\n{}", self.trace.join("\n"));
        self.leader().expect("converged")
    }

    /// Whether a leader has committed an entry of its term, no change and no transfer is in progress, and all members
    /// that are up hold, have committed and have applied the same log.
    pub(crate) fn has_converged(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let raft = self.servers[&leader].raft.as_ref().expect("it leads");
        let status = raft.status();
        let configuration = raft.configuration().cloned().unwrap_or_default();
        let members = self.servers.iter().filter(|(id, _)| configuration.members.contains_key(id));
        status.last.term == status.term
            && !configuration.is_joint()
            && status.transfer_to.is_none()
            && members.filter_map(|(_, server)| server.raft.as_ref()).all(|raft| {
                let other = raft.status();
                (other.term, other.last, other.commit, other.applied)
                    == (status.term, status.last, status.last.index, status.last.index)
            })
    }
}

/// The entry `index@term` of tests: a configuration of `voters` nodes at index 1, elsewhere a command that contains the
/// id.
pub(crate) fn entry(index: u64, term: u64, voters: u64) -> Entry {
    let payload = if index == 1 {
        Payload::Configuration(Configuration::of_voters((1..=voters).map(NodeId)))
    } else {
        Payload::Command(format!("{index}@{term}").into())
    };
    Entry { id: EntryId::new(index, term), payload }
}

/// A snapshot of the log that `image` makes for three voters.
pub(crate) fn meta(index: u64, term: u64) -> SnapshotMeta {
    let configuration = Configuration::of_voters((1..=3).map(NodeId));
    SnapshotMeta { last: EntryId::new(index, term), configuration, configured_at: EntryId::new(1, 1) }
}

/// A disk with entries of these terms, and a hard state with `term` and no vote.
pub(crate) fn image(term: u64, terms: &[u64], voters: u64) -> Image {
    let entries = terms.iter().enumerate().map(|(place, &of)| entry(place as u64 + 1, of, voters)).collect();
    let hard_state = HardState { term: Term(term), voted_for: None };
    Image { hard_state, log: entries, ..Image::default() }
}
