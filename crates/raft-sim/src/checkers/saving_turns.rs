//! A node writes each chunk of its own snapshot in its turn of the log (rule R55), unless it applies nothing for a while, or its log
//! grows faster than it saves. So no majority saves at once without need.
//!
//! It checks scenarios that set `snapshot_turn_entries`, whose members are those of the start. It is the first to catch: a node that
//! saves without turns, or in a turn of another member. It backs up no other checker: the safety of Raft is not violated, but
//! clients wait.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{LogIndex, NodeId};
use raft_node::SnapshotFile;
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "saving_turns";

/// Half of the time after which a node that applies nothing may write: its clock may be fast.
const IDLE: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct SavingTurns {
    /// The entries of a turn; 0: there are no turns.
    entries: u64,
    /// After so many entries since the snapshot began, a node does not wait.
    grown: u64,
    members: u64,
    nodes: BTreeMap<NodeId, Saving>,
}

#[derive(Clone, Default)]
struct Saving {
    applied: LogIndex,
    applied_at: SimTime,
    /// The last entry of the snapshot that is being saved.
    began: LogIndex,
    /// The record of the chunk before; `None` until the first one is written.
    chunk: Option<u64>,
    /// Whether the node was allowed to write at some time since then.
    allowed: bool,
}

impl SavingTurns {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let raft = &scenario.raft;
        let (entries, grown) = (raft.snapshot_turn_entries, raft.snapshot_after_entries.max(1));
        Self { entries, grown, members: scenario.nodes, nodes: BTreeMap::new() }
    }
}

impl Property for SavingTurns {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node.filter(|_| self.entries > 0)?;
        let (id, record) = (node.id, fact.record);
        let saving = self.nodes.entry(id).or_default();
        let is_idle = record.at.since(saving.applied_at) >= IDLE;
        let applied = node.view.as_ref().map_or(saving.applied, |view| view.applied);
        if applied != saving.applied {
            (saving.applied, saving.applied_at) = (applied, record.at);
        }
        let is_turn = applied.0 / self.entries % self.members + 1 == id.0;
        let has_grown = applied.0.saturating_sub(saving.began.0) >= self.grown;
        let may_write = is_idle || is_turn || has_grown;
        // By a clock that has jumped it may have applied nothing for a while.
        saving.allowed |= may_write || matches!(record.kind, RecordKind::ClockJumped { .. });
        match &record.kind {
            RecordKind::SnapshotTaken { meta } => {
                (saving.began, saving.chunk) = (meta.last.index, None);
                None
            }
            RecordKind::SnapshotGrown { file: SnapshotFile::Own, .. } | RecordKind::SnapshotSaved { .. } => {
                let was_allowed = std::mem::replace(&mut saving.allowed, may_write);
                let earlier = saving.chunk.replace(record.number).filter(|_| !was_allowed)?;
                let message = format!(
                    "{id} writes two chunks of its snapshot at {} while it applies {applied}: expected the second in its turn",
                    saving.began
                );
                Some(fact.contradicts(NAME, earlier, message))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    /// n1 has applied 2@2, and a turn has so many entries.
    fn check(entries: u64, grown: u64) -> (SavingTurns, Script) {
        let mut scenario = scenario();
        (scenario.raft.snapshot_turn_entries, scenario.raft.snapshot_after_entries) = (entries, grown);
        let mut script = Script::led();
        script.step(1, |view| view.applied = LogIndex(2));
        (SavingTurns::new(&scenario), script)
    }

    /// n1 writes two chunks of its snapshot at this entry.
    fn save(script: &mut Script, (index, term): (u64, u64)) {
        script.push(Some(1), RecordKind::SnapshotTaken { meta: meta(index, term) });
        for end in [10, 20] {
            let (file, last) = (SnapshotFile::Own, meta(index, term).last);
            script.push(Some(1), RecordKind::SnapshotGrown { file, last, end });
        }
    }

    #[test]
    fn a_second_chunk_in_a_turn_of_another_member_fires() {
        let (property, mut script) = check(1, 9);
        save(&mut script, (2, 2));
        assert_fires(property, NAME, &script, "n1 writes two chunks of its snapshot at 2 while it applies 2");
    }

    #[test]
    fn its_own_turn_a_log_that_grows_and_no_turns_are_silent() {
        for (entries, grown, last) in [(9, 9, (2, 2)), (1, 1, (1, 1)), (0, 9, (2, 2))] {
            let (property, mut script) = check(entries, grown);
            save(&mut script, last);
            assert_silent(property, &script);
        }
    }
}
