//! The default state machine, a map with revisions, and the judgement over what its clients saw.
//!
//! In reading order: `map` is the state, `command` what changes it and its role as a [`raft_node::StateMachine`],
//! `snapshot` the state as bytes; `history` is what clients asked and were told, `linearizability` whether that is
//! possible.

pub mod command;
pub mod history;
pub mod linearizability;
mod map;
mod snapshot;

pub use map::{KvMap, Value};
