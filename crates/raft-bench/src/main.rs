//! Compares the write-ahead log of raft-store with embedded stores, in the pattern of a Raft log: groups of entries
//! appended in order of their index, one durable commit each, and occasional removal of old entries.
//!
//! In reading order: `entries` are written by `engines`, `worker` is a process with one engine, `rounds` lets the
//! workers take turns, `device` and `syncs` count their writes and syncs, `report` sums up, `machine` describes the
//! machine. It is not part of what users build, and asserts no times.

mod device;
mod engines;
mod entries;
mod machine;
mod report;
mod rounds;
mod syncs;
mod worker;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use engines::Name;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "raft-bench", about = "The write-ahead log beside embedded stores", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Groups of entries, one durable commit each, in rounds that alternate between the engines
    Log(Plan),
    /// One engine, controlled by lines on stdin
    #[command(hide = true)]
    Worker(Work),
    /// Whether an engine's folder still holds the newest entries
    #[command(hide = true)]
    Verify(Check),
}

/// The plan of a measurement.
#[derive(Args, Clone, Debug)]
struct Plan {
    /// Entries of a group, one after the other
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 8, 64],
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    groups: Vec<u64>,
    /// Bytes of an entry
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    entry_bytes: u32,
    /// Commits of one engine in a round
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    commits: u64,
    /// Rounds of each engine, after one that does not count
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
    /// A folder to work in, emptied first; the measurement uses its file system
    #[arg(long, value_name = "FOLDER", default_value = "target/bench-log")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An engine and its pattern.
#[derive(Args, Clone, Debug)]
struct Work {
    #[arg(long, value_enum)]
    engine: Name,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    group: u64,
    #[arg(long)]
    entry_bytes: u32,
}

/// The entries to find.
#[derive(Args, Clone, Debug)]
struct Check {
    #[command(flatten)]
    work: Work,
    #[arg(long)]
    last: u64,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Log(plan) => log(&plan),
        Command::Worker(work) => worker::serve(&work),
        Command::Verify(check) => worker::verify(&check.work, check.last),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(plan: &Plan) -> Result<()> {
    if plan.folder.exists() {
        std::fs::remove_dir_all(&plan.folder).with_context(|| format!("cannot empty {}", plan.folder.display()))?;
    }
    std::fs::create_dir_all(&plan.folder).with_context(|| format!("cannot create {}", plan.folder.display()))?;
    let plan = Plan { folder: plan.folder.canonicalize()?, ..plan.clone() };
    let mut report = report::Report::new(&plan)?;
    for &group in &plan.groups {
        let syncs = syncs::count(&plan, group)?;
        let measured = rounds::measure(&plan, group)?;
        report.add(&plan, group, &measured, &syncs);
    }
    std::fs::remove_dir_all(&plan.folder).with_context(|| format!("cannot remove {}", plan.folder.display()))?;
    if plan.json { report.print_json() } else { report.print() }
}
