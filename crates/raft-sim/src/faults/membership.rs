//! Random changes of the configuration, and random transfers: mostly sensible ones, at most one at a time. The operator
//! gives up after a while. The operator executes them.

use crate::record::{CrashKind, RecordKind};
use crate::rng::Site;
use crate::scenario::changes::{SeatChange, SeatStep};
use crate::scenario::feature::Feature;
use crate::scenario::model::StepAction;
use crate::world::disk::SimDisk;
use crate::world::{Emission, Event, World};
use raft_core::{Configuration, NodeId};
use std::time::Duration;

/// The number of election timeouts after which the operator gives up.
const PATIENCE: u32 = 12;

/// Probabilities in parts per million.
const TWO_STEPS: u32 = 300_000;
const NAMED: u32 = 500_000;
const FORCED: u32 = 250_000;

/// The probability that a change is the removal of the wrong nodes, if voters do not answer.
const WRONG_NODES: u32 = 800_000;
const WRONG: Site = Site::new("swarm wrong removal");

const FOUNDERS: Site = Site::new("swarm founders");

impl World {
    /// The number of founders: the scenario's, or in a run with changes a drawn number that is at least a majority.
    pub(crate) fn draw_founders(&mut self) -> u64 {
        let nodes = self.scenario.nodes;
        if let Some(spares) = self.draw_spares().filter(|_| self.scenario.founders.is_none()) {
            return nodes - spares;
        }
        let drawn = self.scenario.founders.is_none() && self.draws_feature(Feature::Membership);
        let joiners = if drawn { self.choices.draw(FOUNDERS, 0, 0).below(nodes.div_ceil(2)) } else { 0 };
        self.scenario.founders.unwrap_or(nodes - joiners)
    }

    /// Requests a change of one or two seats, if the operator is idle.
    pub(crate) fn swarm_change(&mut self, n: u64) {
        if !self.operator_is_idle() {
            return;
        }
        let present = self.configurations.decided().end();
        let wrong = self.choices.draw(WRONG, 0, n).chance_ppm(WRONG_NODES);
        let wrong = if wrong { self.wrong_removal(&present) } else { None };
        let steps = wrong.unwrap_or_else(|| self.drawn_steps(n, &present));
        let leaves = |step: &&SeatChange| {
            matches!(step.seat, SeatStep::Demote | SeatStep::Remove) && present.voters.contains(&step.node)
        };
        // The last voter stays: the leader would reject a change without it, which would test little.
        let leaving = steps.iter().filter(leaves).count();
        if leaving < present.voters.len() && self.is_survivable(&present, &steps) {
            // The healing waits for a quorum of every configuration that may be in force, forced ones too.
            let force = self.detail(n, 6).chance_ppm(FORCED);
            self.swarm_instruct(StepAction::Change { steps, force });
        }
    }

    fn drawn_steps(&mut self, n: u64, present: &Configuration) -> Vec<SeatChange> {
        let mut steps: Vec<SeatChange> = Vec::new();
        let count = if self.detail(n, 1).chance_ppm(TWO_STEPS) { 2 } else { 1 };
        for step in 0..count {
            let node = NodeId(1 + self.detail(n, 2 + 2 * step).below(self.scenario.nodes));
            let draw = self.detail(n, 3 + 2 * step).below(4);
            let seat = drawn_seat(present, node, draw);
            if steps.iter().all(|step| step.node != node) {
                steps.push(SeatChange { seat, node });
            }
        }
        steps
    }

    /// The removal of the wrong nodes: voters do not answer, and the operator removes so many others that those that stay have no quorum
    /// (rule R49).
    fn wrong_removal(&self, present: &Configuration) -> Option<Vec<SeatChange>> {
        let (voters, leader) = (present.voters.len(), self.leader()?);
        let broken = self.network.broken_links();
        let answers = |id: &NodeId| {
            let runs = self.hosts.get(id).is_some_and(|host| host.process.is_some() && !host.paused);
            runs && !broken.iter().any(|link| *link == (*id, leader) || *link == (leader, *id))
        };
        let answering: Vec<NodeId> = present.voters.iter().copied().filter(answers).collect();
        let gone = (1..answering.len()).find(|gone| (answering.len() - gone) * 2 <= voters - gone)?;
        let others = answering.into_iter().filter(|id| *id != leader).take(gone);
        let steps: Vec<_> = others.map(|node| SeatChange { seat: SeatStep::Remove, node }).collect();
        (steps.len() == gone).then_some(steps)
    }

    /// Transfers leadership to a drawn node, or to the leader's choice.
    pub(crate) fn swarm_transfer(&mut self, n: u64) {
        if self.operator_is_idle() {
            let named = self.detail(n, 1).chance_ppm(NAMED);
            let to = named.then(|| self.drawn_node(n));
            self.swarm_instruct(StepAction::Transfer { to, asked: None });
        }
    }

    /// The host of a removed node ends its process, as if killed. This disturbs no other node.
    pub(crate) fn removed_ends(&mut self, node: NodeId, incarnation: u64) {
        self.on(node, |world, host| {
            if host.process.is_none() || host.incarnation != incarnation {
                return;
            }
            host.disarm();
            host.stop();
            host.disk().into_iter().for_each(SimDisk::crash_kill);
            world.ended.insert(host.id);
            world.emissions.push(Emission::View(None));
            world.emit(None, Some(host.id), RecordKind::Crashed { crash: CrashKind::Kill, lost: 0 });
        });
        self.start_added_again();
    }

    /// The operator starts a node that ended as removed and has been added again.
    pub(crate) fn start_added_again(&mut self) {
        let members = &self.configurations.decided().members;
        let again: Vec<NodeId> = self.ended.iter().copied().filter(|id| members.contains_key(id)).collect();
        for node in again {
            self.ended.remove(&node);
            self.plan_after(Duration::ZERO, Event::Restart(node));
        }
    }

    fn swarm_instruct(&mut self, action: StepAction) {
        let patience = self.scenario.raft.election_timeout.end.saturating_mul(PATIENCE);
        self.strike(action, Some(patience));
    }
}

/// Draws a node's next seat. It promotes a learner in most cases, so that the learner counts.
fn drawn_seat(present: &Configuration, node: NodeId, draw: u64) -> SeatStep {
    if !present.members.contains_key(&node) {
        SeatStep::Add
    } else if !present.voters.contains(&node) {
        if draw == 0 { SeatStep::Remove } else { SeatStep::Promote }
    } else if draw < 2 {
        SeatStep::Demote
    } else {
        SeatStep::Remove
    }
}
