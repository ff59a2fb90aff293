//! The actions that the core asks of its host. An action may be carried out as soon as it is returned: what must wait for the
//! disk is not emitted before the disk has reported (rule R3).
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
use alloc::vec;
use core::fmt;

/// What the core asks of its host, and what it reports.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Send this to a peer. May be dropped, delayed, repeated; must not block.
    Send { to: NodeId, rpc: Rpc },
    /// Make this durable as one atomic record, then report `Persisted`. At most one per call, in order of id.
    Persist(Write),
    /// Apply these committed, durable entries in order, then report `Applied`. An entry with the index and term of an
    /// `Appended` completes that request. They are consecutive, no-ops and configurations among them.
    Apply { entries: Entries },
    /// Restore the state machine from this snapshot, whose file is here, then report `Applied` of its last index. Requests
    /// appended up to there and not applied have an unknown outcome.
    Restore { meta: SnapshotMeta },
    /// Entries before this index are no longer needed: a durable snapshot covers them. May be done later, in part, or never.
    Compact { before: LogIndex },
    /// Read these durable entries back, then report `LogRead` of the same id with at least one, and with more only up to
    /// `max_bytes` ([`Entry::size`]).
    ReadLog { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// Send this snapshot's file to a peer, whose host passes it to its core as `SnapshotReceived` with this term. May fail or
    /// be dropped; report its progress as `SnapshotSent`.
    SendSnapshot { to: NodeId, term: Term, meta: SnapshotMeta },
    /// The proposal is in this node's log. **This promises nothing**: answer the client when an entry of the same index
    /// *and term* is applied. An entry of another term at that index: surely lost. Leadership lost first: unknown.
    Appended { id: RequestId, entry: EntryId },
    /// The request surely had no effect.
    Rejected { id: RequestId, reason: RejectReason },
    /// The read may be served once everything up to `index`, its read index (Thesis §6.4), is applied.
    ReadReady { id: RequestId, index: LogIndex },
    /// The read cannot be served here.
    ReadFailed { id: RequestId, reason: RejectReason },
    /// This node no longer leads `term`: what it appended and has not applied has an unknown outcome.
    LeadershipLost { term: Term },
    /// The known leader has changed; none: it is unknown.
    LeaderChanged { term: Term, leader: Option<NodeId> },
    /// Leadership was transferred: the target has begun an election in the next term, so this node no longer leads.
    /// `LeaderChanged` says whether the target wins.
    TransferDone { id: RequestId, to: NodeId },
    /// Leadership was not transferred to the target.
    TransferFailed { id: RequestId, reason: TransferFailure },
    /// The configuration in force has changed, or its entry is now committed. Until that is, the change can be rolled back.
    ConfigurationChanged { configuration: Configuration, at: EntryId, committed: bool },
    /// The replica found a contradiction that Raft proves impossible and has stopped for good. Its last report.
    Stopped { reason: StopReason },
    /// For logs and traces; may be ignored. Only with [`Config::observe`](crate::Config).
    Observe(Event),
}

/// The persistent state apart from the log (Raft Figure 2). Term and vote never travel apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardState {
    /// The latest term this node has seen.
    pub term: Term,
    /// The candidate that has this node's vote in that term.
    pub voted_for: Option<NodeId>,
}

/// One atomic record for the disk. Recovery applies it as: truncate, snapshot, entries.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Write {
    /// Counted from 1 after every start.
    pub id: WriteId,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// The log loses the entries from this index on.
    pub truncate_from: Option<LogIndex>,
    /// The new snapshot of this node. **Its file is durable before this record is written**; delete a file that no record
    /// names.
    pub snapshot: Option<SnapshotRecord>,
    /// Entries to append after that. They follow the log that is left, or the snapshot, without a gap.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// No voter that answers can take over, or the named one cannot.
    NoTarget,
    /// Too early for a membership change: the last one is not committed yet, or this leader has committed nothing in its
    /// term (Thesis §4.1).
    NotReady,
    /// The configuration in force is not the expected one.
    ConfigurationMismatch { at: EntryId },
    /// A learner that is to be promoted is too far behind (Thesis §4.2.1).
    NotCaughtUp { id: NodeId },
    /// The change makes no sense.
    InvalidChange(InvalidChange),
    /// The replica has stopped.
    Stopped,
}

/// Why leadership was not transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TransferFailure {
    /// The target did not take over in time. This node goes on leading.
    TimedOut,
    /// The target can no longer lead: it is no voter, or has lost data. This node goes on leading.
    NoTarget,
    /// This node ceased to lead for another reason.
    LeadershipLost,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => write!(f, "not the leader; {leader} is"),
            Self::NotLeader { leader: None } => write!(f, "not the leader; none is known"),
            Self::Busy => write!(f, "busy"),
            Self::Transferring => write!(f, "leadership is being transferred"),
            Self::Leaving => write!(f, "this leader is leaving"),
            Self::NoTarget => write!(f, "no node can take over"),
            Self::NotReady => write!(f, "the last change is not committed, or no entry of this term is"),
            Self::ConfigurationMismatch { at } => write!(f, "the configuration in force is that of {at}"),
            Self::NotCaughtUp { id } => write!(f, "{id} has not caught up, Thesis §4.2.1"),
            Self::InvalidChange(reason) => write!(f, "{reason}"),
            Self::Stopped => write!(f, "stopped"),
        }
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
