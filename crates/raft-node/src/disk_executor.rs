//! Runs the tasks of a [`DiskQueue`](crate::DiskQueue) on a store, and returns the inputs that the node gets for them. It is the
//! same for every host; the host decides when a task runs.
//!
//! A group of writes has two halves, [`write`](DiskExecutor::write) and [`sync`](DiskExecutor::sync): a host can simulate a crash
//! between them. This file must not know how the store keeps its data.

// A new kind of input, output or job needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::interface::disk_jobs::{DiskJob, SnapshotFile, SnapshotJob, WriteOutcome};
use crate::interface::inputs::NodeInput;
use crate::snapshots::content::{HEAD_LENGTH_BYTES, check_snapshot, head_bytes};
use bytes::Bytes;
use raft_core::{NodeId, SnapshotMeta, Write, WriteId};
use raft_store::{Disk, DiskId, PeerCheck, Space, SpaceMonitor, Store, StoreError};

/// Runs disk tasks, one at a time, and monitors the store's free space.
#[derive(Clone, Debug, Default)]
pub struct DiskExecutor {
    space: SpaceMonitor,
}

impl DiskExecutor {
    /// The node's input before its first call, if any.
    pub fn start<D: Disk>(&mut self, store: &Store<D>) -> Option<NodeInput> {
        self.space.take_change(store).map(space)
    }

    /// The first half of a group of writes: the bytes are readable, and durable after [`sync`](Self::sync).
    ///
    /// # Errors
    /// The disk failed: the state of this write is unknown, and the process must end.
    pub fn write<D: Disk>(&mut self, store: &mut Store<D>, writes: &[Write]) -> Result<(), StoreError> {
        store.write(writes)
    }

    /// The second half of a group whose newest write is `newest`. Returns the node's inputs for one call in this order:
    /// the space after the group, if it changed, then the report that the writes are durable. *Without that order:* the
    /// node counts on space that the group has used.
    ///
    /// # Errors
    /// The same errors as [`write`](Self::write).
    pub fn sync<D: Disk>(
        &mut self,
        store: &mut Store<D>,
        newest: WriteId,
    ) -> Result<[Option<NodeInput>; 2], StoreError> {
        let changed = self.space.sync(store)?;
        Ok([changed.map(space), Some(NodeInput::Persisted { write: newest })])
    }

    /// Runs a job. Returns the node's input; `None` if the job has no result, or an obsolete one.
    ///
    /// # Errors
    /// The disk failed, or a file is damaged: the process must end.
    pub fn execute<D: Disk>(&mut self, store: &mut Store<D>, job: &DiskJob) -> Result<Option<NodeInput>, StoreError> {
        self.space.wake();
        match job {
            DiskJob::ReadLog { read, first, last, max_bytes } => {
                let entries = store.read(*first, *last, *max_bytes)?;
                Ok(Some(NodeInput::LogRead { read: *read, entries }))
            }
            DiskJob::Compact { before } => store.compact(*before).map(|()| None),
            DiskJob::ReserveSpace => self.space.preallocate_all(store).map(|found| Some(space(found))),
            DiskJob::Snapshot(job) => execute_for_snapshots(store, job),
        }
    }

    /// Registers a peer's disk, or finds that it has changed. `None` means that the disk is full; the host may try
    /// again.
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

    /// Whether the store can preallocate space while no task waits.
    pub fn can_preallocate<D: Disk>(&self, store: &Store<D>) -> bool {
        self.space.can_preallocate(store)
    }

    /// Takes one step of preallocation, if no task waits. Returns the node's input, if any.
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
        // If the file is gone, a newer one exists, and the node is about to load that.
        SnapshotJob::Load { meta } => {
            let data = if_there(store.load_snapshot(meta.last))?;
            Ok(data.map(|data| NodeInput::SnapshotLoaded { meta: meta.clone(), data }))
        }
        SnapshotJob::Verify { last } => if_there(store.verify_snapshot(*last)).map(|_| None),
        // Snapshot jobs run in order, so the unfinished file belongs to this snapshot, or there is none.
        SnapshotJob::Drop { .. } => store.drop_received().map(|()| None),
        SnapshotJob::Remove { last } => store.remove_snapshot(*last).map(|()| None),
    }
}

/// Writes a chunk of a snapshot's file; after the last one the file is complete and durable.
fn write_snapshot<D: Disk>(
    store: &mut Store<D>,
    file: SnapshotFile,
    meta: &SnapshotMeta,
    (offset, bytes): (u64, &Bytes),
    is_last: bool,
) -> Result<WriteOutcome, StoreError> {
    match write_chunk(store, file, meta, (offset, bytes), is_last) {
        Ok(()) if is_last && file == SnapshotFile::Received => {
            // It does not load the whole file, which may be large: votes wait for this.
            let length = store.load_snapshot_prefix(meta.last, HEAD_LENGTH_BYTES)?;
            let head = store.load_snapshot_prefix(meta.last, head_bytes(&length))?;
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

fn write_chunk<D: Disk>(
    store: &mut Store<D>,
    file: SnapshotFile,
    meta: &SnapshotMeta,
    (offset, bytes): (u64, &Bytes),
    is_last: bool,
) -> Result<(), StoreError> {
    match file {
        SnapshotFile::Own => {
            if offset == 0 {
                store.begin_snapshot(meta)?;
            }
            store.extend_snapshot(bytes)?;
            if is_last { store.finish_snapshot() } else { Ok(()) }
        }
        SnapshotFile::Received => {
            store.receive_snapshot(meta.last, offset, bytes)?;
            if is_last { store.finish_received(meta) } else { Ok(()) }
        }
    }
}

/// Turns the error of a missing snapshot into `None`.
fn if_there<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NoSnapshot { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
