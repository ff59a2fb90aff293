//! `raft-sim search`: guided search for violations.

use super::args::{Format, SearchArgs, SearchStrategy};
use super::exit::Exit;
use super::finding::{DETERMINISM, Finding};
use super::{campaign, clock, failure, files, pool, show};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use raft_sim::checkers::MARKS;
use raft_sim::faults::profiles;
use raft_sim::run::{self, RunResult};
use raft_sim::scenario::model::Scenario;
use raft_sim::search::{EXPECTATION, Find, Job, Search, Strategy, Totals, starts};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

/// The number of nodes of the swarm of all faults.
const NODES: u64 = 5;
/// A mark that at most so many runs have reached is rare.
const RARE: u64 = 3;

/// Searches until the budget is used up, or until a check fails.
pub(crate) fn search(args: &SearchArgs) -> Result<Exit> {
    let mut scenarios: Vec<Scenario> = files::load_all(&args.from)?.into_iter().map(|file| file.scenario).collect();
    if args.from.is_empty() {
        scenarios.push(profiles::all(NODES));
    }
    let starts = starts(scenarios);
    if starts.iter().all(|start| start.is_story()) {
        bail!("expected at least one swarm to search, found only stories: name a scenario with [swarm]");
    }
    let strategy = match args.strategy {
        SearchStrategy::Random => Strategy::Random,
        SearchStrategy::Directed => Strategy::Directed,
        SearchStrategy::Guided => Strategy::Guided,
    };
    let begun = clock::now();
    let mut search = Search::new(starts, strategy, args.seed, args.budget);
    let find = follow(&mut search, args);
    let wall = clock::now().duration_since(begun);
    let open = if search.totals().inconclusive > 0 { Exit::Inconclusive } else { Exit::Held };
    let found = find.map(|find| report(find, args)).transpose()?;
    print(&search, found.as_ref(), wall, args)?;
    Ok(found.iter().flat_map(|(_, findings)| findings).map(Finding::exit).max().unwrap_or(open))
}

/// Makes round after round; returns the first find.
fn follow(search: &mut Search, args: &SearchArgs) -> Option<Find> {
    let workers = args.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(args.budget), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events  {msg}") {
        bar.set_style(style);
    }
    loop {
        let jobs: Vec<Job> = search.round();
        if jobs.is_empty() {
            return None;
        }
        let mut all_done = Vec::new();
        let work = |job: u64| jobs.get(usize::try_from(job).unwrap_or(usize::MAX)).map(|job| search.execute(job));
        pool::in_order(workers, jobs.len() as u64, || true, work, |_, done| all_done.push(done));
        // The jobs after the first find do not count.
        let find = jobs.iter().zip(all_done).find_map(|(job, done)| {
            let find = match done {
                Ok(done) => search.merge(job, done?),
                Err(panic) => Some(job.panicked(panic)),
            };
            find.filter(|find| !args.safety || find.property != EXPECTATION)
        });
        let totals = search.totals();
        bar.set_position(totals.events);
        bar.set_message(format!("{} cells", show::grouped(totals.cells.iter().map(|cells| u128::from(*cells)).sum())));
        if find.is_some() {
            return find;
        }
    }
}

/// Repeats the run of a find from its beginning, and records it. If the run fails in another way, that is the finding.
fn report(find: Find, args: &SearchArgs) -> Result<(Scenario, Vec<Finding>)> {
    let Find { scenario, seed, property, message, facts } = find;
    let RunResult { violation, failures, hash, .. } = run::run(&scenario, seed, &mut ());
    let again = violation.map(|violation| violation.property).or((!failures.is_empty()).then_some(EXPECTATION));
    let (property, message) = match again {
        Some(again) if again == property => (property, message),
        again => {
            let again = again.unwrap_or("no failure");
            (DETERMINISM, format!("{property}: {message}; repeated from its beginning, the run gives {again}"))
        }
    };
    let mut findings = vec![Finding::of_run(&scenario.name, seed, (property, &message, &facts), hash)];
    failure::record(&scenario, &mut findings, &args.out)?;
    Ok((scenario, findings))
}

fn print(search: &Search, found: Option<&(Scenario, Vec<Finding>)>, wall: Duration, args: &SearchArgs) -> Result<()> {
    let totals = search.totals();
    let mut out = io::stdout();
    if args.format == Format::Json {
        let findings: Vec<&Finding> = found.iter().flat_map(|(_, findings)| findings).collect();
        let recipe = found.map(|(scenario, _)| scenario.branches.to_string());
        let [marks, pairs, states] = totals.cells;
        let json = json!({
            "schema": 1,
            "hash": format!("{:032x}", search.hash()),
            "events": totals.events,
            "runs": totals.runs,
            "branches": totals.branches,
            "inconclusive": totals.inconclusive,
            "cells": { "marks": marks, "pairs": pairs, "states": states, "late": totals.late_cells },
            "violations": findings,
            "recipe": recipe,
            "sometimes": totals.marks,
        });
        writeln!(out, "{json}")?;
        return Ok(());
    }
    write!(out, "{}", text(&totals, found.is_none() && totals.inconclusive == 0, wall))?;
    if let Some((scenario, findings)) = found {
        for finding in findings {
            let seed = finding.seed.unwrap_or_default();
            writeln!(out, "  recipe: {}, seed {seed}, {}", scenario.name, scenario.branches)?;
            write!(out, "{}", campaign::finding_text(scenario, finding))?;
        }
    }
    writeln!(out, "trace hash {:032x}", search.hash())?;
    Ok(())
}

/// The figures of a search.
fn text(totals: &Totals, held: bool, wall: Duration) -> String {
    let micros = wall.as_micros().max(1);
    let [marks, pairs, states] = totals.cells.map(|cells| show::grouped(cells.into()));
    let mut text = format!(
        "{} search  {} events in {}  {} events/s  {}, {}\n",
        campaign::verdict(held),
        show::grouped(totals.events.into()),
        show::length(wall),
        show::rough(u128::from(totals.events) * 1_000_000 / micros),
        show::count(totals.runs, "run"),
        if totals.branches == 1 {
            "1 branch".to_owned()
        } else {
            format!("{} branches", show::grouped(totals.branches.into()))
        },
    );
    text.push_str(&format!(
        "  reached {marks} marks, {pairs} pairs of marks, {states} states; {} of them new in the last tenth\n",
        show::grouped(totals.late_cells.into()),
    ));
    if totals.inconclusive > 0 {
        text.push_str(&format!("  inconclusive: {}\n", show::count(totals.inconclusive, "run")));
    }
    let times = |mark: &&str| totals.marks.get(*mark).copied().unwrap_or(0);
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
