//! If a node has applied an entry at an index, no node ever applies another one there (Raft Figure 3, State Machine
//! Safety), and a node applies only entries that a leader has committed.
//!
//! It is the first to catch: an apply before the commit, an apply from a log that was truncated meanwhile. It also
//! backs up `commit_quorum`, `log_matching` and `leader_completeness`.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::EntryId;

const NAME: &str = "state_machine_safety";

#[derive(Clone)]
pub(super) struct StateMachineSafety;

impl Property for StateMachineSafety {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let entries = match &fact.record.kind {
            RecordKind::Applied { entries, .. } => entries,
            RecordKind::Restored { meta, .. } => return restored(ghost, fact, meta.last),
            _ => return None,
        };
        let node = fact.node?;
        if let Some(entry) = fact.change.applied_other {
            let first = ghost.applied_at(entry.index)?;
            let message = format!("{} applies {entry} where {} applied {}", node.id, first.by, first.entry.id);
            let message = if entry == first.entry.id { format!("{message} with other content") } else { message };
            return Some(fact.contradicts(NAME, first.record, message));
        }
        if ghost.committed_chain(node.applied) == Some(node.applied_chain) {
            return None;
        }
        let uncommitted = |entry: &&raft_core::Entry| {
            ghost.committed_at(entry.id.index).is_none_or(|committed| committed.id != entry.id)
        };
        let entry = entries.iter().find(uncommitted).or(entries.last())?;
        let message = match ghost.committed_at(entry.id.index) {
            Some(committed) => {
                format!("{} applies {}, but {} committed {} there", node.id, entry.id, committed.by, committed.id)
            }
            None => format!("{} applies {}, which no leader has committed", node.id, entry.id),
        };
        let earlier = ghost.committed_at(entry.id.index).map_or(fact.record.number, |committed| committed.record);
        Some(fact.contradicts(NAME, earlier, message))
    }
}

/// A snapshot represents all entries up to its last one.
fn restored(ghost: &Ghost, fact: &Fact<'_>, last: EntryId) -> Option<Violation> {
    let first = ghost.applied_at(last.index);
    if first.is_some_and(|first| first.entry.id == last) {
        return None;
    }
    let applied = first.map_or("no node has applied that entry".to_string(), |first| {
        format!("{} applied {}", first.by, first.entry.id)
    });
    let message = format!("{} sets its state machine to the snapshot of {last}, but {applied}", fact.record.node?);
    Some(fact.contradicts(NAME, first.map_or(fact.record.number, |first| first.record), message))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;

    #[test]
    fn another_entry_at_an_applied_index_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(2, vec![founding(), noop(2, 1)], 7);
        assert_fires(StateMachineSafety, NAME, &script, "n2 applies 2@1 where n1 applied 2@2");
    }

    #[test]
    fn other_content_of_the_same_entry_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(2, vec![founding(), command(2, 2, Bytes::new())], 7);
        assert_fires(StateMachineSafety, NAME, &script, "with other content");
    }

    #[test]
    fn an_entry_that_is_not_committed_fires() {
        let mut script = Script::led();
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.apply(2, vec![founding(), noop(2, 2), noop(3, 2)], 7);
        assert_fires(StateMachineSafety, NAME, &script, "n2 applies 3@2, which no leader has committed");
        let mut script = Script::led();
        script.apply(2, vec![founding(), noop(2, 1)], 7);
        assert_fires(StateMachineSafety, NAME, &script, "n2 applies 2@1, but n1 committed 2@2");
    }

    #[test]
    fn a_snapshot_of_what_no_node_applied_or_of_another_entry_fires() {
        let mut script = Script::led();
        script.push(Some(2), RecordKind::Restored { meta: meta(2, 2), state_hash: 7 });
        assert_fires(StateMachineSafety, NAME, &script, "the snapshot of 2@2, but no node has applied that entry");
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.push(Some(2), RecordKind::Restored { meta: meta(2, 1), state_hash: 7 });
        assert_fires(StateMachineSafety, NAME, &script, "the snapshot of 2@1, but n1 applied 2@2");
        let mut script = Script::legal();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.push(Some(2), RecordKind::Restored { meta: meta(2, 2), state_hash: 7 });
        script.apply(2, vec![noop(3, 3)], 8);
        assert_silent(StateMachineSafety, &script);
    }

    #[test]
    fn committed_entries_in_order_are_silent() {
        let mut script = Script::legal();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(3, vec![founding()], 6);
        script.apply(3, vec![noop(2, 2), noop(3, 3)], 8);
        assert_silent(StateMachineSafety, &script);
    }
}
