//! The actions that the core asks of its host. A host may carry out an action as soon as it is returned: the core emits
//! nothing that still has to wait for the disk (rule R3).
//!
//! Order matters only within a lane: disk (`Persist`, `Compact`), state machine (`Restore`, `Apply`), answers and
//! announcements. A `Send` may be reordered, and a `ReadLog` may run before earlier disk actions.

#![allow(missing_docs)]

use crate::canonical::canonical;
use crate::entry::{Entries, Entry, Payload};
use crate::event::Event;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Term, WriteId};
use crate::membership::Configuration;
use crate::membership::InvalidChange;
use crate::message::Rpc;
use crate::snapshot_meta::{InstallMode, SnapshotMeta, SnapshotRecord};
use crate::status::StopReason;
use alloc::collections::BTreeSet;
use alloc::vec;
use core::fmt;

/// A request of the core to its host, or a report.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Send this message to a peer. The host may drop, delay or repeat it, and must not block.
    Send { to: NodeId, rpc: Rpc },
    /// Make this write durable as one atomic record, then report `Persisted`. At most one per call, in order of id.
    Persist(Write),
    /// Apply these committed, durable entries in order, then report `Applied`. An entry with the index and term of an
    /// `Appended` completes that request. The entries are consecutive and include no-ops and configurations.
    Apply { entries: Entries },
    /// Restore the state machine from this snapshot, whose file is on this node, then report `Applied` with its last
    /// index. Requests that were appended up to there and are not applied have an unknown outcome.
    Restore { meta: SnapshotMeta },
    /// Entries before this index are no longer needed: a durable snapshot covers them. The host may do this later, in
    /// part, or never.
    Compact { before: LogIndex },
    /// Read these durable entries back, then report `LogRead` with the same id. Report at least one entry, and more
    /// only up to `max_bytes` ([`Entry::size`]).
    ReadLog { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// Send this snapshot's file to a peer. The peer's host passes it to its core as `SnapshotReceived` with this term.
    /// The transfer may fail or be dropped; report its progress as `SnapshotSent`.
    SendSnapshot { to: NodeId, term: Term, meta: SnapshotMeta },
    /// The proposal is in this node's log. **This promises nothing**: answer the client when an entry with the same
    /// index *and term* is applied. If an entry of another term is applied at that index, the request is lost. If this
    /// node loses leadership first, the outcome is unknown.
    Appended { id: RequestId, entry: EntryId },
    /// The request has no effect.
    Rejected { id: RequestId, reason: RejectReason },
    /// The host may serve the read once everything up to `index`, its read index (Thesis §6.4), is applied.
    ReadReady { id: RequestId, index: LogIndex },
    /// This node cannot serve the read.
    ReadFailed { id: RequestId, reason: RejectReason },
    /// This node no longer leads `term`: the requests that it appended and has not applied have an unknown outcome.
    LeadershipLost { term: Term },
    /// The known leader has changed; `None` if it is unknown.
    LeaderChanged { term: Term, leader: Option<NodeId> },
    /// Leadership was transferred: the target has begun an election in the next term, so this node no longer leads.
    /// `LeaderChanged` says whether the target wins.
    TransferDone { id: RequestId, to: NodeId },
    /// Leadership was not transferred to the target.
    TransferFailed { id: RequestId, reason: TransferFailure },
    /// The configuration in force has changed, or its entry is now committed. Until the entry is committed, the change
    /// can be rolled back.
    ConfigurationChanged { configuration: Configuration, at: EntryId, committed: bool },
    /// The replica has stopped for good: it found a contradiction that Raft proves impossible, or it is removed. This is
    /// its last report.
    Stopped { reason: StopReason },
    /// An event for logs and traces, which the host may ignore. Emitted only with [`Config::observe`](crate::Config).
    Observe(Event),
}

/// The persistent state apart from the log (Raft Figure 2). Term and vote are always written together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardState {
    /// The latest term this node has seen.
    pub term: Term,
    /// The candidate that has this node's vote in that term.
    pub voted_for: Option<NodeId>,
}

/// One atomic record on the disk. Recovery applies its parts in this order: truncation, snapshot, entries.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Write {
    /// The number of this write, from 1 after every start.
    pub id: WriteId,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// The log loses all entries from this index on.
    pub truncate_from: Option<LogIndex>,
    /// The new snapshot of this node. **The snapshot's file must be durable before this record is written.** Delete a
    /// file that no record names.
    pub snapshot: Option<SnapshotRecord>,
    /// Entries to append after the truncation and the snapshot. They follow the rest of the log, or the snapshot,
    /// without a gap.
    pub entries: Entries,
}

impl Write {
    /// The first record of a founder of a new cluster: term 1, no vote, and the configuration as entry `1@1`. It is the same
    /// on every founder, so a new cluster starts like a restarted one.
    pub fn bootstrap(configuration: Configuration) -> Self {
        let entry = Entry { id: EntryId::new(1, 1), payload: Payload::Configuration(configuration) };
        Self {
            id: WriteId(0),
            hard_state: Some(HardState { term: Term(1), voted_for: None }),
            truncate_from: None,
            snapshot: None,
            entries: vec![entry].into(),
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RejectReason {
    /// This node does not lead.
    NotLeader { leader: Option<NodeId> },
    /// A limit of [`Config`](crate::Config) is reached; try again later.
    Busy,
    /// Leadership is being transferred; try again later, perhaps at another node.
    Transferring,
    /// This leader is removing itself and is about to step down.
    Leaving,
    /// No voter that answers can take over.
    NoTarget,
    /// It is too early for a membership change: the last one is not committed yet, or this leader has committed nothing
    /// in its term (Thesis §4.1).
    NotReady,
    /// The configuration in force is not the expected one.
    ConfigurationMismatch { at: EntryId },
    /// The learner to promote is too far behind (Thesis §4.2.1).
    NotCaughtUp { id: NodeId },
    /// The change is invalid.
    InvalidChange(InvalidChange),
    /// The replica has stopped.
    Stopped,
    /// The target of a transfer cannot take over soon (rule R48).
    UnfitTarget { id: NodeId, why: TargetProblem },
    /// A half of the configuration to come would have no quorum that answers; these voters of it do not (rule R49).
    /// [`MembershipChange::force`](crate::MembershipChange) overrides this refusal and no other.
    NoQuorumToCome { silent: BTreeSet<NodeId> },
    /// This leader's disk has no space for more entries, and no voter with space can take over.
    NoSpace,
}

/// Why a node cannot take over leadership soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TargetProblem {
    IsLeader,
    NotAVoter,
    /// It denied what it had acknowledged.
    LostData,
    /// It has not answered for the longest election timeout.
    Silent,
    /// It is being sent a snapshot.
    NeedsSnapshot,
    /// Its last round of catching up took longer than an election timeout.
    FarBehind,
    /// Its disk has no space (rule R51).
    NoSpace,
}

/// Why leadership was not transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TransferFailure {
    /// The target did not take over in time. This node is still the leader.
    TimedOut,
    /// The target can no longer lead: it is not a voter, has lost data, or has no disk space. This node is still the leader.
    NoTarget,
    /// This node stopped leading for another reason.
    LeadershipLost,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => write!(f, "not the leader; {leader} is"),
            Self::NotLeader { leader: None } => write!(f, "not the leader; none is known"),
            Self::Busy => write!(f, "busy"),
            Self::NoSpace => write!(f, "no space left on the leader's disk"),
            Self::Transferring => write!(f, "leadership is being transferred"),
            Self::Leaving => write!(f, "this leader is leaving"),
            Self::NoTarget => write!(f, "no node can take over"),
            Self::NotReady => write!(f, "the last change is not committed, or no entry of this term is"),
            Self::ConfigurationMismatch { at } => write!(f, "the configuration in force is that of {at}"),
            Self::NotCaughtUp { id } => write!(f, "{id} has not caught up, Thesis §4.2.1"),
            Self::InvalidChange(reason) => write!(f, "{reason}"),
            Self::Stopped => write!(f, "stopped"),
            Self::UnfitTarget { id, why } => write!(f, "{id} cannot take over: {why}"),
            Self::NoQuorumToCome { silent } => {
                write!(f, "the new configuration would have no quorum that answers; silent:")?;
                silent.iter().try_for_each(|id| write!(f, " {id}"))
            }
        }
    }
}

impl fmt::Display for TargetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsLeader => "it leads already",
            Self::NotAVoter => "it is not a voter",
            Self::LostData => "it has lost data",
            Self::Silent => "it does not answer",
            Self::NeedsSnapshot => "it is being sent a snapshot",
            Self::FarBehind => "it is too far behind",
            Self::NoSpace => "its disk is full",
        })
    }
}

impl fmt::Display for TransferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the target did not take over in time",
            Self::NoTarget => "the target can no longer lead",
            Self::LeadershipLost => "leadership was lost for another reason",
        })
    }
}

impl fmt::Display for HardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term {}", self.term)?;
        if let Some(candidate) = self.voted_for { write!(f, " vote {candidate}") } else { Ok(()) }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(hard_state) = self.hard_state {
            write!(f, " {hard_state}")?;
        }
        if let Some(index) = self.truncate_from {
            write!(f, " truncate {index}..")?;
        }
        if let Some(SnapshotRecord { meta, log }) = &self.snapshot {
            let discarded = if *log == InstallMode::Discard { ", log discarded" } else { "" };
            write!(f, " {meta}{discarded}")?;
        }
        if self.entries.is_empty() { Ok(()) } else { write!(f, " {}", self.entries) }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { to, rpc } => write!(f, "-> {to} {rpc}"),
            Self::Persist(write) => write!(f, "persist {write}"),
            Self::Apply { entries } => write!(f, "apply {entries}"),
            Self::Restore { meta } => write!(f, "restore {meta}"),
            Self::Compact { before } => write!(f, "compact ..{before}"),
            Self::ReadLog { read, first, last, max_bytes } => {
                write!(f, "{read} read {first}..={last} up to {max_bytes} B")
            }
            Self::SendSnapshot { to, term, meta } => write!(f, "-> {to} term {term} {meta}"),
            Self::Appended { id, entry } => write!(f, "{id} appended as {entry}"),
            Self::Rejected { id, reason } => write!(f, "{id} rejected: {reason}"),
            Self::ReadReady { id, index } => write!(f, "{id} ready at {index}"),
            Self::ReadFailed { id, reason } => write!(f, "{id} failed: {reason}"),
            Self::LeadershipLost { term } => write!(f, "leadership of term {term} lost"),
            Self::LeaderChanged { term, leader: Some(leader) } => write!(f, "leader of term {term} is {leader}"),
            Self::LeaderChanged { term, leader: None } => write!(f, "leader of term {term} is unknown"),
            Self::TransferDone { id, to } => write!(f, "{id} done: leadership transferred to {to}"),
            Self::TransferFailed { id, reason } => write!(f, "{id} failed: {reason}"),
            Self::ConfigurationChanged { configuration, at, committed } => {
                write!(f, "configuration {configuration} of {at}{}", if *committed { " committed" } else { "" })
            }
            Self::Stopped { reason } => write!(f, "stopped: {reason}"),
            Self::Observe(event) => write!(f, "{event}"),
        }
    }
}

canonical!(HardState { term, voted_for });
