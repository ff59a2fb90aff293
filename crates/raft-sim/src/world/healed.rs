//! The time from which some nodes are undisturbed, and these nodes: the liveness checker starts from there.

use super::{Healed, World};
use crate::world::disk::SimDisk;
use crate::world::host::Host;
use raft_core::NodeId;
use std::collections::BTreeSet;

impl World {
    /// The largest set of members that are up and reach each other both ways at full speed, if it is a quorum of every
    /// configuration that may be in force. The others may stay down or isolated: Raft promises progress to any majority
    /// (Raft §2).
    pub fn healed(&self) -> Option<Healed> {
        if let Some(swarm) = &self.swarm {
            return swarm.healed.clone();
        }
        if self.network.is_scripted() {
            return None;
        }
        let fit = |node: &NodeId| {
            let undisturbed =
                |host: &Host| host.slow.is_none() && !host.is_armed() && !host.paused && host.clock.is_true();
            let well = |host: &Host| {
                let has_errors = host.disk_to_see().is_some_and(SimDisk::has_errors);
                host.process.is_some() && undisturbed(host) && !has_errors
            };
            self.hosts.get(node).is_some_and(|host| well(host))
        };
        let mut nodes: BTreeSet<NodeId> = self.configurations.members().into_iter().filter(fit).collect();
        let broken = self.network.broken_links();
        loop {
            let among = |node: NodeId| {
                let of_node = |&&(from, to): &&(NodeId, NodeId)| from == node || to == node;
                broken.iter().filter(of_node).filter(|(from, to)| nodes.contains(from) && nodes.contains(to)).count()
            };
            // It removes the node with the most broken links first; of equals the one with the lowest number.
            let worst =
                nodes.iter().map(|&node| (among(node), node)).max_by_key(|&(count, node)| (count, u64::MAX - node.0));
            match worst {
                Some((count, node)) if count > 0 => nodes.remove(&node),
                _ => break,
            };
        }
        self.configurations.have_quorum(&nodes).then_some(Healed { at: self.disturbed, nodes })
    }
}
