//! The roles, each owning what only it knows: it dies when the role ends (Raft §5.1, Figure 4).

use crate::action::StopReason;
use crate::fingerprint::canonical;
use crate::id::{LogIndex, NodeId, Round, Seq};
use crate::leader::Leader;
use crate::status::RoleKind;
use crate::time::Instant;
use alloc::collections::BTreeSet;

/// What a node is at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Leader),
    Stopped(StopReason),
}

/// Answers leaders and candidates. A learner is a follower that is no voter: its timer never fires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Follower {
    /// When it stops waiting for a leader.
    pub(crate) election_deadline: Instant,
    /// The newest append of this term's leader, whatever became of it. 0: none.
    pub(crate) seen: Seq,
    /// What it owes its leader: one success for all appends it has not answered.
    pub(crate) owed: Option<Owed>,
    /// The candidate it owes its vote, once that is durable.
    pub(crate) owed_vote: Option<NodeId>,
}

/// A success response that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Owed {
    /// Whether an append among them brought nothing new: then the answer waits for the term only, not for the entries.
    pub(crate) at_once: bool,
    /// min(durable, verified) when it was owed: the answer to new entries waits until that has grown.
    pub(crate) base: LogIndex,
    /// The last new entry. An answer below it leaves the rest owed: another write carries it.
    pub(crate) target: LogIndex,
}

/// Asks whether it could win (Thesis §9.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PreCandidate {
    pub(crate) round: Round,
    pub(crate) granted: BTreeSet<NodeId>,
    pub(crate) deadline: Instant,
}

/// Asks for votes (Raft §5.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Candidate {
    pub(crate) granted: BTreeSet<NodeId>,
    /// When the round is over; none until its requests have left, which is when its own vote is durable.
    pub(crate) deadline: Option<Instant>,
    /// The leader asked for this round (Thesis §3.10): its requests say so.
    pub(crate) transfer: bool,
}

impl Follower {
    /// A follower that has heard nobody yet.
    pub(crate) fn new(election_deadline: Instant) -> Self {
        Self { election_deadline, seen: Seq(0), owed: None, owed_vote: None }
    }
}

impl Role {
    pub(crate) fn kind(&self) -> RoleKind {
        match self {
            Self::Follower(_) => RoleKind::Follower,
            Self::PreCandidate(_) => RoleKind::PreCandidate,
            Self::Candidate(_) => RoleKind::Candidate,
            Self::Leader(_) => RoleKind::Leader,
            Self::Stopped(_) => RoleKind::Stopped,
        }
    }
}

canonical!(Follower { election_deadline, seen, owed, owed_vote });
canonical!(Owed { at_once, base, target });
canonical!(PreCandidate { round, granted, deadline });
canonical!(Candidate { granted, deadline, transfer });
