//! Many whole Raft nodes in one seeded, virtual world, and the checkers of what happens there.

#![allow(missing_docs)] // only the binary and the tests of this crate use it; a name without a comment says what it is

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
