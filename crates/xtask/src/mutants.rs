//! `cargo xtask mutants`: makes one small change at a time in the core. Each has to fail a test, or
//! `crates/xtask/mutants.txt` explains why no test can notice it. It needs `cargo-mutants`.

use crate::process::{Line, need_cargo};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this share of the changes: 0/4, 1/4, 2/4 or 3/4
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
}

/// The files in which a wrong operator loses data: quorums, the log, a peer's progress, the configuration, elections,
/// the commit index.
const FILES: [&str; 12] = [
    "membership/configuration",
    "membership/change",
    "membership/in_force",
    "membership/leader_changes",
    "log",
    "progress",
    "election",
    "vote",
    "transition",
    "leader",
    "send_appends",
    "receive_appends",
];

const EXPLAINED: &str = "crates/xtask/mutants.txt";

/// Returns whether every unnoticed change is explained, and every explanation is needed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    need_cargo("mutants")?;
    let explained = explained(&std::fs::read_to_string(root.join(EXPLAINED)).context(EXPLAINED)?)?;

    // The random schedules take longest, so only changes that pass all other tests run them.
    let quick = "--timeout 20 -- --lib --test protocol -- --skip figure_3";
    let whole = "--timeout 600 --iterate -- --lib --test protocol";
    for (round, tests) in [quick, whole].into_iter().enumerate() {
        let files: Vec<String> = FILES.iter().map(|file| format!("-f crates/raft-core/src/{file}.rs")).collect();
        let shard = options.shard.as_ref().map(|shard| format!("--shard {shard}")).unwrap_or_default();
        let words = format!(
            "cargo mutants --package raft-core --no-shuffle --output target/mutants {} {shard} {tests}",
            files.join(" ")
        );
        // These failures are not read, so they are not shrunk. The build takes longer than the run.
        let environment = [
            ("PROPTEST_MAX_SHRINK_ITERS", "0".into()),
            ("CARGO_PROFILE_DEV_DEBUG", "0".into()),
            ("CARGO_PROFILE_DEV_OPT_LEVEL", "0".into()),
            // Without optimisation, the generators of arbitrary messages need more stack than a test's thread has.
            ("RUST_MIN_STACK", (16 << 20).to_string()),
        ];
        let line = Line { words: &words, environment: &environment };
        println!("mutants, round {}: {line}", round + 1);
        match line.command(root).status().context("cannot run cargo")?.code() {
            // All changes were caught, some were missed, or some timed out.
            Some(0 | 2 | 3) => {}
            code => bail!("cargo mutants ended with {code:?}: {line}"),
        }
    }
    let missed = root.join("target/mutants/mutants.out/missed.txt");
    let missed = std::fs::read_to_string(&missed).with_context(|| missed.display().to_string())?;
    let problems = compare(&missed, &explained, options.shard.is_none());
    problems.iter().for_each(|problem| println!("mutants: {problem}"));
    println!("mutants: {} missed, {} explained", missed.lines().count(), explained.values().sum::<usize>());
    Ok(problems.is_empty())
}

/// The number of explanations of each change. A line has the change, a bar and the reason.
fn explained(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut explained = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (mutant, reason) = line
            .rsplit_once(" | ")
            .with_context(|| format!("{EXPLAINED}: expected `change | reason`, found `{line}`"))?;
        ensure!(!reason.trim().is_empty(), "{EXPLAINED}: no reason: {line}");
        *explained.entry(mutant.trim().to_owned()).or_insert(0) += 1;
    }
    Ok(explained)
}

/// A change without line and column, which move with the file.
fn name(mutant: &str) -> Option<String> {
    let (place, what) = mutant.split_once(": ")?;
    let path = place.split(':').next()?;
    let file = path.rsplit('/').next()?;
    Some(format!("{file}: {what}"))
}

/// The changes that are missed and not explained, and those that are explained and not missed.
fn compare(missed: &str, explained: &BTreeMap<String, usize>, is_all: bool) -> Vec<String> {
    let mut left = explained.clone();
    let mut problems = Vec::new();
    for mutant in missed.lines() {
        let count = name(mutant).and_then(|name| left.get_mut(&name)).filter(|count| **count > 0);
        match count {
            Some(count) => *count -= 1,
            None => {
                problems.push(format!("no test notices this change, and {EXPLAINED} does not explain it: {mutant}"))
            }
        }
    }
    if is_all {
        let needless = left.iter().filter(|(_, count)| **count > 0);
        problems.extend(
            needless.map(|(name, count)| format!("{EXPLAINED} explains {count} more than no test notices: {name}")),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    const MISSED: &str = "crates/raft-core/src/log.rs:42:72: replace && with || in Log::is_valid\n\
                          crates/raft-core/src/log.rs:43:72: replace && with || in Log::is_valid\n";

    #[test]
    fn a_survivor_needs_an_explanation_and_an_explanation_a_survivor() {
        let one = "# why\nlog.rs: replace && with || in Log::is_valid | both are true together\n";
        let two = format!("{one}log.rs: replace && with || in Log::is_valid | the second, too\n");
        let problems = |text: &str, is_all| compare(MISSED, &explained(text).unwrap(), is_all);
        assert_eq!(problems(one, true).len(), 1);
        assert!(problems(&two, true).is_empty());
        let more = format!("{two}log.rs: replace a with b | it was true once\n");
        assert_eq!(
            problems(&more, true),
            ["crates/xtask/mutants.txt explains 1 more than no test notices: log.rs: replace a with b"]
        );
        assert!(problems(&more, false).is_empty(), "a share contains only some changes");
        assert!(explained("log.rs: replace a with b\n").is_err(), "no reason");
    }

    #[test]
    fn the_files_and_the_explanations_are_there() {
        let root = repository::root().unwrap();
        assert!(FILES.iter().all(|file| root.join(format!("crates/raft-core/src/{file}.rs")).is_file()));
        explained(&std::fs::read_to_string(root.join(EXPLAINED)).unwrap()).unwrap();
    }
}
