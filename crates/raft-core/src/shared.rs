//! The state of a node in every role: settings, time, term and vote, log, positions in it, and the actions of the
//! current call.
//!
//! This file must not know the roles.

use crate::action::{Action, HardState};
use crate::apply_pipeline::ApplyPipeline;
use crate::canonical::canonical;
use crate::config::Config;
use crate::election_clock::ElectionClock;
use crate::entry::{Entries, Entry};
use crate::event::Event;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, Seq, Term, WriteId};
use crate::jitter::Jitter;
use crate::local_snapshots::LocalSnapshots;
use crate::log::Log;
use crate::membership::Configuration;
use crate::message::{AppendEntriesResponse, AppendOutcome, Rpc};
use crate::pending_write::PendingWrite;
use crate::readback::ReadBack;
use crate::recovered_state::RecoveredState;
use crate::time::{Instant, nanos};
use crate::writes_in_flight::Writes;
use alloc::vec::Vec;
use core::time::Duration;

/// The part of a node that stays when its role changes.
///
/// Invariants between two calls:
/// - commit <= leader_match <= last;
/// - base <= newest snapshot <= commit, where base is the last compacted entry;
/// - the term of the last entry is at most the current term;
/// - an entry that is not in memory is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The latest time seen.
    pub(crate) now: Instant,
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    /// The changes of this call that no write carries yet.
    pub(crate) pending: PendingWrite,
    /// The writes in flight.
    pub(crate) writes: Writes,
    pub(crate) snapshots: LocalSnapshots,
    /// The commit index (Raft Figure 2).
    pub(crate) commit: LogIndex,
    /// The highest index at which the log is known to match the current leader's. It is never below `commit`, and goes
    /// back to `commit` when the term changes.
    pub(crate) leader_match: LogIndex,
    /// The highest commit index of a leader's append. This node may lack the entries up to it.
    pub(crate) leader_commit: LogIndex,
    pub(crate) apply: ApplyPipeline,
    /// The leader of the current term, if it is known. A term has one leader (Raft §5.2), so it does not change.
    pub(crate) leader: Option<NodeId>,
    pub(crate) clock: ElectionClock,
    /// The committed entry that ended this node's membership, if the node has learned that since its start. Before, the node may
    /// have been added again.
    pub(crate) removed: Option<EntryId>,
    /// Whether this start began with a snapshot, which may cover that entry.
    pub(crate) began_with_snapshot: bool,
    /// The write that was in flight for so long that this node gave up leadership.
    pub(crate) stalled_write: Option<WriteId>,
    /// The host's last report of its disk: no space for more entries (rule R51).
    pub(crate) no_space: bool,
    /// The newest log read.
    pub(crate) read: ReadId,
    /// The number of reads served by lease since the start. The host reads it; the protocol does not depend on it.
    pub(crate) lease_reads: u64,
    pub(crate) actions: Vec<Action>,
}

impl Shared {
    pub(crate) fn new(config: Config, restored: RecoveredState) -> Self {
        let log = Log::restored(&restored);
        let last = log.last();
        let RecoveredState { hard_state, snapshot, applied, .. } = restored;
        let covered = snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let commit = applied.max(covered);
        let jitter = Jitter::new(config.seed, config.id, hard_state.term, last);
        let began_with_snapshot = snapshot.is_some();
        Self {
            clock: ElectionClock::new(jitter, &config),
            config,
            now: Instant::default(),
            hard_state,
            log,
            pending: PendingWrite::new(last.index),
            writes: Writes::default(),
            snapshots: LocalSnapshots::restored(snapshot),
            commit,
            leader_match: commit,
            leader_commit: commit,
            apply: ApplyPipeline::new(applied),
            leader: None,
            removed: None,
            began_with_snapshot,
            stalled_write: None,
            no_space: false,
            read: ReadId(0),
            lease_reads: 0,
            actions: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The last entry of this node's log.
    pub(crate) fn last(&self) -> EntryId {
        self.log.last()
    }

    /// The configuration in force (Raft §6: the newest in the log).
    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        self.log.configuration().map(|(_, configuration)| configuration)
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.configuration().is_some_and(|configuration| configuration.is_voter(self.config.id))
    }

    /// Whether this node may campaign: some configuration that may yet be in force names it a voter (rule R28, Thesis
    /// §4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        self.log.configurations().since(self.commit).any(|configuration| configuration.is_voter(self.config.id))
    }

    /// Whether this node, which may not campaign, asks the voters when no leader sends to it: their refusals say whether it was
    /// removed (rule R50). A learner asks, one that knows or whose log shows that it was a member, and one that began with a snapshot,
    /// which may cover its removal. A node that the log has not named yet does not: it is about to be added.
    pub(crate) fn may_ask(&self) -> bool {
        let names = |configuration: &Configuration| configuration.members.contains_key(&self.config.id);
        let was_named = self.began_with_snapshot
            || self.removed.is_some()
            || self.log.configurations().since(LogIndex(0)).any(names);
        self.configuration().is_some() && was_named && !self.may_campaign()
    }

    pub(crate) fn send(&mut self, to: NodeId, rpc: Rpc) {
        self.actions.push(Action::Send { to, rpc });
    }

    /// Answers an append and states the stickiness that the leader's lease may depend on (rule R30), and whether this node
    /// has disk space (rule R51).
    pub(crate) fn answer_append(&mut self, leader: NodeId, seq: Seq, outcome: AppendOutcome) {
        let promises = self.config.stickiness && self.config.lease_reads;
        let stickiness = if promises { self.config.election_timeout.start } else { Duration::ZERO };
        let response = AppendEntriesResponse { term: self.term(), seq, outcome, stickiness, no_space: self.no_space };
        self.send(leader, Rpc::AppendEntriesResponse(response));
    }

    /// Reports an event, if the host observes.
    pub(crate) fn observe(&mut self, event: impl FnOnce() -> Event) {
        if self.config.observe {
            self.actions.push(Action::Observe(event()));
        }
    }

    // ---- time ----

    /// Draws a new election timeout and returns when it runs out.
    pub(crate) fn draw_election_deadline(&mut self) -> Instant {
        self.clock.draw_deadline(&self.config, self.now)
    }

    /// When a follower with contact at this time stops waiting for its leader.
    pub(crate) fn deadline_after_contact(&self) -> Instant {
        self.clock.deadline_after_contact(&self.config, self.now)
    }

    /// Whether `contact` is too recent for an election (rule R16, Thesis §4.2.3).
    pub(crate) fn is_sticky(&self, contact: Option<Instant>) -> bool {
        self.config.stickiness && self.is_recent(contact)
    }

    /// Whether `contact` is less than the shortest election timeout ago.
    pub(crate) fn is_recent(&self, contact: Option<Instant>) -> bool {
        contact.is_some_and(|contact| self.now < contact.after(self.config.election_timeout.start))
    }

    /// Whether this node has all entries up to the highest commit index of a leader's append (rule R50).
    pub(crate) fn has_what_is_committed(&self) -> bool {
        self.commit >= self.leader_commit
    }

    /// The longest election timeout, within which a leader must have contact with a quorum.
    pub(crate) fn longest_timeout(&self) -> Duration {
        Duration::from_nanos(nanos(self.config.election_timeout.end))
    }

    // ---- term and vote ----

    /// Moves to a higher term. The facts about the old term's leader are void (rule R6).
    pub(crate) fn enter_term(&mut self, term: Term, voted_for: Option<NodeId>) {
        debug_assert!(term > self.hard_state.term, "term {term} is not above {}", self.hard_state.term);
        self.hard_state = HardState { term, voted_for };
        self.pending.change_hard_state();
        self.leader_match = self.commit;
        self.leader = None;
    }

    /// Gives this term's vote, which must still be free (Raft §5.2).
    pub(crate) fn vote_for(&mut self, candidate: NodeId) {
        debug_assert!(self.hard_state.voted_for.is_none(), "{:?} has voted", self.hard_state);
        self.hard_state.voted_for = Some(candidate);
        self.pending.change_hard_state();
    }

    /// Whether the current (term, vote) is durable.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.pending.hard_state_is_durable(&self.writes)
    }

    /// Whether the write that carries this node's vote for itself is in flight. Its round has not begun, so no new one may
    /// start. Otherwise terms and writes would pile up on a slow disk.
    pub(crate) fn own_vote_is_in_flight(&self) -> bool {
        self.hard_state.voted_for == Some(self.config.id) && !self.hard_state_is_durable()
    }

    // ---- log ----

    /// Appends entries, which must follow the log.
    pub(crate) fn append(&mut self, entries: Entries) {
        if let Some(first) = entries.first_index() {
            self.pending.change_log(first, entries.size());
            self.log.append(entries);
        }
    }

    /// Appends one entry, which must follow the log.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.pending.change_log(entry.id.index, entry.size());
        self.log.push(entry);
    }

    /// Removes the entries from `index` on; reports the configuration in force if one of them carried it.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        debug_assert!(index > self.commit, "entry {index} is committed up to {}", self.commit);
        let last = self.log.last();
        let from = self.log.id_at(index).unwrap_or_default();
        self.observe(|| Event::Truncated { from, last });
        let before = self.log.configuration().map(|(at, _)| at);
        self.pending.truncate(index);
        self.log.truncate_from(index);
        self.apply.read_back.truncate_from(index);
        if self.log.configuration().map(|(at, _)| at) != before {
            self.announce_configuration();
        }
    }

    /// Reports the configuration in force.
    pub(crate) fn announce_configuration(&mut self) {
        if let Some((at, configuration)) = self.log.configuration() {
            let committed = at.index <= self.commit;
            let configuration = configuration.clone();
            self.actions.push(Action::ConfigurationChanged { configuration, at, committed });
        }
    }

    /// The highest index that is durable here (rule R5), given the changes of this call that are not written yet.
    pub(crate) fn durable(&self) -> LogIndex {
        self.pending.durable(self.writes.durable(self.log.last().index))
    }

    /// The bytes that wait for the disk.
    pub(crate) fn unpersisted_bytes(&self) -> u64 {
        self.writes.bytes().saturating_add(self.pending.bytes())
    }

    /// Moves the commit index, which never goes back.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        debug_assert!(index <= self.log.last().index, "commit {index} beyond the log's end {}", self.log.last());
        if index <= self.commit {
            return;
        }
        let before = core::mem::replace(&mut self.commit, index);
        self.leader_match = self.leader_match.max(index);
        self.observe(|| Event::Committed { index });
        let committed = self.log.configurations().between(before, index).map(|(at, configuration)| {
            let configuration = configuration.clone();
            Action::ConfigurationChanged { configuration, at, committed: true }
        });
        self.actions.extend(committed);
        self.note_membership(before, index);
    }

    /// Notes whether the configurations in entries `after+1..=index`, which are committed, end this node's membership. A node
    /// that was never a member, and learns how the cluster was before it, is not removed.
    fn note_membership(&mut self, after: LogIndex, index: LogIndex) {
        let (own, log) = (self.config.id, self.log.configurations());
        let names = |configuration: &Configuration| configuration.members.contains_key(&own);
        for (at, configuration) in log.between(after, index) {
            let was = log.as_of(at.index.previous()).is_some_and(|(_, before)| names(before));
            self.removed = if names(configuration) { None } else { self.removed.or(was.then_some(at)) };
        }
    }

    /// The committed entry that ended this node's membership, if no later one can begin it anew: neither one in the log nor one
    /// that a leader has committed and this node lacks.
    pub(crate) fn removal(&self) -> Option<EntryId> {
        let own = self.config.id;
        let is_named = self.log.configurations().since(self.commit).any(|next| next.members.contains_key(&own));
        self.removed.filter(|_| !is_named && self.has_what_is_committed())
    }

    /// The entries from `first` on, up to `last` and `max_bytes`, but at least one, from memory or read back. `None`
    /// means that they are not there yet. Then the host is asked to read them, unless it already reads for this
    /// purpose.
    pub(crate) fn entries(
        &mut self,
        read_back: &mut ReadBack,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
    ) -> Option<Entries> {
        let entries = read_back.entries(&self.log, first, last, max_bytes);
        if entries.is_none() && read_back.asked_from().is_none() {
            self.read = self.read.next();
            read_back.ask(self.read, first);
            // Only durable entries leave memory.
            let last = last.min(self.log.cached_from().previous());
            self.actions.push(Action::ReadLog { read: self.read, first, last, max_bytes });
        }
        entries
    }

    // ---- at the end of a call ----

    /// Emits all changes of this call as one atomic write (rule R7).
    pub(crate) fn emit_write(&mut self) {
        self.log.seal();
        let snapshot = self.snapshots.changed.take();
        let write = self.pending.issue(self.hard_state, snapshot, &self.log, &mut self.writes, self.now);
        let Some(write) = write else { return };
        if let Some(record) = &write.snapshot {
            self.snapshots.issued(write.id, record);
        }
        self.actions.push(Action::Persist(write));
    }

    /// Drops durable payloads from memory, oldest first. The next payloads to apply stay for a while, because the node
    /// would soon have to read them back.
    pub(crate) fn evict(&mut self) {
        let (durable, cached) = (self.durable(), self.config.max_cached_bytes);
        self.log.evict(cached, durable.min(self.apply.submitted));
        self.log.evict(cached.saturating_add(self.config.max_apply_bytes), durable);
    }

    /// Notes that a write and all before it are durable.
    pub(crate) fn on_persisted(&mut self, write: WriteId) {
        self.writes.report(write);
        let writes = &self.writes;
        self.snapshots.reported(|write| writes.is_durable(write));
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self) {
        let Self { commit, leader_match, .. } = *self;
        let (base, last, newest) = (self.log.base().index, self.log.last(), self.snapshots.newest_index());
        assert!(commit <= leader_match, "commit {commit} is above leader match {leader_match}");
        assert!(leader_match <= last.index, "leader match {leader_match} is above last {last}");
        assert!(base <= newest, "base {base} is above the newest snapshot {newest}");
        assert!(newest <= commit, "the newest snapshot {newest} is above commit {commit}");
        assert!(last.term <= self.term(), "the last entry {last} is above term {}", self.term());
        let (cached, durable) = (self.log.cached_from(), self.durable());
        assert!(cached <= durable.max(base).next(), "memory begins at {cached}, durable {durable}, base {base}");
        self.clock.check(&self.config, self.now);
        self.log.check();
        self.pending.check(last.index);
        self.writes.check();
        self.snapshots.check();
        self.apply.check(commit);
        self.apply.read_back.check(&self.log);
    }
}

// Times count from `now`; there are no actions between calls. The leaders' commit index matters only to the membership of a node.
canonical!(Shared { config, hard_state, log, pending, writes, snapshots, commit, leader_match, apply, leader, clock, removed, began_with_snapshot, stalled_write, no_space, read } without { now, leader_commit, lease_reads, actions });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;
    use crate::testing::{each_fails, follower, meta};

    #[test]
    fn positions_out_of_order_fail() {
        each_fails(
            &follower().shared,
            |shared| shared.check(),
            &[
                ("submitted 2 is above commit 1", |shared| shared.commit = LogIndex(1)),
                ("commit 2 is above leader match 1", |shared| shared.leader_match = LogIndex(1)),
                ("leader match 4 is above last 3@2", |shared| shared.leader_match = LogIndex(4)),
                ("base 1 is above the newest snapshot 0", |shared| shared.log.compact(LogIndex(1))),
                ("the newest snapshot 3 is above commit 2", |shared| shared.snapshots.durable = Some(meta(3, 2))),
                ("the last entry 3@2 is above term 1", |shared| shared.hard_state.term = Term(1)),
                ("memory begins at 4, durable 1, base 0", |shared| {
                    shared.log.evict(0, LogIndex(3));
                    shared.writes.issue(Some(LogIndex(2)), 0, shared.now);
                }),
                ("no write carries (None, None, 0, true)", |shared| shared.pending.change_hard_state()),
            ],
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    fn steps_that_break_an_invariant_fail() {
        each_fails(
            &follower().shared,
            |_| (),
            &[
                ("term 2 is not above 2", |shared| shared.enter_term(Term(2), None)),
                ("has voted", |shared| {
                    shared.vote_for(NodeId(2));
                    shared.vote_for(NodeId(3));
                }),
                ("entry 2 is committed up to 2", |shared| shared.truncate_from(LogIndex(2))),
                ("commit 4 beyond the log's end 3@2", |shared| shared.commit_to(LogIndex(4))),
                ("the write from 4 on ends at 3, the log at 4", |shared| {
                    shared.push(Entry { id: EntryId::new(4, 2), payload: Payload::Noop });
                    shared.log.seal();
                    shared.log.evict(0, LogIndex(4));
                    shared.emit_write();
                }),
            ],
        );
    }
}
