//! The saving of a snapshot of this node's own state, chunk by chunk, so that neither encoding nor writing it delays
//! other tasks.
//!
//! This file must not know when a snapshot is taken, or a chunk written, nor who needs it.

use super::content::SnapshotEncoder;
use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob};
use crate::interface::state_machine::SnapshotSource;
use raft_core::{EntryId, Instant, SnapshotMeta};

/// The most bytes of a chunk that does not hurry: a write of the log waits for at most one.
const SMALL_CHUNK_BYTES: usize = 256 << 10;

/// A snapshot with at most one chunk in flight to the disk.
#[derive(Clone, Debug)]
pub(crate) struct SavingSnapshot<C> {
    meta: SnapshotMeta,
    encoder: SnapshotEncoder<C>,
    max_bytes: usize,
    /// Where the newest chunk ends.
    end: u64,
    /// When that one was sent, while it is in flight.
    sent: Option<Instant>,
    /// Whether that is the last one.
    is_last: bool,
}

impl<C: SnapshotSource> SavingSnapshot<C> {
    /// A snapshot of which nothing is written yet; chunks have at most `max_bytes`.
    pub(crate) fn new(meta: SnapshotMeta, encoder: SnapshotEncoder<C>, max_bytes: usize) -> Self {
        Self { meta, encoder, max_bytes, end: 0, sent: None, is_last: false }
    }

    /// The last entry that the snapshot covers.
    pub(crate) fn last(&self) -> EntryId {
        self.meta.last
    }

    /// The bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether no chunk is in flight.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent.is_none()
    }

    /// The chunk that ends here is written: when it was sent, and whether it is the last one. None: it is not in flight.
    pub(crate) fn on_written(&mut self, end: u64) -> Option<(Instant, bool)> {
        self.sent.take_if(|_| self.end == end).map(|sent| (sent, self.is_last))
    }

    /// The next chunk, once the one before is written. The last chunk is empty: only the encoder knows the end, once it has no more
    /// bytes.
    pub(crate) fn next_chunk(&mut self, now: Instant, hurries: bool) -> SnapshotJob {
        let max_bytes = if hurries { self.max_bytes } else { self.max_bytes.min(SMALL_CHUNK_BYTES) };
        let chunk = self.encoder.next_chunk(max_bytes);
        (self.is_last, self.sent) = (chunk.is_none(), Some(now));
        let (offset, bytes) = (self.end, chunk.unwrap_or_default());
        self.end += bytes.len() as u64;
        let (file, meta, is_last) = (SnapshotFile::Own, self.meta.clone(), self.is_last);
        SnapshotJob::Write { file, meta, offset, bytes, is_last }
    }
}
