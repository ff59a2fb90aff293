//! Where a node's settings come from: defaults, a TOML file, variables, flags; the later wins, key by key.
//!
//! Merges and checks, and must not know how a node runs. Every refusal is a line that names the key, the value, its
//! source and the range.

mod address;
mod environment;
mod file;
mod key;
mod layer;
mod peers;
mod suggest;
mod value;

pub use environment::{LOG_VARIABLE, VARIABLE_PREFIX};
pub use key::Key;
pub use layer::{Layer, Source};

use crate::Failure;
use crate::settings::Settings;
use layer::{Given, refuse};
use raft_core::NodeId;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "config.toml";

/// A commented configuration of node 1 with all defaults.
pub const SAMPLE: &str = include_str!("config/sample.toml");

/// What the sources amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The settings, merged and checked.
    pub settings: Settings,
    /// Every key with its value and where it came from, in the order of [`Key::ALL`].
    pub rows: Vec<Row>,
    /// What works but is probably not meant; a line each.
    pub warnings: Vec<String>,
}

/// A key, its value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The value as it is in force, in the notation of the file.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Merges and checks all sources: `file`, if any, below the `RAFT_*` among `variables`, below `flags`.
///
/// # Errors
/// The first thing that is wrong, as a line, with [`Exit::Usage`](crate::Exit::Usage): a file that cannot be read or is
/// no TOML, an unknown key or variable, a value out of range, values that contradict each other.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    flags: Layer,
) -> Result<Loaded, Failure> {
    let mut layers = vec![flags, environment::read(variables)?];
    if let Some(path) = file {
        layers.push(file::read(path)?);
    }
    Merge { layers, rows: Vec::new() }.settle()
}

/// The layers, strongest first, and the rows of what was taken from them.
struct Merge {
    layers: Vec<Layer>,
    rows: Vec<Row>,
}

impl Merge {
    fn settle(mut self) -> Result<Loaded, Failure> {
        let id = self.id()?;
        let cluster = self.take(Key::Cluster, "raft".to_owned(), value::cluster, String::clone)?;
        let (listen_peer, peer_host) = self.listen(Key::ListenPeer, 7070)?;
        let (listen_client, client_host) = self.listen(Key::ListenClient, 7071)?;
        let (listen_admin, admin_host) = self.listen(Key::ListenAdmin, 7072)?;
        let peers = peers::check(self.given(Key::Peers), id, &peer_host, listen_peer)?;
        let peer_list = peers.iter().map(|(id, url)| format!("{}={url}", id.0)).collect::<Vec<_>>().join(",");
        self.row(Key::Peers, peer_list);
        let url = String::clone;
        let advertise_client = self.take(Key::AdvertiseClient, client_host.url(), address::url, url)?;
        let advertise_admin = self.take(Key::AdvertiseAdmin, admin_host.url(), address::url, url)?;
        let data_dir = PathBuf::from(format!("raft-data/node{}", id.0));
        let data_dir = self.take(Key::DataDir, data_dir, value::folder, |path| path.display().to_string())?;
        let bytes = |bytes: &u64| value::show_bytes(*bytes);
        let segment_bytes = self.take(Key::SegmentBytes, 16 << 20, value::segment_bytes, bytes)?;
        let number = u64::to_string;
        let snapshot_after_entries =
            self.take(Key::SnapshotAfterEntries, 10_000, value::snapshot_after_entries, number)?;
        let snapshot_after_bytes = self.take(Key::SnapshotAfterBytes, 64 << 20, value::snapshot_after_bytes, bytes)?;
        let snapshot_rate = self.take(Key::SnapshotRate, 64 << 20, value::snapshot_rate, bytes)?;
        let trailing_entries = self.take(Key::TrailingEntries, 10_000, value::trailing_entries, number)?;
        let election_timeout = self.election_timeout()?;
        let heartbeat_interval = self.heartbeat_interval(&election_timeout)?;
        let max_request_bytes = self.take(Key::MaxRequestBytes, 1 << 20, value::max_request_bytes, bytes)?;
        let max_connections = self.take(Key::MaxConnections, 4096, value::max_connections, usize::to_string)?;
        let settings = Settings {
            id,
            cluster,
            peers,
            listen_peer,
            listen_client,
            listen_admin,
            advertise_client,
            advertise_admin,
            data_dir,
            segment_bytes,
            snapshot_after_entries,
            snapshot_after_bytes,
            snapshot_rate,
            trailing_entries,
            election_timeout,
            heartbeat_interval,
            max_request_bytes,
            max_connections,
        };
        self.check_ports(&settings)?;
        let warnings = self.warnings(&settings);
        self.rows.sort_by_key(|row| row.key);
        Ok(Loaded { settings, rows: self.rows, warnings })
    }

    /// What the strongest layer that names `key` says. A list is one value: a stronger one replaces it.
    fn given(&self, key: Key) -> &[Given] {
        self.layers.iter().find_map(|layer| layer.get(key)).unwrap_or_default()
    }

    fn source(&self, key: Key) -> Source {
        match self.layers.iter().find_map(|layer| layer.get(key)) {
            Some(given) => given.first().map_or(Source::Empty, |given| given.source.clone()),
            None => Source::Default,
        }
    }

    fn row(&mut self, key: Key, value: String) {
        let source = self.source(key);
        self.rows.push(Row { key, value, source });
    }

    fn take<T>(
        &mut self,
        key: Key,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Result<T, Failure> {
        let value = match self.given(key).last() {
            Some(given) => parse(&given.text).map_err(|problem| refuse(key, given, &problem))?,
            None => default,
        };
        self.row(key, show(&value));
        Ok(value)
    }

    fn id(&mut self) -> Result<NodeId, Failure> {
        if self.given(Key::Id).is_empty() {
            return Err(Failure::usage(
                "id is not set: say which node this is with --id N, RAFT_ID, or `id = N` in config.toml (`raft-grpc \
                 config init` writes one)",
            ));
        }
        self.take(Key::Id, NodeId(1), value::node_id, |id| id.0.to_string())
    }

    fn listen(&mut self, key: Key, port: u16) -> Result<(SocketAddr, address::HostPort), Failure> {
        let default = (SocketAddr::from(([127, 0, 0, 1], port)), address::HostPort::new("127.0.0.1", port));
        self.take(key, default, address::listen, |(address, _)| address.to_string())
    }

    fn election_timeout(&mut self) -> Result<Range<Duration>, Failure> {
        let default = Duration::from_millis(500)..Duration::from_secs(1);
        self.take(Key::ElectionTimeout, default, value::election_timeout, value::show_range)
    }

    fn heartbeat_interval(&mut self, election_timeout: &Range<Duration>) -> Result<Duration, Failure> {
        let default = Duration::from_millis(100);
        let show = |interval: &Duration| humantime::format_duration(*interval).to_string();
        let interval = self.take(Key::HeartbeatInterval, default, value::heartbeat_interval, show)?;
        if interval < election_timeout.start {
            return Ok(interval);
        }
        let shortest = humantime::format_duration(election_timeout.start);
        // Either of the two may be the one that was set: the error belongs where somebody wrote something.
        match self.given(Key::HeartbeatInterval).last() {
            Some(given) => {
                let source = self.source(Key::ElectionTimeout);
                let problem = format!("must be below the shortest election timeout, {shortest} ({source})");
                Err(refuse(Key::HeartbeatInterval, given, &problem))
            }
            None => {
                let problem = format!("must begin above the heartbeat interval, {} (default)", show(&interval));
                let given = self.given(Key::ElectionTimeout).last().cloned().unwrap_or_default();
                Err(refuse(Key::ElectionTimeout, &given, &problem))
            }
        }
    }

    /// The three ports of a node are three services: no two can be one address.
    fn check_ports(&self, settings: &Settings) -> Result<(), Failure> {
        let ports = [
            (Key::ListenPeer, settings.listen_peer),
            (Key::ListenClient, settings.listen_client),
            (Key::ListenAdmin, settings.listen_admin),
        ];
        for (place, (key, address)) in ports.iter().enumerate() {
            if let Some((other, _)) =
                ports.iter().take(place).find(|(_, earlier)| earlier == address && address.port() > 0)
            {
                return Err(Failure::usage(format!(
                    "{key} ({}) and {other} ({}) are both {address}: give each its own port",
                    self.source(*key),
                    self.source(*other),
                )));
            }
        }
        Ok(())
    }

    fn warnings(&self, settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        if settings.peers.len() == 1 {
            warnings.push("a cluster of two nodes survives no failure: with a third one, any one may fail".to_owned());
        }
        let listens = [
            (Key::ListenPeer, settings.listen_peer),
            (Key::ListenClient, settings.listen_client),
            (Key::ListenAdmin, settings.listen_admin),
        ];
        for (key, address) in listens.iter().filter(|(_, address)| address.port() == 0) {
            warnings.push(format!("{key} is {address}: the system chooses a port, at each start another one"));
        }
        let advertised = [
            (Key::AdvertiseClient, Key::ListenClient, settings.listen_client),
            (Key::AdvertiseAdmin, Key::ListenAdmin, settings.listen_admin),
        ];
        for (key, listen, address) in advertised {
            if address.ip().is_unspecified() && self.source(key) == Source::Default {
                warnings.push(format!(
                    "{listen} is {address}, which is no address that others can reach: set {key} to the one they can"
                ));
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
