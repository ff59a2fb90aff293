//! Preallocates the next segment's file. So the store notices a full disk while there is still space for all writes in
//! flight, and a group of writes never waits for space.
//!
//! The file has the next segment's name and holds only zeros: without a header it is no segment (`wal/format`). It grows step
//! by step while the host is idle; a sync allocates the rest only if space is low. It may also be an old segment's file
//! (`recycle`).
//!
//! `Enough` means that `reserve_bytes` of records fit, in any groups and without a call for space. Either the newest
//! segment has that much left, or the rest begins the next segment, which has space for all of it.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::store::{Spare, Store};
use crate::store_error::StoreError;
use crate::wal::format::{SEGMENT_HEADER, segment_file};
use raft_proto::encode_write;

/// Bytes of a step: few enough for a short sync, and enough to need few steps.
pub(crate) const STEP: u64 = 4 << 20;

/// Whether a store has space for more writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Records of [`reserve_bytes`](crate::StoreOptions::reserve_bytes) fit into allocated space.
    Enough,
    /// Less space is allocated, and the disk is full: refuse every write that can be refused, and keep the space for
    /// the others.
    Low,
}

impl<D: Disk> Store<D> {
    /// Whether there is space for more writes. The answer is valid until the next write, and has no meaning after an
    /// error.
    pub fn space(&self) -> Space {
        let left = self.position.capacity.saturating_sub(self.position.end);
        let next = self.spare.as_ref().map_or(0, |spare| spare.bytes.saturating_sub(spare.head));
        if left.max(next) >= self.options.reserve_bytes { Space::Enough } else { Space::Low }
    }

    /// Makes one step of the preallocation, for an idle host. Returns true if another step follows. A full disk is not
    /// an error; a later call tries again.
    pub fn preallocate(&mut self) -> Result<bool, StoreError> {
        self.or_poison(Self::preallocate_step)
    }

    /// Whether the next segment's file is shorter than it should be.
    pub(crate) fn needs_preallocation(&self) -> bool {
        let is_short = |spare: Spare| spare.bytes < self.spare_target(spare.head);
        self.options.reserve_bytes > 0 && self.spare.is_none_or(is_short)
    }

    /// Takes all steps at once if space is low.
    pub(crate) fn ensure_space(&mut self) -> Result<(), StoreError> {
        while self.space() == Space::Low && self.preallocate_step()? {}
        Ok(())
    }

    pub(crate) fn preallocate_step(&mut self) -> Result<bool, StoreError> {
        if self.options.reserve_bytes == 0 {
            return Ok(false);
        }
        if let Some(recycled) = self.recycled.take() {
            return self.recycle(recycled);
        }
        let file = segment_file(self.position.segment + 1);
        let mut spare = match self.spare {
            Some(spare) => spare,
            None if has_space(self.disk.create(&file))? => {
                self.disk.sync_folder()?;
                Spare { bytes: 0, head: self.head_bytes() }
            }
            None => return Ok(false),
        };
        let (before, target) = (spare.bytes, self.spare_target(spare.head));
        if before < target {
            has_space(self.disk.set_len(&file, target.min(before.saturating_add(STEP))))?;
            // A full disk may have allocated part of it.
            spare.bytes = self.disk.len(&file)?;
        }
        if spare.bytes != before {
            self.disk.sync(&file)?;
        }
        self.spare = Some(spare);
        Ok(spare.bytes > before && spare.bytes < target)
    }

    /// The length that the next segment's file should have.
    pub(crate) fn spare_target(&self, head: u64) -> u64 {
        self.options.segment_bytes.max(head.saturating_add(self.options.reserve_bytes))
    }

    /// The bytes before the next segment's first record. Its checkpoint may grow until it is written.
    pub(crate) fn head_bytes(&self) -> u64 {
        let checkpoint = encode_write(&self.summary.checkpoint()).len() as u64;
        SEGMENT_HEADER + checkpoint.saturating_mul(2).saturating_add(512)
    }
}

/// Whether a call that allocates space succeeded; false if the disk is full.
pub(crate) fn has_space(result: Result<(), DiskError>) -> Result<bool, DiskError> {
    match result {
        Err(error) if error.kind == DiskErrorKind::Full => Ok(false),
        result => result.map(|()| true),
    }
}
