//! Many whole Raft nodes in one seeded, virtual world, and checkers of its events.

#![allow(missing_docs)] // only the binary and the tests of this crate use it; names without a comment explain themselves

pub mod branch;
pub mod checkers;
pub mod coverage;
#[cfg(test)]
mod docs;
pub mod enumerate;
pub mod explore;
pub mod faults;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod search;
pub mod shrink;
#[cfg(test)]
mod testing;
pub mod world;

/// The name of this build: a hash of the sources that a run executes. Two programs with the same name make the same runs.
pub const BUILD: &str = env!("RAFT_SIM_BUILD");
