//! The configurations that the cluster may use: the newest decided one, and all later ones that some node has written.
//! Any of them may be in force somewhere, so a decision that must survive needs a quorum of each.

use raft_core::{Configuration, EntryId, NodeId, Payload, Write};
use std::collections::{BTreeMap, BTreeSet};

/// The configurations of a world.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    at: EntryId,
    decided: Configuration,
    later: BTreeMap<EntryId, Configuration>,
}

impl Configurations {
    /// Those of a new cluster, whose founders are in this entry.
    pub(crate) fn new(at: EntryId, founding: Configuration) -> Self {
        Self { at, decided: founding, later: BTreeMap::new() }
    }

    pub(crate) const fn decided(&self) -> &Configuration {
        &self.decided
    }

    /// The entry that carries the decided configuration.
    pub(crate) const fn decided_at(&self) -> EntryId {
        self.at
    }

    /// Whether any of them names this node.
    pub(crate) fn may_name(&self, node: NodeId) -> bool {
        let names = |configuration: &Configuration| configuration.members.contains_key(&node);
        names(&self.decided) || self.later.values().any(names)
    }

    /// Notes a node's write.
    pub(crate) fn asked(&mut self, write: &Write) {
        for entry in write.entries.iter().filter(|entry| entry.id.index > self.at.index) {
            if let Payload::Configuration(configuration) = &entry.payload {
                self.later.insert(entry.id, configuration.clone());
            }
        }
    }

    /// Notes that a node reports a configuration as committed.
    pub(crate) fn committed(&mut self, at: EntryId, configuration: &Configuration) {
        if at.index > self.at.index {
            (self.at, self.decided) = (at, configuration.clone());
            self.later.retain(|later, _| later.index > at.index);
        }
    }

    /// Whether these nodes are a quorum of all of them.
    pub(crate) fn have_quorum(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let suffices = |configuration: &Configuration| configuration.has_quorum(|id| nodes.contains(&id));
        suffices(&self.decided) && self.later.values().all(suffices)
    }

    /// The members of the newest decided configuration, once it is no longer joint.
    pub(crate) fn members(&self) -> BTreeSet<NodeId> {
        self.decided.end().members.into_keys().collect()
    }
}
