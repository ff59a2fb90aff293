//! Scenarios for the tests of the engine.

use crate::record::Record;
use crate::run::{RunResult, run};
use crate::scenario::defaults;
use crate::scenario::feature::FEATURES;
use crate::scenario::model::{Condition, Mix, Origin, Scenario, Step, StepAction, SwarmModel, Trigger};
use std::time::Duration;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn quiet(nodes: u64, duration: Duration) -> Scenario {
    let mut scenario = defaults::scenario("quiet", "quiet.toml");
    (scenario.seeds, scenario.nodes, scenario.duration) = (0..1, nodes, duration);
    scenario.raft.max_cached_bytes = 1 << 20;
    scenario.network.reorder_delay = Duration::ZERO..ms(50);
    let clients = &mut scenario.clients;
    (clients.think, clients.retry_after, clients.give_up_after) = (Duration::ZERO..ms(20), ms(200), ms(1_000));
    (clients.keys, clients.mix) = (3, Mix { get: 4, put: 4, cas: 2, delete: 1, ..Mix::default() });
    scenario
}

pub(crate) fn swarm(nodes: u64) -> Scenario {
    let features = FEATURES.iter().map(|&(feature, _)| feature).collect();
    let mut scenario = quiet(nodes, ms(15_000));
    scenario.name = "swarm".into();
    scenario.swarm =
        Some(SwarmModel { features, mean_interval: ms(300), heal_at: ms(10_000), ..SwarmModel::default() });
    scenario.expect.heals_within = Some(40);
    scenario
}

/// A step at a time in milliseconds.
pub(crate) fn at(millis: u64, action: StepAction) -> Step {
    step(Trigger::At(ms(millis)), action)
}

/// A step that waits for a condition.
pub(crate) fn when(condition: Condition, after: Duration, action: StepAction) -> Step {
    step(Trigger::When { condition, after }, action)
}

fn step(trigger: Trigger, action: StepAction) -> Step {
    Step { trigger, action, lasts: None, refused: None, origin: Origin::default(), form: None }
}

/// A run with seed 3 that violates no property, and its records.
pub(crate) fn watched(scenario: &Scenario) -> (RunResult, Vec<Record>) {
    let mut records = Vec::new();
    let result = run(scenario, 3, &mut records);
    assert_eq!(result.violation, None);
    (result, records)
}

/// The same for a run that meets all expectations of its scenario.
pub(crate) fn passed(scenario: &Scenario) -> (RunResult, Vec<Record>) {
    let (result, records) = watched(scenario);
    assert_eq!(result.failures, [""; 0]);
    (result, records)
}
