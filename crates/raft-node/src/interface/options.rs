//! What a host decides about a node, beyond the protocol.

use std::time::Duration;

/// The options of a node. Only `max_sessions` must be the same on all nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// The most open sessions; 0 counts as 1. **The same on all nodes of a cluster, for good**: it decides which session ends
    /// when another opens, so nodes that differ in it get different states. Default 10 000.
    pub max_sessions: usize,
    /// Take a snapshot after so many applied entries (Raft §7); 0: never for that reason. Default 10 000.
    pub snapshot_after_entries: u64,
    /// Take a snapshot after applied entries of so many bytes ([`Entry::size`](raft_core::Entry::size)); 0: never for that
    /// reason. Default 64 MiB.
    pub snapshot_after_bytes: u64,
    /// Free space that the store reserves for the node's writes, in bytes: the store's setting of the same name. Entries in
    /// flight to the disk take at most three quarters of it; beyond that the node rejects proposals with `Busy` and ignores a
    /// peer's entries. Set it well above a burst. 0: no known reserve, no limit. Default 0.
    pub reserve_bytes: u64,
    /// The chunk size of snapshots, for saving and for transfers, limited to 1 B..=4 MiB. One chunk is in flight to each peer:
    /// a chunk per round trip is the highest speed of a transfer. Default 1 MiB.
    pub snapshot_chunk_bytes: u64,
    /// The most snapshot bytes sent per second, to all peers together; 0: no limit. Default 64 MiB.
    pub snapshot_bytes_per_second: u64,
    /// After so long without an answer to a chunk, the node asks the peer for its progress. Default 1 s.
    pub snapshot_patience: Duration,
    /// The largest snapshot file to receive: loading one needs as much memory. Default 2 GiB.
    pub max_snapshot_bytes: u64,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            max_sessions: 10_000,
            snapshot_after_entries: 10_000,
            snapshot_after_bytes: 64 << 20,
            reserve_bytes: 0,
            snapshot_chunk_bytes: 1 << 20,
            snapshot_bytes_per_second: 64 << 20,
            snapshot_patience: Duration::from_secs(1),
            max_snapshot_bytes: 2 << 30,
        }
    }
}
