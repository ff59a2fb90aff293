//! The syncs of an engine, counted by strace in a separate run, because strace slows the engine.

use crate::engines::{ALL, Name};
use crate::rounds::{Worker, work};
use crate::{Plan, Work};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The calls that are counted.
const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync";

/// Whether strace is installed.
pub(crate) fn can_see() -> bool {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Syncs per commit by engine; empty without strace.
pub(crate) fn count(plan: &Plan, group: u64) -> Result<BTreeMap<Name, f64>> {
    let mut counts = BTreeMap::new();
    if !can_see() {
        return Ok(counts);
    }
    for engine in ALL {
        let work = work(plan, engine, group, "syncs");
        let trace = plan.folder.join(format!("syncs-{}-{group}.strace", engine.word()));
        let syncs = watch(plan, &work, &trace)?;
        counts.insert(engine, syncs as f64 / plan.commits as f64);
        fs::remove_dir_all(&work.folder)?;
        fs::remove_file(&trace)?;
    }
    Ok(counts)
}

/// Counts the syncs of the second round.
fn watch(plan: &Plan, work: &Work, trace: &Path) -> Result<u64> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", CALLS, "--seccomp-bpf", "-o"]).arg(trace);
    strace.arg(std::env::current_exe()?);
    let mut worker = Worker::start(strace, work)?;
    worker.round(plan.commits)?;
    let first = calls(&fs::read_to_string(trace).context("strace has written nothing")?);
    worker.round(plan.commits)?;
    let seen = calls(&fs::read_to_string(trace)?) - first;
    worker.end()?;
    Ok(seen)
}

/// The number of calls that have begun; a call that another thread interrupts has two lines.
fn calls(trace: &str) -> u64 {
    trace.lines().filter(|line| line.contains('(') && !line.contains(" resumed>")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_once_however_many_lines_it_has() {
        let trace = "7 fsync(3)  = 0\n8 fdatasync(4 <unfinished ...>\n7 fsync(3) = 0\n8 <... fdatasync resumed>) = 0\n\
                     7 +++ exited with 0 +++\n";
        assert_eq!(calls(trace), 3);
    }
}
