//! `cargo xtask messages`: feeds millions of messages to the core. A third are arbitrary, a third are real ones with one field
//! changed, a third are forged ones among real ones. It runs tests of raft-core/tests/protocol/total.rs with more
//! cases.

use crate::process::{End, Line, run_limited};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The number of messages, in millions
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    millions: u64,
}

/// A test, the name in its output, and the fewest messages in one of its cases.
const TESTS: [(&str, &str, u64); 3] = [
    ("arbitrary_inputs_against_every_role", "arbitrary inputs", 300),
    ("real_messages_with_one_field_changed", "changed messages", 80),
    ("lies_among_real_messages", "lies among real messages", 50),
];

/// Returns whether all tests passed with enough messages.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let wanted = options.millions * 1_000_000 / TESTS.len() as u64;
    let folder = root.join("target/messages");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (test, name, fewest) in TESTS {
        let (stdout, stderr) = (folder.join("out"), folder.join("err"));
        let words = format!(
            "cargo test --locked --profile sim --package raft-core --test protocol -- --exact total::{test} --nocapture"
        );
        let cases = wanted.div_ceil(fewest);
        let line = Line { words: &words, environment: &[("PROPTEST_CASES", cases.to_string())] };
        let start = Instant::now();
        let end = run_limited(line.command(root), &stdout, &stderr, Duration::from_secs(3 * 3_600))?;
        let said = std::fs::read_to_string(&stdout).with_context(|| format!("cannot read {}", stdout.display()))?;
        if end != End::Exit(0) {
            println!("messages: FAILED: {line}\n{said}\n{}", std::fs::read_to_string(&stderr).unwrap_or_default());
            return Ok(false);
        }
        let Some(count) = count_of(&said, name) else {
            bail!("{test} does not print how many {name} it had: see {}", stdout.display())
        };
        println!("messages: {} ({} s)", count.1, start.elapsed().as_secs());
        if count.0 < wanted {
            println!("messages: FAILED: {} {name}, fewer than {wanted}", count.0);
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number before `name`, and its line.
fn count_of<'a>(said: &'a str, name: &str) -> Option<(u64, &'a str)> {
    said.lines().find_map(|line| {
        let (before, _) = line.split_once(name)?;
        Some((before.trim().parse().ok()?, line.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_lines() {
        let said = "running 1 test\n12 changed messages, 7 accepted\ntest x ... ok\n";
        assert_eq!(count_of(said, "changed messages"), Some((12, "12 changed messages, 7 accepted")));
        assert_eq!(count_of(said, "arbitrary inputs"), None);
    }
}
