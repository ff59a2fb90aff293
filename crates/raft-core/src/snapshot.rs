//! Snapshots of this node: when the host takes one, when it is installed, when the state machine restores it, and which
//! entries the log then drops (Raft §7).
//!
//! The log record is the commit point of a snapshot (rule R35). `send_snapshot` decides what a leader does for a peer
//! that needs a snapshot.

use crate::action::Action;
use crate::event::{Cause, Event, IgnoreReason};
use crate::id::{LogIndex, NodeId, Term};
use crate::raft::Raft;
use crate::role::{PendingAck, Role};
use crate::shared::Shared;
use crate::snapshot_meta::{InstallMode, SnapshotMeta, SnapshotRecord};

impl Shared {
    /// The metadata for a snapshot of the state at `index`.
    pub(crate) fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        if index > self.apply.applied || index < self.snapshots.newest_index() {
            return None;
        }
        let last = self.log.id_at(index)?;
        let (configured_at, configuration) = self.log.configurations().as_of(index)?;
        Some(SnapshotMeta { last, configuration: configuration.clone(), configured_at })
    }

    /// Handles a snapshot that the host has taken at `index` into a durable file.
    pub(crate) fn on_snapshot_taken(&mut self, index: LogIndex) {
        let is_new = index > self.snapshots.newest_index();
        match self.snapshot_meta(index).filter(|_| is_new) {
            Some(meta) => {
                debug_assert!(meta.is_consistent(), "{meta} contradicts itself");
                self.snapshots.changed = Some(SnapshotRecord { meta, log: InstallMode::Keep });
            }
            None => self.observe(|| Event::SnapshotUnused { index }),
        }
    }

    /// Replaces the log with a snapshot that the log does not lead to.
    fn install(&mut self, meta: SnapshotMeta) {
        let (before, committed) = (self.log.configuration().map(|(at, _)| at), self.commit);
        let touched = self.snapshots.newest_index().next();
        let last = meta.last;
        let own = self.config.id;
        let names = |shared: &Self| shared.configuration().is_some_and(|present| present.members.contains_key(&own));
        let was_member = names(self);
        self.log.discard(&meta);
        self.pending.discard_log(touched, last.index);
        self.apply.read_back.forget();
        self.snapshots.changed = Some(SnapshotRecord { meta, log: InstallMode::Discard });
        self.commit_to(last.index);
        let now = self.log.configuration().map(|(at, _)| at);
        if now != before && now.is_some_and(|at| at.index <= committed) {
            // An older configuration is in force again; a newer one was announced by its commit.
            self.announce_configuration();
        }
        self.removed = if names(self) { None } else { self.removed.or(now.filter(|_| was_member)) };
        self.observe(|| Event::SnapshotInstalled { last });
    }

    /// Makes the state machine restore the newest snapshot, if it is behind that and the snapshot is durable. Returns
    /// true if the state machine is still behind.
    pub(crate) fn emit_restore(&mut self) -> bool {
        if self.snapshots.newest_index() <= self.apply.submitted {
            return false;
        }
        if !self.snapshots.is_settled() {
            return true;
        }
        if let Some(meta) = self.snapshots.durable.clone() {
            self.apply.submit(meta.last.index, 0, self.commit.min(self.durable()), self.now);
            self.actions.push(Action::Restore { meta });
        }
        false
    }

    /// Compacts the log up to the durable snapshot. The trailing entries stay, and the entries from `held` on, the
    /// first index that a peer still needs (rule R39).
    pub(crate) fn emit_compact(&mut self, held: Option<LogIndex>) {
        let Some(snapshot) = &self.snapshots.durable else { return };
        let trailing = snapshot.last.index.0.saturating_sub(self.config.trailing_entries);
        let forgotten = LogIndex(trailing).min(self.apply.applied);
        let forgotten = held.map_or(forgotten, |held| forgotten.min(held.previous()));
        if forgotten > self.log.base().index {
            self.log.compact(forgotten);
            self.actions.push(Action::Compact { before: forgotten.next() });
        }
    }
}

impl Raft {
    /// The metadata for a snapshot of the state after the entry at `index`. Valid indices lie between the newest
    /// snapshot and the applied index; elsewhere it is `None`.
    pub fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        self.shared.snapshot_meta(index)
    }

    /// A snapshot has arrived completely, and its file is durable. The node tests it like an append: shape, term,
    /// sender, content. It uses a snapshot of an older term too, because its entries are committed; but no leader waits
    /// for the answer.
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
            // This node's log holds everything that was ever committed.
            return self.ignore(from, IgnoreReason::NotAsked);
        }
        if is_current {
            // This is no contact: the snapshot may have left the leader long ago.
            self.follow(from);
        }
        let last = meta.last;
        if last.index <= self.shared.commit || last.index <= self.shared.snapshots.newest_index() {
            self.shared.observe(|| Event::SnapshotUnused { index: last.index });
        } else if self.shared.log.holds(last) {
            // There is nothing to install, and the node may have acknowledged later entries (rule R36).
            self.shared.commit_to(last.index);
            self.shared.observe(|| Event::SnapshotUnused { index: last.index });
        } else if last.index <= self.shared.leader_match {
            // This term's leader has another entry there, as its appends showed.
            return self.ignore(from, IgnoreReason::Contradiction);
        } else {
            if !matches!(self.role, Role::Follower(_)) {
                // The requests for votes describe a log that is about to be replaced (rule R37).
                self.become_follower(self.shared.term(), Cause::SnapshotReceived { from });
            }
            self.shared.install(meta);
        }
        if let Role::Follower(follower) = &mut self.role
            && is_current
        {
            let matched = self.shared.durable().min(self.shared.leader_match);
            let at_once = matched >= last.index;
            follower.add_pending_ack(PendingAck { at_once, base: matched, target: last.index });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Configuration;
    use crate::testing::{failure, follower, meta};

    #[test]
    #[cfg(debug_assertions)]
    fn a_snapshot_that_contradicts_itself_fails() {
        let mut shared = follower().shared;
        shared.apply.applied = LogIndex(2);
        shared.log.discard(&SnapshotMeta { configuration: Configuration::default(), ..meta(2, 1) });
        let message = failure(|| shared.on_snapshot_taken(LogIndex(2)));
        assert!(message.contains("contradicts itself"), "{message}");
    }
}
