//! Complete snapshots: their loading, sending in chunks, verification and removal. A snapshot takes effect when a
//! record that names it is synced.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::{FileChunk, load, load_prefix, read_chunk, snapshot_name, verify};
use crate::store::Store;
use crate::store_error::StoreError;
use bytes::Bytes;
use raft_core::EntryId;

impl<D: Disk> Store<D> {
    /// The data of the saved snapshot with this last entry.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] if it does not exist, or a newer one replaced it. Otherwise the disk failed, or the
    /// file is damaged. The store stays usable.
    pub fn load_snapshot(&mut self, last: EntryId) -> Result<Bytes, StoreError> {
        self.check_saved(last)?;
        load(&mut self.disk, last)
    }

    /// The first `max_bytes` of the snapshot's data, or all of it. It checks only the file's header.
    pub fn load_snapshot_prefix(&mut self, last: EntryId, max_bytes: u64) -> Result<Bytes, StoreError> {
        self.check_saved(last)?;
        load_prefix(&mut self.disk, last, max_bytes)
    }

    /// At most `max_bytes` of the snapshot's file from `offset` on, with its header, for
    /// [`receive_snapshot`](Self::receive_snapshot) of another node. It is empty at the end of the file. It checks only
    /// the file's header.
    pub fn read_snapshot(&mut self, last: EntryId, offset: u64, max_bytes: u64) -> Result<FileChunk, StoreError> {
        self.check_saved(last)?;
        read_chunk(&mut self.disk, last, offset, max_bytes)
    }

    /// Reads and checks the snapshot's whole file.
    pub fn verify_snapshot(&mut self, last: EntryId) -> Result<(), StoreError> {
        self.check_saved(last)?;
        verify(&mut self.disk, last)
    }

    fn check_saved(&self, last: EntryId) -> Result<(), StoreError> {
        self.check_poisoned()?;
        if self.saved.contains(&last) { Ok(()) } else { Err(StoreError::NoSnapshot { file: snapshot_name(last) }) }
    }

    /// Removes a saved snapshot. It does nothing if the snapshot does not exist, or if a record that a start may return
    /// to names it.
    pub fn remove_snapshot(&mut self, last: EntryId) -> Result<(), StoreError> {
        self.or_poison(|store| {
            if store.is_named(last) || !store.saved.remove(&last) {
                return Ok(());
            }
            store.disk.remove(&snapshot_name(last))?;
            Ok(store.disk.sync_folder()?)
        })
    }

    /// Whether a record that a start may return to names the snapshot.
    pub(crate) fn is_named(&self, last: EntryId) -> bool {
        self.durable_snapshot == Some(last) || self.unsynced_snapshots.contains(&last)
    }
}
