//! The swarms of `raft-sim swarm`: random faults against a cluster under load, then a healed majority that must
//! recover.
//!
//! A swarm omits each fault from a run with probability one half, because faults hide each other: if every message is
//! lost, none is reordered (swarm testing, Groce et al., ISSTA 2012).

use crate::scenario::defaults;
use crate::scenario::feature::Family::{
    self, Clients, Crashes, Damage, Disks, Leases, Limits, Net, Operation, Reserves, Snapshots, Timing,
};
use crate::scenario::feature::of_families;
use crate::scenario::model::{Scenario, SwarmModel};
use std::time::Duration;

const ALL: [Family; 11] =
    [Net, Crashes, Disks, Damage, Timing, Operation, Snapshots, Leases, Reserves, Clients, Limits];

/// The marks that a swarm must reach, or it proves nothing: in any profile, with faults of links, with crashes.
const ALWAYS: [&str; 5] = ["election", "leader_elected", "commit", "read_served", "truncation"];
const WITH_NET: [&str; 4] = ["log_conflict", "check_quorum_step_down", "lost_leadership_unknown", "client_retry"];
const WITH_UNREACHABLE: [&str; 1] = ["unreachable_told"];
const WITH_FORWARDING: [&str; 3] = ["forwarded", "forward_busy", "forward_leader_lost"];
const WITH_BUSY: [&str; 4] = ["inputs_mixed", "message_dropped", "request_refused", "writes_grouped"];
/// The marks of inputs from clients, peers and snapshots at once, and of an operator who insists.
const WITH_ALL: [&str; 3] = ["change_forced", "inputs_of_all_kinds", "write_overtook_job"];
/// A backup that is lost with its node is too rare for random runs: the scenario `backup-under-load` covers it.
const WITH_BACKUPS: [&str; 3] = ["backup_finished", "backup_read_failed", "backup_refused"];
const WITH_RESTORES: [&str; 2] = ["cluster_restored", "foreign_cluster_refused"];
const WITH_LEASES: [&str; 1] = ["lease_read_served"];
/// The log after a snapshot in flight is too rarely released to require the mark: the scenario `small-retained-log`
/// covers it.
const WITH_LIMITS: [&str; 6] = [
    "append_ignored_overloaded",
    "apply_limited",
    "low_priority_waited",
    "proposal_busy",
    "read_busy",
    "window_full_of_bytes",
];
/// The marks of slow networks, of guards that are off, and of drawn numbers of nodes.
const WITH_SPEEDS: [&str; 1] = ["old_message_received"];
const WITHOUT_GUARDS: [&str; 1] = ["campaign_without_pre_vote"];
const WITH_SIZES: [&str; 2] = ["elected_alone", "elected_by_even_voters"];
const WITH_STRANGERS: [&str; 3] = ["caller_refused", "garbage_refused", "malformed_ignored"];
const WITH_ACTS: [&str; 2] = ["campaign_ordered", "campaign_refused"];
/// The marks of limits of a write's duration, with slow disks.
const WITH_STALLS: [&str; 1] = ["leader_write_stalled"];
/// A backup whose disk cannot read the file is rare without the faults of disks, so its mark is not among these.
const WITH_MEMBERS: [&str; 11] = [
    "backup_finished",
    "backup_refused",
    "configuration_changed",
    "joint_entered",
    "joint_left",
    "leader_removed_itself",
    "learner_added",
    "learner_promoted",
    "removed_by_own_log",
    "removed_by_refusals",
    "transfer_done",
];
const WITH_SEVERAL: [&str; 3] = ["key_expired", "range_read", "txn_applied"];
/// The marks of clients whose sessions end or that have several commands open, of watches, and of reads at any time.
const WITH_CLIENTS: [&str; 7] = [
    "command_abandoned",
    "commands_out_of_order",
    "expired_command_retried",
    "session_expired",
    "stale_read_served",
    "watch_compacted",
    "watch_resumed",
];
const WITH_DISK: [&str; 3] = ["restart", "power_loss_lost_bytes", "recovery_cut_tail"];
/// A suffix that a snapshot keeps is too rare for random runs: the scenario `stale-snapshot` covers it. A node that is
/// notified that its disk is full, and then that it has space again, is rare too (one run in fifty, of 5 000 of profile
/// disk): `full-disk` and similar scenarios cover it.
const WITH_SNAPSHOTS: [&str; 7] = [
    "log_compacted",
    "log_read_back",
    "restored_at_start",
    "snapshot_installed",
    "snapshot_sent",
    "snapshot_not_needed",
    "snapshot_taken",
];

/// The default number of runs of a swarm. From this many on these marks are required: fewer runs may miss one by
/// chance.
const ENOUGH_RUNS: u64 = 100;

/// The number of election timeouts within which a healed majority must have a leader, a fresh commit and equal logs.
const HEALS_WITHIN: u32 = 20;

pub fn net(nodes: u64) -> Scenario {
    profile(
        "swarm-net",
        "Random faults of the network",
        nodes,
        &[Net, Operation, Clients, Limits],
        &[
            &ALWAYS,
            &WITH_NET,
            &WITH_UNREACHABLE,
            &WITH_FORWARDING,
            &WITH_LIMITS,
            &WITH_RESTORES,
            &WITH_SPEEDS,
            &WITHOUT_GUARDS,
            &WITH_SIZES,
            &WITH_STRANGERS,
            &WITH_ACTS,
        ],
    )
}

/// The faults of processes and their disks.
pub fn disk(nodes: u64) -> Scenario {
    let mut scenario = profile(
        "swarm-disk",
        "Random crashes, power losses, and disks that are slow, fail, lie and forget",
        nodes,
        &[Crashes, Disks, Damage, Reserves, Clients, Operation, Snapshots, Limits],
        &[&ALWAYS, &WITH_DISK, &WITH_SEVERAL, &WITH_LIMITS, &WITH_STALLS],
    );
    // A write of a single sector cannot be torn. Larger groups form because the disk is not faster than most.
    scenario.disk.latency = Duration::from_millis(2)..Duration::from_millis(8);
    scenario.clients.count = 4;
    // As many operations as such a disk keeps up with, one entry at a time: a node that is behind has to catch up after the healing.
    scenario.clients.think = Duration::from_millis(20)..Duration::from_millis(200);
    scenario
}

/// Changes of the members, transfers, backups and new clusters, while nodes crash and links fail.
pub fn member(nodes: u64) -> Scenario {
    profile(
        "swarm-member",
        "Nodes that join and leave, transfers of leadership, backups, with crashes and faults of the network",
        nodes,
        &[Operation, Net, Crashes, Snapshots],
        &[&ALWAYS, &WITH_NET, &WITH_MEMBERS, &WITH_SNAPSHOTS, &WITH_RESTORES],
    )
}

/// Clocks that drift and processes that pause, with the network's faults.
pub fn timing(nodes: u64) -> Scenario {
    let title = "Clocks that drift and processes that stand still";
    profile(
        "swarm-timing",
        title,
        nodes,
        &[Timing, Net, Limits],
        &[&ALWAYS, &WITH_NET, &WITH_BUSY, &WITH_UNREACHABLE, &WITH_LIMITS],
    )
}

pub fn all(nodes: u64) -> Scenario {
    let mut scenario = profile(
        "swarm-all",
        "All random faults at once",
        nodes,
        &ALL,
        &[
            &ALWAYS,
            &WITH_NET,
            &WITH_UNREACHABLE,
            &WITH_FORWARDING,
            &WITH_BUSY,
            &WITH_DISK,
            &WITH_SNAPSHOTS,
            &WITH_LEASES,
            &WITH_SEVERAL,
            &WITH_CLIENTS,
            &WITH_LIMITS,
            &WITH_STALLS,
            &WITH_ALL,
            &WITH_BACKUPS,
            &WITH_RESTORES,
            &WITH_SPEEDS,
            &WITHOUT_GUARDS,
            &WITH_SIZES,
            &WITH_STRANGERS,
            &WITH_ACTS,
        ],
    );
    // A run draws its faults among the kinds of all profiles: at their interval it would hardly have one fault of each kind.
    scenario.swarm.iter_mut().for_each(|swarm| swarm.mean_interval = Duration::from_millis(300));
    scenario
}

fn profile(name: &str, title: &str, nodes: u64, families: &[Family], marks: &[&[&str]]) -> Scenario {
    let mut scenario = defaults::scenario(name, &format!("raft-sim swarm ({name})"));
    scenario.title = title.to_owned();
    scenario.story =
        "Clients write and read while faults strike at random; then a majority is healed for good, and must \
                      find a leader, commit and agree."
            .to_owned();
    scenario.source = "Raft §5 throughout".to_owned();
    scenario.nodes = nodes;
    scenario.duration = Duration::from_secs(20);
    // The segments are so small that a run fills several, so recovery meets the border between two.
    scenario.disk.segment_bytes = 8 << 10;
    scenario.swarm = Some(SwarmModel {
        features: of_families(families).collect(),
        mean_interval: Duration::from_millis(700),
        heal_at: Duration::from_secs(12),
        ..SwarmModel::default()
    });
    scenario.expect.heals_within = Some(HEALS_WITHIN);
    scenario.seeds = 0..ENOUGH_RUNS;
    // Of one or two nodes no leader continues without the other, so logs cannot diverge.
    if nodes > 2 {
        scenario.expect.sometimes = marks.iter().flat_map(|marks| marks.iter().map(ToString::to_string)).collect();
    }
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::MARKS;
    use crate::scenario::feature::FEATURES;

    #[test]
    fn what_must_have_happened_are_marks_that_exist() {
        for scenario in [net(3), disk(3), member(3), timing(3), all(9)] {
            assert!(scenario.expect.sometimes.len() > ALWAYS.len(), "{}", scenario.name);
            let unknown = scenario.expect.sometimes.iter().find(|mark| !MARKS.contains(&mark.as_str()));
            assert_eq!(unknown, None, "{}", scenario.name);
        }
        assert!(all(2).expect.sometimes.is_empty());
    }

    #[test]
    fn all_means_all_and_heals_before_the_end() {
        let swarm = all(5).swarm.expect("a swarm");
        assert_eq!(swarm.features.len(), FEATURES.len());
        assert!(FEATURES.iter().all(|(feature, _)| swarm.features.contains(feature)));
        assert!(swarm.heal_at < all(5).duration);
    }
}
