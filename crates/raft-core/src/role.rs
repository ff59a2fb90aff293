//! The roles, each owning what only it knows: it dies when the role ends (Raft §5.1, Figure 4).

use crate::action::StopReason;
use crate::fingerprint::canonical;
use crate::id::{LogIndex, NodeId, Round, Seq};
use crate::leader::Leader;
use crate::shared::Shared;
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
///
/// Invariants: `owed_vote` names the candidate that has this node's vote; `pending_ack` is set only while the leader is known, and
/// its target is verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Follower {
    /// When it stops waiting for a leader.
    pub(crate) election_deadline: Instant,
    /// The newest append of this term's leader, whatever became of it. 0: none.
    pub(crate) seen: Seq,
    /// What it owes its leader: one success for all appends it has not answered.
    pub(crate) pending_ack: Option<PendingAck>,
    /// The candidate it owes its vote, once that is durable.
    pub(crate) owed_vote: Option<NodeId>,
}

/// A success response that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PendingAck {
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
///
/// Invariant: it voted for itself; `granted` names it and `deadline` is set exactly when that vote is durable.
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
        Self { election_deadline, seen: Seq(0), pending_ack: None, owed_vote: None }
    }
}

impl Role {
    /// Asserts the invariants of the present role between two calls.
    pub(crate) fn check(&self, shared: &Shared) {
        let (id, vote) = (shared.id(), shared.hard_state.voted_for);
        match self {
            Self::Follower(Follower { pending_ack, owed_vote, .. }) => {
                assert!(owed_vote.is_none() || *owed_vote == vote, "vote owed to {owed_vote:?}, given to {vote:?}");
                let (leader, leader_match) = (shared.leader, shared.leader_match);
                let is_owed =
                    pending_ack.is_none_or(|pending_ack| leader.is_some() && pending_ack.target <= leader_match);
                assert!(is_owed, "{pending_ack:?} to leader {leader:?}, verified {leader_match}");
            }
            Self::Candidate(Candidate { granted, deadline, .. }) => {
                assert!(vote == Some(id), "{id} is a candidate with vote {vote:?}");
                let is_durable = shared.hard_state_is_durable();
                let counts = granted.contains(&id);
                assert!(counts == is_durable, "own vote: durable {is_durable}, counted {counts}");
                assert!(deadline.is_some() == is_durable, "own vote: durable {is_durable}, deadline {deadline:?}");
            }
            Self::Leader(leader) => leader.check(shared),
            Self::PreCandidate(_) | Self::Stopped(_) => {}
        }
    }

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

canonical!(Follower { election_deadline, seen, pending_ack, owed_vote });
canonical!(PendingAck { at_once, base, target });
canonical!(PreCandidate { round, granted, deadline });
canonical!(Candidate { granted, deadline, transfer });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broken::{candidate, each_fails, follower};
    use crate::raft::Raft;

    fn of_follower(raft: &mut Raft) -> &mut Follower {
        match &mut raft.role {
            Role::Follower(follower) => follower,
            other => panic!("{other:?}"),
        }
    }

    fn of_candidate(raft: &mut Raft) -> &mut Candidate {
        match &mut raft.role {
            Role::Candidate(candidate) => candidate,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_follower_that_owes_what_it_must_not_fails() {
        let pending_ack = |raft: &mut Raft, target| {
            of_follower(raft).pending_ack =
                Some(PendingAck { at_once: false, base: LogIndex(0), target: LogIndex(target) });
        };
        let mut sound = follower();
        pending_ack(&mut sound, 3);
        each_fails(
            &sound,
            |raft| raft.role.check(&raft.shared),
            &[
                ("vote owed to Some(n3), given to None", |raft| of_follower(raft).owed_vote = Some(NodeId(3))),
                ("to leader None", |raft| raft.shared.leader = None),
                ("verified 2", |raft| raft.shared.leader_match = LogIndex(2)),
            ],
        );
    }

    #[test]
    fn a_candidate_whose_own_vote_is_in_doubt_fails() {
        each_fails(
            &candidate(),
            |raft| raft.role.check(&raft.shared),
            &[
                ("n1 is a candidate with vote Some(n2)", |raft| raft.shared.hard_state.voted_for = Some(NodeId(2))),
                ("own vote: durable true, counted false", |raft| of_candidate(raft).granted.clear()),
                ("own vote: durable true, deadline None", |raft| of_candidate(raft).deadline = None),
            ],
        );
    }
}
