//! The generated gRPC service `Peer`; `proto/peer.proto` documents it. The service for clients is in raft-client.

#![allow(missing_docs, unreachable_pub, clippy::too_many_lines)]

tonic::include_proto!("raft.v1");
