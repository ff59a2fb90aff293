//! The node: the protocol core and a state machine, joined by sessions, waiting requests and reads. It translates
//! between them and decides nothing about the protocol.
//!
//! Entries are applied the moment the core hands them over, and reported to it in the same call; only after a snapshot
//! that is still being read they wait for it. This file must not know how messages travel, nor when a write is durable.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

pub(crate) mod disk_budget;
pub(crate) mod outputs;
mod snapshots;
pub(crate) mod timers;

use self::snapshots::Snapshots;
use crate::clients::envelope::Envelope;
use crate::clients::reads::Reads;
use crate::clients::sessions::Sessions;
use crate::clients::waiters::Waiters;
use crate::clients::watches::Watches;
use crate::node::disk_budget::DiskBudget;
use crate::node::outputs::{DiskJob, NodeInput, NodeOutput, Reply, Report, Request, SnapshotJob};
use crate::node::timers::Timers;
use crate::state_machine::StateMachine;
use raft_core::{
    Action, Config, Configuration, Entries, Entry, Input, Instant, LogIndex, Payload, Raft, RecoveredState,
    RejectReason, RequestId, RestoreError, RoleKind, Rpc, Status, Term,
};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// What the host decides about a node beyond the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// The most sessions open at once; 0 counts as 1. **The same on all nodes of a cluster, for ever**: it decides which
    /// session ends when another is opened, so nodes that differ in it end up with different states. Default 10 000.
    pub max_sessions: usize,
    /// A snapshot is taken when so many entries were applied since the newest one (Raft §7); 0: never for that reason. May
    /// differ between nodes. Default 10 000.
    pub snapshot_after_entries: u64,
    /// A snapshot is taken when entries of so many bytes ([`Entry::size`]) were applied since the newest one; 0: never for
    /// that reason. May differ between nodes. Default 64 MiB.
    pub snapshot_after_bytes: u64,
    /// What the store keeps ahead for the node's writes, in bytes: the store's own setting of that name. At most three quarters
    /// of it are on their way to the disk as entries: beyond that proposals are answered `Busy`, and a peer's entries are
    /// ignored. So it should be well above what a burst brings. 0: nothing is known of a reserve, and nothing is refused for
    /// it. Default 0.
    pub reserve_bytes: u64,
    /// Bytes of a piece in which a snapshot is made, written, read and sent; from 1 to 4 MiB, what is outside counts as the
    /// nearest. One is under way to each peer, so a piece per round trip is the fastest that a peer is served. Default 1 MiB.
    pub snapshot_chunk_bytes: u64,
    /// The most bytes of snapshots that leave in a second, to all peers together; 0: any. Default 64 MiB.
    pub snapshot_bytes_per_second: u64,
    /// A piece of which nothing is heard for so long is taken to be lost, and the peer asked how far it is. Default 1 s.
    pub snapshot_patience: Duration,
    /// The largest file of a snapshot that is taken in: whoever loads it has what is in it in memory. Default 2 GiB.
    pub max_snapshot_bytes: u64,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            max_sessions: 10_000,
            snapshot_after_entries: 10_000,
            snapshot_after_bytes: 64 << 20,
            reserve_bytes: 0,
            snapshot_chunk_bytes: 1 << 20,
            snapshot_bytes_per_second: 64 << 20,
            snapshot_patience: Duration::from_secs(1),
            max_snapshot_bytes: 2 << 30,
        }
    }
}

/// A whole node without I/O: a deterministic function of its inputs, with time among them.
#[derive(Clone, Debug)]
pub struct Node<S: StateMachine> {
    raft: Raft,
    machine: S,
    sessions: Sessions,
    waiters: Waiters,
    reads: Reads,
    watches: Watches,
    timers: Timers,
    snapshots: Snapshots<S::Snapshot>,
    disk_budget: DiskBudget,
    max_sessions: usize,
    /// Whether somebody looks at what is applied: its hash costs as much as applying it.
    observes: bool,
    applied: LogIndex,
    /// The latest time that came with a call.
    now: Instant,
    /// What the core asked for and is not yet carried out; empty between calls. Kept to reuse its memory.
    actions: Vec<Action>,
}

impl<S: StateMachine> Node<S> {
    /// A node with what its disk held and a state machine that has applied nothing: the replicated state, sessions among
    /// it, lives in memory, so after every start the snapshot is loaded, if there is one, and the log after it applied.
    ///
    /// # Errors
    /// [`RestoreError`], if a setting is out of range, what was restored contradicts itself, or it claims that something
    /// is applied already.
    pub fn new(
        config: Config,
        options: NodeOptions,
        restored: RecoveredState,
        machine: S,
    ) -> Result<Self, RestoreError> {
        if restored.applied != LogIndex(0) {
            return Err(RestoreError::Config("restored.applied must be 0: the state machine starts empty"));
        }
        let snapshots = Snapshots::new(&options, restored.snapshot.as_ref());
        let observes = config.observe;
        Ok(Self {
            raft: Raft::new(config, restored)?,
            machine,
            sessions: Sessions::new(options.max_sessions),
            waiters: Waiters::default(),
            reads: Reads::default(),
            watches: Watches::default(),
            timers: Timers::default(),
            snapshots,
            disk_budget: DiskBudget::new(options.reserve_bytes),
            max_sessions: options.max_sessions,
            observes,
            applied: LogIndex(0),
            now: Instant(0),
            actions: Vec::new(),
        })
    }

    /// Handles all inputs, applies what that commits, and appends to `outputs` what is to be done. `now` is sampled
    /// after the inputs were taken from their queue. A call may ask for more than one `Persist`; their order counts. Then
    /// come the state machine's timers that are up, if the node leads; at the end it takes a snapshot, if one is due.
    pub fn step(&mut self, now: Instant, inputs: impl IntoIterator<Item = NodeInput>, outputs: &mut Vec<NodeOutput>) {
        self.now = self.now.max(now);
        self.disk_budget.begin();
        self.snapshots.transfers.due(self.now, outputs);
        let mut inputs: Vec<Input> = inputs.into_iter().filter_map(|input| self.translate(input, outputs)).collect();
        let mut lost: Option<Term> = None;
        loop {
            self.step_core(inputs, &mut lost, outputs);
            let Some(due) = self.due_timers() else { break };
            inputs = vec![due];
        }
        // Only now: whoever's entry was applied in this very call is better told so than "unknown".
        if let Some(term) = lost {
            self.waiters.leadership_lost(term, &mut |id, reply| outputs.push(NodeOutput::Reply { id, reply }));
        }
        while let Some((id, query)) = self.reads.next(self.applied) {
            let reply = Reply::Answer { applied: self.applied, response: self.machine.query(&query) };
            outputs.push(NodeOutput::Reply { id, reply });
        }
        self.ask_watches(outputs);
        self.settle_snapshots(outputs);
        if self.disk_budget.is_to_be_asked(self.now) {
            outputs.push(NodeOutput::Disk(DiskJob::MakeRoom));
        }
    }

    /// The earliest time at which a call would do something by itself; read it again after every call.
    pub fn deadline(&self) -> Option<Instant> {
        let transfers = self.snapshots.transfers.deadline();
        [self.raft.deadline(), self.timers.deadline(), self.disk_budget.deadline(), transfers]
            .into_iter()
            .flatten()
            .min()
    }

    /// A copy of what matters about the core.
    pub fn status(&self) -> Status {
        self.raft.status()
    }

    /// The protocol core, to look at.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The configuration in force, if the log holds one.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.raft.configuration()
    }

    /// The state machine.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// A hash of the whole replicated state: state machine, sessions, applied index. Equal on all nodes that have
    /// applied the same entries. Against accidents, not against an adversary.
    pub fn state_hash(&self) -> u128 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.machine.state_hash().to_le_bytes());
        hasher.update(&self.sessions.hash().to_le_bytes());
        hasher.update(&self.applied.0.to_le_bytes());
        hasher.digest128()
    }

    /// Tells the core, carries out what it asks for, and tells it what that came to.
    fn step_core(&mut self, inputs: Vec<Input>, lost: &mut Option<Term>, outputs: &mut Vec<NodeOutput>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.raft.step_batch(self.now, inputs, &mut actions);
        while !actions.is_empty() {
            let before = self.applied;
            for action in actions.drain(..) {
                self.carry_out(action, lost, outputs);
            }
            if self.applied > before {
                self.raft.step_batch(self.now, [Input::Applied { index: self.applied }], &mut actions);
            }
        }
        self.actions = actions;
    }

    /// Learns of new timers, if the node leads, and proposes what carries out those that are up.
    fn due_timers(&mut self) -> Option<Input> {
        let term = self.raft.term();
        if !self.timers.lead((self.raft.role() == RoleKind::Leader).then_some(term)) {
            return None;
        }
        self.timers.begin(self.now, self.machine.timers(self.timers.seen()));
        loop {
            let due = self.timers.take_due(self.now);
            if due.is_empty() {
                return None;
            }
            let Some(command) = self.machine.timed_out(&due) else { continue };
            let (id, command) = (self.timers.propose(due), Envelope::Internal(command).encode());
            if self.disk_budget.take_command(command.len()).is_ok() {
                return Some(Input::Propose { id, command });
            }
            self.timers.rejected(id, self.now);
        }
    }

    /// What the core is to be told. A request that the core need not hear of is answered here.
    fn translate(&mut self, input: NodeInput, outputs: &mut Vec<NodeOutput>) -> Option<Input> {
        Some(match input {
            NodeInput::Tick => Input::Tick,
            // Whoever sent it finds out by the next heartbeat, as if it had been lost.
            NodeInput::Receive { rpc: Rpc::AppendEntries(append), .. }
                if !self.disk_budget.take_entries(&append.entries) =>
            {
                return None;
            }
            NodeInput::Receive { from, rpc } => Input::Receive { from, rpc },
            NodeInput::Campaign => Input::Campaign,
            NodeInput::Unreachable { peer } => Input::Unreachable { peer },
            NodeInput::Persisted { write } => {
                self.disk_budget.persisted(write);
                self.snapshots.files.persisted(write);
                Input::Persisted { write }
            }
            NodeInput::Space { is_low } => {
                self.disk_budget.on_space(is_low, self.now);
                return None;
            }
            NodeInput::Request { id, request } => return self.request(id, request, outputs),
            NodeInput::CancelWatch { id } => {
                self.watches.remove(id);
                return None;
            }
            NodeInput::LogRead { read, entries } => Input::LogRead { read, entries },
            NodeInput::TakeSnapshot => {
                self.snapshots.policy.requested = true;
                return None;
            }
            NodeInput::SnapshotLoaded { meta, data } => return self.snapshot_loaded(meta, &data, outputs),
            NodeInput::SnapshotWritten { file, last, end, outcome } => {
                return self.snapshot_written((file, last, end), outcome, outputs);
            }
            NodeInput::SnapshotRead { to, last, offset, chunk } => {
                return self.snapshot_read((to, last, offset), chunk, outputs);
            }
            NodeInput::SnapshotMessage { from, message } => return self.snapshot_message(from, message, outputs),
        })
    }

    fn request(&mut self, id: RequestId, request: Request, outputs: &mut Vec<NodeOutput>) -> Option<Input> {
        let envelope = match request {
            Request::OpenSession => Envelope::OpenSession,
            Request::Command(command) => Envelope::Command(command),
            Request::Query { query, mode } => {
                self.reads.insert(id, query);
                return Some(Input::Read { id, mode });
            }
            Request::StaleQuery { query } => {
                let reply = if self.raft.role() == RoleKind::Stopped {
                    Reply::Rejected { reason: RejectReason::Stopped }
                } else {
                    Reply::Answer { applied: self.applied, response: self.machine.query(&query) }
                };
                outputs.push(NodeOutput::Reply { id, reply });
                return None;
            }
            Request::Watch { query } => {
                let refused = if self.raft.role() == RoleKind::Stopped {
                    Some(RejectReason::Stopped)
                } else {
                    (!self.watches.insert(id, query)).then_some(RejectReason::Busy)
                };
                outputs.extend(refused.map(|reason| NodeOutput::Reply { id, reply: Reply::Rejected { reason } }));
                return None;
            }
            // Its size is counted once it is a write: changes are few, and small beside the reserve.
            Request::ChangeMembership { change } => {
                let fits = self.fits(id, 0, outputs);
                return fits.then_some(Input::ChangeMembership { id, change });
            }
            Request::TransferLeadership { to } => return Some(Input::TransferLeadership { id, to }),
        };
        let command = envelope.encode();
        self.fits(id, command.len(), outputs).then_some(Input::Propose { id, command })
    }

    /// Whether the disk has room for an entry that somebody asks for; if not, the answer is given here.
    fn fits(&mut self, id: RequestId, bytes: usize, outputs: &mut Vec<NodeOutput>) -> bool {
        let Err(reply) = self.disk_budget.take_command(bytes) else { return true };
        // The core would say the same, and must not be asked: it may become the leader in this very call.
        let reply = match self.raft.role() {
            RoleKind::Leader => reply,
            RoleKind::Stopped => Reply::Rejected { reason: RejectReason::Stopped },
            RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => {
                Reply::Rejected { reason: RejectReason::NotLeader { leader: self.raft.leader() } }
            }
        };
        outputs.push(NodeOutput::Reply { id, reply });
        false
    }

    fn carry_out(&mut self, action: Action, lost: &mut Option<Term>, outputs: &mut Vec<NodeOutput>) {
        match action {
            Action::Send { to, rpc } => outputs.push(NodeOutput::Send { to, rpc }),
            Action::Persist(write) => {
                self.disk_budget.asked(&write);
                self.snapshots.files.asked(&write);
                outputs.push(NodeOutput::Persist(write));
            }
            Action::Apply { entries } => {
                if let Some(entries) = self.snapshots.loading.keep(entries) {
                    self.apply(entries, outputs);
                }
            }
            Action::Restore { meta } => {
                let unknown = &mut |id, reply| outputs.push(NodeOutput::Reply { id, reply });
                self.waiters.on_snapshot_installed(meta.last.index, unknown);
                self.snapshots.loading.begin(meta.clone());
                outputs.push(SnapshotJob::Load { meta }.into());
            }
            Action::Compact { before } => outputs.push(NodeOutput::Disk(DiskJob::Compact { before })),
            Action::ReadLog { read, first, last, max_bytes } => {
                outputs.push(NodeOutput::Disk(DiskJob::ReadLog { read, first, last, max_bytes }));
            }
            Action::SendSnapshot { to, term, meta } => {
                outputs.push(self.snapshots.transfers.begin(to, term, meta).into());
            }
            Action::Appended { id, .. } if Timers::is_own(id) => self.timers.appended(id),
            Action::Appended { id, entry } => self.waiters.insert(entry, id),
            Action::Rejected { id, .. } if Timers::is_own(id) => self.timers.rejected(id, self.now),
            Action::Rejected { id, reason } => {
                self.reads.failed(id);
                outputs.push(NodeOutput::Reply { id, reply: Reply::Rejected { reason } });
            }
            Action::ReadReady { id, index } => self.reads.ready(id, index),
            // A read has no effect, so whatever it failed of it is safe to call it rejected.
            Action::ReadFailed { id, reason } => {
                if self.reads.failed(id) {
                    outputs.push(NodeOutput::Reply { id, reply: Reply::Rejected { reason } });
                }
            }
            Action::TransferDone { id, to } => {
                outputs.push(NodeOutput::Reply { id, reply: Reply::LeadershipTransferred { to } })
            }
            Action::TransferFailed { id, reason } => {
                outputs.push(NodeOutput::Reply { id, reply: Reply::NotHandedOver { reason } });
            }
            Action::LeadershipLost { term } => {
                *lost = (*lost).max(Some(term));
                self.snapshots.transfers.end();
                outputs.push(NodeOutput::Report(Report::LeadershipLost { term }));
            }
            Action::LeaderChanged { term, leader } => {
                outputs.push(NodeOutput::Report(Report::LeaderChanged { term, leader }));
            }
            Action::ConfigurationChanged { configuration, at, committed } => {
                outputs.push(NodeOutput::Report(Report::ConfigurationChanged { configuration, at, committed }));
            }
            Action::Stopped { reason } => {
                *lost = Some(Term(u64::MAX));
                self.snapshots.transfers.end();
                for id in self.reads.take_all().into_iter().chain(self.watches.take_all()) {
                    let reply = Reply::Rejected { reason: RejectReason::Stopped };
                    outputs.push(NodeOutput::Reply { id, reply });
                }
                outputs.push(NodeOutput::Report(Report::Stopped { reason }));
            }
            Action::Observe(event) => outputs.push(NodeOutput::Report(Report::Observed(event))),
        }
    }

    /// Asks the state machine what watches wait for. Not while a snapshot is read: "from now on" would be from before it.
    fn ask_watches(&mut self, outputs: &mut Vec<NodeOutput>) {
        if self.snapshots.loading.is_pending() {
            return;
        }
        let (machine, applied) = (&self.machine, self.applied);
        let answer = |id, response, next| {
            outputs.push(NodeOutput::Reply { id, reply: Reply::Watched { applied, response, next } });
        };
        self.watches.ask(applied, |query| machine.watch(query), answer);
    }

    /// Applies entries, and says so before it answers who waited for them.
    fn apply(&mut self, entries: Entries, outputs: &mut Vec<NodeOutput>) {
        let place = outputs.len();
        self.snapshots.policy.applied(entries.size());
        for entry in entries.iter() {
            let reply = self.apply_entry(entry);
            self.waiters.applied(entry.id, &reply, &mut |id, reply| outputs.push(NodeOutput::Reply { id, reply }));
            self.applied = entry.id.index;
        }
        if self.observes {
            let state_hash = self.state_hash();
            outputs.insert(place, NodeOutput::Report(Report::Applied { entries, state_hash }));
        }
    }

    /// Applies one entry and says what whoever waits for it is to be told. What is no envelope is nothing on every node,
    /// so who waits for it has surely no effect.
    fn apply_entry(&mut self, entry: &Entry) -> Reply {
        let bytes = match &entry.payload {
            Payload::Command(bytes) => bytes,
            Payload::Configuration(configuration) => {
                return Reply::ConfigurationDecided { entry: entry.id, configuration: configuration.clone() };
            }
            Payload::Noop => return Reply::Lost,
        };
        match Envelope::decode(bytes) {
            Some(Envelope::OpenSession) => Reply::SessionOpened { session: self.sessions.open(entry.id) },
            Some(Envelope::Command(command)) => {
                let machine = &mut self.machine;
                self.sessions.apply_once(entry.id, &command, |command| machine.apply(entry.id, command))
            }
            // The node's own: nobody waits for it.
            Some(Envelope::Internal(command)) => {
                let response = self.machine.apply(entry.id, &command);
                Reply::Applied { entry: entry.id, response }
            }
            None => Reply::Lost,
        }
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of output")]
mod tests;
