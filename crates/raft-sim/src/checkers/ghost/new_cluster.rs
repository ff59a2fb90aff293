//! The model at the beginning of a cluster that was made from old data: the part of the committed log that the new cluster
//! has, and nothing of its nodes. A recovered cluster also has what its node alone had, committed from now on. The log begins after
//! a gap, which counts as committed no-ops.

use super::node::Node;
use super::{Change, Committed, Ghost, ReplicatedState};
use crate::record::{Record, RecordKind, RecoveredLog, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{Entry, EntryId, LogIndex, NodeId, Payload};
use std::collections::BTreeMap;

/// The author of what no node has written.
const NOBODY: NodeId = NodeId(0);

impl Ghost {
    /// Folds a `NewCluster` record. Returns the last entry of the old committed log that the new cluster has.
    pub(crate) fn begin_anew(&mut self, scenario: &Scenario, record: &Record) -> (LogIndex, Change) {
        let RecordKind::NewCluster { saved, recovered, snapshot, .. } = &record.kind else {
            return (LogIndex(0), Change::default());
        };
        let longest = self.nodes.iter().map(|node| node.log.len()).max().unwrap_or(0);
        let used_before = LogIndex(longest.max(self.committed.len() as u64));
        let recovered = recovered.as_deref();
        let kept = recovered.map_or(saved.index, |recovered| self.agrees_up_to(recovered));
        let count = usize::try_from(kept.0).unwrap_or(usize::MAX);
        self.committed.truncate(count);
        let kept_entries = std::mem::take(&mut self.applied).into_iter().take(count);
        self.state = ReplicatedState::new(scenario);
        self.applied = kept_entries.map(|old| self.state.apply(old.entry, old.chain, old.by, old.record)).collect();
        self.decided.retain(|(at, _)| at.index <= kept);
        let log = recovered.into_iter().flat_map(|recovered| recovered.entries.iter());
        log.for_each(|entry| self.add(entry.clone(), record));
        for index in self.committed.len() as u64 + 1..=snapshot.last.index.0 {
            let id = EntryId { index: LogIndex(index), term: snapshot.last.term };
            self.add(Entry { id, payload: Payload::Noop }, record);
        }
        self.decided.push((snapshot.configured_at, snapshot.configuration.clone()));
        // Every leader of the new cluster must have all of it, and none of it is a new commit.
        let before = SimTime(record.at.0.saturating_sub(1));
        for committed in &mut self.committed {
            (committed.in_term, committed.at) = (committed.in_term.min(snapshot.last.term), committed.at.min(before));
        }
        for node in &mut self.nodes {
            let fresh = Node::new(node.id, &scenario.raft);
            let old = std::mem::replace(node, fresh);
            (node.limits, node.priority) = (old.limits, old.priority);
        }
        (self.terms, self.highest_term) = (BTreeMap::new(), snapshot.last.term);
        let (committed_before, decided_before) = (self.committed.len(), self.decided.len());
        (kept, Change { committed_before, decided_before, is_anew: true, used_before, ..Change::default() })
    }

    /// The last index up to which the committed log is that of this folder.
    fn agrees_up_to(&self, recovered: &RecoveredLog) -> LogIndex {
        let covered = recovered.covered.index;
        let mut kept = covered.min(LogIndex(self.committed.len() as u64));
        for entry in recovered.entries.iter().filter(|entry| entry.id.index > covered) {
            let chain = self.committed_chain(kept).map(|chain| chain.then(entry));
            if chain.is_none() || self.committed_at(entry.id.index).map(|committed| committed.chain) != chain {
                break;
            }
            kept = entry.id.index;
        }
        kept
    }

    /// Extends with an entry of nobody the committed log and the applied one, whichever ends before it.
    fn add(&mut self, entry: Entry, record: &Record) {
        let (id, at, record) = (entry.id, record.at, record.number);
        let Some(chain) = self.committed_chain(id.index.previous()).map(|chain| chain.then(&entry)) else { return };
        if id.index.0 == self.committed.len() as u64 + 1 {
            self.committed.push(Committed { id, chain, in_term: id.term, by: NOBODY, record, at });
        }
        if id.index.0 == self.applied.len() as u64 + 1 {
            self.applied.push(self.state.apply(entry, chain, NOBODY, record));
        }
    }
}
