//! What must *have happened* in some run, or the runs prove little: a property that was never in danger was not tested.
//!
//! Counts per run. A cut tail shows as a restart without a write that the store had written; a client's retry as a
//! second request with the same cause.

use super::Fact;
use super::ghost::Ghost;
use super::ghost::node::{Node, Seen};
use crate::record::{CrashKind, Verdict, What};
use bytes::Bytes;
use prost::Message;
use raft_core::{
    AppendOutcome, Configuration, Entry, EntryId, Event, LogFate, LogIndex, NodeId, Payload, RejectReason, RequestId,
    RoleKind, Rpc, SnapshotRecord, Term, Vote, Write,
};
use raft_node::{Reply, SnapshotMessage, SnapshotState};
use raft_proto::wire::{kv, session};
use std::collections::{BTreeMap, BTreeSet};

/// The names of all marks, as `expect.sometimes` of a scenario and the reports use them.
pub const MARKS: [&str; 52] = [
    "change_too_early",
    "check_quorum_step_down",
    "client_retry",
    "commit",
    "configuration_rolled_back",
    "duplicate_command_answered",
    "election",
    "joint_entered",
    "joint_left",
    "key_expired",
    "leader_behind_commit",
    "leader_elected",
    "leader_isolated",
    "leader_removed_itself",
    "learner_added",
    "learner_promoted",
    "lease_read_served",
    "log_compacted",
    "log_conflict",
    "log_read_back",
    "log_read_gone",
    "lost_data_reported",
    "lost_leadership_unknown",
    "power_loss_lost_bytes",
    "pre_vote_refused",
    "range_read",
    "read_failed",
    "read_served",
    "read_waited_for_first_commit",
    "recovery_cut_tail",
    "refused_for_space",
    "restart",
    "restored_at_start",
    "snapshot_installed",
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
    "step_down",
    "term_jump",
    "transfer_done",
    "transfer_failed",
    "truncation",
    "txn_applied",
    "vote_refused",
    "vote_refused_log_behind",
];

/// The counts of one run.
#[derive(Clone)]
pub(super) struct Sometimes {
    counts: BTreeMap<&'static str, u64>,
    /// Terms already counted as split.
    split: BTreeSet<Term>,
    /// Operations already handed to some node, by the record of their invocation.
    requested: BTreeSet<u64>,
    /// Gets, by the record of their invocation.
    gets: BTreeSet<u64>,
    /// Gets that a leader has taken and not answered.
    taken: BTreeMap<(NodeId, RequestId), Taken>,
    /// Entries that answered a client.
    answered: BTreeSet<LogIndex>,
    /// Nodes whose log gave way to a peer's snapshot, until their state machines are set to it.
    installed: BTreeSet<NodeId>,
    /// The term of the latest piece of a snapshot that each node was given.
    heard: BTreeMap<NodeId, Term>,
    /// Who has asked whom how far a snapshot is.
    asked: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that have heard that their disks have no room.
    low: BTreeSet<NodeId>,
    /// Of each node: the peers its last message to which was cut off.
    cut: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

/// A get, as a leader took it.
#[derive(Clone)]
struct Taken {
    /// The record of that.
    record: u64,
    /// The leader had committed nothing of its own term yet.
    early: bool,
    /// Others vote, too: to be sure that it leads it has to ask them, or rest on a lease.
    among_others: bool,
}

impl Default for Sometimes {
    fn default() -> Self {
        Self {
            counts: MARKS.iter().map(|mark| (*mark, 0)).collect(),
            split: BTreeSet::new(),
            requested: BTreeSet::new(),
            gets: BTreeSet::new(),
            taken: BTreeMap::new(),
            answered: BTreeSet::new(),
            installed: BTreeSet::new(),
            heard: BTreeMap::new(),
            asked: BTreeSet::new(),
            low: BTreeSet::new(),
            cut: BTreeMap::new(),
        }
    }
}

impl Sometimes {
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    fn mark(&mut self, mark: &'static str) {
        *self.counts.entry(mark).or_default() += 1;
    }

    pub(super) fn observe(&mut self, ghost: &Ghost, fact: &Fact<'_>) {
        if let Some((node, now)) = fact.new_view() {
            self.view(ghost, fact, node, now);
        }
        if ghost.committed.len() > fact.change.committed_before {
            self.mark("commit");
        }
        let from = fact.change.decided_before.saturating_sub(1);
        for pair in ghost.decided().get(from..).unwrap_or_default().windows(2) {
            if let [(_, old), (_, new)] = pair {
                self.decided(old, new);
            }
        }
        let applied = ghost.applied.get(fact.change.applied_before..).unwrap_or_default();
        if applied.iter().any(|applied| expires(&applied.entry)) {
            self.mark("key_expired");
        }
        if fact.change.edit.rolled_back > 0 {
            self.mark("configuration_rolled_back");
        }
        match &fact.record.what {
            What::Sent { to, rpc, verdict } => self.sent(fact, *to, rpc, *verdict),
            What::Started { incarnation, .. } if *incarnation > 1 => {
                self.mark("restart");
                let cut = |found: super::ghost::node::Recovery| found.contains.is_some_and(|held| held < found.written);
                if fact.change.recovery.is_some_and(cut) {
                    self.mark("recovery_cut_tail");
                }
            }
            What::Crashed { crash, lost } => {
                if *crash == CrashKind::PowerLoss && *lost > 0 {
                    self.mark("power_loss_lost_bytes");
                }
                self.installed.retain(|node| Some(*node) != fact.record.node);
                self.low.retain(|node| Some(*node) != fact.record.node);
            }
            What::SpaceTold { is_low: true } => self.low.extend(fact.record.node),
            What::SpaceTold { is_low: false } => {
                let was_low = fact.record.node.is_some_and(|node| self.low.remove(&node));
                if was_low {
                    self.mark("space_recovered");
                }
            }
            What::Asked { write } => self.asked(fact, write),
            What::Observed(Event::PeerLostData { .. }) => self.mark("lost_data_reported"),
            What::Queried { .. } => {
                self.gets.insert(fact.record.number);
            }
            What::Invoked { label, .. } if label.starts_with("get ") => {
                self.gets.insert(fact.record.number);
            }
            What::Replied { id, reply } => {
                self.read_replied(fact, *id, reply);
                self.replied(reply);
            }
            What::Requested { id } => {
                self.read_requested(fact, *id);
                self.requested(fact.record.cause);
            }
            what => self.snapshot(fact, what),
        }
    }

    fn asked(&mut self, fact: &Fact<'_>, write: &Write) {
        if write.truncate_from.is_some() && fact.change.edit.removed.is_some() {
            self.mark("truncation");
        }
        match &write.snapshot {
            Some(SnapshotRecord { log: LogFate::Keep, .. }) => self.mark("snapshot_taken"),
            Some(SnapshotRecord { log: LogFate::Discard, .. }) => {
                self.mark("snapshot_installed");
                self.installed.extend(fact.record.node);
            }
            None => {}
        }
    }

    fn snapshot(&mut self, fact: &Fact<'_>, what: &What) {
        match what {
            What::SnapshotSaid { to, message: SnapshotMessage::Chunk(chunk), .. } => {
                self.asked.extend(fact.record.node.filter(|_| chunk.bytes.is_empty()).map(|node| (node, *to)));
                if !chunk.bytes.is_empty() {
                    self.mark("snapshot_sent");
                }
            }
            What::SnapshotHeard { from, message } => self.snapshot_heard(fact, *from, message),
            What::SnapshotReceived { meta, .. } => self.snapshot_received(fact, meta.last),
            What::Compacted { .. } => self.mark("log_compacted"),
            What::LogRead { entries, .. } if entries.is_empty() => self.mark("log_read_gone"),
            What::LogRead { .. } => self.mark("log_read_back"),
            What::Restored { .. } => {
                // A state machine that was not set back by a peer's snapshot was empty.
                let at_start = fact.record.node.is_some_and(|node| !self.installed.remove(&node));
                if at_start {
                    self.mark("restored_at_start");
                }
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
                if commit.is_some_and(|commit| chunk.meta.last.index <= commit) {
                    self.mark("snapshot_not_needed");
                }
            }
            SnapshotMessage::Progress(progress) => {
                let is_part = matches!(progress.state, SnapshotState::Wants(offset) if offset > 0);
                if self.asked.remove(&(node, from)) && is_part {
                    self.mark("snapshot_resumed");
                }
            }
        }
    }

    /// What becomes of a snapshot shows in the view after it: installed, or its last entry was held, or it came too late.
    fn snapshot_received(&mut self, fact: &Fact<'_>, last: EntryId) {
        let Some((node, now)) = fact.node.and_then(|node| Some((node, node.view.as_ref()?))) else { return };
        let before = node.previous.as_ref().filter(|_| fact.change.new_view).unwrap_or(now);
        if self.heard.get(&node.id).is_some_and(|term| *term < now.term) {
            self.mark("snapshot_of_older_term");
        }
        if last.index <= before.commit {
            self.mark("snapshot_stale");
        } else if now.commit >= last.index && now.snapshot != Some(last) && now.last.index > last.index {
            self.mark("snapshot_suffix_kept");
        }
    }

    fn view(&mut self, ghost: &Ghost, fact: &Fact<'_>, node: &Node, now: &Seen) {
        let Some(before) = node.previous.as_ref() else { return };
        let of_term = |term: Term| ghost.terms.get(&term);
        if now.role == RoleKind::Candidate && (before.role != RoleKind::Candidate || now.term > before.term) {
            self.mark("election");
        }
        let leads = now.role == RoleKind::Leader;
        let led = before.role == RoleKind::Leader;
        if leads && !led && of_term(now.term).is_some_and(|term| term.leader == Some((node.id, fact.record.number))) {
            self.mark("leader_elected");
            if now.commit.0 < ghost.committed.len() as u64 {
                self.mark("leader_behind_commit");
            }
        }
        if led && !leads {
            self.mark("step_down");
            // Nobody taught it a higher term, so what made it stop is the silence of its quorum (Thesis §6.2).
            if now.term == before.term && matches!(fact.record.what, What::TimerFired) {
                self.mark("check_quorum_step_down");
            }
        }
        if led && now.role == RoleKind::Follower && now.term == before.term {
            let votes = |(_, configuration): &(EntryId, Configuration)| configuration.is_voter(node.id);
            if node.configurations.last().is_some_and(|newest| !votes(newest)) {
                self.mark("leader_removed_itself");
            }
        }
        if now.term.0 > before.term.0 + 1 {
            self.mark("term_jump");
        }
        let lost_round = before.role == RoleKind::Candidate && now.term > before.term;
        let split = |term: &super::ghost::terms::TermGhost| term.leader.is_none() && term.candidates.len() > 1;
        if lost_round && of_term(before.term).is_some_and(split) && self.split.insert(before.term) {
            self.mark("split_vote");
        }
    }

    /// A configuration was decided, after another.
    fn decided(&mut self, old: &Configuration, new: &Configuration) {
        if new.is_joint() {
            self.mark("joint_entered");
        }
        if old.is_joint() {
            self.mark("joint_left");
        }
        if new.members.keys().any(|id| !old.members.contains_key(id)) {
            self.mark("learner_added");
        }
        if new.voters.iter().any(|id| !old.is_voter(*id)) {
            self.mark("learner_promoted");
        }
    }

    fn sent(&mut self, fact: &Fact<'_>, to: NodeId, rpc: &Rpc, verdict: Verdict) {
        match rpc {
            Rpc::RequestVoteResponse(response) if response.vote != Vote::Granted => {
                self.mark("vote_refused");
                if matches!(response.vote, Vote::Refused(raft_core::VoteRefusal::LogBehind { .. })) {
                    self.mark("vote_refused_log_behind");
                }
            }
            Rpc::PreVoteResponse(response) if response.vote != Vote::Granted => self.mark("pre_vote_refused"),
            Rpc::AppendEntriesResponse(response) => match response.outcome {
                AppendOutcome::Mismatch { .. } => self.mark("log_conflict"),
                AppendOutcome::StaleTerm => self.mark("stale_append_refused"),
                AppendOutcome::AnotherLeader | AppendOutcome::Matched { .. } => {}
            },
            Rpc::AppendEntries(_) => self.isolation(fact, to, verdict),
            _ => {}
        }
    }

    /// A leader is isolated from the moment its newest message to every peer has been cut off.
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
        if again {
            self.mark("client_retry");
        }
    }

    /// A leader that takes a read answers it later; anybody else refuses it in the same call.
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

    fn read_replied(&mut self, fact: &Fact<'_>, id: RequestId, reply: &Reply) {
        let Some(taken) = fact.record.node.and_then(|node| self.taken.remove(&(node, id))) else { return };
        // Answered in the call that took it: nobody can have been asked.
        if matches!(reply, Reply::Answer { .. }) && taken.among_others && fact.record.cause == Some(taken.record) {
            self.mark("lease_read_served");
        }
        match reply {
            Reply::Answer { .. } if taken.early => self.mark("read_waited_for_first_commit"),
            Reply::Answer { .. } => {}
            _ => self.mark("read_failed"),
        }
    }

    fn replied(&mut self, reply: &Reply) {
        match reply {
            Reply::HandedOver { .. } => self.mark("transfer_done"),
            Reply::NotHandedOver { .. } => self.mark("transfer_failed"),
            Reply::Rejected { reason: RejectReason::NotReady } => self.mark("change_too_early"),
            Reply::Rejected { reason: RejectReason::NoSpace } => self.mark("refused_for_space"),
            Reply::Unknown => self.mark("lost_leadership_unknown"),
            Reply::Answer { response, .. } => {
                self.mark("read_served");
                if is_range(response) {
                    self.mark("range_read");
                }
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

/// Whether an answer is that to a range.
fn is_range(response: &Bytes) -> bool {
    let answer = kv::KvAnswer::decode(response.clone()).ok().and_then(|answer| answer.kind);
    matches!(answer, Some(kv::kv_answer::Kind::Ranged(_)))
}

/// Whether an answer is that to a transaction whose compares held.
fn has_succeeded(response: &Bytes) -> bool {
    let answer = kv::KvResponse::decode(response.clone()).ok().and_then(|answer| answer.kind);
    matches!(answer, Some(kv::kv_response::Kind::Txn(kv::TxnResponse { succeeded: true, .. })))
}

/// Whether an entry removes keys whose time is up.
fn expires(entry: &Entry) -> bool {
    let Payload::Command(bytes) = &entry.payload else { return false };
    let command = session::SessionCommand::decode(bytes.clone()).ok().and_then(|command| command.kind);
    matches!(command, Some(session::session_command::Kind::Own(_)))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{
        AppendEntriesResponse, PreVoteResponse, RequestVoteResponse, Round, Seq, TransferFailure, VoteRefusal,
    };
    use raft_node::SnapshotProgress;
    use std::time::Duration;

    fn counts(script: &Script) -> BTreeMap<&'static str, u64> {
        let (mut ghost, mut sometimes) = (Ghost::new(&scenario()), Sometimes::default());
        for record in &script.records {
            let change = ghost.update(record);
            sometimes.observe(&ghost, &Fact { record, node: record.node.and_then(|id| ghost.node(id)), change });
        }
        let reached = sometimes.counts();
        assert!(reached.keys().eq(MARKS.iter()), "every mark is counted and none is unknown: {reached:?}");
        reached.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_legal_story_reaches_what_it_tells_of() {
        let marks = ["commit", "election", "leader_behind_commit", "leader_elected", "restart"];
        let expected = marks.into_iter().zip([2, 2, 1, 2, 1]).collect::<BTreeMap<_, _>>();
        assert_eq!(counts(&Script::legal()), expected);
    }

    #[test]
    fn elections_that_fail_and_leaders_that_stop() {
        let mut script = Script::led();
        script.step(1, |view| view.role = RoleKind::Follower);
        script.step(1, |view| (view.term, view.voted_for) = (Term(4), None));
        script.campaign(2, 3);
        script.campaign(3, 3);
        script.campaign(2, 4);
        script.campaign(3, 4);
        let reached = counts(&script);
        assert_eq!((reached.get("step_down"), reached.get("check_quorum_step_down")), (Some(&1), Some(&1)));
        assert_eq!((reached.get("split_vote"), reached.get("election")), (Some(&1), Some(&5)));
        assert_eq!(reached.get("term_jump"), Some(&2));
    }

    #[test]
    fn refusals() {
        let mut script = Script::led();
        let (term, vote) = (Term(2), Vote::Refused(VoteRefusal::LogBehind { last: EntryId::new(2, 2) }));
        script.send(1, 3, Rpc::RequestVoteResponse(RequestVoteResponse { term, vote }));
        script.send(1, 3, Rpc::PreVoteResponse(PreVoteResponse { term, round: Round(1), vote }));
        for outcome in [AppendOutcome::StaleTerm, AppendOutcome::Mismatch { prev: EntryId::ZERO, hint: EntryId::ZERO }]
        {
            script.send(
                2,
                1,
                Rpc::AppendEntriesResponse(AppendEntriesResponse {
                    term,
                    seq: Seq(1),
                    outcome,
                    stickiness: Duration::ZERO,
                }),
            );
        }
        let reached = counts(&script);
        let marks =
            ["vote_refused", "vote_refused_log_behind", "pre_vote_refused", "stale_append_refused", "log_conflict"];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
    }

    #[test]
    fn disks_that_lose_and_logs_that_are_cut() {
        let mut script = Script::led();
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.write(2);
        script.push(Some(2), What::Crashed { crash: CrashKind::PowerLoss, lost: 40 });
        script.start(2, 2, Some(1), vec![founding(), noop(2, 2)]);
        script.ask(2, None, Some(2), vec![]);
        let reached = counts(&script);
        let marks = ["power_loss_lost_bytes", "recovery_cut_tail", "restart", "truncation"];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
    }

    #[test]
    fn clients() {
        let mut script = Script::led();
        let id = RequestId(1);
        for _ in 0..2 {
            script.push(Some(1), What::Requested { id });
            if let Some(record) = script.records.last_mut() {
                record.cause = Some(1);
            }
            let reply = Reply::Applied { entry: EntryId::new(4, 2), response: Bytes::new() };
            script.push(Some(1), What::Replied { id, reply });
        }
        let reply = Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
        script.push(Some(1), What::Replied { id, reply });
        script.push(Some(1), What::Replied { id, reply: Reply::Unknown });
        let reached = counts(&script);
        let marks = ["client_retry", "duplicate_command_answered", "read_served", "lost_leadership_unknown"];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
    }

    #[test]
    fn a_disk_that_is_lost_is_reported() {
        let mut script = Script::led();
        let (acknowledged, denied) = (LogIndex(2), EntryId::new(2, 2));
        script.push(Some(1), What::Observed(Event::PeerLostData { peer: NodeId(3), acknowledged, denied }));
        assert_eq!(counts(&script).get("lost_data_reported"), Some(&1));
    }

    /// A get handed to a node, caused by its invocation.
    fn get(script: &mut Script, node: u64, id: u64) {
        let invoked = script.push(None, What::Invoked { client: 1, label: "get k".into() });
        script.push(Some(node), What::Requested { id: RequestId(id) });
        if let Some(record) = script.records.last_mut() {
            record.cause = Some(invoked);
        }
    }

    #[test]
    fn reads_that_wait_and_reads_that_fail() {
        let answer = || Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
        let refused = || Reply::Rejected { reason: RejectReason::NotLeader { leader: None } };
        let mut script = Script::led();
        get(&mut script, 1, 1);
        script.push(Some(1), What::Replied { id: RequestId(1), reply: answer() });
        get(&mut script, 2, 2);
        script.push(Some(2), What::Replied { id: RequestId(2), reply: refused() });
        let reached = counts(&script);
        let none = (reached.get("read_failed"), reached.get("read_waited_for_first_commit"));
        assert_eq!((none, reached.get("read_served")), ((None, None), Some(&1)), "served, and refused by a follower");
        get(&mut script, 1, 3);
        script.push(Some(1), What::Replied { id: RequestId(3), reply: refused() });
        assert_eq!(counts(&script).get("read_failed"), Some(&1));
        // n2 leads with its no-op on its own disk only, and knows of no commit: n1's is beyond what it knows.
        script.campaign(2, 3);
        script.vote(3, 2, 3);
        script.lead(2, 3, noop(3, 3));
        get(&mut script, 2, 4);
        script.push(Some(2), What::Replied { id: RequestId(4), reply: answer() });
        let reached = counts(&script);
        assert_eq!(reached.get("read_waited_for_first_commit"), Some(&1));
        assert_eq!(reached.get("leader_behind_commit"), Some(&1));
    }

    #[test]
    fn a_read_that_is_answered_in_the_call_that_took_it_asked_nobody() {
        let mut script = Script::led();
        let answer = || Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
        get(&mut script, 1, 1);
        let taken = script.records.last().map(|record| record.number);
        script.push(Some(1), What::TimerFired);
        script.push(Some(1), What::Replied { id: RequestId(1), reply: answer() });
        assert_eq!(counts(&script).get("lease_read_served"), None, "after another call");
        get(&mut script, 1, 2);
        let asked = script.records.last().map(|record| record.number);
        assert_ne!(taken, asked);
        script.push(Some(1), What::Replied { id: RequestId(2), reply: answer() });
        if let Some(record) = script.records.last_mut() {
            record.cause = asked;
        }
        assert_eq!(counts(&script).get("lease_read_served"), Some(&1));
    }

    fn of(voters: &[u64], outgoing: &[u64], members: u64) -> Configuration {
        let mut configuration = Configuration::of_voters(voters.iter().map(|&id| NodeId(id)));
        configuration.outgoing = outgoing.iter().map(|&id| NodeId(id)).collect();
        configuration.members = (1..=members).map(|id| (NodeId(id), Bytes::new())).collect();
        configuration
    }

    #[test]
    fn configurations_that_are_decided_and_a_leader_that_goes() {
        let mut script = Script::led();
        let configurations = [of(&[1, 2, 3], &[], 4), of(&[2, 3, 4], &[1, 2, 3], 4), of(&[2, 3, 4], &[], 4)];
        for (index, configuration) in (3..).zip(configurations) {
            let entry = Entry { id: EntryId::new(index, 2), payload: Payload::Configuration(configuration) };
            script.ask(1, None, None, vec![entry]);
            script.commit(1, index);
        }
        script.step(1, |view| view.role = RoleKind::Follower);
        let reached = counts(&script);
        let marks = ["learner_added", "learner_promoted", "joint_entered", "joint_left", "leader_removed_itself"];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
        script.ask(1, None, Some(5), vec![]);
        assert_eq!(counts(&script).get("configuration_rolled_back"), Some(&1));
    }

    #[test]
    fn snapshots_that_are_taken_sent_installed_and_restored() {
        let mut script = Script::legal();
        script.save(2, &meta(2, 2));
        script.ask_snapshot(2, meta(2, 2), LogFate::Keep);
        script.sync(2);
        script.push(Some(2), What::Compacted { before: LogIndex(3) });
        let verdict = Verdict::Delivered { copies: 1 };
        let chunk = |bytes| piece(3, meta(3, 3), bytes);
        let question = What::SnapshotSaid { to: NodeId(1), message: chunk(b""), verdict };
        script.push(Some(2), question);
        let state = SnapshotState::Wants(4);
        let progress = SnapshotProgress { term: Term(3), last: EntryId::new(3, 3), checksum: 7, state };
        for _ in 0..2 {
            let message = SnapshotMessage::Progress(progress);
            script.push(Some(2), What::SnapshotHeard { from: NodeId(1), message });
        }
        script.push(Some(2), What::SnapshotSaid { to: NodeId(1), message: chunk(b"piece"), verdict });
        script.step(1, |view| {
            (view.term, view.last, view.commit, view.snapshot) =
                (Term(3), EntryId::new(3, 3), LogIndex(3), Some(EntryId::new(3, 3)));
        });
        script.ask_snapshot(1, meta(3, 3), LogFate::Discard);
        script.push(Some(1), What::Restored { meta: meta(3, 3), state_hash: 7 });
        script.push(Some(1), What::Restored { meta: meta(3, 3), state_hash: 7 });
        for entries in [vec![], vec![noop(3, 3)]] {
            script.push(Some(2), What::LogRead { read: raft_core::ReadId(1), entries: entries.into() });
        }
        let reached = counts(&script);
        let marks = [
            "snapshot_taken",
            "log_compacted",
            "snapshot_sent",
            "snapshot_resumed",
            "snapshot_installed",
            "restored_at_start",
            "log_read_gone",
            "log_read_back",
        ];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
        assert_eq!((reached.get("snapshot_stale"), reached.get("snapshot_suffix_kept")), (None, None));
    }

    fn received() -> What {
        What::SnapshotReceived { meta: meta(2, 2), durable: true }
    }

    #[test]
    fn snapshots_that_come_late_or_to_a_log_that_has_them() {
        let mut script = Script::led();
        let heard = |term| What::SnapshotHeard { from: NodeId(2), message: piece(term, meta(2, 2), b"piece") };
        for term in [1, 2] {
            script.push(Some(1), heard(term));
            script.push(Some(1), received());
        }
        // n2 holds 2@2 and another entry, and does not know yet that the first is committed.
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.step(2, |view| view.last = EntryId::new(3, 2));
        if let Some(record) = script.records.last_mut() {
            record.what = received();
            record.view.as_mut().expect("n2 is up").commit = LogIndex(2);
        }
        let reached = counts(&script);
        assert_eq!((reached.get("snapshot_stale"), reached.get("snapshot_suffix_kept")), (Some(&2), Some(&1)));
        assert_eq!(reached.get("snapshot_not_needed"), Some(&2), "the same, before they are whole");
        assert_eq!(reached.get("snapshot_of_older_term"), Some(&1));
    }

    #[test]
    fn what_an_operator_is_told() {
        let mut script = Script::led();
        for reply in [
            Reply::HandedOver { to: NodeId(2) },
            Reply::NotHandedOver { reason: TransferFailure::TimedOut },
            Reply::Rejected { reason: RejectReason::NotReady },
            Reply::Rejected { reason: RejectReason::Busy },
        ] {
            script.push(Some(1), What::Replied { id: RequestId(1), reply });
        }
        let reached = counts(&script);
        let marks = ["transfer_done", "transfer_failed", "change_too_early"];
        assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
    }

    #[test]
    fn a_leader_cut_off_from_all_is_isolated_once() {
        let mut script = Script::led();
        for (to, verdict) in [(2, Verdict::Cut), (2, Verdict::Cut), (3, Verdict::Cut), (3, Verdict::Cut)] {
            let rpc = append(2, EntryId::new(2, 2), 2, vec![]);
            script.push(Some(1), What::Sent { to: NodeId(to), rpc, verdict });
        }
        assert_eq!(counts(&script).get("leader_isolated"), Some(&1));
    }
}
