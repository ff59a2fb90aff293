//! Membership (Raft §6, Thesis §4): voters, changes, and the configuration in force.

pub(crate) mod catch_up;
mod change;
mod configuration;
pub(crate) mod in_force;
mod leader_changes;

pub use change::{InvalidChange, MembershipChange, MembershipStep};
pub use configuration::Configuration;
