//! The receiving side of replication: how a follower handles an append (Raft §5.3, Figure 2).
//!
//! An append is tested in this order: shape, term, sender, prev, entries (rule R10). An answer that promises
//! something stays pending until the disk has reported (rule R4).

use crate::entry::{Entries, Payload};
use crate::event::{Cause, Event, IgnoreReason};
use crate::id::{EntryId, LogIndex, MAX_NUMBER, NodeId, Seq, Term};
use crate::message::{AppendEntries, AppendOutcome};
use crate::raft::Raft;
use crate::role::{Follower, PendingAck, Role};
use crate::shared::Shared;
use crate::status::StopReason;

impl Raft {
    /// An append: first its shape, term and sender, then prev and entries (rule R10).
    pub(crate) fn on_append_entries(&mut self, from: NodeId, rpc: AppendEntries) {
        if !is_well_formed(&rpc) {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        if rpc.term < self.shared.term() {
            return self.refuse_append(from, &rpc, AppendOutcome::StaleTerm);
        }
        if rpc.term > self.shared.term() {
            self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        if self.shared.leader.is_some_and(|leader| leader != from) {
            return self.refuse_append(from, &rpc, AppendOutcome::AnotherLeader);
        }
        self.follow(from);
        // A refused append counts as contact too.
        self.shared.clock.contact = Some(self.shared.now);
        self.shared.leader_commit = self.shared.leader_commit.max(rpc.leader_commit);
        if let Role::Follower(follower) = &mut self.role {
            follower.election_deadline = self.shared.deadline_after_contact();
            if let Err(reason) = follower.take_append(&mut self.shared, from, rpc) {
                self.stop(reason);
            }
        }
    }

    fn refuse_append(&mut self, from: NodeId, rpc: &AppendEntries, outcome: AppendOutcome) {
        let seq = rpc.seq;
        self.shared.observe(|| Event::AppendRefused { leader: from, seq, outcome });
        self.shared.answer_append(from, seq, outcome);
    }
}

/// Whether a leader can have sent this append.
fn is_well_formed(rpc: &AppendEntries) -> bool {
    let AppendEntries { term, seq, prev, leader_commit, entries } = rpc;
    let numbers = [term.0, seq.0, prev.index.0, leader_commit.0, prev.index.0.saturating_add(entries.len() as u64)];
    numbers.iter().all(|&number| number <= MAX_NUMBER)
        && *term > Term(0)
        && *seq > Seq(0)
        && (prev.index == LogIndex(0)) == (prev.term == Term(0))
        && prev.term <= *term
        && entries.follows(*prev)
        && entries.last_id().is_none_or(|last| last.term <= *term)
        && entries.iter().all(|entry| match &entry.payload {
            Payload::Configuration(configuration) => configuration.is_valid(),
            Payload::Noop | Payload::Command(_) => true,
        })
}

impl Follower {
    /// Handles a well-formed append of the current term from its leader. An error is a contradiction that Raft proves
    /// impossible. The replica must stop and not repair its log (rule R14).
    fn take_append(&mut self, shared: &mut Shared, from: NodeId, rpc: AppendEntries) -> Result<(), StopReason> {
        self.seen = self.seen.max(rpc.seq);
        let AppendEntries { seq, prev, leader_commit, entries, .. } = rpc;
        let first_new = first_new(shared, &entries);
        if first_new < entries.len() && shared.unpersisted_bytes() >= shared.config.max_unpersisted_bytes {
            // More bytes would exceed the limit, and a refusal would make the leader probe. Without an answer the
            // leader finds the gap with its next heartbeat (rule R43).
            shared.observe(|| Event::Ignored { from, reason: IgnoreReason::Overloaded });
            return Ok(());
        }
        if !shared.log.compatible_with(prev) {
            return self.on_mismatch(shared, from, seq, prev);
        }
        if let Some(entry) = entries.get(first_new)
            && let Some(ours) = shared.log.id_at(entry.id.index)
        {
            if entry.id.index <= shared.commit {
                return Err(StopReason::CommittedConflict { ours, theirs: entry.id });
            }
            if entry.id.index <= shared.leader_match {
                shared.observe(|| Event::Ignored { from, reason: IgnoreReason::Contradiction });
                return Ok(());
            }
            // It truncates only at a conflict (rule R11): an old append may end before acknowledged entries of a newer
            // one.
            shared.truncate_from(entry.id.index);
        }
        let matched = LogIndex(prev.index.0.saturating_add(entries.len() as u64));
        let at_once = first_new == entries.len();
        append_new(shared, entries.slice(first_new, entries.len()));
        shared.leader_match = shared.leader_match.max(matched);
        let target = if at_once { LogIndex(0) } else { matched };
        self.add_pending_ack(PendingAck { at_once, base: shared.durable().min(shared.leader_match), target });
        // Beyond `matched` this log may still hold another leader's entries (rule R12).
        shared.commit_to(leader_commit.min(matched));
        Ok(())
    }

    /// Answers that the log has no entry `prev`.
    fn on_mismatch(&mut self, shared: &mut Shared, from: NodeId, seq: Seq, prev: EntryId) -> Result<(), StopReason> {
        if prev.index <= shared.commit {
            let ours = shared.log.id_at(prev.index).unwrap_or_default();
            return Err(StopReason::CommittedConflict { ours, theirs: prev });
        }
        if prev.index <= shared.leader_match {
            shared.observe(|| Event::Ignored { from, reason: IgnoreReason::Contradiction });
            return Ok(());
        }
        let outcome = AppendOutcome::Mismatch { prev, hint: shared.log.last_possible_match(prev) };
        shared.observe(|| Event::AppendRefused { leader: from, seq, outcome });
        shared.answer_append(from, seq, outcome);
        Ok(())
    }

    /// Adds a pending success. All pending ones become one answer, with the highest `target`.
    pub(crate) fn add_pending_ack(&mut self, ack: PendingAck) {
        let before = self.pending_ack.unwrap_or(ack);
        self.pending_ack = Some(PendingAck {
            at_once: before.at_once || ack.at_once,
            base: before.base.min(ack.base),
            target: before.target.max(ack.target),
        });
    }

    /// Sends the pending answers that may leave. None leaves before the current term and vote are durable. An answer to
    /// new entries leaves each time min(durable, leader_match) has grown, until it covers them; any other answer leaves
    /// at once.
    pub(crate) fn emit_answers(&mut self, shared: &mut Shared) {
        if !shared.hard_state_is_durable() {
            return;
        }
        let index = shared.durable().min(shared.leader_match);
        // An answer echoes an append: before the first append of this term there is none to echo.
        let may_answer = |ack: &PendingAck| self.seen > Seq(0) && (ack.at_once || index > ack.base);
        let Some(ack) = self.pending_ack.filter(may_answer) else { return };
        let Some(leader) = shared.leader else { return };
        shared.answer_append(leader, self.seen, AppendOutcome::Matched { index });
        self.pending_ack = (index < ack.target).then_some(PendingAck { at_once: false, base: index, ..ack });
    }
}

/// The position in `entries` of the first one that this log does not hold.
fn first_new(shared: &Shared, entries: &Entries) -> usize {
    entries.iter().position(|entry| !shared.log.compatible_with(entry.id)).unwrap_or(entries.len())
}

/// Appends the new entries; a configuration among them is in force at once (Raft §6).
fn append_new(shared: &mut Shared, entries: Entries) {
    let before = shared.log.configuration().map(|(at, _)| at);
    shared.append(entries);
    if shared.log.configuration().map(|(at, _)| at) != before {
        shared.announce_configuration();
    }
}
