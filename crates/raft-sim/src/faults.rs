//! Which faults a run had, and which of them made a difference: a fault that no node and no client could have noticed
//! tests nothing.
//!
//! This file must not know how a fault is injected.

use std::collections::BTreeMap;

/// A kind of fault. The names are those of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A message was lost. Matters if its receiver was up.
    Loss,
    /// A message was sent twice. Matters if the copy arrived.
    Duplicate,
    /// A message was held back. Matters if a later one overtook it.
    Reorder,
    /// Nodes were cut off from each other in both directions. Matters if that ate a message to a node that was up.
    Partition,
    /// One direction was cut. Matters likewise.
    OneWayCut,
    /// The leader was cut off by name. Matters likewise.
    IsolateLeader,
    /// A process was killed. Matters if it had work in hand, or if a message or a timer found nobody.
    Kill,
    /// A machine lost power. Matters likewise, or if the disk lost bytes.
    PowerLoss,
    /// A crash struck among the outputs of one call. Matters if some of them were not carried out.
    CrashAtBoundary,
    /// A crash struck between two steps of one call of the store. Matters always: the call was not finished.
    CrashAtDiskOperation,
    /// Kill, restart and power loss in quick succession. Matters if the power loss struck the restarted process.
    KillRestartPowerLoss,
    /// A disk was slow. Matters if something took longer than it ever does without the fault.
    SlowDisk,
    /// A clock ran fast or slow. Matters if one of its timers fired: by true time it was not its moment.
    ClockDrift,
    /// A process stood still. Matters if something that was meant for it had to wait.
    Pause,
    /// A change of the configuration was asked for. Matters if one was decided.
    Membership,
    /// Leadership was to be handed over. Matters if the leader tried.
    Transfer,
    /// A crash took back writes that were not synced. Matters always: recovery reads something else.
    UnsyncedLost,
    /// A crash left a write in part. Matters always.
    TornWrite,
    /// A crash took back a creation, renaming or removal of a file. Matters always.
    RenameLost,
    /// A snapshot was lost on its way. Matters if its receiver was up.
    SnapshotLost,
    /// A machine lost its disk and came back with an empty one. Matters if there was something on it.
    DiskWiped,
    /// A bit of what was durable turned over. Matters if a node noticed: it ended, or refused to start.
    BitRot,
    /// A write went to another place than it was meant for, long ago. Matters likewise.
    MisdirectedWrite,
    /// A disk reported an error. Matters if some call met it.
    Eio,
    /// A disk was full. Matters if something needed space.
    Enospc,
    /// A sync failed and dropped what it was to make durable. Matters if some sync met it.
    FsyncFailed,
    /// A disk went back to what it held earlier. Matters if it had been changed since.
    DiskRolledBack,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 27] = [
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Partition,
        Self::OneWayCut,
        Self::IsolateLeader,
        Self::Kill,
        Self::PowerLoss,
        Self::CrashAtBoundary,
        Self::CrashAtDiskOperation,
        Self::KillRestartPowerLoss,
        Self::SlowDisk,
        Self::ClockDrift,
        Self::Pause,
        Self::Membership,
        Self::Transfer,
        Self::UnsyncedLost,
        Self::TornWrite,
        Self::RenameLost,
        Self::SnapshotLost,
        Self::DiskWiped,
        Self::BitRot,
        Self::MisdirectedWrite,
        Self::Eio,
        Self::Enospc,
        Self::FsyncFailed,
        Self::DiskRolledBack,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Partition => "partition",
            Self::OneWayCut => "one_way_cut",
            Self::IsolateLeader => "isolate_leader",
            Self::Kill => "kill",
            Self::PowerLoss => "power_loss",
            Self::CrashAtBoundary => "crash_at_boundary",
            Self::CrashAtDiskOperation => "crash_at_disk_operation",
            Self::KillRestartPowerLoss => "kill_restart_power_loss",
            Self::SlowDisk => "slow_disk",
            Self::ClockDrift => "clock_drift",
            Self::Pause => "pause",
            Self::Membership => "membership",
            Self::Transfer => "transfer",
            Self::UnsyncedLost => "unsynced_lost",
            Self::TornWrite => "torn_write",
            Self::RenameLost => "rename_lost",
            Self::SnapshotLost => "snapshot_lost",
            Self::DiskWiped => "disk_wiped",
            Self::BitRot => "bit_rot",
            Self::MisdirectedWrite => "misdirected_write",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::FsyncFailed => "fsync_failed",
            Self::DiskRolledBack => "disk_rolled_back",
        }
    }

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
    pub mattered: bool,
}

/// What is known so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    injected: u32,
    mattered: u32,
}

impl Ledger {
    /// A fault of this kind was injected.
    pub const fn inject(&mut self, fault: Fault) {
        self.injected |= fault.bit();
    }

    /// A fault of this kind, injected earlier, made a difference.
    pub const fn matter(&mut self, fault: Fault) {
        self.inject(fault);
        self.mattered |= fault.bit();
    }

    /// Every kind, by name.
    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let has = |bits: u32, fault: Fault| bits & fault.bit() != 0;
        let count = |fault| FaultCount { injected: has(self.injected, fault), mattered: has(self.mattered, fault) };
        Fault::ALL.into_iter().map(|fault| (fault.name(), count(fault))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_by_itself() {
        let mut ledger = Ledger::default();
        ledger.inject(Fault::Loss);
        ledger.matter(Fault::RenameLost);
        let counts = ledger.counts();
        assert_eq!(counts.len(), Fault::ALL.len());
        for (name, count) in counts {
            let expected = (name == "loss" || name == "rename_lost", name == "rename_lost");
            assert_eq!((count.injected, count.mattered), expected, "{name}");
        }
    }
}
