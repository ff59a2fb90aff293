//! The loading of a snapshot that becomes the state, and the entries that wait for it.
//!
//! This file must not know what a snapshot contains.

use raft_core::{Entries, SnapshotMeta};

/// The snapshot that the disk reads, if any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadingSnapshot {
    meta: Option<SnapshotMeta>,
    /// Committed entries to apply after it, in order. The core limits the entries that it submits before they are
    /// applied.
    waiting: Vec<Entries>,
}

impl LoadingSnapshot {
    /// Starts to load this snapshot. The snapshot replaces an older one that is being loaded, and covers the entries
    /// that waited for it.
    pub(crate) fn begin(&mut self, meta: SnapshotMeta) {
        *self = Self { meta: Some(meta), waiting: Vec::new() };
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.meta.is_some()
    }

    pub(crate) fn is_for(&self, meta: &SnapshotMeta) -> bool {
        self.meta.as_ref() == Some(meta)
    }

    /// Makes entries wait for the snapshot; returns them if no snapshot is being loaded.
    pub(crate) fn defer(&mut self, entries: Entries) -> Option<Entries> {
        if self.meta.is_none() {
            return Some(entries);
        }
        self.waiting.push(entries);
        None
    }

    /// Ends the loading and returns the entries that waited.
    pub(crate) fn end(&mut self) -> Vec<Entries> {
        std::mem::take(self).waiting
    }
}
