//! The flags of a node's settings, a key each. They stay texts here: the configuration says what they may be.

use raft_grpc::Failure;
use raft_grpc::config::{self, DEFAULT_FILE, Key, Layer, Loaded};
use std::path::{Path, PathBuf};

/// All that a node can be told.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The TOML file with the settings; ./config.toml if not given and there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which node this is, from 1
    #[arg(long, value_name = "N")]
    id: Option<String>,
    /// Where to listen for peers; 127.0.0.1:7070 if nothing says otherwise
    #[arg(long, value_name = "HOST:PORT")]
    listen_peer: Option<String>,
    /// Where to listen for clients; 127.0.0.1:7071 if nothing says otherwise
    #[arg(long, value_name = "HOST:PORT")]
    listen_client: Option<String>,
    /// Where to listen for operators (HTTP); 127.0.0.1:7072 if nothing says otherwise
    #[arg(long, value_name = "HOST:PORT")]
    listen_admin: Option<String>,
    /// Another node, and where it listens for peers; once for each
    #[arg(long, value_name = "ID=URL")]
    peer: Vec<String>,
    #[command(flatten)]
    common: CommonFlags,
}

/// What a node can be told apart from who and where it is.
#[derive(clap::Args)]
pub(crate) struct CommonFlags {
    /// The cluster's name, the same on all its nodes
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Where clients reach this node, as it tells the others
    #[arg(long, value_name = "URL")]
    advertise_client: Option<String>,
    /// Where operators reach this node, as it tells the others
    #[arg(long, value_name = "URL")]
    advertise_admin: Option<String>,
    /// The folder of everything that must survive; raft-data/nodeN if nothing says otherwise
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Size of a file of the log, as 16MiB
    #[arg(long, value_name = "SIZE")]
    segment_bytes: Option<String>,
    /// After how many entries a snapshot is taken; 0: never for that reason
    #[arg(long, value_name = "N")]
    snapshot_after_entries: Option<String>,
    /// After how many bytes of entries a snapshot is taken, as 64MiB; 0: never for that reason
    #[arg(long, value_name = "SIZE")]
    snapshot_after_bytes: Option<String>,
    /// The most bytes of snapshots sent in a second, as 64MiB; 0: any
    #[arg(long, value_name = "BYTES")]
    snapshot_rate: Option<String>,
    /// How many entries that a snapshot covers stay in the log
    #[arg(long, value_name = "N")]
    trailing_entries: Option<String>,
    /// From which range election timeouts are drawn, as 500ms..1s
    #[arg(long, value_name = "A..B")]
    election_timeout: Option<String>,
    /// How often a leader is heard from, as 100ms
    #[arg(long, value_name = "TIME")]
    heartbeat_interval: Option<String>,
    /// The largest request of a client, as 1MiB
    #[arg(long, value_name = "SIZE")]
    max_request_bytes: Option<String>,
    /// The most connections on each port
    #[arg(long, value_name = "N")]
    max_connections: Option<String>,
}

impl Flags {
    /// The settings from all sources.
    pub(crate) fn load(self) -> Result<Loaded, Failure> {
        let file = match self.config {
            Some(file) => Some(file),
            None => default_file()?,
        };
        let mut layer = self.common.layer();
        let own = [
            (Key::Id, self.id),
            (Key::ListenPeer, self.listen_peer),
            (Key::ListenClient, self.listen_client),
            (Key::ListenAdmin, self.listen_admin),
        ];
        give(&mut layer, own);
        give(&mut layer, self.peer.into_iter().map(|peer| (Key::Peers, Some(peer))));
        config::load(file.as_deref(), std::env::vars_os(), layer)
    }
}

impl CommonFlags {
    /// What these flags say.
    pub(crate) fn layer(self) -> Layer {
        let mut layer = Layer::default();
        let flags = [
            (Key::Cluster, self.cluster),
            (Key::AdvertiseClient, self.advertise_client),
            (Key::AdvertiseAdmin, self.advertise_admin),
            (Key::DataDir, self.data_dir),
            (Key::SegmentBytes, self.segment_bytes),
            (Key::SnapshotAfterEntries, self.snapshot_after_entries),
            (Key::SnapshotAfterBytes, self.snapshot_after_bytes),
            (Key::SnapshotRate, self.snapshot_rate),
            (Key::TrailingEntries, self.trailing_entries),
            (Key::ElectionTimeout, self.election_timeout),
            (Key::HeartbeatInterval, self.heartbeat_interval),
            (Key::MaxRequestBytes, self.max_request_bytes),
            (Key::MaxConnections, self.max_connections),
        ];
        give(&mut layer, flags);
        layer
    }
}

fn give(layer: &mut Layer, flags: impl IntoIterator<Item = (Key, Option<String>)>) {
    for (key, text) in flags {
        if let Some(text) = text {
            layer.flag(key, text);
        }
    }
}

fn default_file() -> Result<Option<PathBuf>, Failure> {
    let file = Path::new(DEFAULT_FILE);
    let there = file.try_exists();
    let there = there.map_err(|error| Failure::usage(format!("{DEFAULT_FILE}: cannot be looked at: {error}")))?;
    Ok(there.then(|| file.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn every_key_has_its_flag() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "").expect("written");
        let mut line = vec!["x".to_owned(), format!("--config={}", file.display())];
        for key in Key::ALL {
            let value = match key {
                Key::Id => "7",
                Key::Cluster => "a",
                Key::ListenPeer => "127.0.0.1:1",
                Key::ListenClient => "127.0.0.1:2",
                Key::ListenAdmin => "127.0.0.1:3",
                Key::AdvertiseClient | Key::AdvertiseAdmin => "http://a:1",
                Key::DataDir => "d",
                Key::SegmentBytes | Key::MaxRequestBytes | Key::SnapshotAfterBytes | Key::SnapshotRate => "1MiB",
                Key::SnapshotAfterEntries | Key::TrailingEntries => "5",
                Key::ElectionTimeout => "1s..2s",
                Key::HeartbeatInterval => "10ms",
                Key::MaxConnections => "64",
                Key::Peers => "1=http://b:1",
            };
            line.push(format!("{}={value}", key.flag()));
        }
        let loaded = Line::try_parse_from(line).expect("every flag exists").flags.load().expect("valid");
        for row in loaded.rows {
            assert_eq!(row.source, config::Source::Flag(row.key.flag()), "{}", row.key);
        }
    }
}
