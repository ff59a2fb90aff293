//! The default state machine: a key-value map in which every change has a revision.
//!
//! `command` has the commands, queries and answers, `codec` encodes them. `map` (feature `map`, on by default) is the
//! state as a `raft_node::StateMachine`; clients do not need it.

mod codec;
pub mod command;
#[cfg(feature = "map")]
mod map;

#[cfg(feature = "map")]
pub use map::{KvMap, MapSnapshot, WindowLimits};
