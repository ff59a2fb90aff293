//! Everything a Raft node does except I/O: the protocol core, a state machine, client sessions, waiting requests and
//! reads, in the same shape as the core: inputs with the time in, outputs out.
//!
//! In reading order: `message` is what goes in and comes out, `machine` what a user implements, `node` joins the parts;
//! `envelope` is what a command entry contains, `sessions` makes it apply exactly once, `waiters` and `reads` know who
//! waits for what, `watches` are questions that wait for an answer, `timers` what is to happen by itself; `snapshot` is what
//! a snapshot contains, `policy` says when one is taken, `loading` what waits while one is read, `room` refuses what the
//! disk may have no space for. Nothing here knows sockets, files or clocks.
//!
//! A node depends on `raft-proto` for its envelope and its snapshots: what is in them must mean the same on every node and
//! in every version, so it belongs to the formats that are written down in `proto/`.

mod envelope;
mod loading;
mod machine;
mod message;
mod node;
mod policy;
mod reads;
mod room;
mod sessions;
mod snapshot;
mod timers;
mod waiters;
mod watches;

pub use envelope::{Envelope, SessionCommand};
pub use machine::{SnapshotSource, StateMachine, Timer, TimerName, Watched};
pub use message::{NodeInput, NodeOutput, Reply, Request, SessionId};
pub use node::{Node, NodeOptions};
pub use snapshot::{SnapshotError, check_snapshot};
