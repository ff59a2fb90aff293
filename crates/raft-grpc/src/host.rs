//! A running node: it connects its folder, its two threads, its ports and its connections, from start to end.

use crate::admin;
use crate::client_service::{ClientService, SharedWatches};
use crate::config::Settings;
use crate::directory::{Contact, Directory};
use crate::disk_thread::{SharedDiskQueue, Worker};
use crate::failure::{Exit, Failure};
use crate::founding::{self, Founding};
use crate::identity::Identity;
use crate::inbox::{Replied, SharedInbox};
use crate::join::{self, Join, Own};
use crate::machine::Machine;
use crate::node_thread::{self, End, Lanes};
use crate::peers::accept::PeerService;
use crate::peers::dial::Dialing;
use crate::peers::links::Links;
use crate::peers::send_snapshot::SnapshotSender;
use crate::peers::{self, Outbox, refusal_marks};
use crate::ports::{Opening, Port};
use crate::random;
use crate::services::peer_server::PeerServer;
use raft_client::service::client_server::ClientServer;
use raft_core::{Config, Configuration, NodeId, StopReason, Write};
use raft_kv::KvMap;
use raft_node::{AddressBook, Node, NodeOptions, Reply, Request};
use raft_store::{ClusterId, DiskId, Files, Identity as FolderIdentity, Opened, StoreOptions, open_node};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::BufRead;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Response};
use tonic::transport::Server;
use tower::util::MapResponseLayer;

/// The longest time for the requests in flight when the node ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The control of a running node, apart from signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    None,
    /// Commands on standard input: `cut` drops all traffic with peers, `heal` permits it again. The end of standard
    /// input ends the process at once, so that children end with their parent.
    Lines,
}

/// Runs a node until SIGTERM or SIGINT. Prints `node ID listening peer URL client URL admin URL` on standard output once
/// all ports listen.
///
/// # Errors
/// A port or the folder cannot be used, the disk failed, or the replica has stopped; see [`Failure`].
pub fn run(settings: Settings, control: Control, join: Option<Join>) -> Result<(), Failure> {
    raise_descriptor_limit();
    let ports = Ports {
        peer: Port::bind("listen_peer", settings.listen_peer)?,
        client: Port::bind("listen_client", settings.listen_client)?,
        admin: Port::bind("listen_admin", settings.listen_admin)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::runtime(format!("cannot start: {error}")))?;
    let advertised = |url: &str, port: &Port| advertised(url, port.address());
    let contact = Contact {
        incarnation: 0,
        client_url: advertised(&settings.advertise_client, &ports.client),
        admin_url: advertised(&settings.advertise_admin, &ports.admin),
    };
    let own = Own::new(settings.id, &advertised(&settings.advertise_peer, &ports.peer), &contact.client_url);
    let start = Start::find(&settings, &own, join.as_ref(), &runtime)?;
    let opened = open(&settings, start.cluster, start.founders)?;
    let contact = Contact { incarnation: opened.incarnation, ..contact };
    let configuration = configuration_of(&opened);
    if let Some(configuration) = configuration {
        founding::report_differences(&settings, &start.book, configuration);
        founding::report_own_address(&own, configuration);
    }
    let identity = Arc::new(Identity {
        cluster: start.cluster,
        name: settings.cluster.clone(),
        members: start.book.members(configuration).into_keys().chain([settings.id]).collect(),
        node: settings.id,
        disk: opened.disk_id,
        contact,
    });
    let incomplete = configuration.is_some_and(|configuration| own.is_incomplete(configuration));
    let requests = OwnRequests { complete: incomplete.then_some(own), join };
    let parts = Parts::new(identity, start.book);
    let (refused, refusals) = mpsc::channel(1);
    let links = parts.links(&settings, refused, runtime.handle());
    links.follow(configuration, false);
    let threads = Threads::start(&settings, opened, &parts, links, runtime.handle())?;
    if control == Control::Lines {
        follow_standard_input(parts.directory.clone())?;
    }
    let result = runtime.block_on(serve(settings, ports, parts, threads, refusals, requests));
    runtime.shutdown_background();
    result
}

/// The cluster of this start, the first entry of a new log, and the addresses that are known without the log.
struct Start {
    cluster: ClusterId,
    founders: Option<Configuration>,
    book: AddressBook,
}

impl Start {
    /// A node without a log and with `--join` asks for its membership first.
    fn find(
        settings: &Settings,
        own: &Own,
        join: Option<&Join>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, Failure> {
        let Founding { cluster, founders, has_log } = Founding::read(settings)?;
        let Some(join) = join.filter(|_| !has_log) else {
            return Ok(Self { cluster, founders, book: founding::address_book(settings) });
        };
        let folder = founders.is_none().then_some(cluster);
        let (cluster, book) = runtime.block_on(join::enter(join, settings, own, folder))?;
        Ok(Self { cluster, founders: None, book })
    }
}

/// What the node asks of its cluster by itself.
struct OwnRequests {
    /// The log lacks its addresses.
    complete: Option<Own>,
    join: Option<Join>,
}

impl OwnRequests {
    /// Sends them in tasks of their own. `failed` receives the failure that must end the node.
    fn send(self, settings: &Settings, ports: &Ports, identity: &Identity, failed: mpsc::Sender<Failure>) {
        if let Some(own) = self.complete {
            tokio::spawn(join::complete(own, format!("http://{}", ports.client.address())));
        }
        if let Some(join) = self.join {
            let promoted =
                join::promote(join, settings.data_dir.display().to_string(), identity.node, identity.cluster);
            tokio::spawn(async move {
                if let Err(failure) = promoted.await {
                    // The node is ending anyway if nobody receives it.
                    let _ = failed.send(failure).await;
                }
            });
        }
    }
}

/// The newest configuration in the log of a folder; none in that of a node that joins.
fn configuration_of(opened: &Opened<Files>) -> Option<&Configuration> {
    let restored = &opened.recovery.restored;
    let in_log = restored.configurations.last().map(|(_, configuration)| configuration);
    in_log.or(restored.snapshot.as_ref().map(|meta| &meta.configuration))
}

/// The URL that other nodes use. Port 0, which lets the system choose, is replaced by the chosen port.
fn advertised(url: &str, address: SocketAddr) -> String {
    url.strip_suffix(":0").map_or_else(|| url.to_owned(), |host| format!("{host}:{}", address.port()))
}

/// The layout of a node's folder.
pub(crate) fn store_options(settings: &Settings) -> StoreOptions {
    let (segment_bytes, reserve_bytes) = (settings.segment_bytes, settings.disk_reserve);
    StoreOptions { segment_bytes, reserve_bytes, ..StoreOptions::default() }
}

pub(crate) fn core_config(settings: &Settings) -> Config {
    Config {
        seed: random::number(),
        election_timeout: settings.election_timeout.clone(),
        heartbeat_interval: settings.heartbeat_interval,
        trailing_entries: settings.trailing_entries,
        priority: settings.priority,
        max_write_stall: settings.max_write_stall,
        lease_reads: settings.lease_reads,
        max_clock_drift_ppm: settings.max_clock_drift_ppm,
        max_pending_reads: settings.max_pending_reads,
        max_append_bytes: settings.max_append_bytes,
        max_inflight_bytes: settings.max_inflight_bytes,
        max_inflight_messages: settings.max_inflight_messages,
        max_uncommitted_bytes: settings.max_uncommitted_bytes,
        max_unpersisted_bytes: settings.max_unpersisted_bytes,
        max_apply_bytes: settings.max_apply_bytes,
        max_cached_bytes: settings.max_cached_bytes,
        max_retained_bytes: settings.max_retained_bytes,
        snapshot_timeout: settings.snapshot_timeout,
        ..Config::new(settings.id)
    }
}

/// Opens the data folder; an empty one becomes this node's folder.
fn open(settings: &Settings, cluster: ClusterId, founders: Option<Configuration>) -> Result<Opened<Files>, Failure> {
    let place = settings.data_dir.display().to_string();
    let identity = FolderIdentity { cluster, node: settings.id };
    let options = store_options(settings);
    let files = Files::open(&settings.data_dir, true).map_err(|error| Failure::store(&place, &error))?;
    let drawn = random::unique().map_err(|error| Failure::runtime(format!("cannot draw a disk id: {error}")))?;
    let founding = founders.map(Write::bootstrap);
    let opened = open_node(files, identity, DiskId(drawn), founding.as_ref(), options);
    let opened = opened.map_err(|refused| Failure::store(&place, &refused.error))?;
    if let Some(torn) = &opened.recovery.torn_tail {
        tracing::warn!(
            "{place}: a crash tore the last write: {} bytes of {} from byte {} on are removed; they were never \
             acknowledged",
            torn.bytes,
            torn.file,
            torn.offset
        );
    }
    let (records, last) = (opened.recovery.records, opened.recovery.restored.last);
    tracing::info!("{place}: start {}, {records} records, last entry {last}", opened.incarnation);
    Ok(opened)
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

struct Ports {
    peer: Port,
    client: Port,
    admin: Port,
}

#[derive(Clone)]
struct Parts {
    identity: Arc<Identity>,
    directory: Arc<Directory>,
    inbox: Arc<SharedInbox>,
    disk: Arc<SharedDiskQueue>,
    outbox: Arc<Outbox>,
    book: Arc<AddressBook>,
}

impl Parts {
    fn new(identity: Arc<Identity>, book: AddressBook) -> Self {
        let directory = Arc::<Directory>::default();
        let inbox = Arc::<SharedInbox>::default();
        let outbox = Arc::new(Outbox::new(directory.clone(), inbox.clone()));
        Self { identity, directory, inbox, disk: Arc::default(), outbox, book: Arc::new(book) }
    }

    /// The streams to the peers. `refused` receives a peer that knows this node with another disk.
    fn links(
        &self,
        settings: &Settings,
        refused: mpsc::Sender<NodeId>,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<Links> {
        let Self { identity, directory, outbox, book, .. } = self.clone();
        let stall = 2 * settings.election_timeout.end;
        Links::new(Dialing { identity, outbox, directory, stall, refused }, book, stall, runtime.clone())
    }
}

/// The two threads; each sends its result.
struct Threads {
    node: oneshot::Receiver<Result<(), Failure>>,
    disk: oneshot::Receiver<Result<(), Failure>>,
}

impl Threads {
    fn start(
        settings: &Settings,
        opened: Opened<Files>,
        parts: &Parts,
        links: Arc<Links>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, Failure> {
        let options = NodeOptions {
            cluster: parts.identity.cluster,
            snapshot_after_entries: settings.snapshot_after_entries,
            snapshot_after_bytes: settings.snapshot_after_bytes,
            snapshot_bytes_per_second: settings.snapshot_rate,
            reserve_bytes: settings.disk_reserve,
            ..NodeOptions::default()
        };
        let place = settings.data_dir.display().to_string();
        let Opened { mut store, recovery, .. } = opened;
        let mut node = Node::new(core_config(settings), options, recovery.restored, Machine(KvMap::new()))
            .map_err(|error| Failure::runtime(format!("{place}: {error}")))?;
        let Parts { identity, directory, inbox, disk, outbox, .. } = parts.clone();
        let (queue, reports) = (disk.clone(), inbox.clone());
        let worker = Worker::new(&store, &place, &inbox);
        let disk_thread = thread("disk", move || worker.run(&mut store, &queue, &reports))?;
        let (runtime, tasks) = (runtime.clone(), Mutex::default());
        let snapshots = SnapshotSender { identity, directory, runtime, tasks };
        let lanes = Lanes { inbox, disk, outbox, links, snapshots };
        let run = move || node_thread::run(&mut node, &lanes).map_or(Ok(()), |end| Err(ended_early(&place, &end)));
        let node_thread = thread("node", run)?;
        Ok(Self { node: node_thread, disk: disk_thread })
    }
}

fn ended_early(place: &str, end: &End) -> Failure {
    match end {
        End::Stopped(StopReason::Removed { at }) => Failure::new(
            Exit::Removed,
            format!(
                "{place}: this node is not a member of the cluster since entry {at}: it has ended. To use this machine again, join \
                 under a new id with an empty data folder"
            ),
        ),
        End::Stopped(reason) => Failure::runtime(format!(
            "the replica has stopped for good: {reason}. This is a bug or corrupt data: keep the data folders"
        )),
        End::Unreadable(meta, error) => {
            let place = format!("{place}: the snapshot of {} cannot be used", meta.last);
            let Failure { exit, message } = Failure::content(&place, error);
            let advice = "start the version that wrote it, or restore the folder from a copy";
            Failure::new(exit, format!("{message}: {advice}"))
        }
    }
}

/// The failure of a node that a peer knows with another disk: its votes and log are lost, and the peers reject it
/// permanently.
fn refused_by(settings: &Settings, peer: NodeId) -> Failure {
    let place = settings.data_dir.display();
    Failure::new(
        Exit::Foreign,
        format!("{place}: peer {} refuses this node: {}", peer.0, refusal_marks::another_disk_message(settings.id)),
    )
}

/// Starts a thread that sends its result; a panic drops the sender.
fn thread(
    name: &str,
    run: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), Failure>>, Failure> {
    let (ended, end) = oneshot::channel();
    let body = move || {
        // Without a receiver the process is already ending.
        let _ = ended.send(run());
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map_err(|error| Failure::runtime(format!("cannot start the {name} thread: {error}")))?;
    Ok(end)
}

fn ended(name: &str, end: Result<Result<(), Failure>, oneshot::error::RecvError>) -> Result<(), Failure> {
    end.unwrap_or_else(|_| Err(Failure::runtime(format!("the {name} thread panicked: this is a bug"))))
}

async fn serve(
    settings: Settings,
    ports: Ports,
    parts: Parts,
    mut threads: Threads,
    mut refusals: mpsc::Receiver<NodeId>,
    requests: OwnRequests,
) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::runtime(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    announce(&settings, &ports)?;
    let closing = CancellationToken::new();
    let (failed, mut failures) = mpsc::channel(1);
    requests.send(&settings, &ports, &parts.identity, failed);
    let clients = start_servers(&settings, ports, &parts, &closing);
    tokio::select! {
        Some(peer) = refusals.recv() => return Err(refused_by(&settings, peer)),
        Some(failure) = failures.recv() => return Err(failure),
        end = &mut threads.node => return ended("node", end),
        end = &mut threads.disk => return ended("disk", end),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    transfer_leadership(&parts.inbox).await;
    tracing::info!("ending: requests in flight have {DRAIN:?}");
    closing.cancel();
    if timeout(DRAIN, clients).await.is_err() {
        tracing::warn!("some requests are not answered");
    }
    parts.inbox.close();
    ended("node", threads.node.await)?;
    parts.disk.close();
    ended("disk", threads.disk.await)
}

/// Transfers leadership if this node leads, so that an orderly end costs clients a round trip and not an election timeout
/// (Thesis §3.10).
async fn transfer_leadership(inbox: &SharedInbox) {
    let Some((_, answer)) = inbox.request(Request::TransferLeadership { to: None }) else { return };
    match timeout(DRAIN, answer).await {
        Ok(Ok(Replied { reply: Reply::LeadershipTransferred { to }, .. })) => {
            tracing::info!("leadership transferred to node {}", to.0)
        }
        Ok(Ok(Replied { reply: Reply::TransferFailed { reason }, .. })) => {
            tracing::warn!("leadership not transferred: {reason}")
        }
        // The node is not the leader, or no other can take over, or the node has ended.
        _ => {}
    }
}

/// Announces the node's addresses: with port 0 this is the only way to learn them.
fn announce(settings: &Settings, ports: &Ports) -> Result<(), Failure> {
    let Ports { peer, client, admin } = ports;
    let (peer, client, admin) = (peer.address(), client.address(), admin.address());
    let id = settings.id.0;
    let mut out = std::io::stdout().lock();
    writeln!(out, "node {id} listening peer http://{peer} client http://{client} admin http://{admin}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::runtime(format!("cannot write to standard output: {error}")))
}

/// Starts the servers of the three ports. The result is ready when the servers for clients and operators have ended.
fn start_servers(
    settings: &Settings,
    ports: Ports,
    parts: &Parts,
    closing: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let Parts { identity, directory, inbox, disk, outbox, book, .. } = parts.clone();
    let client_service = ClientService {
        identity: identity.clone(),
        directory: directory.clone(),
        inbox: inbox.clone(),
        book,
        watches: SharedWatches::new(inbox.clone()),
        max_request_bytes: settings.max_request_bytes,
        election_timeout: settings.election_timeout.start,
        closing: closing.clone(),
    };
    let acknowledge = settings.heartbeat_interval;
    let peer_service = PeerService { identity, directory, inbox, disk, outbox, acknowledge };
    let limit = settings.max_connections;
    let admit = |port: Port, opening| {
        let (admitted, connections) = mpsc::channel(64);
        tokio::spawn(port.admit(limit, opening, admitted));
        ReceiverStream::new(connections)
    };
    let peer_server = PeerServer::new(peer_service)
        .max_decoding_message_size(peers::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(peers::MAX_MESSAGE_BYTES);
    let peer_port = admit(ports.peer, Opening::Http2);
    // The server for peers runs to the end: without it no request in flight could commit.
    tokio::spawn(report("peer", server().add_service(peer_server).serve_with_incoming(peer_port)));
    let room = usize::try_from(settings.max_request_bytes.saturating_add(MAX_ENVELOPE)).unwrap_or(usize::MAX);
    let max_request_bytes = settings.max_request_bytes;
    let client_server = ClientServer::new(client_service.clone()).max_decoding_message_size(room);
    let client_url = format!("http://{}", ports.client.address());
    let client_port = admit(ports.client, Opening::Http2);
    let clients = server()
        .layer(MapResponseLayer::new(move |response| too_large_is_exhausted(response, max_request_bytes)))
        .add_service(client_server)
        .serve_with_incoming_shutdown(client_port, closing.clone().cancelled_owned());
    let clients = tokio::spawn(report("client", clients));
    let router = admin::router(client_service, vec![client_url]);
    let operators = tokio::spawn(admin::serve(admit(ports.admin, Opening::Any), router, closing.clone()));
    async {
        // A panic ends a server too.
        let _ = clients.await;
        let _ = operators.await;
    }
}

const MAX_ENVELOPE: u64 = 1 << 20;

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(peers::KEEPALIVE))
        .http2_keepalive_timeout(Some(peers::KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(1_024)
}

/// For a request above its limit tonic answers OUT_OF_RANGE and names its own limit. The API requires the status
/// RESOURCE_EXHAUSTED and the node's limit.
fn too_large_is_exhausted(mut response: Response<Body>, limit: u64) -> Response<Body> {
    const STATUS: &str = "grpc-status";
    let is = |code: Code| move |status: &HeaderValue| status.as_bytes() == (code as i32).to_string().as_bytes();
    if response.headers().get(STATUS).is_some_and(is(Code::OutOfRange)) {
        response.headers_mut().insert(STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
        let message = format!("the request is far too large: the limit is {limit}: max_request_bytes");
        // Every character of this text is legal in a header.
        if let Ok(message) = HeaderValue::try_from(message) {
            response.headers_mut().insert("grpc-message", message);
        }
    }
    response
}

async fn report(port: &str, server: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = server.await {
        tracing::error!("the server of the {port} port has ended: {error}");
    }
}

/// Reads the lines of [`Control::Lines`] in a separate thread: reading standard input blocks.
fn follow_standard_input(directory: Arc<Directory>) -> Result<(), Failure> {
    let follow = move || {
        for line in std::io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("cut") => directory.set_cut(true),
                Ok("heal") => directory.set_cut(false),
                Ok(other) => tracing::warn!("unknown command `{other}`: expected `cut` or `heal`"),
                Err(_) => break,
            }
        }
        std::process::exit(1);
    };
    let spawned = std::thread::Builder::new().name("control".to_owned()).spawn(follow);
    spawned.map(drop).map_err(|error| Failure::runtime(format!("cannot read standard input: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_port_listens() {
        let listens = SocketAddr::from(([127, 0, 0, 1], 4_711));
        assert_eq!(advertised("http://127.0.0.1:0", listens), "http://127.0.0.1:4711");
        assert_eq!(advertised("http://[::1]:0", listens), "http://[::1]:4711");
        assert_eq!(advertised("http://a:7070", listens), "http://a:7070", "a set URL stays");
    }
}
