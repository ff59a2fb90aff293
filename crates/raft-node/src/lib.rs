//! Everything a Raft node does except I/O: the protocol core, a state machine, client sessions, waiting requests and
//! reads, in the same shape as the core: inputs with the time in, outputs out.
//!
//! In reading order:
//! - [`StateMachine`] (`state_machine`): the trait that a user implements.
//! - `node/`: [`Node`] joins the core, the state machine and the parts below. `outputs` are its inputs and outputs, `timers`
//!   count the state machine's time, `disk_budget` refuses entries for which the disk may have no space.
//! - `clients/`: `envelope` is the content of a command entry, `sessions` apply a command exactly once, `waiters` are requests
//!   that wait for their entry, `reads` wait for a confirmed index, `watches` wait for an answer of the state machine.
//! - `snapshots/`: `content` is the format of a snapshot, `policy` decides when to take one, `saving` writes it chunk by chunk,
//!   `loading` keeps entries back while one is read, `outgoing` sends one to each peer, `incoming` receives one,
//!   `obsolete_files` finds the files to delete.
//! - Around the node: [`Inbox`] orders inputs, [`DiskQueue`] orders disk tasks, [`DiskExecutor`] runs them on a store.
//!
//! Nothing here uses sockets, files, threads or clocks.
//!
//! A node depends on `raft-proto` for its envelope and its snapshots: both must mean the same on every node and in every
//! version, so their formats are written down in `proto/`.

mod clients;
mod disk_executor;
mod disk_queue;
mod inbox;
mod node;
mod snapshots;
mod state_machine;

pub use clients::envelope::{Envelope, SessionCommand};
pub use disk_executor::DiskExecutor;
pub use disk_queue::{DiskQueue, DiskTask};
pub use inbox::{Inbox, InboxLimits};
pub use node::outputs::{
    DiskJob, NodeInput, NodeOutput, Reply, Report, Request, SessionId, SnapshotFile, SnapshotJob, WriteOutcome,
};
pub use node::{Node, NodeOptions};
pub use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};
pub use snapshots::content::SnapshotError;
pub use state_machine::{SnapshotSource, StateMachine, Timer, TimerName, Watched};
