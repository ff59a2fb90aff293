//! The model at the beginning of a cluster that was made from old data: the part of the committed log that the new cluster
//! has, and nothing of its nodes. A restored log begins after a gap, which counts as committed no-ops.

use super::log::Chain;
use super::node::Node;
use super::{AppliedEntry, Change, Committed, Ghost};
use crate::record::{Record, RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{Entries, Entry, EntryId, LogIndex, NodeId, Payload, SnapshotMeta};
use std::collections::BTreeMap;

/// The author of what no node has written.
const NOBODY: NodeId = NodeId(0);

impl Ghost {
    /// Folds a `NewCluster` record. Returns the last entry of the old committed log that the new cluster has.
    pub(crate) fn begin_anew(&mut self, scenario: &Scenario, record: &Record) -> (LogIndex, Change) {
        let RecordKind::NewCluster { saved, term, snapshot, entries, state_hash } = &record.kind else {
            return (LogIndex(0), Change::default());
        };
        let longest = self.nodes.iter().map(|node| node.log.len()).max().unwrap_or(0);
        let used_before = LogIndex(longest.max(self.committed.len() as u64));
        let is_restored = state_hash.is_some();
        let kept = if is_restored { saved.index } else { self.agrees_up_to(snapshot.as_ref(), entries) };
        let count = usize::try_from(kept.0).unwrap_or(usize::MAX);
        self.committed.truncate(count);
        self.applied.truncate(count);
        self.decided.retain(|(at, _)| at.index <= kept);
        if let Some(meta) = snapshot.as_ref().filter(|_| is_restored) {
            self.pad(meta.last, record);
            self.decided.push((meta.configured_at, meta.configuration.clone()));
        }
        // Every leader of the new cluster must have all of it, and none of it is a new commit.
        let before = SimTime(record.at.0.saturating_sub(1));
        for committed in &mut self.committed {
            (committed.in_term, committed.at) = (committed.in_term.min(*term), committed.at.min(before));
        }
        for node in &mut self.nodes {
            let fresh = Node::new(node.id, &scenario.raft);
            let old = std::mem::replace(node, fresh);
            (node.limits, node.priority) = (old.limits, old.priority);
        }
        (self.terms, self.highest_term) = (BTreeMap::new(), *term);
        let (committed_before, decided_before) = (self.committed.len(), self.decided.len());
        (kept, Change { committed_before, decided_before, is_anew: true, used_before, ..Change::default() })
    }

    /// The last index up to which the committed log is that of this snapshot and these entries.
    fn agrees_up_to(&self, snapshot: Option<&SnapshotMeta>, entries: &Entries) -> LogIndex {
        let covered = snapshot.map(|snapshot| snapshot.last.index).unwrap_or_default();
        let mut kept = covered.min(LogIndex(self.committed.len() as u64));
        for entry in entries.iter().filter(|entry| entry.id.index > covered) {
            let chain = self.committed_chain(kept).map(|chain| chain.then(entry));
            if chain.is_none() || self.committed_at(entry.id.index).map(|committed| committed.chain) != chain {
                break;
            }
            kept = entry.id.index;
        }
        kept
    }

    /// Extends the log with no-ops up to this entry.
    fn pad(&mut self, last: EntryId, record: &Record) {
        let mut chain = self.committed.last().map_or(Chain::ROOT, |committed| committed.chain);
        for index in self.committed.len() as u64 + 1..=last.index.0 {
            let entry = Entry { id: EntryId { index: LogIndex(index), term: last.term }, payload: Payload::Noop };
            chain = chain.then(&entry);
            let (id, at, record) = (entry.id, record.at, record.number);
            self.committed.push(Committed { id, chain, in_term: last.term, by: NOBODY, record, at });
            self.applied.push(AppliedEntry { entry, chain, by: NOBODY, record });
        }
    }
}
