//! What a node has in every role: settings, time, hard state, log, disk and state machine positions, and the actions of
//! the running call.
//!
//! This file must not know the roles.

use crate::action::{Action, HardState, Write};
use crate::config::Config;
use crate::configuration::Configuration;
use crate::entry::{Entries, Entry};
use crate::event::Event;
use crate::fingerprint::canonical;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, Seq, Term, WriteId};
use crate::jitter::Jitter;
use crate::log::Log;
use crate::message::{AppendEntriesResponse, AppendOutcome, Rpc};
use crate::readback::ReadBack;
use crate::restore::RecoveredState;
use crate::snapshot::Snapshots;
use crate::time::{Instant, nanos, width};
use crate::writes::Writes;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// The part of a node that outlives its roles.
///
/// Invariants between two calls:
/// - applied <= handed <= commit <= verified <= last;
/// - base <= newest snapshot <= commit, base being the last compacted entry;
/// - the term of the last entry is at most the current term;
/// - an entry that is not in memory is durable;
/// - `applying` ends at `submitted_apply` and begins after `applied`, and `applying_bytes` is its sum;
/// - a write carries every change;
/// - contact <= now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The latest time seen.
    pub(crate) now: Instant,
    /// Term and vote; durable once `hard_state_write` is.
    pub(crate) hard_state: HardState,
    hard_state_write: WriteId,
    hard_state_changed: bool,
    pub(crate) log: Log,
    /// The log changed from here on in this call, and no write carries it yet.
    changed_from: Option<LogIndex>,
    /// The last index that emitted writes hold, after their truncations.
    written: LogIndex,
    truncate_from: Option<LogIndex>,
    changed_bytes: u64,
    pub(crate) writes: Writes,
    pub(crate) snapshots: Snapshots,
    /// The last question for entries.
    read: ReadId,
    /// The entries that are to be applied.
    pub(crate) to_apply: ReadBack,
    /// The write that was in flight for so long that this node gave leadership up for it.
    pub(crate) stalled_write: Option<WriteId>,
    /// The commit index (Raft Figure 2).
    pub(crate) commit: LogIndex,
    /// The highest index known to match the leader of the current term; never below `commit`, back to it when the term
    /// changes.
    pub(crate) leader_match: LogIndex,
    /// The leader of the current term, once known. One term has one (Raft §5.2), so the first stays.
    pub(crate) leader: Option<NodeId>,
    /// The last contact with a leader of the then current term (Thesis §4.2.3); none in a node that never waits for one.
    pub(crate) contact: Option<Instant>,
    applying: VecDeque<Applying>,
    applying_bytes: u64,
    /// What is handed over up to here and overdue has been reported.
    overdue: LogIndex,
    pub(crate) submitted_apply: LogIndex,
    pub(crate) applied: LogIndex,
    jitter: Jitter,
    /// Drawn last.
    election_timeout: Duration,
    /// Reads served by lease since the start. Counted for the host: nothing depends on it.
    pub(crate) lease_reads: u64,
    pub(crate) actions: Vec<Action>,
}

/// What the state machine has been handed and has not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Applying {
    last: LogIndex,
    bytes: u64,
    since: Instant,
}

impl Shared {
    pub(crate) fn new(config: Config, restored: RecoveredState) -> Self {
        let log = Log::restored(&restored);
        let last = log.last();
        let RecoveredState { hard_state, snapshot, applied, .. } = restored;
        let covered = snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let commit = applied.max(covered);
        Self {
            jitter: Jitter::new(config.seed, config.id, hard_state.term, last),
            election_timeout: config.election_timeout.end,
            config,
            now: Instant::default(),
            hard_state,
            hard_state_write: WriteId(0),
            hard_state_changed: false,
            log,
            changed_from: None,
            written: last.index,
            truncate_from: None,
            changed_bytes: 0,
            writes: Writes::default(),
            snapshots: Snapshots::restored(snapshot, applied < covered),
            read: ReadId(0),
            to_apply: ReadBack::default(),
            stalled_write: None,
            commit,
            leader_match: commit,
            leader: None,
            contact: None,
            applying: VecDeque::new(),
            applying_bytes: 0,
            overdue: LogIndex(0),
            submitted_apply: applied,
            applied,
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

    /// The configuration in force (Raft §6: the newest in the log).
    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        self.log.configuration().map(|(_, configuration)| configuration)
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.configuration().is_some_and(|configuration| configuration.is_voter(self.config.id))
    }

    /// Whether it may campaign: some configuration that may yet be in force names it a voter. Removed by one that is not
    /// decided, its vote counts for nothing; but it may be the only one whose log can win (Thesis §4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        self.log.configurations_since(self.commit).any(|configuration| configuration.is_voter(self.config.id))
    }

    pub(crate) fn send(&mut self, to: NodeId, rpc: Rpc) {
        self.actions.push(Action::Send { to, rpc });
    }

    /// Answers an append, with the promise that an answer is to whoever leads the current term.
    pub(crate) fn answer_append(&mut self, leader: NodeId, seq: Seq, outcome: AppendOutcome) {
        let promises = self.config.stickiness && self.config.lease_reads;
        let stickiness = if promises { self.config.election_timeout.start } else { Duration::ZERO };
        let response = AppendEntriesResponse { term: self.term(), seq, outcome, stickiness };
        self.send(leader, Rpc::AppendEntriesResponse(response));
    }

    /// Reports an event, if anybody wants to see it.
    pub(crate) fn observe(&mut self, event: impl FnOnce() -> Event) {
        if self.config.observe {
            self.actions.push(Action::Observe(event()));
        }
    }

    /// Draws a new election timeout and returns when it runs out from now.
    pub(crate) fn draw_election_deadline(&mut self) -> Instant {
        let jitter = self.jitter.below(width(&self.config.election_timeout));
        self.election_timeout = self.config.election_timeout.start.saturating_add(Duration::from_nanos(jitter));
        self.election_deadline()
    }

    /// When the election timeout drawn last runs out from now. Contact restarts the timer without a new draw: nodes
    /// that have heard the same leader are told apart by the draws of their last rounds.
    pub(crate) fn election_deadline(&self) -> Instant {
        self.now.after(self.election_timeout)
    }

    /// When a follower that hears a leader now gives up waiting for it. Only this first wait is longer for a node of low
    /// priority, and what follows, rounds or votes for others, is not: or a node that alone can win might be kept waiting
    /// for ever by others that cannot.
    pub(crate) fn patient_deadline(&self) -> Instant {
        self.election_deadline().after(self.config.priority_delay())
    }

    /// Whether `contact` is too recent for anybody to be elected (Thesis §4.2.3).
    pub(crate) fn is_sticky(&self, contact: Option<Instant>) -> bool {
        self.config.stickiness
            && contact.is_some_and(|contact| self.now < contact.after(self.config.election_timeout.start))
    }

    // ---- term and vote ----

    /// Moves to a higher term, without a vote. What was known of the old term's leader is void.
    pub(crate) fn enter_term(&mut self, term: Term, voted_for: Option<NodeId>) {
        debug_assert!(term > self.hard_state.term, "term {term} is not above {}", self.hard_state.term);
        self.hard_state = HardState { term, voted_for };
        self.hard_state_changed = true;
        self.leader_match = self.commit;
        self.leader = None;
    }

    /// Gives this term's vote, which must not be given yet (Raft §5.2).
    pub(crate) fn vote_for(&mut self, candidate: NodeId) {
        debug_assert!(self.hard_state.voted_for.is_none(), "{:?} has voted", self.hard_state);
        self.hard_state.voted_for = Some(candidate);
        self.hard_state_changed = true;
    }

    /// Whether the current (term, vote) is durable. A write of an older pair does not count.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        !self.hard_state_changed && self.writes.is_durable(self.hard_state_write)
    }

    /// Whether the write that carries this node's vote for itself is in flight: its last round has not begun to ask, so
    /// no new one may start, or a disk that stands still would have terms and writes pile up.
    pub(crate) fn own_vote_is_in_flight(&self) -> bool {
        self.hard_state.voted_for == Some(self.config.id) && !self.hard_state_is_durable()
    }

    // ---- log ----

    /// Appends entries, which must follow the log.
    pub(crate) fn append(&mut self, entries: Entries) {
        if let Some(first) = entries.first_index() {
            self.log_changes(first, entries.size());
            self.log.append(entries);
        }
    }

    /// Appends one entry, which must follow the log.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.log_changes(entry.id.index, entry.size());
        self.log.push(entry);
    }

    fn log_changes(&mut self, from: LogIndex, bytes: u64) {
        self.changed_from = Some(self.changed_from.map_or(from, |first| first.min(from)));
        self.changed_bytes = self.changed_bytes.saturating_add(bytes);
    }

    /// The log was forgotten whole and goes on after `last`; what is durable of it begins to be uncertain at `touched`.
    pub(crate) fn log_is_discarded(&mut self, touched: LogIndex, last: LogIndex) {
        self.changed_bytes = 0;
        self.log_changes(touched, 0);
        self.written = last;
        self.truncate_from = None;
        self.to_apply.forget();
    }

    /// The newest question for entries.
    pub(crate) fn read(&self) -> ReadId {
        self.read
    }

    /// Numbers the next question for entries.
    pub(crate) fn next_read(&mut self) -> ReadId {
        self.read = self.read.next();
        self.read
    }

    /// Forgets the entries from `index` on; reports the configuration in force if one of them carried it.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        debug_assert!(index > self.commit, "entry {index} is committed up to {}", self.commit);
        let last = self.log.last();
        let from = self.log.id_at(index).unwrap_or_default();
        self.observe(|| Event::Truncated { from, last });
        let before = self.log.configuration().map(|(at, _)| at);
        self.log_changes(index, 0);
        self.log.truncate_from(index);
        self.to_apply.truncate_from(index);
        if index <= self.written {
            self.truncate_from = Some(self.truncate_from.map_or(index, |first| first.min(index)));
            self.written = index.previous();
        }
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

    /// The highest index that is durable here, counting what this call changed and has not yet written.
    pub(crate) fn durable(&self) -> LogIndex {
        let durable = self.writes.durable(self.log.last().index);
        self.changed_from.map_or(durable, |first| durable.min(first.previous()))
    }

    /// The bytes that wait for the disk.
    pub(crate) fn unpersisted_bytes(&self) -> u64 {
        self.writes.bytes().saturating_add(self.changed_bytes)
    }

    /// The bytes that the state machine has been handed and has not reported.
    pub(crate) fn applying_bytes(&self) -> u64 {
        self.applying_bytes
    }

    /// Moves the commit index; it never goes back.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        debug_assert!(index <= self.log.last().index, "commit {index} beyond the log's end {}", self.log.last());
        if index <= self.commit {
            return;
        }
        let before = core::mem::replace(&mut self.commit, index);
        self.leader_match = self.leader_match.max(index);
        self.observe(|| Event::Committed { index });
        let news: Vec<Action> = self
            .log
            .configurations_between(before, index)
            .map(|(at, configuration)| Action::ConfigurationChanged {
                configuration: configuration.clone(),
                at,
                committed: true,
            })
            .collect();
        self.actions.extend(news);
    }

    // ---- what leaves at the end of a call ----

    /// Emits everything this call changed as one atomic write: term never apart from vote, truncation never apart from
    /// append (a crash between them would lose acknowledged entries or break a vote).
    pub(crate) fn emit_write(&mut self) {
        self.log.seal();
        let hard_state = core::mem::take(&mut self.hard_state_changed).then_some(self.hard_state);
        let touches = self.changed_from.take();
        let snapshot = self.snapshots.take_changed();
        if hard_state.is_none() && touches.is_none() && snapshot.is_none() {
            return;
        }
        let (first, last) = (self.written.next(), self.log.last().index);
        let entries = self.log.entries(first, last, u64::MAX).unwrap_or_default();
        let ends = entries.last_id().map_or(self.written, |id| id.index);
        debug_assert!(ends == last, "the write from {first} on ends at {ends}, the log at {last}");
        let bytes = core::mem::take(&mut self.changed_bytes);
        let id = self.writes.issue(touches, bytes, self.now);
        if hard_state.is_some() {
            self.hard_state_write = id;
        }
        if let Some(record) = &snapshot {
            self.snapshots.issued(id, record);
        }
        self.written = last;
        let truncate_from = self.truncate_from.take();
        self.actions.push(Action::Persist(Write { id, hard_state, truncate_from, snapshot, entries }));
    }

    /// Hands over what is committed and durable here, as far as the state machine keeps up. Durable, because what is
    /// applied must still be there after a restart.
    pub(crate) fn emit_apply(&mut self) {
        if self.emit_restore() {
            return;
        }
        // An answer to ReadLog may end before what is in memory begins, or before the next question.
        while self.apply_next() {}
    }

    /// Hands over one run of entries, if some are there and there is room. False: there is no more to do.
    fn apply_next(&mut self) -> bool {
        let limit = self.commit.min(self.durable());
        let room = self.config.max_apply_bytes.saturating_sub(self.applying_bytes);
        if self.submitted_apply >= limit || room == 0 {
            return false;
        }
        let mut to_apply = core::mem::take(&mut self.to_apply);
        let entries = to_apply.entries(self, self.submitted_apply.next(), limit, room).unwrap_or_default();
        self.to_apply = to_apply;
        let (Some(last), bytes) = (entries.last_id(), entries.size()) else { return false };
        if bytes > room && !self.applying.is_empty() {
            return false;
        }
        self.submit_apply(last.index, bytes);
        self.to_apply.release(self.submitted_apply.next());
        self.actions.push(Action::Apply { entries });
        true
    }

    /// Lets go of payloads that are on the disk, oldest first. What is to be applied next stays for a while, or it would be
    /// read back a moment later.
    pub(crate) fn evict(&mut self) {
        let (durable, cached) = (self.durable(), self.config.max_cached_bytes);
        self.log.evict(cached, durable.min(self.submitted_apply));
        self.log.evict(cached.saturating_add(self.config.max_apply_bytes), durable);
    }

    /// Takes note of what the state machine is about to be handed: more than before, all of it committed and durable.
    pub(crate) fn submit_apply(&mut self, last: LogIndex, bytes: u64) {
        let (before, commit, durable) = (self.submitted_apply, self.commit, self.durable());
        debug_assert!(before < last, "handed {last} is not above {before}");
        debug_assert!(last <= commit.min(durable), "handed {last} is above commit {commit} or durable {durable}");
        self.submitted_apply = last;
        self.applying.push_back(Applying { last, bytes, since: self.now });
        self.applying_bytes = self.applying_bytes.saturating_add(bytes);
    }

    /// Takes note that a write and all before it are durable.
    pub(crate) fn on_persisted(&mut self, write: WriteId) {
        self.writes.report(write);
        let writes = &self.writes;
        self.snapshots.reported(|write| writes.is_durable(write));
    }

    /// Takes note of what the state machine applied. More than it was handed counts as that.
    pub(crate) fn on_applied(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index.min(self.submitted_apply));
        while let Some(apply) = self.applying.front().filter(|apply| apply.last <= self.applied) {
            self.applying_bytes = self.applying_bytes.saturating_sub(apply.bytes);
            self.applying.pop_front();
        }
    }

    /// When it will be reported that the state machine has not answered.
    pub(crate) fn apply_deadline(&self) -> Option<Instant> {
        let next = self.applying.iter().find(|apply| apply.last > self.overdue)?;
        Some(next.since.after(self.longest_timeout()))
    }

    /// Reports each part that the state machine was handed an election timeout ago and has not reported.
    pub(crate) fn report_overdue(&mut self) {
        while self.apply_deadline().is_some_and(|deadline| deadline.is_due(self.now)) {
            let Some(index) = self.applying.iter().map(|apply| apply.last).find(|&last| last > self.overdue) else {
                return;
            };
            self.overdue = index;
            self.observe(|| Event::ApplyOverdue { index });
        }
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self) {
        let Self { commit, leader_match, submitted_apply, applied, written, now, contact, .. } = *self;
        let (base, last, newest) = (self.log.base().index, self.log.last(), self.snapshots.newest_index());
        assert!(applied <= submitted_apply, "applied {applied} is above handed {submitted_apply}");
        assert!(submitted_apply <= commit, "handed {submitted_apply} is above commit {commit}");
        assert!(commit <= leader_match, "commit {commit} is above verified {leader_match}");
        assert!(leader_match <= last.index, "verified {leader_match} is above last {last}");
        assert!(base <= newest, "base {base} is above the newest snapshot {newest}");
        assert!(newest <= commit, "the newest snapshot {newest} is above commit {commit}");
        assert!(last.term <= self.term(), "the last entry {last} is above term {}", self.term());
        let (cached, durable) = (self.log.cached_from(), self.durable());
        assert!(cached <= durable.max(base).next(), "memory begins at {cached}, durable {durable}, base {base}");
        let (oldest, latest) = (self.applying.front(), self.applying.back());
        let is_the_rest = match (oldest, latest) {
            (Some(oldest), Some(latest)) => applied < oldest.last && latest.last == submitted_apply,
            _ => applied == submitted_apply && self.applying_bytes == 0,
        };
        let bytes = self.applying_bytes;
        assert!(
            is_the_rest,
            "applying {oldest:?} to {latest:?}, {bytes} B, applied {applied}, handed {submitted_apply}"
        );
        let changed = (self.changed_from, self.truncate_from, self.changed_bytes, self.hard_state_changed);
        assert!(changed == (None, None, 0, false), "no write carries {changed:?}");
        assert!(written == last.index, "written {written} is not last {last}");
        assert!(contact <= Some(now), "contact {contact:?} is after now {now}");
        self.log.check();
        self.writes.check();
        self.snapshots.check(submitted_apply);
        self.to_apply.check(&self.log);
    }

    /// The last entry of this node's log.
    pub(crate) fn last(&self) -> EntryId {
        self.log.last()
    }

    /// The longest election timeout, in which contact with a quorum must happen.
    pub(crate) fn longest_timeout(&self) -> Duration {
        Duration::from_nanos(nanos(self.config.election_timeout.end))
    }
}

// The time is what all others count from; actions there are none between calls.
canonical!(Shared { config, hard_state, hard_state_write, hard_state_changed, log, changed_from, written, truncate_from, changed_bytes, writes, snapshots, read, to_apply, stalled_write, commit, leader_match, leader, contact, applying, applying_bytes, overdue, submitted_apply, applied, jitter, election_timeout } without { now, lease_reads, actions });
canonical!(Applying { last, bytes, since });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapshotMeta;
    use crate::broken::{each_fails, follower};
    use crate::entry::Payload;

    fn noop(index: u64) -> Entry {
        Entry { id: EntryId::new(index, 2), payload: Payload::Noop }
    }

    #[test]
    fn positions_out_of_order_fail() {
        each_fails(
            &follower().shared,
            |shared| shared.check(),
            &[
                ("applied 3 is above handed 2", |shared| shared.applied = LogIndex(3)),
                ("handed 2 is above commit 1", |shared| shared.commit = LogIndex(1)),
                ("commit 2 is above verified 1", |shared| shared.leader_match = LogIndex(1)),
                ("verified 4 is above last 3@2", |shared| shared.leader_match = LogIndex(4)),
                ("base 1 is above the newest snapshot 0", |shared| shared.log.compact(LogIndex(1))),
                ("the newest snapshot 3 is above commit 2", |shared| {
                    let (configuration, configured_at) = (Configuration::of_voters([NodeId(1)]), EntryId::new(1, 1));
                    let last = EntryId::new(3, 2);
                    shared.snapshots.durable = Some(SnapshotMeta { last, configuration, configured_at });
                }),
                ("the last entry 3@2 is above term 1", |shared| shared.hard_state.term = Term(1)),
                ("memory begins at 4, durable 1, base 0", |shared| {
                    shared.log.evict(0, LogIndex(3));
                    shared.writes.issue(Some(LogIndex(2)), 0, shared.now);
                }),
                ("applying None to None", |shared| shared.applying.clear()),
                ("None to None, 96 B, applied 2, handed 2", |shared| {
                    shared.applying.clear();
                    shared.applied = LogIndex(2);
                }),
                ("applied 0, handed 1", |shared| shared.submitted_apply = LogIndex(1)),
                ("applied 2, handed 2", |shared| shared.applied = LogIndex(2)),
                ("no write carries (None, None, 0, true)", |shared| shared.hard_state_changed = true),
                ("written 2 is not last 3@2", |shared| shared.written = LogIndex(2)),
                ("is after now", |shared| shared.contact = Some(Instant::NEVER)),
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
                ("handed 2 is not above 2", |shared| shared.submit_apply(LogIndex(2), 0)),
                ("handed 3 is above commit 2 or durable 3", |shared| shared.submit_apply(LogIndex(3), 0)),
                ("handed 3 is above commit 3 or durable 2", |shared| {
                    shared.commit_to(LogIndex(3));
                    shared.log_changes(LogIndex(3), 0);
                    shared.submit_apply(LogIndex(3), 0);
                }),
                ("the write from 4 on ends at 3, the log at 4", |shared| {
                    shared.push(noop(4));
                    shared.log.seal();
                    shared.log.evict(0, LogIndex(4));
                    shared.emit_write();
                }),
            ],
        );
    }
}
