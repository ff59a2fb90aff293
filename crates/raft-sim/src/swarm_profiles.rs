//! The swarms of `raft-sim swarm`: random faults against a cluster under load, then a healed majority that must recover.
//!
//! A swarm leaves each of its faults out of a run with probability one half, because faults hide each other: where
//! everything is lost, nothing is ever reordered (swarm testing, Groce et al., ISSTA 2012).

use crate::scenario::defaults;
use crate::scenario::model::{Feature, Scenario, SwarmModel};
use std::time::Duration;

/// Faults of links.
const NET: [Feature; 6] = [
    Feature::Loss,
    Feature::Duplicate,
    Feature::Reorder,
    Feature::Partition,
    Feature::OneWayCut,
    Feature::IsolateLeader,
];

/// Faults of processes and disks.
const DISK: [Feature; 6] = [
    Feature::Kill,
    Feature::PowerLoss,
    Feature::CrashAtBoundary,
    Feature::CrashAtDiskOperation,
    Feature::KillRestartPowerLoss,
    Feature::SlowDisk,
];

/// How many election timeouts a healed majority may take for a leader, a fresh commit and equal logs.
const HEALS_WITHIN: u32 = 20;

/// The network's faults.
pub fn net(nodes: u64) -> Scenario {
    profile("swarm-net", "Random faults of the network", nodes, &[&NET])
}

/// The faults of processes and their disks.
pub fn disk(nodes: u64) -> Scenario {
    profile("swarm-disk", "Random crashes, power losses and slow disks", nodes, &[&DISK])
}

/// All faults.
pub fn all(nodes: u64) -> Scenario {
    profile("swarm-all", "All random faults at once", nodes, &[&NET, &DISK])
}

fn profile(name: &str, title: &str, nodes: u64, features: &[&[Feature]]) -> Scenario {
    let mut scenario = defaults::scenario(name, &format!("raft-sim swarm ({name})"));
    scenario.title = title.to_owned();
    scenario.story =
        "Clients write and read while faults strike at random; then a majority is healed for good, and must \
                      find a leader, commit and agree."
            .to_owned();
    scenario.source = "Raft §5 throughout".to_owned();
    scenario.nodes = nodes;
    scenario.duration = Duration::from_secs(20);
    // Segments so small that a run fills several: recovery then meets the border between two.
    scenario.disk.segment_bytes = 8 << 10;
    scenario.swarm = Some(SwarmModel {
        features: features.iter().flat_map(|features| features.iter().copied()).collect(),
        mean_interval: Duration::from_millis(700),
        heal_at: Duration::from_secs(12),
    });
    scenario.expect.heals_within = Some(HEALS_WITHIN);
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::names::FEATURES;

    #[test]
    fn all_means_all_and_heals_before_the_end() {
        let swarm = all(5).swarm.expect("a swarm");
        assert_eq!(swarm.features.len(), FEATURES.len());
        assert!(FEATURES.iter().all(|(feature, _)| swarm.features.contains(feature)));
        assert!(swarm.heal_at < all(5).duration);
    }
}
