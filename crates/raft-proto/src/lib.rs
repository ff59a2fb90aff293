//! raft-proto
