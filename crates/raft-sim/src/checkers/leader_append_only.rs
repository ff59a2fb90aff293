//! A leader never overwrites or deletes entries of its log; it only appends, and only in its own term (Raft Figure 3,
//! Leader Append-Only; §5.3).
//!
//! It is the first to catch: a leader that accepts an append (its own, come back, or another leader's), entries created
//! with an old term, sent entries that differ from the written ones. `log_matching` backs it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{LogIndex, RoleKind};

const NAME: &str = "leader_append_only";

#[derive(Clone)]
pub(super) struct LeaderAppendOnly;

impl Property for LeaderAppendOnly {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let RecordKind::Asked { .. } = fact.record.kind else { return None };
        let node = fact.node?;
        let view = node.view.as_ref().filter(|view| view.role == RoleKind::Leader)?;
        let (id, term, edit) = (node.id, view.term, fact.change.edit);
        if let Some((first, last)) = edit.removed {
            let message = format!("{id} leads term {term} and removes {}..{} from its log", first.id, last.id);
            return Some(fact.contradicts(NAME, first.record, message));
        }
        let pushed = node.log.after(LogIndex(node.log.len().saturating_sub(edit.pushed)));
        if let Some(slot) = pushed.iter().find(|slot| slot.id.term != term) {
            let message = format!("{id} leads term {term} and appends {}", slot.id);
            return Some(fact.contradicts(NAME, view.record, message));
        }
        let slot = fact.change.leader_overwrote?;
        let message = format!("{id} leads term {term} and writes another {} than it sent", slot.id);
        Some(fact.contradicts(NAME, view.record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_core::EntryId;

    #[test]
    fn a_leader_that_truncates_fires() {
        let mut script = Script::led();
        script.ask(1, None, Some(2), vec![]);
        assert_fires(LeaderAppendOnly, NAME, &script, "n1 leads term 2 and removes 2@2..2@2");
    }

    #[test]
    fn an_entry_of_another_term_fires() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 3)]);
        assert_fires(LeaderAppendOnly, NAME, &script, "n1 leads term 2 and appends 3@3");
    }

    #[test]
    fn another_entry_than_was_sent_fires() {
        let mut script = Script::led();
        script.send(1, 2, append(2, EntryId::new(2, 2), 2, vec![noop(3, 2)]));
        script.ask(1, None, None, vec![command(3, 2, Bytes::from_static(b"x"))]);
        assert_fires(LeaderAppendOnly, NAME, &script, "writes another 3@2 than it sent");
    }

    #[test]
    fn a_follower_may_truncate_and_a_leader_append() {
        let mut script = Script::legal();
        script.ask(2, None, None, vec![noop(4, 3), noop(5, 3)]);
        script.step(1, |view| view.role = RoleKind::Follower);
        script.ask(1, None, Some(2), vec![]);
        assert_silent(LeaderAppendOnly, &script);
    }
}
