//! A snapshot never moves a node's state backwards. Each is newer than the one it replaces, across restarts too, and if
//! the log holds the snapshot's last entry, no entry after it is removed (Raft §7).
//!
//! It is the first to catch: an old snapshot that arrives late and is installed, an acknowledged suffix that is
//! dropped, a state machine that moves backwards. `monotone` and `acknowledged_survives` back it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::InstallMode;

const NAME: &str = "snapshot_forward";

#[derive(Clone)]
pub(super) struct SnapshotForward;

impl Property for SnapshotForward {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        let id = node.id;
        let message = match &fact.record.kind {
            RecordKind::Asked { write } => {
                let taken = write.snapshot.as_ref()?;
                let (last, before) = (taken.meta.last, fact.change.edit.replaced?);
                let commit = node.previous.map(|seen| seen.commit).unwrap_or_default();
                if last.index <= before.index {
                    format!("{id} replaces its snapshot at {before} by an older one at {last}")
                } else if fact.change.edit.replaced_in_vain {
                    format!("{id} discards its log for the snapshot at {last}, although its log holds that entry")
                } else if taken.log == InstallMode::Discard && last.index <= commit {
                    format!(
                        "{id} discards its log for the snapshot at {last}, although it has committed up to {commit}"
                    )
                } else {
                    return None;
                }
            }
            RecordKind::Restored { meta, .. } if meta.last.index < fact.change.restored_from => {
                let from = fact.change.restored_from;
                format!("{id} moves its state machine backwards from {from} to the snapshot at {}", meta.last)
            }
            RecordKind::Started { .. } => {
                let before = fact.change.recovery?.snapshot_before;
                let now = node.durable.snapshot_id();
                if now.index >= before.index {
                    return None;
                }
                format!("{id} restarts with the snapshot at {now}; expected the durable one at {before}")
            }
            _ => return None,
        };
        Some(fact.contradicts(NAME, node.asked.min(fact.record.number), message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use raft_core::{EntryId, LogIndex};

    /// n1 has applied and saved up to 2@2.
    fn taken() -> Script {
        let mut script = Script::legal();
        script.save(2, &meta(2, 2));
        script.ask_snapshot(2, meta(2, 2), InstallMode::Keep);
        script.sync(2);
        script
    }

    #[test]
    fn an_older_snapshot_fires() {
        for fate in [InstallMode::Keep, InstallMode::Discard] {
            let mut script = taken();
            script.ask_snapshot(2, meta(1, 1), fate);
            assert_fires(SnapshotForward, NAME, &script, "n2 replaces its snapshot at 2@2 by an older one at 1@1");
        }
    }

    #[test]
    fn a_suffix_dropped_fires() {
        let mut script = taken();
        script.step(2, |view| view.last = EntryId::new(3, 3));
        script.ask_snapshot(2, meta(3, 3), InstallMode::Discard);
        assert_fires(SnapshotForward, NAME, &script, "although its log holds that entry");
    }

    #[test]
    fn a_state_machine_set_back_fires() {
        let mut script = taken();
        script.apply(2, vec![founding(), noop(2, 2), noop(3, 3)], 7);
        script.push(Some(2), RecordKind::Restored { meta: meta(2, 2), state_hash: 7 });
        let words = "n2 moves its state machine backwards from 3 to the snapshot at 2@2";
        assert_fires(SnapshotForward, NAME, &script, words);
    }

    #[test]
    fn a_restart_without_it_fires() {
        let mut script = taken();
        script.crash(2, CrashKind::PowerLoss);
        script.start(2, 3, Some(2), vec![founding(), noop(2, 2), noop(3, 3)]);
        let words = "n2 restarts with the snapshot at 0@0; expected the durable one at 2@2";
        assert_fires(SnapshotForward, NAME, &script, words);
    }

    #[test]
    fn newer_ones_and_one_for_a_log_that_is_behind_are_silent() {
        let mut script = taken();
        script.save(2, &meta(3, 3));
        script.ask_snapshot(2, meta(3, 3), InstallMode::Keep);
        script.step(1, |view| {
            (view.term, view.last, view.commit) = (raft_core::Term(3), EntryId::new(3, 3), LogIndex(3));
        });
        script.ask_snapshot(1, meta(3, 3), InstallMode::Discard);
        script.sync(1);
        script.push(Some(1), RecordKind::Restored { meta: meta(3, 3), state_hash: 7 });
        assert_silent(SnapshotForward, &script);
    }
}
