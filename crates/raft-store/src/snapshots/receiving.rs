//! Receives a snapshot's file from a peer, chunk by chunk.

use crate::disk::Disk;
use crate::snapshots::partial_file::SnapshotReceiver;
use crate::snapshots::snapshot_file::{check_received, checksum_append, receiving_name, snapshot_name};
use crate::store::Store;
use crate::store_error::StoreError;
use raft_core::{EntryId, SnapshotMeta};

impl<D: Disk> Store<D> {
    /// Writes a chunk of a peer's snapshot file, in the form that the peer's [`read_snapshot`](Self::read_snapshot)
    /// returned. A chunk at 0 begins a file and drops an unfinished one; every other chunk must begin at the end of the
    /// file.
    ///
    /// # Errors
    /// [`StoreError::OutOfPlace`]: nothing has changed. Otherwise as of [`begin_snapshot`](Self::begin_snapshot).
    pub fn receive_snapshot(&mut self, last: EntryId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_poisoned()?;
        if offset == 0 {
            self.drop_received()?;
            let partial = self.begin_file(last, receiving_name(last), 0)?;
            self.receiver = Some(SnapshotReceiver { partial, checksum: 0 });
        }
        let end = self.receiver.as_ref().filter(|here| here.partial.last == last).map_or(0, |here| here.partial.end);
        let receiver = self.receiver.take_if(|here| here.partial.last == last && here.partial.end == offset);
        let Some(SnapshotReceiver { mut partial, checksum }) = receiver else {
            return Err(StoreError::OutOfPlace { file: snapshot_name(last), offset, end });
        };
        let extended = partial.extend(&mut self.disk, bytes);
        self.poison_unless_full(&partial.file, extended)?;
        self.receiver = Some(SnapshotReceiver { partial, checksum: checksum_append(checksum, offset, bytes) });
        Ok(())
    }

    /// Completes the received file as [`finish_snapshot`](Self::finish_snapshot) does. First it checks that the file is
    /// equal to the peer's and is the snapshot of `meta`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: the file is removed; [`StoreError::NotBegun`]. Otherwise as of
    /// The errors of [`begin_snapshot`](Self::begin_snapshot).
    pub fn finish_received(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        self.check_poisoned()?;
        let received = self.receiver.take_if(|here| here.partial.last == meta.last);
        let SnapshotReceiver { partial, checksum } = received.ok_or(StoreError::NotBegun)?;
        if partial.already_present || self.is_named(partial.last) {
            return self.give_up(&partial);
        }
        let reason = match check_received(&mut self.disk, &partial.file, checksum, meta) {
            Ok(()) => return self.finish_file(&partial, Ok(())),
            Err(StoreError::Disk(error)) => return self.poison_unless_full(&partial.file, Err(error)),
            Err(StoreError::Corrupt { offset, reason, .. }) => format!("{reason}, at byte {offset}"),
            Err(other) => other.to_string(),
        };
        self.give_up(&partial)?;
        Err(StoreError::Damaged { file: snapshot_name(meta.last), reason })
    }

    /// Drops the unfinished file from a peer, if there is one.
    pub fn drop_received(&mut self) -> Result<(), StoreError> {
        self.check_poisoned()?;
        self.receiver.take().map_or(Ok(()), |here| self.give_up(&here.partial))
    }
}
