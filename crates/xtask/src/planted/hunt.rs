//! One hunt: it builds the simulator in the copy, runs the scenarios, then swarms, until a property catches the bug.

use super::tree::Tree;
use crate::process::{End, Line, run_limited};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The plan of a hunt.
pub(crate) struct Hunt<'a> {
    pub(crate) tree: &'a Tree,
    /// The number of seeds, from 0.
    pub(crate) seeds: u64,
    /// The time limit of one run of the simulator.
    pub(crate) limit: Duration,
}

/// How a hunt ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// A property caught it.
    Caught(Catch),
    /// No property caught it, but a scenario's expectation or mark failed. The bug survives.
    Tripped(Catch),
    /// This many seeds found nothing.
    Missed { seeds: u64 },
    /// This command took too long, and no property caught the bug.
    Hung { command: String },
}

/// The property or expectation that caught a bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catch {
    /// The scenario, or the swarm's profile.
    pub(crate) by: String,
    /// The property, or the meaning of the exit code if the report names none.
    pub(crate) property: String,
    /// How many seeds of the swarm were run up to the catch; `None` if a scenario caught the bug.
    pub(crate) seeds: Option<u64>,
}

impl Hunt<'_> {
    /// Builds and runs until a property catches the bug. An expectation or a mark ends the hunt only if there is no bug (the
    /// control).
    pub(crate) fn run(&self, id: &str, is_control: bool) -> Result<Outcome> {
        self.build()?;
        let run = |arguments: &str, name: &str| self.simulate(id, arguments, name);
        let mut tripped = None;
        let mut is_over = |outcome: Outcome| match outcome {
            Outcome::Caught(catch) if !is_control && is_weak(&catch.property) => {
                tripped.get_or_insert(Outcome::Tripped(catch));
                None
            }
            outcome => Some(outcome),
        };
        // It runs one file at a time, because the first catch ends the hunt.
        for scenario in self.tree.scenarios() {
            let name = scenario.file_stem().unwrap_or_default().display().to_string();
            match run(&format!("run {} --format json", scenario.display()), &name)? {
                Verdict::Green => {}
                verdict => {
                    if let Some(outcome) = is_over(verdict.outcome(&name, None)) {
                        return Ok(outcome);
                    }
                }
            }
        }
        for (from, to) in chunks(self.seeds) {
            let arguments = format!("swarm --profile all --seeds {from}..{to} --format json");
            match run(&arguments, &format!("swarm-{from}"))? {
                Verdict::Green => {}
                verdict => {
                    if let Some(outcome) = is_over(verdict.outcome("swarm all", Some(to))) {
                        return Ok(outcome);
                    }
                }
            }
        }
        Ok(tripped.unwrap_or(Outcome::Missed { seeds: self.seeds }))
    }

    fn build(&self) -> Result<()> {
        let environment = self.tree.environment();
        let words = "cargo build --locked --quiet --profile sim --package raft-sim";
        let line = Line { words, environment: &environment };
        if !line.command(&self.tree.folder()).status().context("cannot run cargo")?.success() {
            bail!("the simulator does not build in {}", self.tree.folder().display());
        }
        Ok(())
    }

    fn simulate(&self, id: &str, arguments: &str, name: &str) -> Result<Verdict> {
        let outputs = self.tree.outputs().join(id);
        fs::create_dir_all(&outputs)?;
        let (stdout, stderr) = (outputs.join(format!("{name}.json")), outputs.join(format!("{name}.err")));
        let mut command = std::process::Command::new(self.tree.target().join("sim/raft-sim"));
        command.args(arguments.split(' ')).arg("--out").arg(outputs.join("failures"));
        command.current_dir(self.tree.folder());
        match run_limited(command, &stdout, &stderr, self.limit)? {
            End::TimedOut => Ok(Verdict::Hung { command: format!("raft-sim {arguments}") }),
            End::Exit(code) => verdict(code, &fs::read_to_string(&stdout).unwrap_or_default())
                .with_context(|| format!("raft-sim {arguments}: {}", tail(&stderr))),
        }
    }
}

/// The ranges of seeds, to run one after another. They grow, because the first few seeds catch most bugs.
fn chunks(seeds: u64) -> impl Iterator<Item = (u64, u64)> {
    let next = move |&(from, to): &(u64, u64)| Some((to, (to + (to - from) * 2).min(to + 128)));
    let first = (0, 8);
    std::iter::successors(Some(first), next)
        .take_while(move |&(from, _)| from < seeds)
        .map(move |(from, to)| (from, to.min(seeds)))
}

/// The result of one run of the simulator.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Green,
    Found { property: String, scenario: Option<String>, seed: Option<u64> },
    Hung { command: String },
}

impl Verdict {
    /// `by` and `seeds` are used if the run does not name them.
    fn outcome(self, by: &str, seeds: Option<u64>) -> Outcome {
        match self {
            Self::Green => Outcome::Missed { seeds: seeds.unwrap_or(0) },
            Self::Hung { command } => Outcome::Hung { command },
            Self::Found { property, scenario, seed } => {
                let is_scenario = seeds.is_none();
                let by = scenario.filter(|_| is_scenario).unwrap_or_else(|| by.into());
                // Seed 0 is the first.
                let seeds = seeds.map(|seeds| seed.map_or(seeds, |seed| seed + 1));
                Outcome::Caught(Catch { by, property, seeds })
            }
        }
    }
}

/// Whether a finding is only an expectation or a mark of a scenario.
fn is_weak(property: &str) -> bool {
    ["expectation", "sometimes", "liveness or expectation"].contains(&property)
}

/// Reads an exit code and the JSON report.
fn verdict(code: i32, report: &str) -> Result<Verdict> {
    let meaning = match code {
        // An inconclusive run is no catch.
        0 | 5 => return Ok(Verdict::Green),
        1 => "safety",
        // Wrong usage has the same code and prints no report.
        2 if !report.is_empty() => "liveness or expectation",
        3 => "determinism",
        101 => "panic",
        _ => bail!("expected an exit code of 0 to 3, 5 or 101, found {code}"),
    };
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    let findings = report["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let property = |finding: &Value| finding["property"].as_str().unwrap_or(meaning).to_owned();
    // A report lists all failed checks. If safety is violated, the other failures are consequences.
    let is_safety = |finding: &&Value| !NO_SAFETY.contains(&property(finding).as_str());
    let first = findings.iter().find(|finding| code != 1 || is_safety(finding)).unwrap_or(&Value::Null);
    Ok(Verdict::Found {
        property: property(first),
        scenario: first["scenario"].as_str().map(str::to_owned),
        seed: first["seed"].as_u64(),
    })
}

/// The findings of the simulator that are not safety properties.
const NO_SAFETY: [&str; 4] = ["inconclusive", "expectation", "sometimes", "determinism"];

/// The last line that is not empty.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no error").into()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(Catch { by, property, .. }) => write!(f, "{by}: {property}"),
            Self::Tripped(Catch { by, property, .. }) => write!(f, "no property; {by}: {property}"),
            Self::Missed { .. } => write!(f, "nothing found"),
            Self::Hung { command } => write!(f, "hung in `{command}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_seeds_once() {
        let all: Vec<_> = chunks(500).collect();
        assert_eq!((all.first(), all.last().map(|&(_, to)| to)), (Some(&(0, 8)), Some(500)));
        assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0), "{all:?}");
        assert_eq!(chunks(3).collect::<Vec<_>>(), [(0, 3)]);
        assert_eq!(chunks(0).count(), 0);
    }

    #[test]
    fn an_expectation_and_a_mark_catch_nothing() {
        assert!(["expectation", "sometimes", "liveness or expectation"].into_iter().all(is_weak));
        assert!(!["no-panic", "queues"].into_iter().any(is_weak));
    }

    #[test]
    fn exit_codes_and_reports_are_verdicts() {
        let report = r#"{"violations":[{"property":"ack_durable","scenario":"lost-votes","seed":7}]}"#;
        let found = verdict(1, report).unwrap();
        let caught = |by: &str, seeds| Catch { by: by.into(), property: "ack_durable".into(), seeds };
        assert_eq!(found.outcome("scenarios", None), Outcome::Caught(caught("lost-votes", None)));
        let found = verdict(1, report).unwrap();
        assert_eq!(found.outcome("swarm all", Some(24)), Outcome::Caught(caught("swarm all", Some(8))));
        let mixed = r#"{"violations":[{"property":"expectation","seed":1},{"property":"no_holes","seed":2}]}"#;
        let property = |code| match verdict(code, mixed).unwrap() {
            Verdict::Found { property, seed, .. } => (property, seed),
            other => panic!("{other:?}"),
        };
        assert_eq!(property(1), ("no_holes".into(), Some(2)));
        assert_eq!(property(2), ("expectation".into(), Some(1)));
        assert_eq!((verdict(0, "").unwrap(), verdict(5, "").unwrap()), (Verdict::Green, Verdict::Green));
        let bare = |code, meaning: &str| {
            verdict(code, "no json").unwrap() == Verdict::Found { property: meaning.into(), scenario: None, seed: None }
        };
        assert!(bare(2, "liveness or expectation") && bare(3, "determinism") && bare(101, "panic"));
        assert!([2, 4, 137].iter().all(|&code| verdict(code, "").is_err()), "a wrong command line is not a catch");
    }
}
