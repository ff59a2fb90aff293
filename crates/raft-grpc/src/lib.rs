//! Real nodes: the node of `raft-node` and the store of `raft-store` on files, clocks and sockets, and the load of `bench`.
//!
//! This crate translates and decides nothing, because the simulator never runs it. One thread owns the node, one the store; tokio
//! owns the sockets and reaches the node through bounded queues.

// This is a program: no other crate calls its library, and a text that repeats a name helps no reader.
#![allow(missing_docs)]

mod admin;
pub mod bench;
mod client_service;
mod clock;
pub mod config;
mod directory;
mod disk_thread;
mod failure;
mod founding;
pub mod host;
mod identity;
mod inbox;
pub mod join;
mod machine;
mod node_thread;
mod peers;
mod ports;
mod random;
pub mod rebuild;
pub mod services;

pub use failure::{Exit, Failure};
