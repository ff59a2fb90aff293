//! The report of a search, or of several that `merge` has joined. docs/search.md has the schema of its JSON form.

use super::args::{SearchArgs, SearchStrategy};
use super::campaign::verdict;
use super::exit::Exit;
use super::finding::Finding;
use super::show;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use raft_sim::BUILD;
use raft_sim::checkers::MARKS;
use raft_sim::search::Search;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// The version of the JSON report. A new field keeps it, a changed one raises it.
const SCHEMA: u64 = 2;
/// A mark that at most so many runs have reached is rare.
const RARE: u64 = 3;

/// How many cells a search has reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cells {
    marks: u64,
    pairs: u64,
    states: u64,
    /// How many of them are new in the last tenth of the budget.
    late: u64,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct One {
    strategy: SearchStrategy,
    seed: u64,
    budget: u64,
    hash: String,
    events: u64,
    cells: Cells,
    /// The branches of the find, if there is one.
    recipe: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SearchReport {
    schema: u64,
    build: String,
    hash: String,
    events: u64,
    runs: u64,
    branches: u64,
    inconclusive: u64,
    pub(crate) violations: Vec<Finding>,
    /// In how many runs each mark was reached.
    sometimes: BTreeMap<String, u64>,
    /// Ordered by strategy, seed and budget.
    searches: Vec<One>,
}

impl SearchReport {
    /// The report of a search that has ended, with its find.
    pub(crate) fn new(args: &SearchArgs, search: &Search, found: Option<(String, Vec<Finding>)>) -> Self {
        let totals = search.totals();
        let [marks, pairs, states] = totals.cells;
        let (recipe, violations) = found.map_or((None, Vec::new()), |(recipe, findings)| (Some(recipe), findings));
        let hash = format!("{:032x}", search.hash());
        let one = One {
            strategy: args.strategy,
            seed: args.seed,
            budget: args.budget,
            hash: hash.clone(),
            events: totals.events,
            cells: Cells { marks, pairs, states, late: totals.late_cells },
            recipe,
        };
        Self {
            schema: SCHEMA,
            build: BUILD.to_owned(),
            hash,
            events: totals.events,
            runs: totals.runs,
            branches: totals.branches,
            inconclusive: totals.inconclusive,
            violations,
            sometimes: totals.marks.iter().map(|(mark, jobs)| ((*mark).to_owned(), *jobs)).collect(),
            searches: vec![one],
        }
    }

    /// Whether a report is of a search, and not of a campaign.
    pub(crate) fn is_one(report: &Value) -> bool {
        report.get("searches").is_some()
    }

    /// Reads a report.
    ///
    /// # Errors
    /// It has another version, or lacks a field.
    pub(crate) fn parse(report: Value) -> Result<Self> {
        match report.get("schema").and_then(Value::as_u64) {
            Some(SCHEMA) => serde_json::from_value(report).context("expected the fields of a search's report"),
            other => bail!(
                "expected a search's report of schema {SCHEMA}, found {}: use the raft-sim that wrote it",
                other.map_or_else(|| "none".to_owned(), |schema| format!("schema {schema}"))
            ),
        }
    }

    /// Adds the report of other searches.
    ///
    /// # Errors
    /// A report of another build, or of a search that this one has too.
    pub(crate) fn join(&mut self, other: Self) -> Result<()> {
        if self.build != other.build {
            bail!("expected a report of build {}, found build {}: merge reports of one build", self.build, other.build);
        }
        if let Some(twice) = other.searches.iter().find(|one| self.searches.iter().any(|ours| ours.hash == one.hash)) {
            bail!("expected searches that no other report has, found the one of seed {} again", twice.seed);
        }
        for (sum, more) in [
            (&mut self.events, other.events),
            (&mut self.runs, other.runs),
            (&mut self.branches, other.branches),
            (&mut self.inconclusive, other.inconclusive),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (mark, runs) in other.sometimes {
            let sum = self.sometimes.entry(mark).or_default();
            *sum = sum.saturating_add(runs);
        }
        self.violations.extend(other.violations);
        self.violations.sort_by(|a, b| (&a.scenario, a.seed, &a.file).cmp(&(&b.scenario, b.seed, &b.file)));
        self.searches.extend(other.searches);
        self.searches.sort_by_key(|one| (one.strategy, one.seed, one.budget));
        let mut hash = Xxh3::new();
        self.searches.iter().for_each(|one| hash.update(one.hash.as_bytes()));
        self.hash = format!("{:032x}", hash.digest128());
        Ok(())
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        let open = if self.inconclusive > 0 { Exit::Inconclusive } else { Exit::Held };
        self.violations.iter().map(Finding::exit).max().unwrap_or(open)
    }

    /// The figures, without the findings and the hash; `wall` is how long the search took.
    pub(crate) fn text(&self, wall: Option<Duration>) -> String {
        let speed = wall.map_or_else(String::new, |wall| {
            let micros = wall.as_micros().max(1);
            let per_second = show::rough(u128::from(self.events) * 1_000_000 / micros);
            format!(" in {}  {per_second} events/s", show::length(wall))
        });
        let branches = match self.branches {
            1 => "1 branch".to_owned(),
            branches => format!("{} branches", show::grouped(branches.into())),
        };
        let held = self.exit() == Exit::Held;
        let (events, runs) = (show::grouped(self.events.into()), show::count(self.runs, "run"));
        let mut text = format!("{} search  {events} events{speed}  {runs}, {branches}\n", verdict(held));
        for One { strategy, seed, events, cells, .. } in &self.searches {
            let name = match self.searches.len() {
                1 => String::new(),
                _ => format!("{}, seed {seed}, {} events: ", name_of(*strategy), show::grouped((*events).into())),
            };
            let [marks, pairs, states, late] =
                [cells.marks, cells.pairs, cells.states, cells.late].map(|count| show::grouped(count.into()));
            text.push_str(&format!(
                "  {name}reached {marks} marks, {pairs} pairs of marks, {states} states; {late} of them new in the \
                 last tenth\n"
            ));
        }
        if self.inconclusive > 0 {
            text.push_str(&format!("  inconclusive: {}\n", show::count(self.inconclusive, "run")));
        }
        let times = |mark: &&str| self.sometimes.get(*mark).copied().unwrap_or(0);
        let list = |wanted: &dyn Fn(u64) -> bool| -> Vec<&str> {
            MARKS.iter().copied().filter(|mark| wanted(times(mark))).collect()
        };
        for (name, marks) in
            [("rare marks", list(&|times| (1..=RARE).contains(&times))), ("never", list(&|times| times == 0))]
        {
            if !marks.is_empty() {
                text.push_str(&format!("  {name}: {}\n", marks.join(" ")));
            }
        }
        text
    }

    /// The line of the hash.
    pub(crate) fn hash_text(&self) -> String {
        format!("trace hash {}\n", self.hash)
    }
}

/// The name of a strategy on the command line.
fn name_of(strategy: SearchStrategy) -> String {
    strategy.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
