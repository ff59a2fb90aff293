//! A snapshot of this node's own state on its way to its file, piece by piece, so that neither making it nor writing it
//! keeps anything else waiting.
//!
//! This file must not know when a snapshot is taken, nor who needs it.

use crate::node::outputs::{SnapshotFile, SnapshotJob};
use crate::snapshots::content::Pieces;
use crate::state_machine::SnapshotSource;
use raft_core::{EntryId, SnapshotMeta};

/// A snapshot of which one piece is on its way to the disk.
#[derive(Clone, Debug)]
pub(crate) struct Saving<C> {
    meta: SnapshotMeta,
    pieces: Pieces<C>,
    /// Where the piece on its way ends.
    end: u64,
    /// It is the last one.
    is_last: bool,
}

/// What a piece that has been written means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// There is more to write.
    Next(Box<SnapshotJob>),
    /// The file is whole and durable.
    Whole,
    /// It was not asked for.
    Unexpected,
}

impl<C: SnapshotSource> Saving<C> {
    /// Begins, and gives the first piece.
    pub(crate) fn begin(meta: SnapshotMeta, pieces: Pieces<C>, max_bytes: usize) -> (Self, SnapshotJob) {
        let mut saving = Self { meta, pieces, end: 0, is_last: false };
        let first = saving.next(max_bytes);
        (saving, first)
    }

    /// Its last entry.
    pub(crate) fn last(&self) -> EntryId {
        self.meta.last
    }

    /// The file of the snapshot that ends with `last` is written up to `end`.
    pub(crate) fn written(&mut self, last: EntryId, end: u64, max_bytes: usize) -> Saved {
        if (last, end) != (self.meta.last, self.end) {
            Saved::Unexpected
        } else if self.is_last {
            Saved::Whole
        } else {
            Saved::Next(Box::new(self.next(max_bytes)))
        }
    }

    /// That there are no more bytes is known only once they are asked for: the last piece is empty.
    fn next(&mut self, max_bytes: usize) -> SnapshotJob {
        let piece = self.pieces.next(max_bytes);
        self.is_last = piece.is_none();
        let (offset, bytes) = (self.end, piece.unwrap_or_default());
        self.end += bytes.len() as u64;
        let (file, meta, is_last) = (SnapshotFile::Own, self.meta.clone(), self.is_last);
        SnapshotJob::Write { file, meta, offset, bytes, is_last }
    }
}
