//! The settings of a node from defaults, a TOML file, variables and flags; a later source wins, key by key. Each error is a line that
//! names the key, the value, its source and the range.

mod address;
mod environment;
mod file;
mod key;
mod layer;
mod peers;
mod suggest;
mod value;

pub use environment::{LOG_VARIABLE, VARIABLE_PREFIX};
pub use key::{Key, Settings};
pub use layer::{Layer, Source};

use crate::Failure;
use address::HostPort;
use layer::{Given, refuse};
use raft_core::NodeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use value::Kind;

/// The default file; it need not exist.
pub const DEFAULT_FILE: &str = "config.toml";

/// A configuration of node 1 with all defaults and comments.
pub const SAMPLE: &str = include_str!("config/sample.toml");

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub settings: Settings,
    /// The rows, in the order of [`Key::ALL`].
    pub rows: Vec<Row>,
    /// A line for each setting that works but is probably a mistake.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    /// The value in the notation of the file.
    pub value: String,
    pub source: Source,
}

/// Merges and checks all sources: `flags` win over the `RAFT_*` variables, and these win over `file`.
///
/// # Errors
/// The first error, with [`Exit::Usage`](crate::Exit::Usage): a file that cannot be read or is not TOML, an unknown key or variable,
/// a value out of range, contradicting values.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    flags: Layer,
) -> Result<Loaded, Failure> {
    let mut layers = vec![flags, environment::read(variables)?];
    if let Some(path) = file {
        layers.push(file::read(path)?);
    }
    Merge::new(layers).settle()
}

/// The layers, strongest first, and the rows taken from them.
struct Merge {
    layers: Vec<Layer>,
    rows: Vec<Row>,
    /// The addresses to listen on, unparsed.
    hosts: BTreeMap<Key, HostPort>,
}

impl Merge {
    fn new(layers: Vec<Layer>) -> Self {
        Self { layers, rows: Vec::new(), hosts: BTreeMap::new() }
    }

    fn settle(mut self) -> Result<Loaded, Failure> {
        let settings = key::settle(&mut self)?;
        self.check_heartbeat(&settings)?;
        self.check_ports(&settings)?;
        let warnings = self.warnings(&settings);
        Ok(Loaded { settings, rows: self.rows, warnings })
    }

    /// The values of the strongest layer that has `key`. A list is one value: a stronger list replaces it.
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

    fn take<T>(&mut self, key: Key, values: Kind<T>, default: T) -> Result<T, Failure> {
        let value = match self.given(key).last() {
            Some(given) => values.parse(&given.text).map_err(|problem| refuse(key, given, &problem))?,
            None => default,
        };
        self.row(key, values.show(&value));
        Ok(value)
    }

    fn id(&mut self) -> Result<NodeId, Failure> {
        if self.given(Key::Id).is_empty() {
            return Err(Failure::usage(
                "id is not set: say which node this is with --id N, RAFT_ID, or `id = N` in config.toml (`raft-grpc \
                 config init` writes one)",
            ));
        }
        self.take(Key::Id, value::node_id(), NodeId(1))
    }

    fn listen(&mut self, key: Key, port: u16) -> Result<SocketAddr, Failure> {
        let default = (SocketAddr::from(([127, 0, 0, 1], port)), HostPort::new("127.0.0.1", port));
        let (address, host) = self.take(key, value::listen(), default)?;
        self.hosts.insert(key, host);
        Ok(address)
    }

    fn host(&self, key: Key) -> HostPort {
        self.hosts.get(&key).expect("the table of keys has it earlier").clone()
    }

    /// The node's own entry in the list of peers, if it has one that can be read, else where it listens.
    fn own_peer_url(&self, id: NodeId) -> String {
        let entries = self.given(Key::Peers).iter().filter_map(|given| value::peers().parse(&given.text).ok());
        let own = entries.into_iter().find(|(entry, _)| *entry == id).map(|(_, host)| host.url());
        own.unwrap_or_else(|| self.host(Key::ListenPeer).url())
    }

    fn peers(&mut self, id: NodeId, listen: SocketAddr) -> Result<BTreeMap<NodeId, String>, Failure> {
        let peers = peers::check(self.given(Key::Peers), id, &self.host(Key::ListenPeer), listen)?;
        let list: Vec<String> = peers.iter().map(|(id, url)| format!("{}={url}", id.0)).collect();
        self.row(Key::Peers, list.join(","));
        Ok(peers)
    }

    /// The reserve holds all writes in flight, also the largest one and those that cannot be refused. By default its three
    /// quarters for entries exceed what a leader has in flight to one peer, if all nodes have the same `max_inflight_bytes`.
    fn disk_reserve(&mut self, segment: u64, in_flight: u64, largest: u64) -> Result<u64, Failure> {
        let (key, floor) = (Key::DiskReserve, largest.saturating_mul(4));
        let default = (segment / 2).max(in_flight * 2).max(32 << 20).max(floor);
        let reserve = self.take(key, value::disk_reserve(), default)?;
        match self.given(key).last() {
            Some(given) if reserve < floor => {
                let [floor, largest] = [floor, largest].map(|bytes| value::disk_reserve().show(&bytes));
                let problem = format!(
                    "must be at least {floor}: 4 times the larger of max_append_bytes and max_request_bytes, {largest}"
                );
                Err(refuse(key, given, &problem))
            }
            _ => Ok(reserve),
        }
    }

    fn check_heartbeat(&self, settings: &Settings) -> Result<(), Failure> {
        let (interval, shortest) = (settings.heartbeat_interval, settings.election_timeout.start);
        if interval < shortest {
            return Ok(());
        }
        // The user may have set either of the two: the error names that one.
        match self.given(Key::HeartbeatInterval).last() {
            Some(given) => {
                let (shortest, source) = (humantime::format_duration(shortest), self.source(Key::ElectionTimeout));
                let problem = format!("must be below the shortest election timeout, {shortest} ({source})");
                Err(refuse(Key::HeartbeatInterval, given, &problem))
            }
            None => {
                let interval = humantime::format_duration(interval);
                let problem = format!("must begin above the heartbeat interval, {interval} (default)");
                let given = self.given(Key::ElectionTimeout).last().cloned().unwrap_or_default();
                Err(refuse(Key::ElectionTimeout, &given, &problem))
            }
        }
    }

    /// The three ports of a node need different addresses.
    fn check_ports(&self, settings: &Settings) -> Result<(), Failure> {
        let ports = ports(settings);
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
        for (key, address) in ports(settings).iter().filter(|(_, address)| address.port() == 0) {
            warnings.push(format!("{key} is {address}: the system chooses another port at each start"));
        }
        let advertised = [
            (Key::AdvertisePeer, Key::ListenPeer, settings.listen_peer),
            (Key::AdvertiseClient, Key::ListenClient, settings.listen_client),
            (Key::AdvertiseAdmin, Key::ListenAdmin, settings.listen_admin),
        ];
        for (key, listen, address) in advertised {
            let is_named = key == Key::AdvertisePeer && !is_unspecified(&settings.advertise_peer);
            if address.ip().is_unspecified() && self.source(key) == Source::Default && !is_named {
                warnings.push(format!(
                    "{listen} is {address}, which others cannot reach: set {key} to an address that they can reach"
                ));
            }
        }
        warnings
    }
}

/// Parses the name of a cluster.
///
/// # Errors
/// The text is none; the message says what is.
pub fn cluster_name(text: &str) -> Result<String, String> {
    value::cluster().parse(text)
}

/// A URL at which others are reached, in its normal form.
///
/// # Errors
/// It is none: what is wrong, and the form.
pub fn url(text: &str) -> Result<String, String> {
    address::url(text)
}

/// Whether a URL has the address of every interface, at which no other machine reaches this one.
pub(crate) fn is_unspecified(url: &str) -> bool {
    address::parse_url(url).ok().and_then(|host| host.ip()).is_some_and(|ip| ip.is_unspecified())
}

fn ports(settings: &Settings) -> [(Key, SocketAddr); 3] {
    let Settings { listen_peer, listen_client, listen_admin, .. } = settings;
    [(Key::ListenPeer, *listen_peer), (Key::ListenClient, *listen_client), (Key::ListenAdmin, *listen_admin)]
}

#[cfg(test)]
mod tests;
