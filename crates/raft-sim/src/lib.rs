//! raft-sim
pub mod disk;
