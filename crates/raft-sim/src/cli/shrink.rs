//! `raft-sim shrink`: a failing run, made small.

use super::args::ShrinkArgs;
use super::exit::Exit;
use super::failure;
use super::{files, show};
use anyhow::{Context, Result, bail};
use raft_sim::scenario::write::write_short;
use raft_sim::shrink::{self, Shrunk};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Makes a run of a file small, and writes it as a file.
pub(crate) fn shrink(args: &ShrinkArgs) -> Result<Exit> {
    let file = files::load(&args.file)?;
    let seed = args.seed.or(file.recorded.as_ref().map(|recorded| recorded.seed)).unwrap_or(0);
    let Some(shrunk) = shrink::shrink(&file.scenario, seed, args.budget) else {
        bail!(
            "{}: seed {seed} does not fail, or is one crash of an enumeration; expected a run that fails",
            args.file.display()
        );
    };
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("min.toml"));
    write(&shrunk, &output)?;
    print!("{}", text(&shrunk, &output));
    Ok(Exit::Held)
}

/// Writes the small run as a file.
pub(crate) fn write(shrunk: &Shrunk, output: &Path) -> Result<()> {
    let text = write_short(&shrunk.scenario, &failure::recorded_of(shrunk))?;
    fs::write(output, text).with_context(|| format!("cannot write {}", output.display()))
}

/// What shrinking has reached.
pub(crate) fn text(shrunk: &Shrunk, output: &Path) -> String {
    let Shrunk { scenario, result, candidates, spent, .. } = shrunk;
    let (steps, messages) = (scenario.steps.len(), scenario.messages.as_ref().map_or(0, BTreeMap::len));
    let operations = shrunk.lines() - steps - messages;
    let many = |number: usize, one: &str| show::count(number as u64, one);
    let mut text = format!("{}\n", scenario.title);
    text.push_str(&format!(
        "  {}, {}, {}, {}; {}\n",
        many(steps, "step"),
        many(messages, "message"),
        many(operations, "operation"),
        show::count(scenario.nodes, "node"),
        show::count(result.events, "event"),
    ));
    text.push_str(&format!("  {} with {}\n", show::count(*candidates, "candidate"), show::count(*spent, "event")));
    text.push_str(&format!("  written to {}\n", output.display()));
    text
}
