//! raft-sim
pub mod checkers;
pub mod record;
pub mod scenario;
