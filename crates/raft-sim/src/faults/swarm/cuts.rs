//! Links that are cut at random: between groups, in one direction, around the leader.

use super::SwarmEvent;
use crate::faults::Fault;
use crate::steps::list;
use crate::world::network::{Link, links_across, links_between};
use crate::world::{Event, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    /// Only nodes of one group talk.
    pub(crate) fn partition_some(&mut self, n: u64, length: Duration) {
        let groups = self.drawn_groups(n);
        let labels: Vec<String> = groups.iter().map(list).collect();
        let links = links_across(&self.nodes(), &groups);
        self.cut_for(links, Fault::Partition, length, format!("partition {}", labels.join(" | ")));
    }

    /// Nothing passes in one direction.
    pub(crate) fn cut_one_way(&mut self, n: u64, length: Duration) {
        let (from, to) = self.drawn_direction(n);
        let label = format!("cut {} > {}", list(&from), list(&to));
        self.cut_for(links_between(&from, &to), Fault::OneWayCut, length, label);
    }

    fn drawn_groups(&mut self, n: u64) -> Vec<BTreeSet<NodeId>> {
        let count = 2 + self.detail(n, 0).below(2);
        let mut groups = vec![BTreeSet::new(); count as usize];
        for node in self.nodes() {
            let group = self.detail(n, node.0).below(count) as usize;
            if let Some(group) = groups.get_mut(group) {
                group.insert(node);
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// One link, or all links from a node, or all to it.
    fn drawn_direction(&mut self, n: u64) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        let node = self.drawn_node(n);
        let mut others = self.nodes();
        others.remove(&node);
        let (alone, some): (BTreeSet<NodeId>, Vec<NodeId>) = ([node].into(), others.iter().copied().collect());
        match self.detail(n, 1).below(3) {
            0 => (alone, others),
            1 => (others, alone),
            _ => (alone, self.detail(n, 2).pick(&some).into_iter().collect()),
        }
    }

    pub(crate) fn isolate_leader(&mut self, n: u64, length: Duration) {
        let Some(leader) = self.leader() else { return };
        let mut others = self.nodes();
        others.remove(&leader);
        let leader = BTreeSet::from([leader]);
        let (out, back) = (links_between(&leader, &others), links_between(&others, &leader));
        let label = format!("isolate leader {}", list(&leader));
        let (links, label) = match self.detail(n, 0).below(4) {
            0 => (out, format!("{label}: nothing leaves")),
            1 => (back, format!("{label}: nothing arrives")),
            _ => (out.union(&back).copied().collect(), label),
        };
        self.cut_for(links, Fault::IsolateLeader, length, label);
    }

    fn cut_for(&mut self, links: BTreeSet<Link>, fault: Fault, length: Duration, label: String) {
        self.emit_fault(label);
        self.fault_counts.inject(fault);
        let cut = self.network.cut(links, fault);
        self.plan_after(length, Event::Swarm(SwarmEvent::Mend(cut)));
    }
}
