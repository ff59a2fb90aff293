//! Real nodes: the node of `raft-node` and the store of `raft-store` on files, clocks and sockets, and a client for them.
//!
//! Thin on purpose: it translates and decides nothing, because what is only here is never simulated. One thread owns
//! the node, one the store; tokio owns the sockets and talks to the node through bounded queues.

mod admin;
pub mod bench;
mod client_service;
mod clock;
pub mod config;
mod directory;
mod disk_thread;
mod failure;
pub mod host;
mod identity;
mod inbox;
mod node_thread;
mod peers;
mod ports;
mod random;
pub mod services;

pub use failure::{Exit, Failure};
