//! Real nodes: the node of `raft-node` and the store of `raft-store` on files, clocks and sockets, and a client for them.
//!
//! Thin on purpose: it translates and decides nothing, because what is only here is never simulated. One thread owns
//! the node, one the store; tokio owns the sockets and talks to the node through bounded queues.

pub mod bench;
pub mod client;
mod failure;
pub mod settings;

pub use failure::{Exit, Failure};

/// The services of `proto/raft.proto`, generated. Their docs are the comments there.
#[allow(missing_docs, unreachable_pub)]
pub mod services {
    tonic::include_proto!("raft.v1");
}
