//! Properties of whole calls: what a node did in a call is known once all records of the call are.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{Record, RecordKind};
use raft_core::NodeId;
use std::collections::BTreeMap;

/// What a property remembers of a process, from its start to its end.
pub(super) trait Process: Clone + Default + Send + Sync + 'static {
    /// Begins a call with its first record. All records of a call have one view.
    fn begin(&mut self, record: &Record);

    /// Handles a record of the call, the first one too.
    fn observe(&mut self, node: NodeId, fact: &Fact<'_>) -> Option<Violation>;

    /// The violation of the newest call, all of whose records are known.
    fn end(&self, ghost: &Ghost, node: NodeId) -> Option<Violation>;
}

/// The property of all processes. Each has the number of its newest call.
#[derive(Clone, Default)]
pub(super) struct PerCall<P> {
    processes: BTreeMap<NodeId, (u64, P)>,
}

impl<P: Process> Property for PerCall<P> {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        if let RecordKind::Started { .. } | RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. } = record.kind
        {
            self.processes.remove(&node);
            return None;
        }
        if record.call == 0 {
            return None;
        }
        let (call, process) = self.processes.entry(node).or_default();
        if *call != record.call {
            if let Some(violation) = process.end(ghost, node) {
                return Some(violation);
            }
            *call = record.call;
            process.begin(record);
        }
        process.observe(node, fact)
    }

    fn finish(&mut self, ghost: &Ghost) -> Option<Violation> {
        self.processes.iter().find_map(|(node, (_, process))| process.end(ghost, *node))
    }
}
