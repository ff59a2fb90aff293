//! A backup contains every command that was acknowledged before it was asked for (R53). It covers a committed log, and its
//! chunks are the whole content of a backup. The log of a new cluster begins after every index that the old cluster has used (R54).
//!
//! It is the first to catch: a backup without a linearizable read, a chunk that is missing or sent twice. `state_equal`
//! compares the state in the backup with that of the nodes.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{EntryId, LogIndex, NodeId, RequestId, SnapshotMeta};
use raft_node::Reply;
use std::collections::BTreeMap;

const NAME: &str = "backup";

#[derive(Clone, Default)]
pub(super) struct Backup {
    acknowledged: Acknowledged,
    /// What was acknowledged when each backup was asked for.
    asked: BTreeMap<RequestId, Acknowledged>,
    /// The record in which each backup began.
    begun: BTreeMap<RequestId, u64>,
}

/// The highest acknowledged index, and the record of its acknowledgement.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    index: LogIndex,
    record: u64,
}

impl Property for Backup {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let number = fact.record.number;
        match &fact.record.kind {
            RecordKind::BackupAsked { id, .. } => {
                self.asked.insert(*id, self.acknowledged);
            }
            RecordKind::Replied { id, reply } => match reply {
                Reply::Applied { entry, .. } => self.acknowledge(entry.index, number),
                Reply::SessionOpened { session } => self.acknowledge(LogIndex(session.0), number),
                Reply::BackupBegun { meta } => {
                    self.begun.insert(*id, number);
                    return self.begins(ghost, fact, *id, meta);
                }
                _ => {}
            },
            RecordKind::NewCluster { saved, snapshot, .. } => {
                return begins_too_early(fact, *saved, snapshot.last);
            }
            RecordKind::BackupFinished { id, node, state_hash: Err(error), .. } => {
                let message = format!("the backup of {node} cannot be read: {error}");
                return Some(fact.contradicts(NAME, self.begun.get(id).copied().unwrap_or(number), message));
            }
            _ => {}
        }
        None
    }
}

impl Backup {
    fn acknowledge(&mut self, index: LogIndex, record: u64) {
        if index > self.acknowledged.index {
            self.acknowledged = Acknowledged { index, record };
        }
    }

    fn begins(&self, ghost: &Ghost, fact: &Fact<'_>, id: RequestId, meta: &SnapshotMeta) -> Option<Violation> {
        let node = fact.record.node.unwrap_or(NodeId(0));
        let before = self.asked.get(&id).copied().unwrap_or_default();
        if meta.last.index < before.index {
            let message = format!(
                "{node} begins a backup at {}; the command of entry {} was acknowledged before it was asked for",
                meta.last, before.index
            );
            return Some(fact.contradicts(NAME, before.record, message));
        }
        let is_committed = ghost.committed_at(meta.last.index).is_some_and(|committed| committed.id == meta.last);
        let message = format!("{node} begins a backup at {}, which no leader has committed", meta.last);
        (!is_committed).then(|| fact.contradicts(NAME, fact.record.number, message))
    }
}

/// Checks that no index of the old cluster is one of the new cluster: indices name sessions (R54).
fn begins_too_early(fact: &Fact<'_>, saved: EntryId, last: EntryId) -> Option<Violation> {
    let used = fact.change.used_before;
    let message = format!("the log made from {saved} begins after {last}; the old cluster has used up to {used}");
    (last.index < used).then(|| fact.contradicts(NAME, fact.record.number, message))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;

    const ID: RequestId = RequestId(500_001);

    fn acknowledge(script: &mut Script, index: u64) {
        let reply = Reply::Applied { entry: EntryId::new(index, 2), response: Bytes::new() };
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
    }

    fn ask(script: &mut Script) {
        script.push(None, RecordKind::BackupAsked { id: ID, node: NodeId(1) });
    }

    fn begin(script: &mut Script, index: u64, term: u64) {
        let reply = Reply::BackupBegun { meta: Box::new(meta(index, term)) };
        script.push(Some(1), RecordKind::Replied { id: ID, reply });
    }

    fn finish(script: &mut Script, state_hash: Result<u128, String>) {
        script.push(None, RecordKind::BackupFinished { id: ID, node: NodeId(1), meta: meta(2, 2), state_hash });
    }

    #[test]
    fn a_backup_without_an_acknowledged_command_fires() {
        let mut script = Script::led();
        acknowledge(&mut script, 2);
        ask(&mut script);
        begin(&mut script, 1, 1);
        let words = "n1 begins a backup at 1@1; the command of entry 2 was acknowledged before";
        assert_fires(Backup::default(), NAME, &script, words);
    }

    #[test]
    fn a_restored_log_that_begins_among_the_indices_of_the_old_cluster_fires() {
        for (index, fires) in [(2, true), (3, false)] {
            let mut script = Script::legal();
            let (snapshot, saved) = (meta(index, 2), EntryId::new(2, 2));
            script
                .push(None, RecordKind::NewCluster { saved, recovered: None, snapshot, state_hash: 7, saved_hash: 7 });
            let mut checkers = super::super::Checkers::new(&scenario());
            let violation = script.records.iter().find_map(|record| checkers.observe(record));
            let words = violation.map(|violation| violation.message).unwrap_or_default();
            assert_eq!(words.contains("begins after 2@2; the old cluster has used up to 3"), fires, "{words}");
        }
    }

    #[test]
    fn what_is_acknowledged_later_may_be_missing() {
        let mut script = Script::led();
        ask(&mut script);
        acknowledge(&mut script, 2);
        begin(&mut script, 1, 1);
        finish(&mut script, Ok(7));
        assert_silent(Backup::default(), &script);
    }

    #[test]
    fn a_backup_of_what_is_not_committed_and_one_that_cannot_be_read_fire() {
        let mut script = Script::led();
        ask(&mut script);
        begin(&mut script, 3, 2);
        assert_fires(Backup::default(), NAME, &script, "at 3@2, which no leader has committed");
        let mut script = Script::led();
        ask(&mut script);
        begin(&mut script, 2, 2);
        finish(&mut script, Err("it is cut".into()));
        assert_fires(Backup::default(), NAME, &script, "the backup of n1 cannot be read: it is cut");
    }
}
