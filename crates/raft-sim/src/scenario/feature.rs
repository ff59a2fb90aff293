//! What a swarm run may have: the one table of it, from which the words of scenario files, the faults that strike from time
//! to time and the swarms' profiles are made. The order of its rows is part of every run: choices are drawn by their numbers,
//! so new rows go to the end.

use crate::faults::Fault;

/// What belongs together: the profiles of `raft-sim swarm` are made of families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links fail.
    Net,
    /// Processes end, and disks take their time.
    Crashes,
    /// Disks fail.
    Disks,
    /// Disks lie and forget: what takes promises back.
    Damage,
    /// Clocks and a process's share of time.
    Timing,
    /// What operators do.
    Operation,
    /// Snapshots and what they do to logs.
    Snapshots,
    /// Reads that rest on clocks. No fault.
    Leases,
    /// Disks that keep room ahead. No fault.
    Reserves,
    /// What clients want. No fault.
    Clients,
    /// How much may wait. No fault.
    Limits,
}

/// When it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It belongs to the whole run: to its noise, or to its settings.
    Throughout,
    /// It begins at times that are drawn, and most of it ends again.
    Now,
}

/// The table: what each is, its name, its family, and when it strikes. What is counted as a fault has the fault's name.
macro_rules! features {
    ($($(#[doc = $doc:literal])+ $feature:ident: $name:expr, $family:ident, $when:ident;)+) => {
        /// Something a swarm run may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $($(#[doc = $doc])+ $feature,)+
        }

        /// Everything a swarm run may have, under its name in files and reports.
        pub const FEATURES: &[(Feature, &str)] = &[$((Feature::$feature, $name),)+];

        impl Feature {
            /// What it belongs to.
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$feature => Family::$family,)+
                }
            }

            /// When it strikes.
            pub const fn when(self) -> When {
                match self {
                    $(Self::$feature => When::$when,)+
                }
            }
        }
    };
}

features! {
    /// Messages are lost.
    Loss: Fault::Loss.name(), Net, Throughout;
    /// Messages are duplicated.
    Duplicate: Fault::Duplicate.name(), Net, Throughout;
    /// Messages are reordered.
    Reorder: Fault::Reorder.name(), Net, Throughout;
    /// Symmetric partitions.
    Partition: Fault::Partition.name(), Net, Now;
    /// One-way cuts.
    OneWayCut: Fault::OneWayCut.name(), Net, Now;
    /// The leader is cut off by name.
    IsolateLeader: Fault::IsolateLeader.name(), Net, Now;
    /// Processes are killed.
    Kill: Fault::Kill.name(), Crashes, Now;
    /// Machines lose power.
    PowerLoss: Fault::PowerLoss.name(), Crashes, Now;
    /// Crashes strike between two outputs of one call.
    CrashAtBoundary: Fault::CrashAtBoundary.name(), Crashes, Now;
    /// Crashes strike between two steps of one call of the store, recovery included.
    CrashAtDiskOperation: Fault::CrashAtDiskOperation.name(), Crashes, Now;
    /// Kill, restart, power loss in quick succession.
    KillRestartPowerLoss: Fault::KillRestartPowerLoss.name(), Crashes, Now;
    /// Disks are slow.
    SlowDisk: Fault::SlowDisk.name(), Crashes, Now;
    /// Clocks run fast or slow.
    ClockDrift: Fault::ClockDrift.name(), Timing, Now;
    /// Processes stand still for a while.
    Pause: Fault::Pause.name(), Timing, Now;
    /// The configuration changes.
    Membership: Fault::Membership.name(), Operation, Now;
    /// Leadership is handed over.
    Transfer: Fault::Transfer.name(), Operation, Now;
    /// Snapshots are taken often, logs are compacted and read back, and some snapshots are lost on their way.
    Snapshots: "snapshots", Snapshots, Throughout;
    /// Reads may rest on leases. No fault: clocks then drift no further than leases allow for.
    LeaseReads: "lease_reads", Leases, Throughout;
    /// Disks report errors.
    Eio: Fault::Eio.name(), Disks, Now;
    /// Disks are full for a while.
    Enospc: Fault::Enospc.name(), Disks, Now;
    /// Syncs fail and drop what they were to make durable.
    FsyncFailed: Fault::FsyncFailed.name(), Disks, Now;
    /// Bits of what is durable turn over, on a minority of the voters.
    BitRot: Fault::BitRot.name(), Damage, Now;
    /// Writes went to other places than they were meant for, likewise.
    MisdirectedWrite: Fault::MisdirectedWrite.name(), Damage, Now;
    /// Disks are lost, likewise.
    DiskWiped: Fault::DiskWiped.name(), Damage, Now;
    /// Old copies of disks are started, likewise, and not before their nodes are removed.
    DiskRolledBack: Fault::DiskRolledBack.name(), Damage, Now;
    /// Nodes keep room ahead on their disks. No fault.
    Reserve: "reserve", Reserves, Throughout;
    /// Clients want several keys at once, and put keys that go by themselves. No fault.
    SeveralKeys: "several_keys", Clients, Throughout;
    /// Each node has limits so small that they are met, some of them, and a priority. No fault.
    Limits: "limits", Limits, Throughout;
    /// Nodes' threads are busy at times, so that what arrives is taken together, and little has room meanwhile;
    /// not those of healed nodes. No fault.
    Busy: "busy", Timing, Throughout;
    /// Nodes hear that peers cannot be reached. No fault.
    Unreachable: "unreachable", Net, Throughout;
}

/// All of these families, in the order of the table.
pub fn of_families(families: &[Family]) -> impl Iterator<Item = Feature> {
    FEATURES.iter().map(|(feature, _)| *feature).filter(|feature| families.contains(&feature.family()))
}

/// All that strike from time to time, in the order in which they are drawn.
pub fn timed() -> impl Iterator<Item = Feature> {
    FEATURES.iter().map(|(feature, _)| *feature).filter(|feature| feature.when() == When::Now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_by_which_choices_were_always_drawn() {
        let numbers: Vec<u64> = FEATURES.iter().map(|(feature, _)| *feature as u64).collect();
        assert!(numbers.iter().copied().eq(0..FEATURES.len() as u64));
        let known = [
            (Feature::Loss, 0),
            (Feature::SlowDisk, 11),
            (Feature::LeaseReads, 17),
            (Feature::SeveralKeys, 26),
            (Feature::Limits, 27),
            (Feature::Unreachable, 29),
        ];
        assert!(known.iter().all(|(feature, number)| *feature as u64 == *number));
        assert_eq!((timed().next(), timed().last()), (Some(Feature::Partition), Some(Feature::DiskRolledBack)));
        assert_eq!(timed().count(), 20);
    }

    #[test]
    fn no_two_have_one_name() {
        let names: std::collections::BTreeSet<&str> = FEATURES.iter().map(|(_, name)| *name).collect();
        assert_eq!(names.len(), FEATURES.len());
    }
}
