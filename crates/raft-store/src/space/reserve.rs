//! Space ahead: the file of the next segment is there before it is needed, so that a full disk is noticed while there is
//! still room for all that is on its way, and a group of writes never waits for space.
//!
//! The file has the next segment's name and nothing but zeros in it: no header, so no segment yet (`format`). It grows step
//! by step, when the host has time; only if what is left is not enough, a sync sees to the rest of it. Or it is an old
//! segment's (`recycle`).
//!
//! Why `Enough` means that `reserve_bytes` of records fit, in whatever groups they come and whatever becomes of the disk
//! meanwhile: either that much is left in the newest segment; or what does not fit there any more begins the next one, which
//! has room for all of it.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::store::{Spare, Store};
use crate::store_error::StoreError;
use crate::wal::format::{SEGMENT_HEADER, segment_file};
use raft_proto::encode_write;

/// How much a step adds: little enough to be made durable in a moment, much enough for few moments.
pub(crate) const STEP: u64 = 4 << 20;

/// Whether there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Records of [`reserve_bytes`](crate::StoreOptions::reserve_bytes) fit without asking the disk for space.
    Enough,
    /// Not so many, and the disk has no more: nothing should be written that can be refused. What is left takes it as long
    /// as it lasts.
    Low,
}

impl<D: Disk> Store<D> {
    /// Whether there is room. Good until the next write; after an error it means nothing.
    pub fn space(&self) -> Space {
        let left = self.position.capacity.saturating_sub(self.position.end);
        let next = self.spare.as_ref().map_or(0, |spare| spare.bytes.saturating_sub(spare.head));
        if left.max(next) >= self.options.reserve_bytes { Space::Enough } else { Space::Low }
    }

    /// A step towards the next segment's file: for a moment in which nothing waits. True if there is another step to take.
    /// That the disk is full is no error; a later call asks again.
    ///
    /// # Errors
    /// The disk failed. No call succeeds any more.
    pub fn preallocate(&mut self) -> Result<bool, StoreError> {
        self.refuse_if_poisoned()?;
        let step = self.step();
        self.poison = step.as_ref().err().cloned().map(Box::new);
        step
    }

    /// Whether there is a step to take, if the disk lets it.
    pub(crate) fn is_short(&self) -> bool {
        let is_short = |spare: Spare| spare.bytes < self.wanted(spare.head);
        self.options.reserve_bytes > 0 && self.spare.is_none_or(is_short)
    }

    /// If there is not enough room, all the steps at once.
    pub(crate) fn ensure_spare(&mut self) -> Result<(), StoreError> {
        while self.space() == Space::Low && self.step()? {}
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        if self.options.reserve_bytes == 0 {
            return Ok(false);
        }
        if let Some(recycled) = self.recycled.take() {
            return self.recycle(recycled);
        }
        let file = segment_file(self.position.segment + 1);
        let mut spare = match self.spare {
            Some(spare) => spare,
            None if took_space(self.disk.create(&file))? => {
                self.disk.sync_folder()?;
                Spare { bytes: 0, head: self.head_bytes() }
            }
            None => return Ok(false),
        };
        let (before, wanted) = (spare.bytes, self.wanted(spare.head));
        if before < wanted {
            took_space(self.disk.set_len(&file, wanted.min(before.saturating_add(STEP))))?;
            // A disk that is full may have given a part of it.
            spare.bytes = self.disk.len(&file)?;
        }
        if spare.bytes != before {
            self.disk.sync(&file)?;
        }
        self.spare = Some(spare);
        Ok(spare.bytes > before && spare.bytes < wanted)
    }

    /// How long the next segment's file is to be.
    pub(crate) fn wanted(&self, head: u64) -> u64 {
        self.options.segment_bytes.max(head.saturating_add(self.options.reserve_bytes))
    }

    /// What may go before the first record of the next segment: its checkpoint can grow a little until then.
    pub(crate) fn head_bytes(&self) -> u64 {
        let checkpoint = encode_write(&self.summary.checkpoint()).len() as u64;
        SEGMENT_HEADER + checkpoint.saturating_mul(2).saturating_add(512)
    }
}

/// Whether a call that takes space got it; a full disk is no failure.
pub(crate) fn took_space(result: Result<(), DiskError>) -> Result<bool, DiskError> {
    match result {
        Err(error) if error.kind == DiskErrorKind::Full => Ok(false),
        result => result.map(|()| true),
    }
}
