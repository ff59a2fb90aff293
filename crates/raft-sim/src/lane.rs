//! What a process wants from its disk, and what the disk is at: one job at a time, in the order in which they were asked
//! for. Writes that wait together are one group; reading the log back goes beside all that.
//!
//! This file must not know when a job begins or ends.

use raft_core::{Write, WriteId};
use raft_node::{NodeInput, NodeOutput};
use raft_store::Space;

/// A job, and the record that asked for it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The job.
    pub job: Job,
    /// The record.
    pub cause: u64,
}

/// Something a process wants from its disk.
#[derive(Clone, Debug)]
pub enum Job {
    /// To hold this.
    Write(Write),
    /// Anything else: what [`carry_out_on_disk`](raft_node::carry_out_on_disk) carries out.
    Ask(NodeOutput),
    /// To try to get space.
    Space,
}

/// What the disk is at.
#[derive(Clone, Debug)]
pub enum Working {
    /// A group of writes.
    Group {
        /// The newest of them.
        newest: WriteId,
        /// The record of their writing.
        wrote: u64,
    },
    /// Anything else.
    Ask {
        /// What was asked for.
        output: Box<NodeOutput>,
        /// What it came to; none: it is done only when its time is over.
        done: Option<Box<Done>>,
        /// The record that asked for it.
        cause: u64,
    },
    /// Trying to get space.
    Space {
        /// What came of it.
        word: Space,
        /// The record that asked for it.
        cause: u64,
    },
    /// Making room ahead: nothing waited.
    Tend {
        /// What is to be told, if there is news.
        word: Option<Space>,
    },
}

/// What a job came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// What the node is to be told, if anything.
    pub input: Option<NodeInput>,
    /// Whether all that it did is durable, by the disk's word.
    pub durable: bool,
}
