//! `raft-sim bench`: how fast one core makes runs with all checkers, and what it costs to keep a state of a run.

use super::args::{BenchArgs, Format};
use super::exit::Exit;
use super::{clock, show};
use anyhow::Result;
use raft_sim::BUILD;
use raft_sim::faults::profiles;
use raft_sim::run::{self, RunResult};
use raft_sim::scenario::model::Scenario;
use raft_sim::search::Running;
use serde_json::json;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// The number of nodes of the swarm.
const NODES: u64 = 5;
/// After each so many events of a run its state is copied once.
const EVENTS_PER_COPY: u64 = 1_000;

/// All runs, once.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    hash: u128,
    events: u64,
    simulated: Duration,
}

/// Makes the same runs again and again, one after the other, and prints how long they take.
pub(crate) fn bench(args: &BenchArgs) -> Result<Exit> {
    let scenario = profiles::all(NODES);
    let mut counts: Option<Counts> = None;
    let mut seconds = Vec::new();
    for _ in 0..args.repeat {
        let begun = clock::now();
        let again = match all_runs(&scenario, &args.seeds) {
            Ok(counts) => counts,
            Err(failed) => return Ok(refuse(&failed)),
        };
        seconds.push(clock::now().duration_since(begun).as_secs_f64());
        if counts.as_ref().is_some_and(|counts| *counts != again) {
            eprintln!("expected the same runs each time, found other ones: see `raft-sim swarm --twice`");
            return Ok(Exit::NotDeterministic);
        }
        counts = Some(again);
    }
    let copies = (0..args.repeat).map(|_| copies(&scenario, args.seeds.start)).collect::<Vec<_>>();
    let copied = copies.iter().map(|(count, _)| *count).min().unwrap_or_default();
    let figures = Figures {
        args,
        counts: counts.unwrap_or_default(),
        seconds: median(seconds),
        copies: copied,
        copy_us: median(copies.iter().map(|(count, time)| time.as_secs_f64() * 1e6 / (*count).max(1) as f64).collect()),
    };
    let mut out = io::stdout();
    match args.format {
        Format::Text => write!(out, "{}", figures.text())?,
        Format::Json => writeln!(out, "{}", figures.json())?,
    }
    Ok(Exit::Held)
}

/// Makes all runs; returns the first one that fails.
fn all_runs(scenario: &Scenario, seeds: &Range<u64>) -> Result<Counts, Box<RunResult>> {
    let (mut counts, mut hash) = (Counts::default(), Xxh3::new());
    for seed in seeds.clone() {
        let result = run::run(scenario, seed, &mut ());
        if result.violation.is_some() || !result.failures.is_empty() {
            return Err(Box::new(result));
        }
        hash.update(&result.hash.to_le_bytes());
        counts.events += result.events;
        counts.simulated += result.simulated;
    }
    counts.hash = hash.digest128();
    Ok(counts)
}

fn refuse(failed: &RunResult) -> Exit {
    let (seed, next) = (failed.seed, failed.seed.saturating_add(1));
    let found = failed.violation.as_ref().map(|violation| format!("{}: {}", violation.property, violation.message));
    let found = found.or_else(|| failed.failures.first().cloned()).unwrap_or_default();
    eprintln!("expected sound runs, found in seed {seed}: {found}; see `raft-sim swarm --seeds {seed}..{next}`");
    if failed.violation.is_some() { Exit::Safety } else { Exit::Expectation }
}

/// Copies states of a run: how many, and the time for all copies.
fn copies(scenario: &Scenario, seed: u64) -> (u64, Duration) {
    let (mut count, mut time) = (0, Duration::ZERO);
    Running::visit(scenario, seed, EVENTS_PER_COPY, |state| {
        let begun = clock::now();
        let copy = state.clone();
        time += clock::now().duration_since(begun);
        count += 1;
        drop(copy);
    });
    (count, time)
}

/// The middle one of these numbers; zero if there is none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

struct Figures<'a> {
    args: &'a BenchArgs,
    counts: Counts,
    seconds: f64,
    copies: u64,
    copy_us: f64,
}

impl Figures<'_> {
    fn events_per_second(&self) -> f64 {
        self.counts.events as f64 / self.seconds.max(1e-9)
    }

    fn virtual_per_real(&self) -> f64 {
        self.counts.simulated.as_secs_f64() / self.seconds.max(1e-9)
    }

    fn text(&self) -> String {
        let Range { start, end } = self.args.seeds;
        format!(
            "swarm all, seeds {start}..{end}, one core, all checkers; medians of {}\n  \
             {} events in {:.2} s  {} events/s  {} simulated ({:.0}x)\n  \
             copy of a state: {:.0} us, the time of {:.0} events; {}\n\
             trace hash {:032x}\n",
            show::count(self.args.repeat.into(), "repetition"),
            show::grouped(self.counts.events.into()),
            self.seconds,
            show::rough(self.events_per_second() as u128),
            show::length(self.counts.simulated),
            self.virtual_per_real(),
            self.copy_us,
            self.copy_us * self.events_per_second() / 1e6,
            if self.copies == 1 { "1 copy".to_owned() } else { format!("{} copies", self.copies) },
            self.counts.hash,
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "schema": 1,
            "build": BUILD,
            "hash": format!("{:032x}", self.counts.hash),
            "runs": self.args.seeds.end - self.args.seeds.start,
            "events": self.counts.events,
            "simulated_us": u64::try_from(self.counts.simulated.as_micros()).unwrap_or(u64::MAX),
            "repetitions": self.args.repeat,
            "seconds": self.seconds,
            "events_per_second": self.events_per_second(),
            "virtual_per_real": self.virtual_per_real(),
            "copies": self.copies,
            "copy_us": self.copy_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!([vec![], vec![3.0, 1.0, 2.0], vec![4.0, 2.0]].map(median), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn a_run_that_fails_ends_the_measurement() {
        let mut scenario = profiles::net(3);
        scenario.expect.min_term = Some(raft_core::Term(1_000_000));
        let failed = all_runs(&scenario, &(4..6)).expect_err("no run has so many terms");
        assert_eq!((failed.seed, refuse(&failed)), (4, Exit::Expectation));
    }
}
