//! The outputs of a node: requests to its host, and reports.

use super::disk_jobs::{DiskJob, SnapshotJob};
use super::forwards::{ForwardEnd, ForwardedReply, ForwardedRequest};
use super::requests::Reply;
use super::state_machine::SnapshotError;
use raft_core::{
    Configuration, Entries, EntryId, Event, NodeId, RejectReason, RequestId, Rpc, SnapshotMeta, StopReason, Term, Write,
};
use raft_proto::SnapshotMessage;

/// An output of [`Node::step`](crate::Node::step). The host may execute each one at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeOutput {
    /// Send a protocol message. It may be lost, duplicated, delayed or reordered.
    Send { to: NodeId, rpc: Rpc },
    /// Send a message of a snapshot transfer, on a path where no protocol message waits behind it. It may be lost, duplicated
    /// or delayed.
    SendSnapshot { to: NodeId, message: SnapshotMessage },
    /// Make this write durable, then report `Persisted`. A call may emit several writes, in order of id.
    Persist(Write),
    /// Run a disk job. [`DiskQueue`](crate::DiskQueue) orders the jobs.
    Disk(DiskJob),
    /// Reply to a client.
    Reply { id: RequestId, reply: Reply },
    /// Reply to a client whose request this node has forwarded: the reply is the leader's.
    LeaderReply { id: RequestId, leader: NodeId, reply: Reply },
    /// Send a client's request, named `id` by the host, to the leader. It may be lost or delayed, and arrives at most once. If
    /// the host does not send it, the next input is `NotForwarded`.
    ForwardRequest { id: RequestId, to: NodeId, request: ForwardedRequest },
    /// Send the reply to a forwarded request. It may be lost, duplicated or delayed.
    ForwardReply { to: NodeId, reply: ForwardedReply },
    /// An event to report.
    Report(Report),
}

/// The outputs of a call, in order.
pub(crate) type Outputs = Vec<NodeOutput>;

impl NodeOutput {
    pub(crate) fn rejected(id: RequestId, reason: RejectReason) -> Self {
        Self::Reply { id, reply: Reply::Rejected { reason } }
    }
}

impl From<SnapshotJob> for NodeOutput {
    fn from(job: SnapshotJob) -> Self {
        Self::Disk(DiskJob::Snapshot(job))
    }
}

impl From<Report> for NodeOutput {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

/// An event in a node, for logs, traces and tests. `SnapshotUnreadable` and `Stopped` end the process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Report {
    /// The node applied these entries, which include no-ops and configurations; `state_hash` is the state after them.
    /// Emitted only if [`Config::observe`](raft_core::Config::observe) is on.
    Applied { entries: Entries, state_hash: u128 },
    /// A peer's snapshot arrived completely, but this node cannot use it.
    SnapshotRefused { from: NodeId, meta: SnapshotMeta, error: SnapshotError },
    /// The state is now the state of this snapshot. The hash is present if
    /// [`Config::observe`](raft_core::Config::observe) is on.
    Restored { meta: SnapshotMeta, state_hash: Option<u128> },
    /// The node cannot read its newest snapshot, and cannot restore its state otherwise: the disk is damaged, or
    /// another version wrote the file. The node applies nothing more; **end the process**.
    SnapshotUnreadable { meta: SnapshotMeta, error: SnapshotError },
    /// This node led in `term` and no longer does.
    LeadershipLost { term: Term },
    /// The known leader of the current term changed.
    LeaderChanged { term: Term, leader: Option<NodeId> },
    /// The configuration, carried by the entry `at`, changed or was committed.
    ConfigurationChanged { configuration: Configuration, at: EntryId, committed: bool },
    /// A client's request was not forwarded, or ends without the leader's reply. Its reply follows.
    ForwardEnded { id: RequestId, why: ForwardEnd },
    /// The replica has stopped for good; **end the process**.
    Stopped { reason: StopReason },
    /// An event of the core, for traces. Emitted only if [`Config::observe`](raft_core::Config::observe) is on.
    Observed(Event),
}
