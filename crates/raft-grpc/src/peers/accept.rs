//! Serves the streams of peers: it checks the caller, gives its messages to the node, and acknowledges their number.

use super::{Outbox, PROTOCOL_VERSION, refusal_marks};
use crate::clock;
use crate::directory::{Contact, Directory};
use crate::disk_thread::SharedDiskQueue;
use crate::identity::{Identity, ids};
use crate::inbox::SharedInbox;
use crate::services::peer_server::Peer;
use raft_core::{NodeId, Rpc};
use raft_node::{CallerIds, CallerRefusal, ForwardedReply, ForwardedRequest, NodeInput, SnapshotMessage};
use raft_proto::wire::raft::{
    Hello, HelloResponse, PeerRequest, PeerResponse, Received, SnapshotRequest, SnapshotResponse, peer_request,
    peer_response,
};
use raft_proto::{DecodeError, chunk_from_wire, progress_from_wire, rpc_from_wire};
use raft_store::{DiskId, MAX_KNOWN_PEERS, PeerCheck};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The longest time for the hello, and for the disk to record a peer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct PeerService {
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) inbox: Arc<SharedInbox>,
    pub(crate) disk: Arc<SharedDiskQueue>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) acknowledge: Duration,
}

#[tonic::async_trait]
impl Peer for PeerService {
    type MessagesStream = ReceiverStream<Result<PeerResponse, Status>>;

    async fn messages(&self, call: Request<Streaming<PeerRequest>>) -> Result<Response<Self::MessagesStream>, Status> {
        let mut requests = call.into_inner();
        let first = timeout(TIMEOUT, requests.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(peer_request::Kind::Hello(hello)) = first.and_then(|first| first.kind) else {
            return Err(Status::invalid_argument("the first frame of a stream must be a hello"));
        };
        let asks = hello.asks && self.directory.get(NodeId(hello.from)).is_none();
        // A node that asks need not be a peer any more.
        let peer = if asks { self.check_ids(&hello, |_| true) } else { self.check(hello).await };
        let peer = peer.inspect_err(|status| {
            tracing::error!("a caller on the peer port is refused: {}", status.message());
        })?;
        let (answers, responses) = mpsc::channel(4);
        let contact = &self.identity.contact;
        let hello = HelloResponse {
            node: self.identity.node.0,
            incarnation: contact.incarnation,
            client_url: contact.client_url.clone(),
            admin_url: contact.admin_url.clone(),
            takes_forwarded: true,
        };
        let hello = PeerResponse { kind: Some(peer_response::Kind::Hello(hello)) };
        answers.try_send(Ok(hello)).map_err(|_| Status::internal("a new stream has no room for an answer"))?;
        let (inbox, directory, outbox) = (self.inbox.clone(), self.directory.clone(), self.outbox.clone());
        let acknowledge = self.acknowledge;
        let stream = Incoming { peer, asks, requests, answers, inbox, directory, outbox, acknowledge };
        tokio::spawn(stream.run());
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn snapshot(&self, call: Request<SnapshotRequest>) -> Result<Response<SnapshotResponse>, Status> {
        let refused = |status: &Status| tracing::error!("a chunk of a snapshot is refused: {}", status.message());
        let missing = |place| Status::invalid_argument(format!("SnapshotRequest.{place} is missing"));
        let SnapshotRequest { hello, chunk } = call.into_inner();
        let hello = hello.ok_or_else(|| missing("hello")).inspect_err(refused)?;
        let peer = self.check(hello).await.inspect_err(refused)?;
        let chunk = chunk_from_wire(chunk.ok_or_else(|| missing("chunk"))?)
            .map_err(|error| Status::invalid_argument(error.to_string()))
            .inspect_err(refused)?;
        // Only one chunk of each peer is in memory at a time.
        let replaced = self.directory.chunk_begun(peer);
        if self.directory.is_cut() {
            return Err(Status::unavailable("this node is cut off"));
        }
        let input = NodeInput::SnapshotMessage { from: peer, message: SnapshotMessage::Chunk(chunk) };
        tokio::select! {
            () = replaced.cancelled() => Err(Status::already_exists("a newer chunk has replaced this one")),
            given = self.inbox.give_and_wait(input) => {
                given.map_err(|_| Status::unavailable("the node is ending"))?;
                Ok(Response::new(SnapshotResponse {}))
            }
        }
    }
}

impl PeerService {
    /// Checks that the caller is of this cluster, is a peer, and expects this node; returns the caller.
    fn check_ids(&self, hello: &Hello, is_peer: impl FnOnce(NodeId) -> bool) -> Result<NodeId, Status> {
        let refused = |reason: String| Err(Status::failed_precondition(reason));
        let (us, from) = (self.identity.node.0, hello.from);
        if hello.protocol_version != PROTOCOL_VERSION {
            let theirs = hello.protocol_version;
            return refused(format!("node {from} uses protocol version {theirs}, expected {PROTOCOL_VERSION}"));
        }
        let caller = CallerIds { cluster: &hello.cluster_id, from: NodeId(from), to: NodeId(hello.to) };
        let own = raft_store::Identity { cluster: self.identity.cluster, node: self.identity.node };
        match caller.check(&own, is_peer) {
            Ok(()) => Ok(NodeId(from)),
            Err(CallerRefusal::OtherCluster) => refused(self.identity.mismatch(hello)),
            Err(CallerRefusal::OtherNode) => {
                refused(format!("node {from} expects node {}, and this is node {us}: compare `peers`", hello.to))
            }
            Err(CallerRefusal::NotAPeer) => {
                let members = ids(&self.directory.ids());
                Err(refusal_marks::not_a_member(format!(
                    "node {from} is not a peer of node {us}, whose peers are {members}: a new node asks for its membership \
                     (`raft-grpc node --join`, or `raft-grpc member add`)"
                )))
            }
        }
    }

    /// Checks that the caller is a peer of this node, has its known disk, and expects this node; returns the caller.
    async fn check(&self, hello: Hello) -> Result<NodeId, Status> {
        let refused = |reason: String| Err(Status::failed_precondition(reason));
        self.check_ids(&hello, |from| self.directory.get(from).is_some())?;
        let from = hello.from;
        // This check precedes that of the incarnation, which begins at 1 again on another disk.
        self.register_peer(NodeId(from), &hello.disk).await?;
        let contact =
            Contact { incarnation: hello.incarnation, client_url: hello.client_url, admin_url: hello.admin_url };
        match self.directory.met(NodeId(from), contact) {
            Ok(()) => Ok(NodeId(from)),
            Err(seen) => refused(format!(
                "node {from} runs on an old copy of its data folder: its start is {}, and start {seen} was seen. Its later \
                 votes and entries are lost: it must not continue under this id",
                hello.incarnation
            )),
        }
    }

    /// Records the disk of a peer before any of its messages counts.
    async fn register_peer(&self, peer: NodeId, disk: &[u8]) -> Result<(), Status> {
        let from = peer.0;
        let Ok(disk) = disk.try_into().map(DiskId) else {
            return Err(Status::failed_precondition(format!(
                "node {from} sends no disk id: run this version there, too"
            )));
        };
        match timeout(TIMEOUT, self.disk.register_peer(peer, disk)).await.ok().flatten() {
            Some(PeerCheck::New) => tracing::info!("new peer {from} on disk {disk}"),
            Some(PeerCheck::Known) => {}
            Some(PeerCheck::Mismatch { known }) => {
                tracing::error!("peer {from} has disk {disk}, expected {known}");
                return Err(refusal_marks::another_disk(peer));
            }
            Some(PeerCheck::Full) => {
                return Err(Status::failed_precondition(format!(
                    "node {} cannot remember the disk of node {from}: it knows {MAX_KNOWN_PEERS} others; add this node \
                     under a new id",
                    self.identity.node.0
                )));
            }
            None => return Err(Status::unavailable(format!("the disk of node {from} cannot be remembered now"))),
        }
        Ok(())
    }
}

struct Incoming {
    peer: NodeId,
    /// The peer is no member and only asks whether it was removed.
    asks: bool,
    requests: Streaming<PeerRequest>,
    answers: mpsc::Sender<Result<PeerResponse, Status>>,
    inbox: Arc<SharedInbox>,
    directory: Arc<Directory>,
    outbox: Arc<Outbox>,
    acknowledge: Duration,
}

impl Incoming {
    async fn run(mut self) {
        if self.asks {
            self.outbox.add_asker(self.peer, self.answers.clone());
        }
        self.serve().await;
        if self.asks {
            self.outbox.remove_asker(self.peer, &self.answers);
        }
    }

    async fn serve(&mut self) {
        let replaced = self.directory.stream_opened(self.peer);
        let mut acknowledge = interval(self.acknowledge);
        acknowledge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut acknowledged) = (0, 0);
        let end = loop {
            tokio::select! {
                () = replaced.cancelled() => break Status::already_exists("this stream is replaced, or its node is no peer now"),
                () = self.answers.closed() => return,
                request = self.requests.message() => match request {
                    Ok(Some(PeerRequest { kind: Some(kind) })) => {
                        count += 1;
                        if let Err(status) = self.receive(kind) {
                            break status;
                        }
                    }
                    Ok(Some(_)) => break Status::invalid_argument("after the hello come messages"),
                    Ok(None) => return,
                    Err(status) => break status,
                },
                _ = acknowledge.tick() => {
                    let received = PeerResponse { kind: Some(peer_response::Kind::Received(Received { count })) };
                    // A caller that does not read its answers drops the stream itself.
                    if acknowledged < count && self.answers.try_send(Ok(received)).is_ok() {
                        acknowledged = count;
                    }
                }
            }
        };
        tracing::debug!("the stream of peer {} ends: {}", self.peer.0, end.message());
        // The caller may be gone already.
        let _ = self.answers.try_send(Err(end));
    }

    fn receive(&self, kind: peer_request::Kind) -> Result<(), Status> {
        let unreadable = |error: DecodeError| {
            tracing::error!("peer {} sent a message that cannot be read: {error}", self.peer.0);
            Status::invalid_argument(error.to_string())
        };
        if self.asks && self.directory.get(self.peer).is_some() {
            return Err(Status::unavailable("the caller is a member now: connect again"));
        }
        let mut busy = None;
        let input = match kind {
            peer_request::Kind::Hello(_) => return Err(Status::invalid_argument("after the hello come messages")),
            peer_request::Kind::Message(message) => {
                NodeInput::Receive { from: self.peer, rpc: rpc_from_wire(message).map_err(unreadable)? }
            }
            peer_request::Kind::Snapshot(progress) => {
                let message = SnapshotMessage::Progress(progress_from_wire(progress).map_err(unreadable)?);
                NodeInput::SnapshotMessage { from: self.peer, message }
            }
            peer_request::Kind::ForwardedRequest(request) => {
                let request = ForwardedRequest::try_from(request).map_err(unreadable)?;
                busy = Some(request.busy());
                NodeInput::ForwardedRequest { from: self.peer, request }
            }
            peer_request::Kind::ForwardedReply(reply) => {
                let reply = ForwardedReply::try_from(reply).map_err(unreadable)?;
                NodeInput::ForwardedReply { from: self.peer, reply }
            }
        };
        let is_question = matches!(&input, NodeInput::Receive { rpc: Rpc::PreVote(_), .. });
        if self.directory.is_cut() || (self.asks && !is_question) {
            return Ok(());
        }
        self.directory.update(self.peer, |facts| facts.last_message = Some(clock::now()));
        if !self.inbox.message(input) {
            tracing::warn!("a message of peer {} is dropped: the node does not keep up", self.peer.0);
            busy.into_iter().for_each(|busy| self.outbox.send_forwarded_reply(self.peer, busy));
        }
        Ok(())
    }
}
