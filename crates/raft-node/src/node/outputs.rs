//! What a node can be told and what it asks for: the shape of the core, one floor up.

use crate::clients::envelope::SessionCommand;
use crate::snapshots::content::SnapshotError;
use bytes::Bytes;
use raft_core::{
    Configuration, Entries, EntryId, Event, LogIndex, MembershipChange, NodeId, ReadId, ReadMode, RejectReason,
    RequestId, Rpc, SnapshotMeta, StopReason, Term, TransferFailure, Write, WriteId,
};
use raft_proto::SnapshotMessage;
use raft_store::FileChunk;

/// A client session, named by the index of the entry that opened it (Thesis §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Everything a node can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeInput {
    /// Nothing but the time.
    Tick,
    /// A peer's message.
    Receive {
        /// The peer.
        from: NodeId,
        /// What it said.
        rpc: Rpc,
    },
    /// A client's request. Answered by exactly one `Reply`, in this call or a later one, unless the process ends.
    Request {
        /// Chosen by the host, repeated in the reply; unique among the unanswered, and below 2^63.
        id: RequestId,
        /// What the client wants.
        request: Request,
    },
    /// Nobody waits for the answer to this watch any more, and none will come. What is no watch is answered all the same.
    CancelWatch {
        /// The request.
        id: RequestId,
    },
    /// Start an election, if allowed.
    Campaign,
    /// What was sent to this peer may be lost: the connection to it broke. A hint, true or not.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// This write and all before it are durable.
    Persisted {
        /// The newest contiguous durable write.
        write: WriteId,
    },
    /// Whether the store has room for [`NodeOptions::reserve_bytes`](crate::NodeOptions) of records: told whenever that is
    /// another than before, at first that there is; **before** the `Persisted` of the writes after which it is so. And in
    /// answer to a `MakeRoom`.
    Space {
        /// It has not: nothing that can be refused is to be written.
        is_low: bool,
    },
    /// The answer to a `ReadLog`. An answer to a question that is no longer asked changes nothing.
    LogRead {
        /// The question.
        read: ReadId,
        /// Consecutive entries from the first that was asked for on; none: they are gone.
        entries: Entries,
    },
    /// Take a snapshot now, whatever the policy says. Nothing happens while one is being saved or loaded, nor if nothing was
    /// applied since the newest one.
    TakeSnapshot,
    /// The answer to a `SnapshotJob::Write`. What was not asked for changes nothing.
    SnapshotWritten {
        /// Which file.
        file: SnapshotFile,
        /// The last entry of the snapshot.
        last: EntryId,
        /// Where the chunk ends.
        end: u64,
        /// What came of it.
        outcome: WriteOutcome,
    },
    /// The answer to a `SnapshotJob::Read`. An answer to a question that is no longer asked changes nothing.
    SnapshotRead {
        /// As asked.
        to: NodeId,
        /// As asked.
        last: EntryId,
        /// As asked.
        offset: u64,
        /// What is there; none: there is no such file.
        chunk: Option<FileChunk>,
    },
    /// The answer to a `SnapshotJob::Load`. An answer to a question that is no longer asked changes nothing.
    SnapshotLoaded {
        /// The snapshot.
        meta: SnapshotMeta,
        /// What was once saved, or received.
        data: Bytes,
    },
    /// What a peer says about a snapshot that goes from one to the other. Any content is safe.
    SnapshotMessage {
        /// The peer, as the transport authenticated it.
        from: NodeId,
        /// What it said.
        message: SnapshotMessage,
    },
}

/// The files of snapshots that are not whole: one of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotFile {
    /// Of this node's own state. The chunks are what is in the snapshot: how that is framed is the store's.
    Own,
    /// Of a peer's. The chunks are those of the file as the peer has it.
    Received,
}

/// What came of writing a chunk of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// It is written; if it was the last one, the file is whole and durable.
    Done,
    /// The disk has no space for it. Nothing is left of the file.
    NoSpace,
    /// It was the last chunk of a peer's snapshot, and the whole is not what the file says of itself. Nothing is left of it.
    Damaged,
    /// It was the last chunk of a peer's snapshot, the file is sound, and what is in it is no snapshot that a node of this
    /// version can read. Nothing is left of it.
    Unusable(SnapshotError),
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Open a session, to have commands applied exactly once.
    OpenSession,
    /// Apply a command exactly once, however often it is sent.
    Command(SessionCommand),
    /// A linearizable read.
    Query {
        /// Opaque to the node.
        query: Bytes,
        /// What it may rest on.
        mode: ReadMode,
    },
    /// A read of whatever this node has applied, which may be old.
    StaleQuery {
        /// Opaque to the node.
        query: Bytes,
    },
    /// A question that waits until the state machine has an answer, at this node, whether it leads or not. To watch is to ask
    /// again what each answer says is to be asked next, of this node or any other: the state machine sees to it that nothing
    /// is skipped and nothing said twice.
    Watch {
        /// Opaque to the node.
        query: Bytes,
    },
    /// Change the configuration (Raft §6).
    ChangeMembership {
        /// What to change.
        change: MembershipChange,
    },
    /// Hand leadership over (Thesis §3.10).
    TransferLeadership {
        /// To this voter; none: to the one with the longest log that answers.
        to: Option<NodeId>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The session is open.
    SessionOpened {
        /// Its name.
        session: SessionId,
    },
    /// The command was applied, now or when it was first sent.
    Applied {
        /// Where it was applied.
        entry: EntryId,
        /// The state machine's answer.
        response: Bytes,
    },
    /// The state machine's answer to a query.
    Answer {
        /// The index up to which the state machine had applied.
        applied: LogIndex,
        /// The answer.
        response: Bytes,
    },
    /// The state machine's answer to a watch.
    Watched {
        /// The index up to which the state machine had applied.
        applied: LogIndex,
        /// The answer.
        response: Bytes,
        /// What to ask next; none: the watch is over.
        next: Option<Bytes>,
    },
    /// The change of the configuration is decided and cannot be undone. A joint configuration ends by itself, under this
    /// leader or the next.
    ConfigurationDecided {
        /// The entry that carries it.
        entry: EntryId,
        /// What is in force from it on.
        configuration: Configuration,
    },
    /// This node leads no longer; the target has begun its election.
    LeadershipTransferred {
        /// The target.
        to: NodeId,
    },
    /// Leadership was not handed over to the target.
    NotHandedOver {
        /// Why.
        reason: TransferFailure,
    },
    /// The session is unknown: never opened, or expired. The command was not applied by *this* attempt, but an earlier
    /// attempt may have been.
    SessionExpired,
    /// The command's number is below what the client said it still waits for: it was applied earlier and its answer
    /// forgotten, or given up. It is not applied by this attempt nor by a later one.
    AlreadyAnswered,
    /// The request surely had no effect.
    Rejected {
        /// Why.
        reason: RejectReason,
    },
    /// Another entry took the place of this attempt's: this attempt surely has no effect.
    Lost,
    /// Leadership was lost meanwhile, or the state has jumped to a snapshot: the request may have an effect now, later, or
    /// never.
    Unknown,
    /// The request surely had no effect: this node leads, and its disk has no room for more entries.
    NoSpace,
}

/// Everything a node asks for, and everything it reports. Every output may be carried out at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOutput {
    /// Send this to a peer.
    Send {
        /// The peer.
        to: NodeId,
        /// What to say.
        rpc: Rpc,
    },
    /// Say this to a peer about a snapshot. A chunk is large, and should go by another way than `Send`, so that no message
    /// waits behind it. May be lost, duplicated or late.
    SendSnapshot {
        /// The peer.
        to: NodeId,
        /// What to say.
        message: SnapshotMessage,
    },
    /// Make this durable, then report `Persisted`. A call may ask for more than one; in order of id.
    Persist(Write),
    /// Do this on the disk. What may come after what: [`DiskQueue`](crate::DiskQueue).
    Disk(DiskJob),
    /// Answer a client.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Something has happened.
    Report(Report),
}

/// What a node asks of its disk apart from writes. [`DiskExecutor`](crate::DiskExecutor) carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskJob {
    /// Read these durable entries back, then report `LogRead`: at least one, no more bytes than `max_bytes` beyond that
    /// one.
    ReadLog {
        /// Repeated in the answer.
        read: ReadId,
        /// The first index.
        first: LogIndex,
        /// The last index.
        last: LogIndex,
        /// Enough bytes of entries ([`Entry::size`](raft_core::Entry::size)).
        max_bytes: u64,
    },
    /// The store has too little room: let it try again to get some from the disk, then report `Space`. Asked about once a
    /// second until there is enough.
    MakeRoom,
    /// Entries before this index are needed no more: a durable snapshot covers them. May be done later, in part, or never,
    /// but not before the writes that were asked for earlier.
    Compact {
        /// The first index that is needed.
        before: LogIndex,
    },
    /// A job that has to do with the files of snapshots.
    Snapshot(SnapshotJob),
}

/// What a node asks about the files of snapshots. In order: a file that is asked for twice is another one each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotJob {
    /// Write this chunk of a snapshot's file, then report `SnapshotWritten`. The first chunk of a file is at 0 and replaces
    /// an unfinished one of its kind; after the last one the file is whole: it is checked, if it is a peer's, made durable,
    /// and gets its name. One chunk of each kind is on its way at most.
    Write {
        /// Which file.
        file: SnapshotFile,
        /// What the snapshot stands for.
        meta: SnapshotMeta,
        /// Where the chunk begins.
        offset: u64,
        /// The chunk, at most 4 MiB. Empty, if at all, as the last one.
        bytes: Bytes,
        /// Whether it is the last one.
        is_last: bool,
    },
    /// Read a chunk of the file of a whole snapshot, as it is, then report `SnapshotRead`.
    Read {
        /// For whom; repeated in the answer.
        to: NodeId,
        /// The last entry of the snapshot.
        last: EntryId,
        /// Where the chunk begins.
        offset: u64,
        /// The most bytes; 0: only the file's size and checksum are wanted.
        max_bytes: u64,
    },
    /// Read the file of this snapshot, whose record is durable, then report `SnapshotLoaded`. Until then nothing is applied.
    /// Another `Load` replaces one that is not answered: that file may be gone and need no answer.
    Load {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// Check the file of this snapshot, if it is there: a peer says that what it was sent is damaged. **If it is, end the
    /// process**, as after any damage.
    Verify {
        /// The last entry of the snapshot.
        last: EntryId,
    },
    /// Delete the unfinished file of a peer's snapshot, if it is of this one.
    Drop {
        /// The last entry of the snapshot.
        last: EntryId,
    },
    /// Delete the file of a whole snapshot, if there is one that no record names. May be done later, or at the next start.
    Remove {
        /// The last entry of the snapshot.
        last: EntryId,
    },
}

/// Something that has happened in a node: for logs, traces and tests. Two of them end the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// These entries were applied to the state machine. Only if [`Config::observe`](raft_core::Config::observe) is on.
    Applied {
        /// The entries, no-ops and configurations among them.
        entries: Entries,
        /// The hash of node and state machine after the last of them.
        state_hash: u128,
    },
    /// A peer's snapshot arrived whole and is refused.
    SnapshotRefused {
        /// The peer.
        from: NodeId,
        /// The snapshot.
        meta: SnapshotMeta,
        /// Why.
        error: SnapshotError,
    },
    /// The state is now that of this snapshot.
    Restored {
        /// The snapshot.
        meta: SnapshotMeta,
        /// The hash of node and state machine, if [`Config::observe`](raft_core::Config::observe) is on.
        state_hash: Option<u128>,
    },
    /// The snapshot in force cannot be read, and nothing else leads to this node's state: its disk is damaged, or it was
    /// written by another version. Nothing is applied any more; **end the process**.
    SnapshotUnreadable {
        /// The snapshot.
        meta: SnapshotMeta,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// This node led in `term` and does no longer.
    LeadershipLost {
        /// The term.
        term: Term,
    },
    /// The known leader is another, or none.
    LeaderChanged {
        /// The current term.
        term: Term,
        /// Its leader, if known.
        leader: Option<NodeId>,
    },
    /// The configuration in force is another, or has been committed.
    ConfigurationChanged {
        /// The configuration.
        configuration: Configuration,
        /// The entry that carries it.
        at: EntryId,
        /// Whether that entry is committed.
        committed: bool,
    },
    /// The replica has stopped for good; **end the process**.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// For traces only; if [`Config::observe`](raft_core::Config::observe) is on.
    Observed(Event),
}

impl From<SnapshotJob> for NodeOutput {
    fn from(job: SnapshotJob) -> Self {
        Self::Disk(DiskJob::Snapshot(job))
    }
}
