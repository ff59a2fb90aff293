//! `raft-sim merge`: the report of a whole campaign, from those of its parts.

use super::args::{self, Format, MergeArgs, Shard};
use super::campaign::{print, verdict};
use super::exit::Exit;
use super::report::Report;
use super::scenario_report::ScenarioReport;
use super::show;
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Joins reports and prints the whole.
pub(crate) fn merge(args: &MergeArgs) -> Result<Exit> {
    let read = |path: &Path| -> Result<Report> {
        let bytes = fs::read(path).context("cannot read it")?;
        Report::parse(&bytes)
    };
    let mut whole: Option<Report> = None;
    for path in &args.reports {
        let report = read(path).with_context(|| path.display().to_string())?;
        match &mut whole {
            None => whole = Some(report),
            Some(whole) => whole.join(report).with_context(|| path.display().to_string())?,
        }
    }
    let mut whole = whole.ok_or_else(|| anyhow!("expected reports, found none"))?;
    let missing = missing(&whole.shares);
    if missing.is_empty() {
        whole.shares.clear();
    } else {
        eprintln!("the whole lacks the shares {}: merge their reports too", missing.join(", "));
    }
    whole.scenarios.iter_mut().for_each(|scenario| scenario.check_marks(false));
    whole.read_states()?;
    whole.conclude();
    if args.format == Format::Text {
        whole.scenarios.iter().try_for_each(|scenario| io::stdout().write_all(text(scenario).as_bytes()))?;
    }
    print(&whole, args.format, true)?;
    Ok(whole.exit())
}

/// The shares that are in none of the reports.
fn missing(shares: &[String]) -> Vec<String> {
    let found: BTreeSet<&str> = shares.iter().map(String::as_str).collect();
    let parts: BTreeSet<u64> = shares.iter().filter_map(|share| Some(args::shard(share).ok()?.of)).collect();
    let wanted = parts.into_iter().flat_map(|of| (0..of).map(move |index| Shard { index, of }.to_string()));
    wanted.filter(|share| !found.contains(share.as_str())).collect()
}

/// A scenario's line and its findings.
fn text(scenario: &ScenarioReport) -> String {
    let mut text = format!(
        "{} {}  {}  {} simulated  {} events",
        verdict(scenario.findings.is_empty()),
        scenario.name,
        show::count(scenario.runs.len() as u64, "run"),
        show::length(scenario.simulated()),
        show::rough(scenario.events().into()),
    );
    if let Some(heal) = scenario.heal_p99() {
        text.push_str(&format!("  heal p99 {}", show::length(heal)));
    }
    text.push('\n');
    for finding in &scenario.findings {
        let seed = finding.seed.map_or_else(|| "all seeds".to_owned(), |seed| format!("seed {seed}"));
        text.push_str(&format!("  {}, {seed}: {}\n", finding.property, finding.message));
        if let Some(command) = &finding.reproduce {
            text.push_str(&format!("  reproduce: {command}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_without_a_report_are_named() {
        let missing = |shares: &[&str]| missing(&shares.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(missing(&[]), [""; 0]);
        assert_eq!(missing(&["1/2", "0/2"]), [""; 0]);
        assert_eq!(missing(&["0/3", "0/2", "1/2"]), ["1/3", "2/3"]);
    }
}
