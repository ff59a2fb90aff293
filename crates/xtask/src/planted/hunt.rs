//! One hunt: it builds the simulator in the copy, runs the bug's own story and the swarm, each until a property catches the bug.

use super::gaps;
use super::patch::Patch;
use super::tree::Tree;
use crate::process::{End, Line, run_limited};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The number of seeds that must not find a bug without the fault that it needs.
pub(crate) const SEEDS_WITHOUT: u64 = 200;

/// The plan of a hunt.
pub(crate) struct Hunt<'a> {
    pub(crate) tree: &'a Tree,
    /// The number of seeds of the swarm, from 0.
    pub(crate) seeds: u64,
    /// The time limit of one run of the simulator.
    pub(crate) limit: Duration,
}

/// How a hunt ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The first finding of the bug's own story.
    pub(crate) story: Option<Catch>,
    /// The first finding of the swarm.
    pub(crate) swarm: Option<Catch>,
    /// The finding of the explorer.
    pub(crate) explorer: Option<Catch>,
    /// The first finding of a scenario about something else. It is no catch, and only looked for if there is none.
    pub(crate) elsewhere: Option<Catch>,
    /// What the swarm finds without each fault that the bug needs.
    pub(crate) without: BTreeMap<String, Option<Catch>>,
    /// A command that took too long.
    pub(crate) hung: Option<String>,
    /// The seeds of the swarm, up to its finding or all.
    pub(crate) seeds: u64,
}

/// What found a bug.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catch {
    /// The scenario, or the swarm's profile.
    pub(crate) by: String,
    /// The property, or the meaning of the exit code if the report names none.
    pub(crate) property: String,
    pub(crate) seed: u64,
    /// The runs up to this one, their events, and their duration by the wall clock.
    pub(crate) runs: u64,
    pub(crate) events: u64,
    pub(crate) seconds: f64,
}

impl Outcome {
    /// The findings that count: those of a property, in the swarm, in the bug's story and by the explorer.
    pub(crate) fn catches(&self) -> impl Iterator<Item = &Catch> {
        self.swarm.iter().chain(&self.story).chain(&self.explorer).filter(|catch| !is_weak(&catch.property))
    }

    pub(crate) fn is_caught(&self) -> bool {
        self.catches().next().is_some()
    }

    /// Whether a fault is the needed trigger: the swarm finds the bug with it, and this is what it finds without it.
    pub(crate) fn is_needed(&self, without: Option<&Catch>) -> bool {
        self.swarm.as_ref().is_some_and(|catch| !is_weak(&catch.property)) && without.is_none()
    }
}

/// A series of runs that may end with a finding.
#[derive(Clone)]
pub(crate) struct Series<'a> {
    hunt: &'a Hunt<'a>,
    id: &'a str,
    /// The events and seconds of the runs before.
    runs: u64,
    events: u64,
    seconds: f64,
}

impl Hunt<'_> {
    /// Looks for anything in the tree without a bug.
    pub(crate) fn control(&self) -> Result<Outcome> {
        self.build()?;
        let mut outcome = Outcome::default();
        self.search_scenarios("control", &mut outcome, |_| true)?;
        if outcome.elsewhere.is_none() && outcome.hung.is_none() {
            outcome.swarm = self.swarm("control", &mut outcome.hung, self.seeds, None, |_| true)?;
            outcome.seeds = outcome.swarm.as_ref().map_or(self.seeds, |catch| catch.runs);
        }
        Ok(outcome)
    }

    /// Looks for a bug: in its story, in the swarm, and in the swarm without the faults that it needs.
    pub(crate) fn run(&self, patch: &Patch) -> Result<Outcome> {
        self.build()?;
        let (id, mut outcome) = (patch.id.as_str(), Outcome::default());
        let counts = |property: &str| !is_weak(property);
        if let Some(story) = patch.story.as_deref() {
            let path = gaps::story(&self.tree.folder(), story).with_context(|| format!("there is no story {story}"))?;
            outcome.story = self.scenario(id, &path, &mut outcome.hung, counts)?;
        }
        if let Some(options) = &patch.explore {
            let command = format!("{EXPLORE} {options}");
            outcome.explorer = Series::new(self, id).run(&command, "explorer", &mut outcome.hung, counts)?;
        }
        outcome.swarm = self.swarm(id, &mut outcome.hung, self.seeds, None, counts)?;
        outcome.seeds = outcome.swarm.as_ref().map_or(self.seeds, |catch| catch.runs);
        for fault in &patch.needs {
            let found = self.swarm(id, &mut outcome.hung, SEEDS_WITHOUT, Some(fault), counts)?;
            outcome.without.insert(fault.clone(), found);
        }
        if !outcome.is_caught() {
            self.search_scenarios(id, &mut outcome, counts)?;
        }
        Ok(outcome)
    }

    /// Builds without the core's own assertions: they are part of the code under test, and a property has to catch the bug.
    pub(crate) fn build(&self) -> Result<()> {
        let environment = self.tree.environment();
        let words = "cargo build --locked --quiet --profile sim --package raft-sim \
                     --config profile.sim.package.raft-core.debug-assertions=false";
        let line = Line { words, environment: &environment };
        if !line.command(&self.tree.folder()).status().context("cannot run cargo")?.success() {
            bail!("the simulator does not build in {}", self.tree.folder().display());
        }
        Ok(())
    }

    /// Runs all scenarios, one at a time, up to the first finding.
    fn search_scenarios(&self, id: &str, outcome: &mut Outcome, counts: impl Fn(&str) -> bool + Copy) -> Result<()> {
        for scenario in self.tree.scenarios() {
            outcome.elsewhere = self.scenario(id, scenario, &mut outcome.hung, counts)?;
            if outcome.elsewhere.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Runs a scenario with its seeds.
    fn scenario(
        &self,
        id: &str,
        path: &Path,
        hung: &mut Option<String>,
        counts: impl Fn(&str) -> bool,
    ) -> Result<Option<Catch>> {
        let name = path.file_stem().unwrap_or_default().display().to_string();
        let command = format!("run {}", path.display());
        let before = Series::new(self, id);
        let found = before.clone().run(&command, &name, hung, &counts)?;
        // An enumerated scenario has crash points instead of seeds, and runs a sample of them.
        let is_enumerated = fs::read_to_string(self.tree.folder().join(path))?.contains("\n[enumerate]");
        match found {
            Some(found) if !is_enumerated => Series::count(&before, &command, &name, 0, found).map(Some),
            found => Ok(found),
        }
    }

    /// Runs seeds of the swarm, without one kind of fault if it is given.
    fn swarm(
        &self,
        id: &str,
        hung: &mut Option<String>,
        seeds: u64,
        without: Option<&str>,
        counts: impl Fn(&str) -> bool,
    ) -> Result<Option<Catch>> {
        let mut search = Series::new(self, id);
        let option = without.map(|fault| format!(" --without {fault}")).unwrap_or_default();
        for (from, to) in chunks(seeds) {
            let name = format!("swarm{}-{from}", without.unwrap_or_default());
            let command = format!("swarm --profile all{option}");
            let before = search.clone();
            if let Some(found) = search.run(&format!("{command} --seeds {from}..{to}"), &name, hung, &counts)? {
                let found = Catch { by: "swarm all".into(), ..found };
                return Series::count(&before, &command, &name, from, found).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Series<'a> {
    pub(crate) fn new(hunt: &'a Hunt<'a>, id: &'a str) -> Self {
        Self { hunt, id, runs: 0, events: 0, seconds: 0.0 }
    }

    /// Runs the simulator. The runs of one series add up.
    pub(crate) fn run(
        &mut self,
        command: &str,
        name: &str,
        hung: &mut Option<String>,
        counts: impl Fn(&str) -> bool,
    ) -> Result<Option<Catch>> {
        let start = Instant::now();
        let Some(report) = self.simulate(command, name)? else {
            hung.get_or_insert_with(|| format!("raft-sim {command}"));
            return Ok(None);
        };
        self.runs += report.runs;
        self.events += report.events;
        self.seconds += start.elapsed().as_secs_f64();
        let Self { runs, events, seconds, .. } = *self;
        let found = report.found.filter(|found| counts(&found.property));
        Ok(found.map(|found| Catch { runs, events, seconds, ..found }))
    }

    /// Counts the runs up to the one with this finding, after the runs of the series `before`, by running them again: the seeds
    /// after it do not count.
    fn count(before: &Self, command: &str, name: &str, from: u64, found: Catch) -> Result<Catch> {
        let start = Instant::now();
        let range = format!("{command} --seeds {from}..{}", found.seed.saturating_add(1));
        let Some(Report { runs, events, .. }) = before.simulate(&range, name)? else { return Ok(found) };
        let seconds = before.seconds + start.elapsed().as_secs_f64();
        Ok(Catch { runs: before.runs + runs, events: before.events + events, seconds, ..found })
    }

    /// Runs the simulator; `None` if it takes too long.
    fn simulate(&self, command: &str, name: &str) -> Result<Option<Report>> {
        let tree = self.hunt.tree;
        let outputs = tree.outputs().join(self.id);
        fs::create_dir_all(&outputs)?;
        let (stdout, stderr) = (outputs.join(format!("{name}.json")), outputs.join(format!("{name}.err")));
        let mut process = std::process::Command::new(tree.target().join("sim/raft-sim"));
        process.args(command.split(' ')).args(["--format", "json"]);
        if !command.starts_with(EXPLORE) {
            process.arg("--out").arg(outputs.join("failures"));
        }
        process.current_dir(tree.folder());
        match run_limited(process, &stdout, &stderr, self.hunt.limit)? {
            End::TimedOut => Ok(None),
            End::Exit(code) => report(code, name, &fs::read_to_string(&stdout).unwrap_or_default())
                .map(Some)
                .with_context(|| format!("raft-sim {command}: {}", tail(&stderr))),
        }
    }
}

/// The command of the explorer, which records no runs.
const EXPLORE: &str = "check";

/// The ranges of seeds, to run one after another. They grow, because the first few seeds catch most bugs.
fn chunks(seeds: u64) -> impl Iterator<Item = (u64, u64)> {
    let next = move |&(from, to): &(u64, u64)| Some((to, (to + (to - from) * 2).min(to + 128)));
    let first = (0, 8);
    std::iter::successors(Some(first), next)
        .take_while(move |&(from, _)| from < seeds)
        .map(move |(from, to)| (from, to.min(seeds)))
}

/// The result of one run of the simulator.
#[derive(Debug, Default, PartialEq)]
struct Report {
    runs: u64,
    events: u64,
    found: Option<Catch>,
}

/// Whether a finding is only an expectation or a mark of a scenario.
pub(crate) fn is_weak(property: &str) -> bool {
    ["expectation", "sometimes", "liveness or expectation"].contains(&property)
}

/// Reads an exit code and the JSON report of a scenario or a swarm.
fn report(code: i32, name: &str, text: &str) -> Result<Report> {
    let meaning = match code {
        0 | 5 => "",
        1 => "safety",
        // Wrong usage has the same code and prints no report.
        2 if !text.is_empty() => "liveness or expectation",
        3 => "determinism",
        101 => "panic",
        _ => bail!("expected an exit code of 0 to 3, 5 or 101, found {code}"),
    };
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    // The explorer has transitions.
    let (runs, events) = (number("runs"), number("events") + number("transitions"));
    // An inconclusive run is no catch.
    if meaning.is_empty() {
        return Ok(Report { runs, events, found: None });
    }
    let findings = json["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let property = |finding: &Value| finding["property"].as_str().unwrap_or(meaning).to_owned();
    // A report lists all failed checks. If safety is violated, the other failures are consequences.
    let is_safety = |finding: &&Value| !NO_SAFETY.contains(&property(finding).as_str());
    let first = findings.iter().find(|finding| code == 2 || code == 3 || is_safety(finding)).unwrap_or(&Value::Null);
    let by = first["scenario"].as_str().unwrap_or(name).to_owned();
    let seed = first["seed"].as_u64().unwrap_or(0);
    Ok(Report { runs, events, found: Some(Catch { by, property: property(first), seed, ..Catch::default() }) })
}

/// The findings of the simulator that are not safety properties.
const NO_SAFETY: [&str; 4] = ["inconclusive", "expectation", "sometimes", "determinism"];

/// The last line that is not empty.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no error").into()
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
        let catch = |property: &str| Some(Catch { property: property.into(), ..Catch::default() });
        let outcome = |swarm, story| Outcome { swarm, story, elsewhere: catch("queues"), ..Outcome::default() };
        assert!(!outcome(None, catch("expectation")).is_caught(), "another scenario catches nothing either");
        assert!(outcome(catch("queues"), None).is_caught() && outcome(None, catch("queues")).is_caught());
        let (needs, story) = (outcome(catch("queues"), None), outcome(None, catch("queues")));
        assert!(needs.is_needed(None) && !needs.is_needed(catch("queues").as_ref()));
        assert!(!story.is_needed(None), "the swarm does not find it at all");
    }

    #[test]
    fn exit_codes_and_reports_are_findings() {
        let text =
            r#"{"runs":3,"events":70,"violations":[{"property":"ack_durable","scenario":"lost-votes","seed":7}]}"#;
        let expected = Catch { by: "lost-votes".into(), property: "ack_durable".into(), seed: 7, ..Catch::default() };
        assert_eq!(report(1, "x", text).unwrap(), Report { runs: 3, events: 70, found: Some(expected) });
        let text = r#"{"transitions":70,"violations":[{"property":"log_matching","steps":[]}]}"#;
        let expected = Catch { by: "explorer".into(), property: "log_matching".into(), ..Catch::default() };
        assert_eq!(report(1, "explorer", text).unwrap(), Report { runs: 0, events: 70, found: Some(expected) });
        let mixed = r#"{"violations":[{"property":"expectation","seed":1},{"property":"no_holes","seed":2}]}"#;
        let property = |code| report(code, "x", mixed).unwrap().found.map(|found| (found.property, found.seed));
        assert_eq!(property(1), Some(("no_holes".into(), 2)));
        assert_eq!(property(101), Some(("no_holes".into(), 2)));
        assert_eq!(property(2), Some(("expectation".into(), 1)));
        assert_eq!((report(0, "x", "").unwrap().found, report(5, "x", mixed).unwrap().found), (None, None));
        let bare = |code| report(code, "x", "no json").unwrap().found.map(|found| (found.by, found.property));
        assert_eq!(bare(2), Some(("x".into(), "liveness or expectation".into())));
        assert_eq!(
            (bare(3), bare(101)),
            (Some(("x".into(), "determinism".into())), Some(("x".into(), "panic".into())))
        );
        assert!([2, 4, 137].iter().all(|&code| report(code, "x", "").is_err()), "a wrong command line is no finding");
    }
}
