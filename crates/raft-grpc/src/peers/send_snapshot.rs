//! Sends pieces of snapshots to peers, on a connection of its own to each, so that no message waits behind one.
//!
//! A piece that cannot be sent is dropped: the node asks after a while how far the peer is, and sends it again.

use super::dial::connect;
use super::{MAX_PIECE_BYTES, PIECE_STALL};
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

/// Where the pieces of the node's snapshots leave.
#[derive(Debug)]
pub(crate) struct SnapshotSender {
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) runtime: Handle,
    /// Who sends to each peer, once something is to be sent there.
    pub(crate) couriers: Mutex<BTreeMap<NodeId, mpsc::Sender<SnapshotChunk>>>,
}

impl SnapshotSender {
    /// Sends a piece, or drops it. Never waits.
    pub(crate) fn send(&self, to: NodeId, chunk: SnapshotChunk) {
        let mut couriers = self.couriers.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = couriers.entry(to).or_insert_with(|| {
            let (queue, pieces) = mpsc::channel(1);
            let (identity, directory) = (self.identity.clone(), self.directory.clone());
            self.runtime.spawn(SnapshotTask { identity, directory, to, client: None, said: String::new() }.run(pieces));
            queue
        });
        if queue.try_send(chunk).is_err() {
            self.directory.update(to, |facts| facts.dropped += 1);
        }
    }
}

/// Sends to one peer.
struct SnapshotTask {
    identity: Arc<Identity>,
    directory: Arc<Directory>,
    to: NodeId,
    /// As long as it works.
    client: Option<PeerClient<Channel>>,
    /// The last complaint: a peer that is down for hours is one line.
    said: String,
}

impl SnapshotTask {
    async fn run(mut self, mut pieces: mpsc::Receiver<SnapshotChunk>) {
        while let Some(chunk) = pieces.recv().await {
            let last = chunk.meta.last;
            let sent = timeout(PIECE_STALL, self.deliver(&chunk)).await;
            let sent = sent.unwrap_or_else(|_| Err(Status::deadline_exceeded("it takes nothing any more")));
            let Err(status) = sent else {
                self.said.clear();
                continue;
            };
            self.client = None;
            if self.said != status.message() {
                let to = self.to.0;
                tracing::warn!("a piece of the snapshot of {last} is not delivered to peer {to}: {}", status.message());
                status.message().clone_into(&mut self.said);
            }
        }
    }

    async fn deliver(&mut self, chunk: &SnapshotChunk) -> Result<(), Status> {
        let facts = self.directory.get(self.to).filter(|_| !self.directory.is_cut());
        let url = facts.ok_or_else(|| Status::unavailable("it cannot be reached"))?.peer_url;
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(PeerClient::new(connect(&url).await?).max_encoding_message_size(MAX_PIECE_BYTES)),
        };
        let hello = Some(self.identity.hello(self.to));
        let request = SnapshotRequest { hello, chunk: Some(chunk_to_wire(chunk)) };
        client.snapshot(Request::new(request)).await.map(drop)
    }
}
