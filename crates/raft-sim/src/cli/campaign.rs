//! Many runs: all seeds of each scenario, on all cores, reported scenario by scenario.

use super::args::{CampaignArgs, Format, Shard};
use super::clock::{self, Instant};
use super::exit::Exit;
use super::finding::Finding;
use super::outputs::Outputs;
use super::report::Report;
use super::scenario_report::{Outcome, ScenarioReport};
use super::twice::{Both, First, Second};
use super::{coverage, failure, pool, show, summary};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use raft_sim::coverage::run::RunCoverage;
use raft_sim::run::{self, Sink};
use raft_sim::scenario::model::Scenario;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A scenario and the seeds of its runs: `first`, `first + step`, .. , `count` of them.
pub(crate) struct Group {
    pub(crate) scenario: Scenario,
    pub(crate) first: u64,
    pub(crate) step: u64,
    pub(crate) count: u64,
    /// The number of crash points, for an enumerated scenario: they replace the seeds.
    pub(crate) of_points: Option<u64>,
}

impl Group {
    fn seed(&self, place: u64) -> u64 {
        self.first.saturating_add(place.saturating_mul(self.step))
    }
}

/// When a campaign ends before its last seed.
#[derive(Default)]
pub(crate) struct End {
    /// No run begins after this time.
    pub(crate) time: Option<Instant>,
    /// It ends once the unseen mass is below this, in parts per trillion.
    pub(crate) unseen: Option<u64>,
}

/// The runs of a share: every `of`-th one, counted over all groups.
fn share(groups: Vec<Group>, Shard { index, of }: Shard) -> Vec<Group> {
    let mut before = 0_u64;
    let part = |group: Group| {
        let skipped = (index + of - before % of) % of;
        before = before.saturating_add(group.count);
        let (first, step) = (group.seed(skipped), group.step.saturating_mul(of));
        Group { first, step, count: group.count.saturating_sub(skipped).div_ceil(of), ..group }
    };
    groups.into_iter().map(part).collect()
}

/// Runs all groups in order, or a share of them. At its end it finishes the current runs, and it runs at least once.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn campaign(groups: Vec<Group>, args: &CampaignArgs, end: &End) -> Result<Exit> {
    let groups = &match args.shard {
        Some(shard) => share(groups, shard),
        None => groups,
    };
    let jobs = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.count));
    let mut outputs = Outputs::create(&args.outputs, jobs > 1)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = outputs.limit(args.jobs.map_or(cores, usize::from));
    let place_of = |mut job: u64| {
        let mut groups = groups.iter().enumerate();
        loop {
            match groups.next() {
                Some((place, group)) if job < group.count => break Some((place, group, group.seed(job))),
                Some((_, group)) => job -= group.count,
                None => break None,
            }
        }
    };
    let measures_coverage = args.coverage || end.unseen.is_some();
    let mut progress = Progress::new(jobs, groups, args, measures_coverage);
    let mut histories = Vec::new();
    let mut failed = None;
    let work = |job: u64| {
        place_of(job).map(|(_, group, seed)| execute(&group.scenario, seed, args.twice, measures_coverage, &outputs))
    };
    // At least one run happens, however late it is: an empty campaign would pass.
    let (begun, is_covered) = (AtomicBool::new(false), AtomicBool::new(false));
    let in_time = || end.time.is_none_or(|time| clock::now() < time);
    let go_on = || !begun.swap(true, Ordering::Relaxed) || (!is_covered.load(Ordering::Relaxed) && in_time());
    pool::in_order(workers, jobs, go_on, work, |job, outcome| {
        let Some((place, group, seed)) = place_of(job) else { return };
        if is_covered.load(Ordering::Relaxed) {
            // It began before the end was known. The result must not depend on how many runs are in progress at once.
            return;
        }
        let mut outcome = outcome.and_then(|outcome| outcome.ok_or_else(|| "no such job".to_owned()));
        if let (true, Ok(outcome)) = (outputs.wants_history(), &mut outcome) {
            histories.push((group.scenario.name.clone(), seed, std::mem::take(&mut outcome.result.history)));
        }
        if let Err(error) = progress.add(place, seed, &outcome) {
            failed.get_or_insert(error);
        }
        if end.unseen.is_some_and(|limit| progress.report.is_covered(limit)) {
            is_covered.store(true, Ordering::Relaxed);
        }
    });
    failed.map_or(Ok(()), Err)?;
    for (name, seed, history) in histories {
        outputs.write_history(&name, seed, history)?;
    }
    outputs.finish()?;
    progress.finish()
}

/// Makes one run, or two to compare.
fn execute(scenario: &Scenario, seed: u64, twice: bool, measures_coverage: bool, outputs: &Outputs) -> Outcome {
    let started = clock::now();
    let (mut nothing, mut first) = ((), First::default());
    let mut trace = outputs.trace(scenario, seed);
    let trace: &mut dyn Sink = trace.as_deref_mut().map_or(&mut nothing, |trace| trace as &mut dyn Sink);
    let mut coverage = (measures_coverage && scenario.enumerate.is_none()).then(RunCoverage::default);
    let mut both;
    let trace: &mut dyn Sink = match &mut coverage {
        Some(coverage) => {
            both = Both(trace, coverage);
            &mut both
        }
        None => trace,
    };
    let mut result =
        if twice { run::run(scenario, seed, &mut Both(trace, &mut first)) } else { run::run(scenario, seed, trace) };
    let difference = if twice { compare(scenario, seed, &first, result.hash) } else { None };
    if !outputs.wants_history() {
        // A campaign of a million runs must not keep unused histories.
        result.history = Vec::new();
    }
    Outcome { result, difference, coverage, started, ended: clock::now() }
}

fn compare(scenario: &Scenario, seed: u64, first: &First, hash: u128) -> Option<String> {
    let mut second = Second::new(first);
    let again = run::run(scenario, seed, &mut second).hash;
    let hashes = || format!("equal events, different trace hashes: {hash:032x} and {again:032x}");
    second.difference().or_else(|| (again != hash).then(hashes))
}

/// The results so far, printed scenario by scenario.
struct Progress<'a> {
    groups: &'a [Group],
    args: &'a CampaignArgs,
    report: Report,
    place: usize,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    fn new(jobs: u64, groups: &'a [Group], args: &'a CampaignArgs, measures_coverage: bool) -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let known = if jobs > u64::MAX / 4 { None } else { Some(jobs) };
        let bar = ProgressBar::with_draw_target(known, target);
        let style = if known.is_some() { "{bar:40} {pos}/{len} runs  {msg}" } else { "{spinner} {pos} runs  {msg}" };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let scenarios: Vec<&Scenario> = groups.iter().map(|group| &group.scenario).collect();
        let report = Report::new(&scenarios, args.shard, measures_coverage);
        Self { groups, args, report, place: 0, bar }
    }

    /// Takes the next run, in the order of (scenario, seed).
    fn add(&mut self, place: usize, seed: u64, outcome: &Result<Outcome, String>) -> Result<()> {
        while self.place < place {
            self.close()?;
        }
        let Some(group) = self.groups.get(place) else { return Ok(()) };
        self.bar.set_message(group.scenario.name.clone());
        self.report.add(place, seed, outcome);
        self.bar.inc(1);
        Ok(())
    }

    /// Prints the current scenario and begins the next.
    fn close(&mut self) -> Result<()> {
        let both = self.groups.get(self.place).zip(self.report.scenarios.get_mut(self.place));
        self.place += 1;
        let Some((Group { scenario, of_points, .. }, done)) = both.filter(|(_, done)| !done.runs.is_empty()) else {
            return Ok(());
        };
        done.check_marks(self.args.margin);
        let recorded = failure::record(scenario, &mut done.findings, &self.args.outputs.out);
        if let (Err(error), true) = (&recorded, self.args.format == Format::Text) {
            eprintln!("{error:#}");
        }
        if self.args.format == Format::Text {
            let text = scenario_text(scenario, done, *of_points);
            self.bar.suspend(|| io::stdout().write_all(text.as_bytes()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Exit> {
        while self.place < self.groups.len() {
            self.close()?;
        }
        self.bar.finish_and_clear();
        self.report.conclude();
        // Scripted runs need not reach every mark.
        let draws = self.groups.iter().any(|group| group.scenario.swarm.is_some());
        print(&self.report, self.args.format, draws)?;
        Ok(self.report.exit())
    }
}

/// Prints a whole campaign: the summary and the hash, or everything as JSON.
pub(crate) fn print(report: &Report, format: Format, with_marks: bool) -> Result<()> {
    let mut out = io::stdout();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let marks = if with_marks { summary::marks(report) } else { String::new() };
    let coverage = report.coverage.as_ref().map_or_else(String::new, coverage::text);
    writeln!(out, "{}{marks}{coverage}trace hash {}", summary::rates(report), report.hash())?;
    Ok(())
}

/// A scenario's line and its findings.
pub(crate) fn scenario_text(scenario: &Scenario, done: &ScenarioReport, of_points: Option<u64>) -> String {
    let held = done.findings.is_empty();
    let wall = done.wall();
    // Whole microseconds are exact enough for a speed, and keep a run that took no time from dividing by zero.
    let micros = wall.as_micros().max(1);
    let mut text = format!(
        "{} {}  {}  {} simulated in {} ({}x)  {} events/s",
        verdict(held),
        scenario.name,
        runs(scenario, done, of_points),
        show::length(done.simulated()),
        show::length(wall),
        show::grouped(done.simulated().as_micros() / micros),
        show::rough(u128::from(done.events()) * 1_000_000 / micros),
    );
    if let Some(heal) = done.heal_p99() {
        text.push_str(&format!("  heal p99 {}", show::length(heal)));
    }
    text.push('\n');
    // The most severe finding is printed in full; of several equal ones the first, because max_by_key takes the last of
    // equals.
    if let Some(first) = done.findings.iter().rev().max_by_key(|finding| finding.exit()) {
        text.push_str(&finding_text(scenario, first));
        let more = done.findings.iter().filter(|other| !std::ptr::eq(*other, first));
        for other in more.clone().take(10) {
            let seed = other.seed.map_or_else(|| "all seeds".to_owned(), |seed| format!("seed {seed}"));
            text.push_str(&format!("  also {}, {seed}: {}\n", other.property, other.message));
        }
        let more = more.count();
        if more > 10 {
            text.push_str(&format!("  and {} more\n", more - 10));
        }
    }
    text
}

/// How many seeds or crash points ran.
fn runs(scenario: &Scenario, done: &ScenarioReport, of_points: Option<u64>) -> String {
    if scenario.enumerate.is_none() {
        return show::count(done.runs.len() as u64, "seed");
    }
    let of = of_points.map_or_else(String::new, |all| format!(" of {}", show::grouped(all.into())));
    format!("{}{of} crash points, {}", show::grouped(done.runs.len() as u128), show::count(done.branches, "outcome"))
}

pub(crate) fn verdict(held: bool) -> &'static str {
    match (held, io::stdout().is_terminal()) {
        (true, false) => "PASS",
        (false, false) => "FAIL",
        (true, true) => "\u{1b}[32mPASS\u{1b}[0m",
        (false, true) => "\u{1b}[31mFAIL\u{1b}[0m",
    }
}

/// One finding in full: the property, the seed, the command that repeats it, and the events before it.
pub(crate) fn finding_text(scenario: &Scenario, finding: &Finding) -> String {
    let mut text = format!("  {}: {}\n", finding.property, finding.message);
    if !finding.facts.is_empty() {
        let facts: Vec<String> = finding.facts.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  contradicting events: {}\n", facts.join(", ")));
    }
    if let Some(seed) = finding.seed {
        text.push_str(&format!("  seed {seed}\n"));
    }
    if let Some(file) = &finding.file {
        let size = Path::new(file).metadata().map_or(0, |metadata| metadata.len());
        text.push_str(&format!("  recorded in {file} ({size} bytes)\n"));
    }
    if let Some(command) = &finding.reproduce {
        text.push_str(&format!("  reproduce: {command}\n"));
    }
    if let Some(seed) = finding.seed.filter(|_| finding.exit() != Exit::NotDeterministic) {
        let lines = failure::last_lines(scenario, seed);
        text.push_str(&format!("  the last {} events before it:\n", lines.len()));
        lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text
}

/// The time until which new seeds start.
pub(crate) fn until(time: Option<Duration>) -> Option<Instant> {
    time.and_then(|time| clock::now().checked_add(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::faults::profiles;

    fn group(first: u64, step: u64, count: u64) -> Group {
        Group { scenario: profiles::net(3), first, step, count, of_points: None }
    }

    #[test]
    fn every_run_is_in_one_share_and_the_shares_are_even() {
        let groups = || vec![group(0, 1, 1), group(0, 1, 1), group(10, 3, 8), group(0, 1, 0), group(5, 1, 3)];
        let runs = |groups: Vec<Group>| -> Vec<(usize, u64)> {
            let seeds = |(place, group): (usize, Group)| (0..group.count).map(move |run| (place, group.seed(run)));
            groups.into_iter().enumerate().flat_map(seeds).collect()
        };
        for of in 1..6 {
            let shares: Vec<_> = (0..of).map(|index| runs(share(groups(), Shard { index, of }))).collect();
            let counts: Vec<usize> = shares.iter().map(Vec::len).collect();
            assert!(counts.iter().max() <= counts.iter().min().map(|least| least + 1).as_ref(), "{counts:?}");
            let mut all: Vec<_> = shares.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, runs(groups()), "{of} shares");
        }
    }
}
