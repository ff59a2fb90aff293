//! Guided search: it keeps the first state that reached each new *cell*, and continues from the rare ones with other
//! choices. A cell is a mark, an ordered pair of marks, or an abstract state of the cluster.
//!
//! The search works in rounds of jobs. A job is a fresh run of a scenario, or a branch of a kept state. All jobs of a
//! round know the cells of the rounds before, and their results are merged in order: a search is a function of its
//! scenarios, seed and budget, whatever the number of threads.

mod archive;
mod directed;
mod job;
mod starts;

use crate::rng::{Choices, Site};
use crate::scenario::model::Scenario;
use archive::Archive;
use directed::Directed;
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

pub use archive::Cell;
pub use job::{Done, EXPECTATION, Find, Job, Running};
pub use starts::{Start, starts};

const JOB: Site = Site::new("search job");

/// The number of jobs in a round. It does not depend on the number of threads, because each round starts from what the
/// rounds before have found.
const ROUND: u64 = 16;
/// The records of a branch, if it does not run to the end.
const LENGTHS: [u64; 3] = [500, 2_000, 8_000];
/// The sites that a branch redraws alone: they decide when and in which order things happen.
pub const SITES: [&str; 8] =
    ["delay", "loss", "request delay", "disk", "node seed", "swarm fault", "client operation", "batch"];

/// How a search chooses its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Seed after seed, each from its beginning.
    Random,
    /// The same, with seeds whose features belong to rare marks.
    Directed,
    /// Directed runs, and branches of kept states.
    Guided,
}

/// What a search has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub events: u64,
    pub runs: u64,
    pub branches: u64,
    /// How many runs a check at their end could not judge within its budget.
    pub inconclusive: u64,
    /// How many cells there are of each kind: marks, pairs of marks, abstract states.
    pub cells: [u64; 3],
    /// How many of them are new since nine tenths of the budget.
    pub late_cells: u64,
    /// In how many jobs each mark was reached.
    pub marks: BTreeMap<&'static str, u64>,
}

/// A search in progress.
pub struct Search {
    starts: Vec<Start>,
    strategy: Strategy,
    budget: u64,
    choices: Choices,
    archive: Archive,
    directed: Directed,
    /// The stories that no run has begun, the next one last.
    stories: Vec<usize>,
    swarms: Vec<usize>,
    /// The next seed of each start.
    seeds: Vec<u64>,
    jobs: u64,
    fresh: u64,
    totals: Totals,
    cells_before_last_tenth: Option<u64>,
    hash: Xxh3,
}

impl Search {
    /// A search of these scenarios, over this many events.
    pub fn new(starts: Vec<Start>, strategy: Strategy, seed: u64, budget: u64) -> Self {
        // Searches with different seeds also try different runs.
        let seeds = starts.iter().map(|_| seed.wrapping_mul(1_000_000)).collect();
        let (mut stories, swarms): (Vec<usize>, Vec<usize>) =
            (0..starts.len()).rev().partition(|place| starts.get(*place).is_some_and(Start::is_story));
        if strategy != Strategy::Guided {
            stories.clear();
        }
        Self {
            starts,
            stories,
            swarms,
            strategy,
            budget,
            choices: Choices::new(seed),
            archive: Archive::default(),
            directed: Directed::default(),
            seeds,
            jobs: 0,
            fresh: 0,
            totals: Totals::default(),
            cells_before_last_tenth: None,
            hash: Xxh3::new(),
        }
    }

    /// The jobs of the next round; none once the budget is used up.
    pub fn round(&mut self) -> Vec<Job> {
        if self.totals.events >= self.budget || self.starts.is_empty() {
            return Vec::new();
        }
        (0..ROUND).filter_map(|_| self.next_job()).collect()
    }

    fn next_job(&mut self) -> Option<Job> {
        self.jobs += 1;
        let draw = |choices: &mut Choices, jobs: u64, n: u64| choices.draw(JOB, jobs, n);
        let branches = self.strategy == Strategy::Guided && draw(&mut self.choices, self.jobs, 0).below(8) >= 3;
        let picked = if branches { self.archive.pick(&mut self.choices, self.jobs) } else { None };
        if let Some((cell, from)) = picked {
            let choices = &mut self.choices;
            let length = LENGTHS.get(draw(choices, self.jobs, 3).below(LENGTHS.len() as u64 + 1) as usize).copied();
            let salt = 1 + draw(choices, self.jobs, 4).below(1_000_000);
            let (kind, which) = (draw(choices, self.jobs, 5).below(8), draw(choices, self.jobs, 6));
            return Some(Job::branch(cell, from, salt, job::redrawn(kind, which), length));
        }
        let (start, is_story) = match self.stories.pop() {
            Some(story) => (story, true),
            None => (self.next_swarm()?, false),
        };
        let scenario = Arc::clone(self.starts.get(start)?.scenario());
        let seed = if is_story { 0 } else { self.next_seed(start, &scenario) };
        Some(Job::fresh(scenario, seed))
    }

    /// The swarms take turns.
    fn next_swarm(&mut self) -> Option<usize> {
        self.fresh += 1;
        let turn = self.fresh as usize % self.swarms.len().max(1);
        self.swarms.get(turn).copied()
    }

    fn next_seed(&mut self, start: usize, scenario: &Scenario) -> u64 {
        let Some(seed) = self.seeds.get_mut(start) else { return 0 };
        let (next, chosen) = match self.strategy {
            Strategy::Random => (*seed + 1, *seed),
            Strategy::Directed | Strategy::Guided => self.directed.seed(scenario, *seed),
        };
        *seed = next;
        chosen
    }

    /// Executes a job with what the rounds before have found.
    pub fn execute(&self, job: &Job) -> Done {
        job.execute(&self.archive, self.strategy == Strategy::Guided)
    }

    /// Adds the result of a job of the newest round; call it in the order of the jobs. Returns its find.
    pub fn merge(&mut self, job: &Job, done: Done) -> Option<Find> {
        let Done { events, reached, kept, find, hash, is_open } = done;
        self.totals.inconclusive += u64::from(is_open);
        self.hash.update(&hash.to_le_bytes());
        self.totals.events += events;
        if job.fresh_run().is_some() {
            self.totals.runs += 1
        } else {
            self.totals.branches += 1
        }
        let marks = reached.iter().filter_map(Cell::mark);
        if let Some((scenario, seed)) = job.fresh_run() {
            self.directed.learn(scenario, seed, marks.clone().collect());
        }
        marks.for_each(|mark| *self.totals.marks.entry(mark).or_default() += 1);
        // What only a story without branches has reached stays new, because none of its states is kept.
        if !job.is_alone() {
            self.archive.merge(job.cell(), &reached, kept);
        }
        if self.totals.events >= self.budget / 10 * 9 {
            self.cells_before_last_tenth.get_or_insert(self.archive.count());
        }
        find
    }

    /// The hash over the trace hashes of all jobs.
    pub fn hash(&self) -> u128 {
        self.hash.digest128()
    }

    pub fn totals(&self) -> Totals {
        let late_cells = self.cells_before_last_tenth.map_or(0, |before| self.archive.count() - before);
        Totals { cells: self.archive.counts(), late_cells, ..self.totals.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, swarm};
    use std::path::Path;

    fn small(strategy: Strategy, seed: u64) -> Search {
        let mut scenario = swarm(3);
        scenario.duration = ms(3_000);
        scenario.swarm.iter_mut().for_each(|swarm| swarm.heal_at = ms(2_900));
        scenario.expect.heals_within = None;
        Search::new(starts(vec![scenario]), strategy, seed, 60_000)
    }

    fn run(search: &mut Search, backwards: bool) -> (Totals, u128) {
        loop {
            let jobs = search.round();
            if jobs.is_empty() {
                return (search.totals(), search.hash());
            }
            let mut done: Vec<(usize, Done)> = Vec::new();
            let mut order: Vec<usize> = (0..jobs.len()).collect();
            if backwards {
                order.reverse();
            }
            order.into_iter().for_each(|place| done.push((place, search.execute(&jobs[place]))));
            done.sort_by_key(|(place, _)| *place);
            for (place, done) in done {
                assert_eq!(search.merge(&jobs[place], done), None);
            }
        }
    }

    #[test]
    fn a_search_is_a_function_of_seed_and_budget() {
        let first = run(&mut small(Strategy::Guided, 1), false);
        assert_eq!(first, run(&mut small(Strategy::Guided, 1), true), "the order of execution changes nothing");
        assert_ne!(first, run(&mut small(Strategy::Guided, 2), false));
        let totals = first.0;
        assert!(totals.events >= 60_000 && totals.runs > 0 && totals.branches > 0, "{totals:?}");
        assert!(totals.cells.iter().all(|cells| *cells > 20), "{totals:?}");
        let (random, _) = run(&mut small(Strategy::Random, 1), false);
        assert_eq!((random.branches, random.cells[2] > 20), (0, true), "{random:?}");
    }

    #[test]
    fn a_find_is_a_run_that_anybody_can_repeat() {
        let mut scenario = swarm(3);
        scenario.expect.heals_within = Some(1);
        let mut search = Search::new(starts(vec![scenario]), Strategy::Guided, 1, 3_000_000);
        let mut jobs = search.round().into_iter();
        let find = loop {
            let job = jobs.next().expect("no majority heals within one election timeout");
            let done = search.execute(&job);
            if let Some(find) = search.merge(&job, done) {
                break find;
            }
        };
        let again = crate::run::run(&find.scenario, find.seed, &mut ());
        assert_eq!((find.property, again.failures.first()), (EXPECTATION, Some(&find.message)));
    }

    #[test]
    fn the_sites_of_branches_exist() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![sources];
        let mut text = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry)
                } else {
                    text += &std::fs::read_to_string(entry).expect("a source")
                }
            }
        }
        for site in SITES {
            assert!(text.contains(&format!("Site::new(\"{site}\")")), "{site}");
        }
    }
}
