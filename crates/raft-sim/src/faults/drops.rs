//! Links that lose one kind of message: appends with entries to one node are lost while heartbeats arrive, or votes, or
//! the answers of one node.

use crate::faults::swarm::SwarmEvent;
use crate::faults::{Fault, list};
use crate::scenario::names::MESSAGE_KINDS;
use crate::world::network::links_between;
use crate::world::{Event, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    pub(crate) fn drop_step(&mut self, kind: &str, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) {
        self.emit_fault(format!("drop {kind} {} > {}", list(from), list(to)));
        self.fault_counts.inject(Fault::DropKind);
        self.network.drop_kind(kind.to_owned(), links_between(from, to), Fault::DropKind);
    }

    /// Loses one kind of message: all of a node, all to a node, on one link, or everywhere.
    pub(crate) fn swarm_drop_kind(&mut self, n: u64, length: Duration) {
        let kind = self.detail(n, 1).pick(&MESSAGE_KINDS).unwrap_or(MESSAGE_KINDS[0]);
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 2).chance_ppm(400_000)).unwrap_or(drawn);
        let (alone, all) = (BTreeSet::from([node]), self.nodes());
        let some: Vec<NodeId> = all.iter().copied().filter(|other| *other != node).collect();
        let other: BTreeSet<NodeId> = self.detail(n, 3).pick(&some).into_iter().collect();
        let (from, to) = match self.detail(n, 4).below(5) {
            0 => (all.clone(), all),
            1 => (alone, other),
            2 => (other, alone),
            3 => (alone, all),
            _ => (all, alone),
        };
        self.emit_fault(format!("drop {kind} {} > {}", list(&from), list(&to)));
        self.fault_counts.inject(Fault::DropKind);
        let rule = self.network.drop_kind(kind.to_owned(), links_between(&from, &to), Fault::DropKind);
        self.plan_after(length, Event::Swarm(SwarmEvent::Mend(rule)));
    }
}
