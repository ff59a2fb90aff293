//! A write that was acknowledged to a client is committed, stays in every log that has it (from the term of its commit
//! on), and is durable on a quorum at every restart and at the end. The quorum is one of the decided configuration; while
//! that is joint, of its new half, because the old half may no longer decide. A damaged or lost disk counts with its
//! earlier content, because its machine is as good as down. But at least one sound disk has to hold the write too.
//!
//! It is the first to catch: an answer before the commit, an append that truncates without a conflict (an old,
//! reordered append removes newer entries), a quorum of disks that lost data. It backs up `commit_quorum` and
//! `recovery`.

use super::ghost::{Committed, Ghost};
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{LogIndex, NodeId};
use raft_node::Reply;

const NAME: &str = "acknowledged_survives";

#[derive(Clone, Default)]
pub(super) struct AcknowledgedSurvives {
    /// The highest acknowledged index, and the record of its acknowledgement.
    newest: Option<(LogIndex, u64)>,
}

impl Property for AcknowledgedSurvives {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        match &fact.record.kind {
            RecordKind::Replied { reply: Reply::Applied { entry, .. }, .. } => {
                let node = fact.record.node?;
                let number = fact.record.number;
                if ghost.committed_at(entry.index).is_none_or(|committed| committed.id != *entry) {
                    let message = format!("{node} acknowledges a write by {entry}, which no leader has committed");
                    return Some(fact.contradicts(NAME, number, message));
                }
                self.note(entry.index, number);
                None
            }
            RecordKind::Replied { reply: Reply::SessionOpened { session }, .. } => {
                self.note(LogIndex(session.0), fact.record.number);
                None
            }
            RecordKind::Asked { .. } => removed(ghost, fact),
            RecordKind::Started { .. } => {
                let (message, acknowledged) = self.lost(ghost)?;
                Some(fact.contradicts(NAME, acknowledged, message))
            }
            _ => None,
        }
    }

    fn finish(&mut self, ghost: &Ghost) -> Option<Violation> {
        let (message, acknowledged) = self.lost(ghost)?;
        Some(Violation { property: NAME, message, facts: vec![acknowledged] })
    }
}

/// Checks that a node removes no committed entry. Only the terms from the committing leader's on have to keep it: a node
/// that was paused may follow the leader of an earlier one for a moment, whose log lacked the entry, and it was in no
/// quorum (Raft §5.4.3).
fn removed(ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
    let (first, last) = fact.change.edit.removed?;
    let committed = ghost.committed_at(first.id.index).filter(|committed| committed.chain == first.chain)?;
    let node = fact.record.node?;
    // A call may have several messages: the one that removed it came in the term before the call or in a later one.
    if fact.node?.previous.is_some_and(|before| before.term < committed.in_term) {
        return None;
    }
    let Committed { id, by, record, .. } = *committed;
    let message = format!("{node} removes {}..{} from its log although {by} committed {id}", first.id, last.id);
    Some(fact.contradicts(NAME, record, message))
}

impl AcknowledgedSurvives {
    fn note(&mut self, index: LogIndex, record: u64) {
        if self.newest.is_none_or(|(newest, _)| index > newest) {
            self.newest = Some((index, record));
        }
    }

    /// The problem if the newest acknowledged entry is not durable on a quorum, and the record that acknowledged it.
    fn lost(&self, ghost: &Ghost) -> Option<(String, u64)> {
        let (index, acknowledged) = self.newest?;
        let chain = ghost.committed_chain(index)?;
        let holds = |id: NodeId| ghost.holds_durably(id, index, chain);
        let (_, decided) = ghost.decided().last()?;
        // Damaged disks are a minority, so a quorum that holds the entry has a member whose disk is sound.
        let is_sound = |id: &NodeId| ghost.node(*id).is_some_and(|node| !node.is_damaged());
        let on_sound = ghost.nodes().iter().map(|node| node.id).any(|id| is_sound(&id) && holds(id));
        if decided.end().has_quorum(holds) && on_sound {
            return None;
        }
        let holders: Vec<String> =
            ghost.nodes().iter().map(|node| node.id).filter(|id| holds(*id)).map(|id| id.to_string()).collect();
        let message = format!("what was acknowledged up to {index} is durable on [{}] only", holders.join(" "));
        Some((message, acknowledged))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use bytes::Bytes;
    use raft_core::{EntryId, RequestId, Term};

    fn acknowledge(script: &mut Script, index: u64, term: u64) {
        let reply = Reply::Applied { entry: EntryId::new(index, term), response: Bytes::new() };
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
    }

    #[test]
    fn an_answer_before_the_commit_fires() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 2)]);
        acknowledge(&mut script, 3, 2);
        assert_fires(AcknowledgedSurvives::default(), NAME, &script, "by 3@2, which no leader has committed");
    }

    #[test]
    fn a_truncation_of_committed_entries_fires() {
        let mut script = Script::led();
        script.ask(2, None, Some(2), vec![noop(2, 2)]);
        let words = "n2 removes 2@2..2@2 from its log although n1 committed 2@2";
        assert_fires(AcknowledgedSurvives::default(), NAME, &script, words);
    }

    #[test]
    fn a_follower_of_an_earlier_leader_than_the_committing_one_may_remove_it() {
        let removes = |term| {
            let mut script = Script::led();
            script.step(2, |view| view.term = Term(term));
            script.step(2, |view| view.last = EntryId::new(2, 1));
            script.ask(2, None, Some(2), vec![noop(2, 2)]);
            script
        };
        assert_silent(AcknowledgedSurvives::default(), &removes(1));
        assert_fires(
            AcknowledgedSurvives::default(),
            NAME,
            &removes(2),
            "n2 removes 2@2..2@2 from its log although n1",
        );
    }

    #[test]
    fn disks_that_lose_it_fire() {
        let mut script = Script::led();
        acknowledge(&mut script, 2, 2);
        script.crash(2, CrashKind::PowerLoss);
        script.start(2, 2, Some(1), vec![founding()]);
        let words = "what was acknowledged up to 2 is durable on [n1] only";
        assert_fires(AcknowledgedSurvives::default(), NAME, &script, words);
    }

    #[test]
    fn what_stays_on_a_quorum_is_silent() {
        let mut script = Script::legal();
        acknowledge(&mut script, 2, 2);
        script.crash(2, CrashKind::PowerLoss);
        script.start(2, 3, Some(2), vec![founding(), noop(2, 2), noop(3, 3)]);
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.ask(1, None, Some(3), vec![]);
        assert_silent(AcknowledgedSurvives::default(), &script);
    }
}
