//! Nodes that have applied the same index have the same state, byte for byte: equal state hashes at equal indices,
//! whether they applied the entries or loaded a snapshot that covers them. A backup has the state of its node at its beginning.
//!
//! It is the first to catch: a state machine that is not deterministic, a session table that depends on its node or is
//! missing from its snapshot, an apply that happens twice or not at all. `stale_read` and `linearizability` back it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::NodeId;

const NAME: &str = "state_equal";

#[derive(Clone, Default)]
pub(super) struct StateEqual {
    /// The hashes by applied index, from 1: the hash, the first node that showed it (none: a
    /// restored backup), and the record.
    hashes: Vec<Option<(u128, Option<NodeId>, u64)>>,
}

impl Property for StateEqual {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (last, state_hash, node) = match &fact.record.kind {
            RecordKind::Applied { entries, state_hash } => (entries.last_id()?, state_hash, fact.record.node),
            RecordKind::Restored { meta, state_hash } => (meta.last, state_hash, fact.record.node),
            RecordKind::BackupFinished { meta, state_hash: Ok(state_hash), node, .. } => {
                (meta.last, state_hash, Some(*node))
            }
            RecordKind::NewCluster { snapshot: Some(meta), state_hash: Some(state_hash), .. } => {
                (meta.last, state_hash, None)
            }
            _ => return None,
        };
        let place = usize::try_from(last.index.previous().0).ok()?;
        if self.hashes.len() <= place {
            self.hashes.resize(place + 1, None);
        }
        let here = self.hashes.get_mut(place)?;
        let (hash, first, record) = *here.get_or_insert((*state_hash, node, fact.record.number));
        if hash == *state_hash {
            return None;
        }
        let name = |node: Option<NodeId>| node.map_or_else(|| "the backup".to_owned(), |node| node.to_string());
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
    fn equal_states_at_equal_indices_are_silent() {
        let mut script = Script::legal();
        script.apply(1, vec![founding(), noop(2, 2)], 7);
        script.apply(2, vec![founding()], 6);
        script.apply(2, vec![noop(2, 2)], 7);
        assert_silent(StateEqual::default(), &script);
    }
}
