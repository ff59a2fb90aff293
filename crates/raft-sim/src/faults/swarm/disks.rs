//! Disks that fail, lie and forget, within what Raft promises to survive.
//!
//! A call that fails ends its process, so it may strike every node. Damage, loss and an older state take promises back: they
//! strike a minority of the voters in a run, and only while a quorum of every configuration that may be in force is sound
//! without them. Such a node is never started again as a voter. It is removed, and another one joins in its place: empty,
//! under an id of its own, as a learner that is promoted once it has caught up. An older state is started again only when
//! nobody counts the node any more.

use super::SwarmEvent;
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::rng::{Choices, Site};
use crate::scenario::changes::{SeatChange, SeatStep, membership_change};
use crate::scenario::feature::{Family, Feature, of_families};
use crate::scenario::model::{Keep, Scenario};
use crate::world::disk::InjectedError;
use crate::world::operator::Work;
use crate::world::{Event, World};
use raft_core::{Configuration, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

const SPARES: Site = Site::new("swarm spares");
const RESERVE: Site = Site::new("swarm reserve");

/// Room ahead for some seconds of what clients write, or for a moment of it. An append is small beside it: one is let
/// through whatever its size.
pub(crate) fn keep_reserve(scenario: &mut Scenario, choices: &mut Choices) {
    let reserve_bytes = [16 << 10, 32 << 10, 128 << 10][choices.draw(RESERVE, 0, 0).below(3) as usize];
    scenario.disk.reserve_bytes = reserve_bytes;
    scenario.raft.max_append_bytes = scenario.raft.max_append_bytes.min(reserve_bytes / 8);
}

/// Whose disks have broken promises.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    /// All of them.
    nodes: BTreeSet<NodeId>,
    /// Those of them that may turn out to be sound: the damage may be where nothing is.
    suspects: BTreeSet<NodeId>,
    /// Those that are not to be started.
    gone: BTreeSet<NodeId>,
    /// How many voters were struck so far.
    struck: usize,
}

impl Broken {
    /// Whether a node's disk has broken its promises.
    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// Whether a configuration has a quorum without them.
    pub(crate) fn leave_quorum(&self, configuration: &Configuration) -> bool {
        configuration.has_quorum(|id| !self.contains(id))
    }
}

impl World {
    /// How many nodes stay out at first, to take the place of damaged ones. None in runs without damage, and where three
    /// nodes are all there is.
    pub(crate) fn draw_spares(&mut self) -> Option<u64> {
        let damaging = of_families(&[Family::Damage]).any(|feature| self.draws_feature(feature));
        let most = self.scenario.nodes.saturating_sub(3).min(2);
        (damaging && most > 0).then(|| 1 + self.choices.draw(SPARES, 0, 0).below(most))
    }

    /// Whether a machine is not to be started.
    pub(crate) fn is_gone(&self, node: NodeId) -> bool {
        self.swarm.as_ref().is_some_and(|swarm| swarm.broken.gone.contains(&node))
    }

    /// The n-th fault is one of a disk.
    pub(crate) fn strike_disk(&mut self, n: u64, feature: Feature, length: Duration) {
        match feature {
            Feature::Eio => self.disk_errors(n, length),
            Feature::Enospc => self.fill_disk(n, length),
            Feature::FsyncFailed => {
                let node = self.drawn_node(n);
                let after = self.detail(n, 1).below(4);
                self.emit_fault(format!("a sync of {node} will fail"));
                self.inject_error(node, InjectedError::FailedSync, after);
            }
            Feature::BitRot => self.damage_some(n, Fault::BitRot, length),
            Feature::MisdirectedWrite => self.damage_some(n, Fault::MisdirectedWrite, length),
            Feature::DiskWiped => self.lose_some_disk(n),
            _ => self.set_some_disk_back(n, length),
        }
    }

    /// One call fails, in what the node is doing anyway or in a recovery.
    fn disk_errors(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let reads = self.detail(n, 1).chance_ppm(400_000);
        let after = self.detail(n, 3).below(if reads { 4 } else { 10 });
        self.emit_fault(format!("a {} of {node}'s disk will fail", if reads { "read" } else { "change" }));
        self.inject_error(node, if reads { InjectedError::ReadError } else { InjectedError::WriteError }, after);
        // A running node reads little.
        if reads || self.detail(n, 4).chance_ppm(250_000) {
            self.restart_soon(n, node, length);
        }
    }

    fn fill_disk(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        self.emit_fault(format!("the disk of {node} is full"));
        // With room made ahead it matters which of the steps to more of it comes too late.
        let after = if self.scenario.disk.reserve_bytes > 0 { self.detail(n, 7).below(4) } else { 0 };
        self.inject_error(node, InjectedError::NoSpace, after);
        if self.detail(n, 4).chance_ppm(400_000) {
            self.restart_soon(n, node, length / 2);
        }
        self.plan_after(length, Event::Swarm(SwarmEvent::Space(node)));
    }

    fn restart_soon(&mut self, n: u64, node: NodeId, length: Duration) {
        let crash = if self.detail(n, 5).chance_ppm(500_000) { CrashKind::Kill } else { CrashKind::PowerLoss };
        let keep = self.drawn_keep(n);
        self.crash(node, crash, keep);
        self.plan_after(length / 8, Event::Swarm(SwarmEvent::Restart(node)));
    }

    /// There is space again; whoever has ended for want of it starts.
    pub(crate) fn make_space(&mut self, node: NodeId) {
        self.emit_fault(format!("the disk of {node} has space again"));
        self.clear_errors(node);
        self.start(node);
    }

    /// A node whose disk may be struck by what breaks promises.
    fn drawn_victim(&mut self, n: u64) -> Option<NodeId> {
        let node = self.drawn_node(n);
        let voters = self.configurations.decided().end().voters;
        let swarm = self.swarm.as_ref()?;
        let broken = &swarm.broken;
        let is_minority = broken.struck < voters.len().saturating_sub(1) / 2;
        let may = is_minority && !broken.contains(node) && voters.contains(&node);
        let sound: BTreeSet<NodeId> =
            self.nodes().into_iter().filter(|id| !broken.contains(*id) && *id != node).collect();
        // An errand of the operator could bring a configuration that nobody has judged.
        (may && self.operator_is_idle() && self.configurations.have_quorum(&sound)).then_some(node)
    }

    fn breaks(&mut self, node: NodeId, is_gone: bool) {
        let Some(swarm) = &mut self.swarm else { return };
        swarm.broken.nodes.insert(node);
        swarm.broken.struck += 1;
        let how = if is_gone { &mut swarm.broken.gone } else { &mut swarm.broken.suspects };
        how.insert(node);
    }

    /// Damage comes while the machine is down, or long before a crash makes its process read.
    fn damage_some(&mut self, n: u64, fault: Fault, length: Duration) {
        let Some(node) = self.drawn_victim(n) else { return };
        let runs_on = self.detail(n, 6).chance_ppm(500_000);
        let crash = if self.detail(n, 5).chance_ppm(500_000) { CrashKind::Kill } else { CrashKind::PowerLoss };
        let keep = self.drawn_keep(n);
        self.emit_fault(format!("{} of {node}", fault.name()));
        if !runs_on {
            self.crash(node, crash, keep);
        }
        if !self.damage(node, fault) {
            return self.plan_after(Duration::ZERO, Event::Swarm(SwarmEvent::Restart(node)));
        }
        self.breaks(node, false);
        let restart = if runs_on { SwarmEvent::KillAndRestart(node) } else { SwarmEvent::Restart(node) };
        self.plan_after(length / 2, Event::Swarm(restart));
    }

    fn lose_some_disk(&mut self, n: u64) {
        let Some(node) = self.drawn_victim(n) else { return };
        self.emit_fault(format!("{node} loses its disk"));
        self.breaks(node, true);
        self.crash(node, CrashKind::DiskLoss, Keep::Nothing);
        self.replace(node);
    }

    fn set_some_disk_back(&mut self, n: u64, length: Duration) {
        let Some(node) = self.drawn_victim(n) else { return };
        self.emit_fault(format!("{node} goes down; an old copy of its disk stays"));
        self.breaks(node, true);
        self.crash(node, CrashKind::Kill, Keep::Everything);
        self.replace(node);
        self.plan_after(length, Event::Swarm(SwarmEvent::OldDisk(node)));
    }

    /// An old copy of a disk is started, once nobody counts its node any more: all others have applied that it is removed.
    pub(crate) fn start_old_disk(&mut self, node: NodeId) {
        let Some(swarm) = &self.swarm else { return };
        let again = swarm.timeout;
        let knows = |id: &NodeId| {
            let Some(process) = self.hosts.get(id).and_then(|host| host.process.as_ref()) else { return false };
            let knows_nobody = process.node.configuration().is_none_or(|known| known.members.is_empty());
            knows_nobody || process.node.status().applied >= self.configurations.decided_at().index
        };
        let sound: Vec<NodeId> = self.nodes().into_iter().filter(|id| !swarm.broken.contains(*id)).collect();
        if self.configurations.may_name(node) || !sound.iter().all(knows) {
            return self.plan_after(again, Event::Swarm(SwarmEvent::OldDisk(node)));
        }
        self.emit_fault(format!("the old copy of {node}'s disk is started"));
        self.roll_back(node);
        if let Some(swarm) = &mut self.swarm {
            swarm.broken.gone.remove(&node);
        }
        self.start(node);
    }

    /// A node has ended by itself, or did not start. If its disk is damaged it is replaced; else it is started again.
    pub(crate) fn swarm_refused(&mut self, node: NodeId) {
        let Some(swarm) = self.swarm.as_ref().filter(|swarm| swarm.healed.is_none()) else { return };
        let again = swarm.timeout;
        if !swarm.broken.contains(node) {
            return self.plan_after(again, Event::Swarm(SwarmEvent::Restart(node)));
        }
        if !self.is_gone(node) && self.hosts.get(&node).is_some_and(|host| host.damaged.is_some()) {
            if let Some(swarm) = &mut self.swarm {
                swarm.broken.suspects.remove(&node);
                swarm.broken.gone.insert(node);
            }
            self.replace(node);
        }
    }

    /// A node has started. If its disk was struck, then where it holds nothing: it has brought back all that it should.
    pub(crate) fn found_sound(&mut self, node: NodeId) {
        if let Some(swarm) = self.swarm.as_mut()
            && swarm.broken.suspects.remove(&node)
        {
            swarm.broken.nodes.remove(&node);
        }
    }

    /// A node that is not to be trusted any more is removed, and one that is not a member takes its place.
    fn replace(&mut self, node: NodeId) {
        let Some(swarm) = &self.swarm else { return };
        let (until, present) = (swarm.heal_at, self.configurations.decided().end());
        let is_spare = |id: &NodeId| !present.members.contains_key(id) && !swarm.broken.contains(*id);
        let spare = self.nodes().into_iter().find(is_spare);
        let mut steps = vec![SeatChange { seat: SeatStep::Remove, node }];
        steps.extend(spare.map(|node| SeatChange { seat: SeatStep::Add, node }));
        let promotion = spare.map(|node| vec![SeatChange { seat: SeatStep::Promote, node }]);
        for steps in [Some(steps), promotion].into_iter().flatten() {
            let work = Work::Change(steps);
            self.emit_fault(work.to_string());
            self.instruct(work, Some(until));
        }
    }

    /// Whether a change keeps to what the disks allow: nobody broken comes in, and a sound quorum is left.
    pub(crate) fn is_survivable(&self, present: &Configuration, steps: &[SeatChange]) -> bool {
        let Some(swarm) = self.swarm.as_ref().filter(|swarm| !swarm.broken.nodes.is_empty()) else { return true };
        let names_broken = steps.iter().any(|step| step.seat != SeatStep::Remove && swarm.broken.contains(step.node));
        let after = present.begin(&membership_change(steps));
        !names_broken && after.is_ok_and(|after| swarm.broken.leave_quorum(&after.end()))
    }

    /// Opens the run with what its faults stay within, where that is less than all that could happen.
    pub(crate) fn says_what_it_stays_within(&mut self) {
        if of_families(&[Family::Damage]).any(|feature| self.draws_feature(feature)) {
            let words = "damaged, lost and old disks: of a minority of the voters only, and no such node votes again";
            self.emit_fault(words.to_owned());
        }
    }
}
