//! A snapshot of this node's own state on its way to its file, chunk by chunk, so that neither encoding nor writing it delays
//! anything else.
//!
//! This file must not know when a snapshot is taken, nor who needs it.

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
    /// Where the chunk in flight ends.
    end: u64,
    /// Whether that is the last one.
    is_last: bool,
}

/// What follows a written chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The next chunk.
    Next(Box<SnapshotJob>),
    /// Nothing: the file is complete and durable.
    Complete,
    /// Nothing: this chunk was not in flight.
    Unexpected,
}

impl<C: SnapshotSource> SavingSnapshot<C> {
    /// Starts with the first chunk of at most `max_bytes`.
    pub(crate) fn begin(meta: SnapshotMeta, encoder: SnapshotEncoder<C>, max_bytes: usize) -> (Self, SnapshotJob) {
        let mut saving = Self { meta, encoder, max_bytes, end: 0, is_last: false };
        let first = saving.next();
        (saving, first)
    }

    /// The last entry that the snapshot covers.
    pub(crate) fn last(&self) -> EntryId {
        self.meta.last
    }

    /// The file of the snapshot at `last` is written up to `end`.
    pub(crate) fn on_written(&mut self, last: EntryId, end: u64) -> Saved {
        if (last, end) != (self.meta.last, self.end) {
            Saved::Unexpected
        } else if self.is_last {
            Saved::Complete
        } else {
            Saved::Next(Box::new(self.next()))
        }
    }

    /// The last chunk is empty: only the encoder knows the end, once it has no more bytes.
    fn next(&mut self) -> SnapshotJob {
        let chunk = self.encoder.next_chunk(self.max_bytes);
        self.is_last = chunk.is_none();
        let (offset, bytes) = (self.end, chunk.unwrap_or_default());
        self.end += bytes.len() as u64;
        let (file, meta, is_last) = (SnapshotFile::Own, self.meta.clone(), self.is_last);
        SnapshotJob::Write { file, meta, offset, bytes, is_last }
    }
}
