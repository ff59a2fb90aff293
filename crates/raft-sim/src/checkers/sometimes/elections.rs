//! The marks of elections by order and without a pre-vote, of messages of terms long past, and of messages that are refused
//! or do not count.

use super::super::property::Fact;
use crate::record::RecordKind;
use raft_core::{Event, IgnoreReason, RoleKind};

/// The mark that a record reaches, if it reaches one.
pub(super) fn mark(fact: &Fact<'_>) -> Option<&'static str> {
    let campaigns = |role: RoleKind| matches!(role, RoleKind::PreCandidate | RoleKind::Candidate);
    match &fact.record.kind {
        RecordKind::Observed(Event::CampaignRefused { .. }) => Some("campaign_refused"),
        RecordKind::Observed(Event::Ignored { reason: IgnoreReason::Malformed, .. }) => Some("malformed_ignored"),
        RecordKind::Observed(Event::Ignored { reason: IgnoreReason::NotCurrent, .. }) => Some("refusal_not_current"),
        RecordKind::CallerRefused { .. } => Some("caller_refused"),
        RecordKind::Garbage { .. } => Some("garbage_refused"),
        RecordKind::CampaignAsked => {
            let (node, now) = fact.new_view()?;
            (node.previous?.role == RoleKind::Follower && campaigns(now.role)).then_some("campaign_ordered")
        }
        RecordKind::TimerFired => {
            let (node, now) = fact.new_view()?;
            let asks_nobody = node.previous?.role == RoleKind::Follower && now.role == RoleKind::Candidate;
            let is_alone = node.configuration()?.is_sole_voter(node.id);
            (asks_nobody && !is_alone).then_some("campaign_without_pre_vote")
        }
        RecordKind::Received { rpc, .. } => {
            let term = fact.record.view.as_ref()?.term;
            (rpc.term().0 + 1 < term.0).then_some("old_message_received")
        }
        _ => None,
    }
}
