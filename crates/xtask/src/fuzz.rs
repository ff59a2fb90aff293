//! `cargo xtask fuzz`: runs a fuzz target for a limited time, guided by coverage. Needs `cargo-fuzz`.

use crate::process::{Line, need_cargo};
use anyhow::Result;
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The fuzz target
    #[arg(long, value_enum, default_value_t = Target::Step)]
    target: Target,
    /// The time limit
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// Arbitrary bytes, as inputs of one core
    Step,
    /// Arbitrary bytes, as a node's folder and as damage to one
    Recovery,
}

impl Target {
    /// Its crate and its name.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Step => ("crates/raft-core", "step"),
            Self::Recovery => ("crates/raft-store", "recovery"),
        }
    }
}

/// Returns whether nothing was found.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    need_cargo("fuzz")?;
    let (folder, target) = options.target.place();
    // There is no sanitizer: the code has no unsafe block, so the compiler need not be a nightly one.
    let words = format!("cargo fuzz run --sanitizer none {target} -- -max_total_time={}", options.seconds);
    let line = Line { words: &words, environment: &[] };
    println!("fuzz: {line}");
    Ok(line.command(&root.join(folder)).status()?.success())
}
