//! The node: it connects the protocol core and a state machine with sessions, waiting requests, reads and snapshots. It
//! translates between them and decides nothing about the protocol.
//!
//! The node applies entries when the core submits them, and reports that to the core in the same call. While a snapshot
//! is being loaded, entries after it wait. This file must not know how messages travel, nor when a write is durable.

// A new kind of input, output or job needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

mod apply;
mod disk_budget;
mod execute_action;
mod handle_request;
pub(crate) mod ttl_timers;

use self::disk_budget::DiskBudget;
use self::ttl_timers::Timers;
use crate::clients::backups::Backups;
use crate::clients::envelope::Envelope;
use crate::clients::forwarding::Forwarding;
use crate::clients::reads::{Read, Reads};
use crate::clients::sessions::SessionLimits;
use crate::clients::waiters::Waiters;
use crate::clients::watches::Watches;
use crate::interface::disk_jobs::DiskJob;
use crate::interface::inputs::NodeInput;
use crate::interface::load::NodeLoad;
use crate::interface::options::NodeOptions;
use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::requests::Reply;
use crate::interface::state_machine::StateMachine;
use crate::replicated_state::ReplicatedState;
use crate::snapshots::Snapshots;
use raft_core::{
    Action, Config, Configuration, Input, Instant, LogIndex, Raft, RecoveredState, RejectReason, RequestId,
    RestoreError, RoleKind, Rpc, Status, Term,
};
use raft_store::ClusterId;

/// A whole node without I/O: a deterministic function of its inputs, including time.
#[derive(Clone, Debug)]
pub struct Node<S: StateMachine> {
    raft: Raft,
    cluster: ClusterId,
    state: ReplicatedState<S>,
    waiters: Waiters,
    reads: Reads,
    watches: Watches,
    backups: Backups<S::Snapshot>,
    forwarding: Forwarding,
    timers: Timers,
    snapshots: Snapshots<S::Snapshot>,
    disk_budget: DiskBudget,
    /// Whether to report applied entries: the hash costs as much as applying them.
    observes: bool,
    /// The latest time of a call.
    now: Instant,
    /// The core's actions that are not executed yet. It is empty between calls, and kept to reuse the memory.
    actions: Vec<Action>,
    /// The latest term whose leadership was lost in this call. It is empty between calls.
    lost_term: Option<Term>,
}

impl<S: StateMachine> Node<S> {
    /// A node with the state recovered from its disk and a state machine that has applied nothing. The replicated state,
    /// sessions included, is in memory. Every start loads the snapshot, if there is one, and applies the log after it.
    ///
    /// # Errors
    /// [`RestoreError`], if a setting is out of range, the recovered state contradicts itself, or its `applied` is not 0.
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
        let backups = Backups::new(snapshots.chunk_bytes);
        let observes = config.observe;
        let forwarding = Forwarding::new(&options, config.election_timeout.end.saturating_mul(2), config.seed);
        Ok(Self {
            raft: Raft::new(config, restored)?,
            cluster: options.cluster,
            state: ReplicatedState::new(machine, SessionLimits::new(&options)),
            waiters: Waiters::default(),
            reads: Reads::default(),
            watches: Watches::default(),
            backups,
            forwarding,
            timers: Timers::default(),
            snapshots,
            disk_budget: DiskBudget::new(options.reserve_bytes),
            observes,
            now: Instant(0),
            actions: Vec::new(),
            lost_term: None,
        })
    }

    /// Handles all inputs, applies the entries that they commit, and appends to `outputs` the host's tasks. The host
    /// samples `now` after it took the inputs from their queue. A call may emit several `Persist`; their order counts.
    /// After the inputs a leader proposes the commands of expired timers; at the end the node takes a snapshot if one
    /// is due.
    pub fn step(&mut self, now: Instant, inputs: impl IntoIterator<Item = NodeInput>, outputs: &mut Vec<NodeOutput>) {
        self.now = self.now.max(now);
        let start = outputs.len();
        self.disk_budget.begin_call();
        self.snapshots.outgoing.on_time(self.now, outputs);
        let mut inputs: Vec<Input> = inputs.into_iter().filter_map(|input| self.translate(input, outputs)).collect();
        loop {
            self.step_core(inputs, outputs);
            let Some(due) = self.due_timers() else { break };
            inputs = vec![due];
        }
        // This comes last: a request whose entry was applied in this very call has a better reply than `Unknown`.
        if let Some(term) = self.lost_term.take() {
            self.waiters.on_leadership_lost(term, outputs);
        }
        while let Some((id, read)) = self.reads.next(self.state.applied) {
            let reply = match read {
                Read::Query(query) => self.state.answer(&query),
                Read::Backup => self.begin_backup(id),
            };
            outputs.push(NodeOutput::Reply { id, reply });
        }
        self.end_forwarding(start, outputs);
        // Watches wait while a snapshot is loaded, because a watch "from now on" would start before it.
        if !self.snapshots.loading.is_pending() {
            self.watches.ask(self.state.applied, &self.state.machine, outputs);
        }
        let encode = |last| self.state.encode(last);
        self.snapshots.end_call(&self.raft, self.now, self.state.applied, encode, outputs);
        if self.disk_budget.take_space_request(self.now) {
            outputs.push(NodeOutput::Disk(DiskJob::ReserveSpace));
        }
    }

    /// When the node next has work without an input; read it again after every call.
    pub fn deadline(&self) -> Option<Instant> {
        let snapshots = self.snapshots.deadline();
        let deadlines = [self.raft.deadline(), self.timers.deadline(), self.disk_budget.deadline(), snapshots];
        let deadlines = deadlines.into_iter().chain([self.forwarding.deadline()]);
        deadlines.flatten().min()
    }

    /// A summary of the core's state.
    pub fn status(&self) -> Status {
        self.raft.status()
    }

    /// What waits in the node, besides what the core counts.
    pub fn load(&self) -> NodeLoad {
        let (forwarded_requests, forwarded_bytes) = self.forwarding.pending();
        NodeLoad {
            commands: self.waiters.len(),
            reads: self.reads.len(),
            watches: self.watches.len(),
            backups: self.backups.len(),
            forwarded_requests,
            forwarded_bytes,
            executing: self.forwarding.executing(),
            outgoing_snapshots: self.snapshots.outgoing.len(),
            reserved_bytes: self.disk_budget.bytes_in_flight(),
            sessions: self.state.sessions.len(),
        }
    }

    /// The protocol core, read-only.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The configuration in force, if the log holds one.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.raft.configuration()
    }

    /// The state machine.
    pub fn machine(&self) -> &S {
        &self.state.machine
    }

    /// A hash of the whole replicated state: state machine, sessions, applied index. It is equal on all nodes that have
    /// applied the same entries. It detects accidents, but not an adversary.
    pub fn state_hash(&self) -> u128 {
        self.state.hash()
    }

    /// Steps the core and executes its actions; the entries that these apply are its next input.
    fn step_core(&mut self, inputs: Vec<Input>, outputs: &mut Outputs) {
        let mut actions = std::mem::take(&mut self.actions);
        self.raft.step_batch(self.now, inputs, &mut actions);
        while !actions.is_empty() {
            let before = self.state.applied;
            for action in actions.drain(..) {
                self.execute(action, outputs);
            }
            if self.state.applied > before {
                self.raft.step_batch(self.now, [Input::Applied { index: self.state.applied }], &mut actions);
            }
        }
        self.actions = actions;
    }

    /// On a leader: starts new timers, and proposes the command of the expired timers.
    fn due_timers(&mut self) -> Option<Input> {
        let term = self.raft.term();
        if !self.timers.set_leading((self.raft.role() == RoleKind::Leader).then_some(term)) {
            return None;
        }
        self.timers.start(self.now, self.state.machine.timers(self.timers.highest()));
        loop {
            let due = self.timers.take_due(self.now);
            if due.is_empty() {
                return None;
            }
            let Some(command) = self.state.machine.timed_out(&due) else { continue };
            let (id, command) = (self.timers.propose(due), Envelope::Internal(command).encode());
            if self.disk_budget.admit_command(command.len()) {
                return Some(Input::Propose { id, command });
            }
            self.timers.on_rejected(id, self.now);
        }
    }

    /// Translates a node's input to the core's; `None` if it does not concern the core.
    fn translate(&mut self, input: NodeInput, outputs: &mut Outputs) -> Option<Input> {
        match input {
            NodeInput::Tick => Some(Input::Tick),
            // The sender notices it with its next heartbeat, as if the message were lost.
            NodeInput::Receive { rpc: Rpc::AppendEntries(append), .. }
                if !self.disk_budget.admit_entries(&append.entries) =>
            {
                None
            }
            NodeInput::Receive { from, rpc } => Some(Input::Receive { from, rpc }),
            NodeInput::Campaign => Some(Input::Campaign),
            NodeInput::Unreachable { peer } => {
                self.forwarding.on_unreachable(peer, outputs);
                Some(Input::Unreachable { peer })
            }
            NodeInput::Persisted { write } => {
                self.disk_budget.on_persisted(write);
                self.snapshots.files.on_persisted(write);
                Some(Input::Persisted { write })
            }
            NodeInput::Space { is_low } => {
                self.disk_budget.on_space(is_low, self.now);
                Some(Input::Space { is_low })
            }
            NodeInput::Request { id, request } => self.request(id, request, outputs),
            NodeInput::ForwardedRequest { from, request } => {
                let id = self.forwarding.begin_executing(from, request.id);
                self.execute_here(id, request.request.into(), outputs)
            }
            NodeInput::ForwardedReply { from, reply } => {
                self.forwarding.on_reply(from, reply, outputs);
                None
            }
            NodeInput::NotForwarded { id } => {
                self.forwarding.on_not_sent(id.number, outputs);
                None
            }
            NodeInput::CancelWatch { id } => {
                self.watches.remove(id);
                self.reads.cancel_backup(id);
                self.backups.cancel(id);
                None
            }
            NodeInput::LogRead { read, entries } => Some(Input::LogRead { read, entries }),
            NodeInput::TakeSnapshot => {
                self.snapshots.policy.requested = true;
                None
            }
            NodeInput::SnapshotLoaded { meta, data } => self.snapshot_loaded(meta, &data, outputs),
            NodeInput::SnapshotWritten { file, last, end, outcome } => {
                self.snapshots.on_written(self.now, (file, last, end), outcome, outputs)
            }
            NodeInput::SnapshotRead { to, last, offset, chunk } => {
                self.snapshots.on_read(&self.raft, self.now, (to, last, offset), chunk, outputs)
            }
            NodeInput::SnapshotMessage { from, message } => {
                self.snapshots.on_message(&self.raft, from, message, outputs)
            }
        }
    }

    /// Begins a backup of the present state.
    fn begin_backup(&mut self, id: RequestId) -> Reply {
        // None: nothing is applied, or a newer state is being loaded.
        let meta = self.raft.snapshot_meta(self.state.applied).filter(|_| !self.backups.is_full());
        let Some(meta) = meta else { return Reply::Rejected { reason: RejectReason::Busy } };
        self.backups.begin(id, self.state.encode(meta.last));
        Reply::BackupBegun { meta: Box::new(meta) }
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "the test expects another kind of output")]
mod tests;
