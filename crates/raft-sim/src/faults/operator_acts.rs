//! Orders of an operator at any time: to campaign, to take a snapshot, to transfer leadership. They go to any node, and
//! the target of a transfer is any node too: a learner, a dead one, the leader itself, one that is no member. The
//! operator asks once and does not wait for an answer.

use crate::faults::swarm::only;
use crate::record::RecordKind;
use crate::scenario::model::StepAction;
use crate::world::{Event, NodeEvent, World};
use raft_core::NodeId;
use raft_node::Request;
use std::collections::BTreeSet;

impl World {
    pub(crate) fn swarm_act(&mut self, n: u64) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(400_000)).unwrap_or(drawn);
        match self.detail(n, 2).below(5) {
            0 | 1 => self.strike(StepAction::Campaign { nodes: only(node) }, None),
            2 => self.strike(StepAction::TakeSnapshot { nodes: only(node) }, None),
            _ => {
                let target = NodeId(1 + self.detail(n, 3).below(self.scenario.nodes));
                let to = self.detail(n, 4).chance_ppm(850_000).then_some(target);
                self.strike(StepAction::Transfer { to, asked: Some(only(node)) }, None);
            }
        }
    }

    /// Asks these nodes once for a leadership transfer, whichever node leads.
    pub(crate) fn ask_transfer_step(&mut self, nodes: &BTreeSet<NodeId>, to: Option<NodeId>) {
        let words = to.map_or_else(|| "hand over".to_owned(), |to| format!("hand over to {to}"));
        for &node in nodes {
            let cause = Some(self.emit_outside(None, RecordKind::Fault { label: format!("ask {node} once: {words}") }));
            let (id, request) = (self.next_act(), Request::TransferLeadership { to });
            self.plan(self.now, Event::Node(node, NodeEvent::Request { id, request, cause }));
        }
    }
}
