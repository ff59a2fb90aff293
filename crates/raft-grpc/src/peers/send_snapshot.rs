//! Sends chunks of snapshots to peers, on a separate connection to each, so that no message waits for a chunk. A chunk
//! that cannot be sent is dropped: the node later asks for the peer's progress and sends it again.

use super::dial::connect;
use super::{CHUNK_TIMEOUT, MAX_CHUNK_BYTES};
use crate::directory::Directory;
use crate::identity::Identity;
use crate::services::peer_client::PeerClient;
use raft_core::NodeId;
use raft_node::SnapshotChunk;
use raft_proto::chunk_to_wire;
use raft_proto::wire::raft::SnapshotRequest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Status};

#[derive(Debug)]
pub(crate) struct SnapshotSender {
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) runtime: Handle,
    /// One task for each peer that was sent a chunk.
    pub(crate) tasks: Mutex<BTreeMap<NodeId, mpsc::Sender<SnapshotChunk>>>,
}

impl SnapshotSender {
    /// Sends a chunk, or drops it. It never waits.
    pub(crate) fn send(&self, to: NodeId, chunk: SnapshotChunk) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = tasks.entry(to).or_insert_with(|| {
            let (queue, chunks) = mpsc::channel(1);
            let (identity, directory) = (self.identity.clone(), self.directory.clone());
            self.runtime
                .spawn(SnapshotTask { identity, directory, to, client: None, last_error: String::new() }.run(chunks));
            queue
        });
        if queue.try_send(chunk).is_err() {
            self.directory.update(to, |facts| facts.dropped += 1);
        }
    }
}

struct SnapshotTask {
    identity: Arc<Identity>,
    directory: Arc<Directory>,
    to: NodeId,
    /// `None` after an error.
    client: Option<PeerClient<Channel>>,
    /// Each error is logged once.
    last_error: String,
}

impl SnapshotTask {
    async fn run(mut self, mut chunks: mpsc::Receiver<SnapshotChunk>) {
        while let Some(chunk) = chunks.recv().await {
            let last = chunk.meta.last;
            let sent = timeout(CHUNK_TIMEOUT, self.deliver(&chunk)).await;
            let sent = sent.unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not accept the chunk")));
            let Err(status) = sent else {
                self.last_error.clear();
                continue;
            };
            self.client = None;
            if self.last_error != status.message() {
                let to = self.to.0;
                tracing::warn!("a chunk of the snapshot of {last} did not reach peer {to}: {}", status.message());
                status.message().clone_into(&mut self.last_error);
            }
        }
    }

    async fn deliver(&mut self, chunk: &SnapshotChunk) -> Result<(), Status> {
        let facts = self.directory.get(self.to).filter(|_| !self.directory.is_cut());
        let url = facts.ok_or_else(|| Status::unavailable("it cannot be reached"))?.address.peer_url;
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(PeerClient::new(connect(&url).await?).max_encoding_message_size(MAX_CHUNK_BYTES)),
        };
        let hello = Some(self.identity.hello(self.to));
        let request = SnapshotRequest { hello, chunk: Some(chunk_to_wire(chunk)) };
        client.snapshot(Request::new(request)).await.map(drop)
    }
}
