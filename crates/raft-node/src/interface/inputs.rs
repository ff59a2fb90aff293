//! The inputs that a host gives a node: time, messages of peers, requests of clients, and the results of the node's
//! outputs.

use super::disk_jobs::{SnapshotFile, WriteOutcome};
use super::forwards::{ForwardId, ForwardedReply, ForwardedRequest};
use super::requests::Request;
use bytes::Bytes;
use raft_core::{Entries, EntryId, NodeId, ReadId, RequestId, Rpc, SnapshotMeta, WriteId};
use raft_proto::SnapshotMessage;
use raft_store::FileChunk;

/// An input of [`Node::step`](crate::Node::step). A result that the node does not expect has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeInput {
    /// Time has passed.
    Tick,
    /// A protocol message of a peer.
    Receive { from: NodeId, rpc: Rpc },
    /// A client's request. It gets exactly one `Reply` or `LeaderReply`, in this call or a later one, unless the process ends.
    /// The host chooses the id, below 2^63; no two requests without a reply share one.
    Request { id: RequestId, request: Request },
    /// A request that a peer has forwarded. It gets at most one `ForwardReply`. The transport has authenticated the peer and
    /// delivers a forwarded request at most once: with two copies, one could be refused while the other takes effect.
    ForwardedRequest { from: NodeId, request: ForwardedRequest },
    /// A peer's reply to a forwarded request. Any content is safe.
    ForwardedReply { from: NodeId, reply: ForwardedReply },
    /// The host has not sent this `ForwardRequest` and never will: it has no effect.
    NotForwarded { id: ForwardId },
    /// The client of this watch or backup is gone: it gets no reply, and the backup ends. Another request still gets one.
    CancelWatch { id: RequestId },
    /// Start an election, if allowed.
    Campaign,
    /// The connection to this peer broke: messages to it may be lost. This is a hint: a false one is harmless.
    Unreachable { peer: NodeId },
    /// This write and all earlier ones are durable.
    Persisted { write: WriteId },
    /// Whether the store has less free space than [`NodeOptions::reserve_bytes`](crate::NodeOptions). A node starts
    /// with enough space. The host sends every change **before** the `Persisted` of the writes that caused it, and
    /// sends the result of a `ReserveSpace`.
    Space { is_low: bool },
    /// The result of a `ReadLog`: consecutive entries from the first requested one, or none if they no longer exist.
    LogRead { read: ReadId, entries: Entries },
    /// Take a snapshot now, whatever the policy says. Nothing happens while the node saves or loads one, nor if it has applied
    /// nothing since the newest one.
    TakeSnapshot,
    /// The result of a `SnapshotJob::Write` whose chunk ends at `end`.
    SnapshotWritten { file: SnapshotFile, last: EntryId, end: u64, outcome: WriteOutcome },
    /// The result of a `SnapshotJob::Read`; without a chunk if the file does not exist.
    SnapshotRead { to: NodeId, last: EntryId, offset: u64, chunk: Option<FileChunk> },
    /// The result of a `SnapshotJob::Load`: the content of the snapshot.
    SnapshotLoaded { meta: SnapshotMeta, data: Bytes },
    /// A peer's message about a snapshot transfer. The transport has authenticated the peer; any content is safe.
    SnapshotMessage { from: NodeId, message: SnapshotMessage },
}
