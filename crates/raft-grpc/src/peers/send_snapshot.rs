//! Sends snapshots to peers, each on a connection of its own, and tells the node how far they are.
//!
//! One to a peer at a time: when the node asks for another, it has given the first one up.

use super::dial::connect;
use super::{MAX_CHUNK_BYTES, MAX_SNAPSHOT_BYTES, SNAPSHOT_STALL};
use crate::directory::Directory;
use crate::disk_thread::{DiskQueue, Job};
use crate::identity::Identity;
use crate::inbox::Inbox;
use crate::services::peer_client::PeerClient;
use bytes::Bytes;
use raft_core::{NodeId, SnapshotMeta, SnapshotOutcome, Term};
use raft_node::NodeInput;
use raft_proto::snapshot_meta_to_wire;
use raft_proto::wire::raft::{SnapshotHeader, SnapshotRequest, snapshot_request};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use xxhash_rust::xxh3::xxh3_64;

/// How often the node hears of progress.
const REPORT: Duration = Duration::from_millis(500);
/// How long a peer may take to save the whole once it has it.
const ANSWER: Duration = Duration::from_secs(60);

/// Where the node's snapshots leave.
#[derive(Debug)]
pub(crate) struct SnapshotSender {
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) disk: Arc<DiskQueue>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) runtime: Handle,
    /// What is on its way to each peer.
    pub(crate) under_way: Mutex<BTreeMap<NodeId, AbortHandle>>,
}

impl SnapshotSender {
    /// Sends a snapshot; gives up the one that is on its way to the same peer. Never waits.
    pub(crate) fn send(&self, to: NodeId, term: Term, meta: SnapshotMeta) {
        let Self { identity, directory, disk, inbox, .. } = self;
        let (identity, directory) = (identity.clone(), directory.clone());
        let (disk, inbox) = (disk.clone(), inbox.clone());
        let task = self.runtime.spawn(Sending { identity, directory, disk, inbox, to, term, meta }.run());
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = under_way.insert(to, task.abort_handle()) {
            before.abort();
        }
    }
}

/// A snapshot on its way.
struct Sending {
    identity: Arc<Identity>,
    directory: Arc<Directory>,
    disk: Arc<DiskQueue>,
    inbox: Arc<Inbox>,
    to: NodeId,
    term: Term,
    meta: SnapshotMeta,
}

impl Sending {
    async fn run(self) {
        let (to, last) = (self.to.0, self.meta.last);
        let outcome = match self.deliver().await {
            Ok(bytes) => {
                tracing::info!("the snapshot of {last} is delivered to peer {to}, {bytes} bytes");
                SnapshotOutcome::Delivered
            }
            Err(status) => {
                tracing::warn!("the snapshot of {last} is not delivered to peer {to}: {}", status.message());
                SnapshotOutcome::Failed
            }
        };
        self.report(outcome);
    }

    fn report(&self, outcome: SnapshotOutcome) {
        self.inbox.report(NodeInput::SnapshotSent { to: self.to, outcome });
    }

    /// Delivers it; how many bytes it has.
    async fn deliver(&self) -> Result<usize, Status> {
        let (fetched, data) = oneshot::channel();
        self.disk.ask(Job::Fetch { last: self.meta.last, fetched });
        let data = data.await.map_err(|_| Status::unavailable("the node is ending"))?;
        let data = data.ok_or_else(|| Status::not_found("a newer one has taken its place"))?;
        if data.len() as u64 > MAX_SNAPSHOT_BYTES {
            return Err(Status::out_of_range(format!(
                "it has {} bytes: the limit is {MAX_SNAPSHOT_BYTES}",
                data.len()
            )));
        }
        let facts = self.directory.get(self.to).filter(|_| !self.directory.is_cut());
        let url = facts.ok_or_else(|| Status::unavailable("it cannot be reached"))?.peer_url;
        let mut client = PeerClient::new(connect(&url).await?);
        let (queue, requests) = mpsc::channel(1);
        let mut call = pin!(client.snapshot(Request::new(ReceiverStream::new(requests))));
        let early = tokio::select! {
            answer = &mut call => Some(answer),
            fed = self.feed(queue, &data) => fed.map(|()| None)?,
        };
        let answer = match early {
            // Whoever has not had the whole has nothing.
            Some(Ok(_)) => return Err(Status::internal("it answered too early")),
            Some(answer) => answer,
            None => timeout(ANSWER, call).await.map_err(|_| Status::deadline_exceeded("it does not answer"))?,
        };
        answer.map(|_| data.len())
    }

    /// Hands over header and bytes as fast as they are taken.
    async fn feed(&self, queue: mpsc::Sender<SnapshotRequest>, data: &Bytes) -> Result<(), Status> {
        let header = SnapshotHeader {
            hello: Some(self.identity.hello(self.to)),
            term: self.term.0,
            meta: Some(snapshot_meta_to_wire(&self.meta)),
            size: data.len() as u64,
            checksum: xxh3_64(data),
        };
        let mut reported = Instant::now();
        let mut next = snapshot_request::Kind::Header(Box::new(header));
        let mut rest = data.clone();
        loop {
            let request = SnapshotRequest { kind: Some(next) };
            let sent = timeout(SNAPSHOT_STALL, queue.send(request)).await;
            if sent.map_err(|_| Status::deadline_exceeded("it takes nothing any more"))?.is_err() {
                // The call has ended, and says why.
                return std::future::pending().await;
            }
            if self.directory.is_cut() {
                return Err(Status::unavailable("it cannot be reached any more"));
            }
            if reported.elapsed() >= REPORT {
                self.report(SnapshotOutcome::Progress);
                reported = Instant::now();
            }
            if rest.is_empty() {
                return Ok(());
            }
            next = snapshot_request::Kind::Chunk(rest.split_to(rest.len().min(MAX_CHUNK_BYTES)));
        }
    }
}
