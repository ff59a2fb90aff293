//! raft-sim

pub mod clock;
pub mod faults;
pub mod hash;
pub mod network;
pub mod queue;
pub mod record;
pub mod rng;
pub mod scenario;
