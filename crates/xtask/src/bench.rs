//! `cargo xtask bench`: runs the measurements of raft-bench, which is a separate workspace.

use crate::process::{Line, has_strace};
use anyhow::{Context, Result};
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The arguments of raft-bench: `log` measures the write-ahead log beside redb and fjall, `log --help` lists the rest
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Returns whether the measurement succeeded and no entry was lost.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    // stdout is reserved for the report.
    if !has_strace() {
        eprintln!("bench: without strace no syncs are counted: apt-get install strace");
    }
    let environment = [("CARGO_TARGET_DIR", root.join("target/raft-bench").display().to_string())];
    let words = format!(
        "cargo run --locked --quiet --release --manifest-path crates/raft-bench/Cargo.toml -- {}",
        options.arguments.join(" ")
    );
    let line = Line { words: &words, environment: &environment };
    eprintln!("bench: {line}");
    Ok(line.command(root).status().context("cannot run cargo")?.success())
}

#[cfg(test)]
mod tests {
    use crate::repository;

    #[test]
    fn what_it_depends_on_stays_out_of_the_lock_file_of_the_house() {
        let root = repository::root().unwrap();
        let lock = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        for name in ["redb", "fjall"] {
            let package = format!("name = \"{name}\"\n");
            assert!(lock("crates/raft-bench/Cargo.lock").contains(&package) && !lock("Cargo.lock").contains(&package));
        }
    }
}
