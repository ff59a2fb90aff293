//! The configuration in force: the newest in the log, committed or not, so a truncation restores the one before it
//! (rule R23, Raft §6).

use super::Configuration;
use crate::canonical::canonical;
use crate::id::{EntryId, LogIndex, NodeId, Term};
use alloc::collections::BTreeMap;

/// The configurations in the log, and the one in force at its base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct InForce {
    by_index: BTreeMap<LogIndex, (Term, Configuration)>,
}

impl InForce {
    /// The configuration in force, and the entry that carries it.
    pub(crate) fn newest(&self) -> Option<(EntryId, &Configuration)> {
        self.by_index.last_key_value().map(named)
    }

    /// The newest configuration in entries up to `index`.
    pub(crate) fn as_of(&self, index: LogIndex) -> Option<(EntryId, &Configuration)> {
        self.by_index.range(..=index).next_back().map(named)
    }

    /// The configurations that may yet be in force: the newest up to `commit`, and all after it.
    pub(crate) fn since(&self, commit: LogIndex) -> impl Iterator<Item = &Configuration> {
        let decided = self.as_of(commit).map_or(LogIndex(0), |(at, _)| at.index);
        self.by_index.range(decided..).map(|(_, (_, configuration))| configuration)
    }

    /// The entry since which no configuration names this node, if one that is committed does not: the earliest of them that
    /// the log still has.
    pub(crate) fn ended_membership(&self, id: NodeId, commit: LogIndex) -> Option<EntryId> {
        if self.since(commit).any(|configuration| configuration.members.contains_key(&id)) {
            return None;
        }
        let committed = self.by_index.range(..=commit).rev();
        committed
            .map(named)
            .take_while(|(_, configuration)| !configuration.members.contains_key(&id))
            .last()
            .map(|(at, _)| at)
    }

    /// The configurations in entries `after+1..=up_to`, in order.
    pub(crate) fn between(&self, after: LogIndex, up_to: LogIndex) -> impl Iterator<Item = (EntryId, &Configuration)> {
        self.by_index.range(after.next()..).take_while(move |&(&index, _)| index <= up_to).map(named)
    }

    /// Notes an entry with a configuration.
    pub(crate) fn append(&mut self, at: EntryId, configuration: &Configuration) {
        self.by_index.insert(at.index, (at.term, configuration.clone()));
    }

    /// Drops the configurations from `index` on.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        self.by_index.split_off(&index);
    }

    /// Drops the configurations up to `index`, except the one in force there.
    pub(crate) fn compact(&mut self, index: LogIndex) {
        if let Some((at, _)) = self.as_of(index) {
            self.by_index = self.by_index.split_off(&at.index);
        }
    }
}

/// A configuration and the entry that carries it.
fn named<'a>((&index, (term, configuration)): (&LogIndex, &'a (Term, Configuration))) -> (EntryId, &'a Configuration) {
    (EntryId { term: *term, index }, configuration)
}

canonical!(InForce { by_index });
