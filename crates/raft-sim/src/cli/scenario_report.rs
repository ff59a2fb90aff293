//! The result of one scenario: its runs, its findings, and the marks that it demands.

use super::clock::Instant;
use super::coverage::RunStates;
use super::failure;
use super::finding::{DETERMINISM, EXPECTATION, Finding, INCONCLUSIVE, MARGIN, PANIC, SOMETIMES};
use raft_sim::coverage::run::RunCoverage;
use raft_sim::run::RunResult;
use raft_sim::scenario::model::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// One run.
pub(crate) struct Outcome {
    pub(crate) result: RunResult,
    /// The first event in which a second run differed.
    pub(crate) difference: Option<String>,
    /// `None` if it was not measured, or for an enumerated scenario: its branches jump from state to state.
    pub(crate) coverage: Option<RunCoverage>,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ScenarioReport {
    pub(crate) name: String,
    pub(crate) path: String,
    /// A hash of everything that the scenario says.
    pub(crate) definition: String,
    /// The marks that its runs must reach.
    demanded: BTreeMap<String, Reached>,
    /// Fewer runs than this may miss a mark.
    enough_runs: u64,
    pub(crate) runs: Vec<Run>,
    /// The number of outcomes of crashes, for an enumerated scenario.
    #[serde(skip)]
    pub(crate) branches: u64,
    #[serde(skip)]
    pub(crate) findings: Vec<Finding>,
    #[serde(skip)]
    wall: Option<(Instant, Instant)>,
}

/// How often a mark was reached, and the first and the last seed that reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Reached {
    count: u64,
    seeds: Option<(u64, u64)>,
}

impl Reached {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.seeds = match (self.seeds, other.seeds) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (one, other) => one.or(other),
        };
    }
}

/// One run in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// The run's trace hash; `None` after a panic.
    #[serde(with = "hex")]
    pub(crate) hash: Option<u128>,
    pub(crate) events: u64,
    pub(crate) simulated_us: u64,
    /// How long after healing the cluster worked again.
    pub(crate) heal_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<RunStates>,
}

/// A hash as 32 hexadecimal digits.
mod hex {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &Option<u128>, out: S) -> Result<S::Ok, S::Error> {
        hash.map(|hash| format!("{hash:032x}")).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u128>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| u128::from_str_radix(&text, 16).map_err(D::Error::custom)).transpose()
    }
}

impl ScenarioReport {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        // An even sample has slightly fewer points than requested.
        let seeds = scenario.seeds.end.saturating_sub(scenario.seeds.start);
        let elsewhere = Scenario { path: String::new(), ..scenario.clone() };
        Self {
            name: scenario.name.clone(),
            path: scenario.path.clone(),
            definition: format!("{:016x}", xxh3_64(format!("{elsewhere:?}").as_bytes())),
            demanded: scenario.expect.sometimes.iter().map(|mark| (mark.clone(), Reached::default())).collect(),
            enough_runs: scenario.enumerate.as_ref().map_or(seeds, |enumeration| enumeration.sample / 2),
            ..Self::default()
        }
    }

    /// Adds a run, or the message of its panic.
    pub(crate) fn add(&mut self, seed: u64, outcome: &Result<Outcome, String>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.runs.push(Run { seed, ..Run::default() });
                self.findings.push(Finding { seed: Some(seed), ..Finding::new(&self.name, PANIC, panic) });
                return;
            }
        };
        let (first, last) = self.wall.unwrap_or((outcome.started, outcome.ended));
        self.wall = Some((first.min(outcome.started), last.max(outcome.ended)));
        let result = &outcome.result;
        self.runs.push(Run {
            seed,
            hash: Some(result.hash),
            events: result.events,
            simulated_us: micros(result.simulated),
            heal_us: result.heal.map(micros),
            coverage: outcome.coverage.as_ref().map(|coverage| RunStates::of(coverage.states.len())),
        });
        self.branches += result.branches;
        for (mark, reached) in &mut self.demanded {
            let count = result.sometimes.get(mark.as_str()).copied().unwrap_or_default();
            reached.add(Reached { count, seeds: (count > 0).then_some((seed, seed)) });
        }
        self.find(seed, outcome);
    }

    fn find(&mut self, seed: u64, outcome: &Outcome) {
        let result = &outcome.result;
        let finding = |property: &str, message: &str, facts: &[u64]| Finding {
            case: result.case,
            ..Finding::of_run(&result.name, seed, (property, message, facts), result.hash)
        };
        let violated = result.violation.iter().map(|found| finding(found.property, &found.message, &found.facts));
        let doubted = result.inconclusive.iter().map(|doubt| finding(INCONCLUSIVE, doubt, &[]));
        let failed = result.failures.iter().map(|message| finding(EXPECTATION, message, &[]));
        let differed = outcome.difference.iter().map(|difference| finding(DETERMINISM, difference, &[]));
        self.findings.extend(violated.chain(doubted).chain(failed).chain(differed));
    }

    /// Checks the marks that some run must reach, if there are at least as many runs as the file names seeds: an event
    /// that happens within twenty seeds need not happen within one. With `margin`, each half of the runs must reach them.
    pub(crate) fn check_marks(&mut self, margin: bool) {
        let runs = self.runs.len() as u64;
        self.findings.retain(|finding| finding.property != SOMETIMES && finding.property != MARGIN);
        if runs < self.enough_runs {
            return;
        }
        for (mark, reached) in &self.demanded {
            let (property, message) = match (reached.seeds, self.half(reached.seeds)) {
                (None, _) => (SOMETIMES, format!("expected `{mark}` in at least one run, found it in none of {runs}")),
                (Some(_), Some(half)) if margin => {
                    (MARGIN, format!("expected `{mark}` in each half of the {runs} runs, found it only in the {half}"))
                }
                _ => continue,
            };
            let reproduce = failure::all_seeds(&self.path);
            self.findings.push(Finding { reproduce, ..Finding::new(&self.name, property, &message) });
        }
    }

    /// The half of the runs that has all runs from the first to the last of these seeds, if one has.
    fn half(&self, seeds: Option<(u64, u64)>) -> Option<&'static str> {
        let (first, last) = seeds?;
        let middle = self.runs.get(self.runs.len() / 2).filter(|_| self.runs.len() > 1)?.seed;
        match (first >= middle, last < middle) {
            (true, _) => Some("second"),
            (_, true) => Some("first"),
            _ => None,
        }
    }

    /// Adds the runs of another part of the same campaign. The runs are in the order of their seeds after it.
    ///
    /// # Errors
    /// A run that both have.
    pub(crate) fn join(&mut self, other: Self) -> Result<(), String> {
        self.runs.extend(other.runs);
        self.runs.sort_by_key(|run| run.seed);
        if let Some([run, _]) = self.runs.windows(2).find(|pair| matches!(pair, [a, b] if a.seed == b.seed)) {
            return Err(format!(
                "expected runs that no other report has, found seed {} of `{}` again: merge each share once",
                run.seed, self.name
            ));
        }
        for (mark, reached) in other.demanded {
            self.demanded.entry(mark).or_default().add(reached);
        }
        self.findings.extend(other.findings);
        // Findings without a seed come last.
        self.findings.sort_by_key(|finding| (finding.seed.is_none(), finding.seed));
        Ok(())
    }

    pub(crate) fn events(&self) -> u64 {
        self.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.events))
    }

    pub(crate) fn simulated(&self) -> Duration {
        Duration::from_micros(self.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.simulated_us)))
    }

    /// How long its runs took by the wall clock.
    pub(crate) fn wall(&self) -> Duration {
        self.wall.map_or(Duration::ZERO, |(first, last)| last.duration_since(first))
    }

    /// The time within which 99 % of the runs had healed.
    pub(crate) fn heal_p99(&self) -> Option<Duration> {
        let mut heals: Vec<u64> = self.runs.iter().filter_map(|run| run.heal_us).collect();
        heals.sort_unstable();
        let place = (heals.len() * 99).div_ceil(100).checked_sub(1)?;
        heals.get(place).copied().map(Duration::from_micros)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_margin_if_both_halves_of_the_runs_reach_it() {
        let reached = |first, last| Reached { count: 2, seeds: Some((first, last)) };
        let marks = [("commit", reached(0, 4)), ("election", reached(0, 1)), ("truncation", reached(2, 4))];
        let mut report = ScenarioReport { enough_runs: 5, ..ScenarioReport::default() };
        report.runs = (0..5).map(|seed| Run { seed, ..Run::default() }).collect();
        report.demanded = marks.map(|(mark, reached)| (mark.to_owned(), reached)).into();
        report.demanded.insert("vote".to_owned(), Reached::default());
        let found = |report: &mut ScenarioReport, margin| -> Vec<String> {
            report.check_marks(margin);
            report.findings.iter().map(|finding| format!("{}: {}", finding.property, finding.message)).collect()
        };
        let never = "sometimes: expected `vote` in at least one run, found it in none of 5".to_owned();
        let thin = |mark: &str, half: &str| {
            format!("margin: expected `{mark}` in each half of the 5 runs, found it only in the {half}")
        };
        assert_eq!(found(&mut report, true), [thin("election", "first"), thin("truncation", "second"), never.clone()]);
        assert_eq!(found(&mut report, false), [never]);
        report.enough_runs = 6;
        assert!(found(&mut report, true).is_empty(), "too few runs");
    }
}
