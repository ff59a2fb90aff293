//! `cargo xtask check`: all that CI runs, in one list. Writes to target/ and nowhere else.

use crate::process::Line;
use crate::readme;
use anyhow::Result;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A step of the check.
struct Stage {
    name: &'static str,
    words: String,
    environment: Vec<(&'static str, String)>,
}

/// The seeds of the swarm and of the planted bugs that run each time; `cargo xtask long` runs new ones.
const SWARM_SEEDS: &str = "0..300";

/// The list. What fails soonest stands first; the README's own command is run as the README has it, every other cargo
/// command with `--locked`.
fn stages(test_command: String) -> Vec<Stage> {
    let stage = |name, words: &str| Stage { name, words: words.into(), environment: Vec::new() };
    let documentation = Stage {
        environment: vec![("RUSTDOCFLAGS", "-D warnings".into())],
        ..stage("documentation", "cargo doc --locked --workspace --no-deps")
    };
    let simulator = "cargo run --locked --quiet --profile sim --package raft-sim --";
    vec![
        stage("format", "cargo --locked fmt --all --check"),
        stage("lints", "cargo clippy --locked --workspace --all-targets -- -D warnings"),
        documentation,
        stage("tests", &test_command),
        stage("scenarios", &format!("{simulator} run --twice")),
        stage("swarm", &format!("{simulator} swarm --profile all --seeds {SWARM_SEEDS}")),
        stage(
            "planted bugs",
            "cargo run --locked --quiet --package xtask -- planted-bugs --seeds 100 \
             --only vote-before-durable --only duplicate-append-acked-early",
        ),
    ]
}

/// Runs the stages up to the first that fails.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let stages = stages(readme::test_command(root)?);
    let start = Instant::now();
    let mut summary = String::new();
    for (place, stage) in stages.iter().enumerate() {
        let mut environment = stage.environment.clone();
        // Nothing may need protoc: the wire format is compiled by a crate.
        environment.push(("PROTOC", "/nonexistent".into()));
        // Snapshot tests fail instead of writing what they would like to see.
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
    use crate::{planted, repository};

    #[test]
    fn every_cargo_command_but_the_readmes_is_locked() {
        let stages = stages("cargo test".into());
        let unlocked: Vec<_> = stages.iter().filter(|stage| !stage.words.contains("--locked")).collect();
        assert_eq!(unlocked.iter().map(|stage| stage.words.as_str()).collect::<Vec<_>>(), ["cargo test"]);
    }

    #[test]
    fn the_planted_bugs_of_the_check_exist() {
        let patches = planted::patches(&repository::root().unwrap()).unwrap();
        let stages = stages("cargo test".into());
        let words: Vec<_> = stages.last().unwrap().words.split_whitespace().collect();
        let asked: Vec<_> = words.windows(2).filter(|pair| pair[0] == "--only").map(|pair| pair[1]).collect();
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|id| patches.iter().any(|patch| patch.id == *id)), "{asked:?}");
    }
}
