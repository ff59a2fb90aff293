//! One record for each event in the world, in order. Checkers, traces, explanations, hashes and reports all read only
//! this stream.

pub mod explain;
pub mod hash;
pub mod trace;

use crate::faults::Fault;
use crate::scenario::model::Limits;
use bytes::Bytes;
use raft_check::history::Operation;
use raft_core::{
    Configuration, Entries, EntryId, Event, HardState, LogIndex, NodeId, PeerStatus, ReadId, RequestId, RoleKind, Rpc,
    SnapshotMeta, StopReason, Term, Write, WriteId, nanos,
};
use raft_node::{
    CallerRefusal, ForwardEnd, ForwardId, ForwardedReply, ForwardedRequest, InboxLoad, NodeLoad, Reply, SnapshotError,
    SnapshotFile, SnapshotMessage, WriteOutcome,
};
use raft_store::{DiskId, PeerCheck};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// True time: nanoseconds since the world began. Nodes see their own clocks; checkers see true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub u64);

impl SimTime {
    /// This time plus `duration`, at most the last time.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// An event, with the state of its node right after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The position of the record in the run, from 1.
    pub number: u64,
    pub at: SimTime,
    /// The number of the record that caused it, if there is one: a sending causes a delivery, an input an output, an
    /// invocation its requests, an answer the end of an operation.
    pub cause: Option<u64>,
    /// `None` for the world and for clients.
    pub node: Option<NodeId>,
    /// Counts the calls of all nodes: the inputs and the outputs of a call share a number. 0 is outside of any call.
    pub call: u64,
    pub kind: RecordKind,
    /// The node after the step of this record; `None` while it is down.
    pub view: Option<Box<NodeView>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeView {
    pub term: Term,
    pub voted_for: Option<NodeId>,
    pub role: RoleKind,
    pub leader: Option<NodeId>,
    pub commit: LogIndex,
    /// The first index in its log: its snapshot covers the entries before it.
    pub first: LogIndex,
    pub last: EntryId,
    /// The last entry that its newest snapshot covers, durable or not.
    pub snapshot: Option<EntryId>,
    pub applied: LogIndex,
    pub in_flight: InFlight,
    pub quotas: Quotas,
    pub configuration: Option<Configuration>,
    pub internals: Unhashed<Internals>,
}

/// State of a node that only checkers read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internals {
    /// Whether the core acts at some time without another input.
    pub has_timer: bool,
    /// The target of the leadership transfer in progress.
    pub transfer_to: Option<NodeId>,
    /// A leader's peers.
    pub peers: BTreeMap<NodeId, PeerStatus>,
    /// Bytes of entries in memory.
    pub cached_bytes: u64,
    pub load: NodeLoad,
    pub inbox: InboxLoad,
    pub caps: Caps,
}

/// The limits of a node that are not in [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub cached_bytes: u64,
    pub forwarded_requests: usize,
    pub forwarded_bytes: u64,
    pub sessions: usize,
}

/// The space of a store after the sync of a group of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceAfter {
    /// Counts the tasks of the node's disk.
    pub task: u64,
    /// Whether the reserve is short, according to the store.
    pub is_low: bool,
}

/// A part of a record that the hash of a run omits: it follows from the inputs and outputs, which the hash covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unhashed<T>(pub T);

impl<T> Hash for Unhashed<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The messages of a leader that no peer has answered, over all its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// Appends with entries.
    pub messages: u64,
    pub bytes: u64,
    pub snapshots: u64,
}

/// The use of a node's limits; see [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of entries that a leader has not committed.
    pub uncommitted_bytes: u64,
    pub unpersisted_bytes: u64,
    /// Bytes of entries that the state machine has not applied.
    pub applying_bytes: u64,
    pub pending_reads: usize,
    /// Appends with entries in flight to the peer with the most of them.
    pub inflight_messages: usize,
    /// Bytes of entries in flight to the peer with the most of them.
    pub inflight_bytes: u64,
    /// How many peers wait for entries because the bytes in flight have reached the limit.
    pub blocked_peers: u64,
}

/// The hash of a run omits them: they follow from the inputs and outputs, which it covers.
impl Hash for Quotas {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The kinds of events. Their order is part of the hash of a run, so new kinds go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A node started. The record has the state that its store recovered: its hard state, its snapshot, its log from
    /// the first index on.
    Started {
        /// Counts the starts of this node, from 1.
        incarnation: u64,
        hard_state: HardState,
        snapshot: Option<SnapshotMeta>,
        /// The log after compaction.
        entries: Entries,
        /// The number of the last disk operation that the recovered state needs.
        disk_mark: u64,
        /// The highest disk operation such that it and all before it are durable.
        disk_durable: u64,
    },
    /// A node did not start, or ended by itself, with the error of the store or the core.
    RefusedToStart { error: String },
    /// A node's process ended without warning.
    Crashed {
        crash: CrashKind,
        /// The number of unsynced bytes or files that were lost; for a lost disk, the number of operations.
        lost: u64,
    },
    /// Input: a message, decoded from its bytes.
    Received { from: NodeId, rpc: Rpc },
    /// Input: the node's deadline has come.
    TimerFired,
    /// Input: a request of a client; of a command, also its session and its number there.
    Requested { id: RequestId, command: Unhashed<Option<(u64, u64)>> },
    /// Input: an order to campaign.
    CampaignAsked,
    /// The store wrote a group of writes: they are readable, not durable.
    Wrote {
        writes: Vec<Write>,
        /// The number of the last disk operation of the group.
        disk_mark: u64,
    },
    /// Input: the store's sync returned success.
    Persisted {
        /// The newest write of the sync.
        write: WriteId,
        /// The highest disk operation such that it and all before it are durable, according to the disk, not the store.
        disk_durable: u64,
        space: Unhashed<SpaceAfter>,
    },
    /// Output: a message, and its treatment by the network.
    Sent { to: NodeId, rpc: Rpc, verdict: Verdict },
    /// Output: a write.
    Asked { write: Write },
    /// Output: the node applied entries; the hash is that of its state after them.
    Applied { entries: Entries, state_hash: u128 },
    /// Output: an answer to a client.
    Replied { id: RequestId, reply: Reply },
    /// Output: the configuration of the entry `at` changed or was committed.
    ConfigurationChanged { configuration: Configuration, at: EntryId, committed: bool },
    /// Output: the node stopped.
    Stopped { reason: StopReason },
    /// Output: an event of the core.
    Observed(Event),
    /// A client began an operation. The label is for people: `put k3 = v17`.
    Invoked { client: u64, label: String },
    /// A client's operation ended, or its client gave it up.
    Returned { operation: Operation },
    /// A fault began or ended, or a step ran. The label uses the scenario's syntax: `cut 1>3`, `heal`.
    Fault { label: String },
    /// Bytes reached a node that it could not decode.
    Garbage { from: NodeId, bytes: Bytes },
    /// Input: an order to take a snapshot.
    SnapshotWished,
    /// Output: the node took a snapshot of its state and emitted a write of its first chunk.
    SnapshotTaken { meta: SnapshotMeta },
    /// Input: a chunk of a snapshot's file is written, up to `end`, and not the last one.
    SnapshotGrown { file: SnapshotFile, last: EntryId, end: u64 },
    /// Input: a snapshot's file could not be written, or became obsolete, and is gone.
    SnapshotNotWritten { file: SnapshotFile, last: EntryId, outcome: WriteOutcome },
    /// Input: the file of the node's own snapshot is complete, and durable according to the store. `durable` comes from
    /// the disk.
    SnapshotSaved { meta: SnapshotMeta, durable: bool },
    /// Input: the file of a peer's snapshot is complete, and durable according to the store.
    SnapshotReceived { meta: SnapshotMeta, durable: bool },
    /// Input: a chunk of a snapshot's file for a peer, and its length; `None` if the file is gone.
    SnapshotRead { to: NodeId, last: EntryId, offset: u64, bytes: Option<u64> },
    /// Output: a message about a snapshot.
    SnapshotSaid { to: NodeId, message: SnapshotMessage, verdict: Verdict },
    /// Input: a message about a snapshot.
    SnapshotHeard { from: NodeId, message: SnapshotMessage },
    /// The unfinished file of a peer's snapshot was deleted.
    SnapshotDropped { last: EntryId },
    /// Output: the node refused a complete snapshot of a peer.
    SnapshotRefused { from: NodeId, meta: SnapshotMeta, error: SnapshotError },
    /// The file of a snapshot was verified.
    SnapshotChecked { last: EntryId },
    /// Output: the node requested the load of its snapshot, to restore its state machine.
    SnapshotWanted { meta: SnapshotMeta },
    /// Input: the snapshot that the node requested.
    SnapshotLoaded { meta: SnapshotMeta },
    /// Output: the node's state machine restored a snapshot; the hash is that of its state after it.
    Restored { meta: SnapshotMeta, state_hash: u128 },
    /// A snapshot's file was deleted: a newer one has replaced it, or no record ever named it.
    SnapshotRemoved { last: EntryId },
    /// Output: the log before an index can be dropped.
    Compacted { before: LogIndex },
    /// Output: the node requested entries that are no longer in memory.
    ReadAsked { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// Input: the entries that the node requested; `None` if they are gone.
    LogRead { read: ReadId, entries: Entries },
    /// The node's disk was damaged, or made one of its calls fail. The position, a sector, is for people; it is empty
    /// if the call names it.
    DiskFault { fault: Fault, place: String },
    /// A node that has just started keeps a reserve on its disk, for this many bytes of records.
    ReserveKept { bytes: u64 },
    /// Input: whether the reserve is short, after this task of the disk.
    SpaceTold { is_low: bool, task: Unhashed<u64> },
    /// Output: a request to the disk to try for space.
    SpaceAsked,
    /// A message was dropped: the node's inbox was full.
    MessageDropped { from: NodeId },
    /// A client's request was refused: the node's inbox was full.
    RequestRefused { id: RequestId },
    /// Input: a message that the node sent to a peer may be lost.
    UnreachableTold { peer: NodeId },
    /// The node's disk has looked up a peer's disk, and recorded it if it is new. Without a result there is no space
    /// for it.
    PeerRegistered { peer: NodeId, disk: DiskId, found: Option<PeerCheck> },
    /// A client began a query, in a run whose clients use several keys at once: such clients keep no history.
    Queried { client: u64, label: String, query: Bytes },
    /// A client's operation ended, or its client gave it up, in such a run.
    Ended { client: u64, label: String },
    /// A node has drawn limits for the whole run.
    LimitsDrawn { priority: u32, limits: Limits },
    /// Output: the node forwards a client's request to the leader, and what the network does with it.
    RequestForwarded { id: RequestId, to: NodeId, request: ForwardedRequest, verdict: Verdict },
    /// Input: a request that a peer has forwarded.
    ForwardedRequestReceived { from: NodeId, request: ForwardedRequest },
    /// Output: the reply to a forwarded request, and what the network does with it.
    ForwardedReplySent { to: NodeId, reply: ForwardedReply, verdict: Verdict },
    /// Input: a peer's reply to a forwarded request.
    ForwardedReplyReceived { from: NodeId, reply: ForwardedReply },
    /// Input: a forwarded request was not sent.
    NotForwarded { id: ForwardId },
    /// Output: a request was not forwarded, or ends without the leader's reply.
    ForwardEnded { id: RequestId, why: ForwardEnd },
    /// The operator has sent a node the request that begins a backup.
    BackupAsked { id: RequestId, node: NodeId },
    /// Input: the connection of the backup that this request began is closed.
    BackupCancelled { id: RequestId },
    /// The operator has the last chunk of a backup. `state_hash` is that of a node with the state in it, or the error of its
    /// decoder.
    BackupFinished { id: RequestId, node: NodeId, meta: SnapshotMeta, state_hash: Result<u128, String> },
    /// All nodes have ended, and the operator has made the folders of a new cluster: from a backup, or from the folder of one
    /// node. All founders start with this snapshot and no log.
    NewCluster {
        /// The last entry of the old data.
        saved: EntryId,
        /// The log of the node's folder; `None` for a backup.
        recovered: Option<Box<RecoveredLog>>,
        snapshot: SnapshotMeta,
        /// The hash of the state in it, and what it would be after `saved`.
        state_hash: u128,
        saved_hash: u128,
    },
    /// A message arrived from a node of another cluster.
    ForeignClusterRefused { from: NodeId },
    /// A swarm has drawn settings that are the same on all nodes: how many sessions a node keeps, how many answers in each, and how
    /// many changes its map remembers. It is the first record of its run.
    ClusterLimitsDrawn { max_sessions: u64, max_answers: u64, window_events: u64 },
    /// A client began a query that a node may answer from an old state.
    StaleQueried { client: u64, label: String, query: Bytes },
    /// A watch client sent a query to a node.
    WatchSent { watcher: u64, id: RequestId, label: String, query: Bytes },
    /// A watch client received an answer, its cause.
    Watched { watcher: u64, label: String },
    /// Input: the connection of this watch is closed.
    WatchCancelled { id: RequestId },
    /// A node's clock jumped by this many nanoseconds; below 0 it went back.
    ClockJumped { by_ns: i64 },
    /// A host refused a message, because of the ids that its sender names.
    CallerRefused { from: NodeId, why: CallerRefusal },
    /// Input: a message that no node has sent, with the text of the record that a true one would have.
    Forged { from: NodeId, message: String },
}

/// The log of a folder from which a cluster was recovered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecoveredLog {
    /// The last entry that its snapshot covers.
    pub covered: EntryId,
    /// The entries after that.
    pub entries: Entries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashKind {
    /// The process was killed: bytes that were written and not synced stay readable.
    Kill,
    /// The machine lost power: unsynced data may vanish, completely or partly.
    PowerLoss,
    /// The machine lost its disk and comes back with an empty one.
    DiskLoss,
    /// The machine's disk went back to its content at an earlier start.
    DiskRollback,
}

/// The network's treatment of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It delivers this many copies: more than one if the message is duplicated.
    Delivered { copies: u32 },
    /// It loses the message at random.
    Lost,
    /// It loses the message because the link is cut.
    Cut,
    /// It loses the message because a rule of the scenario drops its kind.
    Dropped,
}
