//! The queues of a node in numbers.

/// What waits in a node, besides what the core's [`Status`](raft_core::Status) counts. Without requests and transfers all
/// numbers but the sessions return to 0.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Requests whose entries are in the log and not applied.
    pub commands: usize,
    /// Reads without a reply.
    pub reads: usize,
    pub watches: usize,
    pub backups: usize,
    /// Requests that this node has forwarded and that have no reply, and the bytes of commands and queries in them.
    pub forwarded_requests: usize,
    pub forwarded_bytes: u64,
    /// Requests that peers have forwarded, and that have no reply.
    pub executing: usize,
    /// Peers that are being sent a snapshot.
    pub outgoing_snapshots: usize,
    /// Bytes of writes in flight that count against the reserve of the disk.
    pub reserved_bytes: u64,
    pub sessions: usize,
}
