//! Carries out on a store what the [`DiskQueue`](crate::DiskQueue) hands over, and says what the node is to be given: the
//! same for every host, which only says when.
//!
//! A group of writes has two halves, [`write`](DiskExecutor::write) and [`sync`](DiskExecutor::sync), because a crash between
//! them is another crash. This file must not know how the store keeps what it is given.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::node::outputs::{DiskJob, NodeInput, SnapshotFile, SnapshotJob, WriteOutcome};
use crate::snapshots::content::{HEAD_LENGTH_BYTES, check_snapshot, head_bytes};
use bytes::Bytes;
use raft_core::{NodeId, SnapshotMeta, Write, WriteId};
use raft_store::{Disk, DiskId, PeerCheck, Space, SpaceMonitor, Store, StoreError};

/// Carries out disk tasks, one at a time, and watches the store's room.
#[derive(Clone, Debug, Default)]
pub struct DiskExecutor {
    space: SpaceMonitor,
}

impl DiskExecutor {
    /// What the node is to be given before its first call.
    pub fn start<D: Disk>(&mut self, store: &Store<D>) -> Option<NodeInput> {
        self.space.news(store).map(space)
    }

    /// The first half of a group of writes: the bytes are readable, and durable after [`sync`](Self::sync).
    ///
    /// # Errors
    /// The disk failed: nothing is known of what was being written, and the process must end.
    pub fn write<D: Disk>(&mut self, store: &mut Store<D>, writes: &[Write]) -> Result<(), StoreError> {
        store.write(writes)
    }

    /// The second half of a group of which `newest` is the newest write. What the node is to be given, in this order and
    /// together: whether there is room for as much again, if that is another answer than before; that the writes are durable.
    /// *Without that order:* the node counts on room that the group has used.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    pub fn sync<D: Disk>(
        &mut self,
        store: &mut Store<D>,
        newest: WriteId,
    ) -> Result<[Option<NodeInput>; 2], StoreError> {
        let changed = self.space.sync(store)?;
        Ok([changed.map(space), Some(NodeInput::Persisted { write: newest })])
    }

    /// Carries out a job. What the node is to be given; nothing, if it waits for no answer or needs none any more.
    ///
    /// # Errors
    /// The disk failed, or what is there is damaged: the process must end.
    pub fn execute<D: Disk>(&mut self, store: &mut Store<D>, job: &DiskJob) -> Result<Option<NodeInput>, StoreError> {
        self.space.wake();
        match job {
            DiskJob::ReadLog { read, first, last, max_bytes } => {
                let entries = store.read(*first, *last, *max_bytes)?;
                Ok(Some(NodeInput::LogRead { read: *read, entries }))
            }
            DiskJob::Compact { before } => store.compact(*before).map(|()| None),
            DiskJob::MakeRoom => self.space.ask(store).map(|found| Some(space(found))),
            DiskJob::Snapshot(job) => execute_for_snapshots(store, job),
        }
    }

    /// Remembers a peer's disk, or sees that it is another one. None: the disk is full, and it may be asked again.
    ///
    /// # Errors
    /// The disk failed: the process must end.
    pub fn register_peer<D: Disk>(
        &mut self,
        store: &mut Store<D>,
        peer: NodeId,
        disk: DiskId,
    ) -> Result<Option<PeerCheck>, StoreError> {
        self.space.wake();
        match store.register_peer(peer, disk) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_recoverable() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is room to be made ahead when no task waits.
    pub fn is_short<D: Disk>(&self, store: &Store<D>) -> bool {
        self.space.can_preallocate(store)
    }

    /// A step of making room ahead, to be taken when no task waits. What the node is to be given, if anything.
    ///
    /// # Errors
    /// The disk failed: the process must end.
    pub fn preallocate<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<NodeInput>, StoreError> {
        Ok(self.space.preallocate(store)?.map(space))
    }
}

fn space(found: Space) -> NodeInput {
    NodeInput::Space { is_low: found == Space::Low }
}

fn execute_for_snapshots<D: Disk>(store: &mut Store<D>, job: &SnapshotJob) -> Result<Option<NodeInput>, StoreError> {
    match job {
        SnapshotJob::Write { file, meta, offset, bytes, is_last } => {
            let outcome = write_snapshot(store, *file, meta, (*offset, bytes), *is_last)?;
            let end = offset.saturating_add(bytes.len() as u64);
            Ok(Some(NodeInput::SnapshotWritten { file: *file, last: meta.last, end, outcome }))
        }
        SnapshotJob::Read { to, last, offset, max_bytes } => {
            let chunk = if_there(store.read_snapshot(*last, *offset, *max_bytes))?;
            Ok(Some(NodeInput::SnapshotRead { to: *to, last: *last, offset: *offset, chunk }))
        }
        // If it is gone, a newer one is in force already, and the node is about to ask for that.
        SnapshotJob::Load { meta } => {
            let data = if_there(store.load_snapshot(meta.last))?;
            Ok(data.map(|data| NodeInput::SnapshotLoaded { meta: meta.clone(), data }))
        }
        SnapshotJob::Verify { last } => if_there(store.verify_snapshot(*last)).map(|_| None),
        // Jobs about snapshots come in order, so the unfinished file is of this one, or of none.
        SnapshotJob::Drop { .. } => store.drop_received().map(|()| None),
        SnapshotJob::Remove { last } => store.remove_snapshot(*last).map(|()| None),
    }
}

/// Writes a chunk of a snapshot's file, and after the last one sees to it that the file is whole and durable.
fn write_snapshot<D: Disk>(
    store: &mut Store<D>,
    file: SnapshotFile,
    meta: &SnapshotMeta,
    (offset, bytes): (u64, &Bytes),
    is_last: bool,
) -> Result<WriteOutcome, StoreError> {
    let written = match file {
        SnapshotFile::Own => write_own(store, meta, offset, bytes, is_last),
        SnapshotFile::Received => store
            .receive_snapshot(meta.last, offset, bytes)
            .and_then(|()| if is_last { store.finish_received(meta) } else { Ok(()) }),
    };
    match written {
        Ok(()) if is_last && file == SnapshotFile::Received => {
            // All of it may be larger than what should be read here: votes wait for this.
            let length = store.begin_loading(meta.last, HEAD_LENGTH_BYTES)?;
            let head = store.begin_loading(meta.last, head_bytes(&length))?;
            let Err(error) = check_snapshot(&head, meta.last) else { return Ok(WriteOutcome::Done) };
            store.remove_snapshot(meta.last)?;
            Ok(WriteOutcome::Unusable(error))
        }
        Ok(()) => Ok(WriteOutcome::Done),
        Err(error) if error.is_recoverable() => Ok(WriteOutcome::NoSpace),
        Err(StoreError::Damaged { .. }) => Ok(WriteOutcome::Damaged),
        Err(error) => Err(error),
    }
}

fn write_own<D: Disk>(
    store: &mut Store<D>,
    meta: &SnapshotMeta,
    offset: u64,
    bytes: &Bytes,
    is_last: bool,
) -> Result<(), StoreError> {
    if offset == 0 {
        store.begin_snapshot(meta)?;
    }
    store.extend_snapshot(bytes)?;
    if is_last { store.finish_snapshot() } else { Ok(()) }
}

/// None, if the snapshot is gone.
fn if_there<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NoSnapshot { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
