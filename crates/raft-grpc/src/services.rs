//! The gRPC services of `proto/raft.proto`, generated: clients, and the traits that servers implement. Their docs are the
//! comments there.

#![allow(missing_docs, unreachable_pub, clippy::too_many_lines)]

tonic::include_proto!("raft.v1");
