//! Small rounds in turn: the commits of one engine, then those of the next; each round starts with another engine. So
//! other load on the machine slows all of them equally.

use crate::engines::{ALL, Name};
use crate::worker::Round;
use crate::{Plan, Work};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The rounds of an engine.
pub(crate) struct Measured {
    pub(crate) engine: Name,
    /// The rounds in order: rounds of two engines at the same position ran at about the same time.
    pub(crate) rounds: Vec<Round>,
}

/// Lets the engines take turns, then kills them and checks that no entry is lost.
pub(crate) fn measure(plan: &Plan, group: u64) -> Result<Vec<Measured>> {
    let mut workers = Vec::new();
    for engine in ALL {
        let work = work(plan, engine, group, "rounds");
        let mut worker = Worker::start(Command::new(std::env::current_exe()?), &work)?;
        // This round does not count.
        worker.round(plan.commits)?;
        workers.push((worker, work, Measured { engine, rounds: Vec::new() }));
    }
    for round in 0..plan.rounds {
        for place in turns(round, workers.len()) {
            if let Some((worker, _, measured)) = workers.get_mut(place) {
                measured.rounds.push(worker.round(plan.commits)?);
            }
        }
    }
    let last = (plan.rounds + 1) * plan.commits * group;
    let mut all = Vec::new();
    for (worker, work, measured) in workers {
        worker.kill()?;
        let mut verify = Command::new(std::env::current_exe()?);
        verify.arg("verify").args(words(&work)?).args(["--last", &last.to_string()]);
        let verified = verify.status().context("cannot run the check")?.success();
        ensure!(verified, "{} has lost entries", work.engine.word());
        std::fs::remove_dir_all(&work.folder)?;
        all.push(measured);
    }
    Ok(all)
}

/// The order of the engines in a round: each is first equally often.
fn turns(round: u64, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + (round % count.max(1) as u64) as usize) % count)
}

/// An engine's folder and pattern.
pub(crate) fn work(plan: &Plan, engine: Name, group: u64, what: &str) -> Work {
    let folder = plan.folder.join(format!("{what}-{}-{group}", engine.word()));
    Work { engine, folder, group, entry_bytes: plan.entry_bytes }
}

fn words(work: &Work) -> Result<Vec<String>> {
    let folder = work.folder.to_str().context("the folder's name is not UTF-8")?;
    let Work { group, entry_bytes, .. } = work;
    let words = ["--engine", work.engine.word(), "--folder", folder];
    let numbers = ["--group".to_owned(), group.to_string(), "--entry-bytes".to_owned(), entry_bytes.to_string()];
    Ok(words.map(str::to_owned).into_iter().chain(numbers).collect())
}

/// A process with one engine.
pub(crate) struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the process with this command, which ends with the name of this program.
    pub(crate) fn start(mut command: Command, work: &Work) -> Result<Self> {
        command.arg("worker").args(words(work)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot run a worker")?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().context("a worker without output")?);
        let mut worker = Self { process, stdin, stdout };
        // It is ready with its first answer.
        worker.answer()?;
        Ok(worker)
    }

    /// Makes this many commits.
    pub(crate) fn round(&mut self, commits: u64) -> Result<Round> {
        writeln!(self.stdin.as_mut().context("the worker has no input")?, "{commits}")?;
        let round = self.answer()?;
        ensure!(round.commits.len() as u64 == commits, "expected {commits} commits, found {}", round.commits.len());
        Ok(round)
    }

    fn answer(&mut self) -> Result<Round> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a worker has ended");
        serde_json::from_str(&line).context("expected a round from a worker")
    }

    /// Kills the process, whatever its threads do.
    fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Lets the process end itself.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.stdin.take());
        ensure!(self.process.wait()?.success(), "a worker has failed");
        Ok(())
    }
}

impl Drop for Worker {
    /// No process remains after an error: a worker ends when its stdin does.
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.process.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_in_each_round_and_is_first_equally_often() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| turns(round, 3).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
