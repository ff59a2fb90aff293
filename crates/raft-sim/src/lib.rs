//! Many whole Raft nodes in one seeded, virtual world, and the judges of what happens there.

pub mod checkers;
pub mod client;
pub mod clock;
pub mod disk;
pub mod enumerate;
pub mod explain;
pub mod faults;
pub mod hash;
pub mod host;
pub mod lane;
pub mod network;
mod operator;
pub mod queue;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
mod steps;
mod swarm;
pub mod swarm_profiles;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod world;
