//! Links that lose one kind of message: appends with entries to one node are lost while heartbeats arrive, or votes, or
//! the answers of one node.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::only;
use crate::faults::{Fault, list};
use crate::scenario::model::{StepAction, Targets};
use crate::scenario::names::MESSAGE_KINDS;
use crate::world::World;
use crate::world::network::links_between;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    pub(crate) fn drop_step(
        &mut self,
        kind: &str,
        from: &BTreeSet<NodeId>,
        to: &BTreeSet<NodeId>,
        lasts: Option<Duration>,
    ) {
        self.emit_fault(format!("drop {kind} {} > {}", list(from), list(to)));
        self.fault_counts.inject(Fault::DropKind);
        let rule = self.network.drop_kind(kind.to_owned(), links_between(from, to), Fault::DropKind);
        self.ends_after(lasts, FaultEnd::Mend(rule));
    }

    /// Loses one kind of message: all of a node, all to a node, on one link, or everywhere.
    pub(crate) fn swarm_drop_kind(&mut self, n: u64, length: Duration) {
        let kind = self.detail(n, 1).pick(&MESSAGE_KINDS).unwrap_or(MESSAGE_KINDS[0]);
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 2).chance_ppm(400_000)).unwrap_or(drawn);
        let some: Vec<NodeId> = self.nodes().into_iter().filter(|other| *other != node).collect();
        let other = Targets::Nodes(self.detail(n, 3).pick(&some).into_iter().collect());
        let (from, to) = match self.detail(n, 4).below(5) {
            0 => (Targets::All, Targets::All),
            1 => (only(node), other),
            2 => (other, only(node)),
            3 => (only(node), Targets::All),
            _ => (Targets::All, only(node)),
        };
        self.strike(StepAction::Drop { kind: kind.to_owned(), from, to }, Some(length));
    }
}
