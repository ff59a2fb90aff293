//! If a node claims a match in a term, its log equals the log of that term's leader up to the claimed index (Raft
//! §5.3).
//!
//! It is the first to catch: an answer that claims more than was compared (the whole log instead of prev plus the sent
//! entries), a match from another term, an entry that stays although it conflicts. `commit_quorum` backs it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{AppendOutcome, LogIndex, Rpc};

const NAME: &str = "match_truthful";

#[derive(Clone)]
pub(super) struct MatchTruthful;

impl Property for MatchTruthful {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let RecordKind::Sent { rpc: Rpc::AppendEntriesResponse(response), .. } = &fact.record.kind else { return None };
        let AppendOutcome::Matched { index } = response.outcome else { return None };
        let node = fact.node?;
        if index == LogIndex(0) {
            return None;
        }
        let (id, term) = (node.id, response.term);
        let Some((ghost_of_term, (leader, since))) =
            ghost.terms.get(&term).and_then(|ghost| Some((ghost, ghost.leader?)))
        else {
            let message = format!("{id} acknowledges {index} in term {term}, which no node leads");
            return Some(fact.contradicts(NAME, fact.record.number, message));
        };
        match (ghost_of_term.log.chain_at(index, &ghost.committed), node.log.slot(index)) {
            (Some(theirs), Some(ours)) if theirs == ours.chain => None,
            (None, _) => {
                let len = ghost_of_term.log.len();
                let message = format!("{id} acknowledges {index} to {leader}, whose log of term {term} ends at {len}");
                Some(fact.contradicts(NAME, since, message))
            }
            (Some(_), ours) => {
                let ours = ours.map_or("no entry there".to_string(), |slot| format!("another log up to {}", slot.id));
                let message = format!("{id} acknowledges {index} to {leader}, leader of term {term}, and has {ours}");
                Some(fact.contradicts(NAME, since, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    #[test]
    fn a_match_with_another_entry_fires() {
        let mut script = Script::led();
        script.ask(3, Some((2, None)), None, vec![noop(2, 1)]);
        script.sync(3);
        script.send(3, 1, matched(2, 2));
        let violation = assert_fires(MatchTruthful, NAME, &script, "n3 acknowledges 2 to n1");
        assert!(violation.message.contains("another log up to 2@1"), "{violation:?}");
    }

    #[test]
    fn a_match_beyond_the_leader_and_one_without_a_leader_fire() {
        let mut script = Script::led();
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.sync(2);
        script.send(2, 1, matched(2, 3));
        assert_fires(MatchTruthful, NAME, &script, "whose log of term 2 ends at 2");
        let mut script = Script::started();
        script.send(2, 1, matched(1, 1));
        assert_fires(MatchTruthful, NAME, &script, "no node leads");
    }

    #[test]
    fn a_late_answer_to_a_leader_that_has_crashed_is_silent() {
        let mut script = Script::legal();
        script.crash(1, crate::record::CrashKind::PowerLoss);
        script.send(3, 1, matched(2, 2));
        script.send(3, 1, matched(2, 0));
        assert_silent(MatchTruthful, &script);
    }

    #[test]
    fn what_a_leader_sent_before_it_crashed_counts_as_its_log() {
        let mut script = Script::led();
        let (prev, entry) = (raft_core::EntryId::new(2, 2), noop(3, 2));
        script.step(1, |view| view.last = entry.id);
        script.send(1, 2, append(2, prev, 2, vec![entry.clone()]));
        script.crash(1, crate::record::CrashKind::PowerLoss);
        script.follow(2, 1, 2, prev, vec![entry]);
        assert_silent(MatchTruthful, &script);
    }
}
