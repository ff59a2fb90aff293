//! An entry that is committed in a term is in the log of the leader of every later term (Raft Figure 3, Leader
//! Completeness; §5.4.3). It is checked from both ends: when a leader appears, and when a leader commits something,
//! perhaps an old leader that does not know of the new one.
//!
//! It is the first to catch: votes for a candidate whose log is behind (§5.4.1), a commit that counts replicas of an
//! old term (§5.4.2, Figure 8), durable entries that a restart loses. It also reports a replica that stops because its
//! leader contradicts a committed entry. `state_machine_safety` backs it up.

use super::ghost::Ghost;
use super::ghost::node::Seen;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{LogIndex, NodeId, RoleKind, StopReason, Term};
use std::ops::Bound;

const NAME: &str = "leader_completeness";

#[derive(Clone)]
pub(super) struct LeaderCompleteness;

impl Property for LeaderCompleteness {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        if let RecordKind::Stopped { reason } = &fact.record.kind
            && !matches!(reason, StopReason::Removed { .. })
        {
            let node = fact.record.node?;
            let message = format!("{node} stopped: {reason}");
            return Some(fact.contradicts(NAME, fact.record.cause.unwrap_or(fact.record.number), message));
        }
        if let Some((node, view)) = fact.new_view().filter(|(_, view)| view.role == RoleKind::Leader)
            && ghost.terms.get(&view.term)?.leader == Some((node.id, fact.record.number))
        {
            return elected(ghost, fact, node.id, view);
        }
        if ghost.committed.len() > fact.change.committed_before { committed(ghost, fact) } else { None }
    }
}

/// Checks that the new leader holds everything that was committed in earlier terms.
fn elected(ghost: &Ghost, fact: &Fact<'_>, leader: NodeId, view: &Seen) -> Option<Violation> {
    let earlier = ghost.committed.partition_point(|entry| entry.in_term < view.term);
    let last = ghost.committed.get(earlier.checked_sub(1)?)?;
    let log = &ghost.terms.get(&view.term)?.log;
    if log.chain_at(last.id.index, &ghost.committed) == Some(last.chain) {
        return None;
    }
    let missing =
        |entry: &&super::ghost::Committed| log.chain_at(entry.id.index, &ghost.committed) != Some(entry.chain);
    let entry = ghost.committed.iter().take(earlier).find(missing)?;
    let message = format!(
        "{leader} leads term {} without {}, which {} committed in term {}",
        view.term, entry.id, entry.by, entry.in_term
    );
    Some(fact.contradicts(NAME, entry.record, message))
}

/// Checks that the leaders of later terms, if there are any yet, hold the entries that are committed now.
fn committed(ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
    let entry = ghost.committed.last()?;
    let later = ghost.terms.range::<Term, _>((Bound::Excluded(entry.in_term), Bound::Unbounded));
    for (term, of_term) in later {
        let Some((leader, since)) = of_term.leader else { continue };
        let held = of_term.log.chain_at(LogIndex(entry.id.index.0), &ghost.committed);
        if held != Some(entry.chain) {
            let message = format!(
                "{} commits {} in term {}, but {leader} leads term {term} without it",
                entry.by, entry.id, entry.in_term
            );
            return Some(fact.contradicts(NAME, since, message));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{EntryId, StopReason};

    #[test]
    fn a_leader_without_a_committed_entry_fires() {
        let mut script = Script::led();
        script.campaign(3, 3);
        script.step(3, |view| view.role = RoleKind::Leader);
        let violation = assert_fires(LeaderCompleteness, NAME, &script, "n3 leads term 3 without 2@2");
        assert!(violation.message.contains("n1 committed in term 2"), "{violation:?}");
    }

    #[test]
    fn a_commit_that_a_later_leader_does_not_hold_fires() {
        let mut script = Script::elected();
        script.campaign(3, 3);
        script.step(3, |view| view.role = RoleKind::Leader);
        script.commit(1, 2);
        assert_fires(LeaderCompleteness, NAME, &script, "n1 commits 2@2 in term 2, but n3 leads term 3");
    }

    #[test]
    fn a_replica_that_stops_fires() {
        let mut script = Script::led();
        let (ours, theirs) = (EntryId::new(2, 2), EntryId::new(2, 3));
        script.push(Some(1), RecordKind::Stopped { reason: StopReason::CommittedConflict { ours, theirs } });
        assert_fires(LeaderCompleteness, NAME, &script, "n1 stopped: 2@2 is committed");
    }

    #[test]
    fn leaders_that_hold_all_and_late_leaders_of_old_terms_are_silent() {
        let mut script = Script::started();
        script.campaign(3, 2);
        script.campaign(1, 3);
        script.vote(2, 1, 3);
        script.lead(1, 3, noop(2, 3));
        script.follow(2, 1, 3, EntryId::new(1, 1), vec![noop(2, 3)]);
        script.commit(1, 2);
        script.step(3, |view| view.role = RoleKind::Leader);
        assert_silent(LeaderCompleteness, &script);
        assert_silent(LeaderCompleteness, &Script::legal());
    }
}
