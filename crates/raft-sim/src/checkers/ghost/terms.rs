//! The events of each term: its leader, its candidates, its votes, and its leader's log.

use super::Committed;
use super::log::{Chain, Log, Slot};
use raft_core::{Entries, LogIndex, NodeId};

#[derive(Clone, Debug, Default)]
pub(crate) struct TermGhost {
    /// The term's first leader, and the record that showed it.
    pub(crate) leader: Option<(NodeId, u64)>,
    /// The leader's log while it led. It only grows (Raft §5.3, Leader Append-Only).
    pub(crate) log: TermLog,
    pub(crate) candidates: Vec<NodeId>,
    /// The votes: who granted, to whom, and the record.
    pub(crate) grants: Vec<(NodeId, NodeId, u64)>,
}

/// A leader's log in its term. The entries that were committed when the leader was elected are not copied: `committed`
/// never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TermLog {
    shared: u64,
    tail: Vec<Chain>,
}

impl TermLog {
    pub(crate) fn of(log: &Log, committed: &[Committed]) -> Self {
        let common = LogIndex(log.len().min(committed.len() as u64));
        let is_common = committed_chain(committed, common) == log.chain_at(common);
        let shared = if is_common { common.0 } else { 0 };
        Self { shared, tail: log.after(LogIndex(shared)).iter().map(|slot| slot.chain).collect() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.shared + self.tail.len() as u64
    }

    pub(crate) fn chain_at(&self, index: LogIndex, committed: &[Committed]) -> Option<Chain> {
        match index.0.checked_sub(self.shared + 1) {
            None => committed_chain(committed, index),
            Some(place) => self.tail.get(usize::try_from(place).ok()?).copied(),
        }
    }

    /// Notes entries that the leader wrote. Returns the first one that differs from its earlier entry at that index.
    pub(crate) fn asked(&mut self, slots: &[Slot], committed: &[Committed]) -> Option<Slot> {
        for slot in slots {
            if slot.id.index.0 == self.len() + 1 {
                self.tail.push(slot.chain);
            } else if self.chain_at(slot.id.index, committed) != Some(slot.chain) {
                return Some(*slot);
            }
        }
        None
    }

    /// Notes entries that the leader sent. A crash between the sending and the writing leaves no other trace of them.
    pub(crate) fn sent(&mut self, entries: &Entries, committed: &[Committed]) {
        let Some(last) = entries.last_id().filter(|last| last.index.0 > self.len()) else { return };
        for entry in entries.between(LogIndex(self.len() + 1), last.index).iter() {
            let Some(chain) = self.chain_at(LogIndex(self.len()), committed) else { return };
            if entry.id.index.0 == self.len() + 1 {
                self.tail.push(chain.then(entry));
            }
        }
    }
}

/// The chain of the committed log up to `index`.
pub(crate) fn committed_chain(committed: &[Committed], index: LogIndex) -> Option<Chain> {
    match index.0.checked_sub(1) {
        None => Some(Chain::ROOT),
        Some(place) => committed.get(usize::try_from(place).ok()?).map(|entry| entry.chain),
    }
}
