//! The decisions of a host about a node, beyond the protocol.

use raft_store::ClusterId;
use std::time::Duration;

/// The options of a node. Only `cluster`, `max_sessions` and `max_answers` must be the same on all nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// The cluster of this node's folder: a watch of another one is refused. Default: zeros.
    pub cluster: ClusterId,
    /// The most open sessions; 0 counts as 1. **It must be the same on all nodes of a cluster, for good**: it decides
    /// which session ends when another opens, so nodes with different values get different states. Default 10 000.
    pub max_sessions: usize,
    /// The most answers that a session keeps, limited to 1..=1 024. A client with more commands open loses the oldest answer: a retry of
    /// that command, and of those before it, is never applied and gets no answer. **The same on all nodes, for good.** Default 1 024.
    pub max_answers: usize,
    /// Take a snapshot after so many applied entries (Raft §7); 0: never for that reason. Default 0.
    pub snapshot_after_entries: u64,
    /// Take a snapshot after applied entries of so many bytes ([`Entry::size`](raft_core::Entry::size)), and of at least as many as
    /// the last snapshot has; 0: never for that reason. Default 64 MiB.
    pub snapshot_after_bytes: u64,
    /// Members write their snapshots in turns of so many applied entries, so each entry meets at most one disk that does; 0: there
    /// are no turns. **The same on all nodes.** Default 256.
    pub snapshot_turn_entries: u64,
    /// After a chunk of its own snapshot, the node pauses so many times as long as the disk took for the chunk; 0: no pause.
    /// Default 4.
    pub snapshot_pauses: u32,
    /// Free space that the store reserves for the node's writes, in bytes: the store's setting of the same name. Entries in
    /// flight to the disk take at most three quarters of it; beyond that the node rejects proposals with `Busy` and ignores a
    /// peer's entries. Set it well above a burst. 0: no known reserve, no limit. Default 0.
    pub reserve_bytes: u64,
    /// The chunk size of snapshots, for saving and for transfers, limited to 1 B..=4 MiB. One chunk is in flight to
    /// each peer, so the highest speed of a transfer is one chunk per round trip. Default 1 MiB.
    pub snapshot_chunk_bytes: u64,
    /// The most snapshot bytes sent per second, to all peers together; 0 means no limit. A chunk has at most a tenth of that. Default
    /// 64 MiB.
    pub snapshot_bytes_per_second: u64,
    /// After this long without an answer to a chunk, the node asks the peer for its progress. Default 1 s.
    pub snapshot_patience: Duration,
    /// The largest snapshot file that the node receives: loading one needs as much memory. Default 2 GiB.
    pub max_snapshot_bytes: u64,
    /// The most requests that a follower has forwarded to the leader and that have no reply; it rejects more with `Busy`. 0: it
    /// forwards none and names the leader instead. A forwarded request has twice the longest election timeout. Default 1 024.
    pub max_forwarded_requests: usize,
    /// The most bytes of commands and queries in them; one request always fits. Default 16 MiB.
    pub max_forwarded_bytes: u64,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            cluster: ClusterId([0; 16]),
            max_sessions: 10_000,
            max_answers: 1_024,
            snapshot_after_entries: 0,
            snapshot_after_bytes: 64 << 20,
            snapshot_turn_entries: 256,
            snapshot_pauses: 4,
            reserve_bytes: 0,
            snapshot_chunk_bytes: 1 << 20,
            snapshot_bytes_per_second: 64 << 20,
            snapshot_patience: Duration::from_secs(1),
            max_snapshot_bytes: 2 << 30,
            max_forwarded_requests: 1_024,
            max_forwarded_bytes: 16 << 20,
        }
    }
}
