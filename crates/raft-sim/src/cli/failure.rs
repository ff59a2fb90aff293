//! A failed run: it is recorded in a file, with a command that repeats it and the last events.

use super::finding::{EXPECTATION, Finding};
use super::pool;
use anyhow::{Context, Result};
use raft_sim::BUILD;
use raft_sim::record::Record;
use raft_sim::record::explain;
use raft_sim::run::{self, Sink};
use raft_sim::scenario::model::Scenario;
use raft_sim::scenario::parse::Recorded;
use raft_sim::scenario::write::write;
use raft_sim::shrink::Shrunk;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// How many lines of the trace are shown.
const LINES: usize = 40;

/// How many runs of one scenario are recorded; a broken build fails with every seed.
const RECORDED: usize = 20;

/// Records the runs of a scenario's findings in `folder` and adds the files to the findings.
///
/// # Errors
/// The file that could not be written.
pub(crate) fn record(scenario: &Scenario, findings: &mut [Finding], folder: &Path) -> Result<()> {
    let mut written = BTreeSet::new();
    for finding in findings {
        let Some(seed) = finding.seed else { continue };
        if let Some((point, outcome)) = finding.case {
            finding.reproduce = Some(format!("{} --case {point}.{outcome}", command("run", &scenario.path, None)));
            continue;
        }
        if written.len() >= RECORDED && !written.contains(&seed) {
            finding.reproduce = Some(command("replay", &scenario.path, Some(seed)));
            continue;
        }
        let file = folder.join(format!("{}-seed-{seed}.toml", scenario.name));
        if written.insert(seed) {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let text = text(scenario, seed, finding)?;
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let file = file.display().to_string();
        finding.reproduce = Some(command("replay", &file, None));
        finding.file = Some(file);
    }
    Ok(())
}

/// A command that runs all seeds of a scenario, if it is a file.
pub(crate) fn all_seeds(path: &str) -> Option<String> {
    Path::new(path).exists().then(|| command("run", path, None))
}

fn text(scenario: &Scenario, seed: u64, finding: &Finding) -> Result<String> {
    let mut scenario = scenario.clone();
    // Marks concern all seeds together, not one.
    scenario.expect.sometimes.clear();
    scenario.seeds = seed..seed.saturating_add(1);
    let (name, property) = (scenario.name.clone(), Some(finding.property.clone()));
    let build = Some(BUILD.to_owned());
    Ok(write(&scenario, &Recorded { scenario: name, seed, hash: finding.hash, property, build })?)
}

/// The facts of a small run, for its file.
pub(crate) fn recorded_of(shrunk: &Shrunk) -> Recorded {
    let Shrunk { scenario, seed, result, .. } = shrunk;
    let property = result.violation.as_ref().map_or(EXPECTATION, |violation| violation.property);
    let (scenario, property) = (scenario.name.clone(), Some(property.to_owned()));
    Recorded { scenario, seed: *seed, hash: Some(result.hash), property, build: Some(BUILD.to_owned()) }
}

/// A line for a shell: this program, as it was called, with this command and file.
fn command(verb: &str, file: &str, seed: Option<u64>) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "raft-sim".to_owned());
    let seed = seed.map_or_else(String::new, |seed| format!(" --seed {seed}"));
    format!("{} {verb} {}{seed}", quoted(&program), quoted(file))
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@".contains(letter);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The last lines of a run's trace. It runs the seed once more, because runs are cheap and memory is not.
pub(crate) fn last_lines(scenario: &Scenario, seed: u64) -> Vec<String> {
    let mut last = Last(VecDeque::with_capacity(LINES + 1));
    // The run may panic: the result is the events before the panic.
    let _ = pool::caught(|| run::run(scenario, seed, &mut last));
    last.0.iter().map(explain::line).collect()
}

struct Last(VecDeque<Record>);

impl Sink for Last {
    fn record(&mut self, record: &Record) {
        self.0.push_back(record.clone());
        if self.0.len() > LINES {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("target/release/raft-sim"), "target/release/raft-sim");
        assert_eq!(quoted("my story's.toml"), r"'my story'\''s.toml'");
        assert!(command("replay", "x.toml", Some(7)).ends_with(" replay x.toml --seed 7"));
    }
}
