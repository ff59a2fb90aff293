//! A forged message changes nothing: neither term nor vote, log, commit index or configuration of its receiver. A host
//! refuses callers that are no peers before any message counts, and the core refuses numbers that no peer can send
//! (rule R44).
//!
//! The state after a call belongs to all inputs of the call, so it is compared only if all of them are forged. The
//! configuration follows from the log.
//!
//! It is the first to catch: a caller that is let in and is no peer, a number that is used without a check of its range.
//! It backs up no other checker.

use super::ghost::Ghost;
use super::ghost::is_input;
use super::ghost::node::Seen;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;

const NAME: &str = "stranger_refused";

#[derive(Clone, Default)]
pub(super) struct StrangerRefused {
    /// The present call, if so far all of its inputs are forged, and the change that its first record shows.
    suspect: Option<(u64, Violation)>,
}

impl Property for StrangerRefused {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let record = fact.record;
        if let Some((call, violation)) = self.suspect.take() {
            let has_another_input = call == record.call && is_input(&record.kind);
            match record.kind {
                RecordKind::Forged { .. } if call == record.call => self.suspect = Some((call, violation)),
                _ if !has_another_input => return Some(violation),
                _ => {}
            }
            return None;
        }
        let RecordKind::Forged { from, message } = &record.kind else { return None };
        let (node, now) = fact.new_view()?;
        let before = node.previous?;
        let change = difference(&before, now)?;
        let message = format!("{} takes a forged message of {from}, {message}: {change}", node.id);
        let facts = vec![record.number];
        self.suspect = Some((record.call, Violation { property: NAME, message, facts }));
        None
    }

    fn finish(&mut self, _ghost: &Ghost) -> Option<Violation> {
        self.suspect.take().map(|(_, violation)| violation)
    }
}

/// The first difference between two views of a node.
fn difference(before: &Seen, now: &Seen) -> Option<String> {
    let differs = |is_other: bool, words: String| is_other.then_some(words);
    differs(before.term != now.term, format!("its term was {} and is {}", before.term, now.term))
        .or_else(|| differs(before.voted_for != now.voted_for, format!("its vote is {:?}", now.voted_for)))
        .or_else(|| differs(before.commit != now.commit, format!("it commits {}", now.commit)))
        .or_else(|| {
            differs(before.last != now.last, format!("its log ended at {} and ends at {}", before.last, now.last))
        })
        .or_else(|| differs(before.snapshot != now.snapshot, format!("its snapshot is {:?}", now.snapshot)))
        .or_else(|| differs(before.role != now.role, format!("it was {} and is {}", before.role, now.role)))
        .or_else(|| differs(before.leader != now.leader, format!("its leader is {:?}", now.leader)))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{NodeId, Term};

    fn forged(script: &mut Script, term: u64) {
        script.step(2, |view| view.term = Term(term));
        script.newest().kind = RecordKind::Forged { from: NodeId(9), message: "append".into() };
    }

    #[test]
    fn a_forged_message_that_changes_the_term_fires() {
        let mut script = Script::led();
        forged(&mut script, 7);
        let words = "n2 takes a forged message of n9, append: its term was 2 and is 7";
        assert_fires(StrangerRefused::default(), NAME, &script, words);
    }

    #[test]
    fn one_that_changes_nothing_and_a_call_with_another_input_are_silent() {
        let mut script = Script::led();
        forged(&mut script, 2);
        assert_silent(StrangerRefused::default(), &script);
        let mut script = Script::led();
        forged(&mut script, 7);
        let call = script.newest().call;
        script.push(Some(2), RecordKind::TimerFired);
        script.newest().call = call;
        assert_silent(StrangerRefused::default(), &script);
    }
}
