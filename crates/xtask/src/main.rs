//! The tasks of this repository, run as `cargo xtask TASK`.
//!
//! They are not part of what users build. The tasks know only the command lines of the crates.

mod bench;
mod check;
mod durability;
mod fuzz;
mod long;
mod messages;
mod mutants;
mod planted;
mod process;
mod readme;
mod repository;
mod second_opinion;
mod sigkills;
mod steady;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of this repository", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs everything that CI runs: format, lints, documentation, tests, scenarios, a swarm. It writes only to target/
    Check,
    /// Two planted bugs, then new seeds until the time limit: property tests and swarms. It prints the seed and the
    /// commit
    Long(long::Options),
    /// Plants known bugs in a copy of the tree, one at a time: the simulator has to find each
    PlantedBugs(planted::Options),
    /// Real nodes under strace: no put is acknowledged before its fdatasync has returned on a majority of them
    Durability(durability::Options),
    /// Real nodes, killed many times: no acknowledged write is lost
    Sigkills(sigkills::Options),
    /// Runs the tests of a package many times on a busy machine
    Steady(steady::Options),
    /// Runs a fuzz target for a while; needs cargo-fuzz
    Fuzz(fuzz::Options),
    /// Feeds millions of arbitrary, changed and false messages to the core
    Messages(messages::Options),
    /// Makes one small change at a time in the core: each has to fail a test or to be explained; needs cargo-mutants
    Mutants(mutants::Options),
    /// Measures the write-ahead log beside other stores
    Bench(bench::Options),
    /// Counts the states of a small box with another explorer: as many as `raft-sim check` finds
    SecondOpinion,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the task passed.
fn run(task: Task) -> Result<bool> {
    let root = repository::root()?;
    match task {
        Task::Check => check::run(&root),
        Task::Long(options) => long::run(&root, &options),
        Task::PlantedBugs(options) => planted::run(&root, &options),
        Task::Durability(options) => durability::run(&root, &options),
        Task::Sigkills(options) => sigkills::run(&root, &options),
        Task::Steady(options) => steady::run(&root, &options),
        Task::Fuzz(options) => fuzz::run(&root, &options),
        Task::Messages(options) => messages::run(&root, &options),
        Task::Mutants(options) => mutants::run(&root, &options),
        Task::Bench(options) => bench::run(&root, &options),
        Task::SecondOpinion => second_opinion::run(&root),
    }
}
