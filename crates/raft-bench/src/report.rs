//! The figures, as a table and as JSON.

use crate::Plan;
use crate::engines::Name;
use crate::machine::Machine;
use crate::rounds::Measured;
use crate::syncs::can_see;
use crate::worker::{KEPT, REMOVED_EVERY, Round};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    entry_bytes: u32,
    commits_a_round: u64,
    rounds: u64,
    rows: Vec<Row>,
}

/// One engine with groups of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    engine: Name,
    group: u64,
    /// The rate over all rounds, removals included.
    commits_per_second: f64,
    entries_per_second: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
    max_microseconds: f64,
    /// The share of its time that the removals of old entries took.
    removals_share: f64,
    /// `None` if there is no device with counters.
    bytes_per_commit: Option<f64>,
    bytes_per_payload_byte: Option<f64>,
    /// `None` if syncs are not counted.
    syncs_per_commit: Option<f64>,
    /// The median over all rounds of its commits per second divided by those of our log.
    of_own: f64,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Result<Self> {
        Ok(Self {
            machine: Machine::here(&plan.folder),
            entry_bytes: plan.entry_bytes,
            commits_a_round: plan.commits,
            rounds: plan.rounds,
            rows: Vec::new(),
        })
    }

    /// The rounds with groups of one size.
    pub(crate) fn add(&mut self, plan: &Plan, group: u64, measured: &[Measured], syncs: &BTreeMap<Name, f64>) {
        let Some(own) = measured.iter().find(|one| one.engine == Name::Own) else { return };
        for one in measured {
            self.rows.push(row(one, own, group, plan.entry_bytes, syncs.get(&one.engine).copied()));
        }
    }

    pub(crate) fn print_json(&self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }

    pub(crate) fn print(&self) -> Result<()> {
        let Machine { processor, cores, kernel, file_system, load } = &self.machine;
        println!("{processor}, {cores} cores, Linux {kernel}, {file_system}, load {load} at the start");
        println!(
            "entries of {} bytes, {} rounds of {} commits of each engine in turn; every {REMOVED_EVERY} entries all but \
             the newest {KEPT} are removed\n",
            self.entry_bytes, self.rounds, self.commits_a_round
        );
        println!(
            "| entries a commit | engine | commits/s | entries/s | p50 | p99 | longest | bytes written a commit | \
             for each byte of payload | syncs a commit | speed, ours = 1 |"
        );
        println!("|--:|--|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        for row in &self.rows {
            println!("{}", row.line());
        }
        println!(
            "\nbytes written: to the device under the folder during the engine's rounds, by the file system's journal and other \
             processes too; for our own log with the zeros that it writes ahead"
        );
        if !can_see() {
            println!("syncs: not counted, because strace is not installed");
        }
        Ok(())
    }
}

fn row(one: &Measured, own: &Measured, group: u64, entry_bytes: u32, syncs_per_commit: Option<f64>) -> Row {
    let mut sorted: Vec<u64> = one.rounds.iter().flat_map(|round| round.commits.iter().copied()).collect();
    sorted.sort_unstable();
    let commits = sorted.len() as f64;
    let all: u64 = one.rounds.iter().map(nanoseconds).sum();
    let removals: u64 = one.rounds.iter().map(|round| round.removals).sum();
    let written: Option<u64> = one.rounds.iter().map(|round| round.written).sum();
    let bytes_per_commit = written.map(|bytes| bytes as f64 / commits);
    let commits_per_second = commits * 1e9 / all as f64;
    let mut ratios: Vec<f64> = one.rounds.iter().zip(&own.rounds).map(|(it, own)| speed(it) / speed(own)).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| microseconds(&sorted, share);
    Row {
        engine: one.engine,
        group,
        commits_per_second,
        entries_per_second: commits_per_second * group as f64,
        p50_microseconds: at(0.5),
        p99_microseconds: at(0.99),
        max_microseconds: at(1.0),
        removals_share: removals as f64 / all as f64,
        bytes_per_commit,
        bytes_per_payload_byte: bytes_per_commit.map(|bytes| bytes / (group * u64::from(entry_bytes)) as f64),
        syncs_per_commit,
        of_own: ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN),
    }
}

fn nanoseconds(round: &Round) -> u64 {
    round.commits.iter().sum::<u64>() + round.removals
}

fn speed(round: &Round) -> f64 {
    round.commits.len() as f64 / nanoseconds(round) as f64
}

/// The longest time within this share of the commits.
fn microseconds(sorted: &[u64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).map_or(f64::NAN, |nanoseconds| *nanoseconds as f64 / 1e3)
}

impl Row {
    fn line(&self) -> String {
        let Self { group, engine, of_own, .. } = self;
        let counted = |figure: Option<f64>, places: usize| {
            figure.map_or_else(|| "not counted".to_owned(), |figure| format!("{figure:.places$}"))
        };
        let ms = |microseconds: f64| format!("{:.2} ms", microseconds / 1e3);
        format!(
            "| {group} | {} | {:.0} | {:.0} | {} | {} | {} | {} | {} | {} | {of_own:.2} |",
            engine.word(),
            self.commits_per_second,
            self.entries_per_second,
            ms(self.p50_microseconds),
            ms(self.p99_microseconds),
            ms(self.max_microseconds),
            counted(self.bytes_per_commit, 0),
            counted(self.bytes_per_payload_byte, 1),
            counted(self.syncs_per_commit, 2),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(engine: Name, commit: u64) -> Measured {
        let round = |written| Round { commits: vec![commit; 10], removals: 0, written: Some(written) };
        Measured { engine, rounds: vec![round(2_000), round(1_000)] }
    }

    #[test]
    fn figures_are_of_all_rounds_and_ratios_of_those_at_the_same_time() {
        let (own, other) = (measured(Name::Own, 1_000_000), measured(Name::Redb, 4_000_000));
        let row = row(&other, &own, 8, 10, None);
        assert_eq!((row.commits_per_second, row.entries_per_second, row.of_own), (250.0, 2_000.0, 0.25));
        assert_eq!((row.bytes_per_commit, row.bytes_per_payload_byte), (Some(150.0), Some(1.875)));
        assert_eq!((row.p50_microseconds, row.p99_microseconds), (4_000.0, 4_000.0));
        assert!(row.line().contains("| 150 | 1.9 | not counted | 0.25 |"), "{}", row.line());
    }

    #[test]
    fn percentiles_are_the_least_that_cover_the_share() {
        let sorted: Vec<u64> = (1..=200).map(|it| it * 1_000).collect();
        let at = |share| microseconds(&sorted, share);
        assert_eq!([at(0.5), at(0.99), at(1.0), at(0.001)], [100.0, 198.0, 200.0, 1.0]);
        assert!(microseconds(&[], 0.5).is_nan());
    }
}
