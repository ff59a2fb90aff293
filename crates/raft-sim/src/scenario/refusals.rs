//! The names of refusals, in a step that expects one and in traces.

use raft_core::{CampaignRefusal, InvalidChange, RejectReason, TargetProblem, TransferFailure};
use raft_node::Reply;

/// The name of a refusal, or of its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// All names that a step may expect.
pub(crate) const REFUSALS: [&str; 30] = [
    "busy",
    "far_behind",
    "invalid_change",
    "is_leader",
    "is_member",
    "is_voter",
    "leader_alive",
    "leadership_lost",
    "leaving",
    "lost_data",
    "needs_snapshot",
    "no_member",
    "no_quorum_to_come",
    "no_space",
    "no_target",
    "no_voter",
    "no_voters_left",
    "not_a_voter",
    "not_caught_up",
    "not_leader",
    "not_ready",
    "nothing",
    "other_configuration",
    "silent",
    "stopped",
    "timed_out",
    "transferring",
    "unfit_target",
    "vote_in_flight",
    "write_stalled",
];

/// The name of a rejection, and of its detail if it has one.
pub(crate) const fn of_rejection(reason: &RejectReason) -> &'static [&'static str] {
    match reason {
        RejectReason::NotLeader { .. } => &["not_leader"],
        RejectReason::Busy => &["busy"],
        RejectReason::Transferring => &["transferring"],
        RejectReason::Leaving => &["leaving"],
        RejectReason::NoTarget => &["no_target"],
        RejectReason::NotReady => &["not_ready"],
        RejectReason::ConfigurationMismatch { .. } => &["other_configuration"],
        RejectReason::NotCaughtUp { .. } => &["not_caught_up"],
        RejectReason::InvalidChange(problem) => match problem {
            InvalidChange::Nothing => &["invalid_change", "nothing"],
            InvalidChange::IsMember { .. } => &["invalid_change", "is_member"],
            InvalidChange::NoMember { .. } => &["invalid_change", "no_member"],
            InvalidChange::IsVoter { .. } => &["invalid_change", "is_voter"],
            InvalidChange::NoVoter { .. } => &["invalid_change", "no_voter"],
            InvalidChange::NoVotersLeft => &["invalid_change", "no_voters_left"],
        },
        RejectReason::Stopped => &["stopped"],
        RejectReason::UnfitTarget { why, .. } => match why {
            TargetProblem::IsLeader => &["unfit_target", "is_leader"],
            TargetProblem::NotAVoter => &["unfit_target", "not_a_voter"],
            TargetProblem::LostData => &["unfit_target", "lost_data"],
            TargetProblem::Silent => &["unfit_target", "silent"],
            TargetProblem::NeedsSnapshot => &["unfit_target", "needs_snapshot"],
            TargetProblem::FarBehind => &["unfit_target", "far_behind"],
            TargetProblem::NoSpace => &["unfit_target", "no_space"],
        },
        RejectReason::NoQuorumToCome { .. } => &["no_quorum_to_come"],
        RejectReason::NoSpace => &["no_space"],
    }
}

pub(crate) const fn of_transfer(reason: TransferFailure) -> &'static [&'static str] {
    match reason {
        TransferFailure::TimedOut => &["timed_out"],
        TransferFailure::NoTarget => &["no_target"],
        TransferFailure::LeadershipLost => &["leadership_lost"],
    }
}

pub(crate) const fn of_campaign(reason: CampaignRefusal) -> &'static [&'static str] {
    match reason {
        CampaignRefusal::NotAVoter => &["not_a_voter"],
        CampaignRefusal::IsLeader => &["is_leader"],
        CampaignRefusal::LeaderAlive => &["leader_alive"],
        CampaignRefusal::VoteInFlight => &["vote_in_flight"],
        CampaignRefusal::WriteStalled => &["write_stalled"],
        CampaignRefusal::NoSpace => &["no_space"],
    }
}

/// The names of a reply that is a refusal; none if it is another reply.
pub(crate) const fn of_reply(reply: &Reply) -> &'static [&'static str] {
    match reply {
        Reply::Rejected { reason } => of_rejection(reason),
        Reply::TransferFailed { reason } => of_transfer(*reason),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{EntryId, NodeId};

    #[test]
    fn a_step_may_expect_every_name() {
        let id = NodeId(2);
        let problems = [
            TargetProblem::IsLeader,
            TargetProblem::NotAVoter,
            TargetProblem::LostData,
            TargetProblem::Silent,
            TargetProblem::NeedsSnapshot,
            TargetProblem::FarBehind,
            TargetProblem::NoSpace,
        ];
        let invalid = [
            InvalidChange::Nothing,
            InvalidChange::IsMember { id },
            InvalidChange::NoMember { id },
            InvalidChange::IsVoter { id },
            InvalidChange::NoVoter { id },
            InvalidChange::NoVotersLeft,
        ];
        let rejections = [
            RejectReason::NotLeader { leader: None },
            RejectReason::Busy,
            RejectReason::Transferring,
            RejectReason::Leaving,
            RejectReason::NoTarget,
            RejectReason::NotReady,
            RejectReason::ConfigurationMismatch { at: EntryId::ZERO },
            RejectReason::NotCaughtUp { id },
            RejectReason::Stopped,
            RejectReason::NoQuorumToCome { silent: [id].into() },
            RejectReason::NoSpace,
        ];
        let problems = problems.map(|why| RejectReason::UnfitTarget { id, why });
        let rejections = rejections.into_iter().chain(problems).chain(invalid.map(RejectReason::InvalidChange));
        let replies = rejections.map(|reason| Reply::Rejected { reason });
        let failures = [TransferFailure::TimedOut, TransferFailure::NoTarget, TransferFailure::LeadershipLost];
        let replies = replies.chain(failures.map(|reason| Reply::TransferFailed { reason }));
        let campaigns = [
            CampaignRefusal::NotAVoter,
            CampaignRefusal::IsLeader,
            CampaignRefusal::LeaderAlive,
            CampaignRefusal::VoteInFlight,
            CampaignRefusal::WriteStalled,
            CampaignRefusal::NoSpace,
        ];
        let names = replies.map(|reply| of_reply(&reply)).chain(campaigns.map(of_campaign)).flatten().copied();
        let names: std::collections::BTreeSet<&str> = names.collect();
        assert!(names.iter().eq(&REFUSALS), "{names:?}");
        assert!(of_reply(&Reply::Lost).is_empty());
    }
}
