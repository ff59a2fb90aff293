//! What one run covers: the abstract states of its cluster, and the phases in which each kind of fault struck.

use super::AbstractState;
use super::phases::{PhaseSet, Phases};
use crate::faults::{Fault, FaultSet};
use crate::record::{Record, RecordKind};
use crate::run::Sink;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct RunCoverage {
    state: AbstractState,
    /// The abstract states after an event.
    pub states: BTreeSet<u64>,
    phases: Phases,
    /// The phases in which each kind of fault was injected, or had an effect.
    pub struck: BTreeMap<Fault, PhaseSet>,
}

impl Sink for RunCoverage {
    fn record(&mut self, record: &Record) {
        if matches!(record.kind, RecordKind::NewCluster { .. }) {
            self.state = AbstractState::default();
        }
        self.states.extend(self.state.observe(record));
        self.phases.observe(record);
    }

    fn struck(&mut self, faults: FaultSet) {
        let phases = self.phases.now();
        for fault in faults.iter() {
            self.struck.entry(fault).or_default().add(phases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::phases::Phase;
    use crate::run::run;
    use crate::testing::{ms, quiet, swarm};

    fn coverage(scenario: &crate::scenario::model::Scenario, seed: u64) -> RunCoverage {
        let mut coverage = RunCoverage::default();
        let result = run(scenario, seed, &mut coverage);
        assert_eq!(result, run(scenario, seed, &mut ()), "measuring changes nothing");
        let struck: Vec<&str> = coverage.struck.keys().map(|fault| fault.name()).collect();
        let injected = result.faults.iter().filter(|(_, count)| count.injected).map(|(name, _)| *name);
        assert_eq!(
            struck.into_iter().collect::<BTreeSet<_>>(),
            injected.collect(),
            "each injected fault struck sometime"
        );
        coverage
    }

    #[test]
    fn faults_make_more_states_and_strike_in_several_phases() {
        let quiet = coverage(&quiet(3, ms(3_000)), 1);
        assert!(quiet.struck.is_empty());
        let swarm = coverage(&swarm(3), 4);
        assert!(swarm.states.len() > 2 * quiet.states.len(), "{} and {}", swarm.states.len(), quiet.states.len());
        let in_phase = |phase| swarm.struck.values().any(|phases| phases.has(phase));
        assert!(in_phase(Phase::Election) && in_phase(Phase::Replication), "{:?}", swarm.struck);
    }
}
