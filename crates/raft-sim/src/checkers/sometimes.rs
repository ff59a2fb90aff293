//! The marks: events that *must happen* in some run, or the runs prove little. A property that was never in danger was
//! not tested.
//!
//! They are counted for each run. A cut tail shows as a restart without a write that the store had written; a client's
//! retry shows as a second request with the same cause.

mod backups;
mod clients;
mod elections;
mod forwarding;
mod limits;
mod scheduling;

use self::scheduling::Scheduling;
use super::ghost::Ghost;
use super::ghost::node::{Node, Seen};
use super::property::Fact;
use crate::record::{CrashKind, RecordKind, Verdict};
use crate::scenario::model::Scenario;
use bytes::Bytes;
use limits::Limits;
use prost::Message;
use raft_core::{
    AppendOutcome, Configuration, Entry, EntryId, Event, InstallMode, LogIndex, NodeId, Payload, RejectReason,
    RequestId, RoleKind, Rpc, SnapshotRecord, StopReason, Term, Vote, VoteRefusal, Write,
};
use raft_node::{Reply, SnapshotMessage, SnapshotState};
use raft_proto::wire::{kv, session};
use std::collections::{BTreeMap, BTreeSet};

/// The names of all marks, as `expect.sometimes` of a scenario and the reports use them.
pub const MARKS: [&str; 109] = [
    "answered_from_backup",
    "append_ignored_overloaded",
    "apply_limited",
    "backup_finished",
    "backup_lost",
    "backup_read_failed",
    "backup_refused",
    "caller_refused",
    "campaign_ordered",
    "campaign_refused",
    "campaign_without_pre_vote",
    "change_forced",
    "change_refused_without_quorum",
    "change_too_early",
    "check_quorum_step_down",
    "client_retry",
    "cluster_recovered",
    "cluster_restored",
    "command_abandoned",
    "commands_out_of_order",
    "commit",
    "configuration_changed",
    "configuration_rolled_back",
    "duplicate_command_answered",
    "elected_alone",
    "elected_by_even_voters",
    "election",
    "expired_command_retried",
    "foreign_cluster_refused",
    "forward_busy",
    "forward_leader_lost",
    "forward_met_follower",
    "forward_not_sent",
    "forward_timed_out",
    "forwarded",
    "garbage_refused",
    "inputs_mixed",
    "inputs_of_all_kinds",
    "joint_entered",
    "joint_left",
    "key_expired",
    "leader_behind_commit",
    "leader_elected",
    "leader_isolated",
    "leader_removed_itself",
    "leader_write_stalled",
    "learner_added",
    "learner_promoted",
    "lease_read_served",
    "log_compacted",
    "log_conflict",
    "log_read_back",
    "log_read_gone",
    "lost_data_reported",
    "lost_leadership_unknown",
    "low_priority_waited",
    "malformed_ignored",
    "message_dropped",
    "old_message_received",
    "peer_refused",
    "power_loss_lost_bytes",
    "pre_vote_refused",
    "proposal_busy",
    "range_read",
    "read_busy",
    "read_failed",
    "read_served",
    "read_waited_for_first_commit",
    "recovery_cut_tail",
    "refusal_not_current",
    "refused_as_non_member",
    "refused_for_space",
    "removed_by_own_log",
    "removed_by_refusals",
    "request_refused",
    "restart",
    "restored_at_start",
    "session_expired",
    "session_not_in_backup",
    "snapshot_installed",
    "snapshot_log_released",
    "snapshot_not_needed",
    "snapshot_of_older_term",
    "snapshot_resumed",
    "snapshot_sent",
    "snapshot_stale",
    "snapshot_suffix_kept",
    "snapshot_taken",
    "space_recovered",
    "split_vote",
    "stale_append_refused",
    "stale_read_served",
    "step_down",
    "term_jump",
    "transfer_done",
    "transfer_failed",
    "transfer_for_space",
    "transfer_refused",
    "truncation",
    "txn_applied",
    "unreachable_told",
    "vote_refused",
    "vote_refused_log_behind",
    "watch_compacted",
    "watch_of_another_cluster",
    "watch_resumed",
    "window_full_of_bytes",
    "write_overtook_job",
    "writes_grouped",
];

#[derive(Clone, Default)]
pub(super) struct Sometimes {
    counts: BTreeMap<&'static str, u64>,
    /// The marks since the last call of [`take_new`](Self::take_new), if somebody calls it.
    new: Option<Vec<&'static str>>,
    limits: Limits,
    /// Terms already counted as split.
    split: BTreeSet<Term>,
    /// The operations that some node has already received, by the record of their invocation.
    requested: BTreeSet<u64>,
    /// Gets, by the record of their invocation.
    gets: BTreeSet<u64>,
    /// The gets that a leader has accepted and not answered.
    taken: BTreeMap<(NodeId, RequestId), Taken>,
    /// Entries that answered a client.
    answered: BTreeSet<LogIndex>,
    /// The nodes whose log was replaced with a peer's snapshot, until their state machines restore it.
    installed: BTreeSet<NodeId>,
    /// The term of the latest chunk of a snapshot that each node received.
    heard: BTreeMap<NodeId, Term>,
    /// The nodes that have asked a peer for the progress of a snapshot, each with the peer.
    asked: BTreeSet<(NodeId, NodeId)>,
    /// The nodes that were notified that their disks have no space.
    low: BTreeSet<NodeId>,
    scheduling: Scheduling,
    backups: backups::Backups,
    clients: clients::Clients,
    /// For each node, the peers to which its last message was cut off.
    cut: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

/// A get that a leader accepted.
#[derive(Clone)]
struct Taken {
    /// The record of its acceptance.
    record: u64,
    /// The leader had not committed an entry of its own term yet.
    early: bool,
    /// Other nodes vote too: to be sure that it leads, the leader has to ask them, or needs a lease.
    among_others: bool,
}

impl Sometimes {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { counts: MARKS.iter().map(|mark| (*mark, 0)).collect(), limits: Limits::new(scenario), ..Self::default() }
    }

    /// Keeps the counts, and forgets the rest.
    pub(super) fn begin_anew(&mut self, scenario: &Scenario) {
        let (counts, new) = (std::mem::take(&mut self.counts), self.new.take());
        *self = Self { counts, new, ..Self::new(scenario) };
    }

    /// How often each mark was reached so far.
    pub(super) const fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// The marks since the last call, in order; nothing at the first call.
    pub(super) fn take_new(&mut self) -> Vec<&'static str> {
        self.new.replace(Vec::new()).unwrap_or_default()
    }

    fn mark(&mut self, mark: &'static str) {
        *self.counts.entry(mark).or_default() += 1;
        self.new.iter_mut().for_each(|new| new.push(mark));
    }

    fn mark_if(&mut self, is_reached: bool, mark: &'static str) {
        if is_reached {
            self.mark(mark);
        }
    }

    pub(super) fn observe(&mut self, ghost: &Ghost, fact: &Fact<'_>) {
        self.observe_ghost(ghost, fact);
        self.observe_kind(fact);
    }

    fn observe_ghost(&mut self, ghost: &Ghost, fact: &Fact<'_>) {
        if let Some(mark) = self.scheduling.observe(fact.record).or(forwarding::mark(&fact.record.kind)) {
            self.mark(mark);
        }
        if let Some(mark) = elections::mark(fact) {
            self.mark(mark);
        }
        if let Some((node, now)) = fact.new_view() {
            self.view(ghost, fact, node, now);
        }
        for mark in self.limits.observe(fact).into_iter().chain(self.backups.observe(fact.record)) {
            self.mark(mark);
        }
        if let Some(mark) = self.clients.observe(ghost, fact) {
            self.mark(mark);
        }
        self.mark_if(ghost.committed.len() > fact.change.committed_before, "commit");
        let from = fact.change.decided_before.saturating_sub(1);
        for pair in ghost.decided().get(from..).unwrap_or_default().windows(2) {
            if let [(_, old), (_, new)] = pair {
                self.decided(old, new);
            }
        }
        let applied = ghost.applied.get(fact.change.applied_before..).unwrap_or_default();
        self.mark_if(applied.iter().any(|applied| expires(&applied.entry)), "key_expired");
        self.mark_if(fact.change.edit.rolled_back > 0, "configuration_rolled_back");
    }

    fn observe_kind(&mut self, fact: &Fact<'_>) {
        match &fact.record.kind {
            RecordKind::Sent { to, rpc, verdict } => self.sent(fact, *to, rpc, *verdict),
            RecordKind::Started { incarnation, .. } if *incarnation > 1 => {
                self.mark("restart");
                let cut = |found: super::ghost::node::Recovery| found.contains.is_some_and(|held| held < found.written);
                self.mark_if(fact.change.recovery.is_some_and(cut), "recovery_cut_tail");
            }
            RecordKind::Crashed { crash, lost } => {
                self.mark_if(*crash == CrashKind::PowerLoss && *lost > 0, "power_loss_lost_bytes");
                self.installed.retain(|node| Some(*node) != fact.record.node);
                self.low.retain(|node| Some(*node) != fact.record.node);
            }
            RecordKind::SpaceTold { is_low: true, .. } => self.low.extend(fact.record.node),
            RecordKind::SpaceTold { is_low: false, .. } => {
                let was_low = fact.record.node.is_some_and(|node| self.low.remove(&node));
                self.mark_if(was_low, "space_recovered");
            }
            RecordKind::Asked { write } => self.asked(fact, write),
            RecordKind::Observed(Event::TransferBegun { .. }) => {
                let is_low = fact.record.node.is_some_and(|node| self.low.contains(&node));
                self.mark_if(is_low, "transfer_for_space");
            }
            RecordKind::Observed(Event::PeerLostData { .. }) => self.mark("lost_data_reported"),
            RecordKind::Stopped { reason: StopReason::Removed { at } } => {
                let knows = fact.record.view.as_ref().is_some_and(|view| view.commit >= at.index);
                self.mark(if knows { "removed_by_own_log" } else { "removed_by_refusals" });
            }
            RecordKind::Observed(Event::ChangeForced { .. }) => self.mark("change_forced"),
            RecordKind::Queried { .. } => {
                self.gets.insert(fact.record.number);
            }
            RecordKind::Invoked { label, .. } if label.starts_with("get ") => {
                self.gets.insert(fact.record.number);
            }
            RecordKind::Replied { id, reply } => {
                let was_read = self.read_replied(fact, *id, reply);
                self.mark_if(!was_read && self.limits.rejects_proposal(fact, reply), "proposal_busy");
                self.replied(*id, reply);
            }
            RecordKind::Requested { id, .. } => {
                self.read_requested(fact, *id);
                self.requested(fact.record.cause);
            }
            what => self.snapshot(fact, what),
        }
    }

    fn asked(&mut self, fact: &Fact<'_>, write: &Write) {
        self.mark_if(write.truncate_from.is_some() && fact.change.edit.removed.is_some(), "truncation");
        match &write.snapshot {
            Some(SnapshotRecord { log: InstallMode::Keep, .. }) => self.mark("snapshot_taken"),
            Some(SnapshotRecord { log: InstallMode::Discard, .. }) => {
                self.mark("snapshot_installed");
                self.installed.extend(fact.record.node);
            }
            None => {}
        }
    }

    fn snapshot(&mut self, fact: &Fact<'_>, what: &RecordKind) {
        match what {
            RecordKind::SnapshotSaid { to, message: SnapshotMessage::Chunk(chunk), .. } => {
                self.asked.extend(fact.record.node.filter(|_| chunk.bytes.is_empty()).map(|node| (node, *to)));
                self.mark_if(!chunk.bytes.is_empty(), "snapshot_sent");
            }
            RecordKind::SnapshotHeard { from, message } => self.snapshot_heard(fact, *from, message),
            RecordKind::SnapshotReceived { meta, .. } => self.snapshot_received(fact, meta.last),
            RecordKind::Compacted { .. } => self.mark("log_compacted"),
            RecordKind::LogRead { entries, .. } if entries.is_empty() => self.mark("log_read_gone"),
            RecordKind::LogRead { .. } => self.mark("log_read_back"),
            RecordKind::Restored { .. } => {
                // A state machine that was not replaced by a peer's snapshot was empty.
                let at_start = fact.record.node.is_some_and(|node| !self.installed.remove(&node));
                self.mark_if(at_start, "restored_at_start");
            }
            _ => {}
        }
    }

    fn snapshot_heard(&mut self, fact: &Fact<'_>, from: NodeId, message: &SnapshotMessage) {
        let Some(node) = fact.record.node else { return };
        match message {
            SnapshotMessage::Chunk(chunk) => {
                self.heard.insert(node, chunk.term);
                let commit = fact.node.and_then(|node| node.view.as_ref()).map(|view| view.commit);
                self.mark_if(commit.is_some_and(|commit| chunk.meta.last.index <= commit), "snapshot_not_needed");
            }
            SnapshotMessage::Progress(progress) => {
                let is_part = matches!(progress.state, SnapshotState::Wants(offset) if offset > 0);
                if self.asked.remove(&(node, from)) && is_part {
                    self.mark("snapshot_resumed");
                }
            }
        }
    }

    /// The view after a snapshot shows its effect: it was installed, or its last entry was in the log, or it came too
    /// late.
    fn snapshot_received(&mut self, fact: &Fact<'_>, last: EntryId) {
        let Some((node, now)) = fact.node.and_then(|node| Some((node, node.view.as_ref()?))) else { return };
        let before = node.previous.as_ref().filter(|_| fact.change.new_view).unwrap_or(now);
        self.mark_if(self.heard.get(&node.id).is_some_and(|term| *term < now.term), "snapshot_of_older_term");
        if last.index <= before.commit {
            self.mark("snapshot_stale");
        } else if now.commit >= last.index && now.snapshot != Some(last) && now.last.index > last.index {
            self.mark("snapshot_suffix_kept");
        }
    }

    fn view(&mut self, ghost: &Ghost, fact: &Fact<'_>, node: &Node, now: &Seen) {
        let Some(before) = node.previous.as_ref() else { return };
        let of_term = |term: Term| ghost.terms.get(&term);
        self.mark_if(
            now.role == RoleKind::Candidate && (before.role != RoleKind::Candidate || now.term > before.term),
            "election",
        );
        let leads = now.role == RoleKind::Leader;
        let led = before.role == RoleKind::Leader;
        if leads && !led && of_term(now.term).is_some_and(|term| term.leader == Some((node.id, fact.record.number))) {
            self.mark("leader_elected");
            self.mark_if(now.commit.0 < ghost.committed.len() as u64, "leader_behind_commit");
            let voters = node.configuration().map_or(0, |configuration| configuration.voters.len());
            self.mark_if(voters == 1, "elected_alone");
            self.mark_if(voters > 0 && voters.is_multiple_of(2), "elected_by_even_voters");
        }
        if led && !leads {
            self.mark("step_down");
            // No message had a higher term, so the node stopped because its quorum was silent (Thesis §6.2).
            self.mark_if(
                now.term == before.term && matches!(fact.record.kind, RecordKind::TimerFired),
                "check_quorum_step_down",
            );
        }
        if led && now.role == RoleKind::Follower && now.term == before.term {
            let votes = |(_, configuration): &(EntryId, Configuration)| configuration.is_voter(node.id);
            self.mark_if(node.configurations.last().is_some_and(|newest| !votes(newest)), "leader_removed_itself");
        }
        self.mark_if(now.term.0 > before.term.0 + 1, "term_jump");
        let lost_round = before.role == RoleKind::Candidate && now.term > before.term;
        let split = |term: &super::ghost::terms::TermGhost| term.leader.is_none() && term.candidates.len() > 1;
        if lost_round && of_term(before.term).is_some_and(split) && self.split.insert(before.term) {
            self.mark("split_vote");
        }
    }

    /// Notes that a configuration was decided, after another.
    fn decided(&mut self, old: &Configuration, new: &Configuration) {
        self.mark("configuration_changed");
        self.mark_if(new.is_joint(), "joint_entered");
        self.mark_if(old.is_joint(), "joint_left");
        self.mark_if(new.members.keys().any(|id| !old.members.contains_key(id)), "learner_added");
        self.mark_if(new.voters.iter().any(|id| !old.is_voter(*id)), "learner_promoted");
    }

    fn sent(&mut self, fact: &Fact<'_>, to: NodeId, rpc: &Rpc, verdict: Verdict) {
        match rpc {
            Rpc::RequestVoteResponse(response) if response.vote != Vote::Granted => {
                self.mark("vote_refused");
                self.mark_if(
                    matches!(response.vote, Vote::Refused(VoteRefusal::LogBehind { .. })),
                    "vote_refused_log_behind",
                );
            }
            Rpc::PreVoteResponse(response) if response.vote != Vote::Granted => {
                self.mark("pre_vote_refused");
                let is_denial = matches!(response.vote, Vote::Refused(VoteRefusal::NotAMember { .. }));
                self.mark_if(is_denial, "refused_as_non_member");
            }
            Rpc::AppendEntriesResponse(response) => match response.outcome {
                AppendOutcome::Mismatch { .. } => self.mark("log_conflict"),
                AppendOutcome::StaleTerm => self.mark("stale_append_refused"),
                AppendOutcome::AnotherLeader | AppendOutcome::Matched { .. } => {}
            },
            Rpc::AppendEntries(_) => self.isolation(fact, to, verdict),
            _ => {}
        }
    }

    /// A leader is isolated if its newest message to every peer was cut off.
    fn isolation(&mut self, fact: &Fact<'_>, to: NodeId, verdict: Verdict) {
        let Some(node) = fact.node else { return };
        let id = node.id;
        if verdict != Verdict::Cut {
            if let Some(cut) = self.cut.get_mut(&id) {
                cut.remove(&to);
            }
            return;
        }
        let cut = self.cut.entry(id).or_default();
        let Some(configuration) = node.configuration() else { return };
        if cut.insert(to) && configuration.members.keys().all(|peer| *peer == id || cut.contains(peer)) {
            self.mark("leader_isolated");
        }
    }

    fn requested(&mut self, invocation: Option<u64>) {
        let again = invocation.is_some_and(|invocation| !self.requested.insert(invocation));
        self.mark_if(again, "client_retry");
    }

    /// A leader that accepts a read answers it later; any other node refuses it in the same call.
    fn read_requested(&mut self, fact: &Fact<'_>, id: RequestId) {
        let is_get = fact.record.cause.is_some_and(|cause| self.gets.contains(&cause));
        let Some((node, view)) = fact.node.and_then(|node| Some((node, node.view.as_ref()?))) else { return };
        if is_get && view.role == RoleKind::Leader {
            let committed = node.log.slot(view.commit).map(|slot| slot.id.term);
            let others = |configuration: &Configuration| {
                configuration.members.keys().any(|peer| *peer != node.id && configuration.is_voter(*peer))
            };
            let taken = Taken {
                record: fact.record.number,
                early: committed != Some(view.term),
                among_others: node.configuration().is_some_and(others),
            };
            self.taken.insert((node.id, id), taken);
        }
    }

    /// Whether the answer belongs to a read.
    fn read_replied(&mut self, fact: &Fact<'_>, id: RequestId, reply: &Reply) -> bool {
        let Some(taken) = fact.record.node.and_then(|node| self.taken.remove(&(node, id))) else { return false };
        // The call that accepted the read also answered it, so no peer was asked.
        self.mark_if(
            matches!(reply, Reply::Answer { .. }) && taken.among_others && fact.record.cause == Some(taken.record),
            "lease_read_served",
        );
        match reply {
            Reply::Answer { .. } if taken.early => self.mark("read_waited_for_first_commit"),
            Reply::Answer { .. } => {}
            Reply::Rejected { reason: RejectReason::Busy } => self.mark("read_busy"),
            _ => self.mark("read_failed"),
        }
        true
    }

    fn replied(&mut self, id: RequestId, reply: &Reply) {
        match reply {
            Reply::LeadershipTransferred { .. } => self.mark("transfer_done"),
            Reply::TransferFailed { .. } => self.mark("transfer_failed"),
            Reply::Rejected { reason: RejectReason::NotReady } => self.mark("change_too_early"),
            Reply::Rejected { reason: RejectReason::NoQuorumToCome { .. } } => {
                self.mark("change_refused_without_quorum")
            }
            Reply::Rejected { reason: RejectReason::UnfitTarget { .. } } => self.mark("transfer_refused"),
            Reply::Rejected { reason: RejectReason::NoSpace } => self.mark("refused_for_space"),
            Reply::Unknown => self.mark("lost_leadership_unknown"),
            // It is another mark.
            Reply::Answer { .. } if self.clients.is_stale_read(id) => {}
            Reply::Answer { response, .. } => {
                self.mark("read_served");
                self.mark_if(is_range(response), "range_read");
            }
            Reply::AlreadyAnswered => self.mark("duplicate_command_answered"),
            Reply::Applied { entry, response } => {
                if !self.answered.insert(entry.index) {
                    self.mark("duplicate_command_answered");
                } else if has_succeeded(response) {
                    self.mark("txn_applied");
                }
            }
            _ => {}
        }
    }
}

/// Whether an answer belongs to a range.
fn is_range(response: &Bytes) -> bool {
    let answer = kv::KvAnswer::decode(response.clone()).ok().and_then(|answer| answer.kind);
    matches!(answer, Some(kv::kv_answer::Kind::Ranged(_)))
}

/// Whether an answer belongs to a transaction whose compares held.
fn has_succeeded(response: &Bytes) -> bool {
    let answer = kv::KvResponse::decode(response.clone()).ok().and_then(|answer| answer.kind);
    matches!(answer, Some(kv::kv_response::Kind::Txn(kv::TxnResponse { succeeded: true, .. })))
}

/// Whether an entry removes expired keys.
fn expires(entry: &Entry) -> bool {
    let Payload::Command(bytes) = &entry.payload else { return false };
    let command = session::SessionCommand::decode(bytes.clone()).ok().and_then(|command| command.kind);
    matches!(command, Some(session::session_command::Kind::Internal(_)))
}

#[cfg(test)]
mod tests;
