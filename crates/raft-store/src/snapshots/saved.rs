//! Snapshots whose files are whole: read, removed, and put in force by the log. How they come to be is in `unfinished`.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::{FileChunk, beginning, load, piece, snapshot_name, verify};
use crate::store::Store;
use crate::store_error::StoreError;
use bytes::Bytes;
use raft_core::EntryId;

impl<D: Disk> Store<D> {
    /// The data of the snapshot with this last entry, which was saved.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] if it is not there, perhaps no more: a newer one may be in force. Else the disk failed, or
    /// what is there is not what was written. Reading and writing go on, as far as they can.
    pub fn load_snapshot(&mut self, last: EntryId) -> Result<Bytes, StoreError> {
        self.unless_gone(last)?;
        load(&mut self.disk, last)
    }

    /// The first `max_bytes` of the data of this snapshot, or all, if there are not so many.
    ///
    /// # Errors
    /// As of [`load_snapshot`](Self::load_snapshot), but only the file's header is checked.
    pub fn begin_loading(&mut self, last: EntryId, max_bytes: u64) -> Result<Bytes, StoreError> {
        self.unless_gone(last)?;
        beginning(&mut self.disk, last, max_bytes)
    }

    /// At most `max_bytes` of the file of this snapshot, byte for byte, header included, from `offset` on: what
    /// [`receive_snapshot`](Self::receive_snapshot) takes at another node. None beyond its end.
    ///
    /// # Errors
    /// As of [`load_snapshot`](Self::load_snapshot), but that of the content only the header is checked.
    pub fn read_snapshot(&mut self, last: EntryId, offset: u64, max_bytes: u64) -> Result<FileChunk, StoreError> {
        self.unless_gone(last)?;
        piece(&mut self.disk, last, offset, max_bytes)
    }

    /// Reads the whole file of this snapshot: whether it still is what was written.
    ///
    /// # Errors
    /// As of [`load_snapshot`](Self::load_snapshot).
    pub fn verify_snapshot(&mut self, last: EntryId) -> Result<(), StoreError> {
        self.unless_gone(last)?;
        verify(&mut self.disk, last)
    }

    fn unless_gone(&self, last: EntryId) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        if self.saved.contains(&last) { Ok(()) } else { Err(StoreError::NoSnapshot { file: snapshot_name(last) }) }
    }

    /// Removes a snapshot that was saved and that no record names: it is not wanted after all. One that is not there is
    /// removed already; one that is in force, or about to be, stays.
    ///
    /// # Errors
    /// The disk failed. No call succeeds any more.
    pub fn remove_snapshot(&mut self, last: EntryId) -> Result<(), StoreError> {
        self.unless_poisoned(|store| {
            if store.is_named(last) || !store.saved.remove(&last) {
                return Ok(());
            }
            store.disk.remove(&snapshot_name(last))?;
            Ok(store.disk.sync_folder()?)
        })
    }

    /// Whether a record names it that a start may go by.
    pub(crate) fn is_named(&self, last: EntryId) -> bool {
        self.in_force == Some(last) || self.coming.contains(&last)
    }

    /// After a sync: frees what the newest snapshot makes useless of the log, if there is a new one. The older snapshots stay
    /// until whoever may still send them says otherwise, or until the next start.
    pub(crate) fn settle_snapshots(&mut self) -> Result<(), StoreError> {
        let Some(newest) = self.coming.pop() else { return Ok(()) };
        self.coming.clear();
        self.in_force = Some(newest);
        // The log may have been discarded, and what was is nobody's to compact.
        self.delete_segments(self.summary.first)
    }
}
