//! Writes a run of a swarm down as a script: settings as drawn, each fault as a step, each operation of a client, each message that
//! met a random fault. What remains random are the delays of messages and disks, and they depend on the seed alone.

use crate::faults::with_drawn_nodes;
use crate::record::SimTime;
use crate::run::RunChecker;
use crate::scenario::model::{NodeSettings, Scenario, Step, StepAction, SwarmModel};
use crate::world::World;
use crate::world::steps::Act;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The same run as a script, as far as its first `events` events. One without a swarm keeps its steps; only its operations and messages are
/// written down.
pub(crate) fn script(scenario: &Scenario, seed: u64, events: u64) -> Scenario {
    let drawn = with_drawn_nodes(scenario, seed).into_owned();
    let shared = Arc::new(drawn.clone());
    let mut checker = RunChecker::new(&drawn);
    let log = checker.guard(|checker| {
        let mut world = World::new(&shared, seed);
        world.keep_log();
        while checker.events() < events && checker.advance(&mut world, &mut (), &mut Vec::new()) {}
        world
    });
    // A panic of the code under test takes the world with it.
    let Some(mut world) = log else { return drawn };
    let mut script = Scenario::clone(&world.scenario);
    script.messages = world.network.met.take();
    script.clients.operations = Some(world.clients.begun());
    if script.swarm.is_none() {
        return script;
    }
    let settings: Vec<(NodeId, _)> = world.nodes().into_iter().map(|node| (node, world.draw_settings(node))).collect();
    for (node, own) in settings {
        script.raft.of.insert(node, NodeSettings::difference(&script.raft, &own));
    }
    script.raft.of.retain(|_, own| *own != NodeSettings::default());
    script.founders = Some(world.draw_founders());
    let network = world.network.swarm_model().map(|model| Act {
        at: SimTime(0),
        action: StepAction::Network(model.clone()),
        lasts: None,
    });
    let acts = network.into_iter().chain(world.acts.take().unwrap_or_default());
    script.steps = acts.filter(|act| !matches!(act.action, StepAction::Expect(_))).map(step).collect();
    script.swarm = script.swarm.map(|swarm| SwarmModel { features: BTreeSet::new(), after_branch: false, ..swarm });
    script
}

fn step(Act { at, action, lasts }: Act) -> Step {
    Step::at(Duration::from_nanos(at.0), action, lasts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::profiles;
    use crate::record::{Record, RecordKind};
    use crate::run::run;

    fn records(scenario: &Scenario, seed: u64) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        let result = run(scenario, seed, &mut records);
        assert_eq!(result.violation, None, "seed {seed}");
        // The limits of a swarm are part of the script.
        records.retain(|record| match &record.kind {
            RecordKind::Fault { label } => !label.starts_with("damaged, ") && label != "network",
            kind => !matches!(kind, RecordKind::LimitsDrawn { .. } | RecordKind::ClusterLimitsDrawn { .. }),
        });
        records
    }

    #[test]
    fn a_script_repeats_its_run_to_the_last_record() {
        let scenario = profiles::all(5);
        for seed in 0..40 {
            let script = script(&scenario, seed, u64::MAX);
            let (ours, theirs) = (records(&scenario, seed), records(&script, seed));
            let differs = |(ours, theirs): &(&Record, &Record)| (ours.at, &ours.kind) != (theirs.at, &theirs.kind);
            let difference = ours.iter().zip(&theirs).find(differs);
            assert_eq!((difference, ours.len()), (None, theirs.len()), "seed {seed}");
        }
    }
}
