//! The scenarios that a search begins with: swarms, and stories whose random faults begin at a branch.

use crate::scenario::feature::Family::{Crashes, Net, Operation, Timing};
use crate::scenario::feature::{Feature, of_families};
use crate::scenario::model::{Scenario, StepAction, SwarmModel};
use std::sync::Arc;
use std::time::Duration;

/// How long a run of a story goes on after its steps.
const AFTER_STORY: Duration = Duration::from_secs(5);

/// A scenario that a search begins with.
#[derive(Clone, Debug)]
pub struct Start {
    scenario: Arc<Scenario>,
    is_story: bool,
}

impl Start {
    pub const fn scenario(&self) -> &Arc<Scenario> {
        &self.scenario
    }

    pub const fn is_story(&self) -> bool {
        self.is_story
    }
}

/// The scenarios of these that a search can begin with; it omits enumerated ones. Stories that lose or change durable data or
/// begin a new cluster come last and keep no `swarm`: more random faults could exceed what Raft survives.
pub fn starts(scenarios: Vec<Scenario>) -> Vec<Start> {
    let single = scenarios.into_iter().filter(|scenario| scenario.enumerate.is_none());
    let (all, fragile): (Vec<Scenario>, Vec<Scenario>) = single.partition(survives);
    let start = |scenario: Scenario| {
        let is_story = scenario.swarm.is_none();
        let scenario = if is_story { with_faults_after_branch(scenario) } else { scenario };
        Start { scenario: Arc::new(scenario), is_story }
    };
    let fragile = fragile.into_iter().filter(|scenario| scenario.swarm.is_none());
    let alone = fragile.map(|scenario| Start { scenario: Arc::new(scenario), is_story: true });
    all.into_iter().map(start).chain(alone).collect()
}

fn survives(scenario: &Scenario) -> bool {
    use crate::record::CrashKind::{DiskLoss, DiskRollback};
    !scenario.steps.iter().any(|step| match &step.action {
        StepAction::Crash { crash, .. } => matches!(crash, DiskLoss | DiskRollback),
        StepAction::Damage { .. } | StepAction::InjectedError { .. } => true,
        StepAction::Restore { .. } | StepAction::Recover { .. } => true,
        StepAction::Change { force, .. } => *force,
        _ => false,
    })
}

/// The story with the faults of a swarm from its first branch on.
fn with_faults_after_branch(mut scenario: Scenario) -> Scenario {
    // Clocks drift no further than the story says, and its guards stay.
    let outside = [Feature::ClockDrift, Feature::MachinePause, Feature::Backups, Feature::Restores, Feature::GuardsOff];
    let features =
        of_families(&[Net, Crashes, Timing, Operation]).filter(|feature| !outside.contains(feature)).collect();
    scenario.duration += AFTER_STORY;
    let heal_at = scenario.duration - Duration::from_millis(1);
    let mean_interval = scenario.raft.election_timeout.end;
    scenario.swarm = Some(SwarmModel { features, mean_interval, heal_at, after_branch: true, ..SwarmModel::default() });
    scenario
}
