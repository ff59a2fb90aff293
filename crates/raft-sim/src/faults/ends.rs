//! How faults end: a cut is mended, a process resumes or starts again, a disk gets space. Steps with `for` and the faults of a
//! swarm end here. After the healing of a swarm only the healing matters: the minority keeps its faults.

use crate::world::disk::SimDisk;
use crate::world::host::Host;
use crate::world::network::CutId;
use crate::world::{Event, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultEnd {
    Mend(CutId),
    /// A disk becomes fast again.
    Fast(NodeId),
    /// A clock becomes true again.
    ClockRight(NodeId),
    Resume(NodeId),
    Restart(NodeId),
    /// A disk gets space again, and its node starts if it ended for lack of space.
    Space(NodeId),
}

impl World {
    /// Plans the end of a fault of one node, if the fault ends by itself.
    pub(crate) fn ends_after(&mut self, lasts: Option<Duration>, end: FaultEnd) {
        if let Some(lasts) = lasts {
            self.plan_after(lasts, Event::FaultEnds(end));
        }
    }

    /// Plans the end of a fault of each of these nodes, if the fault ends by itself.
    pub(crate) fn each_ends_after(
        &mut self,
        lasts: Option<Duration>,
        nodes: &BTreeSet<NodeId>,
        end: fn(NodeId) -> FaultEnd,
    ) {
        nodes.iter().for_each(|node| self.ends_after(lasts, end(*node)));
    }

    pub(crate) fn fault_ends(&mut self, end: FaultEnd) {
        if self.swarm.as_ref().is_some_and(|swarm| swarm.healed.is_some()) {
            return;
        }
        if self.swarm.is_none() {
            self.disturbed = self.now;
        }
        match end {
            FaultEnd::Mend(cut) => {
                self.emit_fault("mend".into());
                self.network.mend(cut);
            }
            FaultEnd::Fast(node) => {
                self.ends(node, "disk of {} is fast again", |_, host| host.slow = None);
            }
            FaultEnd::ClockRight(node) => {
                self.ends(node, "clock of {} runs true again", |world, host| world.set_drift(host, 0));
            }
            FaultEnd::Resume(node) => self.ends(node, "resume {}", Self::resume),
            FaultEnd::Restart(node) => self.start_node(node),
            FaultEnd::Space(node) => self.ends(node, "the disk of {} has space again", |world, host| {
                host.any_disk().into_iter().for_each(SimDisk::clear_errors);
                world.start(host);
            }),
        }
    }

    fn ends(&mut self, node: NodeId, words: &str, end: impl FnOnce(&mut Self, &mut Host)) {
        self.emit_fault(words.replace("{}", &node.to_string()));
        self.on(node, end);
    }
}
