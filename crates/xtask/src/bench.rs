//! `cargo xtask bench`: measurements that are no tests, by a crate that is a workspace of its own.

use crate::process::{Line, has_strace};
use anyhow::{Context, Result};
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is measured
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The write-ahead log beside redb and fjall, in the pattern of a Raft log: groups of entries, one durable commit each
    Log(Log),
}

#[derive(clap::Args, Debug, Default)]
struct Log {
    /// Entries of a group, one after the other, as 1,8,64
    #[arg(long, value_name = "N,..")]
    groups: Option<String>,
    /// Bytes of an entry
    #[arg(long, value_name = "BYTES")]
    entry_bytes: Option<u32>,
    /// Commits of one engine in a round
    #[arg(long, value_name = "N")]
    commits: Option<u64>,
    /// Rounds of each engine
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Log {
    /// The command line; what is not said, the crate knows.
    fn words(&self) -> String {
        let mut words =
            "cargo run --locked --quiet --release --manifest-path crates/raft-bench/Cargo.toml -- log".to_owned();
        let mut add = |flag: &str, value: Option<String>| {
            words.extend(value.map(|value| format!(" {flag} {value}")));
        };
        add("--groups", self.groups.clone());
        add("--entry-bytes", self.entry_bytes.map(|bytes| bytes.to_string()));
        add("--commits", self.commits.map(|commits| commits.to_string()));
        add("--rounds", self.rounds.map(|rounds| rounds.to_string()));
        add("--folder", Some("target/bench-log".to_owned()));
        words.extend(self.json.then_some(" --json"));
        words
    }
}

/// Whether it was measured, and nothing was lost.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let What::Log(log) = &options.what;
    // stdout is the report's.
    if !has_strace() {
        eprintln!("bench: without strace only our own syncs are counted: apt-get install strace");
    }
    let environment = [("CARGO_TARGET_DIR", root.join("target/raft-bench").display().to_string())];
    let words = log.words();
    let line = Line { words: &words, environment: &environment };
    eprintln!("bench: {line}");
    // The wire format is compiled by a crate, whatever the surroundings say.
    Ok(line.command(root).env_remove("PROTOC").status().context("cannot run cargo")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    #[test]
    fn only_what_was_said_is_passed_on() {
        let line = |log: &Log| log.words().split_once(" -- ").map(|(_, words)| words.to_owned()).unwrap();
        assert_eq!(line(&Log::default()), "log --folder target/bench-log");
        let all =
            Log { groups: Some("1,8".into()), entry_bytes: Some(9), commits: Some(2), rounds: Some(3), json: true };
        let words = "log --groups 1,8 --entry-bytes 9 --commits 2 --rounds 3 --folder target/bench-log --json";
        assert_eq!(line(&all), words);
    }

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
