//! The end of all faults among a majority, for good; the minority keeps what it has, or worse.

use crate::faults::Fault;
use crate::record::CrashKind;
use crate::rng::Site;
use crate::scenario::model::Keep;
use crate::steps::list;
use crate::world::network::links_between;
use crate::world::{Healed, World};
use raft_core::NodeId;
use std::collections::BTreeSet;

const HEAL: Site = Site::new("swarm heal");

impl World {
    /// Ends all faults of a drawn majority for good and keeps the minority out. A majority is one of every configuration
    /// that may be in force, and its disks are sound; nobody asks for another any more.
    pub(crate) fn heal_majority(&mut self) {
        let mut order: Vec<(u64, NodeId)> =
            self.nodes().into_iter().map(|node| (self.choices.draw(HEAL, node.0, 0).bits(), node)).collect();
        order.sort_unstable();
        self.dismiss_operator();
        let (mut majority, mut minority) = (BTreeSet::new(), self.nodes());
        for (_, node) in order {
            let broken = self.swarm.as_ref().is_some_and(|swarm| swarm.broken.contains(node));
            if !broken && !self.configurations.have_quorum(&majority) {
                majority.insert(node);
                minority.remove(&node);
            }
        }
        self.emit_fault(format!("heal {} for good", list(&majority)));
        self.network.heal_among(&majority);
        for &node in &majority {
            if let Some(host) = self.hosts.get_mut(&node) {
                host.slow = None;
                host.disarm();
            }
            self.clear_errors(node);
            self.set_drift(node, 0);
            self.resume(node);
            self.start(node);
        }
        for &node in &minority {
            self.keep_out(node);
        }
        let healed = Healed { at: self.now, nodes: majority };
        if let Some(swarm) = &mut self.swarm {
            swarm.healed = Some(healed);
        }
    }

    /// A node of the minority goes down or is cut off. Half connected it could lead with one node of the majority as its
    /// bridge: legal, but then the majority's progress is not the majority's own (Howard and Abraham 2020).
    fn keep_out(&mut self, node: NodeId) {
        let raft = &self.scenario.raft;
        // Who is heard and hears nothing must find nobody who listens (Thesis §4.2.3, §6.2, §9.6).
        let robust = raft.pre_vote && raft.check_quorum && raft.stickiness;
        let (alone, all) = (BTreeSet::from([node]), self.nodes());
        let (out, back) = (links_between(&alone, &all), links_between(&all, &alone));
        let (links, fault, how) = match self.choices.draw(HEAL, node.0, 1).below(if robust { 4 } else { 3 }) {
            0 => {
                self.emit_fault(format!("{node} stays down"));
                self.crash(node, CrashKind::Kill, Keep::Everything);
                return;
            }
            1 => (out.union(&back).copied().collect(), Fault::Partition, "cut off"),
            2 => (out, Fault::OneWayCut, "mute"),
            _ => (back, Fault::OneWayCut, "deaf"),
        };
        self.emit_fault(format!("{node} stays {how}"));
        self.fault_counts.inject(fault);
        self.network.cut(links, fault);
    }
}
