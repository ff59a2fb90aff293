//! The default state machine, a map with revisions, and the judgement over what its clients saw.
//!
//! In reading order: `map` is the state and `window` what of its past is remembered; `command` what can be asked of it, of
//! which `range`, `txn` and `watch` carry out what takes more than a line; `codec` is all that as bytes, `machine` the map
//! as a [`raft_node::StateMachine`], `snapshot` the state as bytes. `history` is what clients asked and were told,
//! `linearizability` whether that is possible.

mod codec;
pub mod command;
pub mod history;
pub mod linearizability;
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
