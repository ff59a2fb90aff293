//! The result of many runs: counts, findings, and one hash over all of them.

use super::clock::Instant;
use super::exit::Exit;
use raft_sim::run::RunResult;
use raft_sim::scenario::model::Scenario;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// The version of the JSON report.
const SCHEMA: u64 = 1;

/// The property that a run's code never panics.
const PANIC: &str = "no-panic";

/// A check that failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) scenario: String,
    /// `None` for an expectation about all seeds together.
    pub(crate) seed: Option<u64>,
    pub(crate) property: String,
    pub(crate) message: String,
    /// The numbers of the events that contradict each other.
    pub(crate) facts: Vec<u64>,
    /// The crash point and its outcome, for an enumerated scenario.
    #[serde(skip)]
    pub(crate) case: Option<(u64, u64)>,
    /// The file with the recorded run.
    pub(crate) file: Option<String>,
    /// A command that repeats the run.
    pub(crate) reproduce: Option<String>,
    /// The run's trace hash; `None` after a panic.
    #[serde(skip)]
    pub(crate) hash: Option<u128>,
    #[serde(skip)]
    pub(crate) exit: Exit,
}

/// One run.
pub(crate) struct Outcome {
    pub(crate) result: RunResult,
    /// The first event in which a second run differed.
    pub(crate) difference: Option<String>,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

/// The runs of one scenario.
#[derive(Default)]
pub(crate) struct ScenarioReport {
    pub(crate) runs: u64,
    pub(crate) events: u64,
    pub(crate) simulated: Duration,
    /// The number of outcomes of crashes, for an enumerated scenario.
    pub(crate) branches: u64,
    pub(crate) findings: Vec<Finding>,
    heals: Vec<Duration>,
    sometimes: BTreeMap<String, u64>,
    wall: Option<(Instant, Instant)>,
}

impl Finding {
    /// A failed check of one run.
    pub(crate) fn of_run(
        scenario: &Scenario,
        seed: u64,
        (property, message, facts): (&str, &str, &[u64]),
        hash: u128,
        exit: Exit,
    ) -> Self {
        let new = Self::new(scenario, property, message, exit);
        Self { seed: Some(seed), facts: facts.to_vec(), hash: Some(hash), ..new }
    }

    fn new(scenario: &Scenario, property: &str, message: &str, exit: Exit) -> Self {
        Self {
            scenario: scenario.name.clone(),
            seed: None,
            property: property.to_owned(),
            message: message.to_owned(),
            facts: Vec::new(),
            case: None,
            file: None,
            reproduce: None,
            hash: None,
            exit,
        }
    }
}

impl ScenarioReport {
    /// Adds a run, or the message of its panic.
    pub(crate) fn add(&mut self, scenario: &Scenario, seed: u64, outcome: &Result<Outcome, String>) {
        self.runs += 1;
        let hash = outcome.as_ref().ok().map(|outcome| outcome.result.hash);
        let finding = |property: &str, message: &str, facts: &[u64], exit| Finding {
            seed: Some(seed),
            facts: facts.to_vec(),
            case: outcome.as_ref().ok().and_then(|outcome| outcome.result.case),
            hash,
            ..Finding::new(scenario, property, message, exit)
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) => return self.findings.push(finding(PANIC, panic, &[], Exit::Panic)),
        };
        let (first, last) = self.wall.unwrap_or((outcome.started, outcome.ended));
        self.wall = Some((first.min(outcome.started), last.max(outcome.ended)));
        let result = &outcome.result;
        self.events += result.events;
        self.branches += result.branches;
        self.simulated = self.simulated.saturating_add(result.simulated);
        self.heals.extend(result.heal);
        add_counts(&mut self.sometimes, result.sometimes.iter().map(|(mark, count)| (mark.to_string(), *count)));
        if let Some(violation) = &result.violation {
            // A panic of the code under test is reported as a violation, but ends the command as a panic.
            let exit = if violation.property == PANIC { Exit::Panic } else { Exit::Safety };
            self.findings.push(finding(violation.property, &violation.message, &violation.facts, exit));
        }
        if let Some(doubt) = &result.inconclusive {
            self.findings.push(finding("inconclusive", doubt, &[], Exit::Inconclusive));
        }
        let failed = result.failures.iter().map(|message| finding("expectation", message, &[], Exit::Expectation));
        self.findings.extend(failed);
        if let Some(difference) = &outcome.difference {
            self.findings.push(finding("determinism", difference, &[], Exit::NotDeterministic));
        }
    }

    /// Checks the marks that some run must reach, if there are at least as many runs as the file names seeds: an event
    /// that happens within twenty seeds need not happen within one.
    pub(crate) fn check_marks(&mut self, scenario: &Scenario) {
        // An even sample has slightly fewer points than requested.
        let seeds = scenario.seeds.end.saturating_sub(scenario.seeds.start);
        let wanted = scenario.enumerate.as_ref().map_or(seeds, |enumeration| enumeration.sample / 2);
        let enough = self.runs >= wanted;
        let missed = |mark: &&String| self.sometimes.get(*mark).is_none_or(|count| *count == 0);
        let missed: Vec<&String> = scenario.expect.sometimes.iter().filter(missed).collect();
        let finding = |mark: &&String| {
            let message = format!("expected `{mark}` in at least one run, found it in none of {}", self.runs);
            Finding::new(scenario, "sometimes", &message, Exit::Expectation)
        };
        let findings: Vec<Finding> = missed.iter().filter(|_| enough).map(finding).collect();
        self.findings.extend(findings);
    }

    /// How long its runs took by the wall clock.
    pub(crate) fn wall(&self) -> Duration {
        self.wall.map_or(Duration::ZERO, |(first, last)| last.duration_since(first))
    }

    /// The time within which 99 % of the runs had healed.
    pub(crate) fn heal_p99(&self) -> Option<Duration> {
        let mut heals = self.heals.clone();
        heals.sort_unstable();
        let place = (heals.len() * 99).div_ceil(100).checked_sub(1)?;
        heals.get(place).copied()
    }
}

/// Counts of the runs in which a kind of fault was injected and had an effect.
#[derive(Clone, Copy, Default, Serialize)]
struct FaultRuns {
    injected: u64,
    #[serde(rename = "mattered")]
    had_effect: u64,
}

/// All runs of a command.
#[derive(Default)]
pub(crate) struct Report {
    hash: Xxh3,
    runs: u64,
    events: u64,
    sometimes: BTreeMap<String, u64>,
    faults: BTreeMap<String, FaultRuns>,
    findings: Vec<Finding>,
}

impl Report {
    /// Adds a run. Call it in the order of (scenario, seed): the hash depends on it.
    pub(crate) fn add(&mut self, outcome: &Result<Outcome, String>) {
        self.runs += 1;
        let Ok(Outcome { result, .. }) = outcome else {
            self.hash.update(&[0; 16]);
            return;
        };
        self.hash.update(&result.hash.to_le_bytes());
        self.events += result.events;
        add_counts(&mut self.sometimes, result.sometimes.iter().map(|(mark, count)| (mark.to_string(), *count)));
        for (kind, count) in &result.faults {
            let runs = self.faults.entry(kind.to_string()).or_default();
            runs.injected += u64::from(count.injected);
            runs.had_effect += u64::from(count.had_effect);
        }
    }

    /// Adds the failed checks of a scenario.
    pub(crate) fn add_findings(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// The hash over the hashes of all runs so far.
    pub(crate) fn hash(&self) -> String {
        format!("{:032x}", self.hash.digest128())
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        self.findings.iter().map(|finding| finding.exit).max().unwrap_or(Exit::Held)
    }

    /// The JSON report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "hash": self.hash(),
            "runs": self.runs,
            "events": self.events,
            "violations": self.findings,
            "sometimes": self.sometimes,
            "faults": self.faults,
        })
    }
}

fn add_counts(sum: &mut BTreeMap<String, u64>, counts: impl Iterator<Item = (String, u64)>) {
    for (name, count) in counts {
        let total = sum.entry(name).or_insert(0);
        *total = total.saturating_add(count);
    }
}
