//! Processes that end at random, machines that lose power, at any moment: between calls, among the outputs of a call, between
//! two calls to a disk.

use super::SwarmEvent;
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::rng::Draw;
use crate::scenario::model::Keep;
use crate::steps::list;
use crate::world::host::Armed;
use crate::world::{Event, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    /// One node, mostly; else some, or all at once.
    pub(crate) fn crash_some(&mut self, n: u64, crash: CrashKind, length: Duration) {
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
    pub(crate) fn drawn_keep(&mut self, n: u64) -> Keep {
        match self.detail(n, 2).below(8) {
            0 => Keep::Everything,
            1 | 2 => Keep::Nothing,
            _ => Keep::Random,
        }
    }

    pub(crate) fn arm(&mut self, n: u64, length: Duration) {
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
    pub(crate) fn arm_disk(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let from_creation = self.detail(n, 5).chance_ppm(500_000);
        let after = u32::try_from(self.detail(n, 1).below(if from_creation { 6 } else { 12 })).unwrap_or(0);
        let crash = if self.detail(n, 3).chance_ppm(250_000) { CrashKind::Kill } else { CrashKind::PowerLoss };
        let armed = Armed { after, crash, keep: self.drawn_keep(n), restart_after: Some(length / 8) };
        let restarts = self.detail(n, 4).chance_ppm(250_000);
        let since = if from_creation { " from its next new file on" } else { "" };
        let restart = if restarts { ", killed and restarted first" } else { "" };
        self.emit_fault(format!("crash {node} after {after} calls to its disk{since}{restart}"));
        self.fault_counts.inject(Fault::CrashAtDiskOperation);
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
    pub(crate) fn kill_restart_power_loss(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        self.emit_fault(format!("kill {node}, restart, power loss"));
        self.fault_counts.inject(Fault::KillRestartPowerLoss);
        self.crash(node, CrashKind::Kill, Keep::Everything);
        let quick = |draw: Draw, most: Duration| draw.in_range(&(Duration::from_micros(1)..most));
        let up = quick(self.detail(n, 1), length / 4);
        let loss = up + quick(self.detail(n, 2), length / 4);
        self.plan_after(up, Event::Swarm(SwarmEvent::Restart(node)));
        self.plan_after(loss, Event::Swarm(SwarmEvent::PowerLossAfterRestart(node)));
        self.plan_after(loss + length / 4, Event::Swarm(SwarmEvent::Restart(node)));
    }
}
