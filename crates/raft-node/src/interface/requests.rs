//! The requests of a client, and the replies.

use bytes::Bytes;
use raft_core::{
    Configuration, EntryId, LogIndex, MembershipChange, NodeId, ReadMode, RejectReason, RequestId, SnapshotMeta,
    TransferFailure,
};
use raft_store::ClusterId;

/// A client session, named by the index of the entry that opened it (Thesis §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A command with its place in a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionCommand {
    /// The session.
    pub session: SessionId,
    /// The command's number in the session, from 1; a retry repeats it.
    pub sequence: u64,
    /// The lowest number whose reply the client still waits for: the session may drop replies below it.
    pub lowest_pending: u64,
    /// The state machine's command, opaque to the node.
    pub command: Bytes,
}

/// A client's request. Commands and queries are opaque to the node. A node that does not lead forwards the first three to the
/// leader it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    /// Open a session, in which commands are applied exactly once.
    OpenSession,
    /// Apply a command exactly once, however often the client sends it.
    Command(SessionCommand),
    /// A linearizable read; `mode` says how the leader may confirm it.
    Query { query: Bytes, mode: ReadMode },
    /// A read of the state that this node has applied, which may be old.
    StaleQuery { query: Bytes },
    /// A query that waits until the state machine of this node, leader or not, has a response. The reply contains the next
    /// query, for this node or any other. The state machine guarantees that the queries together skip and repeat
    /// nothing in one cluster. `cluster` is the one in which the watch began, if it continues from there: a cluster that was restored
    /// from a backup numbers its changes like the old one, so it refuses.
    Watch { query: Bytes, cluster: Option<ClusterId> },
    /// Change the configuration (Raft §6).
    ChangeMembership { change: MembershipChange },
    /// Transfer leadership (Thesis §3.10) to this voter; `None` chooses the one with the longest log that responds.
    TransferLeadership { to: Option<NodeId> },
    /// Begin a backup: the content of a snapshot of the state that this node has applied, for a file that outlives the cluster.
    /// It contains everything that was acknowledged before this request, unless `is_stale`; then any node does it.
    BeginBackup { is_stale: bool },
    /// The next chunk of the backup that the request of this id began. A client asks for a chunk when it has the one before.
    ContinueBackup { backup: RequestId },
}

/// The reply to a request. A `response` comes from the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Reply {
    /// The session is open.
    SessionOpened { session: SessionId },
    /// The command was applied at `entry`, now or when it was first sent.
    Applied { entry: EntryId, response: Bytes },
    /// The response to a query. It describes the state after the entry at `applied`.
    Answer { applied: LogIndex, response: Bytes },
    /// The response to a watch, for the state after the entry at `applied`, and the next query; `None` ends the watch.
    Watched { applied: LogIndex, response: Bytes, next: Option<Bytes> },
    /// The change is committed. If `configuration` is joint, this leader or the next one will end it.
    ConfigurationDecided { entry: EntryId, configuration: Configuration },
    /// This node no longer leads; the target has started its election.
    LeadershipTransferred { to: NodeId },
    /// Leadership was not transferred.
    TransferFailed { reason: TransferFailure },
    /// The session never existed or has ended. This attempt had no effect; an earlier attempt may have had one.
    SessionExpired,
    /// The client said that it no longer waits for this number. The command was applied earlier or never will be.
    AlreadyAnswered,
    /// The request had no effect.
    Rejected { reason: RejectReason },
    /// Another entry replaced the entry of this attempt, so this attempt had no effect.
    Lost,
    /// The node lost leadership or installed a snapshot meanwhile: the request may take effect now, later or never.
    Unknown,
    /// The backup covers everything up to the last entry in `meta`.
    BackupBegun { meta: Box<SnapshotMeta> },
    /// The next bytes of a backup; none: it is complete.
    BackupChunk { bytes: Bytes },
    /// There is no such backup: it was complete or cancelled, or the node has restarted.
    NoBackup,
    /// The watch began in another cluster, of which this one may have an older state: the client has to begin anew.
    OtherCluster,
}
