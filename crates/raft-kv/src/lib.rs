//! The default state machine: a key-value map in which every change has a revision.
//!
//! In reading order: `map` is the state and `window` the latest changes it remembers; `command` has the commands, queries and
//! answers, of which `range`, `txn` and `watch` execute the longer ones; `codec` encodes them, `machine` makes the map a
//! [`raft_node::StateMachine`], `snapshot` encodes the state.

mod codec;
pub mod command;
mod machine;
mod map;
mod range;
mod snapshot;
mod txn;
mod watch;
mod window;

pub use map::{KvMap, Value};
pub use snapshot::MapSnapshot;
pub use window::WindowLimits;
