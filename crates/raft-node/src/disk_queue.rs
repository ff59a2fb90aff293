//! The order in which a disk serves a node: the same for every host, which only says when the disk is free.
//!
//! The queue works in rounds. A round takes everything that waits: all writes as one group, which one sync makes durable;
//! then the peers to remember; then the jobs; then one job about snapshots. What arrives meanwhile waits for the next round,
//! so the next group grows while the disk works, a snapshot that is written or sent never holds up a write for longer than one
//! chunk takes (to load or to check one reads the whole file), and no load of writes holds up the rest. If nothing waits, the host
//! may preallocate.
//!
//! So a job can come after a write that was asked for later. Why that is safe:
//! - `Compact` must come after the writes that were asked for earlier. It does: each round begins with all of them. A later
//!   write may append, truncate above the commit index, or discard the log for a newer snapshot: all behind what is compacted, or in
//!   place of it. The store compacts nothing that its snapshot does not cover.
//! - `ReadLog` asks for durable entries. A later write that truncates or replaces them makes the answer wrong, and the core
//!   compares every answer with the terms it holds.
//! - A snapshot's file counts only once a record names it, and the node asks for that record only when it is given
//!   `SnapshotWritten`. `Load` and `Read` ask for files that are named, or kept while they are sent. `Remove` and `Drop`
//!   ask for files that no record names and that nobody is writing. Among themselves these jobs stay in order: a file that is removed and written again must be there.
//! - `MakeRoom` and the peers' disks have nothing to do with the log.
//!
//! How many bytes can wait is the core's business (`max_unpersisted_bytes`, one question at a time for each purpose), and a peer
//! waits once, so the queue needs no limit of its own. This file must not know what the writes say, nor what a store is.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::node::outputs::{DiskJob, SnapshotJob};
use raft_core::{NodeId, Write};
use raft_store::DiskId;
use std::collections::VecDeque;

/// What waits for a disk. Each item has a `T` of the host's, which comes back with it.
#[derive(Clone, Debug)]
pub struct DiskQueue<T> {
    writes: Vec<Write>,
    /// That of the newest of the writes.
    newest: Option<T>,
    peers: Vec<(NodeId, DiskId, T)>,
    jobs: Vec<(DiskJob, T)>,
    snapshots: VecDeque<(SnapshotJob, T)>,
    /// What is left of the round, in order.
    round: VecDeque<DiskTask<T>>,
}

/// One thing for the disk to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskTask<T> {
    /// Make these writes durable as one group, with one sync.
    Write {
        /// At least one, in order of id.
        writes: Vec<Write>,
        /// The host's, of the newest of them.
        tag: T,
    },
    /// Remember which disk a peer is on.
    RegisterPeer {
        /// The peer.
        peer: NodeId,
        /// The disk that it says it is on.
        disk: DiskId,
        /// The host's.
        tag: T,
    },
    /// Carry out a job.
    Execute {
        /// The job.
        job: DiskJob,
        /// The host's.
        tag: T,
    },
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
    /// One more write, after all before it.
    pub fn push_write(&mut self, write: Write, tag: T) {
        self.writes.push(write);
        self.newest = Some(tag);
    }

    /// One more job.
    pub fn push_job(&mut self, job: DiskJob, tag: T) {
        match job {
            DiskJob::Snapshot(job) => self.snapshots.push_back((job, tag)),
            DiskJob::ReadLog { .. } | DiskJob::Compact { .. } | DiskJob::MakeRoom => self.jobs.push((job, tag)),
        }
    }

    /// One more peer that says which disk it is on. What it said before and is not begun with is dropped.
    pub fn push_peer(&mut self, peer: NodeId, disk: DiskId, tag: T) {
        self.peers.retain(|(waits, ..)| *waits != peer);
        self.peers.push((peer, disk, tag));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.round.is_empty() && self.is_round_empty()
    }

    fn is_round_empty(&self) -> bool {
        self.writes.is_empty() && self.jobs.is_empty() && self.snapshots.is_empty() && self.peers.is_empty()
    }

    /// What the disk does next, to be called when it has done all before; none: nothing waits.
    pub fn take(&mut self) -> Option<DiskTask<T>> {
        if self.round.is_empty() && !self.is_round_empty() {
            let writes = std::mem::take(&mut self.writes);
            let group = self.newest.take().map(|tag| DiskTask::Write { writes, tag });
            let peers = self.peers.drain(..).map(|(peer, disk, tag)| DiskTask::RegisterPeer { peer, disk, tag });
            let jobs = self.jobs.drain(..).map(|(job, tag)| DiskTask::Execute { job, tag });
            let chunk = self.snapshots.pop_front();
            let chunk = chunk.map(|(job, tag)| DiskTask::Execute { job: DiskJob::Snapshot(job), tag });
            self.round.extend(group.into_iter().chain(peers).chain(jobs).chain(chunk));
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

    /// The tags of what is done next, up to the end of the round or of what waits.
    fn tags(queue: &mut DiskQueue<u64>, count: usize) -> Vec<u64> {
        let tag = |task| match task {
            DiskTask::Write { tag, .. } | DiskTask::RegisterPeer { tag, .. } | DiskTask::Execute { tag, .. } => tag,
        };
        std::iter::from_fn(|| queue.take()).take(count).map(tag).collect()
    }

    #[test]
    fn a_round_is_a_group_then_peers_then_jobs_then_one_job_about_snapshots() {
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
        // What comes while the disk works waits for the next round, and goes there before the second job about snapshots.
        queue.push_write(write(3), 8);
        queue.push_job(read(2), 9);
        assert_eq!(tags(&mut queue, 4), [4, 3, 7, 1]);
        assert_eq!(queue.take(), Some(DiskTask::Write { writes: vec![write(3)], tag: 8 }));
        queue.push_write(write(4), 10);
        assert_eq!(tags(&mut queue, 9), [9, 2, 10]);
        assert!(queue.is_empty() && queue.take().is_none());
    }

    #[test]
    fn it_is_empty_only_when_the_round_is_over_too() {
        let mut queue = DiskQueue::default();
        assert!(queue.is_empty());
        queue.push_job(read(1), 1);
        queue.push_job(remove(1), 2);
        assert!(queue.take().is_some() && !queue.is_empty());
        assert!(queue.take().is_some() && queue.is_empty());
    }
}
