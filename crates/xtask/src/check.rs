//! `cargo xtask check`: everything that CI runs, in one list. It writes only to target/.

use crate::process::Line;
use crate::readme;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A step of the check.
struct Stage {
    name: &'static str,
    words: String,
    environment: Vec<(&'static str, String)>,
}

/// The seeds of the swarm that run each time; `cargo xtask long` runs new ones.
const SWARM_SEEDS: &str = "0..300";

/// The list. The stages that fail soonest come first. It runs the README's command unchanged, and every other cargo
/// command with `--locked`. The scenarios and the swarm use the simulator that the tests have built, in the folder of
/// this program.
fn stages(test_command: String, programs: &Path) -> Vec<Stage> {
    let stage = |name, words: &str| Stage { name, words: words.into(), environment: Vec::new() };
    let documentation = Stage {
        environment: vec![("RUSTDOCFLAGS", "-D warnings".into())],
        ..stage("documentation", "cargo doc --locked --workspace --no-deps")
    };
    let simulator = programs.join("raft-sim").display().to_string();
    vec![
        stage("format", "cargo --locked fmt --all --check"),
        stage("lints", "cargo clippy --locked --workspace --all-targets -- -D warnings"),
        // A client's view of the map, which no other stage builds.
        stage("features", "cargo check --locked --package raft-kv --no-default-features"),
        documentation,
        stage("tests", &test_command),
        stage("scenarios", &format!("{simulator} run --twice --margin")),
        stage("swarm", &format!("{simulator} swarm --profile all --seeds {SWARM_SEEDS}")),
    ]
}

/// Runs the stages until one fails.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let programs = program.parent().context("this program has no folder")?;
    // Printed commands can be copied, so paths are relative to the repository if possible.
    let programs = programs.strip_prefix(root).unwrap_or(programs);
    let stages = stages(readme::test_command(root)?, programs);
    let start = Instant::now();
    let mut summary = String::new();
    for (place, stage) in stages.iter().enumerate() {
        let mut environment = stage.environment.clone();
        // No stage may need protoc: a crate compiles the wire format.
        environment.push(("PROTOC", "/nonexistent".into()));
        // Snapshot tests must fail instead of writing new snapshots.
        environment.push(("INSTA_UPDATE", "no".into()));
        let line = Line { words: &stage.words, environment: &environment };
        println!("== {} of {}, {}: {line}", place + 1, stages.len(), stage.name);
        let begin = Instant::now();
        let status = line.command(root).status();
        let seconds = rounded(begin.elapsed());
        writeln!(summary, "{:<16}{seconds:>8} s", stage.name)?;
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            let reason = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            println!("\n{summary}");
            println!("check: FAILED in stage {} of {}, {} ({reason})", place + 1, stages.len(), stage.name);
            println!("check: to run it alone: {line}");
            return Ok(false);
        }
        println!("== {}: {seconds} s\n", stage.name);
    }
    println!("{summary}check: all {} stages passed in {} s", stages.len(), rounded(start.elapsed()));
    Ok(true)
}

fn rounded(elapsed: Duration) -> String {
    format!("{:.1}", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cargo_command_but_the_readmes_is_locked() {
        let stages = stages("cargo test".into(), Path::new("target/debug"));
        let is_open = |words: &&str| words.starts_with("cargo") && !words.contains("--locked");
        let open: Vec<_> = stages.iter().map(|stage| stage.words.as_str()).filter(is_open).collect();
        assert_eq!(open, ["cargo test"]);
    }
}
