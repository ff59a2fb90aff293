//! The requests of a node to its disk, apart from writes. [`DiskExecutor`](crate::DiskExecutor) runs these jobs on a
//! store.

use super::state_machine::SnapshotError;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex, NodeId, ReadId, SnapshotMeta};

/// A job for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DiskJob {
    /// Read durable entries, then report `LogRead`. Read at least one, and beyond that one no more than `max_bytes`
    /// ([`Entry::size`](raft_core::Entry::size)).
    ReadLog { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// The store has too little free space: try again to reserve some, then report `Space`. The node repeats this every
    /// second while space is low.
    ReserveSpace,
    /// A durable snapshot covers all entries before this index. The store may delete them later, in part or never, but not
    /// before the writes that were requested earlier.
    Compact { before: LogIndex },
    /// A job on a snapshot file.
    Snapshot(SnapshotJob),
}

/// A job on a snapshot file. These jobs run in order: a name can belong to a new file after a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SnapshotJob {
    /// Write a chunk of at most 4 MiB, then report `SnapshotWritten`. The first chunk is at offset 0 and replaces an unfinished
    /// file of the same kind. The last chunk, which alone may be empty, completes the file: the store verifies it if it came from
    /// a peer, makes it durable and gives it its name. At most one chunk of each kind is in flight.
    Write { file: SnapshotFile, meta: SnapshotMeta, offset: u64, bytes: Bytes, is_last: bool },
    /// Read a chunk of a complete file, headers included, then report `SnapshotRead`. With `max_bytes` 0 the node wants only the
    /// size and the checksum.
    Read { to: NodeId, last: EntryId, offset: u64, max_bytes: u64 },
    /// Read the content of this snapshot, whose record is durable, then report `SnapshotLoaded`. The node applies nothing until
    /// then. Another `Load` replaces one without a result: the earlier file may be gone, and its result is not needed.
    Load { meta: SnapshotMeta },
    /// Verify this file if it exists: a peer found its copy damaged. **If this file is damaged, end the process.**
    Verify { last: EntryId },
    /// Delete the unfinished file of a peer's snapshot, if it belongs to this one.
    Drop { last: EntryId },
    /// Delete a complete file that no record names, if it exists. The store may do it later, or at the next start.
    Remove { last: EntryId },
}

/// An unfinished snapshot file. A disk holds at most one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotFile {
    /// A snapshot of this node's state. Its chunks are the content; the store adds its own framing.
    Own,
    /// A peer's snapshot. Its chunks are those of the peer's file, framing included.
    Received,
}

/// The result of writing a chunk. After any failure nothing of the file remains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// The chunk is written. After the last one the file is complete and durable.
    Done,
    /// The disk has no space.
    NoSpace,
    /// The complete file of a peer differs from its checksum.
    Damaged,
    /// The complete file of a peer is intact, but this version cannot read the snapshot in it.
    Unusable(SnapshotError),
}
