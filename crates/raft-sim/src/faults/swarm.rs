//! Random faults. Each run omits each feature with probability one half: runs with all features look alike, and some
//! faults hide others (Groce et al., "Swarm testing", 2012).
//!
//! A run injects only faults that Raft promises to survive: all nodes may crash, and few disks may break promises (see
//! `damage`), so safety must always hold. At `heal_at` a random majority is healed for good while the minority stays
//! down or isolated: progress must resume (Raft §2). The file of each kind of fault has its draws.

use crate::faults::damage::Broken;
use crate::faults::{Fault, disks, guards, load, snapshots};
use crate::record::{CrashKind, SimTime};
use crate::rng::{Choices, Draw, Site};
use crate::scenario::feature::{Feature, timed};
use crate::scenario::model::{Keep, RaftSettings, Scenario, StepAction, SwarmModel, Targets};
use crate::world::steps::Terms;
use crate::world::{Event, Healed, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const FEATURE: Site = Site::new("swarm feature");
const END_OF_STEPS: Site = Site::new("end of steps");
const FAULT: Site = Site::new("swarm fault");

/// The faults of a run.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// The faults of this run that begin at drawn times.
    timed: Vec<Feature>,
    pub(crate) heal_at: SimTime,
    mean_interval: Duration,
    /// The longest election timeout, the unit for the length of faults.
    pub(crate) timeout: Duration,
    pub(crate) broken: Broken,
    /// The majority, once it is healed.
    pub(crate) healed: Option<Healed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SwarmEvent {
    Fault(u64),
    Restart(NodeId),
    /// The power loss that follows a kill and a restart, and its length.
    PowerLossAfterRestart(NodeId, Duration),
    /// A node is killed and starts again at once.
    KillAndRestart(NodeId),
    /// The old copy of a disk may start.
    OldDisk(NodeId),
    /// The operator begins backups.
    Backup(u64),
    /// The operator makes a new cluster.
    Restore(u64),
    /// A client made for it reads.
    Read(u64),
    Heal,
    /// The faults of the steps before the swarm end.
    EndOfSteps,
}

/// Whether a run has a feature; the answer is always the same.
pub(crate) fn draws(scenario: &Scenario, choices: &mut Choices, feature: Feature) -> bool {
    let may = scenario.swarm.as_ref().is_some_and(|model| model.may_have(feature));
    may && choices.draw(FEATURE, feature as u64, 0).chance_ppm(500_000)
}

/// The features of the run of a swarm with this seed.
pub(crate) fn features_of(scenario: &Scenario, choices: &mut Choices) -> BTreeSet<Feature> {
    let features = scenario.swarm.iter().flat_map(|model| &model.features).copied();
    features.filter(|&feature| draws(scenario, choices, feature)).collect()
}

/// Draws settings of a scenario for one run.
type DrawSettings = fn(&mut Scenario, &mut Choices);

/// The scenario of this run: each setting as written, or as drawn.
pub(crate) fn as_drawn(scenario: &Arc<Scenario>, choices: &mut Choices) -> Arc<Scenario> {
    let settings: [(Feature, DrawSettings); 11] = [
        (Feature::LeaseReads, load::draw_leases),
        (Feature::Reserve, disks::draw_reserve),
        (Feature::SeveralKeys, load::draw_several_keys),
        (Feature::Busy, load::draw_busy_threads),
        (Feature::Forwarding, load::draw_forwarding),
        (Feature::Watches, load::draw_watches),
        (Feature::Sessions, load::draw_sessions),
        (Feature::OpenCommands, load::draw_open_commands),
        (Feature::ExpiringKeys, load::draw_expiring_keys),
        (Feature::GuardsOff, guards::draw_guards),
        (Feature::MachinePause, load::draw_resumed_processes),
    ];
    let mut drawn = Arc::clone(scenario);
    for (feature, draw) in settings {
        if draws(scenario, choices, feature) {
            draw(Arc::make_mut(&mut drawn), choices);
        }
    }
    drawn
}

impl World {
    /// Draws the faults of this run, and plans its first fault and its healing.
    pub(crate) fn begin_swarm(&mut self) {
        let Some(model) = self.scenario.swarm.clone().filter(|model| !model.after_branch) else { return };
        let chosen = self.features.clone();
        let timeout = self.scenario.raft.election_timeout.end;
        let network = self.swarm_network(&chosen, timeout);
        self.network.set_swarm_model(network);
        let SwarmModel { mean_interval, heal_at, .. } = model;
        let swarm = Swarm {
            timed: timed().filter(|feature| chosen.contains(feature) && !self.leases_forbid(*feature)).collect(),
            heal_at: SimTime(0).after(heal_at),
            mean_interval,
            timeout,
            broken: Broken::default(),
            healed: None,
        };
        self.swarm_names_damage();
        self.plan(swarm.heal_at, Event::Swarm(SwarmEvent::Heal));
        self.swarm = Some(swarm);
        self.plan_fault(1);
        if chosen.contains(&Feature::Backups) {
            self.plan_swarm_backup(1);
        }
        if chosen.contains(&Feature::Restores) {
            self.plan_swarm_restore(1);
        }
        if chosen.contains(&Feature::Reads) {
            self.plan_swarm_read(1);
        }
    }

    /// A node's settings: the scenario's, with the values that this run draws for the node.
    pub(crate) fn draw_settings(&mut self, node: NodeId) -> RaftSettings {
        let mut settings = self.scenario.raft.clone();
        if self.draws_feature(Feature::Snapshots) {
            snapshots::draw_snapshots(&mut self.choices, node, self.scenario.clients.keys, &mut settings);
        }
        if self.draws_feature(Feature::StalledDisk) {
            self.draw_write_stall(node, &mut settings);
        }
        if self.draws_feature(Feature::Limits) {
            self.draw_limits(node, &mut settings);
        }
        if let Some(own) = self.scenario.raft.of.get(&node) {
            own.apply(&mut settings);
            self.emit_limits(node, &settings);
        }
        settings
    }

    /// Whether this run has a feature; the answer is always the same.
    pub(crate) fn draws_feature(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Begins a swarm that waits for the first branch.
    pub(crate) fn begin_swarm_at_branch(&mut self) {
        let waits = self.swarm.is_none() && self.scenario.swarm.as_ref().is_some_and(|model| model.after_branch);
        if !waits {
            return;
        }
        Arc::make_mut(&mut self.scenario).swarm.iter_mut().for_each(|model| model.after_branch = false);
        self.features = features_of(&self.scenario, &mut self.choices);
        self.script.end();
        self.begin_swarm();
        let timeout = self.scenario.raft.election_timeout.end;
        let delay = self.choices.draw(END_OF_STEPS, 0, 0).in_range(&(Duration::ZERO..timeout.saturating_mul(8)));
        self.plan_after(delay, Event::Swarm(SwarmEvent::EndOfSteps));
    }

    fn plan_fault(&mut self, n: u64) {
        let Some(swarm) = &self.swarm else { return };
        if !swarm.timed.is_empty() {
            let pause = Duration::ZERO..swarm.mean_interval.saturating_mul(2).max(Duration::from_micros(1));
            let delay = self.choices.draw(FAULT, n, 0).in_range(&pause);
            self.plan_after(delay, Event::Swarm(SwarmEvent::Fault(n)));
        }
    }

    /// Handles a planned change. After the healing only the healing matters: the minority keeps its faults.
    pub(crate) fn swarm_event(&mut self, event: SwarmEvent) {
        if self.swarm.as_ref().is_none_or(|swarm| swarm.healed.is_some()) {
            return;
        }
        match event {
            SwarmEvent::Fault(n) => {
                self.fault(n);
                self.plan_fault(n + 1);
            }
            SwarmEvent::Restart(node) => self.start_node(node),
            SwarmEvent::PowerLossAfterRestart(node, lasts) => self.swarm_power_loss_after_restart(node, lasts),
            SwarmEvent::KillAndRestart(node) => {
                self.strike(crash_of(node, CrashKind::Kill, Keep::Everything), Some(Duration::ZERO));
            }
            SwarmEvent::OldDisk(node) => self.swarm_old_disk(node),
            SwarmEvent::Backup(n) => self.swarm_backup(n),
            SwarmEvent::Restore(n) => self.swarm_restore(n),
            SwarmEvent::Read(n) => self.swarm_read(n),
            SwarmEvent::Heal => self.heal_majority(),
            SwarmEvent::EndOfSteps => {
                self.strike(StepAction::Heal, None);
                self.strike(StepAction::Restart { nodes: Targets::All }, None);
            }
        }
    }

    /// Injects the n-th fault: its kind, its position and its length all have separate addresses.
    fn fault(&mut self, n: u64) {
        let Some(swarm) = &self.swarm else { return };
        let timeout = swarm.timeout;
        let Some(feature) = self.choices.draw(FAULT, n, 1).pick(&swarm.timed) else { return };
        let length = self.choices.draw(FAULT, n, 2).in_range(&(timeout / 8..timeout.saturating_mul(6)));
        match feature {
            Feature::Partition => self.swarm_partition(n, length),
            Feature::OneWayCut => self.swarm_one_way_cut(n, length),
            Feature::IsolateLeader => self.swarm_isolate_leader(n, length),
            Feature::Kill => self.swarm_crash(n, CrashKind::Kill, length),
            Feature::PowerLoss => self.swarm_crash(n, CrashKind::PowerLoss, length),
            Feature::CrashAtBoundary => self.swarm_crash_at_boundary(n, length),
            Feature::CrashAtDiskOperation => self.swarm_crash_at_disk_operation(n, length),
            Feature::KillRestartPowerLoss => self.swarm_kill_restart_power_loss(n, length),
            Feature::SlowDisk => self.swarm_slow_disk(n, length),
            Feature::ClockDrift => self.swarm_drift(n, length),
            Feature::Pause => self.swarm_pause(n, length),
            Feature::Membership => self.swarm_change(n),
            Feature::Transfer => self.swarm_transfer(n),
            Feature::Eio => self.swarm_disk_error(n, length),
            Feature::Enospc => self.swarm_full_disk(n, length),
            Feature::FsyncFailed => self.swarm_failed_sync(n),
            Feature::BitRot => self.swarm_damage(n, Fault::BitRot, length),
            Feature::MisdirectedWrite => self.swarm_damage(n, Fault::MisdirectedWrite, length),
            Feature::DiskWiped => self.swarm_lost_disk(n),
            Feature::DiskRolledBack => self.swarm_disk_rollback(n, length),
            Feature::ClientCut => self.swarm_cut_clients(n, length),
            Feature::DropKind => self.swarm_drop_kind(n, length),
            Feature::StalledDisk => self.swarm_stalled_disk(n, length),
            Feature::OperatorActs => self.swarm_act(n),
            Feature::Stranger => self.swarm_stranger(n),
            Feature::ClockJump => self.swarm_jump(n),
            Feature::MachinePause => self.swarm_suspend(n, length),
            // These are not timed: they belong to the noise, or to the settings.
            Feature::Loss
            | Feature::Duplicate
            | Feature::Reorder
            | Feature::Snapshots
            | Feature::LeaseReads
            | Feature::Reserve
            | Feature::SeveralKeys
            | Feature::Limits
            | Feature::Busy
            | Feature::Unreachable
            | Feature::Forwarding
            | Feature::Backups
            | Feature::Restores
            | Feature::Watches
            | Feature::Sessions
            | Feature::OpenCommands
            | Feature::Reads
            | Feature::ExpiringKeys
            | Feature::GuardsOff
            | Feature::SlowNetwork
            | Feature::UnevenLinks
            | Feature::MessagePriority
            | Feature::NodeCount => {}
        }
    }

    /// Carries out an act of the swarm, as a step of a scenario would.
    pub(crate) fn strike(&mut self, action: StepAction, lasts: Option<Duration>) {
        self.perform(&action, Terms { lasts, ..Terms::default() });
    }

    /// Draws a choice about the n-th fault.
    pub(crate) fn detail(&mut self, n: u64, place: u64) -> Draw {
        self.choices.draw(FAULT, n, 8 + place)
    }

    pub(crate) fn drawn_node(&mut self, n: u64) -> NodeId {
        NodeId(1 + self.detail(n, 0).below(self.scenario.nodes))
    }
}

/// The step that acts on one node.
pub(crate) fn only(node: NodeId) -> Targets {
    Targets::Nodes([node].into())
}

/// The step that crashes one node now.
pub(crate) fn crash_of(node: NodeId, crash: CrashKind, keep: Keep) -> StepAction {
    StepAction::Crash { nodes: only(node), crash, after: None, keep }
}
