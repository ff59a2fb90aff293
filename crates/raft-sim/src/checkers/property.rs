//! A checker: a property of a run, its view of each record, and the violation that it finds.

use super::ghost::node::{Node, Seen};
use super::ghost::{Change, Ghost};
use crate::record::{Record, SimTime};
use raft_check::history::Operation;
use raft_core::{LogIndex, NodeId};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the property, which is the name of its file: `election_safety`.
    pub property: &'static str,
    /// The contradiction, in one sentence with the numbers.
    pub message: String,
    /// The numbers of the records that show the facts, oldest first; empty if a whole history is the cause.
    pub facts: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub at: SimTime,
    pub history: &'a [Operation],
    /// The end of all disturbance, if there was one.
    pub healed: Option<&'a Healed>,
}

/// The end of all disturbance among some nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    pub at: SimTime,
    /// The nodes: at least a majority; the others may stay down or isolated.
    pub nodes: BTreeSet<NodeId>,
}

pub(super) trait Property: Send + Sync + DynClone {
    /// Checks the current record. The ghost already contains it.
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation>;

    /// The property for a cluster that is made from this one, with its committed log up to `kept`. `None`: it begins anew.
    fn carried_over(&self, _kept: LogIndex) -> Option<Box<dyn Property>> {
        None
    }

    /// Checks conditions that only the end of a run shows.
    fn finish(&mut self, _ghost: &Ghost) -> Option<Violation> {
        None
    }
}

/// A copy of a property, with its state.
pub(super) trait DynClone {
    fn boxed_clone(&self) -> Box<dyn Property>;
}

impl<T: Property + Clone + 'static> DynClone for T {
    fn boxed_clone(&self) -> Box<dyn Property> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Property> {
    fn clone(&self) -> Self {
        self.as_ref().boxed_clone()
    }
}

/// The current record, and its changes.
pub(super) struct Fact<'a> {
    pub(super) record: &'a Record,
    /// The node of the record, in its state after it.
    pub(super) node: Option<&'a Node>,
    pub(super) change: Change,
}

impl<'a> Fact<'a> {
    /// The node and its view, if the view is new with this record.
    pub(super) fn new_view(&self) -> Option<(&'a Node, &'a Seen)> {
        let node = self.node.filter(|_| self.change.new_view)?;
        Some((node, node.view.as_ref()?))
    }

    /// The violation that this record completes; the record `earlier` shows the other fact.
    pub(super) fn contradicts(&self, property: &'static str, earlier: u64, message: String) -> Violation {
        let mut facts = vec![earlier, self.record.number];
        facts.dedup();
        Violation { property, message, facts }
    }
}
