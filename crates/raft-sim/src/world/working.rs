//! What a simulated disk is working at: one task at a time. Which is next stands in [`raft_node::DiskQueue`].
//!
//! This file must not know when a task begins or ends.

use raft_core::{NodeId, WriteId};
use raft_node::{DiskJob, NodeInput};
use raft_store::{DiskId, PeerCheck};

/// What the disk is at. Each but the last has the record that asked for it.
#[derive(Clone, Debug)]
pub enum Working {
    /// A group of writes.
    Group {
        /// The newest of them.
        newest: WriteId,
        /// The record of their writing.
        wrote: u64,
    },
    /// Remembering a peer's disk.
    Peer {
        /// The peer.
        peer: NodeId,
        /// Its disk.
        disk: DiskId,
        /// What came of it; none: there is no space for it.
        found: Option<PeerCheck>,
        /// The record that asked for it.
        cause: u64,
    },
    /// A job.
    Job {
        /// The job.
        job: Box<DiskJob>,
        /// What it came to; none: it is done only when its time is over.
        done: Option<Box<Done>>,
        /// The record that asked for it.
        cause: u64,
    },
    /// Making room ahead: nothing waited.
    Preallocation {
        /// What the node is to be given.
        input: Option<NodeInput>,
    },
}

/// What a job came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// What the node is to be given, if anything.
    pub input: Option<NodeInput>,
    /// Whether all that it did is durable, by the disk's word.
    pub durable: bool,
}
