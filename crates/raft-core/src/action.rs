//! What the core can ask for. An action that exists may be carried out at once: what must wait for the disk is not
//! emitted until the disk has reported.
//!
//! Order binds only inside a lane: disk (`Persist`, `Compact`), state machine (`Restore`, `Apply`), news (everything that
//! answers or announces). Sends are free, and a `ReadLog` may overtake.

use crate::configuration::Configuration;
use crate::entry::{Entries, Entry, Payload};
use crate::event::Event;
use crate::fingerprint::canonical;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Term, WriteId};
use crate::membership::InvalidChange;
use crate::message::Rpc;
use crate::snapshot::{InstallMode, SnapshotMeta};
use alloc::vec;
use core::fmt;

/// Everything the core can ask for, and everything it reports.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Send this to a peer. May be dropped, delayed, repeated; must not block.
    Send {
        /// The peer.
        to: NodeId,
        /// What to say.
        rpc: Rpc,
    },
    /// Make this durable as one atomic record, then report `Persisted`. At most one a call, in order of id.
    Persist(Write),
    /// Apply these committed, durable entries in order, then report `Applied`. The entry with the (index, term) of an
    /// `Appended` is that request, done.
    Apply {
        /// Consecutive entries; no-ops and configurations among them.
        entries: Entries,
    },
    /// Set the state machine to this snapshot, whose file is here, then report `Applied` of its last index. What was
    /// appended up to there and has not been applied is of unknown outcome.
    Restore {
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// Entries before this index are needed no more: a durable snapshot covers them. May be done later, in part, or never.
    Compact {
        /// The first index that is needed.
        before: LogIndex,
    },
    /// Read these entries back, then report `LogRead`: at least one, no more bytes than `max_bytes` beyond that one. All of
    /// them are durable.
    ReadLog {
        /// Repeated in the answer.
        read: ReadId,
        /// The first index.
        first: LogIndex,
        /// The last index.
        last: LogIndex,
        /// Enough bytes of entries ([`Entry::size`]).
        max_bytes: u64,
    },
    /// Send this snapshot's file to a peer, whose host hands it over as `SnapshotReceived` with this term. May fail or be
    /// dropped; what becomes of it is reported by `SnapshotSent`.
    SendSnapshot {
        /// The peer.
        to: NodeId,
        /// The leader's term.
        term: Term,
        /// The snapshot.
        meta: SnapshotMeta,
    },
    /// The proposal is in this node's log. **Promises nothing**: answer the client when an entry of the same index
    /// *and term* is applied. Another term at that index: surely lost. Leadership lost first: unknown.
    Appended {
        /// The request.
        id: RequestId,
        /// The entry that carries it.
        entry: EntryId,
    },
    /// The request surely had no effect.
    Rejected {
        /// The request.
        id: RequestId,
        /// Why.
        reason: RejectReason,
    },
    /// The read may be served once everything up to `index` is applied.
    ReadReady {
        /// The request.
        id: RequestId,
        /// The read index (Thesis §6.4).
        index: LogIndex,
    },
    /// The read cannot be served here.
    ReadFailed {
        /// The request.
        id: RequestId,
        /// Why.
        reason: RejectReason,
    },
    /// This node led in `term` and does no longer: what it appended and has not applied is now of unknown outcome.
    LeadershipLost {
        /// The term it led in.
        term: Term,
    },
    /// The leader this node knows of is another, or none.
    LeaderChanged {
        /// The current term.
        term: Term,
        /// Its leader, if known.
        leader: Option<NodeId>,
    },
    /// Leadership was handed over: this node leads no longer, because the target has begun an election in the next term.
    /// Whether it wins, `LeaderChanged` says.
    TransferDone {
        /// The request.
        id: RequestId,
        /// The target.
        to: NodeId,
    },
    /// Leadership was not handed over to the target.
    TransferFailed {
        /// The request.
        id: RequestId,
        /// Why.
        reason: TransferFailure,
    },
    /// The configuration in force is another, or has been committed.
    ConfigurationChanged {
        /// The configuration.
        configuration: Configuration,
        /// The entry that carries it.
        at: EntryId,
        /// Whether that entry is committed. Until it is, the change can be rolled back.
        committed: bool,
    },
    /// The replica found a contradiction that Raft proves impossible and has stopped for good. Last of all news.
    Stopped {
        /// What it found.
        reason: StopReason,
    },
    /// For logs, traces and pictures; may be ignored entirely. Only with [`Config::observe`](crate::Config).
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
    /// Entries from this index on are to be forgotten.
    pub truncate_from: Option<LogIndex>,
    /// The snapshot that is now this node's, if it is a new one. **Its file is durable before this record is written**; a
    /// file that no record names is to be deleted.
    pub snapshot: Option<SnapshotRecord>,
    /// Entries to add after that. They follow the log that is left, or the snapshot, without a gap.
    pub entries: Entries,
}

/// A snapshot takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotRecord {
    /// The snapshot.
    pub meta: SnapshotMeta,
    /// What becomes of the log.
    pub log: InstallMode,
}

impl Write {
    /// The first record of a founder of a new cluster: term 1, no vote, and the configuration as entry `1@1`. The same
    /// on every founder, so a new cluster starts like an old one that all its members remember.
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
    NotLeader {
        /// Who does, as far as known.
        leader: Option<NodeId>,
    },
    /// A limit of [`Config`](crate::Config) is reached; try again later.
    Busy,
    /// Leadership is being handed over; try again later, perhaps elsewhere.
    Transferring,
    /// This leader is removing itself: it takes nothing new and is about to step down.
    Leaving,
    /// There is nobody to hand leadership over to: no voter that answers, or not the one that was named.
    NoTarget,
    /// Too early for a change of the configuration: the last one is not decided yet, or this leader has committed
    /// nothing in its term (Thesis §4.1).
    NotReady,
    /// The configuration in force is not the expected one.
    ConfigurationMismatch {
        /// The entry that carries it.
        at: EntryId,
    },
    /// A learner that is to be promoted is too far behind (Thesis §4.2.1).
    NotCaughtUp {
        /// The learner.
        id: NodeId,
    },
    /// The change makes no sense.
    InvalidChange(InvalidChange),
    /// The replica has stopped.
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TransferFailure {
    /// The target did not take over in time. This node goes on leading.
    TimedOut,
    /// The target can lead no longer: it votes no more, or has lost data. This node goes on leading.
    NoTarget,
    /// This node ceased to lead for another reason.
    LeadershipLost,
}

/// The contradiction that stopped a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum StopReason {
    /// The leader of the current term sent another entry for a place that is committed here (Raft §5.4.3: cannot be).
    CommittedConflict {
        /// What is committed here.
        ours: EntryId,
        /// What the leader sent.
        theirs: EntryId,
    },
    /// The host has no entry any more that is not applied yet and that no snapshot covers.
    EntriesMissing {
        /// The first of them.
        first: LogIndex,
    },
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => write!(f, "not the leader; {leader} is"),
            Self::NotLeader { leader: None } => write!(f, "not the leader; none is known"),
            Self::Busy => write!(f, "busy"),
            Self::Transferring => write!(f, "leadership is being handed over"),
            Self::Leaving => write!(f, "this leader is leaving"),
            Self::NoTarget => write!(f, "nobody can take over"),
            Self::NotReady => write!(f, "the last change is not decided, or nothing is committed in this term"),
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
            Self::NoTarget => "the target can lead no longer",
            Self::LeadershipLost => "leadership was lost otherwise",
        })
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommittedConflict { ours, theirs } => {
                write!(f, "{ours} is committed and the leader sent {theirs} for it")
            }
            Self::EntriesMissing { first } => write!(f, "the entries from {first} on are gone and not applied"),
        }
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
            let fate = if *log == InstallMode::Discard { ", log discarded" } else { "" };
            write!(f, " {meta}{fate}")?;
        }
        if self.entries.is_empty() { Ok(()) } else { write!(f, " {}", self.entries) }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
            Self::TransferDone { id, to } => write!(f, "{id} done: handed over to {to}"),
            Self::TransferFailed { id, reason } => write!(f, "{id} failed: {reason}"),
            Self::ConfigurationChanged { configuration, at, committed } => {
                write!(f, "configuration {configuration} of {at}{}", if *committed { " committed" } else { "" })
            }
            Self::Stopped { reason } => write!(f, "stopped: {reason}"),
            Self::Observe(event) => write!(f, "{event}"),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

canonical!(SnapshotRecord { meta, log });
