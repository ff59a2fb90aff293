//! The roles, each with the state that exists only in that role (Raft §5.1, Figure 4).

use crate::canonical::{Canon, Canonical, canonical};
use crate::id::{LogIndex, NodeId, Round, Seq};
use crate::leader::Leader;
use crate::shared::Shared;
use crate::status::{RoleKind, StopReason};
use crate::time::Instant;
use alloc::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Leader),
    Stopped(StopReason),
}

/// Answers leaders and candidates. A learner is a follower that is not a voter: when its timer fires it asks whether it is still a
/// member.
///
/// Invariants: `pending_vote` names the candidate that has this node's vote; `pending_ack` is set only while the leader is
/// known, and its target is at most `leader_match`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Follower {
    /// When the follower stops waiting for its leader.
    pub(crate) election_deadline: Instant,
    /// The newest append of this term's leader, even if it was refused. 0 means that there is none.
    pub(crate) seen: Seq,
    /// One success for all appends that are not answered yet.
    pub(crate) pending_ack: Option<PendingAck>,
    /// The candidate that gets this node's vote once the vote is durable.
    pub(crate) pending_vote: Option<NodeId>,
}

/// A success response that waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PendingAck {
    /// Whether one of the appends had no new entries: then the answer waits for the term only.
    pub(crate) at_once: bool,
    /// min(durable, leader_match) at first: the answer to new entries waits until it has grown.
    pub(crate) base: LogIndex,
    /// The last new entry. After an answer below it the rest stays pending, because another write carries it.
    pub(crate) target: LogIndex,
}

/// Asks whether it could win (Thesis §9.6), or, if it may not campaign, whether it is still a member (rule R50).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PreCandidate {
    pub(crate) round: Round,
    pub(crate) granted: BTreeSet<NodeId>,
    /// Who has refused it as no member.
    pub(crate) denied: BTreeSet<NodeId>,
    pub(crate) deadline: Instant,
}

/// Asks for votes (Raft §5.2).
///
/// Invariant: it voted for itself; `granted` names it and `deadline` is set exactly when that vote is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Candidate {
    pub(crate) granted: BTreeSet<NodeId>,
    /// Who has refused it as no member.
    pub(crate) denied: BTreeSet<NodeId>,
    /// When the round is over; `None` until the node's own vote is durable and its requests have left.
    pub(crate) deadline: Option<Instant>,
    /// The leader asked for this round (Thesis §3.10), and the requests say so.
    pub(crate) transfer: bool,
}

impl Follower {
    /// A follower without contact.
    pub(crate) fn new(election_deadline: Instant) -> Self {
        Self { election_deadline, seen: Seq(0), pending_ack: None, pending_vote: None }
    }
}

impl Role {
    /// Asserts the invariants of the role between two calls.
    pub(crate) fn check(&self, shared: &Shared) {
        let (id, vote) = (shared.id(), shared.hard_state.voted_for);
        match self {
            Self::Follower(Follower { pending_ack, pending_vote, .. }) => {
                let is_given = pending_vote.is_none() || *pending_vote == vote;
                assert!(is_given, "vote pending for {pending_vote:?}, given to {vote:?}");
                let (leader, leader_match) = (shared.leader, shared.leader_match);
                let is_sound = pending_ack.is_none_or(|ack| leader.is_some() && ack.target <= leader_match);
                assert!(is_sound, "{pending_ack:?} to leader {leader:?}, leader match {leader_match}");
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

impl Canonical for Role {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.kind());
        match self {
            Self::Follower(role) => role.feed(canon),
            Self::PreCandidate(role) => role.feed(canon),
            Self::Candidate(role) => role.feed(canon),
            Self::Leader(role) => role.feed(canon),
            Self::Stopped(reason) => reason.feed(canon),
        }
    }
}

canonical!(Follower { election_deadline, seen, pending_ack, pending_vote });
canonical!(PendingAck { at_once, base, target });
canonical!(PreCandidate { round, granted, denied, deadline });
canonical!(Candidate { granted, denied, deadline, transfer });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Raft;
    use crate::testing::{candidate, each_fails, follower};

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
    fn a_follower_with_an_answer_pending_that_it_must_not_send_fails() {
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
                ("vote pending for Some(n3), given to None", |raft| of_follower(raft).pending_vote = Some(NodeId(3))),
                ("to leader None", |raft| raft.shared.leader = None),
                ("leader match 2", |raft| raft.shared.leader_match = LogIndex(2)),
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
