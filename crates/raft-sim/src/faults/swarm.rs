//! Random faults. Each run leaves out each feature with probability one half: runs that have everything at once look
//! all alike, and some faults hide others (Groce et al., "Swarm testing", 2012).
//!
//! What Raft promises to survive is never exceeded: all nodes may crash, and few disks may lie (see `disks`), so safety must
//! hold always. At `heal_at` a random majority is healed for good while the minority stays down or cut off: progress
//! must come back (Raft §2).

mod crashes;
mod cuts;
mod disks;
mod healing;
mod limits;
mod membership;
mod snapshots;

use crate::faults::Fault;
use crate::record::{CrashKind, SimTime};
use crate::rng::{Choices, Draw, Site};
use crate::scenario::feature::{Feature, timed};
use crate::scenario::model::{ClientReads, Keep, NetworkModel, RaftSettings, Scenario, SwarmModel};
use crate::world::network::CutId;
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
const DRIFT_BOUND: Site = Site::new("swarm drift bound");
const BUSY: Site = Site::new("swarm busy");
const SEVERAL: Site = Site::new("swarm several keys");

/// The faults of a run.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// What strikes from time to time in this run.
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
    if draws(scenario, choices, Feature::SeveralKeys) {
        want_several_keys(Arc::make_mut(&mut drawn), choices);
    }
    if draws(scenario, choices, Feature::Busy) {
        be_busy(Arc::make_mut(&mut drawn), choices);
    }
    drawn
}

/// Threads that are at something for a moment, or for long enough to be taken for dead; and inboxes that are full soon, or
/// hardly ever.
fn be_busy(scenario: &mut Scenario, choices: &mut Choices) {
    let timeout = scenario.raft.election_timeout.start;
    let mut draw = |n, of: [u64; 3]| of[choices.draw(BUSY, n, 0).below(3) as usize];
    let process = &mut scenario.process;
    process.busy_ppm = draw(0, [10_000, 100_000, 400_000]) as u32;
    process.busy = Duration::ZERO..timeout / [100, 20, 4][draw(1, [0, 1, 2]) as usize];
    process.max_messages = draw(2, [2, 8, 8_192]) as usize;
    process.max_requests = draw(3, [1, 4, 16_384]) as usize;
    process.max_message_bytes = draw(4, [200, 2_000, 64 << 20]);
    process.max_request_bytes = draw(5, [20, 200, 64 << 20]);
}

/// Ranges and transactions beside all else, and in most runs some keys that live for less than an election, or for some.
fn want_several_keys(scenario: &mut Scenario, choices: &mut Choices) {
    let timeout = scenario.raft.election_timeout.end;
    let clients = &mut scenario.clients;
    (clients.mix.range, clients.mix.txn) = (3, 4);
    clients.ttl_ppm = [0, 100_000, 400_000][choices.draw(SEVERAL, 0, 0).below(3) as usize];
    clients.ttl = timeout / 8..timeout * [1, 4][choices.draw(SEVERAL, 1, 0).below(2) as usize];
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
            timed: timed().filter(|feature| chosen.contains(feature)).collect(),
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

    /// The settings of a node: the scenario's, but for what this run draws for each node.
    pub(crate) fn draw_settings(&mut self, node: NodeId) -> RaftSettings {
        let mut settings = self.scenario.raft.clone();
        if self.draws_feature(Feature::Snapshots) {
            self.draw_snapshots(node, &mut settings);
        }
        if self.draws_feature(Feature::Limits) {
            self.draw_limits(node, &mut settings);
        }
        settings
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
        if chosen.contains(&Feature::Unreachable) {
            model.unreachable_ppm = [10_000, 200_000, 1_000_000][draw(Feature::Unreachable, 0).below(3) as usize];
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
                    self.fault_counts.matter(Fault::KillRestartPowerLoss);
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
            Feature::Partition => self.partition_some(n, length),
            Feature::OneWayCut => self.cut_one_way(n, length),
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
            | Feature::Reserve
            | Feature::SeveralKeys
            | Feature::Limits
            | Feature::Busy
            | Feature::Unreachable => {}
        }
    }

    fn detail(&mut self, n: u64, place: u64) -> Draw {
        self.choices.draw(FAULT, n, 8 + place)
    }

    fn drawn_node(&mut self, n: u64) -> NodeId {
        NodeId(1 + self.detail(n, 0).below(self.scenario.nodes))
    }

    fn slow_disk(&mut self, n: u64, length: Duration) {
        // Where a write may count as stalled, the leader's disk matters most, if it is slow enough.
        let leader = self.leader().filter(|_| self.draws_feature(Feature::Limits));
        let leader = leader.filter(|_| self.detail(n, 2).chance_ppm(750_000));
        let node = leader.unwrap_or(self.drawn_node(n));
        let most = self.scenario.disk.latency.end;
        let factor = [5, 30, 200][self.detail(n, 1).below(3) as usize];
        let factor = if leader.is_some() { 200 } else { factor };
        let latency: Range<Duration> = most..most.saturating_mul(factor);
        self.emit_fault(format!("disk of {node} is slow"));
        self.fault_counts.inject(Fault::SlowDisk);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKind;
    use crate::testing;
    use crate::world::Emission;

    /// How far the clocks of this world are made to drift at most.
    fn most_drift(world: &mut World) -> u32 {
        while world.advance() {}
        let mut emissions = Vec::new();
        world.take_emissions(&mut emissions);
        let drifts = emissions.iter().filter_map(|emission| {
            let Emission::Record(record) = emission else { return None };
            let RecordKind::Fault { label } = &record.kind else { return None };
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
