//! What a node is told when it starts, once all sources are merged and checked.

use raft_core::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who this node is; from 1.
    pub id: NodeId,
    /// The cluster's name. With the ids of the founders it makes the cluster id, so two clusters of the same ids on the
    /// same machines need two names. Default `raft`.
    pub cluster: String,
    /// The other founders of the cluster, and where they listen for peers: `http://HOST:PORT`. Empty: a cluster of one.
    pub peers: BTreeMap<NodeId, String>,
    /// Where this node listens for peers. Default 127.0.0.1:7070.
    pub listen_peer: SocketAddr,
    /// Where this node listens for clients. Default 127.0.0.1:7071.
    pub listen_client: SocketAddr,
    /// Where this node listens for operators (HTTP). Default 127.0.0.1:7072.
    pub listen_admin: SocketAddr,
    /// Where clients reach this node, as it tells the others: `http://HOST:PORT`. Default: `listen_client`.
    pub advertise_client: String,
    /// Where operators reach this node, as it tells the others. Default: `listen_admin`.
    pub advertise_admin: String,
    /// The folder of everything that must survive; made if it is not there. Default `raft-data/nodeID`.
    pub data_dir: PathBuf,
    /// Bytes of a segment of the log, preallocated; 4 096 to 2^40. Default 16 MiB.
    pub segment_bytes: u64,
    /// A snapshot is taken when so many entries were applied since the last one (Raft §7); 0: never for that reason. Default
    /// 10 000.
    pub snapshot_after_entries: u64,
    /// A snapshot is taken when entries of so many bytes were applied since the last one; 0: never for that reason. Default
    /// 64 MiB.
    pub snapshot_after_bytes: u64,
    /// The most bytes of snapshots that leave in a second, to all peers together; 0: any. Default 64 MiB.
    pub snapshot_rate: u64,
    /// How many entries that a snapshot covers stay in the log, for peers that are a little behind. Default 10 000.
    pub trailing_entries: u64,
    /// Election timeouts are drawn from this range (Raft §5.2). Default 500 ms to 1 s.
    pub election_timeout: Range<Duration>,
    /// How often a leader is heard from. Above 0, below the shortest election timeout. Default 100 ms.
    pub heartbeat_interval: Duration,
    /// The largest request of a client, in bytes. 1 KiB to 64 MiB. Default 1 MiB.
    pub max_request_bytes: u64,
    /// The most connections on each port; the next ones are closed at once. From 16. Default 4 096.
    pub max_connections: usize,
}
