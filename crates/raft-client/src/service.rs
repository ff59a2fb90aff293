//! The generated gRPC service `Client`, which `proto/client.proto` documents: the stub, and with feature `server` the
//! trait that a node implements.

#![allow(missing_docs, unreachable_pub, clippy::too_many_lines)]

tonic::include_proto!("raft.v1");
