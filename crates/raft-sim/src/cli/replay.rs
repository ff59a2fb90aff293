//! `raft-sim replay`: one run.

use super::args::{OutputArgs, ReplayArgs};
use super::campaign::scenario_text;
use super::clock;
use super::exit::Exit;
use super::outputs::Outputs;
use super::report::Report;
use super::scenario_report::Outcome;
use super::twice::Both;
use super::{failure, files, pool};
use anyhow::Result;
use raft_sim::BUILD;
use raft_sim::run::{self, RunResult, Sink};
use raft_sim::scenario::parse::ScenarioFile;
use std::io::{self, Write};

/// Runs one seed of a file and prints the result.
pub(crate) fn replay(args: &ReplayArgs) -> Result<Exit> {
    let file = files::load(&args.file)?;
    print(&file, &once(&file, args, &mut ())?)
}

/// Shows one run of a file that is not one of its seeds.
pub(crate) fn show(
    file: &ScenarioFile,
    number: u64,
    outputs: &OutputArgs,
    run: impl FnOnce(&mut dyn Sink) -> RunResult,
) -> Result<Exit> {
    print(file, &checked(file, number, outputs, &mut (), run)?)
}

fn print(file: &ScenarioFile, report: &Report) -> Result<Exit> {
    let mut out = io::stdout();
    for done in &report.scenarios {
        write!(out, "{}", scenario_text(&file.scenario, done, None))?;
    }
    writeln!(out, "trace hash {}", report.hash())?;
    Ok(report.exit())
}

/// One run of a file: with the given seed, otherwise the recorded one, otherwise 0.
pub(crate) fn once(file: &ScenarioFile, args: &ReplayArgs, sink: &mut dyn Sink) -> Result<Report> {
    let seed = args.seed.or(file.recorded.as_ref().map(|recorded| recorded.seed)).unwrap_or(0);
    let mut file = file.clone();
    if let Some(branches) = &args.branches {
        file.scenario.branches.clone_from(branches);
    }
    let file = &file;
    checked(file, seed, &args.outputs, sink, |sink| run::run(&file.scenario, seed, sink))
}

fn checked(
    file: &ScenarioFile,
    seed: u64,
    args: &OutputArgs,
    sink: &mut dyn Sink,
    run: impl FnOnce(&mut dyn Sink) -> RunResult,
) -> Result<Report> {
    let scenario = &file.scenario;
    let mut outputs = Outputs::create(args, false)?;
    warn_of_other_build(file);
    let outcome = pool::caught(|| {
        let started = clock::now();
        let result = match outputs.trace(scenario, seed) {
            Some(mut trace) => run(&mut Both(&mut *trace, sink)),
            None => run(sink),
        };
        Outcome { result, difference: None, coverage: None, started, ended: clock::now() }
    });
    if let Ok(outcome) = &outcome {
        outputs.write_history(&scenario.name, seed, outcome.result.history.clone())?;
        note_other_hash(file, seed, outcome.result.hash);
    }
    outputs.finish()?;
    let mut report = Report::new(&[scenario], None, false);
    report.add(0, seed, &outcome);
    for done in &mut report.scenarios {
        done.check_marks(false);
        if file.recorded.is_none() {
            failure::record(scenario, &mut done.findings, &args.out)?;
        }
    }
    report.conclude();
    Ok(report)
}

/// Warns before a run that another build has recorded.
fn warn_of_other_build(file: &ScenarioFile) {
    let recorded = file.recorded.as_ref().and_then(|recorded| recorded.build.as_deref());
    if let Some(recorded) = recorded.filter(|recorded| *recorded != BUILD) {
        let path = &file.scenario.path;
        eprintln!("warning: {path}: build {recorded} recorded this run, this is build {BUILD}: the run may differ");
    }
}

/// Warns if the run differs from the recorded one. That is not a failure: another build may run differently.
fn note_other_hash(file: &ScenarioFile, seed: u64, hash: u128) {
    let recorded = file.recorded.as_ref().filter(|recorded| recorded.seed == seed).and_then(|recorded| recorded.hash);
    if let Some(recorded) = recorded.filter(|recorded| *recorded != hash) {
        eprintln!(
            "expected the recorded trace hash {recorded:032x}, found {hash:032x}: another build recorded this run"
        );
    }
}
