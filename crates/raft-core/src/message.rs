//! What the core can be told: by its host ([`Input`]) and by its peers ([`Rpc`]).
//!
//! Two types on purpose: bytes from a peer can only ever become [`Input::Receive`], so no peer can forge a timer, a
//! disk completion or a proposal.

use crate::entry::Entries;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
use crate::membership::MembershipChange;
use crate::snapshot::SnapshotMeta;
use crate::time::Instant;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// An input, stamped with the time at which it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The host's clock, sampled *after* the input was taken from its queue. A time that went back counts as the
    /// latest seen.
    pub now: Instant,
    /// What happened.
    pub input: Input,
}

/// Everything the core can be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// Nothing but the time.
    Tick,
    /// An rpc arrived. Any content is safe: what is malformed is refused.
    Receive {
        /// The peer it came from, as the transport authenticated it.
        from: NodeId,
        /// What it said.
        rpc: Rpc,
    },
    /// A client's command. Answered in the same call by `Appended` or `Rejected`.
    Propose {
        /// Chosen by the host, repeated in the answer.
        id: RequestId,
        /// Opaque to the core.
        command: Bytes,
    },
    /// A linearizable read (Thesis §6.4). Answered in the same call by `Rejected`, or in it or later by exactly one of
    /// `ReadReady` and `ReadFailed`.
    Read {
        /// Chosen by the host, repeated in the answer.
        id: RequestId,
        /// What it may rest on.
        mode: ReadMode,
    },
    /// Change the configuration (Raft §6). Answered in the same call by `Appended` or `Rejected`; then
    /// `ConfigurationChanged` tells how far it is. The second half of a joint change follows by itself.
    ChangeMembership {
        /// Chosen by the host, repeated in the answer.
        id: RequestId,
        /// What to change.
        change: MembershipChange,
    },
    /// Hand leadership over (Thesis §3.10). Answered in the same call by `Rejected`, or later by exactly one of
    /// `TransferDone` and `TransferFailed`, at most the longest election timeout later.
    TransferLeadership {
        /// Chosen by the host, repeated in the answer.
        id: RequestId,
        /// To this voter; none: the one with the longest log that answers.
        to: Option<NodeId>,
    },
    /// Start an election now, if this node may: it is a voter, leads nothing, and has not heard from a leader within
    /// the shortest election timeout.
    Campaign,
    /// What was sent to this peer lately may be lost: its connection broke, or its queue was full. A leader that was
    /// sending it appends in a pipeline goes back to probing it with the next heartbeat. Nothing else follows: not that
    /// the peer is down, nor that it is up again when nothing more is said. Anybody else ignores it.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// The write with this id and **all before it** are durable. Reporting the newest instead of the newest
    /// *contiguous* one loses data. An unknown or older id changes nothing.
    Persisted {
        /// The newest contiguous durable write.
        write: WriteId,
    },
    /// The state machine has applied everything up to this index.
    Applied {
        /// The newest applied index.
        index: LogIndex,
    },
    /// The answer to a `ReadLog`. Entries that are not those of the log count as not read; an answer to a question that is
    /// no longer asked changes nothing.
    LogRead {
        /// The question.
        read: ReadId,
        /// Consecutive entries from the first that was asked for on; none: they are gone.
        entries: Entries,
    },
    /// A snapshot of the state at `index` is in a durable file, with [`Raft::snapshot_meta`](crate::Raft::snapshot_meta)
    /// of that index. It takes effect by the `Persist` that names it, in this call; a file that is not named there is of no
    /// use (there is a newer one) and is to be deleted.
    SnapshotTaken {
        /// The last index that it covers.
        index: LogIndex,
    },
    /// A peer's snapshot has arrived whole and is in a durable file. It takes effect by the `Persist` that names it, in
    /// this call; a file that is not named there is of no use and is to be deleted, unless an earlier write names it: the
    /// same snapshot may arrive twice.
    SnapshotReceived {
        /// The peer, as the transport authenticated it.
        from: NodeId,
        /// The term in which it was sent.
        term: Term,
        /// What it says it stands for. Any content is safe.
        meta: SnapshotMeta,
    },
    /// What became of a `SendSnapshot`, as far as known. Nothing said for
    /// [`Config::snapshot_timeout`](crate::Config) counts as `Failed`.
    SnapshotSent {
        /// The peer.
        to: NodeId,
        /// How far it is.
        outcome: SnapshotOutcome,
    },
}

/// How far the sending of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SnapshotOutcome {
    /// A part has arrived, the rest is on its way.
    Progress,
    /// The peer's host has the whole and has handed it to its core.
    Delivered,
    /// It has been given up.
    Failed,
}

/// What a read may rest on. Linearizable either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadMode {
    /// A round in which a quorum confirms the leader (ReadIndex, Thesis §6.4). Needs no clock.
    #[default]
    Safe,
    /// A lease, if the leader holds one (Thesis §6.4.1): answered at once, without a message, as long as no clock drifts
    /// more than [`Config::max_clock_drift_ppm`](crate::Config). Without a lease, or with
    /// [`Config::lease_reads`](crate::Config) off, the same as `Safe`.
    Lease,
}

/// What peers say to each other.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rpc {
    /// Would you vote for me? Changes nothing at the receiver (Thesis §9.6).
    PreVote(PreVote),
    /// The answer to a pre-vote; promises nothing.
    PreVoteResponse(PreVoteResponse),
    /// Vote for me (Raft §5.2).
    RequestVote(RequestVote),
    /// The answer to a vote request; a grant is sent once the vote is durable.
    RequestVoteResponse(RequestVoteResponse),
    /// Entries to store, or a heartbeat if there are none (Raft §5.3).
    AppendEntries(AppendEntries),
    /// The answer to an append; a match is sent once the entries are durable.
    AppendEntriesResponse(AppendEntriesResponse),
    /// Start an election at once (Thesis §3.10).
    TimeoutNow(TimeoutNow),
}

/// Arguments of a pre-vote (Thesis §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreVote {
    /// The term the sender *would* campaign in: its own plus one.
    pub term: Term,
    /// Which of the sender's rounds this is; repeated in the answer.
    pub round: Round,
    /// The sender's last entry.
    pub last: EntryId,
}

/// Result of a pre-vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreVoteResponse {
    /// The answerer's own term.
    pub term: Term,
    /// The round of the request.
    pub round: Round,
    /// Whether the answerer would vote for the sender.
    pub vote: Vote,
}

/// Arguments of a vote request (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The candidate's last entry.
    pub last: EntryId,
    /// The leader itself has asked for this election: whoever heard from it lately may vote all the same (Thesis §4.2.3).
    pub transfer: bool,
}

/// Result of a vote request (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestVoteResponse {
    /// The answerer's term.
    pub term: Term,
    /// Whether the vote is the candidate's.
    pub vote: Vote,
}

/// A vote, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Vote {
    /// Granted.
    Granted,
    /// Refused, for this reason.
    Refused(VoteRefusal),
}

/// Why a vote is refused. Each names its rule when printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum VoteRefusal {
    /// The request's term is behind the answerer's (Raft §5.1).
    StaleTerm,
    /// The answerer heard from a leader within the shortest election timeout (Thesis §4.2.3).
    LeaderAlive,
    /// The answerer voted for another candidate in this term (Raft §5.2).
    AlreadyVoted {
        /// The candidate that has the vote.
        candidate: NodeId,
    },
    /// The candidate's log is behind the answerer's (Raft §5.4.1).
    LogBehind {
        /// The answerer's last entry.
        last: EntryId,
    },
}

/// Arguments of an append (Raft Figure 2). The leader is the sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// The number of this append in the leader's term, over all peers.
    pub seq: Seq,
    /// The entry just before the new ones.
    pub prev: EntryId,
    /// The leader's commit index.
    pub leader_commit: LogIndex,
    /// The entries to store; none in a heartbeat.
    pub entries: Entries,
}

/// Result of an append (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AppendEntriesResponse {
    /// The answerer's term.
    pub term: Term,
    /// In a success the newest `seq` the answerer has seen in this term, in a rejection the rejected one.
    pub seq: Seq,
    /// What became of it.
    pub outcome: AppendOutcome,
    /// How long after an append of its leader the answerer votes for nobody else (Thesis §4.2.3): what leases rest on. 0
    /// if it makes no such promise.
    pub stickiness: Duration,
}

/// A leader's request to start an election at once, bound to one log and one term: it is obeyed only by a node whose
/// durable log ends exactly so, and so can win (Thesis §3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
    /// The leader's last entry.
    pub last: EntryId,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AppendOutcome {
    /// The answerer's log is durable and the same as the leader's up to here.
    Matched {
        /// The answerer's match index.
        index: LogIndex,
    },
    /// The answerer knows a newer term (Raft §5.1).
    StaleTerm,
    /// The answerer already follows another leader in this term, which Raft proves impossible: reported, refused.
    AnotherLeader,
    /// The answerer holds no entry like `prev` (Raft §5.3).
    Mismatch {
        /// The rejected `prev`.
        prev: EntryId,
        /// The answerer's last entry that could still match: index at most `prev.index`, term at most `prev.term`.
        hint: EntryId,
    },
}

impl Rpc {
    /// The term the rpc carries.
    pub fn term(&self) -> Term {
        match self {
            Self::PreVote(rpc) => rpc.term,
            Self::PreVoteResponse(rpc) => rpc.term,
            Self::RequestVote(rpc) => rpc.term,
            Self::RequestVoteResponse(rpc) => rpc.term,
            Self::AppendEntries(rpc) => rpc.term,
            Self::AppendEntriesResponse(rpc) => rpc.term,
            Self::TimeoutNow(rpc) => rpc.term,
        }
    }

    /// Its kind, in snake case: `request_vote`, and `heartbeat` for an append without entries.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PreVote(_) => "pre_vote",
            Self::PreVoteResponse(_) => "pre_vote_response",
            Self::RequestVote(_) => "request_vote",
            Self::RequestVoteResponse(_) => "request_vote_response",
            Self::AppendEntries(rpc) if rpc.entries.is_empty() => "heartbeat",
            Self::AppendEntries(_) => "append_entries",
            Self::AppendEntriesResponse(_) => "append_entries_response",
            Self::TimeoutNow(_) => "timeout_now",
        }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => write!(f, "granted"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Display for VoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleTerm => write!(f, "its term is behind, Raft §5.1"),
            Self::LeaderAlive => write!(f, "a leader is alive, Thesis §4.2.3"),
            Self::AlreadyVoted { candidate } => write!(f, "voted for {candidate} in this term, Raft §5.2"),
            Self::LogBehind { last } => write!(f, "its log is behind {last}, Raft §5.4.1"),
        }
    }
}

impl fmt::Display for AppendOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched { index } => write!(f, "match {index}"),
            Self::StaleTerm => write!(f, "refused: its term is behind, Raft §5.1"),
            Self::AnotherLeader => write!(f, "refused: this term has another leader, Raft §5.2"),
            Self::Mismatch { prev, hint } => write!(f, "refused: no entry {prev}, at best {hint}, Raft §5.3"),
        }
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = self.term();
        match self {
            Self::PreVote(rpc) => write!(f, "pre-vote {} term {term} last {}", rpc.round, rpc.last),
            Self::PreVoteResponse(rpc) => write!(f, "pre-vote {} term {term} {}", rpc.round, rpc.vote),
            Self::RequestVote(rpc) => {
                let transfer = if rpc.transfer { " on the leader's request" } else { "" };
                write!(f, "request vote term {term} last {}{transfer}", rpc.last)
            }
            Self::RequestVoteResponse(rpc) => write!(f, "vote term {term} {}", rpc.vote),
            Self::AppendEntries(rpc) => {
                let name = if rpc.entries.is_empty() { "heartbeat" } else { "append entries" };
                write!(f, "{name} term {term} {} prev {} commit {}", rpc.seq, rpc.prev, rpc.leader_commit)?;
                if rpc.entries.is_empty() { Ok(()) } else { write!(f, " {}", rpc.entries) }
            }
            Self::AppendEntriesResponse(rpc) => {
                write!(f, "append term {term} {} {}", rpc.seq, rpc.outcome)?;
                if rpc.stickiness.is_zero() { Ok(()) } else { write!(f, ", sticky for {:?}", rpc.stickiness) }
            }
            Self::TimeoutNow(rpc) => write!(f, "timeout now term {term} last {}", rpc.last),
        }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
