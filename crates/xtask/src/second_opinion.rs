//! `cargo xtask second-opinion`: stateright counts the states of a small box, in a separate workspace.

use crate::process::Line;
use anyhow::{Context, Result};
use std::path::Path;

const WORDS: &str = "cargo test --locked --release --manifest-path crates/raft-sim/second-opinion/Cargo.toml";

/// Returns whether it finds as many states as the explorer.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let environment = [("CARGO_TARGET_DIR", root.join("target/second-opinion").display().to_string())];
    let line = Line { words: WORDS, environment: &environment };
    eprintln!("second-opinion: {line}");
    Ok(line.command(root).status().context("cannot run cargo")?.success())
}
