//! A snapshot that is to become the state, while the host reads its file: what is to be applied after it waits.
//!
//! This file must not know what a snapshot contains.

use raft_core::{Entries, SnapshotMeta};
use std::collections::VecDeque;

/// The snapshot that is being read, if one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loading {
    meta: Option<SnapshotMeta>,
    /// What the core has handed over since, in order; no more than it has on its way to a state machine at most.
    behind: VecDeque<Entries>,
}

impl Loading {
    /// This snapshot is to be read. One that was being read is of no use any more: this one is newer, and covers what was
    /// to be applied after that.
    pub(crate) fn begin(&mut self, meta: SnapshotMeta) {
        *self = Self { meta: Some(meta), behind: VecDeque::new() };
    }

    /// Whether one is being read.
    pub(crate) fn is_pending(&self) -> bool {
        self.meta.is_some()
    }

    /// Whether this is the one that is being read.
    pub(crate) fn is_for(&self, meta: &SnapshotMeta) -> bool {
        self.meta.as_ref() == Some(meta)
    }

    /// Keeps entries that are to be applied after it; gives them back if none is being read.
    pub(crate) fn keep(&mut self, entries: Entries) -> Option<Entries> {
        if self.meta.is_none() {
            return Some(entries);
        }
        self.behind.push_back(entries);
        None
    }

    /// It is the state now: what is to be applied after it.
    pub(crate) fn end(&mut self) -> VecDeque<Entries> {
        std::mem::take(self).behind
    }
}
