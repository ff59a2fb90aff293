//! `cargo xtask sigkills`: runs the test of raft-grpc that kills real nodes, with many more kills than `cargo test`.

use crate::process::Line;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The number of kills
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
}

/// Returns whether the test passed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let environment = [("RAFT_SIGKILLS", options.kills.to_string())];
    let line = Line {
        words: "cargo test --locked --package raft-grpc --test processes -- sigkills:: --nocapture",
        environment: &environment,
    };
    println!("sigkills: {line}");
    let start = Instant::now();
    let passed = line.command(root).status().context("cannot run cargo")?.success();
    let verdict = if passed { "passed" } else { "FAILED" };
    println!("sigkills: {} kills, {verdict} in {:.1} s", options.kills, start.elapsed().as_secs_f64());
    Ok(passed)
}
