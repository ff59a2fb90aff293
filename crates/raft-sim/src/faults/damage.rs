//! Disks that break promises: silent damage, lost disks, machines that come back with an older disk.
//!
//! A swarm injects only damage that Raft promises to survive. It damages a minority of the voters in a run, and only
//! while a quorum of every configuration that may be in force is sound without them. Such a node never starts again as
//! a voter. The operator removes it, and another node joins instead: empty, under a new id, as a learner that is
//! promoted once it has caught up. A machine starts with an older disk only when no other node counts it as a member
//! any more.

use crate::faults::swarm::{Swarm, SwarmEvent, crash_of, only};
use crate::faults::{Fault, list};
use crate::record::{CrashKind, RecordKind};
use crate::rng::Site;
use crate::scenario::changes::{SeatChange, SeatStep, membership_change};
use crate::scenario::feature::{Family, of_families};
use crate::scenario::model::{Keep, StepAction};
use crate::world::disk::{SECTOR_BYTES, Sector};
use crate::world::host::{Host, SEGMENTS};
use crate::world::operator::Work;
use crate::world::{Emission, Event, World};
use raft_core::{Configuration, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

const ROT: Site = Site::new("bit rot");
const MISDIRECTED: Site = Site::new("misdirected write");
const SPARES: Site = Site::new("swarm spares");

/// The nodes whose disks have broken promises in this run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    nodes: BTreeSet<NodeId>,
    /// The broken nodes whose damage may hit unused parts of the disk.
    suspects: BTreeSet<NodeId>,
    /// The broken nodes that never start again.
    retired: BTreeSet<NodeId>,
    /// How many voters were damaged so far.
    count: usize,
}

impl Broken {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    fn insert(&mut self, node: NodeId, is_retired: bool) {
        self.nodes.insert(node);
        self.count += 1;
        let how = if is_retired { &mut self.retired } else { &mut self.suspects };
        how.insert(node);
    }
}

/// The effect on the world.
impl World {
    /// Damages the durable data of a node's disk at a drawn position; returns false if there is none. Damage to the
    /// last synced group looks like a torn write, which no log can tell apart. So in the newest segment it damages only
    /// data that was durable before that group.
    fn damage(&mut self, host: &mut Host, fault: Fault) -> bool {
        self.disturbed = self.now;
        host.damages += 1;
        let (node, n) = (host.id, host.damages * 4);
        let Some(disk) = host.disk_to_see() else { return false };
        let newest = disk.last_used(SEGMENTS).unwrap_or_default().to_owned();
        let known_durable = host.known_durable.as_ref().filter(|(file, _)| *file == newest).map_or(0, |(_, end)| *end);
        let mut sectors = disk.used_sectors();
        sectors.retain(|sector| sector.file != newest || (sector.number + 1) * SECTOR_BYTES <= known_durable);
        let mut pick = |site, n, from: &[Sector]| {
            let draw = self.choices.draw(site, node.0, n);
            from.get(draw.below(from.len() as u64) as usize).cloned()
        };
        let place = if fault == Fault::BitRot {
            let Some(sector) = pick(ROT, n, &sectors) else { return false };
            let bit = self.choices.draw(ROT, node.0, n + 1).below(SECTOR_BYTES * 8);
            host.any_disk().into_iter().for_each(|disk| disk.rot(&sector, bit));
            format!("{} byte {}", sector.file, sector.number * SECTOR_BYTES + bit / 8)
        } else {
            let Some(hit) = pick(MISDIRECTED, n, &sectors) else { return false };
            sectors.retain(|sector| *sector != hit && sector.file.starts_with(SEGMENTS));
            let Some(meant) = pick(MISDIRECTED, n + 1, &sectors) else { return false };
            host.any_disk().into_iter().for_each(|disk| disk.misdirect(&meant, &hit));
            format!("{} sector {} instead of {} sector {}", hit.file, hit.number, meant.file, meant.number)
        };
        host.damaged = Some(fault);
        self.fault_counts.inject(fault);
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), RecordKind::DiskFault { fault, place });
        true
    }

    /// Damages disks. In a swarm only those that may break promises.
    pub(crate) fn damage_step(&mut self, nodes: &BTreeSet<NodeId>, fault: Fault) {
        self.emit_fault(format!("{} of {}", fault.name(), list(nodes)));
        for &node in nodes {
            if self.may_break(node) && self.on(node, |world, host| world.damage(host, fault)) == Some(true) {
                self.breaks(node, false);
            }
        }
    }

    /// In a swarm a disk is lost, or a machine goes down while an old copy of its disk stays, only if its disk may break promises;
    /// another node replaces it.
    pub(crate) fn swarm_loses_disk(&mut self, node: NodeId, crash: CrashKind, lasts: Option<Duration>) {
        if !self.may_break(node) {
            return;
        }
        self.breaks(node, true);
        if crash == CrashKind::DiskLoss {
            self.crash_node(node, crash, Keep::Nothing);
        } else {
            self.crash_node(node, CrashKind::Kill, Keep::Everything);
            self.plan_after(lasts.unwrap_or_default(), Event::Swarm(SwarmEvent::OldDisk(node)));
        }
        self.replace(node);
    }
}

/// The draws of a swarm.
impl World {
    fn has_damage(&mut self) -> bool {
        of_families(&[Family::Damage]).any(|feature| self.draws_feature(feature))
    }

    /// Records the limits of the damage at the beginning of a run.
    pub(crate) fn swarm_names_damage(&mut self) {
        if self.has_damage() {
            let words = "damaged, lost and old disks: of a minority of the voters only, and no such node votes again";
            self.emit_fault(words.to_owned());
        }
    }

    /// The number of nodes that join only later, to replace damaged ones. None in runs without damage, or in runs with
    /// only three nodes.
    pub(crate) fn draw_spares(&mut self) -> Option<u64> {
        let most = self.scenario.nodes.saturating_sub(3).min(2);
        (self.has_damage() && most > 0).then(|| 1 + self.choices.draw(SPARES, 0, 0).below(most))
    }

    /// Whether a machine must not start again.
    pub(crate) fn is_retired(&self, node: NodeId) -> bool {
        self.swarm.as_ref().is_some_and(|swarm| swarm.broken.retired.contains(&node))
    }

    /// Draws a node whose disk may break promises now.
    fn drawn_victim(&mut self, n: u64) -> Option<NodeId> {
        let node = self.drawn_node(n);
        self.may_break(node).then_some(node)
    }

    /// Whether the disk of this node may break promises now. Without a swarm the scenario decides.
    fn may_break(&self, node: NodeId) -> bool {
        let Some(Swarm { broken, .. }) = &self.swarm else { return true };
        let voters = self.configurations.decided().end().voters;
        let is_minority = broken.count < voters.len().saturating_sub(1) / 2;
        let may = is_minority && !broken.contains(node) && voters.contains(&node);
        let sound = self.nodes().into_iter().filter(|id| !broken.contains(*id) && *id != node).collect();
        // A task of the operator could lead to a configuration that this check has not seen.
        may && self.operator_is_idle() && self.configurations.have_quorum(&sound)
    }

    fn breaks(&mut self, node: NodeId, is_retired: bool) {
        self.swarm.iter_mut().for_each(|swarm| swarm.broken.insert(node, is_retired));
    }

    /// Damage happens while the machine is down, or long before a crash makes its process read.
    pub(crate) fn swarm_damage(&mut self, n: u64, fault: Fault, length: Duration) {
        let Some(node) = self.drawn_victim(n) else { return };
        let runs_on = self.detail(n, 6).chance_ppm(500_000);
        let (crash, keep) = (self.drawn_crash(n, 5, 500_000), self.drawn_keep(n));
        if !runs_on {
            self.strike(crash_of(node, crash, keep), Some(length / 2));
        }
        self.strike(StepAction::Damage { nodes: only(node), fault }, None);
        if runs_on {
            self.plan_after(length / 2, Event::Swarm(SwarmEvent::KillAndRestart(node)));
        }
    }

    pub(crate) fn swarm_lost_disk(&mut self, n: u64) {
        let Some(node) = self.drawn_victim(n) else { return };
        self.strike(crash_of(node, CrashKind::DiskLoss, Keep::Nothing), None);
    }

    pub(crate) fn swarm_disk_rollback(&mut self, n: u64, length: Duration) {
        let Some(node) = self.drawn_victim(n) else { return };
        self.strike(crash_of(node, CrashKind::DiskRollback, Keep::Nothing), Some(length));
    }

    /// Starts an old copy of a disk, once no node counts its node as a member any more: all others have applied its
    /// removal. What was sent to the node before is lost: a late request for its vote would get one that it has given already.
    pub(crate) fn swarm_old_disk(&mut self, node: NodeId) {
        let Some(swarm) = &self.swarm else { return };
        let again = swarm.timeout;
        let knows = |id: NodeId| {
            let Some(process) = self.hosts.get(&id).and_then(|host| host.process.as_ref()) else { return false };
            let has_none = process.node.configuration().is_none_or(|known| known.members.is_empty());
            has_none || process.node.status().applied >= self.configurations.decided_at().index
        };
        let mut sound = self.nodes().into_iter().filter(|id| !swarm.broken.contains(*id));
        if self.configurations.may_name(node) || !sound.all(knows) {
            return self.plan_after(again, Event::Swarm(SwarmEvent::OldDisk(node)));
        }
        self.emit_fault(format!("the old copy of {node}'s disk is started"));
        self.crash_node(node, CrashKind::DiskRollback, Keep::Nothing);
        self.lose_messages_to(node);
        self.swarm.iter_mut().for_each(|swarm| {
            swarm.broken.retired.remove(&node);
        });
        self.start_node(node);
    }

    /// Handles a node that has ended by itself, or did not start. If its disk is damaged, another node replaces it;
    /// otherwise it starts again.
    pub(crate) fn swarm_refused(&mut self, host: &Host) {
        let Some(swarm) = self.swarm.as_mut().filter(|swarm| swarm.healed.is_none()) else { return };
        let (node, again) = (host.id, swarm.timeout);
        if !swarm.broken.contains(node) {
            return self.plan_after(again, Event::Swarm(SwarmEvent::Restart(node)));
        }
        if host.damaged.is_some() && swarm.broken.retired.insert(node) {
            swarm.broken.suspects.remove(&node);
            self.replace(node);
        }
    }

    /// Handles a node that has started. If its disk was damaged, the damage hit unused parts: the node has recovered
    /// all that it should.
    pub(crate) fn disk_is_sound(&mut self, node: NodeId) {
        if let Some(swarm) = self.swarm.as_mut()
            && swarm.broken.suspects.remove(&node)
        {
            swarm.broken.nodes.remove(&node);
        }
    }

    /// Removes a broken node, and adds one that is not a member.
    fn replace(&mut self, node: NodeId) {
        let Some(swarm) = &self.swarm else { return };
        let (until, present) = (swarm.heal_at, self.configurations.decided().end());
        let is_spare = |id: &NodeId| !present.members.contains_key(id) && !swarm.broken.contains(*id);
        let spare = self.nodes().into_iter().find(is_spare);
        let mut steps = vec![SeatChange { seat: SeatStep::Remove, node }];
        steps.extend(spare.map(|node| SeatChange { seat: SeatStep::Add, node }));
        let promotion = spare.map(|node| vec![SeatChange { seat: SeatStep::Promote, node }]);
        for steps in [Some(steps), promotion].into_iter().flatten() {
            self.instruct(Work::Change { steps, force: false }, Some(until));
        }
    }

    /// Whether a change respects the damage: no broken node joins, and a sound quorum remains.
    pub(crate) fn is_survivable(&self, present: &Configuration, steps: &[SeatChange]) -> bool {
        let Some(swarm) = self.swarm.as_ref().filter(|swarm| !swarm.broken.nodes.is_empty()) else { return true };
        let names_broken = steps.iter().any(|step| step.seat != SeatStep::Remove && swarm.broken.contains(step.node));
        let after = present.begin(&membership_change(steps, false));
        !names_broken && after.is_ok_and(|after| after.end().has_quorum(|id| !swarm.broken.contains(id)))
    }
}
