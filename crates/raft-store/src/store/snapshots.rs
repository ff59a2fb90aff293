//! Saves, loads and removes snapshots. Their files are durable before a record names them, and stay for as long as a crash
//! can lead back to such a record.

use super::Store;
use crate::disk::{Disk, DiskErrorKind};
use crate::error::StoreError;
use crate::format::MAX_PAYLOAD;
use crate::replace::replace;
use crate::snapshot_file::{encode_head, load, snapshot_name, unfinished_name};
use bytes::Bytes;
use raft_core::{EntryId, SnapshotMeta};

impl<D: Disk> Store<D> {
    /// Saves a snapshot; durable when this returns. It is in force once a record names it and is synced
    /// ([`Write::snapshot`](raft_core::Write)); until then the next start deletes it, and a second one of the same last entry
    /// replaces it. The file that a record names already is left alone: what a peer calls the same snapshot must not take the
    /// place of what the log rests on.
    ///
    /// # Errors
    /// The disk failed: no call succeeds any more. But if it is only full, or `meta` is too large, nothing was saved and all
    /// else goes on.
    pub fn save_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        if self.is_named(meta.last) {
            return Ok(());
        }
        let too_large = StoreError::RecordTooLarge { bytes: MAX_PAYLOAD.saturating_add(1), limit: MAX_PAYLOAD };
        let head = encode_head(meta, data).ok_or(too_large)?;
        let (file, unfinished) = (snapshot_name(meta.last), unfinished_name(meta.last));
        match replace(&mut self.disk, &file, &unfinished, &[&head, data]) {
            Ok(()) => {
                self.saved.insert(meta.last);
                Ok(())
            }
            Err(StoreError::Disk(error)) if error.kind == DiskErrorKind::Full && error.file == unfinished => {
                // As well as can be: the reason to report is that there is no space, and a start would delete it.
                self.disk.remove(&unfinished).ok();
                Err(StoreError::Disk(error))
            }
            Err(error) => {
                self.poison = Some(Box::new(error.clone()));
                Err(error)
            }
        }
    }

    /// The data of the snapshot with this last entry, which was saved.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] if it is not there, perhaps no more: a newer one may be in force. Else the disk failed, or
    /// what is there is not what was written. Reading and writing go on, as far as they can.
    pub fn load_snapshot(&mut self, last: EntryId) -> Result<Bytes, StoreError> {
        self.refuse_if_poisoned()?;
        if !self.saved.contains(&last) {
            return Err(StoreError::NoSnapshot { file: snapshot_name(last) });
        }
        load(&mut self.disk, last)
    }

    /// Removes a snapshot that was saved and that no record names: it is not wanted after all. One that is not there is
    /// removed already; one that is in force, or about to be, stays.
    ///
    /// # Errors
    /// The disk failed. No call succeeds any more.
    pub fn remove_snapshot(&mut self, last: EntryId) -> Result<(), StoreError> {
        self.unless_poisoned(
            |store| {
                if store.is_named(last) { Ok(()) } else { store.remove_snapshots(|saved| saved == last) }
            },
        )
    }

    /// Whether a record names it that a start may go by.
    fn is_named(&self, last: EntryId) -> bool {
        self.in_force == Some(last) || self.coming.contains(&last)
    }

    /// After a sync: frees what the newest snapshot makes useless, if there is a new one.
    pub(super) fn settle_snapshots(&mut self) -> Result<(), StoreError> {
        let Some(newest) = self.coming.pop() else { return Ok(()) };
        self.coming.clear();
        self.in_force = Some(newest);
        self.remove_snapshots(|saved| saved.index < newest.index)?;
        // The log may have been discarded, and what was is nobody's to compact.
        self.delete_segments(self.outline.first)
    }

    fn remove_snapshots(&mut self, wanted: impl Fn(EntryId) -> bool) -> Result<(), StoreError> {
        let over: Vec<EntryId> = self.saved.iter().copied().filter(|&saved| wanted(saved)).collect();
        for &last in &over {
            self.disk.remove(&snapshot_name(last))?;
            self.saved.remove(&last);
        }
        if over.is_empty() { Ok(()) } else { Ok(self.disk.sync_folder()?) }
    }
}
