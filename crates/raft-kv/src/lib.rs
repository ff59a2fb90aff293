//! The default state machine: a key-value map in which every change has a revision.
//!
//! `command` has the commands, queries and answers, `codec` encodes them. `map` (feature `map`, on by default) is the state and
//! makes it a `raft_node::StateMachine`; clients do without it.

mod codec;
pub mod command;
#[cfg(feature = "map")]
mod map;

#[cfg(feature = "map")]
pub use map::{KvMap, MapSnapshot, WindowLimits};
