//! raft-sim

pub mod clock;
pub mod explain;
pub mod faults;
pub mod hash;
pub mod network;
pub mod queue;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod swarm_profiles;
pub mod trace;
