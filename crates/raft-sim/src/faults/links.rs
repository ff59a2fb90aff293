//! Links that are unreliable, and links that are cut: between groups, in one direction, around the leader.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::only;
use crate::faults::{Fault, list};
use crate::rng::{Draw, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::{Links, NetworkModel, OneWay, StepAction, Targets};
use crate::world::World;
use crate::world::network::{CLIENTS, CutId, Link, links_across, links_between};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

const INTENSITY: Site = Site::new("swarm intensity");

/// The steps of a scenario.
impl World {
    /// Cuts links until the next partition or healing.
    pub(crate) fn partition_step(&mut self, groups: &[BTreeSet<NodeId>], lasts: Option<Duration>) {
        self.emit_fault(format!("partition {}", list_groups(groups)));
        // One that ends by itself replaces no other.
        if let Some(partition) = self.script.partition.take_if(|_| lasts.is_none()) {
            self.network.mend(partition);
        }
        let links = links_across(&self.nodes(), groups);
        let partition = self.cut(links, Fault::Partition, lasts);
        if lasts.is_none() {
            self.script.partition = Some(partition);
        }
    }

    pub(crate) fn cut_step(
        &mut self,
        links: &Links,
        from: &BTreeSet<NodeId>,
        to: &BTreeSet<NodeId>,
        lasts: Option<Duration>,
    ) {
        let Links { from: senders, to: receivers, one_way } = links;
        let names_leader = matches!(senders, Targets::Leader) || matches!(receivers, Targets::Leader);
        let fault = match (names_leader, *one_way) {
            (true, _) => Fault::IsolateLeader,
            (false, true) => Fault::OneWayCut,
            (false, false) => Fault::Partition,
        };
        self.emit_fault(format!("cut {} {} {}", list(from), if *one_way { ">" } else { "-" }, list(to)));
        let mut links = links_between(from, to);
        if !one_way {
            links.extend(links_between(to, from));
        }
        self.cut(links, fault, lasts);
    }

    pub(crate) fn cut_clients_step(&mut self, nodes: &BTreeSet<NodeId>, only: Option<OneWay>, lasts: Option<Duration>) {
        let clients = BTreeSet::from([CLIENTS]);
        let (requests, replies) = (links_between(&clients, nodes), links_between(nodes, &clients));
        let nodes = list(nodes);
        let (links, label) = match only {
            Some(OneWay::Requests) => (requests, format!("cut clients > {nodes}")),
            Some(OneWay::Replies) => (replies, format!("cut {nodes} > clients")),
            None => (requests.union(&replies).copied().collect(), format!("cut clients - {nodes}")),
        };
        self.emit_fault(label);
        self.cut(links, Fault::ClientCut, lasts);
    }

    /// Counts the fault, and cuts the links.
    pub(crate) fn cut(&mut self, links: BTreeSet<Link>, fault: Fault, lasts: Option<Duration>) -> CutId {
        self.fault_counts.inject(fault);
        let cut = self.network.cut(links, fault);
        self.ends_after(lasts, FaultEnd::Mend(cut));
        cut
    }
}

/// The draws of a swarm.
impl World {
    /// The links of a run with an unreliable network; the intensity is drawn once.
    pub(crate) fn swarm_network(&mut self, chosen: &BTreeSet<Feature>, timeout: Duration) -> NetworkModel {
        let mut model = self.scenario.network.clone();
        let mut draw = |feature: Feature, n| self.choices.draw(INTENSITY, feature as u64, n);
        // Small intensities matter as much as great ones, so it draws the magnitude first.
        let mut ppm = |feature, present: u32| {
            let most = [10_000, 50_000, 200_000][draw(feature, 0).below(3) as usize];
            present.max(u32::try_from(1 + draw(feature, 1).below(most)).unwrap_or(u32::MAX))
        };
        if chosen.contains(&Feature::Loss) {
            model.loss_ppm = ppm(Feature::Loss, model.loss_ppm);
        }
        if chosen.contains(&Feature::Duplicate) {
            model.duplicate_ppm = ppm(Feature::Duplicate, model.duplicate_ppm);
        }
        if chosen.contains(&Feature::Reorder) {
            model.reorder_ppm = ppm(Feature::Reorder, model.reorder_ppm);
        }
        let late = |draw: Draw| Duration::ZERO..draw.in_range(&(model.delay.end..timeout.saturating_mul(3)));
        if chosen.contains(&Feature::Duplicate) {
            model.duplicate_delay = late(draw(Feature::Duplicate, 2));
        }
        if chosen.contains(&Feature::Reorder) {
            model.reorder_delay = late(draw(Feature::Reorder, 2));
        }
        if chosen.contains(&Feature::Unreachable) {
            model.unreachable_ppm = [10_000, 200_000, 1_000_000][draw(Feature::Unreachable, 0).below(3) as usize];
        }
        if chosen.contains(&Feature::Snapshots) {
            let loss = [0, 50_000, 300_000][draw(Feature::Snapshots, 0).below(3) as usize];
            model.snapshot_loss_ppm = if self.scenario.is_without(Fault::SnapshotLost) { 0 } else { loss };
            model.snapshot_transfer = late(draw(Feature::Snapshots, 1));
        }
        self.swarm_speeds(chosen, timeout, &mut model);
        model
    }

    /// Makes only nodes of one group reach each other.
    pub(crate) fn swarm_partition(&mut self, n: u64, length: Duration) {
        let count = 2 + self.detail(n, 0).below(2);
        let mut groups = vec![BTreeSet::new(); count as usize];
        for node in self.nodes() {
            let group = self.detail(n, node.0).below(count) as usize;
            if let Some(group) = groups.get_mut(group) {
                group.insert(node);
            }
        }
        groups.retain(|group| !group.is_empty());
        self.strike(StepAction::Partition { groups }, Some(length));
    }

    /// Blocks one direction: on one link, or on all links from a node, or on all links to it.
    pub(crate) fn swarm_one_way_cut(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|other| *other != node).collect();
        let (from, to) = match self.detail(n, 1).below(3) {
            0 => (only(node), Targets::All),
            1 => (Targets::All, only(node)),
            _ => (only(node), Targets::Nodes(self.detail(n, 2).pick(&others).into_iter().collect())),
        };
        self.strike(StepAction::Cut { links: vec![Links { from, to, one_way: true }] }, Some(length));
    }

    pub(crate) fn swarm_isolate_leader(&mut self, n: u64, length: Duration) {
        if self.leader().is_none() {
            return;
        }
        let (from, to, one_way) = match self.detail(n, 0).below(4) {
            0 => (Targets::Leader, Targets::All, true),
            1 => (Targets::All, Targets::Leader, true),
            _ => (Targets::Leader, Targets::All, false),
        };
        self.strike(StepAction::Cut { links: vec![Links { from, to, one_way }] }, Some(length));
    }

    /// Clients do not reach a node, mostly the leader: their requests are lost, or the replies, or both.
    pub(crate) fn swarm_cut_clients(&mut self, n: u64, length: Duration) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(700_000)).unwrap_or(drawn);
        let only_one = match self.detail(n, 2).below(4) {
            0 => Some(OneWay::Requests),
            1 => Some(OneWay::Replies),
            _ => None,
        };
        self.strike(StepAction::CutClients { nodes: only(node), only: only_one }, Some(length));
    }

    /// All links from a node, and all links to it.
    pub(crate) fn links_of(&self, node: NodeId) -> (BTreeSet<Link>, BTreeSet<Link>) {
        let (alone, all) = (BTreeSet::from([node]), self.nodes());
        (links_between(&alone, &all), links_between(&all, &alone))
    }
}

fn list_groups(groups: &[BTreeSet<NodeId>]) -> String {
    groups.iter().map(list).collect::<Vec<_>>().join(" | ")
}
