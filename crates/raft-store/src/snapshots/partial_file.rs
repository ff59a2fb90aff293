//! A snapshot's file until it is complete. It has another name until it is complete, durable and renamed; the next
//! start deletes an unfinished file.
//!
//! It is synced every MiB: a sync delays all writes of the log, so none may have much of a snapshot to write.

use crate::disk::{Disk, DiskError};
use raft_core::EntryId;

/// Bytes between two syncs: few enough for a short sync.
const SYNC_EVERY: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct PartialFile {
    /// The snapshot's last entry.
    pub(crate) last: EntryId,
    /// The name while it is incomplete.
    pub(crate) file: String,
    /// The offset of the next bytes.
    pub(crate) end: u64,
    /// Bytes that are durable.
    pub(crate) synced: u64,
    /// Whether a record names the snapshot already: then nothing is written.
    pub(crate) already_present: bool,
}

/// A snapshot of this node's own state that is being written.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotWriter {
    pub(crate) partial: PartialFile,
    /// The encoded record before the data.
    pub(crate) record: Vec<u8>,
    /// Bytes of data so far, and their checksum.
    pub(crate) data: (u64, u32),
}

/// A snapshot that a peer sends.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotReceiver {
    pub(crate) partial: PartialFile,
    /// The checksum of the received bytes. A second read of the file for it would delay the log.
    pub(crate) checksum: u32,
}

impl PartialFile {
    pub(crate) fn extend<D: Disk>(&mut self, disk: &mut D, bytes: &[u8]) -> Result<(), DiskError> {
        let end = self.end.saturating_add(bytes.len() as u64);
        if !self.already_present && !bytes.is_empty() {
            disk.write(&self.file, self.end, bytes)?;
            if end - self.synced >= SYNC_EVERY {
                disk.sync(&self.file)?;
                self.synced = end;
            }
        }
        self.end = end;
        Ok(())
    }
}
