//! Disks that are slow, and disks whose calls fail: errors, no space, failed syncs.
//!
//! A failed call ends its process and breaks no promise, so it may hit any node.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::{crash_of, only};
use crate::faults::{Fault, list};
use crate::record::{CrashKind, RecordKind};
use crate::rng::{Choices, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::{RaftSettings, Scenario, StepAction};
use crate::world::disk::{InjectedError, SimDisk};
use crate::world::host::Host;
use crate::world::{Emission, World};
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

const ERROR: Site = Site::new("disk ailment");
const RESERVE: Site = Site::new("swarm reserve");
const STALL: Site = Site::new("swarm write stall");

impl InjectedError {
    const fn fault(self) -> Fault {
        match self {
            Self::ReadError | Self::WriteError => Fault::Eio,
            Self::NoSpace => Fault::Enospc,
            Self::FailedSync => Fault::FsyncFailed,
        }
    }
}

/// The effect on the world.
impl World {
    /// Makes calls to a disk fail: after this many more, in a drawn way.
    fn inject_error(&mut self, host: &mut Host, error: InjectedError, after: u64) {
        self.disturbed = self.now;
        host.injected += 1;
        let bits = self.choices.draw(ERROR, host.id.0, host.injected).bits();
        host.any_disk().into_iter().for_each(|disk| disk.inject_error(error, after, bits));
        self.fault_counts.inject(error.fault());
    }

    /// Makes a disk as fast as the scenario's, and its calls succeed.
    pub(crate) fn repair_disk(host: &mut Host) {
        host.slow = None;
        host.any_disk().into_iter().for_each(SimDisk::clear_errors);
    }

    /// Counts failed calls that the store has survived: the node need not stop because of them.
    pub(crate) fn note_survived_errors(&mut self, host: &mut Host) {
        let fired = host.any_disk().map(SimDisk::take_fired).unwrap_or_default();
        fired.into_iter().for_each(|error| self.fault_counts.note_effect(error.fault()));
    }

    /// Records the faults that have made calls to a node's disk fail, and counts damage that ended its process.
    pub(crate) fn record_fired_errors(&mut self, host: &mut Host) {
        let fired = host.any_disk().map(SimDisk::take_fired).unwrap_or_default();
        if fired.is_empty() && host.damaged.is_none() {
            return;
        }
        self.emissions.push(Emission::View(None));
        for fault in fired.into_iter().map(InjectedError::fault).collect::<BTreeSet<Fault>>() {
            self.fault_counts.note_effect(fault);
            self.emit(None, Some(host.id), RecordKind::DiskFault { fault, place: String::new() });
        }
        host.damaged.into_iter().for_each(|fault| self.fault_counts.note_effect(fault));
    }
}

/// The steps of a scenario.
impl World {
    pub(crate) fn slow_disk_step(
        &mut self,
        nodes: &BTreeSet<NodeId>,
        latency: &Range<Duration>,
        lasts: Option<Duration>,
    ) {
        self.emit_fault(format!("disk latency of {}: {latency:?}", list(nodes)));
        self.fault_counts.inject(Fault::SlowDisk);
        self.on_each(nodes, |_, host| host.slow = Some(latency.clone()));
        self.each_ends_after(lasts, nodes, FaultEnd::Fast);
    }

    pub(crate) fn disk_error_step(
        &mut self,
        nodes: &BTreeSet<NodeId>,
        error: InjectedError,
        after: u64,
        lasts: Option<Duration>,
    ) {
        self.emit_fault(format!("{error} at {}", list(nodes)));
        self.on_each(nodes, |world, host| world.inject_error(host, error, after));
        self.each_ends_after(lasts, nodes, FaultEnd::Space);
    }
}

/// The draws of a swarm.
impl World {
    pub(crate) fn swarm_slow_disk(&mut self, n: u64, length: Duration) {
        // If a write may count as stalled, the leader's disk matters most, provided it is slow enough.
        let leader = self.leader().filter(|_| self.draws_feature(Feature::Limits));
        let leader = leader.filter(|_| self.detail(n, 2).chance_ppm(750_000));
        let node = leader.unwrap_or(self.drawn_node(n));
        let most = self.scenario.disk.latency.end;
        let factor = [5, 30, 200][self.detail(n, 1).below(3) as usize];
        let factor = if leader.is_some() { 200 } else { factor };
        let latency = most..most.saturating_mul(factor);
        self.strike(StepAction::DiskLatency { nodes: only(node), latency }, Some(length));
    }

    /// Draws how long a write may take, so that a stalled disk exceeds it in this run.
    pub(crate) fn draw_write_stall(&mut self, node: NodeId, settings: &mut RaftSettings) {
        let timeout = settings.election_timeout.end;
        let most = [timeout / 2, timeout, timeout.saturating_mul(2)];
        settings.max_write_stall = most[self.choices.draw(STALL, node.0, 0).below(3) as usize];
        if !self.draws_feature(Feature::Limits) {
            self.emit_limits(node, settings);
        }
    }

    /// Makes a disk, mostly the leader's, so slow that a write takes longer than its node allows.
    pub(crate) fn swarm_stalled_disk(&mut self, n: u64, length: Duration) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(750_000)).unwrap_or(drawn);
        self.fault_counts.inject(Fault::StalledDisk);
        // What the disk has begun takes that long after the healing too.
        let most = self.scenario.raft.election_timeout.end.saturating_mul(2);
        let stall = self.hosts.get(&node).map_or(most, |host| host.max_write_stall().min(most));
        let latency = stall..stall.saturating_mul(2);
        self.strike(StepAction::DiskLatency { nodes: only(node), latency }, Some(length));
    }

    /// Makes one call fail, in the node's normal work or in a recovery.
    pub(crate) fn swarm_disk_error(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let reads = self.detail(n, 1).chance_ppm(400_000);
        let after = self.detail(n, 3).below(if reads { 4 } else { 10 });
        let error = if reads { InjectedError::ReadError } else { InjectedError::WriteError };
        self.strike(StepAction::InjectedError { nodes: only(node), error, after_calls: after }, None);
        // A running node reads rarely.
        if reads || self.detail(n, 4).chance_ppm(250_000) {
            self.restart_soon(n, node, length);
        }
    }

    pub(crate) fn swarm_failed_sync(&mut self, n: u64) {
        let node = self.drawn_node(n);
        let after = self.detail(n, 1).below(4);
        let error = InjectedError::FailedSync;
        self.strike(StepAction::InjectedError { nodes: only(node), error, after_calls: after }, None);
    }

    pub(crate) fn swarm_full_disk(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        // If space is preallocated, it matters which step of a preallocation fails.
        let after = if self.scenario.disk.reserve_bytes > 0 { self.detail(n, 7).below(4) } else { 0 };
        let error = InjectedError::NoSpace;
        self.strike(StepAction::InjectedError { nodes: only(node), error, after_calls: after }, Some(length));
        if self.detail(n, 4).chance_ppm(400_000) {
            self.restart_soon(n, node, length / 2);
        }
    }

    fn restart_soon(&mut self, n: u64, node: NodeId, length: Duration) {
        let (crash, keep): (CrashKind, _) = (self.drawn_crash(n, 5, 500_000), self.drawn_keep(n));
        self.strike(crash_of(node, crash, keep), Some(length / 8));
    }
}

/// Draws reserves that last for some seconds of client writes, or for a fraction of a second. An append is small
/// compared with a reserve: one passes whatever its size.
pub(crate) fn draw_reserve(scenario: &mut Scenario, choices: &mut Choices) {
    let reserve_bytes = [16 << 10, 32 << 10, 128 << 10][choices.draw(RESERVE, 0, 0).below(3) as usize];
    scenario.disk.reserve_bytes = reserve_bytes;
    scenario.raft.max_append_bytes = scenario.raft.max_append_bytes.min(reserve_bytes / 8);
}
