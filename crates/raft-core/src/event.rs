//! What the core reports for people and pictures only. Nothing may depend on it.

use crate::id::{EntryId, LogIndex, NodeId, Seq, Term, WriteId};
use crate::message::{AppendOutcome, VoteRefusal};
use crate::status::RoleKind;
use core::fmt;
use core::time::Duration;

/// Something worth seeing in a trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The role or the term changed.
    BecameRole {
        /// The role now.
        role: RoleKind,
        /// The term now.
        term: Term,
        /// What brought it about.
        cause: Cause,
    },
    /// A vote or a pre-vote was refused.
    VoteRefused {
        /// Who asked.
        candidate: NodeId,
        /// The candidate's last entry.
        last: EntryId,
        /// Whether it was only a pre-vote.
        pre_vote: bool,
        /// Why.
        reason: VoteRefusal,
    },
    /// An append was refused.
    AppendRefused {
        /// Who sent it.
        leader: NodeId,
        /// Which one.
        seq: Seq,
        /// Why.
        outcome: AppendOutcome,
    },
    /// An input was ignored.
    Ignored {
        /// Who sent it.
        from: NodeId,
        /// Why.
        reason: IgnoreReason,
    },
    /// Entries were removed because the leader's log has others (Raft §5.3).
    Truncated {
        /// The first removed entry.
        from: EntryId,
        /// The last removed entry.
        last: EntryId,
    },
    /// The commit index moved.
    Committed {
        /// The commit index now.
        index: LogIndex,
    },
    /// A peer denies an entry it had acknowledged as durable: its disk lost data. It counts for nothing from now on.
    PeerLostData {
        /// The peer.
        peer: NodeId,
        /// What it had acknowledged.
        acknowledged: LogIndex,
        /// What it denies.
        denied: EntryId,
    },
    /// A snapshot that was taken or received is of no use: this node has a newer one, or has all that it covers.
    SnapshotUnused {
        /// The last index that it covers.
        index: LogIndex,
    },
    /// A received snapshot took the place of the log (Raft §7).
    SnapshotInstalled {
        /// The last entry that it covers.
        last: EntryId,
    },
    /// A snapshot on its way to a peer is given up.
    SnapshotAbandoned {
        /// The peer.
        peer: NodeId,
        /// The last entry that it covers.
        last: EntryId,
        /// Why.
        reason: AbandonReason,
    },
    /// A request to campaign was refused.
    CampaignRefused {
        /// Why.
        reason: CampaignRefusal,
    },
    /// Leadership is being handed over.
    TransferBegun {
        /// To whom.
        target: NodeId,
    },
    /// A learner has finished a round of catching up (Thesis §4.2.1).
    CaughtUp {
        /// The learner.
        peer: NodeId,
        /// What it holds.
        index: LogIndex,
    },
    /// A leader's write has been in flight for longer than `max_write_stall`: it hands over if it can, else steps down.
    WriteStalled {
        /// The write.
        write: WriteId,
    },
    /// What was handed to the state machine an election timeout ago is not reported `Applied`: it is slow, or the host
    /// forgets to. Said once for each `Apply`.
    ApplyOverdue {
        /// The last index of that `Apply`.
        index: LogIndex,
    },
    /// A peer is sticky for too short a time, or not at all: no lease of this leader rests on it. Said once for each time.
    StickinessTooShort {
        /// The peer.
        peer: NodeId,
        /// What it keeps.
        stickiness: Duration,
    },
}

/// What brought a role about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// The election timer ran out (Raft §5.2).
    ElectionTimeout,
    /// The host asked for it.
    CampaignRequested,
    /// A quorum would vote for it (Thesis §9.6).
    PreVotesWon,
    /// A quorum voted for it (Raft §5.2).
    VotesWon,
    /// A peer is in a higher term (Raft §5.1).
    HigherTerm {
        /// The peer.
        from: NodeId,
    },
    /// It gave its vote of this term to this candidate (Raft §5.2).
    VoteGranted {
        /// The candidate.
        candidate: NodeId,
    },
    /// The leader of this term made itself known (Raft §5.2).
    LeaderFound {
        /// The leader.
        leader: NodeId,
    },
    /// No quorum answered for an election timeout (Thesis §6.2).
    QuorumLost,
    /// The leader asked for the election (Thesis §3.10).
    TransferRequested {
        /// The leader.
        from: NodeId,
    },
    /// The configuration without this node is committed (Raft §6).
    Removed,
    /// Its disk stands still.
    WriteStalled,
    /// Its log gave way to a snapshot.
    SnapshotReceived {
        /// Who sent it.
        from: NodeId,
    },
}

/// Why a snapshot on its way is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AbandonReason {
    /// The host says that it failed.
    Failed,
    /// Nothing was heard of it for too long.
    TimedOut,
    /// The log goes on after a later snapshot.
    Compacted,
}

/// Why an input was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum IgnoreReason {
    /// It claims to come from this node itself.
    FromSelf,
    /// Its numbers contradict each other or are out of range.
    Malformed,
    /// It answers nothing this node has asked in its present role and term.
    NotAsked,
    /// It comes from a node that the configuration does not name.
    UnknownPeer,
    /// Too much is waiting for the disk; the leader will send it again.
    Overloaded,
    /// It contradicts what the same leader sent before in this term, which Raft proves impossible.
    Contradiction,
    /// It asks this node to take over, whose log is another than it says, not durable, or that does not vote.
    CannotTakeOver,
}

/// Why a request to campaign was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CampaignRefusal {
    /// The configuration does not make this node a voter.
    NotAVoter,
    /// It leads already.
    IsLeader,
    /// A leader was heard from within the shortest election timeout (Thesis §4.2.3).
    LeaderAlive,
    /// The vote of the last round is not durable yet.
    VoteInFlight,
    /// The write for which it gave leadership up is still in flight.
    WriteStalled,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ElectionTimeout => write!(f, "election timeout, Raft §5.2"),
            Self::CampaignRequested => write!(f, "asked to campaign"),
            Self::PreVotesWon => write!(f, "a quorum would vote for it, Thesis §9.6"),
            Self::VotesWon => write!(f, "a quorum voted for it, Raft §5.2"),
            Self::HigherTerm { from } => write!(f, "{from} is in a higher term, Raft §5.1"),
            Self::VoteGranted { candidate } => write!(f, "votes for {candidate}, Raft §5.2"),
            Self::LeaderFound { leader } => write!(f, "{leader} leads this term, Raft §5.2"),
            Self::QuorumLost => write!(f, "no quorum answers, Thesis §6.2"),
            Self::TransferRequested { from } => write!(f, "{from} hands over to it, Thesis §3.10"),
            Self::WriteStalled => write!(f, "its disk stands still"),
            Self::SnapshotReceived { from } => write!(f, "a snapshot of {from} takes the place of its log, Raft §7"),
            Self::Removed => write!(f, "the configuration without it is committed, Raft §6"),
        }
    }
}

impl fmt::Display for AbandonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "it failed",
            Self::TimedOut => "nothing is heard of it",
            Self::Compacted => "the log goes on after a later one",
        })
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromSelf => "it claims to come from this node",
            Self::Malformed => "it is malformed",
            Self::NotAsked => "what it answers is asked no longer",
            Self::UnknownPeer => "the sender is not in the configuration",
            Self::Overloaded => "too much is waiting for the disk",
            Self::Contradiction => "it contradicts what the same leader sent before",
            Self::CannotTakeOver => "its log is another, or it does not vote: it cannot take over",
        })
    }
}

impl fmt::Display for CampaignRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAVoter => "not a voter",
            Self::IsLeader => "leads already",
            Self::LeaderAlive => "a leader is alive, Thesis §4.2.3",
            Self::VoteInFlight => "the last vote is not durable yet",
            Self::WriteStalled => "its disk still stands still",
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
            Self::SnapshotUnused { index } => write!(f, "has no use for a snapshot of {index}"),
            Self::SnapshotInstalled { last } => write!(f, "goes on after the snapshot of {last}, Raft §7"),
            Self::SnapshotAbandoned { peer, last, reason } => {
                write!(f, "gives the snapshot of {last} for {peer} up: {reason}")
            }
            Self::CampaignRefused { reason } => write!(f, "does not campaign: {reason}"),
            Self::TransferBegun { target } => write!(f, "hands leadership over to {target}, Thesis §3.10"),
            Self::WriteStalled { write } => write!(f, "{write} is in flight for too long to lead"),
            Self::ApplyOverdue { index } => write!(f, "waits for the state machine to report {index} applied"),
            Self::StickinessTooShort { peer, stickiness } => {
                write!(f, "{peer} is sticky for {stickiness:?}, too short for a lease")
            }
            Self::CaughtUp { peer, index } => write!(f, "{peer} has caught up to {index}, Thesis §4.2.1"),
        }
    }
}
