//! A segment that nobody needs any more becomes the next one's file: on a disk that is full this keeps what the log has,
//! where to delete it would leave its space to whoever comes first.
//!
//! The next one's file must be nothing but zeros whenever it can be seen under its name, or a start would meet the frames of
//! an old segment. So the old one gets a name of its own, durably, before the first zero is written: until then it could come
//! back as a segment. It gets the new name when all of it is zeros, durably. A start deletes it where it finds it on the way.

use crate::disk::{Disk, DiskError};
use crate::space::reserve::{STEP, took_space};
use crate::space::zeros::write_zeros;
use crate::store::{Spare, Store};
use crate::store_error::StoreError;
use crate::wal::format::{RECYCLED, segment_file};

/// A file on its way from an old segment to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recycled {
    /// Its length.
    bytes: u64,
    /// So many are zeros, durably.
    zeros: u64,
}

impl<D: Disk> Store<D> {
    /// Lets go of a segment's file; durable with the next sync of the folder.
    pub(crate) fn release(&mut self, segment: u64) -> Result<(), StoreError> {
        let file = segment_file(segment);
        let bytes = self.disk.len(&file)?;
        if self.is_wanted(bytes) && took_space(self.disk.rename(&file, RECYCLED))? {
            self.recycled = Some(Recycled { bytes, zeros: 0 });
            return Ok(());
        }
        Ok(self.disk.remove(&file)?)
    }

    /// Whether a file of so many bytes is to become the next segment's.
    fn is_wanted(&self, bytes: u64) -> bool {
        let wanted = self.wanted(self.head_bytes());
        // One that is much larger, for a large group, would keep space that the disk may need.
        let fits = (wanted..=wanted.saturating_mul(2)).contains(&bytes);
        fits && self.options.reserve_bytes > 0 && self.recycled.is_none() && !self.has_spare(wanted)
    }

    fn has_spare(&self, bytes: u64) -> bool {
        self.spare.is_some_and(|spare| spare.bytes >= bytes)
    }

    /// A step of it. True if there is another one to take. On a file system that never writes in place a full disk is noticed
    /// here: then the file goes the way of all others.
    pub(crate) fn recycle(&mut self, recycled: Recycled) -> Result<bool, StoreError> {
        let Recycled { bytes, zeros } = recycled;
        // A few steps, however small it is: so they can be told apart where segments are small.
        let upto = bytes.min(zeros.saturating_add(STEP.min(bytes.div_ceil(4))));
        let (is_whole, next) = (upto == bytes, segment_file(self.position.segment + 1));
        let went = took_space(self.zero(zeros, upto))? && (!is_whole || took_space(self.disk.rename(RECYCLED, &next))?);
        if !went {
            self.disk.remove(RECYCLED)?;
            return Ok(true);
        }
        if !is_whole {
            self.recycled = Some(Recycled { bytes, zeros: upto });
            return Ok(true);
        }
        let head = self.head_bytes();
        self.disk.sync_folder()?;
        self.spare = Some(Spare { bytes, head });
        Ok(bytes < self.wanted(head))
    }

    fn zero(&mut self, from: u64, to: u64) -> Result<(), DiskError> {
        write_zeros(&mut self.disk, RECYCLED, from..to)?;
        self.disk.sync(RECYCLED)
    }

    /// All the steps at once, if the next segment needs `bytes` now and its file has less.
    pub(crate) fn recycle_for(&mut self, bytes: u64) -> Result<(), StoreError> {
        while !self.has_spare(bytes) && self.recycled.is_some() {
            self.step()?;
        }
        Ok(())
    }
}
