//! raft-node
mod machine;
mod message;
pub use machine::StateMachine;
pub use message::{NodeInput, NodeOutput, Reply, Request, SessionId};
