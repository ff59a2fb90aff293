//! The marks of the core's limits: which of them a run has reached.

use super::super::property::Fact;
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{AbandonReason, Entry, Event, IgnoreReason, MAX_PRIORITY, NodeId, RejectReason, RoleKind, Rpc, Vote};
use raft_node::Reply;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, Default)]
pub(super) struct Limits {
    /// The longest election timeout of each node: a node of the highest priority campaigns after that at the latest.
    timeouts: BTreeMap<NodeId, Duration>,
    /// When each node last started, received a message of a leader, voted, or changed its role or its term.
    waits_since: BTreeMap<NodeId, SimTime>,
    /// For each node, the size of the entries that it applied last, and the record that caused it.
    applied: BTreeMap<NodeId, (u64, Option<u64>)>,
    /// Leaders with a full window.
    blocked: BTreeSet<NodeId>,
}

impl Limits {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let raft = &scenario.raft;
        let timeout = |id| raft.election_timeout_of.get(&id).unwrap_or(&raft.election_timeout).end;
        Self { timeouts: (1..=scenario.nodes).map(NodeId).map(|id| (id, timeout(id))).collect(), ..Self::default() }
    }

    /// The mark that this record reaches.
    pub(super) fn observe(&mut self, fact: &Fact<'_>) -> Option<&'static str> {
        let id = fact.record.node?;
        let waited = self.waits(id, fact);
        let is_blocked = fact.record.view.as_ref().is_some_and(|view| view.quotas.blocked_peers > 0);
        let is_news = if is_blocked { self.blocked.insert(id) } else { self.blocked.remove(&id) };
        match &fact.record.kind {
            RecordKind::Observed(Event::WriteStalled { .. }) => Some("leader_write_stalled"),
            RecordKind::Observed(Event::Ignored { reason: IgnoreReason::Overloaded, .. }) => {
                Some("append_ignored_overloaded")
            }
            RecordKind::Observed(Event::SnapshotAbandoned { reason: AbandonReason::Compacted, .. }) => {
                Some("snapshot_log_released")
            }
            RecordKind::Applied { entries, .. } => {
                let applied = (entries.size(), fact.record.cause);
                let before = self.applied.insert(id, applied);
                // A call has a second batch of entries to apply only because the limit ended the first.
                let next = entries.first().map_or(0, Entry::size);
                let limit = fact.node?.limits.max_apply_bytes;
                let was_limited = |(size, cause): (u64, Option<u64>)| cause == applied.1 && size + next > limit;
                before.is_some_and(was_limited).then_some("apply_limited")
            }
            _ if waited => Some("low_priority_waited"),
            _ if is_blocked && is_news => Some("window_full_of_bytes"),
            _ => None,
        }
    }

    /// Whether a node campaigns that has waited longer than a node of the highest priority would have.
    fn waits(&mut self, id: NodeId, fact: &Fact<'_>) -> bool {
        let at = fact.record.at;
        let (before, now) = fact.node.map_or((None, None), |node| (node.previous, node.view));
        let changes = fact.change.new_view
            && before.zip(now).is_none_or(|(before, now)| {
                (before.role, before.term, before.voted_for) != (now.role, now.term, now.voted_for)
            });
        let campaigns = changes
            && before.is_some_and(|before| before.role == RoleKind::Follower)
            && now.is_some_and(|now| matches!(now.role, RoleKind::PreCandidate | RoleKind::Candidate))
            && matches!(fact.record.kind, RecordKind::TimerFired);
        let begins = match &fact.record.kind {
            RecordKind::Started { .. } | RecordKind::Received { rpc: Rpc::AppendEntries(_), .. } => true,
            RecordKind::Sent { rpc: Rpc::RequestVoteResponse(response), .. } => response.vote == Vote::Granted,
            _ => changes,
        };
        let since = if begins { self.waits_since.insert(id, at) } else { None };
        let is_low = fact.node.is_some_and(|node| node.priority < MAX_PRIORITY);
        let timeout = self.timeouts.get(&id).copied().unwrap_or_default();
        campaigns && is_low && since.is_some_and(|since| at.since(since) > timeout)
    }

    /// Whether a leader rejects a command because of its limits, and not for lack of disk space.
    pub(super) fn rejects_proposal(&self, fact: &Fact<'_>, reply: &Reply) -> bool {
        let Some((node, view)) = fact.node.zip(fact.record.view.as_ref()) else { return false };
        *reply == Reply::Rejected { reason: RejectReason::Busy }
            && (view.quotas.uncommitted_bytes >= node.limits.max_uncommitted_bytes
                || view.quotas.unpersisted_bytes >= node.limits.max_unpersisted_bytes)
    }
}
