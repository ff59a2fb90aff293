//! The inputs of the core: from its host ([`Input`]) and from its peers ([`Rpc`]).
//!
//! The two types are separate on purpose: bytes from a peer can only become [`Input::Receive`], so no peer can forge a
//! timer, a disk completion or a proposal.

#![allow(missing_docs)]

use crate::entry::Entries;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
use crate::membership::MembershipChange;
use crate::snapshot_meta::SnapshotMeta;
use crate::time::Instant;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;

/// An input with the time of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The host's clock. The host reads it *after* it took the input from its queue. A time before the latest one
    /// counts as the latest one.
    pub now: Instant,
    pub input: Input,
}

/// A report of the host to the core, or a request. The host chooses the `id` of a request, and the answer repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A message arrived from a peer that the transport has authenticated. Any content is safe (rule R44).
    Receive { from: NodeId, rpc: Rpc },
    /// A client's command, opaque to the core. The same call answers with `Appended` or `Rejected`.
    Propose { id: RequestId, command: Bytes },
    /// A linearizable read (Thesis §6.4). The same call answers with `Rejected`, or it or a later one answers with
    /// exactly one of `ReadReady` and `ReadFailed`.
    Read { id: RequestId, mode: ReadMode },
    /// Change the configuration (Raft §6). The same call answers with `Appended` or `Rejected`; then
    /// `ConfigurationChanged` reports the progress. The leader starts the second half of a joint change itself.
    ChangeMembership { id: RequestId, change: MembershipChange },
    /// Transfer leadership to a voter; without `to`, to the one with the longest log among those that answer (Thesis
    /// §3.10). The same call answers with `Rejected`, or exactly one of `TransferDone` and `TransferFailed` follows
    /// within the longest election timeout.
    TransferLeadership { id: RequestId, to: Option<NodeId> },
    /// Start an election now, if this node is a voter, does not lead, and had no contact with a leader within the shortest
    /// election timeout.
    Campaign,
    /// Whether the disk has no space for more entries. Report each change, and repeat it about once a second while space is low:
    /// a leader without space then tries to transfer leadership (rule R51), and refuses proposals until there is space.
    Space { is_low: bool },
    /// Recent messages to this peer may be lost: its connection broke, or its queue was full. A leader that sends it appends
    /// in a pipeline probes it with the next heartbeat. There is no other effect: the peer need not be down, and no
    /// input says that it is up again. Other roles ignore it.
    Unreachable { peer: NodeId },
    /// The write with this id and **all before it** are durable. A host that reports the newest write instead of the
    /// newest *contiguous* one loses data. An unknown or older id changes nothing.
    Persisted { write: WriteId },
    /// The state machine has applied everything up to this index.
    Applied { index: LogIndex },
    /// The answer to a `ReadLog`: consecutive entries from its first index on; empty if the host no longer has them.
    /// Entries that differ from the log count as missing. The answer to an obsolete `ReadLog` changes nothing.
    LogRead { read: ReadId, entries: Entries },
    /// The snapshot takes effect with the `Persist` of this call that names it. It takes effect by the `Persist` of
    /// this call that names it. If no write names the file, it is obsolete: delete it.
    SnapshotTaken { index: LogIndex },
    /// A peer's snapshot, sent in `term`, has arrived completely and is in a durable file. The snapshot takes effect
    /// with the `Persist` of this call that names it. Delete a file that this call does not name, unless an earlier
    /// write names it: the same snapshot may arrive twice. Any content of `meta` is safe.
    SnapshotReceived { from: NodeId, term: Term, meta: SnapshotMeta },
    /// The progress of a `SendSnapshot`. Without a report for [`Config::snapshot_timeout`](crate::Config) it counts as
    /// `Failed`.
    SnapshotSent { to: NodeId, outcome: SnapshotOutcome },
}

/// The progress of a snapshot to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SnapshotOutcome {
    /// A part has arrived, the rest is in flight.
    Progress,
    /// The peer's host has it whole and has passed it to its core.
    Delivered,
    /// The host has abandoned it.
    Failed,
}

/// How a read is confirmed. Reads are linearizable either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadMode {
    /// A quorum confirms the leader in a round (ReadIndex, Thesis §6.4). This needs no clock.
    #[default]
    Safe,
    /// The leader answers at once, without a message, if it holds a lease (Thesis §6.4.1). It relies on clocks that
    /// drift at most [`Config::max_clock_drift_ppm`](crate::Config). Without a lease, or with
    /// [`Config::lease_reads`](crate::Config) off, the read is a `Safe` one.
    Lease,
}

/// A message between peers.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rpc {
    /// Asks whether the receiver would vote for the sender (Thesis §9.6). It does not change the receiver's state.
    PreVote(PreVote),
    /// The answer to a pre-vote, which promises nothing.
    PreVoteResponse(PreVoteResponse),
    /// Asks for a vote (Raft §5.2).
    RequestVote(RequestVote),
    /// The answer to a vote request; the node sends a grant once its vote is durable.
    RequestVoteResponse(RequestVoteResponse),
    /// Entries to store, or a heartbeat if there are none (Raft §5.3).
    AppendEntries(AppendEntries),
    /// The answer to an append; the follower sends a match once the entries are durable.
    AppendEntriesResponse(AppendEntriesResponse),
    /// Asks the receiver to start an election at once (Thesis §3.10).
    TimeoutNow(TimeoutNow),
}

/// Arguments of a pre-vote (Thesis §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreVote {
    /// The term the sender *would* campaign in: its own plus one.
    pub term: Term,
    /// The sender's round, repeated in the answer.
    pub round: Round,
    pub last: EntryId,
}

/// Result of a pre-vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreVoteResponse {
    /// The sender's own term.
    pub term: Term,
    pub round: Round,
    pub vote: Vote,
}

/// Arguments of a vote request (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestVote {
    pub term: Term,
    pub last: EntryId,
    /// The leader asked for this election by `TimeoutNow`, so the request passes stickiness (Thesis §4.2.3).
    pub transfer: bool,
}

/// Result of a vote request (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestVoteResponse {
    pub term: Term,
    pub vote: Vote,
}

/// A vote, or the reason for its refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Vote {
    Granted,
    Refused(VoteRefusal),
}

/// Why a vote is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum VoteRefusal {
    /// The request's term is behind the sender's (Raft §5.1).
    StaleTerm,
    /// The sender had contact with a leader within the shortest election timeout (Thesis §4.2.3).
    LeaderAlive,
    /// The sender voted for another candidate in this term (Raft §5.2).
    AlreadyVoted { candidate: NodeId },
    /// The candidate's log is behind the sender's, which ends at `last` (Raft §5.4.1).
    LogBehind { last: EntryId },
    /// The candidate is not a member since the committed configuration `since`; the answerer's log may begin after the
    /// entry that removed it (rule R47). `current` says whether the answerer has contact with a leader, and all entries up
    /// to the highest commit index of a leader's append: only then the refusal counts (rule R50).
    NotAMember { since: EntryId, current: bool },
}

/// Arguments of an append (Raft Figure 2). The leader is the sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AppendEntries {
    pub term: Term,
    /// The number of this append in the leader's term, over all peers.
    pub seq: Seq,
    /// The entry just before the new ones.
    pub prev: EntryId,
    pub leader_commit: LogIndex,
    /// The entries to store; none in a heartbeat.
    pub entries: Entries,
}

/// Result of an append (Raft Figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AppendEntriesResponse {
    pub term: Term,
    /// In a success the newest `seq` that the sender has seen in this term, in a refusal the refused one.
    pub seq: Seq,
    pub outcome: AppendOutcome,
    /// How long after an append of its leader the sender votes for no other node (Thesis §4.2.3), for leases. 0
    /// promises nothing.
    pub stickiness: Duration,
    /// The answerer's disk has no space for more entries: it cannot take over leadership (rule R51).
    #[cfg_attr(feature = "serde", serde(default))]
    pub no_space: bool,
}

/// The hash of an answer with space is that of the version before `no_space`, so that recorded runs keep their hashes.
impl Hash for AppendEntriesResponse {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.term, self.seq, self.outcome, self.stickiness).hash(state);
        if self.no_space {
            self.no_space.hash(state);
        }
    }
}

/// A leader's request to start an election at once (Thesis §3.10). It is bound to one term and one log: only a node
/// whose durable log ends at `last` obeys, so it can win (rule R29).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeoutNow {
    pub term: Term,
    pub last: EntryId,
}

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AppendOutcome {
    /// The sender's log is durable and equal to the leader's up to `index`.
    Matched { index: LogIndex },
    /// The sender knows a newer term (Raft §5.1).
    StaleTerm,
    /// The sender already follows another leader in this term, which Raft proves impossible.
    AnotherLeader,
    /// The sender holds no entry like `prev` (Raft §5.3). `hint` is its last entry that could still match: index at
    /// most `prev.index`, term at most `prev.term`.
    Mismatch { prev: EntryId, hint: EntryId },
}

impl Rpc {
    /// The term of the message.
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

    /// The kind of the message in snake case, such as `request_vote`; `heartbeat` for an append without entries.
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
            Self::NotAMember { since, current } => {
                let doubt = if *current { "" } else { ", but a later entry may name it" };
                write!(f, "not a member since {since}{doubt}, Raft §6")
            }
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
                if !rpc.stickiness.is_zero() {
                    write!(f, ", sticky for {:?}", rpc.stickiness)?;
                }
                if rpc.no_space { write!(f, ", no space") } else { Ok(()) }
            }
            Self::TimeoutNow(rpc) => write!(f, "timeout now term {term} last {}", rpc.last),
        }
    }
}
