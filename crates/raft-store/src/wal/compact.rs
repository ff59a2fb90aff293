//! Deletes segments whose entries nobody needs any more. Why no crash can make a loss of it is in `format`.

use crate::disk::Disk;
use crate::store::Store;
use crate::store_error::StoreError;
use raft_core::LogIndex;

impl<D: Disk> Store<D> {
    /// Entries below `before` are needed no more: deletes the segments that hold nothing else. Never entries that the newest
    /// snapshot does not cover, whatever is asked for. May be repeated, come late or not at all.
    ///
    /// # Errors
    /// The disk failed. No call succeeds any more.
    pub fn compact(&mut self, before: LogIndex) -> Result<(), StoreError> {
        self.unless_poisoned(|store| store.delete_segments(before))
    }

    /// The oldest segment that must stay if entries below `before` are not needed.
    fn needs_from(&self, before: LogIndex) -> u64 {
        let newest = self.position.segment;
        self.summary.needs_from(before).map_or(newest, |needed| needed.min(newest))
    }

    pub(crate) fn delete_segments(&mut self, before: LogIndex) -> Result<(), StoreError> {
        if self.needs_from(before) <= self.oldest {
            return Ok(());
        }
        // What is only written could be lost, and with it a snapshot, or a truncation of entries that would be missing then.
        self.sync_all()?;
        let needed = self.needs_from(before);
        while self.oldest < needed {
            self.release(self.oldest)?;
            // Each for certain before the next: a power loss must not leave a gap.
            self.disk.sync_folder()?;
            self.oldest += 1;
        }
        self.summary.forget_before(needed);
        Ok(())
    }
}
