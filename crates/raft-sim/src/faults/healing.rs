//! The end of faults: a step that ends them all, and a swarm's healing of a majority for good.

use crate::faults::{Fault, list};
use crate::record::CrashKind;
use crate::rng::Site;
use crate::scenario::model::Keep;
use crate::world::network::CLIENTS;
use crate::world::{Healed, World};
use raft_core::NodeId;
use std::collections::BTreeSet;

const HEAL: Site = Site::new("swarm heal");

impl World {
    pub(crate) fn heal_step(&mut self) {
        self.emit_fault("heal".into());
        self.network.heal();
        self.on_each(&self.nodes(), |world, host| {
            Self::repair_disk(host);
            world.set_drift(host, 0);
            world.resume(host);
        });
    }

    /// Ends all faults of a drawn majority for good and isolates the minority. It is a majority of every configuration
    /// that may be in force, and its disks are sound. The operator requests no other configuration any more.
    pub(crate) fn heal_majority(&mut self) {
        let mut order: Vec<(u64, NodeId)> =
            self.nodes().into_iter().map(|node| (self.choices.draw(HEAL, node.0, 0).bits(), node)).collect();
        order.sort_unstable();
        self.dismiss_operator();
        self.clients.ask_in_turn();
        let (mut majority, mut minority) = (BTreeSet::new(), self.nodes());
        for (_, node) in order {
            let broken = self.swarm.as_ref().is_some_and(|swarm| swarm.broken.contains(node));
            if !broken && !self.configurations.have_quorum(&majority) {
                majority.insert(node);
                minority.remove(&node);
            }
        }
        self.emit_fault(format!("heal {} for good", list(&majority)));
        let mut reached = majority.clone();
        reached.insert(CLIENTS);
        self.network.heal_among(&reached);
        self.on_each(&majority, |world, host| {
            Self::repair_disk(host);
            host.disarm();
            world.set_drift(host, 0);
            world.resume(host);
            world.start(host);
        });
        minority.into_iter().for_each(|node| self.keep_out(node));
        let healed = Healed { at: self.now, nodes: majority };
        if let Some(swarm) = &mut self.swarm {
            swarm.healed = Some(healed);
        }
    }

    /// Stops a node of the minority or isolates it. If it were partly connected, it could lead with one node of the
    /// majority as its bridge. That is legal, but then the majority does not progress by itself (Howard and Abraham
    /// 2020).
    fn keep_out(&mut self, node: NodeId) {
        let raft = &self.scenario.raft;
        // A node that sends and receives nothing must not disturb the others (Thesis §4.2.3, §6.2, §9.6).
        let robust = raft.pre_vote && raft.check_quorum && raft.stickiness;
        let (out, back) = self.links_of(node);
        let (links, fault, how) = match self.choices.draw(HEAL, node.0, 1).below(if robust { 4 } else { 3 }) {
            0 => {
                self.emit_fault(format!("{node} stays down"));
                return self.crash_node(node, CrashKind::Kill, Keep::Everything);
            }
            1 => (out.union(&back).copied().collect(), Fault::Partition, "cut off"),
            2 => (out, Fault::OneWayCut, "mute"),
            _ => (back, Fault::OneWayCut, "deaf"),
        };
        self.emit_fault(format!("{node} stays {how}"));
        self.cut(links, fault, None);
    }
}
