//! The metadata of a snapshot is true: it ends in an entry that a leader has committed, and carries the newest
//! configuration up to there, both halves of a joint one (Raft §7, Thesis §5.1).
//!
//! It is the first to catch: the configuration of the log's end in a snapshot of the middle, a snapshot of entries that
//! are not committed. `configuration` and `state_machine_safety` back it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::SnapshotMeta;

const NAME: &str = "snapshot_truthful";

#[derive(Clone)]
pub(super) struct SnapshotTruthful;

impl Property for SnapshotTruthful {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let meta = match &fact.record.kind {
            RecordKind::SnapshotTaken { meta }
            | RecordKind::SnapshotSaved { meta, .. }
            | RecordKind::SnapshotReceived { meta, .. }
            | RecordKind::Restored { meta, .. } => meta,
            RecordKind::Asked { write } => &write.snapshot.as_ref()?.meta,
            RecordKind::Started { snapshot, .. } => snapshot.as_ref()?,
            _ => return None,
        };
        let (message, earlier) = untrue(ghost, meta)?;
        let message = format!("{}: {message}", fact.record.node?);
        Some(fact.contradicts(NAME, earlier.unwrap_or(fact.record.number), message))
    }
}

/// The problem of the metadata, and the record that shows the other fact.
fn untrue(ghost: &Ghost, meta: &SnapshotMeta) -> Option<(String, Option<u64>)> {
    let last = meta.last;
    let committed = match ghost.committed_at(last.index) {
        Some(committed) if committed.id == last => committed,
        Some(other) => {
            let message = format!("a snapshot at {last}, where {} committed {}", other.by, other.id);
            return Some((message, Some(other.record)));
        }
        None => return Some((format!("a snapshot at {last}, which no leader has committed"), None)),
    };
    let in_force = ghost.decided().iter().rev().find(|(at, _)| at.index <= last.index)?;
    let (at, configuration) = (&in_force.0, &in_force.1);
    if (*at, configuration) == (meta.configured_at, &meta.configuration) {
        return None;
    }
    let (claimed, by) = (&meta.configuration, meta.configured_at);
    let message = format!(
        "a snapshot at {last} with {claimed} of {by}; expected {configuration} of {at}, which was in force there"
    );
    Some((message, Some(committed.record)))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Configuration, EntryId, NodeId};

    #[test]
    fn a_snapshot_of_what_is_not_committed_or_of_another_configuration_fires() {
        let mut other = meta(2, 2);
        other.configuration = Configuration::of_voters([NodeId(1), NodeId(2)]);
        let mut elsewhere = meta(2, 2);
        elsewhere.configured_at = EntryId::new(2, 2);
        for (meta, words) in [
            (meta(3, 2), "a snapshot at 3@2, which no leader has committed"),
            (meta(2, 1), "a snapshot at 2@1, where n1 committed 2@2"),
            (other, "expected {n1 n2 n3} of 1@1, which was in force there"),
            (elsewhere, "expected {n1 n2 n3} of 1@1, which was in force there"),
        ] {
            let mut script = Script::led();
            script.push(Some(1), RecordKind::SnapshotTaken { meta });
            assert_fires(SnapshotTruthful, NAME, &script, words);
        }
    }

    #[test]
    fn a_true_one_is_silent() {
        let mut script = Script::legal();
        for meta in [meta(1, 1), meta(2, 2), meta(3, 3)] {
            script.push(Some(1), RecordKind::SnapshotTaken { meta });
        }
        assert_silent(SnapshotTruthful, &script);
    }
}
