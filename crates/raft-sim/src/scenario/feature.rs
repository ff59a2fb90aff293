//! The features of swarm runs, in one table. The names in scenario files, the faults with drawn times and the swarms'
//! profiles follow from it. The order of its rows is part of every run, because choices use the row numbers. So new
//! rows go to the end.

use crate::faults::Fault;

/// Groups of features; the profiles of `raft-sim swarm` consist of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links fail.
    Net,
    /// Processes end, and disks are slow.
    Crashes,
    /// Disks fail.
    Disks,
    /// Disks lose or change durable data.
    Damage,
    /// Clocks and pauses.
    Timing,
    /// Actions of operators.
    Operation,
    /// Snapshots and compaction.
    Snapshots,
    /// Reads by lease, which are no fault.
    Leases,
    /// Disks that preallocate, which is no fault.
    Reserves,
    /// Actions of clients, which are no fault.
    Clients,
    Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The feature belongs to the whole run: to its noise, or to its settings.
    Throughout,
    /// The feature begins at drawn times, and most of it ends again.
    Now,
}

/// The table: each feature, its name, its family, and its time. A feature that counts as a fault has the fault's name.
macro_rules! features {
    ($($(#[doc = $doc:literal])* $feature:ident: $name:expr, $family:ident, $when:ident;)+) => {
        /// A feature of swarm runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $($(#[doc = $doc])* $feature,)+
        }

        /// All features of swarm runs, with their names in files and reports.
        pub const FEATURES: &[(Feature, &str)] = &[$((Feature::$feature, $name),)+];

        impl Feature {
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$feature => Family::$family,)+
                }
            }

            pub const fn when(self) -> When {
                match self {
                    $(Self::$feature => When::$when,)+
                }
            }
        }
    };
}

features! {
    Loss: Fault::Loss.name(), Net, Throughout;
    Duplicate: Fault::Duplicate.name(), Net, Throughout;
    Reorder: Fault::Reorder.name(), Net, Throughout;
    Partition: Fault::Partition.name(), Net, Now;
    OneWayCut: Fault::OneWayCut.name(), Net, Now;
    IsolateLeader: Fault::IsolateLeader.name(), Net, Now;
    Kill: Fault::Kill.name(), Crashes, Now;
    PowerLoss: Fault::PowerLoss.name(), Crashes, Now;
    /// Crashes between two outputs of one call.
    CrashAtBoundary: Fault::CrashAtBoundary.name(), Crashes, Now;
    /// Crashes between two steps of one call of the store, recovery included.
    CrashAtDiskOperation: Fault::CrashAtDiskOperation.name(), Crashes, Now;
    /// Kill, restart, power loss in quick succession.
    KillRestartPowerLoss: Fault::KillRestartPowerLoss.name(), Crashes, Now;
    SlowDisk: Fault::SlowDisk.name(), Crashes, Now;
    ClockDrift: Fault::ClockDrift.name(), Timing, Now;
    Pause: Fault::Pause.name(), Timing, Now;
    Membership: Fault::Membership.name(), Operation, Now;
    Transfer: Fault::Transfer.name(), Operation, Now;
    /// Snapshots are frequent, logs are compacted and read back, and some snapshots are lost in transit.
    Snapshots: "snapshots", Snapshots, Throughout;
    /// Reads may use leases. This is no fault: clocks then drift no further than leases allow.
    LeaseReads: "lease_reads", Leases, Throughout;
    Eio: Fault::Eio.name(), Disks, Now;
    Enospc: Fault::Enospc.name(), Disks, Now;
    /// Syncs fail and drop the data that they should have made durable.
    FsyncFailed: Fault::FsyncFailed.name(), Disks, Now;
    /// Bits of durable data flip, on a minority of the voters.
    BitRot: Fault::BitRot.name(), Damage, Now;
    /// Writes go to wrong sectors, on a minority of the voters.
    MisdirectedWrite: Fault::MisdirectedWrite.name(), Damage, Now;
    /// Disks are lost, on a minority of the voters.
    DiskWiped: Fault::DiskWiped.name(), Damage, Now;
    /// Old copies of disks start, on a minority of the voters, and not before their nodes are removed.
    DiskRolledBack: Fault::DiskRolledBack.name(), Damage, Now;
    /// Nodes preallocate on their disks. This is no fault.
    Reserve: "reserve", Reserves, Throughout;
    /// Clients read and write several keys at once, and put keys that expire. This is no fault.
    SeveralKeys: "several_keys", Clients, Throughout;
    /// Each node has a priority, and some of its limits are so small that it reaches them. This is no fault.
    Limits: "limits", Limits, Throughout;
    /// Nodes' threads are busy at times, so that they take several inputs together, and their inboxes are small
    /// meanwhile. Healed nodes are exempt. This is no fault.
    Busy: "busy", Timing, Throughout;
    /// Nodes are notified that peers are unreachable. This is no fault.
    Unreachable: "unreachable", Net, Throughout;
    ClientCut: Fault::ClientCut.name(), Net, Now;
    /// Followers forward clients' requests to the leader, some of them few at a time. No fault.
    Forwarding: "forwarding", Net, Throughout;
    /// The operator takes backups. No fault.
    Backups: "backups", Operation, Throughout;
    /// The operator makes new clusters, from backups and from the folder of one node. No fault.
    Restores: "restores", Operation, Throughout;
    /// Watch clients follow the changes, and maps remember few of them. No fault.
    Watches: "watches", Clients, Throughout;
    /// Nodes keep few sessions with few answers, and clients whose session has ended continue in another one. No fault.
    Sessions: "sessions", Clients, Throughout;
    /// Clients have several operations open at a time. No fault.
    OpenCommands: "open_commands", Clients, Throughout;
    /// Clients made for it read from any node at any time, confirmed by a round, by a lease, or not at all. No fault.
    Reads: "reads", Clients, Throughout;
    /// With `several_keys`, keys are so many that those with a time to live are rarely set again before they go. No fault.
    ExpiringKeys: "expiring_keys", Clients, Throughout;
    /// Pre-votes, stickiness and check-quorum are off, each in some runs. No fault.
    GuardsOff: "guards_off", Net, Throughout;
    /// Some messages and copies arrive up to many election timeouts late.
    SlowNetwork: Fault::SlowNetwork.name(), Net, Throughout;
    /// Each direction of a link has its own speed.
    UnevenLinks: Fault::UnevenLinks.name(), Net, Throughout;
    /// Each direction of a link has a priority; messages wait for those of higher priority.
    MessagePriority: Fault::MessagePriority.name(), Net, Throughout;
    /// Some links lose one kind of message for a while.
    DropKind: Fault::DropKind.name(), Net, Now;
    /// The run has a drawn number of nodes. No fault.
    NodeCount: "node_count", Limits, Throughout;
    /// Writes take longer than `max_write_stall`.
    StalledDisk: Fault::StalledDisk.name(), Crashes, Now;
    /// Orders to campaign and to take a snapshot, and transfers to any node. No fault.
    OperatorActs: "operator_acts", Operation, Now;
    /// A stranger sends garbage and forged messages.
    Stranger: Fault::Stranger.name(), Net, Now;
    /// Clocks jump, in runs without leases.
    ClockJump: Fault::ClockJump.name(), Timing, Now;
    /// Machines stand still with their clocks, in runs without leases.
    MachinePause: Fault::MachinePause.name(), Timing, Now;
}

/// The features of these families, in the order of the table.
pub fn of_families(families: &[Family]) -> impl Iterator<Item = Feature> {
    FEATURES.iter().map(|(feature, _)| *feature).filter(|feature| families.contains(&feature.family()))
}

/// The features with drawn times, in the order of the draws.
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
            (Feature::ClientCut, 30),
        ];
        assert!(known.iter().all(|(feature, number)| *feature as u64 == *number));
        assert_eq!((timed().next(), timed().last()), (Some(Feature::Partition), Some(Feature::MachinePause)));
        assert_eq!(timed().count(), 27);
    }

    #[test]
    fn no_two_have_one_name() {
        let names: std::collections::BTreeSet<&str> = FEATURES.iter().map(|(_, name)| *name).collect();
        assert_eq!(names.len(), FEATURES.len());
    }
}
