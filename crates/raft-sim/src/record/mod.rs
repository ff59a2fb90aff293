//! One record for everything that happens in the world, in order. Checkers, traces, explanations, hashes and reports all
//! read this one stream and nothing else.

#![allow(missing_docs)] // a field without a comment is what its name says

pub mod explain;
pub mod hash;
pub mod trace;

use crate::faults::Fault;
use crate::scenario::model::Limits;
use bytes::Bytes;
use raft_check::history::Operation;
use raft_core::{
    Configuration, Entries, EntryId, Event, HardState, LogIndex, NodeId, ReadId, RequestId, RoleKind, Rpc,
    SnapshotMeta, StopReason, Term, Write, WriteId, nanos,
};
use raft_node::{Reply, SnapshotError, SnapshotFile, SnapshotMessage, WriteOutcome};
use raft_store::{DiskId, PeerCheck};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// True time: nanoseconds since the world began. Nodes see their own clocks; checkers see this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub u64);

impl SimTime {
    /// This time plus `duration`, at most the end of time.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Something that happened, with the state of its node right after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the run, from 1.
    pub number: u64,
    pub at: SimTime,
    /// The number of the record that caused it, if one did: a delivery is caused by its sending, an output by its input,
    /// a request by the invocation it serves, the end of an operation by the answer.
    pub cause: Option<u64>,
    /// To which node; none for the world and for clients.
    pub node: Option<NodeId>,
    /// Counts the calls of all nodes: what one call was given and what it asked for share a number. 0: outside of any call.
    pub call: u64,
    pub kind: RecordKind,
    /// The node after the step this record belongs to; none while it is down.
    pub view: Option<NodeView>,
}

/// What a node looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeView {
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    pub role: RoleKind,
    pub leader: Option<NodeId>,
    pub commit: LogIndex,
    /// The first index in its log: what stood before it is covered by its snapshot.
    pub first: LogIndex,
    pub last: EntryId,
    /// The last entry that its newest snapshot covers, durable or not.
    pub snapshot: Option<EntryId>,
    /// The index up to which it has applied.
    pub applied: LogIndex,
    /// What a leader has sent its peers without an answer yet.
    pub in_flight: InFlight,
    /// What its limits bound.
    pub quotas: Quotas,
    pub configuration: Option<Configuration>,
}

/// What a leader has in flight, over all its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// Appends with entries.
    pub messages: u64,
    pub bytes: u64,
    pub snapshots: u64,
}

/// How much of all that its limits bound a node has; see [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of entries that a leader has not committed.
    pub uncommitted_bytes: u64,
    /// Bytes that wait for the disk.
    pub unpersisted_bytes: u64,
    /// Bytes of entries that the state machine has not applied.
    pub applying_bytes: u64,
    /// Reads that wait at a leader.
    pub pending_reads: usize,
    /// Appends with entries in flight to the peer with the most of them.
    pub inflight_messages: usize,
    /// Bytes of entries in flight to the peer with the most of them.
    pub inflight_bytes: u64,
    /// How many peers have entries waiting for them while so many bytes are on their way that no more may leave.
    pub blocked_peers: u64,
}

/// A run's hash leaves them out: they follow from the inputs and outputs, which it covers.
impl Hash for Quotas {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A node started, with what its store recovered: its hard state, its snapshot, its log as far as it was not compacted.
    Started {
        /// Counts the starts of this node, from 1.
        incarnation: u64,
        hard_state: HardState,
        snapshot: Option<SnapshotMeta>,
        entries: Entries,
        /// The number of the disk operation up to which everything must be durable for the recovered state to be.
        disk_mark: u64,
        /// The highest disk operation such that it and all before it are durable.
        disk_durable: u64,
    },
    /// A node did not start: the store or the core refused.
    RefusedToStart { error: String },
    /// A node's process ended without warning.
    Crashed {
        crash: CrashKind,
        /// How many bytes or files that were not synced this took away; of a disk that is lost, all operations.
        lost: u64,
    },
    /// The node received a message, decoded from its bytes.
    Received { from: NodeId, rpc: Rpc },
    /// The node was called because its deadline had come.
    TimerFired,
    /// The node received a client's request.
    Requested { id: RequestId },
    /// The node was asked to campaign.
    CampaignAsked,
    /// The store wrote a group of writes: readable, not durable. The mark is the last disk operation this took.
    Wrote { writes: Vec<Write>, disk_mark: u64 },
    /// The store's sync returned success, and the node was notified.
    Persisted {
        /// The newest write it covered.
        write: WriteId,
        /// The highest disk operation such that it and all before it are durable: asked of the disk, not the store.
        disk_durable: u64,
    },
    /// The node asked for a message to be sent.
    Sent { to: NodeId, rpc: Rpc, verdict: Verdict },
    /// The node asked for a write.
    Asked { write: Write },
    /// The node applied entries; the hash is of its state after them.
    Applied { entries: Entries, state_hash: u128 },
    /// The node answered a client.
    Replied { id: RequestId, reply: Reply },
    /// The node reported a change of configuration, with the entry that carries it.
    ConfigurationChanged { configuration: Configuration, at: EntryId, committed: bool },
    /// The node reported that it stopped.
    Stopped { reason: StopReason },
    /// The core explained itself.
    Observed(Event),
    /// A client began an operation. The label is for people: `put k3 = v17`.
    Invoked { client: u64, label: String },
    /// A client's operation ended (or was given up): the finished line of the history.
    Returned { operation: Operation },
    /// A fault began or ended, or a scenario step ran, in the scenario's words: `cut 1>3`, `heal`.
    Fault { label: String },
    /// The node received bytes that it could not decode.
    Garbage { from: NodeId, bytes: Bytes },
    /// The node was asked to take a snapshot.
    SnapshotWished,
    /// The node took a snapshot of its state, and asked for its first chunk to be written.
    SnapshotTaken { meta: SnapshotMeta },
    /// The node was notified that a chunk of a snapshot's file is written up to `end`, and not the last one.
    SnapshotGrown { file: SnapshotFile, last: EntryId, end: u64 },
    /// The node was notified that a snapshot's file is not written, or cannot be used, and is gone.
    SnapshotNotWritten { file: SnapshotFile, last: EntryId, outcome: WriteOutcome },
    /// The node was notified that its snapshot's file is complete and durable; whether it is was asked of the disk, not the
    /// store.
    SnapshotSaved { meta: SnapshotMeta, durable: bool },
    /// The same of the file of a peer's snapshot.
    SnapshotReceived { meta: SnapshotMeta, durable: bool },
    /// The node was given a chunk of a snapshot's file, for a peer.
    SnapshotRead {
        to: NodeId,
        last: EntryId,
        offset: u64,
        /// How long the chunk is; none: the file is gone.
        bytes: Option<u64>,
    },
    /// The node sent a message about a snapshot.
    SnapshotSaid { to: NodeId, message: SnapshotMessage, verdict: Verdict },
    /// The node received a message about a snapshot.
    SnapshotHeard { from: NodeId, message: SnapshotMessage },
    /// The node gave up the unfinished file of a peer's snapshot.
    SnapshotDropped { last: EntryId },
    /// The node refused a peer's complete snapshot.
    SnapshotRefused { from: NodeId, meta: SnapshotMeta, error: SnapshotError },
    /// The node had the file of a snapshot checked.
    SnapshotChecked { last: EntryId },
    /// The node asked for its snapshot to be loaded, to set its state machine to it.
    SnapshotWanted { meta: SnapshotMeta },
    /// The node was given the snapshot it had asked for.
    SnapshotLoaded { meta: SnapshotMeta },
    /// The node set its state machine to a snapshot; the hash is of its state after it.
    Restored { meta: SnapshotMeta, state_hash: u128 },
    /// A snapshot's file was deleted: a newer one replaces it, or no record named it.
    SnapshotRemoved { last: EntryId },
    /// The node asked for the log before an index to be dropped.
    Compacted { before: LogIndex },
    /// The node asked for entries that it no longer has in memory.
    ReadAsked { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// The node was given entries that it had asked for; none: they are gone.
    LogRead { read: ReadId, entries: Entries },
    /// The node's disk was damaged, or made one of its calls fail.
    DiskFault {
        fault: Fault,
        /// A sector; empty if the call says where.
        place: String,
    },
    /// A node that has just started preallocates so many bytes on its disk.
    ReserveKept { bytes: u64 },
    /// The node was notified whether that reserve is gone.
    SpaceTold { is_low: bool },
    /// The node asked for its disk to be tried for space.
    SpaceAsked,
    /// A message was dropped: the node's inbox was full.
    MessageDropped { from: NodeId },
    /// A client's request was refused: the node's inbox was full.
    RequestRefused { id: RequestId },
    /// The node was notified that what it sent to a peer may be lost.
    UnreachableTold { peer: NodeId },
    /// The node's disk has looked up which disk a peer is on, and remembers it if it is new.
    PeerRegistered {
        peer: NodeId,
        /// The disk that the peer says it is on.
        disk: DiskId,
        /// None: there is no space to remember it.
        found: Option<PeerCheck>,
    },
    /// A client sent a query, in a run whose clients read and write several keys at once: they keep no history.
    Queried { client: u64, label: String, query: Bytes },
    /// A client's operation ended (or was given up), in such a run.
    Ended { client: u64, label: String },
    /// A node has limits of its own, drawn for the whole run.
    LimitsDrawn { priority: u32, limits: Limits },
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashKind {
    /// The process is killed: bytes written and not synced stay readable.
    Kill,
    /// The machine loses power: what was not synced may vanish, wholly or partly.
    PowerLoss,
    /// The machine loses its disk: it comes back with an empty one.
    DiskLoss,
    /// The machine's disk goes back to what it held at an earlier start.
    DiskRollback,
}

/// What the network does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Delivers so many copies: one, or more if duplicated.
    Delivered { copies: u32 },
    /// Loses it at random.
    Lost,
    /// Loses it because the link is cut.
    Cut,
    /// Loses it because a rule of the scenario drops its kind.
    Dropped,
}
