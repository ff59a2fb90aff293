//! One record for everything that happens in the world, in order. Checkers, traces, explanations, hashes and reports all
//! read this one stream and nothing else.

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
    /// When.
    pub at: SimTime,
    /// The number of the record that caused it, if one did: a delivery is caused by its sending, an output by its input,
    /// a request by the invocation it serves, the end of an operation by the answer.
    pub cause: Option<u64>,
    /// To which node; none for the world and for clients.
    pub node: Option<NodeId>,
    /// Counts the calls of all nodes: what one call was given and what it asked for share a number. 0: outside of any call.
    pub call: u64,
    /// What.
    pub kind: RecordKind,
    /// The node after the step this record belongs to; none while it is down.
    pub view: Option<NodeView>,
}

/// What a node looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeView {
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// Its role.
    pub role: RoleKind,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// Its commit index.
    pub commit: LogIndex,
    /// The first index in its log: what stood before it is covered by its snapshot.
    pub first: LogIndex,
    /// Its last entry.
    pub last: EntryId,
    /// The last entry that its newest snapshot covers, durable or not.
    pub snapshot: Option<EntryId>,
    /// The index up to which it has applied.
    pub applied: LogIndex,
    /// What a leader has sent its peers and not heard back of.
    pub in_flight: InFlight,
    /// What its limits bound.
    pub quotas: Quotas,
    /// The configuration in force, if any.
    pub configuration: Option<Configuration>,
}

/// What a leader has on its way, over all its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// Appends with entries.
    pub messages: u64,
    /// Bytes of entries.
    pub bytes: u64,
    /// Snapshots.
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
    /// Appends with entries on their way to the peer with the most of them.
    pub inflight_messages: usize,
    /// Bytes of entries on their way to the peer with the most of them.
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
    /// A node started, with what its store recovered.
    Started {
        /// Counts the starts of this node, from 1.
        incarnation: u64,
        /// The recovered hard state.
        hard_state: HardState,
        /// The recovered snapshot.
        snapshot: Option<SnapshotMeta>,
        /// The recovered log, as far as it was not compacted.
        entries: Entries,
        /// The number of the disk operation up to which everything must be durable for the recovered state to be.
        disk_mark: u64,
        /// The highest disk operation such that it and all before it are durable.
        disk_durable: u64,
    },
    /// A node did not start.
    RefusedToStart {
        /// The store's or the core's words.
        error: String,
    },
    /// A node's process ended without warning.
    Crashed {
        /// How.
        crash: CrashKind,
        /// How many bytes or files that were not synced this took away; of a disk that is lost, all operations.
        lost: u64,
    },
    /// A message arrived and was handed to the node.
    Received {
        /// The sender.
        from: NodeId,
        /// The message, decoded from its bytes.
        rpc: Rpc,
    },
    /// The node was called because its deadline had come.
    TimerFired,
    /// A client's request was handed to the node.
    Requested {
        /// Its number.
        id: RequestId,
    },
    /// The node was told to campaign.
    CampaignAsked,
    /// The store wrote a group of writes: readable, not durable.
    Wrote {
        /// The writes.
        writes: Vec<Write>,
        /// The number of the last disk operation this took.
        disk_mark: u64,
    },
    /// The store's sync returned success and the node was told.
    Persisted {
        /// The newest write it covered.
        write: WriteId,
        /// The highest disk operation such that it and all before it are durable: asked of the disk, not the store.
        disk_durable: u64,
    },
    /// The node asked for a message to be sent.
    Sent {
        /// To whom.
        to: NodeId,
        /// What.
        rpc: Rpc,
        /// The network's verdict.
        verdict: Verdict,
    },
    /// The node asked for a write.
    Asked {
        /// The write.
        write: Write,
    },
    /// The node applied entries.
    Applied {
        /// The entries.
        entries: Entries,
        /// The hash of its state after them.
        state_hash: u128,
    },
    /// The node answered a client.
    Replied {
        /// The request.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// The node reported a change of configuration.
    ConfigurationChanged {
        /// The configuration.
        configuration: Configuration,
        /// The entry that carries it.
        at: EntryId,
        /// Whether it is committed.
        committed: bool,
    },
    /// The node reported that it stopped.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// The core explained itself.
    Observed(Event),
    /// A client began an operation.
    Invoked {
        /// Who.
        client: u64,
        /// A label for people: `put k3 = v17`.
        label: String,
    },
    /// A client's operation ended (or was given up).
    Returned {
        /// The finished line of the history.
        operation: Operation,
    },
    /// A fault began or ended, or a scenario step was carried out.
    Fault {
        /// What, in the scenario's words: `cut 1>3`, `heal`.
        label: String,
    },
    /// Bytes reached a node that it could not decode.
    Garbage {
        /// The sender.
        from: NodeId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The node was told to take a snapshot.
    SnapshotWished,
    /// The node took a snapshot of its state, and asked for the first piece of it to be written.
    SnapshotTaken {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// The node was told that a piece of a snapshot's file is written, and not the last one.
    SnapshotGrown {
        /// Which file.
        file: SnapshotFile,
        /// The last entry of the snapshot.
        last: EntryId,
        /// Where the piece ends.
        end: u64,
    },
    /// The node was told that a snapshot's file is not written, or of no use, and is gone.
    SnapshotNotWritten {
        /// Which file.
        file: SnapshotFile,
        /// The last entry of the snapshot.
        last: EntryId,
        /// Why.
        outcome: WriteOutcome,
    },
    /// The node was told that its snapshot's file is whole and durable.
    SnapshotSaved {
        /// The snapshot.
        meta: SnapshotMeta,
        /// Whether it is: asked of the disk, not the store.
        durable: bool,
    },
    /// The node was told that the file of a peer's snapshot is whole and durable.
    SnapshotReceived {
        /// The snapshot.
        meta: SnapshotMeta,
        /// Whether it is: asked of the disk, not the store.
        durable: bool,
    },
    /// The node was given a piece of a snapshot's file, for a peer.
    SnapshotRead {
        /// For whom.
        to: NodeId,
        /// The last entry of the snapshot.
        last: EntryId,
        /// Where the piece begins.
        offset: u64,
        /// How long it is; none: the file is gone.
        bytes: Option<u64>,
    },
    /// The node sent a message about a snapshot.
    SnapshotSaid {
        /// To whom.
        to: NodeId,
        /// What.
        message: SnapshotMessage,
        /// The network's verdict.
        verdict: Verdict,
    },
    /// The node was given a message about a snapshot.
    SnapshotHeard {
        /// The sender.
        from: NodeId,
        /// What.
        message: SnapshotMessage,
    },
    /// The node gave up the unfinished file of a peer's snapshot.
    SnapshotDropped {
        /// The last entry of the snapshot.
        last: EntryId,
    },
    /// The node refused a peer's snapshot that is whole.
    SnapshotRefused {
        /// The peer.
        from: NodeId,
        /// The snapshot.
        meta: SnapshotMeta,
        /// Why.
        error: SnapshotError,
    },
    /// The node had the file of a snapshot checked.
    SnapshotChecked {
        /// The last entry of the snapshot.
        last: EntryId,
    },
    /// The node asked for its snapshot to be loaded, to set its state machine to it.
    SnapshotWanted {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// The node was given the snapshot it had asked for.
    SnapshotLoaded {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// The node set its state machine to a snapshot.
    Restored {
        /// The snapshot.
        meta: SnapshotMeta,
        /// The hash of its state after it.
        state_hash: u128,
    },
    /// A snapshot's file was deleted: a newer one has taken its place, or nothing ever named it.
    SnapshotRemoved {
        /// The last entry that it covered.
        last: EntryId,
    },
    /// The node asked for the log before an index to be forgotten.
    Compacted {
        /// The first index that stays.
        before: LogIndex,
    },
    /// The node asked for entries that it no longer has in memory.
    ReadAsked {
        /// The question.
        read: ReadId,
        /// The first index.
        first: LogIndex,
        /// The last index.
        last: LogIndex,
        /// Enough bytes.
        max_bytes: u64,
    },
    /// The node was given entries that it had asked for; none: they are gone.
    LogRead {
        /// The question.
        read: ReadId,
        /// The entries.
        entries: Entries,
    },
    /// The node's disk was damaged, or made one of its calls fail.
    DiskFault {
        /// How.
        fault: Fault,
        /// Where, for people: a sector; empty if the call says it.
        place: String,
    },
    /// A node that has just started keeps room ahead on its disk.
    ReserveKept {
        /// For so many bytes of records.
        bytes: u64,
    },
    /// The node was told whether that room is there.
    SpaceTold {
        /// It is not.
        is_low: bool,
    },
    /// The node asked for its disk to be tried for space.
    SpaceAsked,
    /// A message was dropped: the node's inbox had no room for it.
    MessageDropped {
        /// The sender.
        from: NodeId,
    },
    /// A client's request was refused: the node's inbox had no room for it.
    RequestRefused {
        /// Its number.
        id: RequestId,
    },
    /// The node was given that what it sent to a peer may be lost.
    UnreachableTold {
        /// The peer.
        peer: NodeId,
    },
    /// The node's disk has looked up which disk a peer is on, and remembers it if it is new.
    PeerRegistered {
        /// The peer.
        peer: NodeId,
        /// The disk that it says it is on.
        disk: DiskId,
        /// What came of it; none: there is no space to remember it.
        found: Option<PeerCheck>,
    },
    /// A client began to ask, in a run whose clients want several keys at once: they keep no history.
    Queried {
        /// Who.
        client: u64,
        /// A label for people.
        label: String,
        /// The question, as the state machine reads it.
        query: Bytes,
    },
    /// A client's operation ended (or was given up), in such a run.
    Ended {
        /// Who.
        client: u64,
        /// What became of what, for people.
        label: String,
    },
    /// A node has limits of its own, for the whole run: they were drawn.
    LimitsDrawn {
        /// Its priority.
        priority: u32,
        /// Its limits.
        limits: Limits,
    },
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
    /// Delivers it this many times (once, or more if duplicated).
    Delivered {
        /// How many copies.
        copies: u32,
    },
    /// Loses it at random.
    Lost,
    /// Loses it because the link is cut.
    Cut,
    /// Loses it because a rule of the scenario drops its kind.
    Dropped,
}
