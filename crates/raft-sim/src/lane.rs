//! What a process wants from its disk, and what the disk is at: one job at a time, in the order in which they were asked
//! for. Writes that wait together are one group; reading the log back goes beside all that.
//!
//! This file must not know when a job begins or ends.

use crate::network::Copy;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex, NodeId, SnapshotMeta, Term, Write, WriteId};
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
    /// To keep a snapshot of its own.
    Save {
        /// The snapshot.
        meta: SnapshotMeta,
        /// Its content.
        data: Bytes,
    },
    /// To keep a snapshot that has arrived.
    Keep(Arrived),
    /// To read a snapshot, for the state machine.
    Load {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// To read a snapshot, for a peer.
    Send(Sending),
    /// To let go of the log before this index.
    Compact {
        /// The first index that stays.
        before: LogIndex,
    },
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
        /// The newest snapshot that they name, if they name one.
        snapshot: Option<EntryId>,
        /// The record of their writing.
        wrote: u64,
    },
    /// The process's own snapshot.
    Save {
        /// The snapshot.
        meta: SnapshotMeta,
        /// Whether the file is durable.
        durable: bool,
        /// The record that asked for it.
        cause: u64,
    },
    /// A peer's snapshot.
    Keep {
        /// What has arrived.
        arrived: Arrived,
        /// Whether the file is durable.
        durable: bool,
        /// The record of its departure.
        cause: u64,
    },
    /// Reading for the state machine.
    Load {
        /// The snapshot.
        meta: SnapshotMeta,
        /// The content, if it is read already.
        data: Option<Bytes>,
        /// The record that asked for it.
        cause: u64,
    },
    /// Reading for a peer.
    Send {
        /// What is to leave.
        sending: Sending,
        /// The content; none if it is gone.
        data: Option<Bytes>,
        /// The record that asked for it.
        cause: u64,
    },
    /// Letting go of a part of the log.
    Compact,
    /// A snapshot is not kept: there is no space for its file.
    NotSaved {
        /// The snapshot.
        meta: SnapshotMeta,
        /// What has arrived, if it is a peer's.
        arrived: Option<Arrived>,
        /// The record that asked for it, or of its departure.
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

/// A snapshot that is to be sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// To whom.
    pub to: NodeId,
    /// In which term.
    pub term: Term,
    /// The snapshot.
    pub meta: SnapshotMeta,
}

/// A snapshot that came over a link.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The copy of it that arrives.
    pub copy: Copy,
    /// In which term it was sent.
    pub term: Term,
    /// The snapshot.
    pub meta: SnapshotMeta,
    /// Its content.
    pub data: Bytes,
    /// Which processes it goes from and to: it does not outlive the connection between them.
    pub incarnations: (u64, u64),
}
