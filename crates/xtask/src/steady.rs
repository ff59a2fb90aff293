//! `cargo xtask steady`: runs the tests of a package many times next to busy loops, to find tests that pass only on an
//! idle machine.

use crate::process::{End, Line, run_limited};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The package
    #[arg(long, value_name = "NAME")]
    package: String,
    /// The number of runs
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
    /// The number of busy loops
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=64))]
    busy: u32,
    /// The time limit of one run in seconds; a longer run counts as hung
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
}

/// Returns whether all runs passed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let build = format!("cargo test --locked --quiet --package {} --all-targets --no-run", options.package);
    if !(Line { words: &build, environment: &[] }).command(root).status().context("cannot run cargo")?.success() {
        bail!("the tests of {} do not build", options.package);
    }
    let folder = root.join("target/steady").join(&options.package);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A kill of cargo alone would leave the tests running.
    let words = format!(
        "timeout --signal=KILL {} cargo test --locked --package {} --all-targets --no-fail-fast",
        options.limit, options.package
    );
    let line = Line { words: &words, environment: &[] };
    let runs = beside(options.busy, || repeat(&line, root, &folder, options.times))?;
    let failed = runs.iter().filter(|run| run.end != End::Exit(0)).count();
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let at = |place: usize| seconds.get(place).copied().unwrap_or_default();
    println!(
        "steady: {} runs of the tests of {} beside {} busy loops, {failed} failed; shortest {:.1} s, median {:.1} s, \
         longest {:.1} s",
        runs.len(),
        options.package,
        options.busy,
        at(0),
        at(seconds.len() / 2),
        at(seconds.len().saturating_sub(1))
    );
    Ok(failed == 0)
}

/// One run of the tests.
struct Run {
    end: End,
    seconds: f64,
}

/// The end of a run that takes too long.
const KILLED: End = End::Exit(128 + 9);

/// Runs a command `times` times; keeps the output of each run that fails.
fn repeat(line: &Line<'_>, root: &Path, folder: &Path, times: u32) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for number in 1..=times {
        let (stdout, stderr) = (folder.join(format!("{number}.out")), folder.join(format!("{number}.err")));
        let start = Instant::now();
        let end = run_limited(line.command(root), &stdout, &stderr, Duration::MAX)?;
        let run = Run { end, seconds: start.elapsed().as_secs_f64() };
        if end == End::Exit(0) {
            println!("steady: {number} of {times}: ok, {:.1} s", run.seconds);
            std::fs::remove_file(stdout)?;
            std::fs::remove_file(stderr)?;
        } else {
            let what = if end == KILLED { "HUNG" } else { "FAILED" };
            println!("steady: {number} of {times}: {what}, {:.1} s: {} and .err", run.seconds, stdout.display());
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Does some work while `busy` threads spin.
fn beside<T>(busy: u32, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    /// Ends the loops when it is dropped, even after a panic.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _ends = Done(&done);
        for _ in 0..busy {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_its_output_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let run = |words: &str| {
            let line = Line { words, environment: &[("WORD", "kept".to_owned())] };
            let runs = beside(1, || repeat(&line, path, path, 2)).unwrap();
            runs.iter().map(|run| run.end).collect::<Vec<_>>()
        };
        assert_eq!(run("true"), [End::Exit(0); 2]);
        assert!(!path.join("1.out").exists());
        assert_eq!(run("printenv WORD NO_SUCH_WORD"), [End::Exit(1); 2]);
        assert_eq!(std::fs::read_to_string(path.join("2.out")).unwrap(), "kept\n");
        assert_eq!(run("timeout --signal=KILL 0.1 tail -f /dev/null"), [KILLED; 2]);
    }
}
