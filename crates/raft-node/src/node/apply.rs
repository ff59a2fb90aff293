//! How a node applies committed entries and restores a snapshot.

use super::Node;
use crate::interface::outputs::{Outputs, Report};
use crate::interface::state_machine::StateMachine;
use bytes::Bytes;
use raft_core::{Entries, Input, SnapshotMeta};

impl<S: StateMachine> Node<S> {
    /// Applies entries: emits the report first, then the replies.
    pub(super) fn apply(&mut self, entries: Entries, outputs: &mut Outputs) {
        let start = outputs.len();
        self.snapshots.policy.on_applied(entries.size());
        for entry in entries.iter() {
            let reply = self.state.apply(entry);
            self.waiters.on_applied(entry.id, &reply, outputs);
        }
        if self.observes {
            let state_hash = self.state_hash();
            outputs.insert(start, Report::Applied { entries, state_hash }.into());
        }
    }

    /// Handles a loaded snapshot: it becomes the state, and the node applies the entries that waited for it.
    pub(super) fn snapshot_loaded(&mut self, meta: SnapshotMeta, data: &Bytes, outputs: &mut Outputs) -> Option<Input> {
        if !self.snapshots.loading.is_for(&meta) {
            return None;
        }
        if let Err(error) = self.state.restore(meta.last, data) {
            // Loading stays pending, so the node applies nothing more to the old state.
            outputs.push(Report::SnapshotUnreadable { meta, error }.into());
            return None;
        }
        self.snapshots.policy.on_restored(meta.last.index, data.len() as u64);
        let state_hash = self.observes.then(|| self.state_hash());
        outputs.push(Report::Restored { meta, state_hash }.into());
        for entries in self.snapshots.loading.end() {
            self.apply(entries, outputs);
        }
        Some(Input::Applied { index: self.state.applied })
    }
}
