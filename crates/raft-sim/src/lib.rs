//! Many whole Raft nodes in one seeded, virtual world, and checkers of its events.

#![allow(missing_docs)] // only the binary and the tests of this crate use it; names without a comment explain themselves

pub mod branch;
pub mod checkers;
pub mod coverage;
pub mod enumerate;
pub mod faults;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod search;
#[cfg(test)]
mod testing;
pub mod world;
