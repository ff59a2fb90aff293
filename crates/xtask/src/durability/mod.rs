//! `cargo xtask durability`: real nodes under strace answer no put before its record is durable on a majority of them.
//!
//! Types that the simulator also runs decide the order of writes, syncs and messages. The simulator checks this order
//! for votes, matches, snapshots and recovery. This task checks the parts that only real nodes have: the threads around
//! these types and the system calls below them. A kill cannot show a missing fdatasync, because the writes of a killed
//! process are still there.
//!
//! One strace traces all nodes, so its lines have one order. Every put goes to a node's admin port on a separate
//! connection, and its value is a marker, a text that no other put has. So the task need not decode messages: a marker
//! is plain text in the arriving `PUT` and in each write to a log, and the answer is the `HTTP/1.1 200` on the same
//! connection. A refusal has another status. The leader's acknowledgement and those of the followers precede the
//! answer: if one of them is early, this answer is early. Three measures keep that visible:
//!
//! - There are two nodes. A majority is both, so an early one cannot hide behind another.
//! - strace delays every fdatasync by [`DELAY_US`], much longer than a message takes.
//! - The task fails if the trace shows fewer answers than the clients received.

mod checker;

use crate::planted::{self, Tree};
use crate::process::{Line, has_strace};
use anyhow::{Context, Result, bail, ensure};
use checker::{ACKNOWLEDGED, Checker, NODES, marker};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many puts
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    writes: u64,
    /// Plant bugs in a copy of the tree, one at a time; the check has to find each one
    #[arg(long)]
    planted: bool,
}

/// The bugs that only this check can find.
pub(crate) const PLANTED: &str = "crates/xtask/planted/durability";
/// The number of clients, each with one put at a time.
const CLIENTS: usize = 8;
/// The delay of each fdatasync, in microseconds.
const DELAY_US: u32 = 3_000;
/// The system calls that the checker reads. A platform has only some of the rename calls.
const TRACED: &str = "trace=openat,?rename,?renameat,renameat2,pwrite64,fdatasync,fsync,read,readv,recvfrom,recvmsg,write,\
                      writev,sendto,sendmsg";

/// Returns whether no answer was early; for planted bugs, whether each was found.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    ensure!(has_strace(), "this check needs strace: apt-get install strace");
    let folder = root.join("target/durability");
    if !options.planted {
        let environment = [("CARGO_TARGET_DIR", root.join("target").display().to_string())];
        let binary = build(root, &environment, &root.join("target"))?;
        return Ok(check(&binary, &folder.join("run"), options.writes)? == 0);
    }
    let tree = Tree::copy(root, &folder.join("planted"))?;
    let mut all_found = true;
    for patch in planted::patches_in(&root.join(PLANTED))? {
        println!("durability: planted: {}", patch.title);
        tree.restore()?;
        tree.apply(&patch)?;
        let binary = build(&tree.folder(), &tree.environment(), &tree.target())?;
        let found = check(&binary, &folder.join(&patch.id), options.writes)? > 0;
        println!("durability: {} is {}", patch.id, if found { "caught" } else { "MISSED" });
        all_found &= found;
    }
    Ok(all_found)
}

/// Builds the node of this tree; returns its path.
fn build(tree: &Path, environment: &[(&str, String)], target: &Path) -> Result<PathBuf> {
    let line = Line { words: "cargo build --locked --quiet --release --package raft-grpc", environment };
    let built = line.command(tree).status().context("cannot run cargo")?.success();
    ensure!(built, "the node does not build in {}", tree.display());
    Ok(target.join("release/raft-grpc"))
}

/// Runs nodes in `folder` and checks their trace; returns the number of violations.
fn check(binary: &Path, folder: &Path, writes: u64) -> Result<usize> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    let begin = Instant::now();
    let cluster = Cluster::start(binary, folder)?;
    let acknowledged = load(&cluster.admin, writes)?;
    // The trace is complete when strace has ended.
    drop(cluster);
    let mut checker = Checker::default();
    for line in BufReader::new(File::open(folder.join("strace"))?).lines() {
        checker.line(&line.context("the trace is not text")?)?;
    }
    let (answers, syncs, violations) = (checker.answers, checker.syncs, &checker.violations);
    violations.iter().take(5).for_each(|violation| println!("durability: VIOLATION: {violation}"));
    println!(
        "durability: {acknowledged} puts acknowledged, {syncs} syncs, {answers} answers checked, {} violations in {:.1} s: \
         see {}",
        violations.len(),
        begin.elapsed().as_secs_f64(),
        folder.display()
    );
    ensure!(acknowledged > writes / 2, "most puts were refused: see {}", folder.join("log").display());
    ensure!(answers >= acknowledged, "the clients received {acknowledged} answers, the trace shows only {answers}");
    Ok(violations.len())
}

/// A cluster on this machine, all under one strace.
struct Cluster {
    strace: Child,
    /// The addresses of the admin ports.
    admin: Vec<String>,
}

impl Cluster {
    /// Starts the nodes and waits until one leads.
    fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-yy", "-s", "65536", "--seccomp-bpf", "-e", TRACED, "-e", "signal=none"]);
        command.args(["-e", &format!("inject=fdatasync:delay_enter={DELAY_US}")]);
        command.arg("-o").arg(folder.join("strace")).arg(binary);
        command.args(["dev", "--nodes", &NODES.to_string(), "--data-dir"]).arg(folder.join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(folder.join("log"))?);
        let mut cluster = Self { strace: command.spawn().context("cannot run strace")?, admin: Vec::new() };
        let output = cluster.strace.stdout.take().context("strace has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line.starts_with("RAFT_ENDPOINTS=") && cluster.admin.len() == NODES {
                return Ok(cluster);
            }
            cluster.admin.extend(line.split_once(" admin http://").map(|(_, address)| address.to_owned()));
        }
        bail!("no node leads: see {}", folder.join("log").display())
    }

    /// Ends the nodes and then strace. The signal goes to strace's child: strace itself would leave the nodes running.
    fn end(&mut self) -> Result<()> {
        let id = self.strace.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Command::new("kill").args(children.split_whitespace()).status()?;
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("durability: the cluster does not end: {error:#}");
        }
    }
}

/// Puts this many markers; returns how many are acknowledged.
fn load(admin: &[String], writes: u64) -> Result<u64> {
    let client = |first| {
        let mut acknowledged = 0;
        for number in (first..writes).step_by(CLIENTS) {
            acknowledged += u64::from(put(&admin[number as usize % NODES], number)?);
        }
        Ok(acknowledged)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS as u64).map(|first| scope.spawn(move || client(first))).collect();
        clients.into_iter().map(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

/// Puts one marker; returns whether it is acknowledged.
fn put(address: &str, number: u64) -> Result<bool> {
    let (marker, key) = (marker(number), number % 100);
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = format!("PUT /v1/kv/{key} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length");
    stream.write_all(format!("{head}: {}\r\n\r\n{marker}", marker.len()).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{address} does not answer"))?;
    Ok(answer.starts_with(ACKNOWLEDGED))
}
