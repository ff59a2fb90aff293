//! Nodes that have applied the same index have the same state, byte for byte: equal state hashes at equal indices,
//! whether they applied the entries or loaded a snapshot that covers them. A backup has the state of its node at its beginning,
//! and a new cluster begins with the state after the old data.
//!
//! It is the first to catch: a state machine that is not deterministic, a session table that depends on its node or is
//! missing from its snapshot, an apply that happens twice or not at all. `stale_read` and `linearizability` back it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{EntryId, LogIndex, NodeId};

const NAME: &str = "state_equal";

#[derive(Clone, Default)]
pub(super) struct StateEqual {
    /// The hashes by applied index, from 1: the hash, the first node that showed it (none: the folder of a new cluster), and the
    /// record.
    hashes: Vec<Option<(u128, Option<NodeId>, u64)>>,
}

impl Property for StateEqual {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.record.node;
        match &fact.record.kind {
            RecordKind::Applied { entries, state_hash } => self.compare(fact, entries.last_id()?, *state_hash, node),
            RecordKind::Restored { meta, state_hash } => self.compare(fact, meta.last, *state_hash, node),
            RecordKind::BackupFinished { meta, state_hash: Ok(state_hash), node, .. } => {
                self.compare(fact, meta.last, *state_hash, Some(*node))
            }
            RecordKind::NewCluster { saved, snapshot, state_hash, saved_hash, .. } => self
                .compare(fact, *saved, *saved_hash, None)
                .or_else(|| self.compare(fact, snapshot.last, *state_hash, None)),
            _ => None,
        }
    }

    fn carried_over(&self, kept: LogIndex) -> Option<Box<dyn Property>> {
        let count = usize::try_from(kept.0).unwrap_or(usize::MAX);
        Some(Box::new(Self { hashes: self.hashes.iter().take(count).copied().collect() }))
    }
}

impl StateEqual {
    /// Compares the state of `node` after `last` with the first one that was seen; none: a new cluster's folder.
    fn compare(&mut self, fact: &Fact<'_>, last: EntryId, state_hash: u128, node: Option<NodeId>) -> Option<Violation> {
        let place = usize::try_from(last.index.previous().0).ok()?;
        if self.hashes.len() <= place {
            self.hashes.resize(place + 1, None);
        }
        let here = self.hashes.get_mut(place)?;
        let (hash, first, record) = *here.get_or_insert((state_hash, node, fact.record.number));
        if hash == state_hash {
            return None;
        }
        let name = |node: Option<NodeId>| node.map_or_else(|| "the new folder".to_owned(), |node| node.to_string());
        let (node, first) = (name(node), name(first));
        let message =
            format!("after {last} the state of {node} is {state_hash:032x}; expected {hash:032x}, as on {first}");
        Some(fact.contradicts(NAME, record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    #[test]
    fn another_state_at_the_same_index_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(2, vec![founding()], 6);
        script.apply(2, vec![noop(2, 2)], 8);
        let words = "after 2@2 the state of n2 is 00000000000000000000000000000008; expected";
        assert_fires(StateEqual::default(), NAME, &script, words);
    }

    #[test]
    fn another_state_from_a_snapshot_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.push(Some(3), RecordKind::Restored { meta: meta(2, 2), state_hash: 7 });
        assert_silent(StateEqual::default(), &script);
        script.push(Some(2), RecordKind::Restored { meta: meta(2, 2), state_hash: 8 });
        assert_fires(StateEqual::default(), NAME, &script, "after 2@2 the state of n2 is");
    }

    #[test]
    fn another_state_in_a_backup_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        let (id, node) = (raft_core::RequestId(1), NodeId(1));
        let finished =
            |state_hash| RecordKind::BackupFinished { id, node, meta: meta(2, 2), state_hash: Ok(state_hash) };
        script.push(None, finished(7));
        assert_silent(StateEqual::default(), &script);
        script.push(None, finished(8));
        assert_fires(StateEqual::default(), NAME, &script, "after 2@2 the state of n1 is");
    }

    #[test]
    fn another_state_in_the_folder_of_a_new_cluster_fires() {
        let begun = |saved_hash| {
            let mut script = Script::led();
            script.apply(1, vec![founding(), noop(2, 2)], 7);
            let (saved, recovered, snapshot) = (EntryId::new(2, 2), None, meta(9, 2));
            script.push(None, RecordKind::NewCluster { saved, recovered, snapshot, state_hash: 5, saved_hash });
            script
        };
        let mut script = begun(7);
        script.push(Some(2), RecordKind::Restored { meta: meta(9, 2), state_hash: 5 });
        assert_silent(StateEqual::default(), &script);
        script.push(Some(3), RecordKind::Restored { meta: meta(9, 2), state_hash: 6 });
        assert_fires(StateEqual::default(), NAME, &script, "after 9@2 the state of n3 is");
        assert_fires(StateEqual::default(), NAME, &begun(8), "after 2@2 the state of the new folder is");
    }

    #[test]
    fn equal_states_at_equal_indices_are_silent() {
        let mut script = Script::legal();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(2, vec![founding()], 6);
        script.apply(2, vec![noop(2, 2)], 7);
        assert_silent(StateEqual::default(), &script);
    }
}
