//! The order in which a disk serves a node. It is the same for every host; the host decides when the disk is free.
//!
//! The queue works in rounds. A round takes all waiting tasks: all writes as one group with one sync, then the peers to
//! register, then the jobs, then one snapshot job. New tasks wait for the next round. So the next group grows while the
//! disk works. Saving or sending a snapshot delays a write by at most one chunk (loading or verifying one reads the
//! whole file). No load of writes stops the other tasks. If nothing waits, the host may preallocate.
//!
//! A job can run after a write that was requested later. That is safe for these reasons:
//! - `Compact` must run after the writes that were requested earlier, and every round begins with all of them. A later write may
//!   append, truncate above the commit index, or discard the log for a newer snapshot: none of these needs the
//!   compacted entries. The store compacts only entries that its snapshot covers.
//! - `ReadLog` reads durable entries. If a later write truncates or replaces them, the result is stale, and the core compares
//!   every result with the terms it holds.
//! - A snapshot file counts only once a record names it, and the node asks for that record only after `SnapshotWritten`. `Load`
//!   and `Read` use files that a record names, or that the node keeps while it sends them. `Remove` and `Drop` delete files that
//!   no record names and that no task is writing. Snapshot jobs keep their order: a file that is removed and written
//!   again must exist.
//! - `ReserveSpace` and the peers' disks do not concern the log.
//!
//! The queue needs no limit of its own: the core limits the bytes in flight (`max_unpersisted_bytes`, one read for each purpose),
//! and each peer has at most one task. This file must not know the content of writes, nor what a store is.

// A new kind of input, output or job needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::interface::disk_jobs::{DiskJob, SnapshotJob};
use raft_core::{NodeId, Write};
use raft_store::DiskId;
use std::collections::VecDeque;

/// The tasks that wait for a disk. Each has a tag from the host, which the queue returns with it.
#[derive(Clone, Debug)]
pub struct DiskQueue<T> {
    writes: Vec<Write>,
    /// The tag of the newest write.
    newest: Option<T>,
    peers: Vec<(NodeId, DiskId, T)>,
    jobs: Vec<(DiskJob, T)>,
    snapshots: VecDeque<(SnapshotJob, T)>,
    /// The rest of the current round, in order.
    round: VecDeque<DiskTask<T>>,
}

/// One task of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DiskTask<T> {
    /// Make these writes durable as one group with one sync. There is at least one, and they are in order of id. The
    /// tag is that of the newest write.
    Write { writes: Vec<Write>, tag: T },
    /// Register the disk that a peer uses.
    RegisterPeer { peer: NodeId, disk: DiskId, tag: T },
    /// Run a job.
    Execute { job: DiskJob, tag: T },
}

impl<T> Default for DiskQueue<T> {
    fn default() -> Self {
        Self {
            writes: Vec::new(),
            newest: None,
            peers: Vec::new(),
            jobs: Vec::new(),
            snapshots: VecDeque::new(),
            round: VecDeque::new(),
        }
    }
}

impl<T> DiskQueue<T> {
    /// Adds a write, after all earlier ones.
    pub fn push_write(&mut self, write: Write, tag: T) {
        self.writes.push(write);
        self.newest = Some(tag);
    }

    /// Adds a job.
    pub fn push_job(&mut self, job: DiskJob, tag: T) {
        match job {
            DiskJob::Snapshot(job) => self.snapshots.push_back((job, tag)),
            DiskJob::ReadLog { .. } | DiskJob::Compact { .. } | DiskJob::ReserveSpace => self.jobs.push((job, tag)),
        }
    }

    /// Adds a peer to register. It replaces a waiting task of the same peer.
    pub fn push_peer(&mut self, peer: NodeId, disk: DiskId, tag: T) {
        self.peers.retain(|(waiting, ..)| *waiting != peer);
        self.peers.push((peer, disk, tag));
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.round.is_empty() && self.is_next_round_empty()
    }

    fn is_next_round_empty(&self) -> bool {
        self.writes.is_empty() && self.jobs.is_empty() && self.snapshots.is_empty() && self.peers.is_empty()
    }

    /// The next task, once the disk has finished the previous one; `None` if the queue is empty.
    pub fn take(&mut self) -> Option<DiskTask<T>> {
        if self.round.is_empty() && !self.is_next_round_empty() {
            let writes = std::mem::take(&mut self.writes);
            let group = self.newest.take().map(|tag| DiskTask::Write { writes, tag });
            let peers = self.peers.drain(..).map(|(peer, disk, tag)| DiskTask::RegisterPeer { peer, disk, tag });
            let jobs = self.jobs.drain(..).map(|(job, tag)| DiskTask::Execute { job, tag });
            let snapshot = self.snapshots.pop_front();
            let snapshot = snapshot.map(|(job, tag)| DiskTask::Execute { job: DiskJob::Snapshot(job), tag });
            self.round.extend(group.into_iter().chain(peers).chain(jobs).chain(snapshot));
        }
        self.round.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Configuration, EntryId, LogIndex, ReadId, WriteId};

    const DISK: DiskId = DiskId([7; 16]);

    fn write(id: u64) -> Write {
        Write { id: WriteId(id), ..Write::bootstrap(Configuration::of_voters([NodeId(1)])) }
    }

    fn remove(index: u64) -> DiskJob {
        DiskJob::Snapshot(SnapshotJob::Remove { last: EntryId::new(index, 1) })
    }

    fn read(read: u64) -> DiskJob {
        DiskJob::ReadLog { read: ReadId(read), first: LogIndex(1), last: LogIndex(1), max_bytes: 0 }
    }

    /// The tags of the next tasks, at most `count` of them.
    fn tags(queue: &mut DiskQueue<u64>, count: usize) -> Vec<u64> {
        let tag = |task| match task {
            DiskTask::Write { tag, .. } | DiskTask::RegisterPeer { tag, .. } | DiskTask::Execute { tag, .. } => tag,
        };
        std::iter::from_fn(|| queue.take()).take(count).map(tag).collect()
    }

    #[test]
    fn a_round_is_a_group_then_peers_then_jobs_then_one_snapshot_job() {
        let mut queue = DiskQueue::default();
        queue.push_job(remove(1), 1);
        queue.push_job(remove(2), 2);
        queue.push_job(read(1), 3);
        queue.push_peer(NodeId(2), DiskId([8; 16]), 99);
        queue.push_peer(NodeId(2), DISK, 4);
        queue.push_write(write(1), 5);
        queue.push_write(write(2), 6);
        queue.push_job(DiskJob::Compact { before: LogIndex(1) }, 7);
        assert_eq!(queue.take(), Some(DiskTask::Write { writes: vec![write(1), write(2)], tag: 6 }));
        // New tasks wait for the next round, and run there before the second snapshot job.
        queue.push_write(write(3), 8);
        queue.push_job(read(2), 9);
        assert_eq!(tags(&mut queue, 4), [4, 3, 7, 1]);
        assert_eq!(queue.take(), Some(DiskTask::Write { writes: vec![write(3)], tag: 8 }));
        queue.push_write(write(4), 10);
        assert_eq!(tags(&mut queue, 2), [9, 2]);
        assert_eq!((tags(&mut queue, 9), queue.is_empty(), queue.take()), (vec![10], true, None));
        queue.push_job(read(1), 1);
        queue.push_job(remove(1), 2);
        assert!(queue.take().is_some() && !queue.is_empty(), "the round has not ended");
        assert!(queue.take().is_some() && queue.is_empty());
    }
}
