//! What goes wrong with disks: damage that nobody is told of, calls that fail, a machine that comes back with an older disk.
//!
//! This file must not choose whom it strikes: that is the script's and the swarm's.

use super::{Emission, World};
use crate::faults::Fault;
use crate::record::{CrashKind, RecordKind};
use crate::rng::Site;
use crate::scenario::model::Keep;
use crate::world::disk::{InjectedError, SECTOR_BYTES, Sector, SimDisk};
use crate::world::host::{Host, SEGMENTS};
use raft_core::NodeId;
use std::collections::BTreeSet;

const ROT: Site = Site::new("bit rot");
const MISDIRECTED: Site = Site::new("misdirected write");
const AILMENT: Site = Site::new("disk ailment");

impl World {
    /// Has calls to a disk fail: after so many more, in a way that is drawn.
    pub(crate) fn inject_error(&mut self, node: NodeId, error: InjectedError, after: u64) {
        self.disturbed = self.now;
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.injected += 1;
        let bits = self.choices.draw(AILMENT, node.0, host.injected).bits();
        if let Some(disk) = host.any_disk() {
            disk.inject_error(error, after, bits);
        }
        self.fault_counts.inject(fault_of(error));
    }

    /// Ends everything that makes calls to a disk fail.
    pub(crate) fn clear_errors(&mut self, node: NodeId) {
        if let Some(disk) = self.hosts.get_mut(&node).and_then(Host::any_disk) {
            disk.clear_errors();
        }
    }

    /// Whether calls to a node's disk may fail.
    pub(crate) fn is_ill(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.disk_to_see().is_some_and(SimDisk::is_ill))
    }

    /// Damages what is durable on a node's disk, in a place that is drawn from all whose damage a start can tell from a torn
    /// write; false if there is none. Of the newest segment that is what was synced before the last group: the group vouches
    /// for what stands before it, and nothing vouches for the group.
    pub(crate) fn damage(&mut self, node: NodeId, fault: Fault) -> bool {
        self.disturbed = self.now;
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        host.damages += 1;
        let n = host.damages * 4;
        let Some(disk) = host.disk_to_see() else { return false };
        let newest = disk.last_used(SEGMENTS).unwrap_or_default().to_owned();
        let vouched = host.vouched.as_ref().filter(|(file, _)| *file == newest).map_or(0, |(_, end)| *end);
        let mut sectors = disk.used_sectors();
        sectors.retain(|sector| sector.file != newest || (sector.number + 1) * SECTOR_BYTES <= vouched);
        let mut pick = |site, n, from: &[Sector]| {
            let draw = self.choices.draw(site, node.0, n);
            from.get(draw.below(from.len() as u64) as usize).cloned()
        };
        let place = if fault == Fault::BitRot {
            let Some(sector) = pick(ROT, n, &sectors) else { return false };
            let bit = self.choices.draw(ROT, node.0, n + 1).below(SECTOR_BYTES * 8);
            if let Some(disk) = host.any_disk() {
                disk.rot(&sector, bit);
            }
            format!("{} byte {}", sector.file, sector.number * SECTOR_BYTES + bit / 8)
        } else {
            let Some(hit) = pick(MISDIRECTED, n, &sectors) else { return false };
            sectors.retain(|sector| *sector != hit && sector.file.starts_with(SEGMENTS));
            let Some(meant) = pick(MISDIRECTED, n + 1, &sectors) else { return false };
            if let Some(disk) = host.any_disk() {
                disk.misdirect(&meant, &hit);
            }
            format!("{} sector {} instead of {} sector {}", hit.file, hit.number, meant.file, meant.number)
        };
        host.damaged = Some(fault);
        self.fault_counts.inject(fault);
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), RecordKind::DiskFault { fault, place });
        true
    }

    /// Sets a machine's disk back to what it held at its newest start. Its process ends.
    pub(crate) fn roll_back(&mut self, node: NodeId) {
        self.crash(node, CrashKind::DiskRollback, Keep::Nothing);
    }

    /// Takes note of failed calls that the store has got over: they are no reason to stop.
    pub(super) fn got_over(&mut self, node: NodeId) {
        let struck = self.hosts.get_mut(&node).and_then(Host::any_disk).map(SimDisk::take_struck).unwrap_or_default();
        struck.into_iter().for_each(|error| self.fault_counts.matter(fault_of(error)));
    }

    /// Says what has made calls to a node's disk fail.
    pub(super) fn note_struck(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let struck = host.any_disk().map(|disk| disk.take_struck()).unwrap_or_default();
        if struck.is_empty() && host.damaged.is_none() {
            return;
        }
        self.emissions.push(Emission::View(None));
        for fault in struck.into_iter().map(fault_of).collect::<BTreeSet<Fault>>() {
            self.fault_counts.matter(fault);
            self.emit(None, Some(node), RecordKind::DiskFault { fault, place: String::new() });
        }
        let damaged = self.hosts.get(&node).and_then(|host| host.damaged);
        damaged.into_iter().for_each(|fault| self.fault_counts.matter(fault));
    }
}

const fn fault_of(error: InjectedError) -> Fault {
    match error {
        InjectedError::ReadError | InjectedError::WriteError => Fault::Eio,
        InjectedError::NoSpace => Fault::Enospc,
        InjectedError::FailedSync => Fault::FsyncFailed,
    }
}
