//! Writes a snapshot of this node's own state, chunk by chunk. A received snapshot shares some of the steps.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::folder::atomic_file::{create_empty, sync_and_rename};
use crate::snapshots::partial_file::{PartialFile, SnapshotWriter};
use crate::snapshots::snapshot_file::{data_offset, encode_head, encode_record, snapshot_name, writing_name};
use crate::store::Store;
use crate::store_error::StoreError;
use crate::wal::format::MAX_PAYLOAD;
use raft_core::{EntryId, SnapshotMeta};

impl<D: Disk> Store<D> {
    /// Begins a snapshot of this node's own state and drops an unfinished one. Its data follows in chunks, then
    /// [`finish_snapshot`](Self::finish_snapshot) completes it. If a record names this snapshot already, these calls
    /// write nothing: the log depends on the existing file.
    ///
    /// # Errors
    /// The disk failed, and the store is poisoned. If the disk is only full, or `meta` too large, the unfinished file is
    /// removed and the store stays usable.
    pub fn begin_snapshot(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        self.check_poisoned()?;
        if let Some(SnapshotWriter { partial, .. }) = self.writer.take() {
            self.give_up(&partial)?;
        }
        let record = encode_record(meta);
        if record.len() as u64 > MAX_PAYLOAD {
            return Err(StoreError::RecordTooLarge { bytes: record.len() as u64, limit: MAX_PAYLOAD });
        }
        // The header needs the data's checksum, so it is written last.
        let partial = self.begin_file(meta.last, writing_name(meta.last), data_offset(&record))?;
        self.writer = Some(SnapshotWriter { partial, record, data: (0, 0) });
        Ok(())
    }

    /// Appends a chunk of the data.
    ///
    /// # Errors
    /// [`StoreError::NotBegun`], and the errors of [`begin_snapshot`](Self::begin_snapshot).
    pub fn extend_snapshot(&mut self, data: &[u8]) -> Result<(), StoreError> {
        self.check_poisoned()?;
        let SnapshotWriter { mut partial, record, data: (bytes, checksum) } =
            self.writer.take().ok_or(StoreError::NotBegun)?;
        let extended = partial.extend(&mut self.disk, data);
        self.poison_unless_full(&partial.file, extended)?;
        let data = (bytes.saturating_add(data.len() as u64), crc32c::crc32c_append(checksum, data));
        self.writer = Some(SnapshotWriter { partial, record, data });
        Ok(())
    }

    /// Completes the snapshot, durably. It takes effect when a record that names it is synced
    /// ([`Write::snapshot`](raft_core::Write)). Until then the next start deletes it, and another one with the same
    /// last entry replaces it.
    pub fn finish_snapshot(&mut self) -> Result<(), StoreError> {
        self.check_poisoned()?;
        let SnapshotWriter { partial, record, data: (bytes, checksum) } =
            self.writer.take().ok_or(StoreError::NotBegun)?;
        if partial.already_present || self.is_named(partial.last) {
            return self.give_up(&partial);
        }
        let too_large = StoreError::RecordTooLarge { bytes: record.len() as u64, limit: MAX_PAYLOAD };
        let head = encode_head(&record, bytes, checksum).ok_or(too_large)?;
        let written = self.disk.write(&partial.file, 0, &head);
        self.finish_file(&partial, written)
    }

    /// Writes a snapshot in one call; see [`begin_snapshot`](Self::begin_snapshot).
    pub fn save_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), StoreError> {
        self.begin_snapshot(meta)?;
        self.extend_snapshot(data)?;
        self.finish_snapshot()
    }

    pub(crate) fn begin_file(&mut self, last: EntryId, file: String, end: u64) -> Result<PartialFile, StoreError> {
        let already_present = self.is_named(last);
        if !already_present {
            let created = create_empty(&mut self.disk, &file);
            self.poison_unless_full(&file, created)?;
        }
        Ok(PartialFile { last, file, end, synced: 0, already_present })
    }

    pub(crate) fn finish_file(
        &mut self,
        partial: &PartialFile,
        written: Result<(), DiskError>,
    ) -> Result<(), StoreError> {
        let file = &partial.file;
        let finished = written.and_then(|()| sync_and_rename(&mut self.disk, file, &snapshot_name(partial.last)));
        self.poison_unless_full(file, finished)?;
        self.saved.insert(partial.last);
        Ok(())
    }

    pub(crate) fn give_up(&mut self, partial: &PartialFile) -> Result<(), StoreError> {
        let removed = if partial.already_present { Ok(()) } else { self.disk.remove(&partial.file) };
        self.poison_unless_full(&partial.file, removed)
    }

    /// Ends a step on an unfinished file. If the disk is full, the file is removed and the store stays usable; any other error
    /// poisons the store.
    pub(crate) fn poison_unless_full(&mut self, file: &str, step: Result<(), DiskError>) -> Result<(), StoreError> {
        let Err(mut error) = step else { return Ok(()) };
        if error.kind == DiskErrorKind::Full && error.file == file {
            // If there is no file to remove, the state of the folder is known all the same. After a failed call it is not,
            // and the caller has to know that.
            let removed = self.disk.remove(file).and_then(|()| self.disk.sync_folder());
            match removed.err().filter(|worse| worse.kind == DiskErrorKind::Failed) {
                Some(worse) => error = worse,
                None => return Err(StoreError::Disk(error)),
            }
        }
        let error = StoreError::Disk(error);
        self.poison = Some(Box::new(error.clone()));
        Err(error)
    }
}
