//! A process with one engine, which can be traced and killed. Each line on stdin is a number of commits to make, and
//! each line on stdout gives their durations.

use crate::Work;
use crate::device;
use crate::engines::Engine;
use crate::entries::{Group, payload};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write as _};
use std::time::Instant;

/// The number of entries between two removals of old ones.
pub(crate) const REMOVED_EVERY: u64 = 10_000;
/// The number of newest entries that stay.
pub(crate) const KEPT: u64 = 1_000;

/// Some commits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// The duration of each commit, in nanoseconds.
    pub(crate) commits: Vec<u64>,
    /// The total duration of the removals of old entries between them, in nanoseconds.
    pub(crate) removals: u64,
    /// The bytes written to the device under the folder meanwhile. `None` if there is no such device.
    pub(crate) written: Option<u64>,
}

/// Opens the engine, answers an empty round, and makes commits until stdin ends.
pub(crate) fn serve(work: &Work) -> Result<()> {
    let mut log = Log { engine: work.engine.open(&work.folder)?, work, next: 1, removed: 0 };
    answer(&Round::default())?;
    for line in std::io::stdin().lock().lines() {
        let commits: u64 = line?.trim().parse().context("expected a number of commits on stdin")?;
        answer(&log.round(commits)?)?;
    }
    Ok(())
}

fn answer(round: &Round) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(round)?)?;
    Ok(stdout.flush()?)
}

/// A growing log.
struct Log<'a> {
    engine: Box<dyn Engine>,
    work: &'a Work,
    next: u64,
    /// How often old entries were removed.
    removed: u64,
}

impl Log<'_> {
    fn round(&mut self, commits: u64) -> Result<Round> {
        let Work { group, entry_bytes, .. } = *self.work;
        let first = self.next;
        let groups: Vec<Group> = (0..commits).map(|it| Group::of(first + it * group, group, entry_bytes)).collect();
        let mut round = Round::default();
        let written = device::written(&self.work.folder);
        for entries in &groups {
            let begin = Instant::now();
            self.engine.append(entries)?;
            round.commits.push(nanoseconds(begin));
            self.next += group;
            let last = self.next - 1;
            if last / REMOVED_EVERY > self.removed {
                self.removed = last / REMOVED_EVERY;
                let begin = Instant::now();
                self.engine.remove_before(self.next.saturating_sub(KEPT).max(1))?;
                round.removals += nanoseconds(begin);
            }
        }
        round.written = device::written(&self.work.folder).zip(written).map(|(after, before)| after - before);
        Ok(round)
    }
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// # Errors
/// The folder of a dead engine does not hold the newest entries up to `last` unchanged.
pub(crate) fn verify(work: &Work, last: u64) -> Result<()> {
    let mut engine = work.engine.open(&work.folder)?;
    let first = last.saturating_sub(KEPT - 1).max(1);
    for index in first..=last {
        let found = engine.read(index)?.with_context(|| format!("entry {index} of {last} is lost"))?;
        ensure!(payload(index, work.entry_bytes) == found, "entry {index} of {last} differs from the written one");
    }
    ensure!(engine.read(last + 1)?.is_none(), "entry {} exists, but was never written", last + 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::ALL;

    #[test]
    fn what_is_lost_or_changed_is_found() {
        for engine in ALL {
            let folder = tempfile::tempdir().unwrap();
            let work = Work { engine, folder: folder.path().into(), group: 8, entry_bytes: 40 };
            let mut log = Log { engine: engine.open(folder.path()).unwrap(), work: &work, next: 1, removed: 0 };
            let round = log.round(5).unwrap();
            assert!(round.commits.len() == 5 && round.removals == 0, "{round:?}");
            drop(log);
            verify(&work, 40).unwrap();
            let said = |work: &Work, last| verify(work, last).unwrap_err().to_string();
            assert!(said(&work, 41).contains("entry 41 of 41 is lost"));
            assert!(said(&work, 39).contains("entry 40 is there"));
            assert!(said(&Work { entry_bytes: 41, ..work.clone() }, 40).contains("not what was written"));
        }
    }

    #[test]
    fn old_entries_are_removed_in_the_rhythm_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engines::Name::Redb;
        let work = Work { engine, folder: folder.path().into(), group: 3_000, entry_bytes: 8 };
        let mut log = Log { engine: engine.open(folder.path()).unwrap(), work: &work, next: 1, removed: 0 };
        assert_eq!(log.round(3).unwrap().removals, 0);
        assert!(log.round(1).unwrap().removals > 0);
        assert!(log.engine.read(11_000).unwrap().is_none() && log.engine.read(11_001).unwrap().is_some());
        assert_eq!(log.round(2).unwrap().removals, 0);
    }
}
