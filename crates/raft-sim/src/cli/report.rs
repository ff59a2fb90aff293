//! The report of a campaign: its scenarios and their runs, counts over all of them, and one hash. docs/campaigns.md has
//! the schema of its JSON form.

use super::args::Shard;
use super::coverage::{self, Coverage, Seen};
use super::exit::Exit;
use super::finding::Finding;
use super::scenario_report::{Outcome, ScenarioReport};
use anyhow::{Context, Result, bail};
use raft_sim::BUILD;
use raft_sim::scenario::model::Scenario;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The version of the JSON report. A new field keeps it, a changed one raises it.
const SCHEMA: u64 = 2;

/// The events that a campaign must have many of, and the marks that count each.
const RATES: [(&str, &[&str]); 5] = [
    ("commits", &["commit"]),
    ("elections", &["election"]),
    ("truncations", &["truncation"]),
    ("snapshots", &["snapshot_taken", "snapshot_installed"]),
    ("changes", &["configuration_changed"]),
];

/// Counts of the runs in which a kind of fault was injected and had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FaultRuns {
    injected: u64,
    #[serde(rename = "mattered")]
    had_effect: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: u64,
    build: String,
    hash: String,
    pub(crate) runs: u64,
    pub(crate) events: u64,
    pub(crate) violations: Vec<Finding>,
    /// How often each mark was reached.
    sometimes: BTreeMap<String, u64>,
    /// In how many runs each mark was reached.
    pub(crate) reached_in: BTreeMap<String, u64>,
    faults: BTreeMap<String, FaultRuns>,
    per_1000_events: BTreeMap<String, f64>,
    /// The shares of the campaign in this report; empty if it has all.
    pub(crate) shares: Vec<String>,
    pub(crate) scenarios: Vec<ScenarioReport>,
    /// `None` if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<Coverage>,
    #[serde(skip)]
    seen: Seen,
}

impl Report {
    pub(crate) fn new(scenarios: &[&Scenario], share: Option<Shard>, measures_coverage: bool) -> Self {
        Self {
            schema: SCHEMA,
            build: BUILD.to_owned(),
            shares: share.iter().map(Shard::to_string).collect(),
            scenarios: scenarios.iter().map(|scenario| ScenarioReport::new(scenario)).collect(),
            coverage: measures_coverage.then(Coverage::new),
            ..Self::default()
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// It is no report, or has another version.
    pub(crate) fn parse(value: Value) -> Result<Self> {
        match value.get("schema").and_then(Value::as_u64) {
            Some(SCHEMA) => {}
            Some(other) => {
                bail!("expected a report of schema {SCHEMA}, found schema {other}: use the raft-sim that wrote it")
            }
            None => bail!("expected a report of --format json, found no field `schema`"),
        }
        let mut report: Self = serde_json::from_value(value).context("expected the fields of a report")?;
        for finding in &report.violations {
            if let Some(scenario) = report.scenarios.iter_mut().find(|scenario| scenario.name == finding.scenario) {
                scenario.findings.push(finding.clone());
            }
        }
        report.read_states()?;
        Ok(report)
    }

    /// Reads the states of all runs.
    pub(crate) fn read_states(&mut self) -> Result<()> {
        let runs = self.scenarios.iter().flat_map(|scenario| &scenario.runs);
        self.seen = coverage::read(runs.filter_map(|run| run.coverage.as_ref())).map_err(anyhow::Error::msg)?;
        Ok(())
    }

    /// Adds a run of a scenario.
    pub(crate) fn add(&mut self, place: usize, seed: u64, outcome: &Result<Outcome, String>) {
        let Some(scenario) = self.scenarios.get_mut(place) else { return };
        scenario.add(seed, outcome);
        self.runs += 1;
        let Ok(Outcome { result, coverage: run, .. }) = outcome else { return };
        if let (Some(coverage), Some(run)) = (&mut self.coverage, run) {
            coverage.count_faults(run);
            self.seen.add(run.states.iter().copied());
        }
        self.events += result.events;
        for (mark, count) in &result.sometimes {
            add_to(&mut self.sometimes, mark, *count);
            add_to(&mut self.reached_in, mark, u64::from(*count > 0));
        }
        for (kind, count) in &result.faults {
            let runs = self.faults.entry(kind.to_string()).or_default();
            runs.injected += u64::from(count.injected);
            runs.had_effect += u64::from(count.had_effect);
        }
    }

    /// Adds the report of another part of the same campaign.
    ///
    /// # Errors
    /// A report of another build, of other scenarios, or with a run that this one has too.
    pub(crate) fn join(&mut self, other: Self) -> Result<()> {
        if self.build != other.build {
            bail!("expected a report of build {}, found build {}: merge reports of one build", self.build, other.build);
        }
        match (&mut self.coverage, &other.coverage) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => ours.join(theirs),
            (ours, _) => {
                let (expected, found) = if ours.is_some() { ("a", "none") } else { ("no", "one") };
                bail!("expected {expected} coverage, found {found}: run all parts with --coverage, or none");
            }
        }
        let names = |report: &Self| report.scenarios.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>();
        let (ours, theirs) = (names(self), names(&other));
        if ours != theirs {
            bail!(
                "expected the scenarios {}, found {}: merge reports of one campaign",
                ours.join(", "),
                theirs.join(", ")
            );
        }
        for (ours, theirs) in self.scenarios.iter_mut().zip(other.scenarios) {
            if ours.definition != theirs.definition {
                bail!(
                    "expected the same scenario `{}` in all reports, found another one of that name: its file or a \
                     setting such as --nodes differs",
                    ours.name
                );
            }
            ours.join(theirs).map_err(anyhow::Error::msg)?;
        }
        self.runs = self.runs.saturating_add(other.runs);
        self.events = self.events.saturating_add(other.events);
        other.sometimes.iter().for_each(|(mark, count)| add_to(&mut self.sometimes, mark, *count));
        other.reached_in.iter().for_each(|(mark, runs)| add_to(&mut self.reached_in, mark, *runs));
        for (kind, theirs) in other.faults {
            let runs = self.faults.entry(kind).or_default();
            runs.injected = runs.injected.saturating_add(theirs.injected);
            runs.had_effect = runs.had_effect.saturating_add(theirs.had_effect);
        }
        self.shares.extend(other.shares);
        Ok(())
    }

    /// Computes the fields that follow from the others, once all runs are there.
    pub(crate) fn conclude(&mut self) {
        self.violations = self.scenarios.iter().flat_map(|scenario| scenario.findings.clone()).collect();
        self.hash = self.hash();
        if let Some(coverage) = &mut self.coverage {
            let runs = self.scenarios.iter_mut().flat_map(|scenario| &mut scenario.runs);
            coverage.conclude(&self.seen, &mut runs.filter(|run| run.coverage.is_some()).collect::<Vec<_>>());
        }
        self.per_1000_events =
            self.rates().map(|(name, millionths)| (name.to_owned(), millionths as f64 / 1e3)).collect();
    }

    /// The hash over the hashes of all runs, in the order of (scenario, seed).
    pub(crate) fn hash(&self) -> String {
        let mut hash = Xxh3::new();
        let runs = self.scenarios.iter().flat_map(|scenario| &scenario.runs);
        runs.for_each(|run| hash.update(&run.hash.unwrap_or_default().to_le_bytes()));
        format!("{:032x}", hash.digest128())
    }

    /// How often the events of [`RATES`] happened, per million events.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RATES.iter().map(|(name, marks)| {
            let count: u128 =
                marks.iter().map(|mark| u128::from(self.sometimes.get(*mark).copied().unwrap_or(0))).sum();
            let per_million = count * 1_000_000 / u128::from(self.events.max(1));
            (*name, u64::try_from(per_million).unwrap_or(u64::MAX))
        })
    }

    /// Whether the unseen mass is below a limit, in parts per trillion.
    pub(crate) fn is_covered(&self, limit: u64) -> bool {
        self.seen.is_below(limit)
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        let findings = self.scenarios.iter().flat_map(|scenario| &scenario.findings);
        findings.map(Finding::exit).max().unwrap_or(Exit::Held)
    }
}

fn add_to(sums: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    if let Some(sum) = sums.get_mut(name) {
        *sum = sum.saturating_add(count);
    } else {
        sums.insert(name.to_owned(), count);
    }
}
