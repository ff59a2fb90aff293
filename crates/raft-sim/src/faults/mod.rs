//! Which faults a run had, and which of them made a difference: a fault that no node and no client could have noticed
//! tests nothing.
//!
//! This file must not know how a fault is injected.

pub mod profiles;
pub(crate) mod swarm;

use std::collections::BTreeMap;

/// The table of all kinds: what each is and when it matters, and its name in files and reports. Everything else that lists
/// them is made from it.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)+) => {
        /// A kind of fault. The names are those of the JSON report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// All kinds.
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
    /// A message was lost. Matters if its receiver was up.
    Loss = "loss",
    /// A message was sent twice. Matters if the copy arrived.
    Duplicate = "duplicate",
    /// A message was held back. Matters if a later one overtook it.
    Reorder = "reorder",
    /// Nodes were cut off from each other in both directions. Matters if that ate a message to a node that was up.
    Partition = "partition",
    /// One direction was cut. Matters likewise.
    OneWayCut = "one_way_cut",
    /// The leader was cut off by name. Matters likewise.
    IsolateLeader = "isolate_leader",
    /// A process was killed. Matters if it had work in hand, or if a message or a timer found nobody.
    Kill = "kill",
    /// A machine lost power. Matters likewise, or if the disk lost bytes.
    PowerLoss = "power_loss",
    /// A crash struck among the outputs of one call. Matters if some of them were not carried out.
    CrashAtBoundary = "crash_at_boundary",
    /// A crash struck between two steps of one call of the store. Matters always: the call was not finished.
    CrashAtDiskOperation = "crash_at_disk_operation",
    /// Kill, restart and power loss in quick succession. Matters if the power loss struck the restarted process.
    KillRestartPowerLoss = "kill_restart_power_loss",
    /// A disk was slow. Matters if something took longer than it ever does without the fault.
    SlowDisk = "slow_disk",
    /// A clock ran fast or slow. Matters if one of its timers fired: by true time it was not its moment.
    ClockDrift = "clock_drift",
    /// A process stood still. Matters if something that was meant for it had to wait.
    Pause = "pause",
    /// A change of the configuration was asked for. Matters if one was decided.
    Membership = "membership",
    /// Leadership was to be handed over. Matters if the leader tried.
    Transfer = "transfer",
    /// A crash took back writes that were not synced. Matters always: recovery reads something else.
    UnsyncedLost = "unsynced_lost",
    /// A crash left a write in part. Matters always.
    TornWrite = "torn_write",
    /// A crash took back a creation, renaming or removal of a file. Matters always.
    RenameLost = "rename_lost",
    /// A snapshot was lost on its way. Matters if its receiver was up.
    SnapshotLost = "snapshot_lost",
    /// A machine lost its disk and came back with an empty one. Matters if there was something on it.
    DiskWiped = "disk_wiped",
    /// A bit of what was durable turned over. Matters if a node noticed: it ended, or refused to start.
    BitRot = "bit_rot",
    /// A write went to another place than it was meant for, long ago. Matters likewise.
    MisdirectedWrite = "misdirected_write",
    /// A disk reported an error. Matters if some call met it.
    Eio = "eio",
    /// A disk was full. Matters if something needed space.
    Enospc = "enospc",
    /// A sync failed and dropped what it was to make durable. Matters if some sync met it.
    FsyncFailed = "fsync_failed",
    /// A disk went back to what it held earlier. Matters if it had been changed since.
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

/// What is known so far.
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

    /// A fault of this kind, injected earlier, made a difference.
    pub const fn matter(&mut self, fault: Fault) {
        self.inject(fault);
        self.had_effect |= fault.bit();
    }

    /// Every kind, by name.
    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let has = |bits: u32, fault: Fault| bits & fault.bit() != 0;
        let count = |fault| FaultCount { injected: has(self.injected, fault), had_effect: has(self.had_effect, fault) };
        Fault::ALL.iter().map(|&fault| (fault.name(), count(fault))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_by_itself() {
        let mut fault_counts = FaultCounts::default();
        fault_counts.inject(Fault::Loss);
        fault_counts.matter(Fault::RenameLost);
        let counts = fault_counts.counts();
        assert_eq!(counts.len(), Fault::ALL.len());
        for (name, count) in counts {
            let expected = (name == "loss" || name == "rename_lost", name == "rename_lost");
            assert_eq!((count.injected, count.had_effect), expected, "{name}");
        }
    }
}
