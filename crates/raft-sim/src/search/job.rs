//! One run of a search: from its beginning, or from a kept state with other choices.

use super::SITES;
use super::archive::{Archive, Cell};
use crate::branch::{Branch, Branches};
use crate::coverage::AbstractState;
use crate::faults::with_drawn_nodes;
use crate::record::Record;
use crate::rng::{Draw, Redrawn};
use crate::run::{MAX_EVENTS, PANIC, RunChecker, RunResult, Sink};
use crate::scenario::model::Scenario;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many states a job keeps.
const MOST_KEPT: usize = 48;
/// The property of a failed expectation, for example that a majority heals in time.
pub const EXPECTATION: &str = "expectation";

/// A mark that a run reaches more often than this says little in a pair.
const OFTEN: u32 = 4;

/// A run, up to some event: what a search keeps of it.
#[derive(Clone)]
pub struct Running {
    scenario: Arc<Scenario>,
    /// The scenario with the number of nodes of this seed.
    drawn: Arc<Scenario>,
    seed: u64,
    branches: Vec<Branch>,
    world: World,
    checker: RunChecker,
    watcher: Watcher,
}

/// What a run has reached.
#[derive(Clone, Default)]
struct Watcher {
    state: AbstractState,
    /// The newest abstract state, unless it is a known one.
    changed: Option<u64>,
    newest_mark: Option<&'static str>,
    marks: BTreeMap<&'static str, u32>,
}

impl Sink for Watcher {
    fn record(&mut self, record: &Record) {
        self.changed = self.state.observe(record).or(self.changed);
    }
}

impl Watcher {
    /// The cells of the last event.
    fn cells(&mut self, marks: Vec<&'static str>, into: &mut Vec<Cell>) {
        into.extend(self.changed.take().map(Cell::State));
        for mark in marks {
            let times = self.marks.entry(mark).or_default();
            *times += 1;
            if *times == 1 {
                into.push(Cell::Mark(mark));
            }
            if *times <= OFTEN {
                let before = self.newest_mark.replace(mark).filter(|before| *before != mark);
                into.extend(before.map(|before| Cell::Pair(before, mark)));
            }
        }
    }
}

/// A failed check, and the run that shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    /// The scenario with the branches of the run.
    pub scenario: Scenario,
    pub seed: u64,
    pub property: &'static str,
    pub message: String,
    /// The numbers of the events that contradict each other.
    pub facts: Vec<u64>,
}

/// The result of a job.
pub struct Done {
    /// How many records it has checked.
    pub(super) events: u64,
    pub(super) reached: BTreeSet<Cell>,
    /// The states that were the first in cells that no job before had reached.
    pub(super) kept: Vec<(Cell, Arc<Running>)>,
    pub(super) find: Option<Find>,
    /// The trace hash, as far as the run went.
    pub(super) hash: u128,
    /// Whether a check of its end exceeded its budget.
    pub(super) is_open: bool,
}

/// The result of the checks at the end of a run.
struct End {
    find: Option<Find>,
    hash: u128,
    is_open: bool,
}

/// A run to make.
pub struct Job(Kind);

enum Kind {
    Fresh { scenario: Arc<Scenario>, seed: u64 },
    Branch { cell: Cell, from: Arc<Running>, salt: u64, redrawn: Redrawn, length: Option<u64> },
}

/// What a branch redraws: mostly everything.
pub(super) fn redrawn(kind: u64, which: Draw) -> Redrawn {
    match kind {
        0 => which.pick(&SITES).map_or(Redrawn::All, |site| Redrawn::Site(site.to_owned())),
        1 => Redrawn::Single(1 + which.below(64)),
        _ => Redrawn::All,
    }
}

impl Job {
    pub(super) const fn fresh(scenario: Arc<Scenario>, seed: u64) -> Self {
        Self(Kind::Fresh { scenario, seed })
    }

    pub(super) const fn branch(
        cell: Cell,
        from: Arc<Running>,
        salt: u64,
        redrawn: Redrawn,
        length: Option<u64>,
    ) -> Self {
        Self(Kind::Branch { cell, from, salt, redrawn, length })
    }

    /// The scenario and seed of a run from its beginning.
    pub(super) const fn fresh_run(&self) -> Option<(&Arc<Scenario>, u64)> {
        match &self.0 {
            Kind::Fresh { scenario, seed } => Some((scenario, *seed)),
            Kind::Branch { .. } => None,
        }
    }

    /// Whether it runs a story that has no branches.
    pub(super) fn is_alone(&self) -> bool {
        self.fresh_run().is_some_and(|(scenario, _)| scenario.swarm.is_none())
    }

    /// The cell of its branch.
    pub(super) const fn cell(&self) -> Option<Cell> {
        match &self.0 {
            Kind::Fresh { .. } => None,
            Kind::Branch { cell, .. } => Some(*cell),
        }
    }

    /// The scenario and the seed of its run, and the branches.
    fn recipe(&self) -> (&Arc<Scenario>, u64, Vec<Branch>) {
        match &self.0 {
            Kind::Fresh { scenario, seed } => (scenario, *seed, Vec::new()),
            Kind::Branch { from, salt, redrawn, .. } => {
                let mut branches = from.branches.clone();
                branches.push(Branch { event: from.checker.events(), salt: *salt, redrawn: redrawn.clone() });
                (&from.scenario, from.seed, branches)
            }
        }
    }

    /// The find of a job that panicked outside of the events of its run.
    pub fn panicked(&self, message: String) -> Find {
        let (scenario, seed, branches) = self.recipe();
        let scenario = Scenario { branches: Branches(branches), ..Scenario::clone(scenario) };
        Find { scenario, seed, property: PANIC, message, facts: Vec::new() }
    }

    fn begin(&self) -> (Running, u64) {
        let (scenario, seed, branches) = self.recipe();
        match &self.0 {
            Kind::Fresh { .. } => {
                let scenario = Arc::clone(scenario);
                let drawn = Arc::new(with_drawn_nodes(&scenario, seed).into_owned());
                let (world, mut checker) = (World::new(&drawn, seed), RunChecker::new(&drawn));
                checker.take_new_marks();
                let watcher = Watcher::default();
                (Running { scenario, drawn, seed, branches, world, checker, watcher }, u64::MAX)
            }
            Kind::Branch { from, length, .. } => {
                let mut running = Running { branches, ..Running::clone(from) };
                running.branches.last().into_iter().for_each(|branch| running.world.branch(branch));
                let event = running.checker.events();
                (running, length.map_or(u64::MAX, |length| event + length))
            }
        }
    }

    /// Makes the run; `keeps` says whether it keeps states for branches.
    pub(super) fn execute(&self, archive: &Archive, keeps: bool) -> Done {
        let (mut running, until) = self.begin();
        let keeps = keeps && !self.is_alone();
        let first = running.checker.events();
        let (mut reached, mut kept) = (BTreeSet::new(), Vec::new());
        let (mut memory, mut cells) = (Vec::new(), Vec::new());
        let mut goes_on = true;
        while goes_on && running.checker.events() < until.min(MAX_EVENTS) {
            let Running { checker, world, watcher, .. } = &mut running;
            goes_on = checker.guard(|checker| checker.advance(world, watcher, &mut memory)).unwrap_or(false);
            watcher.cells(checker.take_new_marks(), &mut cells);
            let new = |cell: &Cell| reached.insert(*cell) && !archive.knows(cell);
            let new: Vec<Cell> = cells.drain(..).filter(new).collect();
            if keeps && goes_on && !new.is_empty() && kept.len() < MOST_KEPT {
                let state = Arc::new(running.clone());
                kept.extend(new.into_iter().map(|cell| (cell, Arc::clone(&state))));
            }
        }
        let events = running.checker.events() - first;
        // A run without end is over, too: that is a failure.
        let is_over = !goes_on || running.checker.events() >= MAX_EVENTS;
        let cut = End { find: None, hash: running.checker.hash(), is_open: false };
        let End { find, hash, is_open } = if is_over { running.end() } else { cut };
        Done { events, reached, kept, hash, find, is_open }
    }
}

impl Running {
    /// Follows a run, and visits its state after each so many events.
    pub fn visit(scenario: &Scenario, seed: u64, every: u64, mut visit: impl FnMut(&Self)) {
        let (mut running, _) = Job::fresh(Arc::new(scenario.clone()), seed).begin();
        let (mut memory, mut next) = (Vec::new(), every);
        while running.checker.events() < MAX_EVENTS && running.checker.advance(&mut running.world, &mut (), &mut memory)
        {
            if running.checker.events() >= next {
                visit(&running);
                next += every;
            }
        }
    }

    /// Makes the checks of the end of a run.
    fn end(mut self) -> End {
        let mut scenario = Scenario::clone(&self.scenario);
        let mut checker = self.checker;
        let world = checker.guard(|checker| {
            checker.follow(&mut self.world, &mut (), MAX_EVENTS);
            self.world
        });
        let RunResult { violation, failures, hash, inconclusive, .. } =
            checker.into_result(&self.drawn, world.as_ref());
        let is_story = scenario.swarm.as_ref().is_none_or(|swarm| swarm.after_branch);
        let failure = failures.into_iter().next().filter(|_| !is_story);
        let failed = match (violation, failure) {
            (Some(violation), _) => Some((violation.property, violation.message, violation.facts)),
            (None, failure) => failure.map(|failure| (EXPECTATION, failure, Vec::new())),
        };
        scenario.branches = Branches(self.branches);
        let seed = self.seed;
        let find = failed.map(|(property, message, facts)| Find { scenario, seed, property, message, facts });
        End { find, hash, is_open: inconclusive.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CrashKind;
    use crate::run::run;
    use crate::scenario::model::{Keep, StepAction, Targets};
    use crate::testing::{at, ms, quiet, swarm};

    /// The state of a run of this scenario after so many records.
    fn reached(scenario: &Scenario, events: u64) -> Arc<Running> {
        let (mut running, _) = Job::fresh(Arc::new(scenario.clone()), 5).begin();
        while running.checker.events() < events {
            let Running { checker, world, watcher, .. } = &mut running;
            assert!(checker.advance(world, watcher, &mut Vec::new()));
        }
        Arc::new(running)
    }

    fn branch(from: &Arc<Running>, redrawn: Redrawn) -> (u128, Branches) {
        let event = from.checker.events();
        let job = Job::branch(Cell::State(0), Arc::clone(from), 3, redrawn.clone(), None);
        let mut branches = from.branches.clone();
        branches.push(Branch { event, salt: 3, redrawn });
        let done = job.execute(&Archive::default(), false);
        assert_eq!(done.find, None);
        (done.hash, Branches(branches))
    }

    #[test]
    fn the_recipe_of_a_branch_repeats_it() {
        let scenario = swarm(3);
        let from = reached(&scenario, 4_000);
        let again = |branches| run(&Scenario { branches, ..scenario.clone() }, 5, &mut ()).hash;
        let mut hashes = BTreeSet::from([again(Branches::default())]);
        let mut repeated = |redrawn| {
            let (hash, branches) = branch(&from, redrawn);
            assert_eq!(hash, again(branches.clone()), "{branches}");
            hashes.insert(hash)
        };
        assert!(repeated(Redrawn::All) && repeated(Redrawn::Site("delay".into())));
        let job = Job::branch(Cell::State(0), Arc::clone(&from), 3, Redrawn::All, None);
        let find = job.panicked("a panic".to_owned());
        assert_eq!(
            (find.property, find.scenario.branches.to_string()),
            (PANIC, format!("{}:3", from.checker.events()))
        );
        // Some choices have the same outcome again.
        assert!((1..8).any(|number| repeated(Redrawn::Single(number))));
    }

    #[test]
    fn the_faults_of_a_story_begin_at_its_branch() {
        let mut story = quiet(3, ms(2_000));
        story.steps = vec![at(500, StepAction::Pause { nodes: Targets::All })];
        let start = &super::super::starts(vec![story])[0];
        let plain = run(start.scenario(), 5, &mut ());
        let injected: Vec<&str> =
            plain.faults.iter().filter(|(_, count)| count.injected).map(|(name, _)| *name).collect();
        assert_eq!(injected, ["pause"]);
        let (hash, branches) = branch(&reached(start.scenario(), 60), Redrawn::All);
        let again = run(&Scenario { branches, ..Scenario::clone(start.scenario()) }, 5, &mut ());
        assert_eq!((hash, again.violation), (again.hash, None));
        assert!(again.faults.values().filter(|count| count.injected).count() > 2, "{:?}", again.faults);
    }

    #[test]
    fn a_story_that_loses_durable_data_has_no_branches() {
        let story = |action| Scenario { steps: vec![at(500, action)], ..quiet(3, ms(2_000)) };
        let wipe =
            StepAction::Crash { nodes: Targets::All, crash: CrashKind::DiskLoss, after: None, keep: Keep::Random };
        let pause = StepAction::Pause { nodes: Targets::All };
        let starts = super::super::starts(vec![story(wipe), story(pause)]);
        let kept = |place: usize| {
            let job = Job::fresh(Arc::clone(starts[place].scenario()), 5);
            let done = job.execute(&Archive::default(), true);
            assert!(starts[place].is_story() && !done.reached.is_empty());
            (job.is_alone(), done.kept.is_empty())
        };
        assert_eq!((kept(0), kept(1)), ((false, false), (true, true)), "the story that loses data comes last");
    }
}
