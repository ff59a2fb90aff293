//! Scenarios for the tests of the engine.

use crate::scenario::feature::FEATURES;
use crate::scenario::model::{
    ClientModel, ClientReads, DiskModel, Expectations, Mix, NetworkModel, ProcessModel, RaftSettings, Scenario, Step,
    StepAction, SwarmModel, Trigger,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A quiet cluster with two clients.
pub(crate) fn quiet(nodes: u64, duration: Duration) -> Scenario {
    Scenario {
        name: "quiet".into(),
        path: "quiet.toml".into(),
        title: String::new(),
        story: String::new(),
        source: String::new(),
        seeds: 0..1,
        nodes,
        founders: None,
        duration,
        raft: RaftSettings {
            election_timeout: ms(150)..ms(300),
            election_timeout_of: BTreeMap::new(),
            heartbeat_interval: ms(50),
            pre_vote: true,
            check_quorum: true,
            stickiness: true,
            lease_reads: false,
            max_clock_drift_ppm: 10_000,
            priority: 100,
            priority_of: BTreeMap::new(),
            max_append_bytes: 1 << 20,
            max_inflight_messages: 256,
            snapshot_after_entries: 0,
            trailing_entries: 10_000,
            max_cached_bytes: 1 << 20,
            snapshot_timeout: ms(60_000),
            snapshot_chunk_bytes: 512,
            snapshot_bytes_per_second: 0,
            snapshot_patience: Duration::from_millis(100),
            ..RaftSettings::default()
        },
        initial: BTreeMap::new(),
        network: NetworkModel {
            delay: ms(1)..ms(5),
            loss_ppm: 0,
            duplicate_ppm: 0,
            duplicate_delay: Duration::ZERO..ms(50),
            reorder_ppm: 0,
            reorder_delay: Duration::ZERO..ms(50),
            snapshot_transfer: ms(5)..ms(20),
            snapshot_loss_ppm: 0,
            unreachable_ppm: 0,
        },
        process: ProcessModel::default(),
        disk: DiskModel { latency: ms(1)..ms(3), segment_bytes: 65_536, reserve_bytes: 0 },
        clients: ClientModel {
            count: 2,
            think: Duration::ZERO..ms(20),
            retry_after: ms(200),
            give_up_after: ms(1_000),
            keys: 3,
            reads: ClientReads::Safe,
            mix: Mix { get: 4, put: 4, cas: 2, delete: 1, ..Mix::default() },
            start: Duration::ZERO,
            ..ClientModel::default()
        },
        steps: Vec::new(),
        swarm: None,
        enumerate: None,
        expect: Expectations::default(),
    }
}

/// The same with every random fault.
pub(crate) fn swarm(nodes: u64) -> Scenario {
    let features = FEATURES.iter().map(|&(feature, _)| feature).collect();
    let mut scenario = quiet(nodes, ms(15_000));
    scenario.name = "swarm".into();
    scenario.swarm = Some(SwarmModel { features, mean_interval: ms(300), heal_at: ms(10_000) });
    scenario.expect.heals_within = Some(40);
    scenario
}

/// A step at a time in milliseconds.
pub(crate) fn at(millis: u64, action: StepAction) -> Step {
    Step { trigger: Trigger::At(ms(millis)), action }
}
