//! The saving of a snapshot of this node's own state, chunk by chunk, so that neither encoding nor writing it delays
//! other tasks.
//!
//! This file must not know when a snapshot is taken, nor which node needs it.

use super::content::SnapshotEncoder;
use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob};
use crate::interface::state_machine::SnapshotSource;
use raft_core::{EntryId, SnapshotMeta};

/// A snapshot with one chunk in flight to the disk.
#[derive(Clone, Debug)]
pub(crate) struct SavingSnapshot<C> {
    meta: SnapshotMeta,
    encoder: SnapshotEncoder<C>,
    max_bytes: usize,
    /// The end of the chunk in flight.
    end: u64,
    /// Whether the chunk in flight is the last one.
    is_last: bool,
}

impl<C: SnapshotSource> SavingSnapshot<C> {
    /// A snapshot of which nothing is written yet; chunks have at most `max_bytes`.
    pub(crate) fn new(meta: SnapshotMeta, encoder: SnapshotEncoder<C>, max_bytes: usize) -> Self {
        Self { meta, encoder, max_bytes, end: 0, is_last: false }
    }

    /// The last entry that the snapshot covers.
    pub(crate) fn last(&self) -> EntryId {
        self.meta.last
    }

    /// Whether a chunk that ends here is in flight.
    pub(crate) fn expects(&self, end: u64) -> bool {
        self.end == end
    }

    /// The next chunk, once the previous one is written; `None` after the last one. The last chunk is empty, because
    /// only the encoder knows the end, and only when it has no more bytes.
    pub(crate) fn next_chunk(&mut self) -> Option<SnapshotJob> {
        if self.is_last {
            return None;
        }
        let chunk = self.encoder.next_chunk(self.max_bytes);
        self.is_last = chunk.is_none();
        let (offset, bytes) = (self.end, chunk.unwrap_or_default());
        self.end += bytes.len() as u64;
        let (file, meta, is_last) = (SnapshotFile::Own, self.meta.clone(), self.is_last);
        Some(SnapshotJob::Write { file, meta, offset, bytes, is_last })
    }
}
