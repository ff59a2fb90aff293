//! The traffic between peers: one stream in each direction, opened by its sender. Snapshots use separate connections,
//! so that no message waits for one.
//!
//! `links` keeps a stream to each member, `dial` keeps one of them open, `accept` serves the streams and chunks of
//! peers, `refusal_marks` marks what a refused caller has to know, [`Outbox`] has the queues between the node's thread and the
//! streams, `send_snapshot` sends chunks. The node never waits for a peer: a message without space is dropped and
//! counted, as on a network, and the node is notified once for each break that messages are lost.

pub(crate) mod accept;
pub(crate) mod dial;
pub(crate) mod links;
pub(crate) mod refusal_marks;
pub(crate) mod send_snapshot;

use crate::directory::Directory;
use crate::inbox::SharedInbox;
use raft_core::{NodeId, Rpc};
use raft_node::{ForwardedReply, ForwardedRequest, NodeInput, SnapshotProgress};
use raft_proto::wire::raft::{PeerMessage, PeerRequest, PeerResponse, peer_request, peer_response};
use raft_proto::{progress_to_wire, rpc_from_wire, rpc_to_wire};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// The most messages that wait for one stream. The core's windows limit the bytes.
pub(crate) const QUEUE: usize = 4_096;

/// The largest message between peers: an append of the core's limit, or one entry of the largest request.
pub(crate) const MAX_MESSAGE_BYTES: usize = 80 << 20;

/// The largest request with a chunk of a snapshot: 4 MiB and its metadata.
pub(crate) const MAX_CHUNK_BYTES: usize = 6 << 20;
/// A chunk of a snapshot counts as lost after this time.
pub(crate) const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) const KEEPALIVE: Duration = Duration::from_secs(5);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The responses to a stream of a peer.
pub(crate) type Answers = mpsc::Sender<Result<PeerResponse, Status>>;

#[derive(Debug)]
struct Stream {
    queue: mpsc::Sender<PeerRequest>,
    sent: Arc<AtomicU64>,
    /// Whether the peer knows forwarded requests: others end the stream.
    takes_forwarded: bool,
    /// Whether the queue has dropped a message since it was last empty.
    overflowed: bool,
}

impl Stream {
    /// Queues a message if there is space. Returns whether there was space, and whether this is the first loss of a
    /// series.
    fn push(&mut self, kind: peer_request::Kind) -> (bool, bool) {
        self.overflowed &= self.queue.capacity() < self.queue.max_capacity();
        if self.queue.try_send(PeerRequest { kind: Some(kind) }).is_ok() {
            self.sent.fetch_add(1, Ordering::Relaxed);
            return (true, false);
        }
        (false, !std::mem::replace(&mut self.overflowed, true))
    }
}

/// The queues of the node's messages to its peers.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// A place for each peer: empty without a stream.
    streams: RwLock<BTreeMap<NodeId, Mutex<Option<Stream>>>>,
    /// The streams of nodes that are no members and ask whether they were removed: the answers go there.
    askers: Mutex<BTreeMap<NodeId, Answers>>,
    directory: Arc<Directory>,
    inbox: Arc<SharedInbox>,
}

impl Outbox {
    pub(crate) fn new(directory: Arc<Directory>, inbox: Arc<SharedInbox>) -> Self {
        Self { streams: RwLock::default(), askers: Mutex::default(), directory, inbox }
    }

    fn add(&self, peer: NodeId) {
        self.streams.write().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default();
    }

    fn remove(&self, peer: NodeId) {
        self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    fn places(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Mutex<Option<Stream>>>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message, or drops it. It never waits.
    pub(crate) fn send(&self, to: NodeId, rpc: &Rpc) {
        self.push(to, false, || peer_request::Kind::Message(rpc_to_wire(rpc)));
        if let Rpc::PreVoteResponse(_) = rpc
            && let Some(answers) = self.askers().get(&to)
        {
            let answer = peer_response::Kind::Answer(rpc_to_wire(rpc));
            // A caller that does not read its answers asks again.
            let _ = answers.try_send(Ok(PeerResponse { kind: Some(answer) }));
        }
    }

    pub(crate) fn add_asker(&self, node: NodeId, answers: Answers) {
        self.askers().insert(node, answers);
    }

    /// Forgets this stream; a newer one of the same node stays.
    pub(crate) fn remove_asker(&self, node: NodeId, answers: &Answers) {
        let mut askers = self.askers();
        if askers.get(&node).is_some_and(|newest| newest.same_channel(answers)) {
            askers.remove(&node);
        }
    }

    fn askers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Answers>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the node a peer's answer to its pre-vote.
    ///
    /// # Errors
    /// It is no such answer.
    pub(crate) fn receive_answer(&self, from: NodeId, answer: PeerMessage) -> Result<(), Status> {
        let rpc = rpc_from_wire(answer).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let Rpc::PreVoteResponse(_) = rpc else { return Err(Status::invalid_argument("unexpected answer")) };
        if !self.directory.is_cut() {
            self.inbox.message(NodeInput::Receive { from, rpc });
        }
        Ok(())
    }

    /// Sends the progress of a peer's snapshot, or drops it. It never waits.
    pub(crate) fn send_progress(&self, to: NodeId, progress: SnapshotProgress) {
        self.push(to, false, || peer_request::Kind::Snapshot(progress_to_wire(progress)));
    }

    /// Forwards a client's request. False: it is not sent. Never waits.
    pub(crate) fn forward(&self, to: NodeId, request: ForwardedRequest) -> bool {
        self.push(to, true, || peer_request::Kind::ForwardedRequest(request.into()))
    }

    /// Sends the reply to a forwarded request, or drops it. Never waits.
    pub(crate) fn send_forwarded_reply(&self, to: NodeId, reply: ForwardedReply) {
        self.push(to, true, || peer_request::Kind::ForwardedReply(reply.into()));
    }

    fn push(&self, to: NodeId, is_forwarded: bool, kind: impl FnOnce() -> peer_request::Kind) -> bool {
        let places = self.places();
        let Some(stream) = places.get(&to) else { return false };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (sent, is_first_loss) = match stream.as_mut() {
            Some(stream) if is_forwarded && !stream.takes_forwarded => return false,
            Some(stream) if !self.directory.is_cut() => stream.push(kind()),
            // The node knows that the stream has ended; a cut must look like a silent network.
            _ => (false, false),
        };
        drop(stream);
        if !sent {
            self.directory.update(to, |facts| facts.dropped += 1);
        }
        if is_first_loss {
            self.unreachable(to);
        }
        sent
    }

    fn connect(&self, peer: NodeId, queue: mpsc::Sender<PeerRequest>, takes_forwarded: bool) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        self.set(peer, Some(Stream { queue, sent: sent.clone(), takes_forwarded, overflowed: false }));
        sent
    }

    /// Notes that the stream to a peer has ended; messages in flight are lost.
    fn disconnect(&self, peer: NodeId) {
        if self.set(peer, None) {
            self.unreachable(peer);
        }
    }

    /// The inbox accepts this even when it is full or closed.
    fn unreachable(&self, peer: NodeId) {
        self.inbox.give([NodeInput::Unreachable { peer }]);
    }

    fn set(&self, peer: NodeId, stream: Option<Stream>) -> bool {
        self.directory.update(peer, |facts| facts.connected = stream.is_some());
        self.places().get(&peer).is_some_and(|place| {
            std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), stream).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{EntryId, Round, Term};
    use raft_proto::wire::raft::MemberContext;

    const PEER: NodeId = NodeId(2);

    fn outbox() -> Outbox {
        let directory = Arc::<Directory>::default();
        directory.set_address(PEER, &MemberContext::default());
        let outbox = Outbox::new(directory, Arc::default());
        outbox.add(PEER);
        outbox
    }

    fn send(outbox: &Outbox) {
        let last = EntryId::ZERO;
        outbox.send(PEER, &Rpc::PreVote(raft_core::PreVote { term: Term(1), round: Round(1), last }));
    }

    #[test]
    fn what_cannot_be_sent_is_dropped_and_counted() {
        let outbox = outbox();
        let directory = &outbox.directory;
        let dropped = || directory.get(PEER).unwrap().dropped;
        send(&outbox);
        assert_eq!(dropped(), 1, "not connected");
        let (queue, mut arrives) = mpsc::channel(2);
        let sent = outbox.connect(PEER, queue, true);
        for _ in 0..3 {
            send(&outbox);
        }
        assert_eq!((dropped(), sent.load(Ordering::Relaxed)), (2, 2), "the queue had no space for the third");
        assert!(arrives.try_recv().is_ok());
        directory.set_cut(true);
        send(&outbox);
        assert_eq!(dropped(), 3, "cut off");
        directory.set_cut(false);
        outbox.disconnect(PEER);
        send(&outbox);
        assert_eq!(dropped(), 4);
        assert!(!directory.get(PEER).unwrap().connected);
    }

    #[test]
    fn a_request_is_forwarded_only_to_a_peer_that_takes_it() {
        let outbox = outbox();
        let forward = || {
            let id = raft_node::ForwardId { origin: 1, number: 1 };
            outbox.forward(PEER, ForwardedRequest { id, request: raft_node::LeaderRequest::OpenSession })
        };
        assert!(!forward(), "not connected");
        let (queue, mut arrives) = mpsc::channel(1);
        outbox.connect(PEER, queue.clone(), false);
        assert!(!forward(), "a node of the version before");
        assert!(arrives.try_recv().is_err());
        outbox.connect(PEER, queue, true);
        assert!(forward() && !forward(), "the second does not fit");
        assert!(matches!(arrives.try_recv().unwrap().kind, Some(peer_request::Kind::ForwardedRequest(_))));
    }

    #[test]
    fn the_node_learns_once_that_something_is_lost() {
        let outbox = outbox();
        let is_reported = || {
            let mut inputs = Vec::new();
            outbox.inbox.take(Some(Duration::ZERO), &mut inputs);
            inputs.iter().any(|(input, _)| *input == NodeInput::Unreachable { peer: PEER })
        };
        let send = || send(&outbox);
        send();
        outbox.disconnect(PEER);
        assert!(!is_reported(), "without a stream no message was in flight");
        let (queue, mut arrives) = mpsc::channel(2);
        outbox.connect(PEER, queue, true);
        (0..2).for_each(|_| send());
        assert!(!is_reported());
        send();
        assert!(is_reported(), "the queue had no space for the third");
        send();
        arrives.try_recv().unwrap();
        (0..2).for_each(|_| send());
        assert!(!is_reported(), "many lost messages are one break");
        while arrives.try_recv().is_ok() {}
        (0..3).for_each(|_| send());
        assert!(is_reported(), "the queue was empty in between, so this is another break");
        outbox.disconnect(PEER);
        assert!(is_reported(), "the stream broke");
        outbox.disconnect(PEER);
        send();
        assert!(!is_reported(), "a failed attempt to connect is not a break");
    }
}
