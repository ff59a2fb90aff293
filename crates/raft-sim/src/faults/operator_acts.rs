//! Orders of an operator at any time: to campaign, to take a snapshot, to transfer leadership. They go to any node, and
//! the target of a transfer is any node too: a learner, a dead one, the leader itself, one that does not exist. The
//! operator asks once and does not wait for an answer.

use crate::record::RecordKind;
use crate::world::operator::FIRST_OF_ACTS;
use crate::world::{Event, NodeEvent, World};
use raft_core::{NodeId, RequestId};
use raft_node::{NodeInput, Request};

impl World {
    pub(crate) fn swarm_act(&mut self, n: u64) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(400_000)).unwrap_or(drawn);
        match self.detail(n, 2).below(5) {
            0 | 1 => {
                self.emit_fault(format!("campaign {node}"));
                self.on(node, |world, host| world.order(host, RecordKind::CampaignAsked, NodeInput::Campaign));
            }
            2 => {
                self.emit_fault(format!("take a snapshot {node}"));
                self.on(node, |world, host| world.order(host, RecordKind::SnapshotWished, NodeInput::TakeSnapshot));
            }
            _ => {
                let target = NodeId(1 + self.detail(n, 3).below(self.scenario.nodes + 1));
                let to = self.detail(n, 4).chance_ppm(850_000).then_some(target);
                let words = to.map_or_else(|| "hand over".to_owned(), |to| format!("hand over to {to}"));
                let label = format!("ask {node} once: {words}");
                let cause = Some(self.emit_outside(None, RecordKind::Fault { label }));
                let (id, request) = (RequestId(FIRST_OF_ACTS + n), Request::TransferLeadership { to });
                self.plan(self.now, Event::Node(node, NodeEvent::Request { id, request, cause }));
            }
        }
    }
}
