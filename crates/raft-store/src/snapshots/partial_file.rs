//! A snapshot's file while it is incomplete. It has another name until it is complete, durable and renamed; the next start
//! deletes what is left of it.
//!
//! It is synced every few MiB: a sync delays all writes of the log, so none may have a whole snapshot to write.

use crate::disk::{Disk, DiskError};
use raft_core::EntryId;

/// Bytes between two syncs: few enough for a short sync.
const SYNC_EVERY: u64 = 4 << 20;

#[derive(Clone, Debug)]
pub(crate) struct PartialFile {
    /// The snapshot's last entry.
    pub(crate) last: EntryId,
    /// The name while it is incomplete.
    pub(crate) file: String,
    /// Where the next bytes go.
    pub(crate) end: u64,
    /// Bytes that are durable.
    pub(crate) synced: u64,
    /// A record names the snapshot already: nothing is written.
    pub(crate) already_present: bool,
}

/// A snapshot of this node's own state that is being written.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotWriter {
    pub(crate) partial: PartialFile,
    /// The encoded record that goes before the data.
    pub(crate) record: Vec<u8>,
    /// Bytes of data so far, and their checksum.
    pub(crate) data: (u64, u32),
}

/// A snapshot that a peer sends.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotReceiver {
    pub(crate) partial: PartialFile,
    /// The checksum of the received bytes. Reading the file again for it would delay the log.
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
