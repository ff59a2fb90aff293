//! The replica: its inputs, the order in which it handles them, its actions.

use crate::action::{Action, RejectReason};
use crate::canonical::{Canon, Canonical};
use crate::config::Config;
use crate::digest::Digest;
use crate::entry::Entries;
use crate::event::{Cause, Event, IgnoreReason};
use crate::id::{EntryId, LogIndex, MAX_NUMBER, NodeId, ReadId, RequestId, Term};
use crate::membership::Configuration;
use crate::message::{AppendEntriesResponse, Input, Message, Rpc};
use crate::recovered_state::{RecoveredState, RestoreError};
use crate::role::{Follower, Role};
use crate::shared::Shared;
use crate::status::{RoleKind, Status, StopReason};
use crate::time::Instant;
use alloc::vec::Vec;

/// One Raft replica: a deterministic function of its inputs, including time.
///
/// Invariant between two calls: `announced` names the leader that [`leader`](Self::leader) returns. The types of the
/// fields have invariants too (rule R45).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Raft {
    pub(crate) shared: Shared,
    pub(crate) role: Role,
    /// The role and term last observed.
    pub(crate) seen: (RoleKind, Term),
    /// The leader last announced, and its term.
    pub(crate) announced: (Term, Option<NodeId>),
    started: bool,
}

impl Raft {
    /// A replica with the state that its disk held. It emits nothing yet: the first call starts the timers.
    ///
    /// # Errors
    /// [`RestoreError`], if a setting is out of range or the restored state contradicts itself.
    pub fn new(config: Config, restored: RecoveredState) -> Result<Self, RestoreError> {
        config.check().map_err(RestoreError::Config)?;
        restored.check()?;
        let term = restored.hard_state.term;
        let election_deadline = Instant::default();
        Ok(Self {
            shared: Shared::new(config, restored),
            role: Role::Follower(Follower::new(election_deadline)),
            seen: (RoleKind::Follower, term),
            announced: (term, None),
            started: false,
        })
    }

    /// Handles one input and returns the actions that follow, in order. A host carries them out. A host that takes
    /// several inputs at a time saves syncs and messages with [`step_batch`](Self::step_batch).
    ///
    /// `message.now` is the time of the call: it handles the input first, then the timers that are due.
    pub fn step(&mut self, message: Message) -> Vec<Action> {
        let mut actions = Vec::new();
        self.step_batch(message.now, [message.input], &mut actions);
        actions
    }

    /// Handles all inputs, then the timers that are due at `now`, then emits once: at most one `Persist`, and at most
    /// one run of appends and one pending answer per peer (rule R2). It appends to `actions` and keeps the actions
    /// there.
    ///
    /// The host reads `now` after it took the inputs from their queue (rule R1). An earlier time counts as the latest
    /// one.
    pub fn step_batch(&mut self, now: Instant, inputs: impl IntoIterator<Item = Input>, actions: &mut Vec<Action>) {
        self.shared.now = self.shared.now.max(now);
        self.shared.actions = core::mem::take(actions);
        self.start();
        for input in inputs {
            self.on_input(input);
        }
        self.fire_timers();
        self.settle();
        self.check_write_stall();
        self.emit();
        if cfg!(debug_assertions) {
            self.check();
        }
        *actions = core::mem::take(&mut self.shared.actions);
    }

    /// The time of the next timer; read it again after every call. `None` means that only an input can change anything.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant::default());
        }
        let shared = &self.shared;
        let deadlines = match &self.role {
            Role::Stopped(_) => return None,
            Role::Leader(leader) => [
                Some(leader.next_heartbeat),
                leader.quorum_deadline(shared),
                leader.transfer_deadline(),
                leader.stall_deadline(shared),
                leader.snapshot_deadline(),
                shared.apply_deadline(),
            ],
            _ => [self.election_deadline(), shared.apply_deadline(), None, None, None, None],
        };
        deadlines.into_iter().flatten().min().filter(|&deadline| deadline != Instant::NEVER)
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.shared.id()
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.shared.term()
    }

    /// The role.
    pub fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// The leader of the current term, if this node knows it and is not campaigning.
    pub fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Leader(_) => Some(self.shared.id()),
            Role::Follower(_) => self.shared.leader.filter(|&leader| leader != self.shared.id()),
            _ => None,
        }
    }

    /// The configuration in force, if the log holds one.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.shared.configuration()
    }

    /// The entry that carries the configuration in force.
    pub fn configured_at(&self) -> Option<EntryId> {
        self.shared.log.configuration().map(|(at, _)| at)
    }

    /// The commit index.
    pub fn commit(&self) -> LogIndex {
        self.shared.commit
    }

    /// The highest index reported `Applied`.
    pub fn applied(&self) -> LogIndex {
        self.shared.apply.applied
    }

    /// The last entry of the snapshot that this leader is sending to a peer.
    pub fn snapshot_to(&self, peer: NodeId) -> Option<EntryId> {
        let Role::Leader(leader) = &self.role else { return None };
        leader.peers.get(&peer).and_then(|peer| peer.status().snapshot)
    }

    /// The state in numbers.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let leader = if let Role::Leader(leader) = &self.role { Some(leader) } else { None };
        Status {
            id: shared.id(),
            term: shared.term(),
            role: self.role(),
            voted_for: shared.hard_state.voted_for,
            leader: self.leader(),
            first: shared.log.base().index.next(),
            last: shared.last(),
            snapshot: shared.snapshots.newest().map(|snapshot| snapshot.last),
            durable: shared.durable(),
            commit: shared.commit,
            applied: shared.apply.applied,
            stopped: if let Role::Stopped(reason) = self.role { Some(reason) } else { None },
            uncommitted_bytes: leader.map_or(0, |leader| leader.uncommitted_bytes),
            unpersisted_bytes: shared.unpersisted_bytes(),
            applying_bytes: shared.apply.applying_bytes,
            cached_bytes: shared.log.cached_bytes(),
            pending_reads: leader.map_or(0, |leader| leader.reads.len()),
            lease_reads: shared.lease_reads,
            no_space: shared.no_space,
            transfer_to: leader.and_then(|leader| leader.transfer).map(|transfer| transfer.target),
            peers: leader
                .map(|leader| leader.peers.iter().map(|(&id, peer)| (id, peer.status())).collect())
                .unwrap_or_default(),
        }
    }

    /// A digest of all fields, bit for bit: equal states have equal digests on every machine.
    pub fn digest(&self) -> u128 {
        Digest::of(self)
    }

    /// The first call: the timers start, and the restored configuration is reported.
    fn start(&mut self) {
        if core::mem::replace(&mut self.started, true) {
            return;
        }
        self.shared.announce_configuration();
        let id = self.shared.id();
        let is_alone = self.shared.configuration().is_some_and(|configuration| configuration.is_sole_voter(id));
        if let Role::Follower(follower) = &mut self.role {
            follower.election_deadline = self.shared.clock.start(&self.shared.config, self.shared.now, is_alone);
        }
    }

    fn on_input(&mut self, input: Input) {
        if let Role::Stopped(_) = self.role {
            if let Input::Propose { id, .. }
            | Input::Read { id, .. }
            | Input::ChangeMembership { id, .. }
            | Input::TransferLeadership { id, .. } = input
            {
                self.shared.actions.push(Action::Rejected { id, reason: RejectReason::Stopped });
            }
            return;
        }
        match input {
            Input::Tick => {}
            Input::Receive { from, .. } if from == self.shared.id() => self.ignore(from, IgnoreReason::FromSelf),
            Input::Receive { from, rpc } => self.on_rpc(from, rpc),
            Input::Propose { id, command } => match &mut self.role {
                Role::Leader(leader) => leader.propose(&mut self.shared, id, command),
                _ => self.reject_not_leader(id),
            },
            Input::Read { id, mode } => match &mut self.role {
                Role::Leader(leader) => leader.read(&mut self.shared, id, mode),
                _ => self.reject_not_leader(id),
            },
            Input::ChangeMembership { id, change } => match &mut self.role {
                Role::Leader(leader) => leader.change_membership(&mut self.shared, id, &change),
                _ => self.reject_not_leader(id),
            },
            Input::TransferLeadership { id, to } => match &mut self.role {
                Role::Leader(leader) => leader.begin_transfer(&mut self.shared, id, to),
                _ => self.reject_not_leader(id),
            },
            Input::Campaign => self.on_campaign(),
            Input::Space { is_low } => self.on_space(is_low),
            Input::Unreachable { peer } => {
                if let Role::Leader(leader) = &mut self.role
                    && let Some(progress) = leader.peers.get_mut(&peer)
                {
                    progress.unreachable(leader.seq, self.shared.log.base().index);
                }
            }
            Input::Persisted { write } => {
                self.shared.on_persisted(write);
                self.settle();
            }
            Input::Applied { index } => self.shared.apply.report(index),
            Input::LogRead { read, entries } => self.on_log_read(read, &entries),
            Input::SnapshotTaken { index } => self.shared.on_snapshot_taken(index),
            Input::SnapshotReceived { from, term, meta } => self.on_snapshot_received(from, term, meta),
            Input::SnapshotSent { to, outcome } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_snapshot_sent(&mut self.shared, to, outcome);
                }
            }
        }
    }

    fn on_rpc(&mut self, from: NodeId, rpc: Rpc) {
        if rpc.term().0 > MAX_NUMBER {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        match rpc {
            Rpc::PreVote(rpc) => self.on_pre_vote(from, rpc),
            Rpc::PreVoteResponse(rpc) => self.on_pre_vote_response(from, rpc),
            Rpc::RequestVote(rpc) => self.on_request_vote(from, rpc),
            Rpc::RequestVoteResponse(rpc) => self.on_request_vote_response(from, rpc),
            Rpc::AppendEntries(rpc) => self.on_append_entries(from, rpc),
            Rpc::AppendEntriesResponse(rpc) => self.on_append_entries_response(from, rpc),
            Rpc::TimeoutNow(rpc) => self.on_timeout_now(from, rpc),
        }
    }

    fn on_append_entries_response(&mut self, from: NodeId, rpc: AppendEntriesResponse) {
        if rpc.term > self.shared.term() {
            return self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        match &mut self.role {
            Role::Leader(leader) if rpc.term == self.shared.hard_state.term => {
                leader.on_append_entries_response(&mut self.shared, from, rpc);
            }
            _ => self.ignore(from, IgnoreReason::NotAsked),
        }
    }

    /// The answer to a log read. Without the entries a peer needs a snapshot, and the state machine cannot continue.
    fn on_log_read(&mut self, read: ReadId, entries: &Entries) {
        let shared = &mut self.shared;
        if shared.apply.read_back.asks(read) {
            if entries.is_empty() {
                return self.stop(StopReason::EntriesMissing { first: self.shared.apply.submitted.next() });
            }
            shared.apply.read_back.answered(&shared.log, entries);
        } else if let Role::Leader(leader) = &mut self.role {
            leader.on_log_read(shared, read, entries);
        }
    }

    fn reject_not_leader(&mut self, id: RequestId) {
        let reason = RejectReason::NotLeader { leader: self.leader() };
        self.shared.actions.push(Action::Rejected { id, reason });
    }

    pub(crate) fn ignore(&mut self, from: NodeId, reason: IgnoreReason) {
        self.shared.observe(|| Event::Ignored { from, reason });
    }

    /// Fires the timers that are due, after the inputs: a heartbeat at the deadline prevents the election (rule R1).
    fn fire_timers(&mut self) {
        if let Role::Stopped(_) = self.role {
            return;
        }
        let now = self.shared.now;
        self.shared.report_overdue();
        if self.election_deadline().is_some_and(|deadline| deadline.is_due(now)) {
            match self.shared.removal() {
                // A leader would still send to a member, one that was added again too.
                Some(at) => return self.stop(StopReason::Removed { at }),
                None => self.campaign(Cause::ElectionTimeout),
            }
        }
        if let Role::Leader(leader) = &mut self.role {
            // Rule R17.
            if leader.quorum_deadline(&self.shared).is_some_and(|deadline| deadline.is_due(now)) {
                return self.become_follower(self.shared.term(), Cause::QuorumLost);
            }
            leader.end_overdue_transfer(&mut self.shared);
            leader.abandon_overdue_snapshots(&mut self.shared);
            if leader.next_heartbeat.is_due(now) {
                leader.send_heartbeats(&mut self.shared);
            }
        }
    }

    /// Takes the steps that follow from the state alone: it starts the voting once the own vote is durable, commits
    /// what is durable on a quorum, and releases confirmed reads.
    fn settle(&mut self) {
        self.start_voting();
        if let Role::Leader(leader) = &mut self.role {
            loop {
                leader.advance_commit_index(&mut self.shared);
                leader.release_reads(&mut self.shared);
                leader.drive_transfer(&mut self.shared);
                if !leader.leave_joint(&mut self.shared) {
                    break;
                }
            }
            leader.prune_removed_peers(&self.shared);
            if leader.has_left(&mut self.shared) {
                self.become_follower(self.shared.term(), Cause::Removed);
            }
        }
    }

    /// Asserts the invariants of the replica and of its parts. Release builds skip it.
    pub(crate) fn check(&self) {
        let (leader, term) = (self.leader(), self.shared.term());
        let is_announced = self.announced.1 == leader && (leader.is_none() || self.announced.0 == term);
        assert!(is_announced, "announced {:?}, but the leader of term {term} is {leader:?}", self.announced);
        self.shared.check();
        self.role.check(&self.shared);
    }

    /// Emits the writes, answers, appends and applies of the call, once; only what may be carried out now (rule R3).
    fn emit(&mut self) {
        self.shared.emit_write();
        match &mut self.role {
            Role::Follower(follower) => {
                follower.emit_vote(&mut self.shared);
                follower.emit_answers(&mut self.shared);
            }
            Role::Leader(leader) => leader.send_appends(&mut self.shared),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Stopped(_) => return,
        }
        self.shared.emit_apply();
        match &mut self.role {
            Role::Leader(leader) => leader.compact(&mut self.shared),
            _ => self.shared.emit_compact(None),
        }
        self.shared.evict();
        // The next entries to apply may just have left memory: this call reads them back, not the next one.
        self.shared.emit_apply();
    }
}

/// The term of an announcement that there is no leader counts for nothing.
impl Canonical for Raft {
    fn feed(&self, canon: &mut Canon<'_>) {
        let Self { shared, role, seen, announced: (term, leader), started } = self;
        shared.feed(canon);
        canon.receiver(shared.id());
        role.feed(canon);
        seen.feed(canon);
        leader.feed(canon);
        leader.is_some().then_some(*term).feed(canon);
        started.feed(canon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_fails, follower};

    #[test]
    fn a_leader_that_was_not_announced_fails() {
        each_fails(
            &follower(),
            |raft| raft.check(),
            &[
                ("announced (2, None)", |raft| raft.announced.1 = None),
                ("announced (1, Some(n2))", |raft| raft.announced.0 = Term(1)),
            ],
        );
    }
}
