//! `cargo xtask planted-bugs`: plants known bugs in a copy of the tree, one at a time. The simulator has to find each of them,
//! and must find nothing in the tree without a bug.

mod chart;
mod gaps;
mod hunt;
mod patch;
mod results;
mod searches;
mod table;
mod tree;

use anyhow::{Context, Result, bail};
use hunt::{Hunt, Outcome};
pub(crate) use patch::{Patch, patches, patches_in};
use results::Results;
use searches::{Plan, Searches};
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::Row;
pub(crate) use tree::Tree;

#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// Print only the bugs: id, property, source, separated by tabs
    #[arg(long)]
    list: bool,
    /// Only this bug; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Only this share of the bugs: 0/4, 1/4, 2/4 or 3/4; 4/4 is 0/4
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// The number of seeds of the swarm for each bug
    #[arg(long, value_name = "N", default_value_t = 500)]
    seeds: u64,
    /// The time limit of one run of the simulator, in seconds; a longer run counts as hung
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,
    /// Compare the strategies of `raft-sim search` too, with this many events a search, such as 20M
    #[arg(long, value_name = "EVENTS")]
    search: Option<String>,
    /// How many searches each strategy makes for a bug
    #[arg(long, value_name = "N", default_value_t = 10, requires = "search")]
    repetitions: u64,
    /// Search only for bugs that the swarm finds after more than N seeds, or never
    #[arg(long, value_name = "N", default_value_t = 50, requires = "search")]
    above: u64,
    /// Write a page with the table to FILE
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a chart of the searches and its numbers to FOLDER, as search.svg and search.json
    #[arg(long, value_name = "FOLDER", requires = "search")]
    chart: Option<PathBuf>,
    /// Hunt nothing: use only the stored outcomes, such as those of all shards
    #[arg(long)]
    stored: bool,
}

/// Returns whether all bugs were caught and the control run found nothing.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let patches = chosen(patches(root)?, options)?;
    if options.list {
        for Patch { id, properties, source, .. } in &patches {
            println!("{id}\t{}\t{source}", properties.join(", "));
        }
        return Ok(true);
    }
    let folder = root.join("target/planted");
    let work = folder.join(options.shard.map_or("work".into(), |(index, of)| format!("work-{index}-of-{of}")));
    let tree = Tree::copy(root, &work)?;
    let results = Results::open(folder.join("results"), tree.hash(), options.seeds)?;
    let hunt = Hunt { tree: &tree, seeds: options.seeds, limit: Duration::from_secs(options.limit) };
    if !options.stored && !is_green(&hunt, &results)? {
        return Ok(false);
    }
    let plan = options.search.clone().map(|budget| Plan { budget, repetitions: options.repetitions });
    let mut rows = Vec::new();
    for (place, patch) in patches.iter().enumerate() {
        let stored = results.get(&patch.id, Some(patch));
        let outcome = match stored {
            None if !options.stored => {
                eprintln!("planted-bugs: {} of {}, {}: {}", place + 1, patches.len(), patch.id, patch.title);
                Some(hunted(&hunt, &results, patch)?)
            }
            stored => stored,
        };
        let is_rare = outcome.as_ref().is_some_and(|outcome| outcome.swarm.is_none() || outcome.seeds > options.above);
        let searches = match plan.as_ref().filter(|_| is_rare) {
            Some(plan) => searched(&hunt, &results, patch, plan, options.stored)?,
            None => None,
        };
        rows.push(Row { id: patch.id.clone(), expected: patch.properties.clone(), outcome, searches });
    }
    print!("{}", table::print(&rows));
    if let Some(file) = &options.markdown {
        let page = table::page(&rows, &gaps::gaps(root, &rows)?, options.seeds, plan.as_ref());
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some((folder, plan)) = options.chart.as_ref().zip(plan.as_ref()) {
        chart::write(folder, &rows, plan)?;
    }
    let caught = rows.iter().filter(|row| row.outcome.as_ref().is_some_and(Outcome::is_caught)).count();
    println!("planted-bugs: {caught} of {} caught", patches.len());
    Ok(caught == patches.len())
}

/// Whether nothing is found in the tree without a bug.
fn is_green(hunt: &Hunt<'_>, results: &Results) -> Result<bool> {
    let outcome = match results.get("control", None) {
        Some(outcome) => outcome,
        None => {
            eprintln!("planted-bugs: the control, without a bug");
            hunt.tree.restore()?;
            let outcome = hunt.control()?;
            results.put("control", None, &outcome)?;
            outcome
        }
    };
    let found = outcome.elsewhere.as_ref().or(outcome.swarm.as_ref());
    let words = found.map(|found| format!("{} in {}, seed {}", found.property, found.by, found.seed));
    let Some(words) = words.or(outcome.hung.map(|command| format!("`{command}` took too long"))) else {
        return Ok(true);
    };
    println!("planted-bugs: expected nothing in the tree without a bug, found {words}: no catch would prove anything");
    Ok(false)
}

/// Hunts one bug, and stores the outcome.
fn hunted(hunt: &Hunt<'_>, results: &Results, patch: &Patch) -> Result<Outcome> {
    hunt.tree.restore()?;
    hunt.tree.apply(patch)?;
    let outcome = hunt.run(patch)?;
    let words =
        outcome.catches().next().map(|found| format!("{} in {}, seed {}", found.property, found.by, found.seed));
    eprintln!("planted-bugs: {}: {}", patch.id, words.as_deref().unwrap_or("NOT CAUGHT"));
    results.put(&patch.id, Some(patch), &outcome)?;
    Ok(outcome)
}

/// Searches for a bug, and stores what each search found.
fn searched(
    hunt: &Hunt<'_>,
    results: &Results,
    patch: &Patch,
    plan: &Plan,
    only_stored: bool,
) -> Result<Option<Searches>> {
    if let Some(searches) = results.searches(patch, plan) {
        return Ok(Some(searches));
    }
    if only_stored {
        return Ok(None);
    }
    hunt.tree.restore()?;
    hunt.tree.apply(patch)?;
    hunt.build()?;
    let searches = plan.search(hunt, &patch.id)?;
    eprintln!("planted-bugs: {}: events to the first catch, median: {}", patch.id, searches.line());
    results.put_searches(patch, plan, &searches)?;
    Ok(Some(searches))
}

fn chosen(patches: Vec<Patch>, options: &Options) -> Result<Vec<Patch>> {
    if let Some(unknown) = options.only.iter().find(|id| !patches.iter().any(|patch| patch.id == **id)) {
        let known: Vec<&str> = patches.iter().map(|patch| patch.id.as_str()).collect();
        bail!("there is no planted bug `{unknown}`; there are: {}", known.join(", "));
    }
    let is_chosen = |place: usize, patch: &Patch| {
        options.shard.is_none_or(|(index, of)| place % of == index)
            && (options.only.is_empty() || options.only.contains(&patch.id))
    };
    Ok(patches.into_iter().enumerate().filter(|(place, patch)| is_chosen(*place, patch)).map(|(_, it)| it).collect())
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(index, of)| index.parse::<usize>().ok().zip(of.parse().ok()));
    match parts {
        Some((index, of)) if of > 0 && index <= of => Ok((index % of, of)),
        _ => Err(format!("`{text}` is no share such as 1/4")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;
    use std::collections::BTreeSet;

    fn options(only: &[&str], shard: Option<(usize, usize)>) -> Options {
        let only = only.iter().map(|&id| id.into()).collect();
        Options { only, shard, ..Options::default() }
    }

    #[test]
    fn shards_share_the_bugs_out_and_unknown_ids_are_refused() {
        let all = || patches(&repository::root().unwrap()).unwrap();
        let mut seen = BTreeSet::new();
        for index in 0..3 {
            for patch in chosen(all(), &options(&[], Some((index, 3)))).unwrap() {
                assert!(seen.insert(patch.id));
            }
        }
        assert_eq!(seen.len(), all().len());
        assert_eq!(chosen(all(), &options(&["commit-old-term"], None)).unwrap().len(), 1);
        assert!(chosen(all(), &options(&["no-such-bug"], None)).is_err());
        assert_eq!((shard("4/4"), shard("1/3")), (Ok((0, 4)), Ok((1, 3))));
        assert!(shard("5/4").is_err() && shard("1/0").is_err() && shard("1").is_err());
    }
}
