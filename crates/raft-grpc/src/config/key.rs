//! The keys of the configuration: one table that defines names, variables, flags, ranges and the settings.
//!
//! A row is `Key field: type, shape, values, or DEFAULT`. The first sentence of its doc comment is the help of the flag. `values`
//! is the [`Kind`](super::value::Kind): parser and range. A row with more than a text has `from EXPRESSION` instead of
//! a default; the expression can use the fields above it. To add a key, add a row here, then the key in `sample.toml`
//! and docs/configuration.md; tests compare all three.

use super::Merge;
use super::value::{
    bytes, cluster, disk_reserve, folder, listen, node_id, number, peers, switch, time, time_range, url,
};
use crate::Failure;
use raft_core::{MAX_NUMBER, MAX_PRIORITY, NodeId};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// The shape of a key whose flag needs no value.
const SWITCH: &str = "true|false";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

macro_rules! keys {
    ($merge:ident: $(
        $(#[doc = $doc:literal])+
        $key:ident $field:ident: $type:ty, $shape:expr, $values:expr, $source:ident $value:expr;
    )+) => {
        /// A key of the configuration, in display order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $( $(#[doc = $doc])+ $key, )+ }

        /// The settings of one node: all sources merged and checked.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings { $( $(#[doc = $doc])+ pub $field: $type, )+ }

        impl Key {
            /// All keys.
            pub const ALL: &[Self] = &[$(Self::$key),+];

            /// The name in a file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$key => stringify!($field),)+ }
            }

            /// The placeholder for its value.
            pub fn shape(self) -> &'static str {
                match self { $(Self::$key => $shape,)+ }
            }

            /// The range of its values, as errors and the documentation show it.
            pub fn range(self) -> String {
                match self { $(Self::$key => $values.range,)+ }
            }

            fn doc(self) -> &'static str {
                match self { $(Self::$key => concat!($($doc),+),)+ }
            }
        }

        /// Takes the value of each key from the strongest source that has it.
        pub(super) fn settle($merge: &mut Merge) -> Result<Settings, Failure> {
            $( let $field = keys!(@$source $merge, Key::$key, $values, $value); )+
            Ok(Settings { $($field),+ })
        }
    };
    (@or $merge:ident, $key:expr, $values:expr, $default:expr) => { $merge.take($key, $values, $default)? };
    (@from $merge:ident, $key:expr, $values:expr, $value:expr) => { $value? };
}

keys! { merge:
    /// The id of this node, from 1.
    Id id: NodeId, "N", node_id(), from merge.id();
    /// The cluster's name, the same on all its nodes. With the ids of the founders it makes the cluster id.
    Cluster cluster: String, "NAME", cluster(), or "raft".to_owned();
    /// The address to listen on for peers; default 127.0.0.1:7070.
    ListenPeer listen_peer: SocketAddr, "HOST:PORT", listen(), from merge.listen(Key::ListenPeer, 7070);
    /// The address to listen on for clients; default 127.0.0.1:7071.
    ListenClient listen_client: SocketAddr, "HOST:PORT", listen(), from merge.listen(Key::ListenClient, 7071);
    /// The address to listen on for operators (HTTP); default 127.0.0.1:7072.
    ListenAdmin listen_admin: SocketAddr, "HOST:PORT", listen(), from merge.listen(Key::ListenAdmin, 7072);
    /// The URL at which peers reach this node. Default: its own entry in `peers`, else `listen_peer`.
    AdvertisePeer advertise_peer: String, "URL", url(), or merge.own_peer_url(id);
    /// The URL at which clients reach this node. Default: `listen_client`.
    AdvertiseClient advertise_client: String, "URL", url(), or merge.host(Key::ListenClient).url();
    /// The URL at which operators reach this node. Default: `listen_admin`.
    AdvertiseAdmin advertise_admin: String, "URL", url(), or merge.host(Key::ListenAdmin).url();
    /// The folder of all durable data; default raft-data/nodeN. It is created if it does not exist.
    DataDir data_dir: PathBuf, "DIR", folder(), or format!("raft-data/node{}", id.0).into();
    /// The size of a file of the log, for example 16MiB. Files are preallocated.
    SegmentBytes segment_bytes: u64, "SIZE", bytes(4 * KIB..=TIB), or 16 * MIB;
    /// The entries after which the node takes a snapshot (Raft §7); 0 means no limit.
    SnapshotAfterEntries snapshot_after_entries: u64, "N",
        number(0..=MAX_NUMBER).note("0: never for that reason"), or 0;
    /// The bytes of entries, and no fewer than the last snapshot has, after which the node takes a snapshot; 0 means no limit.
    SnapshotAfterBytes snapshot_after_bytes: u64, "SIZE",
        bytes(0..=TIB).note("0: never for that reason"), or 64 * MIB;
    /// The most bytes of snapshots sent per second, to all peers together, for example 64MiB; 0 means no limit.
    SnapshotRate snapshot_rate: u64, "SIZE", bytes(0..=TIB).note("bytes a second, 0: any"), or 64 * MIB;
    /// A snapshot to a peer counts as lost after this time without an answer, for example 1m.
    SnapshotTimeout snapshot_timeout: Duration, "TIME", time(SECOND..=3600 * SECOND), or 60 * SECOND;
    /// How many entries covered by a snapshot stay in the log, for peers that lag a little.
    TrailingEntries trailing_entries: u64, "N", number(0..=MAX_NUMBER), or 10_000;
    /// The range of random election timeouts, for example 500ms..1s (Raft §5.2).
    ElectionTimeout election_timeout: Range<Duration>, "A..B",
        time_range(10 * MILLI..=600 * SECOND), or 500 * MILLI..SECOND;
    /// The interval of a leader's heartbeats, for example 100ms.
    HeartbeatInterval heartbeat_interval: Duration, "TIME",
        time(MILLI..=600 * SECOND).describe("from 1ms, below the shortest election timeout"), or 100 * MILLI;
    /// The node's priority as leader; the highest of those that can lead wins. Below 100 a node waits longer before it campaigns.
    Priority priority: u32, "N", number(0..=MAX_PRIORITY), or MAX_PRIORITY;
    /// A leader whose write to the disk takes this long gives up leadership, for example 10s.
    MaxWriteStall max_write_stall: Duration, "TIME", time(100 * MILLI..=3600 * SECOND), or 10 * SECOND;
    /// Whether a leader answers lease reads by its lease, without a round of messages. They are linearizable only within
    /// `max_clock_drift_ppm`.
    LeaseReads lease_reads: bool, SWITCH, switch(), or false;
    /// The largest error of any node's clock rate, in parts per million. Leases depend on it.
    MaxClockDriftPpm max_clock_drift_ppm: u32, "PPM", number(0..=999_999), or 10_000;
    /// The largest request of a client, for example 1MiB.
    MaxRequestBytes max_request_bytes: u64, "SIZE", bytes(KIB..=64 * MIB), or MIB;
    /// The most connections on each port. Further ones are closed at once.
    MaxConnections max_connections: usize, "N", number(16..=1 << 20), or 4096;
    /// The most reads that wait for a round of messages; further ones are refused as busy.
    MaxPendingReads max_pending_reads: usize, "N", number(1..=1 << 24), or 65_536;
    /// The most bytes of entries in one append, for example 1MiB. One entry always fits.
    MaxAppendBytes max_append_bytes: u64, "SIZE", bytes(4 * KIB..=16 * MIB), or MIB;
    /// The most bytes of entries sent to a peer and not acknowledged, for example 16MiB. One append always fits.
    MaxInflightBytes max_inflight_bytes: u64, "SIZE", bytes(64 * KIB..=GIB), or 16 * MIB;
    /// The most appends sent to a peer and not acknowledged.
    MaxInflightMessages max_inflight_messages: usize, "N", number(1..=65_536), or 256;
    /// A leader with this many bytes of uncommitted entries refuses commands as busy, for example 64MiB.
    MaxUncommittedBytes max_uncommitted_bytes: u64, "SIZE", bytes(64 * KIB..=TIB), or 64 * MIB;
    /// A node with this many bytes waiting for the disk refuses commands and a leader's entries, for example 64MiB.
    MaxUnpersistedBytes max_unpersisted_bytes: u64, "SIZE", bytes(64 * KIB..=TIB), or 64 * MIB;
    /// The most bytes of entries being applied at a time, for example 16MiB. One entry always fits.
    MaxApplyBytes max_apply_bytes: u64, "SIZE", bytes(64 * KIB..=TIB), or 16 * MIB;
    /// The most bytes of entries cached in memory, beyond those that wait for the disk or to be applied, for example 32MiB.
    MaxCachedBytes max_cached_bytes: u64, "SIZE", bytes(0..=TIB), or 32 * MIB;
    /// The most bytes of log kept after a snapshot while it is sent, for example 256MiB. Beyond that the peer needs a newer snapshot.
    MaxRetainedBytes max_retained_bytes: u64, "SIZE", bytes(0..=TIB), or 256 * MIB;
    /// The disk space that the node reserves for its log beyond the newest file, as 32MiB. Without it the node is read-only.
    DiskReserve disk_reserve: u64, "SIZE", disk_reserve(),
        from merge.disk_reserve(segment_bytes, max_inflight_bytes, max_append_bytes.max(max_request_bytes));
    /// Another node and its peer URL; repeat the flag for each. Without peers the cluster has one node.
    Peers peers: BTreeMap<NodeId, String>, "ID=URL", peers(), from merge.peers(id, listen_peer);
}

impl Key {
    pub fn variable(self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.name().to_uppercase())
    }

    pub fn flag(self) -> String {
        match self {
            // The flag is repeated for each peer.
            Self::Peers => "--peer".to_owned(),
            _ => format!("--{}", self.name().replace('_', "-")),
        }
    }

    /// The help of its flag: the first sentence of its documentation.
    pub fn help(self) -> &'static str {
        let doc = self.doc().trim();
        doc.split_once(". ").map_or(doc, |(first, _)| first).trim_end_matches('.')
    }

    /// Whether its value is `true` or `false`, so that its flag needs no value.
    pub fn is_switch(self) -> bool {
        self.shape() == SWITCH
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
