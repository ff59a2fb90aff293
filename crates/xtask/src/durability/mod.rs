//! `cargo xtask durability`: no answer to a client, no match and no vote leaves a node before the fdatasync that covers it
//! has returned, and nothing is removed before what takes its place is durable. Real nodes run under strace, take snapshots
//! often, and send them to who was away; their traces are judged.
//!
//! Ending processes cannot show this: what a killed process has written is still there.

mod acts;
mod claims;
mod cluster;
mod files;
mod fold;
mod http2;
mod judge;
mod trace;
mod wal;

use crate::planted::{self, Tree};
use acts::{ANSWERED, KINDS, NAMED, SEGMENTS, SNAPSHOTS};
use anyhow::{Context, Result, bail};
use cluster::Cluster;
use judge::Judge;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::process::{Line, has_strace};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many writes clients are to be told of, at least
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    writes: u64,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// How many clients, each with one operation at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// Plant bugs in a copy of the tree, one at a time, and expect the check to find each
    #[arg(long)]
    planted: bool,
}

/// Where the bugs are that only this check can find.
const PLANTED: &str = "crates/xtask/planted/durability";

/// How many violations of a kind are printed.
const SHOWN: usize = 3;

/// Whether no promise was early; of planted bugs, whether each was found.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    if !has_strace() {
        bail!("this check needs strace: apt-get install strace");
    }
    let folder = root.join("target/durability");
    if !options.planted {
        let binary = build(root, &root.join("target"))?;
        return check(&binary, &folder.join("run"), options).map(|violations| violations == 0);
    }
    let tree = Tree::copy(root, &folder.join("planted"))?;
    let mut all_found = true;
    for patch in planted::patches_in(&root.join(PLANTED))? {
        println!("durability: planted: {}", patch.title);
        tree.restore()?;
        tree.apply(&patch)?;
        let binary = build(&tree.folder(), &tree.target())?;
        let found = check(&binary, &folder.join(&patch.id), options)? > 0;
        println!("durability: {} is {}\n", patch.id, if found { "caught" } else { "MISSED" });
        all_found &= found;
    }
    Ok(all_found)
}

/// Builds the node in `tree`; where it is.
fn build(tree: &Path, target: &Path) -> Result<PathBuf> {
    let environment = [("CARGO_TARGET_DIR", target.display().to_string())];
    let line = Line { words: "cargo build --locked --quiet --release --package raft-grpc", environment: &environment };
    if !line.command(tree).status().context("cannot run cargo")?.success() {
        bail!("the node does not build in {}", tree.display());
    }
    Ok(target.join("release/raft-grpc"))
}

/// Runs a cluster in `folder` and judges it: how many violations there are.
fn check(binary: &Path, folder: &Path, options: &Options) -> Result<usize> {
    let begin = Instant::now();
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let mut cluster = Cluster::start(binary, &folder, options.nodes)?;
    let (mut acknowledged, mut rounds) = (0, 0);
    while acknowledged < options.writes {
        rounds += 1;
        let more = cluster.round(rounds, options.clients)?;
        if more == 0 {
            bail!("no write was acknowledged in round {rounds}: see {}", folder.display());
        }
        acknowledged += more;
    }
    cluster.stop()?;
    let (running, begin) = (begin.elapsed(), Instant::now());
    let judges =
        cluster.traces().into_iter().map(|(node, traces)| judged(node, &traces)).collect::<Result<Vec<_>>>()?;
    let outcome = Outcome::of(&judges);
    println!(
        "durability: {} nodes, {acknowledged} writes acknowledged to {} clients, leader killed {rounds} times, \
         cut off {rounds} times; {:.1} s, and {:.1} s to judge the traces",
        options.nodes,
        options.clients,
        running.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    outcome.print();
    let violations: Vec<_> = judges.iter().flat_map(|judge| &judge.violations).collect();
    for (kind, name) in KINDS.iter().enumerate() {
        let of_kind = || violations.iter().filter(|violation| violation.act.kind() == kind);
        for violation in of_kind().take(SHOWN) {
            println!("durability: VIOLATION: {violation}");
        }
        if of_kind().count() > SHOWN {
            println!("durability: {} violations among the {name}", of_kind().count());
        }
    }
    println!("durability: {} violations; the traces are in {}", violations.len(), folder.display());
    outcome.proves_something(acknowledged)?;
    Ok(violations.len())
}

fn judged(node: judge::Node, traces: &[PathBuf]) -> Result<Judge> {
    let mut judge = Judge::new(node);
    for path in traces {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let calls = trace::read(BufReader::new(file)).with_context(|| path.display().to_string())?;
        judge.start(&calls).with_context(|| path.display().to_string())?;
    }
    Ok(judge)
}

/// What all nodes did.
#[derive(Debug, Default)]
struct Outcome {
    checked: [u64; KINDS.len()],
    log: wal::Figures,
    /// By node: the counts of its own acts.
    of_each: Vec<[u64; KINDS.len()]>,
}

impl Outcome {
    fn of(judges: &[Judge]) -> Self {
        let mut all = Self::default();
        for judge in judges {
            for (sum, count) in all.checked.iter_mut().zip(judge.checked) {
                *sum += count;
            }
            all.of_each.push(judge.checked);
            let (sum, log) = (&mut all.log, &judge.log.figures);
            sum.writes += log.writes;
            sum.records += log.records;
            sum.entries += log.entries;
            sum.truncations += log.truncations;
            sum.received += log.received;
            sum.syncs += log.syncs;
        }
        all
    }

    fn print(&self) {
        let wal::Figures { writes, records, entries, truncations, received, syncs } = self.log;
        println!(
            "durability: logs: {writes} writes of {records} records with {entries} entries and {truncations} \
             truncations; {syncs} fdatasyncs, {:.2} entries each",
            entries as f64 / (syncs.max(1)) as f64
        );
        let counts: Vec<String> =
            KINDS.iter().zip(self.checked).map(|(kind, count)| format!("{count} {kind}")).collect();
        println!("durability: checked: {}", counts.join(", "));
        println!("durability: snapshots of peers that took the place of a log: {received}");
    }

    /// # Errors
    /// Messages are missing that must have been sent: silence about them would prove nothing.
    fn proves_something(&self, acknowledged: u64) -> Result<()> {
        if let Some((kind, _)) = KINDS.iter().zip(self.checked).find(|(_, count)| *count == 0) {
            bail!("the traces show no {kind}: this proves nothing about them");
        }
        for (node, counts) in (1..).zip(&self.of_each) {
            for kind in [NAMED, SEGMENTS, SNAPSHOTS] {
                if counts[kind] == 0 {
                    bail!("the traces of node {node} show no {}: its log was never compacted", KINDS[kind]);
                }
            }
        }
        if self.log.received == 0 {
            bail!("no node was sent a snapshot that took the place of its log");
        }
        let answered = self.checked[ANSWERED];
        if answered < acknowledged {
            bail!("clients heard of {acknowledged} writes, but the traces show only {answered} commands answered");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{planted, repository};

    #[test]
    fn a_kind_that_is_missing_proves_nothing() {
        let whole = || {
            let mut checked = [1; KINDS.len()];
            checked[ANSWERED] = 9;
            let log = wal::Figures { received: 1, ..wal::Figures::default() };
            Outcome { checked, log, of_each: vec![checked; 3] }
        };
        whole().proves_something(9).unwrap();
        let refused = |harm: &dyn Fn(&mut Outcome), words: &str| {
            let mut outcome = whole();
            harm(&mut outcome);
            let error = outcome.proves_something(9).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(&|outcome| outcome.checked[1] = 0, "no votes granted");
        refused(&|outcome| outcome.checked[ANSWERED] = 8, "only 8 commands answered");
        refused(&|outcome| outcome.of_each[1][SEGMENTS] = 0, "node 2 show no segments removed");
        refused(&|outcome| outcome.of_each[2][NAMED] = 0, "node 3 show no snapshots named");
        refused(&|outcome| outcome.log.received = 0, "no node was sent a snapshot");
    }

    #[test]
    fn every_planted_bug_applies_to_the_present_tree() {
        let root = repository::root().unwrap();
        let patches = planted::patches_in(&root.join(PLANTED)).unwrap();
        assert!(!patches.is_empty());
        for patch in &patches {
            planted::patched(&root, patch).unwrap_or_else(|error| panic!("{error:#}"));
        }
    }
}
