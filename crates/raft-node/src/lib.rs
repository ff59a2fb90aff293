//! Everything a Raft node does except I/O: the protocol core, a state machine, client sessions, waiting requests and
//! reads, in the same shape as the core: inputs with the time in, outputs out.
//!
//! In reading order: `message` is what goes in and comes out, `machine` what a user implements, `node` joins the parts;
//! `envelope` is what a command entry contains, `sessions` makes it apply exactly once, `waiters` and `reads` know who
//! waits for what, `watches` are questions that wait for an answer, `timers` what is to happen by itself; `snapshot` is what
//! a snapshot contains, `policy` says when one is taken, `saving` brings it to its file piece by piece, `loading` knows what
//! waits while one is read, `transfers` and `receiving` are the two ends of its way to a peer, `files` says which are of no use; `disk_budget` refuses what the
//! disk may have no space for. Around the node: `inbox` is the order in which a call is given what has arrived, `disk_queue` the
//! order in which the disk serves a node, `disk_executor` carries out on a store what the queue hands over. Nothing here knows
//! sockets, files, threads or clocks.
//!
//! A node depends on `raft-proto` for its envelope and its snapshots: what is in them must mean the same on every node and
//! in every version, so it belongs to the formats that are written down in `proto/`.

mod disk_budget;
mod disk_executor;
mod disk_queue;
mod envelope;
mod files;
mod inbox;
mod loading;
mod machine;
mod message;
mod node;
mod policy;
mod reads;
mod receiving;
mod saving;
mod sessions;
mod snapshot;
mod timers;
mod transfers;
mod waiters;
mod watches;

pub use disk_executor::DiskExecutor;
pub use disk_queue::{DiskQueue, DiskTask};
pub use envelope::{Envelope, SessionCommand};
pub use inbox::{Inbox, InboxLimits};
pub use machine::{SnapshotSource, StateMachine, Timer, TimerName, Watched};
pub use message::{
    DiskJob, NodeInput, NodeOutput, Reply, Report, Request, SessionId, SnapshotFile, SnapshotJob, WriteOutcome,
};
pub use node::{Node, NodeOptions};
pub use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};
pub use snapshot::SnapshotError;
