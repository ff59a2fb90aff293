//! Many whole Raft nodes in one seeded, virtual world, and the checkers of what happens there.

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
