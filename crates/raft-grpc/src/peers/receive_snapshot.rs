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
    let SnapshotHeader { hello, term, meta, size, checksum } = *header;
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

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use raft_core::{Configuration, EntryId};
    use raft_proto::snapshot_meta_to_wire;
    use raft_proto::wire::{raft, snapshot};
    use tonic::Code;

    type Frames = Vec<Result<SnapshotRequest, Status>>;

    fn data(format: u32, index: u64) -> Bytes {
        let last = Some(raft::EntryId { index, term: 1 });
        let machine = Bytes::from(vec![7; 1 << 20]);
        snapshot::Snapshot { format, last, sessions: vec![], machine }.encode_to_vec().into()
    }

    fn announcing(data: &Bytes) -> SnapshotHeader {
        let configuration = Configuration::of_voters([NodeId(1)]);
        let meta = SnapshotMeta { last: EntryId::new(5, 1), configuration, configured_at: EntryId::new(1, 1) };
        SnapshotHeader {
            hello: Some(Hello::default()),
            term: 2,
            meta: Some(snapshot_meta_to_wire(&meta)),
            size: data.len() as u64,
            checksum: xxh3_64(data),
        }
    }

    fn frames(header: SnapshotHeader, data: &Bytes) -> Frames {
        let chunks = data.chunks(1 << 19).map(|chunk| snapshot_request::Kind::Chunk(Bytes::copy_from_slice(chunk)));
        let kinds = std::iter::once(snapshot_request::Kind::Header(Box::new(header))).chain(chunks);
        kinds.map(|kind| Ok(SnapshotRequest { kind: Some(kind) })).collect()
    }

    async fn take(frames: Frames) -> Result<Bytes, Status> {
        let mut frames = tokio_stream::iter(frames);
        let (_, announced) = header(&mut frames).await?;
        content(&mut frames, &announced).await
    }

    #[tokio::test]
    async fn what_was_announced_is_taken() {
        let data = data(1, 5);
        assert_eq!(take(frames(announcing(&data), &data)).await.unwrap(), data);
    }

    #[tokio::test]
    async fn anything_else_is_refused_with_a_word() {
        let data = data(1, 5);
        let right = announcing(&data);
        let chunk = |bytes: Vec<u8>| Ok(SnapshotRequest { kind: Some(snapshot_request::Kind::Chunk(bytes.into())) });
        let with = |header: SnapshotHeader| frames(header, &data);
        let then = |more| with(right.clone()).into_iter().chain([more]).collect::<Frames>();
        let of = |data: &Bytes| frames(announcing(data), data);
        let short: Frames = with(right.clone()).into_iter().take(2).collect();
        let twice = [with(right.clone()), with(right.clone())].concat();
        let unknown = Ok(SnapshotRequest { kind: None });
        let one_more = SnapshotHeader { size: right.size + 1, ..right.clone() };
        let (invalid, failed) = (Code::InvalidArgument, Code::FailedPrecondition);
        let table: Vec<(Frames, Code, &str)> = vec![
            (vec![], invalid, "must be its header"),
            (vec![chunk(vec![1])], invalid, "must be its header"),
            (vec![unknown.clone()], invalid, "SnapshotRequest.kind"),
            (vec![Err(Status::aborted("it ended"))], Code::Aborted, "it ended"),
            (with(SnapshotHeader { hello: None, ..right.clone() }), invalid, "hello is missing"),
            (with(SnapshotHeader { meta: None, ..right.clone() }), invalid, "meta is missing"),
            (with(SnapshotHeader { meta: Some(Default::default()), ..right.clone() }), invalid, "SnapshotMeta."),
            (with(SnapshotHeader { size: u64::MAX, ..right.clone() }), Code::ResourceExhausted, "at most"),
            (with(SnapshotHeader { size: 5, ..right.clone() }), invalid, "more bytes come than the 5"),
            (with(SnapshotHeader { checksum: 1, ..right.clone() }), invalid, "checksum"),
            (with(one_more), invalid, "bytes came of"),
            (short, invalid, "bytes came of"),
            (twice, invalid, "after the header come chunks"),
            (then(unknown), invalid, "SnapshotRequest.kind"),
            (then(chunk(vec![])), invalid, "1 to 1048576 bytes"),
            (then(chunk(vec![0; (1 << 20) + 1])), invalid, "1 to 1048576 bytes"),
            (then(chunk(vec![1])), invalid, "more bytes come"),
            (of(&Bytes::from_static(b"\xff")), invalid, "malformed"),
            (of(&super::tests::data(1, 6)), invalid, "is of 6@1"),
            (of(&super::tests::data(2, 5)), failed, "format 2"),
        ];
        for (frames, code, words) in table {
            let status = take(frames).await.expect_err(words);
            assert!(status.code() == code && status.message().contains(words), "{words}: {status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_go_on_is_given_up() {
        let data = data(1, 5);
        let begun = frames(announcing(&data), &data).into_iter().take(2);
        let mut frames = tokio_stream::iter(begun).chain(tokio_stream::pending());
        let (_, announced) = header(&mut frames).await.unwrap();
        let status = content(&mut frames, &announced).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "nothing comes any more"));
    }
}
