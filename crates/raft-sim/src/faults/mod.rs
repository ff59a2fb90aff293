//! The faults: each kind in a file of its own, with its effect on the world, its step and its draws in a swarm. Here is the table
//! of all kinds, and which of them a run had.
//!
//! A fault has an effect if a node or a client could notice it; a fault without effect tests nothing.

mod clocks;
mod crashes;
mod damage;
mod disks;
mod healing;
mod limits;
mod links;
mod load;
mod membership;
mod pauses;
pub mod profiles;
mod snapshots;
pub(crate) mod swarm;

use raft_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The table of all kinds: what each is and when it has an effect, and its name in files and reports. All other lists of them
/// are made from it.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)+) => {
        /// A kind of fault. The names are those of the JSON report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$fault,)+];

            /// Its name in files and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)+
                }
            }
        }
    };
}

faults! {
    /// A message was lost. Has an effect if its receiver was up.
    Loss = "loss",
    /// A message was sent twice. Has an effect if the copy arrived.
    Duplicate = "duplicate",
    /// A message was held back. Has an effect if a later one arrived first.
    Reorder = "reorder",
    /// Nodes were cut off from each other in both directions. Has an effect if a message to a node that was up was lost.
    Partition = "partition",
    /// One direction was cut. Likewise.
    OneWayCut = "one_way_cut",
    /// The leader was cut off by name. Likewise.
    IsolateLeader = "isolate_leader",
    /// A process was killed. Has an effect if tasks or events waited for it, or if a message or a timer came while it was down.
    Kill = "kill",
    /// A machine lost power. Likewise, or if the disk lost bytes.
    PowerLoss = "power_loss",
    /// A crash among the outputs of one call. Has an effect if some of them were not carried out.
    CrashAtBoundary = "crash_at_boundary",
    /// A crash between two steps of one call of the store. Always has an effect: the call was not finished.
    CrashAtDiskOperation = "crash_at_disk_operation",
    /// Kill, restart and power loss in quick succession. Has an effect if the restarted process was running.
    KillRestartPowerLoss = "kill_restart_power_loss",
    /// A disk was slow. Has an effect if something took longer than it ever does without the fault.
    SlowDisk = "slow_disk",
    /// A clock ran fast or slow. Has an effect if one of its timers fired: by true time it was due earlier or later.
    ClockDrift = "clock_drift",
    /// A process stood still. Has an effect if an event had to wait for it.
    Pause = "pause",
    /// A change of the configuration was asked for. Has an effect if one was decided.
    Membership = "membership",
    /// A leadership transfer was asked for. Has an effect if the leader tried.
    Transfer = "transfer",
    /// A crash took back writes that were not synced. Always has an effect: recovery reads something else.
    UnsyncedLost = "unsynced_lost",
    /// A crash left a write in part. Always has an effect.
    TornWrite = "torn_write",
    /// A crash took back a creation, renaming or removal of a file. Always has an effect.
    RenameLost = "rename_lost",
    /// A snapshot was lost on its way. Has an effect if its receiver was up.
    SnapshotLost = "snapshot_lost",
    /// A machine lost its disk and came back with an empty one. Has an effect if there was something on it.
    DiskWiped = "disk_wiped",
    /// A bit of what was durable turned over. Has an effect if a node noticed: it ended, or refused to start.
    BitRot = "bit_rot",
    /// A write went to another place than it was meant for, long ago. Likewise.
    MisdirectedWrite = "misdirected_write",
    /// A disk reported an error. Has an effect if a call failed.
    Eio = "eio",
    /// A disk was full. Has an effect if something needed space.
    Enospc = "enospc",
    /// A sync failed and dropped what it was to make durable. Has an effect if a sync failed.
    FsyncFailed = "fsync_failed",
    /// A disk went back to what it held earlier. Has an effect if it had been changed since.
    DiskRolledBack = "disk_rolled_back",
}

impl Fault {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether a run had a kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCount {
    /// It was injected.
    pub injected: bool,
    /// A node or a client saw something that it would not have seen without it.
    pub had_effect: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    injected: u32,
    had_effect: u32,
}

impl FaultCounts {
    /// A fault of this kind was injected.
    pub const fn inject(&mut self, fault: Fault) {
        self.injected |= fault.bit();
    }

    /// A fault of this kind had an effect.
    pub const fn note_effect(&mut self, fault: Fault) {
        self.inject(fault);
        self.had_effect |= fault.bit();
    }

    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let has = |bits: u32, fault: Fault| bits & fault.bit() != 0;
        let count = |fault| FaultCount { injected: has(self.injected, fault), had_effect: has(self.had_effect, fault) };
        Fault::ALL.iter().map(|&fault| (fault.name(), count(fault))).collect()
    }
}

/// `n1 n2`, for people.
pub(crate) fn list(nodes: &BTreeSet<NodeId>) -> String {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    if names.is_empty() { "nobody".into() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_by_itself() {
        let mut fault_counts = FaultCounts::default();
        fault_counts.inject(Fault::Loss);
        fault_counts.note_effect(Fault::RenameLost);
        let counts = fault_counts.counts();
        assert_eq!(counts.len(), Fault::ALL.len());
        for (name, count) in counts {
            let expected = (name == "loss" || name == "rename_lost", name == "rename_lost");
            assert_eq!((count.injected, count.had_effect), expected, "{name}");
        }
    }
}
