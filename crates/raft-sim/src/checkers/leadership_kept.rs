//! A leader gives up its role only for a reason: a message of a higher term, a silent quorum, a write that takes too long, its
//! own removal, or a contradiction that stops it. It never campaigns: an election against itself costs an outage.
//!
//! A call has several inputs, and a node that has stepped down may campaign in the same call. The events of the core show the
//! order of its roles. The inputs show the reasons that came from outside.
//!
//! It is the first to catch: a leader that campaigns on an order or a timer, and one that steps down without a reason. No other
//! checker depends on it.

use super::calls::{PerCall, Process};
use super::ghost::Ghost;
use super::property::{Fact, Violation};
use crate::record::{Record, RecordKind};
use raft_core::{Cause, Event, NodeId, RoleKind, Rpc, Term, WriteId};
use raft_node::SnapshotMessage;

const NAME: &str = "leadership_kept";

pub(super) type LeadershipKept = PerCall<Leadership>;

#[derive(Clone, Copy, Default)]
pub(super) struct Leadership {
    /// The term that the node led before the newest call, and the first record that showed it.
    led: Option<(Term, u64)>,
    call: Call,
    asked: WriteId,
    persisted: WriteId,
}

/// A call of a node.
#[derive(Clone, Copy, Default)]
struct Call {
    first: u64,
    /// The role and the term after it.
    after: Option<(RoleKind, Term)>,
    /// The first change of the role in it, and its record.
    change: Option<(RoleKind, Term, Cause, u64)>,
    /// The highest term of a message in it.
    heard: Term,
    /// The newest write before it.
    asked_before: WriteId,
}

/// The term of a message that deposes a leader of a lower term. A pre-vote names the term that would follow.
fn term_of(kind: &RecordKind) -> Option<Term> {
    match kind {
        RecordKind::Received { rpc: Rpc::PreVote(_), .. } => None,
        RecordKind::Received { rpc, .. } => Some(rpc.term()),
        RecordKind::SnapshotHeard { message: SnapshotMessage::Chunk(chunk), .. } => Some(chunk.term),
        RecordKind::SnapshotReceived { .. } => Some(Term(u64::MAX)),
        _ => None,
    }
}

impl Leadership {
    /// The term that the node leads after the newest call.
    fn leads(&self) -> Option<(Term, u64)> {
        let (_, term) = self.call.after.filter(|(role, _)| *role == RoleKind::Leader)?;
        Some(self.led.filter(|(led, _)| *led == term).unwrap_or((term, self.call.first)))
    }
}

impl Process for Leadership {
    fn begin(&mut self, record: &Record) {
        self.led = self.leads();
        self.call = Call {
            first: record.number,
            after: record.view.as_ref().map(|view| (view.role, view.term)),
            asked_before: self.asked,
            ..Call::default()
        };
    }

    fn observe(&mut self, _: NodeId, fact: &Fact<'_>) -> Option<Violation> {
        let record = fact.record;
        match &record.kind {
            RecordKind::Asked { write } => self.asked = write.id,
            RecordKind::Persisted { write, .. } => self.persisted = self.persisted.max(*write),
            RecordKind::Observed(Event::BecameRole { role, term, cause }) => {
                self.call.change.get_or_insert((*role, *term, *cause, record.number));
            }
            kind => self.call.heard = self.call.heard.max(term_of(kind).unwrap_or_default()),
        }
        None
    }

    fn end(&self, ghost: &Ghost, node: NodeId) -> Option<Violation> {
        let (led, since) = self.led?;
        let (after, _) = self.call.after.filter(|after| *after != (RoleKind::Leader, led))?;
        let Some((role, term, cause, record)) = self.call.change else {
            let message = format!("{node} leads term {led} and is a {after} without a change of its role");
            return (after != RoleKind::Stopped).then(|| violation(message, since, self.call.first));
        };
        let configuration = ghost.node(node).and_then(|node| node.configuration());
        let has_reason = role == RoleKind::Follower
            && match cause {
                Cause::QuorumLost => true,
                Cause::WriteStalled => self.persisted < self.call.asked_before,
                Cause::Removed => configuration.is_none_or(|configuration| !configuration.end().is_voter(node)),
                Cause::HigherTerm { .. }
                | Cause::VoteGranted { .. }
                | Cause::LeaderFound { .. }
                | Cause::SnapshotReceived { .. } => self.call.heard > led,
                Cause::ElectionTimeout
                | Cause::CampaignRequested
                | Cause::PreVotesWon
                | Cause::VotesWon
                | Cause::TransferRequested { .. } => false,
            };
        let message = format!("{node} leads term {led} and becomes a {role} of term {term} without a reason: {cause}");
        (!has_reason).then(|| violation(message, since, record))
    }
}

fn violation(message: String, since: u64, record: u64) -> Violation {
    Violation { property: NAME, message, facts: vec![since, record] }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::checkers::property::Property;

    /// n1 leads term 2; then its role changes in one call.
    fn changes(role: RoleKind, term: u64, cause: Cause, input: Option<Rpc>) -> Script {
        let mut script = Script::led();
        script.step(1, |view| (view.role, view.term) = (role, Term(term)));
        if let Some(rpc) = input {
            script.newest().kind = RecordKind::Received { from: NodeId(2), rpc };
        }
        script.push(Some(1), RecordKind::Observed(Event::BecameRole { role, term: Term(term), cause }));
        script
    }

    fn found(script: &Script) -> Option<Violation> {
        let mut property = LeadershipKept::default();
        let mut ghost = Ghost::new(&scenario());
        for record in &script.records {
            let change = ghost.update(record);
            let fact = Fact { record, node: record.node.and_then(|id| ghost.node(id)), change };
            assert_eq!(property.check(&ghost, &fact), None);
        }
        property.finish(&ghost)
    }

    #[test]
    fn a_leader_that_campaigns_fires() {
        for (role, term, cause) in [
            (RoleKind::PreCandidate, 2, Cause::CampaignRequested),
            (RoleKind::Candidate, 3, Cause::ElectionTimeout),
            (RoleKind::Candidate, 3, Cause::TransferRequested { from: NodeId(2) }),
        ] {
            let violation = found(&changes(role, term, cause, None)).expect("a campaign");
            let words = format!("n1 leads term 2 and becomes a {role} of term {term} without a reason: {cause}");
            assert_eq!((violation.property, violation.message), (NAME, words));
            assert_eq!(violation.facts.len(), 2);
        }
        let mut script = Script::led();
        script.step(1, |view| view.role = RoleKind::Follower);
        let violation = found(&script).expect("a silent change");
        assert_eq!(violation.message, "n1 leads term 2 and is a follower without a change of its role");
    }

    #[test]
    fn a_reason_that_no_input_shows_fires() {
        let higher = Cause::HigherTerm { from: NodeId(2) };
        let same = append(2, raft_core::EntryId::new(2, 2), 2, vec![]);
        for (cause, input) in [(higher, Some(same)), (Cause::WriteStalled, None), (Cause::Removed, None)] {
            assert!(found(&changes(RoleKind::Follower, 2, cause, input)).is_some(), "{cause}");
        }
    }

    #[test]
    fn rules_and_restarts_are_silent() {
        assert_eq!(found(&Script::legal()), None);
        let vote = request_vote(3, raft_core::EntryId::new(9, 3));
        assert_eq!(found(&changes(RoleKind::Follower, 3, Cause::HigherTerm { from: NodeId(2) }, Some(vote))), None);
        assert_eq!(found(&changes(RoleKind::Follower, 2, Cause::QuorumLost, None)), None);
        let mut stalled = Script::led();
        stalled.ask(1, None, None, vec![noop(3, 2)]);
        stalled.step(1, |view| view.role = RoleKind::Follower);
        let cause = Cause::WriteStalled;
        let event = Event::BecameRole { role: RoleKind::Follower, term: Term(2), cause };
        stalled.push(Some(1), RecordKind::Observed(event));
        assert_eq!(found(&stalled), None);
        let mut crashed = Script::led();
        crashed.crash(1, crate::record::CrashKind::Kill);
        crashed.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        assert_eq!(found(&crashed), None);
    }
}
