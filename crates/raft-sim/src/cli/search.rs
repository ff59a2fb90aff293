//! `raft-sim search`: guided search for violations.

use super::args::{Format, SearchArgs, SearchStrategy};
use super::exit::Exit;
use super::finding::{DETERMINISM, Finding};
use super::search_report::SearchReport;
use super::{campaign, clock, failure, files, pool, show};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use raft_sim::faults::profiles;
use raft_sim::run::{self, RunResult};
use raft_sim::scenario::model::Scenario;
use raft_sim::search::{EXPECTATION, Find, Job, Search, Strategy, starts};
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

/// The number of nodes of the swarm of all faults.
const NODES: u64 = 5;

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
    let (scenario, findings) = find.map(|find| repeat(find, args)).transpose()?.unzip();
    let recipe = scenario.as_ref().map(|scenario| scenario.branches.to_string());
    let report = SearchReport::new(args, &search, recipe.zip(findings));
    print(&report, scenario.as_ref(), wall, args.format)?;
    Ok(report.exit())
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
fn repeat(find: Find, args: &SearchArgs) -> Result<(Scenario, Vec<Finding>)> {
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

fn print(report: &SearchReport, scenario: Option<&Scenario>, wall: Duration, format: Format) -> Result<()> {
    let mut out = io::stdout();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    write!(out, "{}", report.text(Some(wall)))?;
    if let Some(scenario) = scenario {
        for finding in &report.violations {
            let seed = finding.seed.unwrap_or_default();
            writeln!(out, "  recipe: {}, seed {seed}, {}", scenario.name, scenario.branches)?;
            write!(out, "{}", campaign::finding_text(scenario, finding))?;
        }
    }
    write!(out, "{}", report.hash_text())?;
    Ok(())
}
