//! Processes end without warning and start again.

use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::record::{CrashKind, RecordKind};
use crate::rng::Site;
use crate::scenario::model::Keep;
use crate::world::disk::{Choice, PowerCase, PowerLoss, PowerLossReport};
use crate::world::host::{Armed, Host};
use raft_core::NodeId;
use std::time::Duration;

const NODE_SEED: Site = Site::new("node seed");
const POWER: Site = Site::new("power loss");

/// More than there are kinds of choices about one operation.
const KINDS: u64 = 8;

impl World {
    /// Ends a process and, by power loss, what its disk had not synced, or all that is on it. Both strike the disk of a
    /// machine that is down, too. Returns whether it made a difference.
    pub(crate) fn crash(&mut self, node: NodeId, crash: CrashKind, keep: Keep) -> bool {
        self.disturbed = self.now;
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let was_up = host.process.is_some();
        if !was_up && crash == CrashKind::Kill {
            return false;
        }
        host.disarm();
        let interrupted = host.stop() | self.paused_queue.remove(&node).is_some();
        let power_losses = host.power_losses;
        let Some(disk) = host.disk() else { return false };
        let mut lost = 0;
        let fault = match crash {
            CrashKind::Kill => {
                disk.crash_kill();
                Fault::Kill
            }
            CrashKind::PowerLoss => {
                let choices = &mut self.choices;
                // The address names the operation and the power loss that struck it.
                let key = (node.0 << 32) ^ power_losses;
                let mut choose = |choice: Choice| {
                    let n = choice.operation * KINDS + choice.kind as u64;
                    choices.draw(POWER, key, n).below(choice.options)
                };
                self.power_case = match keep {
                    Keep::Case(number) => Some(PowerCase::new(&disk.pending(), number)),
                    _ => None,
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
                lost = report.bytes_lost + report.names_lost;
                self.count_losses(&report);
                Fault::PowerLoss
            }
            CrashKind::DiskLoss => {
                lost = host.lose_disk();
                Fault::DiskWiped
            }
            CrashKind::DiskRollback => {
                lost = host.set_disk_back();
                Fault::DiskRolledBack
            }
        };
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        host.downed_by = Some(crash);
        let had_effect = interrupted || lost > 0;
        self.fault_counts.inject(fault);
        if had_effect {
            self.fault_counts.matter(fault);
        }
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), RecordKind::Crashed { crash, lost });
        had_effect
    }

    fn count_losses(&mut self, report: &PowerLossReport) {
        let losses = [
            (Fault::UnsyncedLost, report.operations_lost),
            (Fault::TornWrite, report.torn_writes),
            (Fault::RenameLost, report.names_lost),
        ];
        for (fault, _) in losses.into_iter().filter(|(_, count)| *count > 0) {
            self.fault_counts.matter(fault);
        }
    }

    /// What the newest power loss left, if that was one of counted outcomes.
    pub(crate) const fn power_case(&self) -> Option<&PowerCase> {
        self.power_case.as_ref()
    }

    /// Has a crash strike a node in what it does next: after outputs of its next call, or calls to its disk.
    pub(crate) fn arm_now(&mut self, node: NodeId, armed: Armed, at_disk: bool) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if at_disk { host.arm_disk(armed, false) } else { host.armed = Some(armed) }
    }

    /// Whether a crash waits for a node.
    pub(crate) fn is_armed(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(Host::is_armed)
    }

    /// Starts a node that is down.
    pub(crate) fn start(&mut self, node: NodeId) {
        self.disturbed = self.now;
        if self.is_gone(node) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.process.is_none()) else { return };
        let seed = self.choices.draw(NODE_SEED, node.0, host.incarnation).bits();
        match host.start(seed) {
            Ok(started) => {
                self.emissions.push(Emission::View(host.view()));
                self.emit(None, Some(node), started);
                self.found_sound(node);
                self.look_out(node);
                self.arrange_timer(node);
            }
            Err(_) if self.strike_at_disk(node) => {}
            Err(error) => self.refuses(node, error),
        }
    }

    /// A node does not run, and says why.
    fn refuses(&mut self, node: NodeId, error: String) {
        self.note_struck(node);
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), RecordKind::RefusedToStart { error });
        self.swarm_refused(node);
    }

    /// Plans a start.
    pub(crate) fn plan_restart(&mut self, node: NodeId, delay: Duration) {
        self.plan_after(delay, Event::Restart { node });
    }

    /// Carries out the crash that waited for the disk, if the disk's failure is that crash.
    fn strike_at_disk(&mut self, node: NodeId) -> bool {
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let Some(armed) = host.take_disk_crash() else { return false };
        host.disarm();
        self.fault_counts.matter(Fault::CrashAtDiskOperation);
        self.crash(node, armed.crash, armed.keep);
        if let Some(delay) = armed.restart_after {
            self.plan_restart(node, delay);
        }
        true
    }

    /// A disk that cannot do what was asked ends the process: what is on it is unknown until recovery reads it.
    pub(super) fn store_failed(&mut self, node: NodeId, error: &str) {
        if self.strike_at_disk(node) {
            return;
        }
        self.disturbed = self.now;
        self.paused_queue.remove(&node);
        if let Some(host) = self.hosts.get_mut(&node) {
            host.disarm();
            host.stop();
        }
        self.refuses(node, format!("the store failed: {error}"));
    }
}
