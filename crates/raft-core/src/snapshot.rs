//! Snapshots: what one stands for, and when one is taken, installed, handed to the state machine (Raft §7).
//!
//! The log record is the commit point of a snapshot: its file is durable before the record is written, and a file that
//! no record names is nothing. What a leader does about a peer that needs one is in `replicate`.

use crate::action::{Action, SnapshotRecord};
use crate::configuration::Configuration;
use crate::event::{Cause, Event, IgnoreReason};
use crate::fingerprint::canonical;
use crate::id::{EntryId, LogIndex, MAX_NUMBER, NodeId, Term, WriteId};
use crate::raft::Raft;
use crate::role::{PendingAck, Role};
use crate::shared::Shared;
use alloc::collections::VecDeque;
use core::fmt;

/// What a snapshot stands for: the state after `last`, and the configuration that was then in force.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub last: EntryId,
    /// The newest configuration up to `last`: both halves of a joint one, learners and contexts.
    pub configuration: Configuration,
    /// The entry that carried it.
    pub configured_at: EntryId,
}

/// What becomes of the log when a snapshot takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum InstallMode {
    /// It stays: the snapshot is of this log.
    Keep,
    /// It is forgotten whole and goes on after the snapshot: it may differ from what the snapshot covers.
    Discard,
}

/// The snapshots of this node.
///
/// Invariants: every one is consistent; indices rise from `durable` through `in_flight` to `changed`; between two calls a
/// write carries each, and `must_restore` is set exactly while the newest is above what the state machine was handed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Snapshots {
    /// The newest one whose record is durable: what may be sent, and what the log may be compacted by.
    pub(crate) durable: Option<SnapshotMeta>,
    /// Those whose records are on their way to the disk, in order.
    in_flight: VecDeque<(WriteId, SnapshotMeta)>,
    /// What this call brought about and no write carries yet.
    changed: Option<SnapshotRecord>,
    /// The state machine is to be set to the newest snapshot, as soon as that is durable.
    must_restore: bool,
}

impl SnapshotMeta {
    /// Whether it can be what a leader of `term` sent.
    fn is_well_formed(&self, term: Term) -> bool {
        let numbers = [self.last.index.0, self.last.term.0, self.configured_at.index.0];
        self.is_consistent()
            && term.0 <= MAX_NUMBER
            && self.last.term <= term
            && numbers.iter().all(|&n| n <= MAX_NUMBER)
    }

    /// Whether it contradicts itself nowhere.
    pub(crate) fn is_consistent(&self) -> bool {
        let (last, at) = (self.last, self.configured_at);
        at.index > LogIndex(0)
            && at.index <= last.index
            && at.term > Term(0)
            && at.term <= last.term
            && self.configuration.is_valid()
    }
}

impl Snapshots {
    /// What a node starts with.
    pub(crate) fn restored(durable: Option<SnapshotMeta>, must_restore: bool) -> Self {
        Self { durable, must_restore, ..Self::default() }
    }

    /// The newest snapshot, durable or not.
    pub(crate) fn newest(&self) -> Option<&SnapshotMeta> {
        let changed = self.changed.as_ref().map(|record| &record.meta);
        changed.or_else(|| self.in_flight.back().map(|(_, meta)| meta)).or(self.durable.as_ref())
    }

    /// The last index that the newest one covers; 0 without one.
    pub(crate) fn newest_index(&self) -> LogIndex {
        self.newest().map_or(LogIndex(0), |meta| meta.last.index)
    }

    /// What the write of this call is to carry.
    pub(crate) fn take_changed(&mut self) -> Option<SnapshotRecord> {
        self.changed.take()
    }

    /// Takes note of the write that carries it.
    pub(crate) fn issued(&mut self, write: WriteId, record: &SnapshotRecord) {
        self.in_flight.push_back((write, record.meta.clone()));
    }

    /// Takes note that this write and all before it are durable.
    pub(crate) fn reported(&mut self, is_durable: impl Fn(WriteId) -> bool) {
        while self.in_flight.front().is_some_and(|&(write, _)| is_durable(write)) {
            self.durable = self.in_flight.pop_front().map(|(_, meta)| meta);
        }
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self, submitted_apply: LogIndex) {
        assert!(self.changed.is_none(), "no write carries {:?}", self.changed);
        let snapshots = self.durable.iter().chain(self.in_flight.iter().map(|(_, meta)| meta));
        let rise = snapshots.is_sorted_by(|one, next| one.last.index < next.last.index);
        assert!(rise, "snapshots do not rise: durable {:?}, in flight {:?}", self.durable, self.in_flight);
        let (newest, must_restore) = (self.newest_index(), self.must_restore);
        let is_behind = newest > submitted_apply;
        assert!(
            must_restore == is_behind,
            "newest snapshot {newest}, handed {submitted_apply}, must restore: {must_restore}"
        );
    }

    fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.changed.is_none()
    }
}

impl Shared {
    /// What to write into a snapshot of the state at `index`.
    pub(crate) fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        if index > self.applied || index < self.snapshots.newest_index() {
            return None;
        }
        let last = self.log.id_at(index)?;
        let (configured_at, configuration) = self.log.configuration_as_of(index)?;
        Some(SnapshotMeta { last, configuration: configuration.clone(), configured_at })
    }

    /// The host has taken a snapshot at `index`, and its file is durable.
    pub(crate) fn on_snapshot_taken(&mut self, index: LogIndex) {
        let is_news = index > self.snapshots.newest_index();
        match self.snapshot_meta(index).filter(|_| is_news) {
            Some(meta) => {
                debug_assert!(meta.is_consistent(), "{meta} contradicts itself");
                self.snapshots.changed = Some(SnapshotRecord { meta, log: InstallMode::Keep });
            }
            None => self.observe(|| Event::SnapshotUnused { index }),
        }
    }

    /// Sets this node to a snapshot that its log cannot lead to: the log is forgotten and goes on after it.
    fn install(&mut self, meta: SnapshotMeta) {
        let (before, committed) = (self.log.configuration().map(|(at, _)| at), self.commit);
        let touched = self.snapshots.newest_index().next();
        let last = meta.last;
        self.log.discard(&meta);
        self.log_is_discarded(touched, last.index);
        self.snapshots.changed = Some(SnapshotRecord { meta, log: InstallMode::Discard });
        self.snapshots.must_restore = true;
        self.commit_to(last.index);
        let now = self.log.configuration().map(|(at, _)| at);
        if now != before && now.is_some_and(|at| at.index <= committed) {
            // An older one is in force again; a newer one was announced by its commit.
            self.announce_configuration();
        }
        self.observe(|| Event::SnapshotInstalled { last });
    }

    /// Sets the state machine to the newest snapshot, if it must be and that is durable. Whether it must be still.
    pub(crate) fn emit_restore(&mut self) -> bool {
        if !self.snapshots.must_restore || !self.snapshots.is_settled() {
            return self.snapshots.must_restore;
        }
        self.snapshots.must_restore = false;
        if let Some(meta) = self.snapshots.durable.clone() {
            self.submit_apply(meta.last.index, 0);
            self.actions.push(Action::Restore { meta });
        }
        false
    }

    /// Forgets the part of the log that a durable snapshot covers, but for the entries that are to trail it. `held` is the
    /// first index that somebody needs still.
    pub(crate) fn emit_compact(&mut self, held: Option<LogIndex>) {
        let Some(snapshot) = &self.snapshots.durable else { return };
        let trailing = snapshot.last.index.0.saturating_sub(self.config.trailing_entries);
        let forgotten = LogIndex(trailing).min(self.applied);
        let forgotten = held.map_or(forgotten, |held| forgotten.min(held.previous()));
        if forgotten > self.log.base().index {
            self.log.compact(forgotten);
            self.actions.push(Action::Compact { before: forgotten.next() });
        }
    }
}

impl Raft {
    /// What to write into a snapshot of the state after the entry at `index`: from the newest snapshot on, up to what is
    /// applied; none elsewhere.
    pub fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        self.shared.snapshot_meta(index)
    }

    /// A snapshot has arrived whole, and its file is durable. It is judged like an append: shape, term, sender, content.
    /// One of an older term is as good as any, for what it covers is committed; only nobody waits for the answer.
    pub(crate) fn on_snapshot_received(&mut self, from: NodeId, term: Term, meta: SnapshotMeta) {
        if from == self.shared.id() {
            return self.ignore(from, IgnoreReason::FromSelf);
        }
        if term == Term(0) || !meta.is_well_formed(term) {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        if term > self.shared.term() {
            self.become_follower(term, Cause::HigherTerm { from });
        }
        let is_current = term == self.shared.term();
        if is_current && self.shared.leader.is_some_and(|leader| leader != from) {
            return self.ignore(from, IgnoreReason::Contradiction);
        }
        if let Role::Leader(_) = self.role {
            // Its log holds all that was ever committed; by counting it will find out.
            return self.ignore(from, IgnoreReason::NotAsked);
        }
        if is_current {
            // No contact: how long ago it left the leader, nobody knows.
            self.follow(from);
        }
        let last = meta.last;
        if last.index <= self.shared.commit || last.index <= self.shared.snapshots.newest_index() {
            self.shared.observe(|| Event::SnapshotUnused { index: last.index });
        } else if self.shared.log.holds(last) {
            // Nothing to install, and what follows may be acknowledged already.
            self.shared.commit_to(last.index);
            self.shared.observe(|| Event::SnapshotUnused { index: last.index });
        } else if last.index <= self.shared.leader_match {
            // This term's leader has another entry there, by its own word.
            return self.ignore(from, IgnoreReason::Contradiction);
        } else {
            if !matches!(self.role, Role::Follower(_)) {
                // It asked for votes on the word of a log that is about to be another.
                self.become_follower(self.shared.term(), Cause::SnapshotReceived { from });
            }
            self.shared.install(meta);
        }
        if let Role::Follower(follower) = &mut self.role
            && is_current
        {
            let matched = self.shared.durable().min(self.shared.leader_match);
            let at_once = matched >= last.index;
            follower.set_pending_ack(PendingAck { at_once, base: matched, target: last.index });
        }
    }
}

impl fmt::Display for SnapshotMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot {} with {} of {}", self.last, self.configuration, self.configured_at)
    }
}

impl fmt::Debug for SnapshotMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

canonical!(SnapshotMeta { last, configuration, configured_at });
canonical!(Snapshots { durable, in_flight, changed, must_restore });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broken::{each_fails, follower};

    fn meta(index: u64) -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1)]);
        SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) }
    }

    #[test]
    fn snapshots_out_of_order_fail() {
        let sound =
            Snapshots { in_flight: [(WriteId(1), meta(7))].into(), ..Snapshots::restored(Some(meta(4)), false) };
        each_fails(
            &sound,
            |snapshots| snapshots.check(LogIndex(7)),
            &[
                ("no write carries Some", |snapshots| {
                    snapshots.changed = Some(SnapshotRecord { meta: meta(9), log: InstallMode::Keep });
                }),
                ("snapshots do not rise", |snapshots| snapshots.durable = Some(meta(7))),
                ("newest snapshot 7, handed 7, must restore: true", |snapshots| snapshots.must_restore = true),
                ("newest snapshot 8, handed 7, must restore: false", |snapshots| snapshots.in_flight[0].1 = meta(8)),
            ],
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_snapshot_that_contradicts_itself_fails() {
        let mut shared = follower().shared;
        shared.applied = LogIndex(2);
        shared.log.discard(&SnapshotMeta { configuration: Configuration::default(), ..meta(2) });
        let message = crate::broken::failure(|| shared.on_snapshot_taken(LogIndex(2)));
        assert!(message.contains("contradicts itself"), "{message}");
    }
}
