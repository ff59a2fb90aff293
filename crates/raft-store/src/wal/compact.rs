//! Deletes old segments. `format` explains why a crash never turns this into a loss.

use crate::disk::Disk;
use crate::store::Store;
use crate::store_error::StoreError;
use raft_core::LogIndex;

impl<D: Disk> Store<D> {
    /// Deletes the segments in which all entries are below `before` and covered by the newest snapshot. A host may
    /// repeat or omit the call.
    pub fn compact(&mut self, before: LogIndex) -> Result<(), StoreError> {
        self.or_poison(|store| store.delete_segments(before))
    }

    /// The oldest segment that must stay if entries below `before` are not needed.
    fn oldest_needed(&self, before: LogIndex) -> u64 {
        let newest = self.position.segment;
        self.summary.oldest_needed(before).map_or(newest, |needed| needed.min(newest))
    }

    pub(crate) fn delete_segments(&mut self, before: LogIndex) -> Result<(), StoreError> {
        if self.oldest_needed(before) <= self.oldest {
            return Ok(());
        }
        // A crash can undo an unsynced snapshot or truncation, and the log would then need the deleted entries.
        self.sync_all()?;
        let needed = self.oldest_needed(before);
        while self.oldest < needed {
            self.release(self.oldest)?;
            // It deletes one at a time: a power loss must not leave a gap.
            self.disk.sync_folder()?;
            self.oldest += 1;
        }
        self.summary.drop_segments_before(needed);
        Ok(())
    }
}
