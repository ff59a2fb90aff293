//! Processes that are killed and machines that lose power, at any time: between calls, among the outputs of a call, between two
//! calls to a disk. This file also starts them again.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::{SwarmEvent, crash_of, only};
use crate::faults::{Fault, list};
use crate::record::{CrashKind, RecordKind};
use crate::rng::{Draw, Site};
use crate::scenario::model::{CrashAfter, Keep, StepAction};
use crate::world::disk::{Choice, ChoiceKind, PowerCase, PowerLoss, PowerLossReport, SimDisk};
use crate::world::host::{Armed, Host};
use crate::world::{Emission, Event, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

const NODE_SEED: Site = Site::new("node seed");
const POWER: Site = Site::new("power loss");

/// More than the number of kinds of choices about one operation.
const KINDS: u64 = 8;

/// The answer that keeps an operation completely.
const KEPT: u64 = 1;

/// The fault that this answer to a choice in a power loss is, if it is one.
const fn loss_of(choice: ChoiceKind, answer: u64) -> Option<Fault> {
    match (choice, answer) {
        (ChoiceKind::Write | ChoiceKind::Length, 0) => Some(Fault::UnsyncedLost),
        (ChoiceKind::Write, 2) => Some(Fault::TornWrite),
        (ChoiceKind::Name, 0) => Some(Fault::RenameLost),
        _ => None,
    }
}

impl CrashKind {
    /// The fault that counts this crash.
    pub(crate) const fn fault(self) -> Fault {
        match self {
            Self::Kill => Fault::Kill,
            Self::PowerLoss => Fault::PowerLoss,
            Self::DiskLoss => Fault::DiskWiped,
            Self::DiskRollback => Fault::DiskRolledBack,
        }
    }
}

/// The effect on the world.
impl World {
    pub(crate) fn crash_node(&mut self, node: NodeId, crash: CrashKind, keep: Keep) {
        self.on(node, |world, host| world.crash(host, crash, keep));
    }

    pub(crate) fn start_node(&mut self, node: NodeId) {
        self.on(node, Self::start);
    }

    /// Ends a process. A power loss also takes the unsynced data of its disk, and the loss of a disk takes all of it.
    /// Both happen to machines that are down, too.
    pub(crate) fn crash(&mut self, host: &mut Host, crash: CrashKind, keep: Keep) {
        self.disturbed = self.now;
        if host.process.is_none() && crash == CrashKind::Kill {
            return;
        }
        host.disarm();
        let interrupted = host.stop();
        let lost = match crash {
            CrashKind::Kill => {
                host.disk().into_iter().for_each(SimDisk::crash_kill);
                0
            }
            CrashKind::PowerLoss => self.lose_power(host, keep),
            CrashKind::DiskLoss => host.lose_disk(),
            CrashKind::DiskRollback => host.roll_back_disk(),
        };
        host.downed_by = Some(crash);
        self.fault_counts.inject(crash.fault());
        if interrupted || lost > 0 {
            self.fault_counts.note_effect(crash.fault());
        }
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(host.id), RecordKind::Crashed { crash, lost });
    }

    /// Returns how many bytes and names are lost.
    fn lose_power(&mut self, host: &mut Host, keep: Keep) -> u64 {
        // The address of a choice names the operation and the power loss.
        let key = (host.id.0 << 32) ^ host.power_losses;
        let Some(disk) = host.disk() else { return 0 };
        let (choices, scenario) = (&mut self.choices, &self.scenario);
        let mut choose = |choice: Choice| {
            let n = choice.operation * KINDS + choice.kind as u64;
            let answer = choices.draw(POWER, key, n).below(choice.options);
            if loss_of(choice.kind, answer).is_some_and(|fault| scenario.is_without(fault)) { KEPT } else { answer }
        };
        self.power_case = match keep {
            Keep::Case(number) => Some(PowerCase::new(&disk.pending(), number)),
            Keep::Random | Keep::Nothing | Keep::Everything => None,
        };
        let case = self.power_case.clone();
        let mut counted = |choice| case.as_ref().map_or(0, |case| case.answer(choice));
        let report = disk.crash_power(match keep {
            Keep::Case(_) => PowerLoss::Choose(&mut counted),
            Keep::Random => PowerLoss::Choose(&mut choose),
            Keep::Nothing => PowerLoss::KeepNothing,
            Keep::Everything => PowerLoss::KeepAll,
        });
        host.power_losses += 1;
        self.count_losses(&report);
        report.bytes_lost + report.names_lost
    }

    fn count_losses(&mut self, report: &PowerLossReport) {
        let losses = [
            (Fault::UnsyncedLost, report.operations_lost),
            (Fault::TornWrite, report.torn_writes),
            (Fault::RenameLost, report.names_lost),
        ];
        for (fault, _) in losses.into_iter().filter(|(_, count)| *count > 0) {
            self.fault_counts.note_effect(fault);
        }
    }

    pub(crate) fn start(&mut self, host: &mut Host) {
        self.disturbed = self.now;
        if self.is_retired(host.id) || host.process.is_some() {
            return;
        }
        self.ended.remove(&host.id);
        let seed = self.choices.draw(NODE_SEED, host.id.0, host.incarnation).bits();
        match host.start(seed) {
            Ok(started) => {
                self.emissions.push(Emission::View(host.view()));
                self.emit(None, Some(host.id), started);
                self.disk_is_sound(host.id);
                self.announce_reserve(host);
                self.arrange_timer(host);
            }
            Err(_) if self.fire_at_disk(host) => {}
            Err(error) => self.refuses(host, error),
        }
    }

    /// Records that a node does not run, and why.
    fn refuses(&mut self, host: &mut Host, error: String) {
        self.record_fired_errors(host);
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(host.id), RecordKind::RefusedToStart { error });
        self.swarm_refused(host);
    }

    /// Fires a crash that was armed.
    pub(crate) fn crash_armed(&mut self, host: &mut Host, armed: Armed) {
        self.crash(host, armed.crash, armed.keep);
        if let Some(delay) = armed.restart_after {
            self.plan_after(delay, Event::Restart(host.id));
        }
    }

    /// Fires the crash that was armed at the disk, if the disk's failure is that crash.
    fn fire_at_disk(&mut self, host: &mut Host) -> bool {
        let Some(armed) = host.take_disk_crash() else { return false };
        // The last call may have failed by itself, too: a failed sync may drop what was written.
        self.record_fired_errors(host);
        host.disarm();
        self.fault_counts.note_effect(Fault::CrashAtDiskOperation);
        self.crash_armed(host, armed);
        true
    }

    /// Ends the process after a failed disk task: only a recovery can tell what is on the disk.
    pub(crate) fn store_failed(&mut self, host: &mut Host, error: &str) {
        if self.fire_at_disk(host) {
            return;
        }
        self.disturbed = self.now;
        host.disarm();
        host.stop();
        self.refuses(host, format!("the store failed: {error}"));
    }
}

/// The step of a scenario.
impl World {
    pub(crate) fn crash_step(
        &mut self,
        nodes: &BTreeSet<NodeId>,
        crash: CrashKind,
        after: Option<CrashAfter>,
        keep: Keep,
        lasts: Option<Duration>,
    ) {
        let how = match crash {
            CrashKind::Kill => "kill",
            CrashKind::PowerLoss => "power loss",
            CrashKind::DiskLoss => "wipe",
            CrashKind::DiskRollback => "set back the disk of",
        };
        let armed = |after| Armed { after, crash, keep, restart_after: lasts };
        match after {
            None if self.swarm.is_some() && matches!(crash, CrashKind::DiskLoss | CrashKind::DiskRollback) => {
                nodes.iter().for_each(|node| self.swarm_loses_disk(*node, crash, lasts));
            }
            None => {
                self.emit_fault(format!("{how} {}", list(nodes)));
                self.on_each(nodes, |world, host| world.crash(host, crash, keep));
                self.each_ends_after(lasts, nodes, FaultEnd::Restart);
            }
            Some(CrashAfter::Actions(after)) => {
                self.emit_fault(format!("{how} {} after {after} outputs", list(nodes)));
                self.on_each(nodes, |_, host| host.armed = Some(armed(after)));
            }
            Some(CrashAfter::Calls(after)) => {
                self.emit_fault(format!("{how} {} after {after} calls to its disk", list(nodes)));
                self.arm_disks(nodes, &armed(after), false);
            }
            Some(CrashAfter::NewFile(after)) => {
                self.emit_fault(format!(
                    "{how} {} after {after} calls to its disk from its next new file on",
                    list(nodes)
                ));
                self.arm_disks(nodes, &armed(after), true);
            }
        }
    }

    fn arm_disks(&mut self, nodes: &BTreeSet<NodeId>, armed: &Armed, from_new_file: bool) {
        self.fault_counts.inject(Fault::CrashAtDiskOperation);
        self.on_each(nodes, |_, host| host.arm_disk(armed.clone(), from_new_file));
    }
}

/// The draws of a swarm.
impl World {
    /// Crashes one node in most cases; otherwise some, or all at once.
    pub(crate) fn swarm_crash(&mut self, n: u64, crash: CrashKind, length: Duration) {
        let nodes: BTreeSet<NodeId> = match self.detail(n, 1).below(8) {
            0 => self.nodes(),
            1 | 2 => self.nodes().into_iter().filter(|node| self.detail(n, 16 + node.0).chance_ppm(500_000)).collect(),
            3 => self.leader().into_iter().collect(),
            _ => [self.drawn_node(n)].into(),
        };
        for node in nodes {
            let keep = self.drawn_keep(n);
            let down = self.detail(n, 64 + node.0).in_range(&(Duration::ZERO..length));
            self.strike(crash_of(node, crash, keep), Some(down));
        }
    }

    /// The outcome is drawn for each operation in most cases; the extremes are useful too.
    pub(crate) fn drawn_keep(&mut self, n: u64) -> Keep {
        match self.detail(n, 2).below(8) {
            0 => Keep::Everything,
            1 | 2 => Keep::Nothing,
            _ => Keep::Random,
        }
    }

    /// Draws a kill with this probability, otherwise a power loss.
    pub(crate) fn drawn_crash(&mut self, n: u64, place: u64, kill_ppm: u32) -> CrashKind {
        if self.detail(n, place).chance_ppm(kill_ppm) { CrashKind::Kill } else { CrashKind::PowerLoss }
    }

    /// Crashes a node among the outputs of a call.
    pub(crate) fn swarm_crash_at_boundary(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let after = u32::try_from(self.detail(n, 1).below(6)).unwrap_or(0);
        let crash = self.drawn_crash(n, 3, 500_000);
        let (after, keep) = (Some(CrashAfter::Actions(after)), self.drawn_keep(n));
        if self.is_up(node) {
            self.strike(StepAction::Crash { nodes: only(node), crash, after, keep }, Some(length));
        }
    }

    /// In most cases the crash hits the node's normal work; sometimes it hits the recovery after an earlier crash.
    pub(crate) fn swarm_crash_at_disk_operation(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let from_creation = self.detail(n, 5).chance_ppm(500_000);
        let after = u32::try_from(self.detail(n, 1).below(if from_creation { 6 } else { 12 })).unwrap_or(0);
        let crash = self.drawn_crash(n, 3, 250_000);
        let after = if from_creation { CrashAfter::NewFile(after) } else { CrashAfter::Calls(after) };
        let keep = self.drawn_keep(n);
        if self.detail(n, 4).chance_ppm(250_000) {
            self.strike(crash_of(node, CrashKind::Kill, Keep::Everything), Some(length / 8));
        }
        self.strike(StepAction::Crash { nodes: only(node), crash, after: Some(after), keep }, Some(length / 8));
    }

    /// The data that recovery read after the kill must be durable before the node acknowledges anything. Otherwise the
    /// following power loss would take it back.
    pub(crate) fn swarm_kill_restart_power_loss(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        self.fault_counts.inject(Fault::KillRestartPowerLoss);
        let quick = |draw: Draw, most: Duration| draw.in_range(&(Duration::from_micros(1)..most));
        let up = quick(self.detail(n, 1), length / 4);
        let loss = up + quick(self.detail(n, 2), length / 4);
        self.strike(crash_of(node, CrashKind::Kill, Keep::Everything), Some(up));
        self.plan_after(loss, Event::Swarm(SwarmEvent::PowerLossAfterRestart(node, length / 4)));
    }

    pub(crate) fn swarm_power_loss_after_restart(&mut self, node: NodeId, lasts: Duration) {
        if self.is_up(node) {
            self.fault_counts.note_effect(Fault::KillRestartPowerLoss);
        }
        self.strike(crash_of(node, CrashKind::PowerLoss, Keep::Random), Some(lasts));
    }
}
