//! The default state machine, client histories, and the linearizability checker over them.

pub mod history;
pub mod linearizability;
