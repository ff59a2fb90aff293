//! Backups in progress: each is the state at its beginning, which its client takes chunk by chunk.
//!
//! A backup is encoded from memory, not read from the file of a snapshot: it needs no space on the disk, keeps no file from being
//! deleted, and begins at once. This file must not know what a backup contains.

use crate::interface::requests::Reply;
use crate::interface::state_machine::SnapshotSource;
use crate::snapshots::content::SnapshotEncoder;
use raft_core::RequestId;
use std::collections::BTreeMap;

/// The most backups at a time: each keeps the state at its beginning in memory.
pub(crate) const MAX_BACKUPS: usize = 4;

/// The backups in progress, by the request that began each.
#[derive(Clone, Debug)]
pub(crate) struct Backups<C> {
    open: BTreeMap<RequestId, SnapshotEncoder<C>>,
    chunk_bytes: usize,
}

impl<C: SnapshotSource> Backups<C> {
    /// None; chunks will have at most `chunk_bytes`.
    pub(crate) fn new(chunk_bytes: usize) -> Self {
        Self { open: BTreeMap::new(), chunk_bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= MAX_BACKUPS
    }

    pub(crate) fn begin(&mut self, id: RequestId, state: SnapshotEncoder<C>) {
        self.open.insert(id, state);
    }

    /// The next chunk; the empty one after the last ends the backup.
    pub(crate) fn next(&mut self, id: RequestId) -> Reply {
        let Some(state) = self.open.get_mut(&id) else { return Reply::NoBackup };
        let bytes = state.next_chunk(self.chunk_bytes).unwrap_or_default();
        if bytes.is_empty() {
            self.open.remove(&id);
        }
        Reply::BackupChunk { bytes }
    }

    pub(crate) fn cancel(&mut self, id: RequestId) {
        self.open.remove(&id);
    }
}
