//! No holes: the writes of a node follow its log without a gap or a falling term, its log ends where it says after
//! every step, and the entries that it applies are consecutive from index 1 (Raft §5.3).
//!
//! It is the first to catch: an append accepted beyond the end of the log, an entry that is in memory but was never
//! written, a skipped or repeated apply. No other checker covers it: the rest of the ghost depends on it.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};

const NAME: &str = "no_holes";

#[derive(Clone)]
pub(super) struct NoHoles;

impl Property for NoHoles {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (node, change) = (fact.node?, &fact.change);
        let id = node.id;
        if let Some(entry) = change.edit.gap {
            let message = format!("{id} appends {entry} after {}", node.log.last_id());
            return Some(fact.contradicts(NAME, fact.record.number, message));
        }
        if let Some((entry, due)) = change.applied_gap {
            let message = format!("{id} applies {entry}; expected index {due}");
            return Some(fact.contradicts(NAME, fact.record.number, message));
        }
        let view = change.unsettled?;
        let message = format!(
            "{id} says that its log ends in {}; the entries that it wrote end in {}",
            view.last,
            node.log.last_id()
        );
        Some(fact.contradicts(NAME, view.record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use raft_core::EntryId;

    #[test]
    fn a_gap_and_a_falling_term_in_a_write_fire() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(4, 2)]);
        assert_fires(NoHoles, NAME, &script, "n1 appends 4@2 after 2@2");
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 1)]);
        assert_fires(NoHoles, NAME, &script, "n1 appends 3@1 after 2@2");
    }

    #[test]
    fn an_entry_that_was_never_written_fires_at_the_next_step() {
        let mut script = Script::led();
        script.step(1, |view| view.last = EntryId::new(3, 2));
        script.step(1, |_| {});
        assert_fires(NoHoles, NAME, &script, "n1 says that its log ends in 3@2; the entries that it wrote end in 2@2");
    }

    #[test]
    fn a_skipped_and_a_repeated_apply_fire() {
        for (second, words) in [(3, "applies 3@2; expected index 2"), (1, "applies 1@2; expected index 2")] {
            let mut script = Script::led();
            script.apply(1, vec![founding()], 1);
            script.apply(1, vec![noop(second, 2)], 2);
            assert_fires(NoHoles, NAME, &script, words);
        }
    }

    #[test]
    fn two_inputs_of_one_step_are_silent() {
        let mut script = Script::led();
        script.step(2, |view| view.last = EntryId::new(3, 2));
        script.step(2, |_| {});
        let at = script.records[script.records.len() - 2].at;
        script.newest().at = at;
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.step(2, |_| {});
        assert_silent(NoHoles, &script);
    }

    #[test]
    fn a_crash_between_two_outputs_is_silent() {
        let mut script = Script::legal();
        script.step(2, |view| view.last = EntryId::new(4, 3));
        script.crash(2, CrashKind::Kill);
        script.start(2, 3, Some(2), vec![founding(), noop(2, 2), noop(3, 3)]);
        script.apply(2, vec![founding(), noop(2, 2)], 1);
        script.step(2, |view| view.applied = raft_core::LogIndex(2));
        assert_silent(NoHoles, &script);
    }
}
