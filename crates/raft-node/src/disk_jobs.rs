//! What a node asks of its disk apart from writes, carried out on a store: the same for every host, which only says when.
//!
//! This file must not know how the store keeps what it is given.

use crate::message::{NodeInput, NodeOutput, SnapshotFile, SnapshotOutcome, SnapshotPiece};
use crate::snapshot::{HEAD_LENGTH_BYTES, check_snapshot, head_bytes};
use bytes::Bytes;
use raft_core::SnapshotMeta;
use raft_store::{Disk, Store, StoreError};

/// Carries out what a node asks of its disk, and says what the node is to be told; nothing, if it waits for no answer or none is
/// needed any more. What is nothing for the disk, or for whoever looks out for
/// its space ([`Lookout`](raft_store::Lookout)), is left alone.
///
/// # Errors
/// The disk failed, or what is there is damaged: the process must end.
pub fn carry_out_on_disk<D: Disk>(store: &mut Store<D>, output: &NodeOutput) -> Result<Option<NodeInput>, StoreError> {
    match output {
        NodeOutput::ReadLog { read, first, last, max_bytes } => {
            let entries = store.read(*first, *last, *max_bytes)?;
            Ok(Some(NodeInput::LogRead { read: *read, entries }))
        }
        NodeOutput::Compact { before } => store.compact(*before).map(|()| None),
        NodeOutput::WriteSnapshot { file, meta, offset, bytes, is_last } => {
            let outcome = write_snapshot(store, *file, meta, (*offset, bytes), *is_last)?;
            let end = offset.saturating_add(bytes.len() as u64);
            Ok(Some(NodeInput::SnapshotWritten { file: *file, last: meta.last, end, outcome }))
        }
        NodeOutput::ReadSnapshot { to, last, offset, max_bytes } => {
            let piece = if_there(store.read_snapshot(*last, *offset, *max_bytes))?;
            let piece = piece.map(|raft_store::SnapshotPiece { size, checksum, bytes }| SnapshotPiece {
                size,
                checksum,
                bytes,
            });
            Ok(Some(NodeInput::SnapshotRead { to: *to, last: *last, offset: *offset, piece }))
        }
        // If it is gone, a newer one is in force already, and the node is about to ask for that.
        NodeOutput::LoadSnapshot { meta } => {
            let data = if_there(store.load_snapshot(meta.last))?;
            Ok(data.map(|data| NodeInput::SnapshotLoaded { meta: meta.clone(), data }))
        }
        NodeOutput::VerifySnapshot { last } => if_there(store.verify_snapshot(*last)).map(|_| None),
        NodeOutput::DropSnapshot { .. } => store.drop_received().map(|()| None),
        NodeOutput::RemoveSnapshot { last } => store.remove_snapshot(*last).map(|()| None),
        _ => Ok(None),
    }
}

/// Writes a piece of a snapshot's file, and after the last one sees to it that the file is whole and durable.
fn write_snapshot<D: Disk>(
    store: &mut Store<D>,
    file: SnapshotFile,
    meta: &SnapshotMeta,
    (offset, bytes): (u64, &Bytes),
    is_last: bool,
) -> Result<SnapshotOutcome, StoreError> {
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
            let Err(error) = check_snapshot(&head, meta.last) else { return Ok(SnapshotOutcome::Done) };
            store.remove_snapshot(meta.last)?;
            Ok(SnapshotOutcome::Unusable(error))
        }
        Ok(()) => Ok(SnapshotOutcome::Done),
        Err(error) if error.nothing_is_lost() => Ok(SnapshotOutcome::NoSpace),
        Err(StoreError::Damaged { .. }) => Ok(SnapshotOutcome::Damaged),
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
