//! `raft-sim merge`: the report of a whole campaign, from those of its parts.

use super::args::{self, Format, MergeArgs, Shard};
use super::campaign::{print, verdict};
use super::exit::Exit;
use super::finding::Finding;
use super::report::Report;
use super::scenario_report::ScenarioReport;
use super::search_report::SearchReport;
use super::show;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Joins reports and prints the whole.
pub(crate) fn merge(args: &MergeArgs) -> Result<Exit> {
    let read = |path: &PathBuf| -> Result<(String, Value)> {
        let name = path.display().to_string();
        let bytes = fs::read(path).context("cannot read it").with_context(|| name.clone())?;
        let value = serde_json::from_slice(&bytes).context("expected a report of --format json");
        Ok((name.clone(), value.context(name)?))
    };
    let reports: Vec<(String, Value)> = args.reports.iter().map(read).collect::<Result<_>>()?;
    let of_searches = |report: &(String, Value)| SearchReport::is_one(&report.1);
    if reports.iter().all(of_searches) {
        return merge_searches(reports, args.format);
    }
    if let Some((name, _)) = reports.iter().find(|report| of_searches(report)) {
        bail!("{name}: expected a report of `run` or `swarm` like the others, found one of `search`");
    }
    let mut whole = join_all(reports, Report::parse, Report::join)?;
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

fn merge_searches(reports: Vec<(String, Value)>, format: Format) -> Result<Exit> {
    let whole = join_all(reports, SearchReport::parse, SearchReport::join)?;
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string(&whole)?),
        Format::Text => {
            let findings: String = whole.violations.iter().map(finding_text).collect();
            format!("{}{findings}{}", whole.text(None), whole.hash_text())
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(whole.exit())
}

/// Reads the reports and joins them one after the other; an error names the report.
fn join_all<T>(
    reports: Vec<(String, Value)>,
    parse: impl Fn(Value) -> Result<T>,
    join: impl Fn(&mut T, T) -> Result<()>,
) -> Result<T> {
    let mut whole: Option<T> = None;
    for (name, report) in reports {
        let report = parse(report).with_context(|| name.clone())?;
        match &mut whole {
            None => whole = Some(report),
            Some(whole) => join(whole, report).context(name)?,
        }
    }
    whole.ok_or_else(|| anyhow!("expected reports, found none"))
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
    text.extend(scenario.findings.iter().map(finding_text));
    text
}

fn finding_text(finding: &Finding) -> String {
    let seed = finding.seed.map_or_else(|| "all seeds".to_owned(), |seed| format!("seed {seed}"));
    let mut text = format!("  {}, {seed}: {}\n", finding.property, finding.message);
    if let Some(command) = &finding.reproduce {
        text.push_str(&format!("  reproduce: {command}\n"));
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
