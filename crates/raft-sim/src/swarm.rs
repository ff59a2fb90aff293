//! Random faults. Each run leaves out each feature with probability one half: runs that have everything at once look
//! all alike, and some faults hide others (Groce et al., "Swarm testing", 2012).
//!
//! What Raft promises to survive is never exceeded: all nodes may crash, and few disks may lie (see `disks`), so safety must
//! hold always. At `heal_at` a random majority is healed for good while the minority stays down or cut off: progress
//! must come back (Raft §2).

mod disks;
mod membership;
mod snapshots;

use crate::faults::Fault;
use crate::host::Armed;
use crate::network::{CutId, Link, links_across, links_between};
use crate::record::{CrashKind, SimTime};
use crate::rng::{Choices, Draw, Site};
use crate::scenario::model::{ClientReads, Feature, Keep, NetworkModel, Scenario, SwarmModel};
use crate::steps::list;
use crate::world::{Event, Healed, World};
use disks::Broken;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const FEATURE: Site = Site::new("swarm feature");
const INTENSITY: Site = Site::new("swarm intensity");
const FAULT: Site = Site::new("swarm fault");
const HEAL: Site = Site::new("swarm heal");
const DRIFT_BOUND: Site = Site::new("swarm drift bound");

/// The features that begin and end, in the order in which they are drawn.
const TIMED: [Feature; 20] = [
    Feature::Partition,
    Feature::OneWayCut,
    Feature::IsolateLeader,
    Feature::Kill,
    Feature::PowerLoss,
    Feature::CrashAtBoundary,
    Feature::CrashAtDiskOperation,
    Feature::KillRestartPowerLoss,
    Feature::SlowDisk,
    Feature::ClockDrift,
    Feature::Pause,
    Feature::Membership,
    Feature::Transfer,
    Feature::Eio,
    Feature::Enospc,
    Feature::FsyncFailed,
    Feature::BitRot,
    Feature::MisdirectedWrite,
    Feature::DiskWiped,
    Feature::DiskRolledBack,
];

/// The faults of a run.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// What this run may have, of [`TIMED`].
    timed: Vec<Feature>,
    heal_at: SimTime,
    mean_interval: Duration,
    /// The longest election timeout: the unit in which faults are long or short.
    timeout: Duration,
    /// Whose disks have broken what was promised.
    broken: Broken,
    /// The majority, once it is healed.
    pub(crate) healed: Option<Healed>,
}

/// A planned change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SwarmEvent {
    /// The n-th fault begins.
    Fault(u64),
    /// A cut ends.
    Mend(CutId),
    /// A disk is fast again.
    Fast(NodeId),
    /// A clock runs true again.
    ClockRight(NodeId),
    /// A paused node goes on.
    Resume(NodeId),
    /// A node starts again.
    Restart(NodeId),
    /// The power loss that follows a kill and a restart.
    PowerLossAfterRestart(NodeId),
    /// A node is killed and starts again at once.
    KillAndRestart(NodeId),
    /// A disk has space again.
    Space(NodeId),
    /// The old copy of a disk may be started.
    OldDisk(NodeId),
    /// The majority is healed.
    Heal,
}

/// Whether a run has a feature: asked again, the answer is the same.
fn draws(scenario: &Scenario, choices: &mut Choices, feature: Feature) -> bool {
    let may = scenario.swarm.as_ref().is_some_and(|model| model.features.contains(&feature));
    may && choices.draw(FEATURE, feature as u64, 0).chance_ppm(500_000)
}

/// The scenario as this run has it: with leases, with room kept ahead, or as it is written. How far clocks may drift is
/// drawn, too: a bound that is never reached, or too small to tell, would test nothing.
pub(crate) fn as_drawn(scenario: &Arc<Scenario>, choices: &mut Choices) -> Arc<Scenario> {
    let mut drawn = Arc::clone(scenario);
    if draws(scenario, choices, Feature::LeaseReads) {
        let scenario = Arc::make_mut(&mut drawn);
        scenario.raft.lease_reads = true;
        scenario.raft.max_clock_drift_ppm = [100, 10_000, 300_000][choices.draw(DRIFT_BOUND, 0, 0).below(3) as usize];
        scenario.clients.reads = ClientReads::Mixed;
    }
    if draws(scenario, choices, Feature::Reserve) {
        disks::keep_reserve(Arc::make_mut(&mut drawn), choices);
    }
    drawn
}

impl World {
    /// Draws what this run will have, and plans its first fault and its healing.
    pub(crate) fn begin_swarm(&mut self) {
        let Some(model) = self.scenario.swarm.clone() else { return };
        let chosen: BTreeSet<Feature> =
            model.features.iter().copied().filter(|&feature| self.draws_feature(feature)).collect();
        let timeout = self.scenario.raft.election_timeout.end;
        let noise = self.noise(&chosen, timeout);
        self.network.set_swarm_model(noise);
        let SwarmModel { mean_interval, heal_at, .. } = model;
        let swarm = Swarm {
            timed: TIMED.into_iter().filter(|feature| chosen.contains(feature)).collect(),
            heal_at: SimTime(0).after(heal_at),
            mean_interval,
            timeout,
            broken: Broken::default(),
            healed: None,
        };
        self.says_what_it_stays_within();
        self.plan(swarm.heal_at, Event::Swarm(SwarmEvent::Heal));
        self.swarm = Some(swarm);
        self.plan_fault(1);
    }

    /// Whether this run has a feature: asked again, the answer is the same.
    pub(crate) fn draws_feature(&mut self, feature: Feature) -> bool {
        draws(&self.scenario, &mut self.choices, feature)
    }

    /// The links of a run whose network is bad: how bad is drawn once.
    fn noise(&mut self, chosen: &BTreeSet<Feature>, timeout: Duration) -> NetworkModel {
        let mut model = self.scenario.network.clone();
        let mut draw = |feature: Feature, n| self.choices.draw(INTENSITY, feature as u64, n);
        // Small intensities matter as much as great ones: draw the magnitude first.
        let mut ppm = |feature| {
            let most = [10_000, 50_000, 200_000][draw(feature, 0).below(3) as usize];
            u32::try_from(1 + draw(feature, 1).below(most)).unwrap_or(u32::MAX)
        };
        if chosen.contains(&Feature::Loss) {
            model.loss_ppm = model.loss_ppm.max(ppm(Feature::Loss));
        }
        if chosen.contains(&Feature::Duplicate) {
            model.duplicate_ppm = model.duplicate_ppm.max(ppm(Feature::Duplicate));
        }
        if chosen.contains(&Feature::Reorder) {
            model.reorder_ppm = model.reorder_ppm.max(ppm(Feature::Reorder));
        }
        let late = |draw: Draw| Duration::ZERO..draw.in_range(&(model.delay.end..timeout.saturating_mul(3)));
        if chosen.contains(&Feature::Duplicate) {
            model.duplicate_delay = late(draw(Feature::Duplicate, 2));
        }
        if chosen.contains(&Feature::Reorder) {
            model.reorder_delay = late(draw(Feature::Reorder, 2));
        }
        if chosen.contains(&Feature::Snapshots) {
            model.snapshot_loss_ppm = [0, 50_000, 300_000][draw(Feature::Snapshots, 0).below(3) as usize];
            model.snapshot_transfer = late(draw(Feature::Snapshots, 1));
        }
        model
    }

    fn plan_fault(&mut self, n: u64) {
        let Some(swarm) = &self.swarm else { return };
        if !swarm.timed.is_empty() {
            let pause = Duration::ZERO..swarm.mean_interval.saturating_mul(2).max(Duration::from_micros(1));
            let delay = self.choices.draw(FAULT, n, 0).in_range(&pause);
            self.plan_after(delay, Event::Swarm(SwarmEvent::Fault(n)));
        }
    }

    /// A planned change is due. After the healing only the healing counts: what the minority has, it keeps.
    pub(crate) fn swarm_event(&mut self, event: SwarmEvent) {
        if self.swarm.as_ref().is_none_or(|swarm| swarm.healed.is_some()) {
            return;
        }
        match event {
            SwarmEvent::Fault(n) => {
                self.fault(n);
                self.plan_fault(n + 1);
            }
            SwarmEvent::Mend(cut) => {
                self.emit_fault("mend".into());
                self.network.mend(cut);
            }
            SwarmEvent::Fast(node) => {
                self.emit_fault(format!("disk of {node} is fast again"));
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.slow = None;
                }
            }
            SwarmEvent::ClockRight(node) => {
                self.emit_fault(format!("clock of {node} runs true again"));
                self.set_drift(node, 0);
            }
            SwarmEvent::Resume(node) => {
                self.emit_fault(format!("resume {node}"));
                self.resume(node);
            }
            SwarmEvent::Restart(node) => self.start(node),
            SwarmEvent::PowerLossAfterRestart(node) => {
                let restarted = self.hosts.get(&node).is_some_and(|host| host.process.is_some());
                self.emit_fault(format!("power loss {node} after its restart"));
                self.crash(node, CrashKind::PowerLoss, Keep::Random);
                if restarted {
                    self.ledger.matter(Fault::KillRestartPowerLoss);
                }
            }
            SwarmEvent::KillAndRestart(node) => {
                self.emit_fault(format!("kill {node}"));
                self.crash(node, CrashKind::Kill, Keep::Everything);
                self.start(node);
            }
            SwarmEvent::Space(node) => self.make_space(node),
            SwarmEvent::OldDisk(node) => self.start_old_disk(node),
            SwarmEvent::Heal => self.heal_majority(),
        }
    }

    /// The n-th fault: its kind, its place and its length all have their own address.
    fn fault(&mut self, n: u64) {
        let Some(swarm) = &self.swarm else { return };
        let timeout = swarm.timeout;
        let Some(feature) = self.choices.draw(FAULT, n, 1).pick(&swarm.timed) else { return };
        let length = self.choices.draw(FAULT, n, 2).in_range(&(timeout / 8..timeout.saturating_mul(6)));
        match feature {
            Feature::Partition => {
                let groups = self.drawn_groups(n);
                let labels: Vec<String> = groups.iter().map(list).collect();
                let links = links_across(&self.nodes(), &groups);
                self.cut_for(links, Fault::Partition, length, format!("partition {}", labels.join(" | ")));
            }
            Feature::OneWayCut => {
                let (from, to) = self.drawn_direction(n);
                let label = format!("cut {} > {}", list(&from), list(&to));
                self.cut_for(links_between(&from, &to), Fault::OneWayCut, length, label);
            }
            Feature::IsolateLeader => self.isolate_leader(n, length),
            Feature::Kill => self.crash_some(n, CrashKind::Kill, length),
            Feature::PowerLoss => self.crash_some(n, CrashKind::PowerLoss, length),
            Feature::CrashAtBoundary => self.arm(n, length),
            Feature::CrashAtDiskOperation => self.arm_disk(n, length),
            Feature::KillRestartPowerLoss => self.kill_restart_power_loss(n, length),
            Feature::SlowDisk => self.slow_disk(n, length),
            Feature::ClockDrift => self.drift(n, length),
            Feature::Pause => self.pause_some(n, length),
            Feature::Membership => self.change_membership(n),
            Feature::Transfer => self.hand_over(n),
            Feature::Eio
            | Feature::Enospc
            | Feature::FsyncFailed
            | Feature::BitRot
            | Feature::MisdirectedWrite
            | Feature::DiskWiped
            | Feature::DiskRolledBack => self.strike_disk(n, feature, length),
            // Not timed: part of the noise, or of the settings.
            Feature::Loss
            | Feature::Duplicate
            | Feature::Reorder
            | Feature::Snapshots
            | Feature::LeaseReads
            | Feature::Reserve => {}
        }
    }

    fn detail(&mut self, n: u64, place: u64) -> Draw {
        self.choices.draw(FAULT, n, 8 + place)
    }

    fn drawn_node(&mut self, n: u64) -> NodeId {
        NodeId(1 + self.detail(n, 0).below(self.scenario.nodes))
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

    fn isolate_leader(&mut self, n: u64, length: Duration) {
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
        self.ledger.inject(fault);
        let cut = self.network.cut(links, fault);
        self.plan_after(length, Event::Swarm(SwarmEvent::Mend(cut)));
    }

    /// One node, mostly; else some, or all at once.
    fn crash_some(&mut self, n: u64, crash: CrashKind, length: Duration) {
        let nodes: BTreeSet<NodeId> = match self.detail(n, 1).below(8) {
            0 => self.nodes(),
            1 | 2 => self.nodes().into_iter().filter(|node| self.detail(n, 16 + node.0).chance_ppm(500_000)).collect(),
            3 => self.leader().into_iter().collect(),
            _ => [self.drawn_node(n)].into(),
        };
        let how = if crash == CrashKind::Kill { "kill" } else { "power loss" };
        self.emit_fault(format!("{how} {}", list(&nodes)));
        for node in nodes {
            let keep = self.drawn_keep(n);
            self.crash(node, crash, keep);
            let down = self.detail(n, 64 + node.0).in_range(&(Duration::ZERO..length));
            self.plan_after(down, Event::Swarm(SwarmEvent::Restart(node)));
        }
    }

    /// Mostly drawn operation by operation; the extremes are worth having, too.
    fn drawn_keep(&mut self, n: u64) -> Keep {
        match self.detail(n, 2).below(8) {
            0 => Keep::Everything,
            1 | 2 => Keep::Nothing,
            _ => Keep::Random,
        }
    }

    fn arm(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let after = u32::try_from(self.detail(n, 1).below(6)).unwrap_or(0);
        let crash = if self.detail(n, 3).chance_ppm(500_000) { CrashKind::Kill } else { CrashKind::PowerLoss };
        let armed = Armed { after, crash, keep: self.drawn_keep(n), restart_after: Some(length) };
        self.emit_fault(format!("crash {node} after {after} outputs"));
        if let Some(host) = self.hosts.get_mut(&node).filter(|host| host.process.is_some()) {
            host.armed = Some(armed);
        }
    }

    /// Mostly in the middle of what the node is doing anyway; now and then during the recovery after a crash of its own.
    fn arm_disk(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let from_creation = self.detail(n, 5).chance_ppm(500_000);
        let after = u32::try_from(self.detail(n, 1).below(if from_creation { 6 } else { 12 })).unwrap_or(0);
        let crash = if self.detail(n, 3).chance_ppm(250_000) { CrashKind::Kill } else { CrashKind::PowerLoss };
        let armed = Armed { after, crash, keep: self.drawn_keep(n), restart_after: Some(length / 8) };
        let restarts = self.detail(n, 4).chance_ppm(250_000);
        let since = if from_creation { " from its next new file on" } else { "" };
        let restart = if restarts { ", killed and restarted first" } else { "" };
        self.emit_fault(format!("crash {node} after {after} calls to its disk{since}{restart}"));
        self.ledger.inject(Fault::CrashAtDiskOperation);
        if restarts {
            self.crash(node, CrashKind::Kill, Keep::Everything);
            self.plan_after(length / 8, Event::Swarm(SwarmEvent::Restart(node)));
        }
        if let Some(host) = self.hosts.get_mut(&node) {
            host.arm_disk(armed, from_creation);
        }
    }

    /// What recovery read after the kill must be durable before the node acknowledges anything: the power loss that
    /// follows would take it back.
    fn kill_restart_power_loss(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        self.emit_fault(format!("kill {node}, restart, power loss"));
        self.ledger.inject(Fault::KillRestartPowerLoss);
        self.crash(node, CrashKind::Kill, Keep::Everything);
        let quick = |draw: Draw, most: Duration| draw.in_range(&(Duration::from_micros(1)..most));
        let up = quick(self.detail(n, 1), length / 4);
        let loss = up + quick(self.detail(n, 2), length / 4);
        self.plan_after(up, Event::Swarm(SwarmEvent::Restart(node)));
        self.plan_after(loss, Event::Swarm(SwarmEvent::PowerLossAfterRestart(node)));
        self.plan_after(loss + length / 4, Event::Swarm(SwarmEvent::Restart(node)));
    }

    fn slow_disk(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let most = self.scenario.disk.latency.end;
        let factor = [5, 30, 200][self.detail(n, 1).below(3) as usize];
        let latency: Range<Duration> = most..most.saturating_mul(factor);
        self.emit_fault(format!("disk of {node} is slow"));
        self.ledger.inject(Fault::SlowDisk);
        if let Some(host) = self.hosts.get_mut(&node) {
            host.slow = Some(latency);
        }
        self.plan_after(length, Event::Swarm(SwarmEvent::Fast(node)));
    }

    /// From what every quartz has to what only a broken clock has. Nothing that Raft promises rests on clocks but
    /// progress, and that is asked for only after the healing; where reads rest on leases no clock drifts further than
    /// they allow for.
    fn drift(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let most = [100, 10_000, 400_000][self.detail(n, 1).below(3) as usize];
        let raft = &self.scenario.raft;
        let most = if raft.lease_reads { u64::from(raft.max_clock_drift_ppm) } else { most };
        let ppm = i32::try_from(1 + self.detail(n, 2).below(most)).unwrap_or(1);
        let ppm = if self.detail(n, 3).chance_ppm(500_000) { ppm } else { -ppm };
        self.emit_fault(format!("clock of {node} drifts by {ppm} ppm"));
        self.set_drift(node, ppm);
        self.plan_after(length, Event::Swarm(SwarmEvent::ClockRight(node)));
    }

    /// A leader that stands still and goes on is the case that matters most: it still believes that it leads.
    fn pause_some(&mut self, n: u64, length: Duration) {
        let leader = if self.detail(n, 1).chance_ppm(500_000) { self.leader() } else { None };
        let node = leader.unwrap_or(self.drawn_node(n));
        self.emit_fault(format!("pause {node}"));
        self.pause(node);
        self.plan_after(length, Event::Swarm(SwarmEvent::Resume(node)));
    }

    /// Ends all faults of a drawn majority for good and keeps the minority out. A majority is one of every configuration
    /// that may be in force, and its disks are sound; nobody asks for another any more.
    fn heal_majority(&mut self) {
        let mut order: Vec<(u64, NodeId)> =
            self.nodes().into_iter().map(|node| (self.choices.draw(HEAL, node.0, 0).bits(), node)).collect();
        order.sort_unstable();
        self.dismiss_operator();
        let (mut majority, mut minority) = (BTreeSet::new(), self.nodes());
        for (_, node) in order {
            let broken = self.swarm.as_ref().is_some_and(|swarm| swarm.broken.contains(node));
            if !broken && !self.configurations.have_quorum(&majority) {
                majority.insert(node);
                minority.remove(&node);
            }
        }
        self.emit_fault(format!("heal {} for good", list(&majority)));
        self.network.heal_among(&majority);
        for &node in &majority {
            if let Some(host) = self.hosts.get_mut(&node) {
                host.slow = None;
                host.disarm();
            }
            self.cure(node);
            self.set_drift(node, 0);
            self.resume(node);
            self.start(node);
        }
        for &node in &minority {
            self.keep_out(node);
        }
        let healed = Healed { at: self.now, nodes: majority };
        if let Some(swarm) = &mut self.swarm {
            swarm.healed = Some(healed);
        }
    }

    /// A node of the minority goes down or is cut off. Half connected it could lead with one node of the majority as its
    /// bridge: legal, but then the majority's progress is not the majority's own (Howard and Abraham 2020).
    fn keep_out(&mut self, node: NodeId) {
        let raft = &self.scenario.raft;
        // Who is heard and hears nothing must find nobody who listens (Thesis §4.2.3, §6.2, §9.6).
        let robust = raft.pre_vote && raft.check_quorum && raft.stickiness;
        let (alone, all) = (BTreeSet::from([node]), self.nodes());
        let (out, back) = (links_between(&alone, &all), links_between(&all, &alone));
        let (links, fault, how) = match self.choices.draw(HEAL, node.0, 1).below(if robust { 4 } else { 3 }) {
            0 => {
                self.emit_fault(format!("{node} stays down"));
                self.crash(node, CrashKind::Kill, Keep::Everything);
                return;
            }
            1 => (out.union(&back).copied().collect(), Fault::Partition, "cut off"),
            2 => (out, Fault::OneWayCut, "mute"),
            _ => (back, Fault::OneWayCut, "deaf"),
        };
        self.emit_fault(format!("{node} stays {how}"));
        self.ledger.inject(fault);
        self.network.cut(links, fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::What;
    use crate::testing;
    use crate::world::Emission;

    /// How far the clocks of this world are made to drift at most.
    fn most_drift(world: &mut World) -> u32 {
        while world.advance() {}
        let mut emissions = Vec::new();
        world.take_emissions(&mut emissions);
        let drifts = emissions.iter().filter_map(|emission| {
            let Emission::Record(record) = emission else { return None };
            let What::Fault { label } = &record.what else { return None };
            let ppm = label.split_once(" drifts by ")?.1.strip_suffix(" ppm")?;
            Some(ppm.parse::<i32>().expect("a number").unsigned_abs())
        });
        drifts.max().unwrap_or(0)
    }

    #[test]
    fn half_of_the_runs_have_leases_and_then_no_clock_drifts_further_than_they_allow_for() {
        let mut scenario = testing::swarm(3);
        scenario.clients.count = 0;
        let features = [Feature::ClockDrift, Feature::LeaseReads].into();
        scenario.swarm = scenario.swarm.map(|model| SwarmModel { features, ..model });
        let scenario = Arc::new(scenario);
        let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..30 {
            let mut world = World::new(&scenario, seed);
            let most = most_drift(&mut world);
            let raft = &world.scenario.raft;
            let bound = raft.max_clock_drift_ppm;
            assert!(!raft.lease_reads || most <= bound, "seed {seed}: {most} ppm where {bound} are allowed for");
            if raft.lease_reads { &mut with } else { &mut without }.insert((bound, most > 10_000));
        }
        assert!(with.len() > 3 && with.contains(&(300_000, true)), "{with:?}");
        assert!(without.contains(&(10_000, true)), "where nothing rests on clocks they may be as wrong as can be");
    }
}
