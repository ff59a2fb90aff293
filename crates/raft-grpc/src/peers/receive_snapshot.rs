//! Takes in the snapshots of peers: checks who sends it and that it is whole, has it saved, and tells the node.
//!
//! Nothing is changed by one that does not arrive whole, is not what it says it is, or cannot be used here.

use super::{MAX_CHUNK_BYTES, MAX_SNAPSHOT_BYTES, SNAPSHOT_STALL};
use crate::disk_thread::{DiskQueue, Job};
use crate::inbox::Inbox;
use bytes::{Bytes, BytesMut};
use raft_core::{NodeId, SnapshotMeta, Term};
use raft_node::{NodeInput, SnapshotError, check_snapshot};
use raft_proto::snapshot_meta_from_wire;
use raft_proto::wire::raft::{Hello, SnapshotHeader, SnapshotRequest, snapshot_request};
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use xxhash_rust::xxh3::xxh3_64;

/// What a header announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) term: Term,
    pub(crate) meta: SnapshotMeta,
    size: usize,
    checksum: u64,
}

/// The first frame of a snapshot: who sends it, and what comes.
pub(crate) async fn header(
    frames: &mut (impl Stream<Item = Result<SnapshotRequest, Status>> + Unpin),
) -> Result<(Hello, Announced), Status> {
    let Some(snapshot_request::Kind::Header(header)) = next(frames).await? else {
        return Err(Status::invalid_argument("the first frame of a snapshot must be its header"));
    };
    let SnapshotHeader { hello, term, meta, size, checksum } = header;
    let missing = |place| Status::invalid_argument(format!("SnapshotHeader.{place} is missing"));
    let hello = hello.ok_or_else(|| missing("hello"))?;
    let meta = snapshot_meta_from_wire(meta.ok_or_else(|| missing("meta"))?);
    let meta = meta.map_err(|error| Status::invalid_argument(error.to_string()))?;
    match usize::try_from(size) {
        Ok(size) if size as u64 <= MAX_SNAPSHOT_BYTES => {
            Ok((hello, Announced { term: Term(term), meta, size, checksum }))
        }
        _ => Err(Status::resource_exhausted(format!(
            "the snapshot has {size} bytes: this node takes {MAX_SNAPSHOT_BYTES} at most"
        ))),
    }
}

/// The bytes that were announced, all of them and no others. Memory grows with what comes, not with what is claimed.
pub(crate) async fn content(
    frames: &mut (impl Stream<Item = Result<SnapshotRequest, Status>> + Unpin),
    announced: &Announced,
) -> Result<Bytes, Status> {
    let invalid = |reason: String| Err(Status::invalid_argument(reason));
    let mut data = BytesMut::new();
    while let Some(kind) = next(frames).await? {
        let snapshot_request::Kind::Chunk(chunk) = kind else {
            return invalid("after the header come chunks".to_owned());
        };
        if chunk.is_empty() || chunk.len() > MAX_CHUNK_BYTES {
            return invalid(format!("a chunk has 1 to {MAX_CHUNK_BYTES} bytes, and this one {}", chunk.len()));
        }
        if chunk.len() > announced.size - data.len() {
            return invalid(format!("more bytes come than the {} that were announced", announced.size));
        }
        data.extend_from_slice(&chunk);
    }
    if data.len() < announced.size {
        return invalid(format!("{} bytes came of {}", data.len(), announced.size));
    }
    let data = data.freeze();
    if xxh3_64(&data) != announced.checksum {
        return invalid("the checksum is not that of the bytes".to_owned());
    }
    match check_snapshot(&data, announced.meta.last) {
        Ok(()) => Ok(data),
        Err(error @ SnapshotError::UnknownFormat { .. }) => Err(Status::failed_precondition(error.to_string())),
        Err(error) => invalid(error.to_string()),
    }
}

/// The next frame, if one comes. One of a kind that this version does not know is refused.
async fn next(
    frames: &mut (impl Stream<Item = Result<SnapshotRequest, Status>> + Unpin),
) -> Result<Option<snapshot_request::Kind>, Status> {
    let frame = timeout(SNAPSHOT_STALL, frames.next()).await;
    match frame.map_err(|_| Status::deadline_exceeded("nothing comes any more"))?.transpose()? {
        None => Ok(None),
        Some(SnapshotRequest { kind: Some(kind) }) => Ok(Some(kind)),
        Some(_) => Err(Status::invalid_argument("SnapshotRequest.kind is missing or unknown to this version")),
    }
}

/// Where whole snapshots go.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    pub(crate) disk: Arc<DiskQueue>,
    pub(crate) inbox: Arc<Inbox>,
    /// One at a time: until the node has said whether it wants a file, no other of the same name may be saved.
    pub(crate) one: Arc<Mutex<()>>,
}

impl Keeper {
    /// Has it saved and tells the node. Must run to its end once begun: a file of which the node is never told stays until
    /// the next start.
    pub(crate) async fn keep(self, from: NodeId, announced: Announced, data: Bytes) -> Result<(), Status> {
        let _one = self.one.lock().await;
        let ending = || Status::unavailable("the node is ending");
        let Announced { term, meta, .. } = announced;
        let (kept, saved) = oneshot::channel();
        self.disk.ask(Job::Keep { meta: meta.clone(), data, kept });
        let saved = saved.await.map_err(|_| ending())?;
        saved.map_err(|error| Status::resource_exhausted(format!("it cannot be saved: {error}")))?;
        tracing::info!("a snapshot of {} has come from peer {}", meta.last, from.0);
        self.inbox.tell(NodeInput::SnapshotReceived { from, term, meta }).await.map_err(|_| ending())
    }
}
