//! A directed swarm: it prefers seeds whose features went together with rare marks.

use crate::faults::swarm::features_of;
use crate::rng::Choices;
use crate::scenario::feature::Feature;
use crate::scenario::model::Scenario;
use std::collections::{BTreeMap, BTreeSet};

/// Of so many seeds it takes the best, every other time. The other runs are as random as ever: what is rare is learned
/// from all.
const SEEDS: u64 = 8;
/// A mark is rare if at most one run in so many reaches it.
const RARE: u64 = 20;

/// Which features went together with which marks.
#[derive(Default)]
pub(super) struct Directed {
    runs: u64,
    /// In how many runs each feature was.
    with: BTreeMap<Feature, u64>,
    /// In how many runs each mark was reached, and in how many of them each feature was.
    marks: BTreeMap<&'static str, (u64, BTreeMap<Feature, u64>)>,
    asked: u64,
}

impl Directed {
    /// The next seed of a swarm from `first` on, and the seed after the candidates.
    pub(super) fn seed(&mut self, scenario: &Scenario, first: u64) -> (u64, u64) {
        self.asked += 1;
        if self.asked.is_multiple_of(2) || self.runs < RARE {
            return (first + 1, first);
        }
        let score = |seed: &u64| self.score(&features_of(scenario, &mut Choices::new(*seed)));
        let best = (first..first + SEEDS).rev().max_by_key(score);
        (first + SEEDS, best.unwrap_or(first))
    }

    /// How much more often the runs with each feature reached the rare marks than all runs, in percent, summed up.
    fn score(&self, features: &BTreeSet<Feature>) -> i64 {
        let rare = self.marks.values().filter(|(runs, _)| *runs * RARE <= self.runs);
        let lift = |(runs, with): &(u64, BTreeMap<Feature, u64>)| -> i64 {
            let of = |feature: &Feature| {
                let (hits, all) =
                    (with.get(feature).copied().unwrap_or(0), self.with.get(feature).copied().unwrap_or(0));
                (100 * hits * self.runs / (all.max(1) * (*runs).max(1))).cast_signed() - 100
            };
            features.iter().map(of).sum()
        };
        rare.map(lift).sum()
    }

    /// Learns from a run.
    pub(super) fn learn(&mut self, scenario: &Scenario, seed: u64, marks: Vec<&'static str>) {
        if scenario.swarm.as_ref().is_none_or(|swarm| swarm.after_branch) {
            return;
        }
        let features = features_of(scenario, &mut Choices::new(seed));
        self.runs += 1;
        for feature in &features {
            *self.with.entry(*feature).or_default() += 1;
        }
        for mark in marks {
            let (runs, with) = self.marks.entry(mark).or_default();
            *runs += 1;
            for feature in &features {
                *with.entry(*feature).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::swarm;

    #[test]
    fn it_prefers_seeds_with_the_features_of_rare_marks() {
        let (mut directed, scenario) = (Directed::default(), swarm(3));
        let features = |seed| features_of(&scenario, &mut Choices::new(seed));
        for seed in 0..2_000 {
            let rare = features(seed).contains(&Feature::Snapshots) && seed % 20 == 0;
            directed.learn(&scenario, seed, if rare { vec!["commit", "snapshot_stale"] } else { vec!["commit"] });
        }
        let mut first = 10_000;
        let mut chosen = 0;
        for _ in 0..40 {
            let (next, seed) = directed.seed(&scenario, first);
            chosen += u64::from(next > first + 1 && features(seed).contains(&Feature::Snapshots));
            first = next;
        }
        assert!(chosen >= 16, "{chosen} of 20 chosen seeds have the feature; every other one would by chance");
    }
}
