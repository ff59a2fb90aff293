//! Many whole Raft nodes in one seeded, virtual world, and checkers of its events.

#![allow(missing_docs)] // only the binary and the tests of this crate use it; names without a comment explain themselves

pub mod checkers;
pub mod enumerate;
pub mod faults;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
#[cfg(test)]
mod testing;
pub mod world;
