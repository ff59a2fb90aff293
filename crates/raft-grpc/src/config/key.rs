//! The keys of the configuration: a name, from which variable and flag follow, and the range.

use std::fmt;

/// A key of the configuration, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Which node this is.
    Id,
    /// The cluster's name.
    Cluster,
    /// Where the node listens for its peers.
    ListenPeer,
    /// Where it listens for clients.
    ListenClient,
    /// Where it listens for operators.
    ListenAdmin,
    /// Where clients reach it.
    AdvertiseClient,
    /// Where operators reach it.
    AdvertiseAdmin,
    /// The folder of everything that must survive.
    DataDir,
    /// Bytes of a segment of the log.
    SegmentBytes,
    /// After how many entries a snapshot is taken.
    SnapshotAfterEntries,
    /// After how many bytes of entries a snapshot is taken.
    SnapshotAfterBytes,
    /// How many bytes of snapshots leave in a second.
    SnapshotRate,
    /// How many entries stay behind a snapshot.
    TrailingEntries,
    /// The range of election timeouts.
    ElectionTimeout,
    /// How often a leader is heard from.
    HeartbeatInterval,
    /// The largest request of a client.
    MaxRequestBytes,
    /// The most connections on each port.
    MaxConnections,
    /// The other nodes; a list.
    Peers,
}

impl Key {
    /// All keys.
    pub const ALL: [Self; 18] = [
        Self::Id,
        Self::Cluster,
        Self::ListenPeer,
        Self::ListenClient,
        Self::ListenAdmin,
        Self::AdvertiseClient,
        Self::AdvertiseAdmin,
        Self::DataDir,
        Self::SegmentBytes,
        Self::SnapshotAfterEntries,
        Self::SnapshotAfterBytes,
        Self::SnapshotRate,
        Self::TrailingEntries,
        Self::ElectionTimeout,
        Self::HeartbeatInterval,
        Self::MaxRequestBytes,
        Self::MaxConnections,
        Self::Peers,
    ];

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Cluster => "cluster",
            Self::ListenPeer => "listen_peer",
            Self::ListenClient => "listen_client",
            Self::ListenAdmin => "listen_admin",
            Self::AdvertiseClient => "advertise_client",
            Self::AdvertiseAdmin => "advertise_admin",
            Self::DataDir => "data_dir",
            Self::SegmentBytes => "segment_bytes",
            Self::SnapshotAfterEntries => "snapshot_after_entries",
            Self::SnapshotAfterBytes => "snapshot_after_bytes",
            Self::SnapshotRate => "snapshot_rate",
            Self::TrailingEntries => "trailing_entries",
            Self::ElectionTimeout => "election_timeout",
            Self::HeartbeatInterval => "heartbeat_interval",
            Self::MaxRequestBytes => "max_request_bytes",
            Self::MaxConnections => "max_connections",
            Self::Peers => "peers",
        }
    }

    /// Its environment variable.
    pub fn variable(self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.name().to_uppercase())
    }

    /// Its flag.
    pub fn flag(self) -> String {
        match self {
            // Given once for each peer.
            Self::Peers => "--peer".to_owned(),
            _ => format!("--{}", self.name().replace('_', "-")),
        }
    }

    /// What values it takes, as errors say it.
    pub fn range(self) -> &'static str {
        match self {
            Self::Id => "1 to 2^62",
            Self::Cluster => "1 to 64 letters, digits, `-`, `_`, `.`",
            Self::ListenPeer | Self::ListenClient | Self::ListenAdmin => "HOST:PORT, IPv6 in brackets",
            Self::AdvertiseClient | Self::AdvertiseAdmin => "http://HOST:PORT",
            Self::DataDir => "a path, from where the node is started",
            Self::SegmentBytes => "4KiB to 1TiB",
            Self::SnapshotAfterEntries => "up to 2^62; 0: never for that reason",
            Self::SnapshotAfterBytes => "up to 1TiB; 0: never for that reason",
            Self::SnapshotRate => "bytes a second, up to 1TiB; 0: any",
            Self::TrailingEntries => "0 to 2^62",
            Self::ElectionTimeout => "SHORTEST..LONGEST, 10ms to 10m",
            Self::HeartbeatInterval => "from 1ms, below the shortest election timeout",
            Self::MaxRequestBytes => "1KiB to 64MiB",
            Self::MaxConnections => "16 to 1048576",
            Self::Peers => "each N = \"http://HOST:PORT\"",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
