//! Everything that a Raft node does except I/O: the protocol core, a state machine, client sessions, waiting requests
//! and reads. It has the same shape as the core: inputs with the time go in, outputs come out.
//!
//! In reading order:
//! - `interface/`: the data that users and hosts exchange with a node: [`StateMachine`] (a user implements it),
//!   [`NodeOptions`], [`NodeInput`], [`NodeOutput`], [`Request`] and [`Reply`], [`ForwardedRequest`], [`DiskJob`].
//! - `node/`: [`Node`] joins the core, the state machine and the parts below. `handle_request` and `execute_action` translate
//!   clients' requests and the core's actions, `apply` applies entries, `ttl_timers` counts the state machine's timers,
//!   `disk_budget` refuses entries for which the disk may have no space.
//! - `clients/`: `envelope` is the content of a command entry, `sessions` apply a command exactly once, `waiters` are requests
//!   that wait for their entry, `reads` wait for a confirmed index, `watches` wait for a response of the state machine,
//!   `watch_index` finds those of a changed key, `backups` are taken chunk by chunk, and `forwarding` sends requests on to the
//!   leader; `forwarding_wire` has the messages.
//! - `snapshots/`: `content` is the format of a snapshot, `policy` decides when to take one, `turns` when to write a chunk, `saving` makes
//!   the chunks, `loading` delays entries while one is read, `outgoing` sends snapshots to peers, `incoming` receives one,
//!   `obsolete_files` finds the files to delete.
//! - Around the node: [`Inbox`] orders inputs, [`DiskQueue`] orders disk tasks, [`DiskExecutor`] runs them on a store,
//!   [`AddressBook`] says where members are reached, [`CallerIds`] which callers are refused,
//!   [`member_steps`] makes the core's steps of a request to change members,
//!   [`restore_backup`] makes a node's folder from a backup.
//!
//! Nothing here uses sockets, files, threads or clocks.
//!
//! A node depends on `raft-proto` for its envelope and its snapshots. Both must mean the same on every node and in
//! every version, so `proto/` defines their formats.

mod addresses;
mod caller;
mod clients;
mod disk_executor;
mod disk_queue;
mod inbox;
mod interface;
mod member_steps;
mod new_cluster;
mod node;
mod replicated_state;
mod snapshots;

pub use addresses::{AddressBook, AddressDifference};
pub use caller::{CallerIds, CallerRefusal};
pub use clients::envelope::Envelope;
pub use disk_executor::DiskExecutor;
pub use disk_queue::{DiskQueue, DiskTask};
pub use inbox::{Inbox, InboxLimits, InboxLoad};
pub use interface::disk_jobs::{DiskJob, SnapshotFile, SnapshotJob, WriteOutcome};
pub use interface::forwards::{ForwardEnd, ForwardId, ForwardedReply, ForwardedRequest, LeaderRequest};
pub use interface::inputs::NodeInput;
pub use interface::load::NodeLoad;
pub use interface::options::NodeOptions;
pub use interface::outputs::{NodeOutput, Report};
pub use interface::requests::{Reply, Request, SessionCommand, SessionId};
pub use interface::state_machine::{
    ChangedKeys, SnapshotError, SnapshotSource, StateMachine, Timer, TimerName, Watched,
};
pub use member_steps::{MemberStep, StepRefusal, member_steps};
pub use new_cluster::{NewClusterError, NewFolder, index_gap, recover_folder, restore_backup};
pub use node::Node;
pub use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};
pub use snapshots::content::{BackupContent, read_backup};
