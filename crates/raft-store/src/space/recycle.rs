//! Turns the file of a deleted segment into the next segment's. On a full disk the log keeps its space in this way; the
//! space of a deleted file could go to another process.
//!
//! Under the next segment's name the file must hold only zeros, or a start would find frames of the old segment. So it first
//! gets a separate name, durably: until then it could return as the old segment. When all of it is durable zeros, it
//! gets the new name. A start deletes a file that it finds in between these steps.

use crate::disk::Disk;
use crate::space::reserve::{STEP, has_space};
use crate::space::zeros::write_zeros;
use crate::store::{Recycled, Spare, Store};
use crate::store_error::StoreError;
use crate::wal::format::{RECYCLED, segment_file};

impl<D: Disk> Store<D> {
    /// Recycles or removes a segment's file; the change is durable with the next sync of the folder.
    pub(crate) fn release(&mut self, segment: u64) -> Result<(), StoreError> {
        let file = segment_file(segment);
        let bytes = self.disk.len(&file)?;
        if self.is_recyclable(bytes) && has_space(self.disk.rename(&file, RECYCLED))? {
            self.recycled = Some(Recycled { bytes, zeros: 0 });
            return Ok(());
        }
        Ok(self.disk.remove(&file)?)
    }

    /// Whether a file of this length should become the next segment's.
    fn is_recyclable(&self, bytes: u64) -> bool {
        let target = self.spare_target(self.head_bytes());
        // A much larger file, made for a large group, would keep space that the disk may need.
        let fits = (target..=target.saturating_mul(2)).contains(&bytes);
        fits && self.options.reserve_bytes > 0 && self.recycled.is_none() && !self.has_spare(target)
    }

    fn has_spare(&self, bytes: u64) -> bool {
        self.spare.is_some_and(|spare| spare.bytes >= bytes)
    }

    /// Makes one step of recycling. Returns true if another step follows. A file system that never writes in place may
    /// report a full disk here: the file is then removed.
    pub(crate) fn recycle(&mut self, recycled: Recycled) -> Result<bool, StoreError> {
        let Recycled { bytes, zeros } = recycled;
        // It makes at least four steps, so that tests with small segments see each state.
        let upto = bytes.min(zeros.saturating_add(STEP.min(bytes.div_ceil(4))));
        let (is_done, next) = (upto == bytes, segment_file(self.position.segment + 1));
        let zeroed = write_zeros(&mut self.disk, RECYCLED, zeros..upto).and_then(|()| self.disk.sync(RECYCLED));
        let succeeded = has_space(zeroed)? && (!is_done || has_space(self.disk.rename(RECYCLED, &next))?);
        if !succeeded {
            self.disk.remove(RECYCLED)?;
            return Ok(true);
        }
        if !is_done {
            self.recycled = Some(Recycled { bytes, zeros: upto });
            return Ok(true);
        }
        let head = self.head_bytes();
        self.disk.sync_folder()?;
        self.spare = Some(Spare { bytes, head });
        Ok(bytes < self.spare_target(head))
    }

    /// Takes all steps at once if the next segment needs `bytes` now and its file is shorter.
    pub(crate) fn finish_recycling(&mut self, bytes: u64) -> Result<(), StoreError> {
        while !self.has_spare(bytes) && self.recycled.is_some() {
            self.preallocate_step()?;
        }
        Ok(())
    }
}
