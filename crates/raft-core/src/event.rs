//! Events: reports for logs and traces. The protocol never depends on them.

use crate::id::{EntryId, LogIndex, NodeId, Seq, Term, WriteId};
use crate::message::{AppendOutcome, VoteRefusal};
use crate::status::RoleKind;
use alloc::collections::BTreeSet;
use core::fmt;
use core::time::Duration;

/// One line of a trace.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The role or the term changed.
    BecameRole { role: RoleKind, term: Term, cause: Cause },
    /// A vote or a pre-vote was refused.
    VoteRefused { candidate: NodeId, last: EntryId, pre_vote: bool, reason: VoteRefusal },
    /// An append was refused.
    AppendRefused { leader: NodeId, seq: Seq, outcome: AppendOutcome },
    /// An input was ignored.
    Ignored { from: NodeId, reason: IgnoreReason },
    /// Entries were removed because the leader's log has others (Raft §5.3).
    Truncated { from: EntryId, last: EntryId },
    /// The commit index moved.
    Committed { index: LogIndex },
    /// A peer denies an entry it had acknowledged as durable: its disk lost data. It no longer counts for quorums.
    PeerLostData { peer: NodeId, acknowledged: LogIndex, denied: EntryId },
    /// The node does not need a snapshot that it took or received: it has a newer one, or everything that the snapshot
    /// covers.
    SnapshotUnused { index: LogIndex },
    /// A received snapshot replaced the log (Raft §7).
    SnapshotInstalled { last: EntryId },
    /// A snapshot in flight to a peer is abandoned.
    SnapshotAbandoned { peer: NodeId, last: EntryId, reason: AbandonReason },
    /// A request to campaign was refused.
    CampaignRefused { reason: CampaignRefusal },
    /// A leadership transfer has begun.
    TransferBegun { target: NodeId },
    /// A learner has finished a round of catching up (Thesis §4.2.1).
    CaughtUp { peer: NodeId, index: LogIndex },
    /// A leader's write has been in flight for longer than `max_write_stall`, so the leader transfers leadership or
    /// steps down.
    WriteStalled { write: WriteId },
    /// The host has not reported an `Apply` that was emitted an election timeout ago: the state machine is slow, or the
    /// host forgot the report. Emitted once for each `Apply`, with its last index.
    ApplyOverdue { index: LogIndex },
    /// A peer's stickiness is shorter than this leader's, so the peer does not count for leases. Emitted once for each
    /// change.
    StickinessTooShort { peer: NodeId, stickiness: Duration },
    /// A voter refuses this node as no member, and knows more about that than this node's log.
    MembershipDenied { by: NodeId, since: EntryId },
    /// A change was forced, although too many voters of the configuration to come do not answer: these.
    ChangeForced { silent: BTreeSet<NodeId> },
}

/// Why the role or the term changed.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// The election timer ran out (Raft §5.2).
    ElectionTimeout,
    /// The host requested a campaign.
    CampaignRequested,
    /// A quorum would vote for this node (Thesis §9.6).
    PreVotesWon,
    /// A quorum voted for this node (Raft §5.2).
    VotesWon,
    /// A peer is in a higher term (Raft §5.1).
    HigherTerm { from: NodeId },
    /// This node gave its vote in this term to the candidate (Raft §5.2).
    VoteGranted { candidate: NodeId },
    /// A message shows who leads this term (Raft §5.2).
    LeaderFound { leader: NodeId },
    /// No quorum answered for an election timeout (Thesis §6.2).
    QuorumLost,
    /// The leader sent `TimeoutNow` (Thesis §3.10).
    TransferRequested { from: NodeId },
    /// The configuration without this node is committed (Raft §6).
    Removed,
    /// The disk of this node has stalled.
    WriteStalled,
    /// A snapshot from the leader replaces the log.
    SnapshotReceived { from: NodeId },
}

/// Why a snapshot in flight is abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AbandonReason {
    /// The host reported that the transfer failed.
    Failed,
    /// Its progress was not reported in time.
    TimedOut,
    /// The log was compacted beyond this snapshot.
    Compacted,
}

/// Why an input was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum IgnoreReason {
    /// The message claims to come from this node itself.
    FromSelf,
    /// The numbers of the message contradict each other or are out of range.
    Malformed,
    /// The message answers no request of this node's current role and term.
    NotAsked,
    /// The sender is not in the configuration.
    UnknownPeer,
    /// Too many bytes wait for the disk; the leader will send it again.
    Overloaded,
    /// The message contradicts an earlier one of the same leader and term, which Raft proves impossible.
    Contradiction,
    /// The message asks this node to take over, but its log differs or is not durable, or it is not a voter.
    CannotTakeOver,
    /// The sender says that this node is no member, but may not know the newest configuration.
    NotCurrent,
}

/// Why a request to campaign was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CampaignRefusal {
    /// The configuration does not make this node a voter.
    NotAVoter,
    /// This node already leads.
    IsLeader,
    /// Contact with a leader is more recent than the shortest election timeout (Thesis §4.2.3).
    LeaderAlive,
    /// The vote of the last round is not durable yet.
    VoteInFlight,
    /// The write that made this node give up leadership is still in flight.
    WriteStalled,
    /// Its disk has no space for more entries.
    NoSpace,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ElectionTimeout => write!(f, "election timeout, Raft §5.2"),
            Self::CampaignRequested => write!(f, "the host requested it"),
            Self::PreVotesWon => write!(f, "a quorum would vote for it, Thesis §9.6"),
            Self::VotesWon => write!(f, "a quorum voted for it, Raft §5.2"),
            Self::HigherTerm { from } => write!(f, "{from} is in a higher term, Raft §5.1"),
            Self::VoteGranted { candidate } => write!(f, "votes for {candidate}, Raft §5.2"),
            Self::LeaderFound { leader } => write!(f, "{leader} leads this term, Raft §5.2"),
            Self::QuorumLost => write!(f, "no quorum answers, Thesis §6.2"),
            Self::TransferRequested { from } => write!(f, "{from} transfers leadership to it, Thesis §3.10"),
            Self::WriteStalled => write!(f, "its disk has stalled"),
            Self::SnapshotReceived { from } => write!(f, "a snapshot of {from} replaces its log, Raft §7"),
            Self::Removed => write!(f, "the configuration without it is committed, Raft §6"),
        }
    }
}

impl fmt::Display for AbandonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "it failed",
            Self::TimedOut => "no progress in time",
            Self::Compacted => "the log continues after a later one",
        })
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromSelf => "it claims to come from this node",
            Self::Malformed => "it is malformed",
            Self::NotAsked => "it answers no current request",
            Self::UnknownPeer => "the sender is not in the configuration",
            Self::Overloaded => "too many bytes wait for the disk",
            Self::Contradiction => "it contradicts an earlier message of the same leader",
            Self::CannotTakeOver => "this node cannot take over: its log differs, or it is no voter",
            Self::NotCurrent => "the sender may not know the newest configuration",
        })
    }
}

impl fmt::Display for CampaignRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAVoter => "not a voter",
            Self::IsLeader => "already leads",
            Self::LeaderAlive => "a leader is alive, Thesis §4.2.3",
            Self::VoteInFlight => "the last vote is not durable yet",
            Self::WriteStalled => "its disk is still stalled",
            Self::NoSpace => "its disk is full",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameRole { role, term, cause } => write!(f, "becomes {role} of term {term}: {cause}"),
            Self::VoteRefused { candidate, last, pre_vote, reason } => {
                let name = if *pre_vote { "pre-vote" } else { "vote" };
                match reason {
                    VoteRefusal::LogBehind { last: ours } => {
                        write!(f, "refuses {candidate} a {name}: log {last} is behind {ours}, Raft §5.4.1")
                    }
                    _ => write!(f, "refuses {candidate} a {name}: {reason}"),
                }
            }
            Self::AppendRefused { leader, seq, outcome } => write!(f, "append {seq} of {leader} {outcome}"),
            Self::Ignored { from, reason } => write!(f, "ignores {from}: {reason}"),
            Self::Truncated { from, last } => write!(f, "truncates {from}..{last}, Raft §5.3"),
            Self::Committed { index } => write!(f, "commits up to {index}"),
            Self::PeerLostData { peer, acknowledged, denied } => {
                write!(f, "{peer} lost data: it acknowledged up to {acknowledged} and denies {denied}")
            }
            Self::SnapshotUnused { index } => write!(f, "does not need a snapshot of {index}"),
            Self::SnapshotInstalled { last } => write!(f, "installs the snapshot of {last}, Raft §7"),
            Self::SnapshotAbandoned { peer, last, reason } => {
                write!(f, "abandons the snapshot of {last} for {peer}: {reason}")
            }
            Self::CampaignRefused { reason } => write!(f, "does not campaign: {reason}"),
            Self::TransferBegun { target } => write!(f, "transfers leadership to {target}, Thesis §3.10"),
            Self::WriteStalled { write } => write!(f, "{write} has been in flight too long to lead"),
            Self::ApplyOverdue { index } => write!(f, "waits for the state machine to report {index} applied"),
            Self::StickinessTooShort { peer, stickiness } => {
                write!(f, "{peer} is sticky for {stickiness:?}, too short for a lease")
            }
            Self::MembershipDenied { by, since } => write!(f, "is no member since {since}, says {by}"),
            Self::ChangeForced { silent } => {
                write!(f, "is forced to change the configuration without an answer from:")?;
                silent.iter().try_for_each(|id| write!(f, " {id}"))
            }
            Self::CaughtUp { peer, index } => write!(f, "{peer} has caught up to {index}, Thesis §4.2.1"),
        }
    }
}
