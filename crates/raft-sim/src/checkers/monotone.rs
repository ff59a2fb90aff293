//! Some values never go back: the term; the vote, once given in a term; the commit and applied indices within an
//! incarnation; and across restarts term and vote, below the durable ones (Raft Figure 2).
//!
//! It is the first to catch: a term that comes from an old message, a commit index that a heartbeat or a truncation
//! lowers, a vote that changes in memory before `one_vote_per_term` can see it leave. Across restarts it backs up
//! `recovery`.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use raft_core::HardState;

const NAME: &str = "monotone";

#[derive(Clone)]
pub(super) struct Monotone;

impl Property for Monotone {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        if let (Some(recovery), crate::record::RecordKind::Started { hard_state: now, .. }) =
            (fact.change.recovery, &fact.record.kind)
        {
            let before = recovery.hard_state_before;
            let held = fact.record.view.as_ref().map(|view| HardState { term: view.term, voted_for: view.voted_for });
            if let Some(held) = held.filter(|held| held != now) {
                let message = format!("{} starts with {held}; its disk holds {now}", fact.node?.id);
                return Some(fact.contradicts(NAME, recovery.record_before, message));
            }
            let vote_changed =
                before.term == now.term && before.voted_for.is_some() && before.voted_for != now.voted_for;
            if now.term >= before.term && !vote_changed {
                return None;
            }
            let message = format!("{} restarts with {now}; {before} was durable", fact.node?.id);
            return Some(fact.contradicts(NAME, recovery.record_before, message));
        }
        let (node, now) = fact.new_view()?;
        let before = node.previous.as_ref()?;
        let id = node.id;
        let message = if now.term < before.term {
            format!("{id} goes back from term {} to {}", before.term, now.term)
        } else if now.term == before.term && before.voted_for.is_some() && now.voted_for != before.voted_for {
            let vote = |vote: Option<raft_core::NodeId>| vote.map_or("none".to_string(), |id| id.to_string());
            format!(
                "{id} changes its vote in term {} from {} to {}",
                now.term,
                vote(before.voted_for),
                vote(now.voted_for)
            )
        } else if now.commit < before.commit {
            format!("{id} moves its commit index backwards from {} to {}", before.commit, now.commit)
        } else if now.applied < before.applied {
            format!("{id} moves its applied index backwards from {} to {}", before.applied, now.applied)
        } else {
            return None;
        };
        Some(fact.contradicts(NAME, before.record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use raft_core::{LogIndex, NodeId, Term};

    fn after(change: impl FnOnce(&mut crate::record::NodeView)) -> Script {
        let mut script = Script::led();
        script.step(1, |view| view.applied = LogIndex(2));
        script.step(1, change);
        script
    }

    #[test]
    fn each_number_that_goes_back_fires() {
        assert_fires(Monotone, NAME, &after(|view| view.term = Term(1)), "n1 goes back from term 2 to 1");
        let other = after(|view| view.voted_for = Some(NodeId(3)));
        assert_fires(Monotone, NAME, &other, "changes its vote in term 2 from n1 to n3");
        let none = after(|view| view.voted_for = None);
        assert_fires(Monotone, NAME, &none, "changes its vote in term 2 from n1 to none");
        assert_fires(Monotone, NAME, &after(|view| view.commit = LogIndex(1)), "commit index backwards from 2 to 1");
        assert_fires(Monotone, NAME, &after(|view| view.applied = LogIndex(1)), "applied index backwards from 2 to 1");
    }

    #[test]
    fn a_restart_below_the_durable_term_or_vote_fires() {
        for (term, vote, words) in [(1, None, "restarts with term 1"), (2, None, "term 2 vote n1 was durable")] {
            let mut script = Script::led();
            script.crash(1, CrashKind::PowerLoss);
            script.start(1, term, vote, vec![founding(), noop(2, 2)]);
            assert_fires(Monotone, NAME, &script, words);
        }
    }

    #[test]
    fn a_start_that_ignores_what_the_disk_holds_fires() {
        let mut script = Script::led();
        script.crash(1, CrashKind::Kill);
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        let view = script.records.last_mut().and_then(|record| record.view.as_mut()).expect("it has started");
        view.voted_for = None;
        assert_fires(Monotone, NAME, &script, "n1 starts with term 2; its disk holds term 2 vote n1");
    }

    #[test]
    fn a_restart_may_take_commit_and_applied_back() {
        let mut script = after(|_| {});
        script.crash(1, CrashKind::Kill);
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        script.step(1, |view| (view.term, view.voted_for) = (Term(3), None));
        assert_silent(Monotone, &script);
        assert_silent(Monotone, &Script::legal());
    }
}
