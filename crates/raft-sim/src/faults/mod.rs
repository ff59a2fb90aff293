//! The faults. Each kind has a file with its effect on the world, its step and its draws in a swarm. This file has the
//! table of all kinds, and counts the faults of a run.
//!
//! A fault has an effect if a node or a client could notice it; a fault without effect tests nothing.

mod backups;
mod clocks;
mod crashes;
mod damage;
mod disks;
mod drops;
pub(crate) mod ends;
mod guards;
mod healing;
mod jumps;
mod limits;
mod links;
mod load;
mod membership;
mod operator_acts;
mod pauses;
pub mod profiles;
mod sizes;
mod snapshots;
mod speeds;
mod strangers;
pub(crate) mod swarm;

pub(crate) use sizes::with_drawn_nodes;

use raft_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The table of all kinds: the meaning of each and its effect, and its name in files and reports. All other lists of
/// them follow from it.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)+) => {
        /// A kind of fault. Files and reports use these names.
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
    /// A message was lost. It has an effect if its receiver was up.
    Loss = "loss",
    /// A message was sent twice. It has an effect if the copy arrived.
    Duplicate = "duplicate",
    /// A message was delayed. It has an effect if a later one arrived first.
    Reorder = "reorder",
    /// Links between groups of nodes were cut in both directions. It has an effect if a message to a node that was up
    /// was lost.
    Partition = "partition",
    /// One direction was cut. It has an effect if a message to a node that was up was lost.
    OneWayCut = "one_way_cut",
    /// All links of the leader were cut. It has an effect if a message to a node that was up was lost.
    IsolateLeader = "isolate_leader",
    /// A process was killed. It has an effect if tasks or events waited for the process, or if a message or a timer
    /// came while it was down.
    Kill = "kill",
    /// A machine lost power. It has an effect in the same cases as a kill, or if the disk lost bytes.
    PowerLoss = "power_loss",
    /// A process crashed among the outputs of one call. It has an effect if some outputs were not executed.
    CrashAtBoundary = "crash_at_boundary",
    /// A process crashed between two steps of one call of the store. It always has an effect: the call was not
    /// finished.
    CrashAtDiskOperation = "crash_at_disk_operation",
    /// A process was killed and restarted, and its machine lost power soon after. It has an effect if the restarted
    /// process was running.
    KillRestartPowerLoss = "kill_restart_power_loss",
    /// A disk was slow. It has an effect if a task took longer than it ever does without the fault.
    SlowDisk = "slow_disk",
    /// A clock ran fast or slow. It has an effect if one of its timers fired: in true time it was early or late.
    ClockDrift = "clock_drift",
    /// A process was paused. It has an effect if an event had to wait for the process.
    Pause = "pause",
    /// The operator requested a change of the configuration. It has an effect if a change was decided.
    Membership = "membership",
    /// The operator requested a leadership transfer. It has an effect if the leader tried it.
    Transfer = "transfer",
    /// A crash removed writes that were not synced. It always has an effect: recovery reads other data.
    UnsyncedLost = "unsynced_lost",
    /// A crash left a write in part. It always has an effect.
    TornWrite = "torn_write",
    /// A crash undid a creation, renaming or removal of a file. It always has an effect.
    RenameLost = "rename_lost",
    /// A snapshot was lost in transit. It has an effect if its receiver was up.
    SnapshotLost = "snapshot_lost",
    /// A machine lost its disk and came back with an empty one. It has an effect if the old disk was not empty.
    DiskWiped = "disk_wiped",
    /// A bit of durable data flipped. It has an effect if a node noticed it: the node ended, or refused to start.
    BitRot = "bit_rot",
    /// An earlier write went to the wrong sector. It has an effect if a node noticed it: the node ended, or refused to
    /// start.
    MisdirectedWrite = "misdirected_write",
    /// A disk reported an error. It has an effect if a call failed.
    Eio = "eio",
    /// A disk was full. It has an effect if a call needed space.
    Enospc = "enospc",
    /// A sync failed and dropped the data that it should have made durable. It has an effect if a sync failed.
    FsyncFailed = "fsync_failed",
    /// A disk went back to its earlier content. It has an effect if the disk had changed since.
    DiskRolledBack = "disk_rolled_back",
    /// Clients were cut off from a node. Has an effect if a request or a reply was lost.
    ClientCut = "client_cut",
    /// Messages or copies arrived very late. It has an effect if a later one arrived first.
    SlowNetwork = "slow_network",
    /// The directions of links had different speeds. It has an effect if a message arrived over one with its own speed.
    UnevenLinks = "uneven_links",
    /// Links had priorities. It has an effect if a message waited for one of higher priority.
    MessagePriority = "message_priority",
    /// Links lost one kind of message. It has an effect if the receiver of one was up.
    DropKind = "drop_kind",
    /// A disk stalled. It has an effect if a task took longer than the node's `max_write_stall`.
    StalledDisk = "stalled_disk",
    /// A stranger sent garbage and forged messages. It has an effect if one reached a node that was up.
    Stranger = "stranger",
    /// A clock jumped. It has an effect if the node was up.
    ClockJump = "clock_jump",
    /// A machine stood still, and its clock too. It has an effect if an event had to wait, or a message was lost.
    MachinePause = "machine_pause",
}

impl Fault {
    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.0 & fault.bit() != 0)
    }
}

/// Whether a run had a kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCount {
    /// It was injected.
    pub injected: bool,
    /// A node or a client saw a difference.
    pub had_effect: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    injected: u64,
    had_effect: u64,
    /// The kinds that were injected or had an effect since this was last taken.
    struck: u64,
}

impl FaultCounts {
    /// Counts an injected fault of this kind.
    pub const fn inject(&mut self, fault: Fault) {
        self.injected |= fault.bit();
        self.struck |= fault.bit();
    }

    /// Counts an effect of a fault of this kind.
    pub const fn note_effect(&mut self, fault: Fault) {
        self.inject(fault);
        self.had_effect |= fault.bit();
    }

    /// The kinds that struck since the last call.
    pub const fn take_struck(&mut self) -> FaultSet {
        FaultSet(std::mem::replace(&mut self.struck, 0))
    }

    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let has = |bits: u64, fault: Fault| bits & fault.bit() != 0;
        let count = |fault| FaultCount { injected: has(self.injected, fault), had_effect: has(self.had_effect, fault) };
        Fault::ALL.iter().map(|&fault| (fault.name(), count(fault))).collect()
    }
}

/// Formats nodes as `n1 n2`, for people.
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
        assert_eq!(fault_counts.take_struck().iter().collect::<Vec<_>>(), [Fault::Loss, Fault::RenameLost]);
        assert!(fault_counts.take_struck().is_empty(), "they struck once");
        let counts = fault_counts.counts();
        assert_eq!(counts.len(), Fault::ALL.len());
        for (name, count) in counts {
            let expected = (name == "loss" || name == "rename_lost", name == "rename_lost");
            assert_eq!((count.injected, count.had_effect), expected, "{name}");
        }
    }
}
