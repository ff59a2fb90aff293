//! One run: a world from beginning to end, checked record by record. A pure function of (scenario, seed, build).

use crate::checkers::progress::Progress;
use crate::checkers::{Checkers, End, Healed, Violation};
use crate::enumerate;
use crate::faults::{FaultCount, FaultSet, with_drawn_nodes};
use crate::record::hash::TraceHash;
use crate::record::{NodeView, Record, SimTime};
use crate::scenario::model::Scenario;
use crate::world::{Emission, World};
use raft_check::history::Operation;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The most records of a run. That is far more than any scenario needs; a run that reaches it would not end.
pub const MAX_EVENTS: u64 = 5_000_000;

/// An observer of a run: an explanation, a trace.
pub trait Sink {
    /// Receives the next record.
    fn record(&mut self, record: &Record);

    /// Receives the kinds of faults that strike in the next event, before its records.
    fn struck(&mut self, _: FaultSet) {}
}

impl Sink for () {
    fn record(&mut self, _: &Record) {}
}

impl Sink for Vec<Record> {
    fn record(&mut self, record: &Record) {
        self.push(record.clone());
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunResult {
    pub name: String,
    pub seed: u64,
    pub hash: u128,
    pub events: u64,
    /// How much true time has passed.
    pub simulated: Duration,
    /// The first violation; the run stopped there.
    pub violation: Option<Violation>,
    /// Expectations that were not met, a sentence each.
    pub failures: Vec<String>,
    /// The checks that exceeded their budget.
    pub inconclusive: Option<String>,
    /// How often each `sometimes` mark was reached.
    pub sometimes: BTreeMap<&'static str, u64>,
    pub faults: BTreeMap<&'static str, FaultCount>,
    /// How long after healing the cluster worked again.
    pub heal: Option<Duration>,
    pub history: Vec<Operation>,
    /// The number of executed outcomes of a crash, for an enumerated scenario.
    pub branches: u64,
    /// The crash point and the outcome that failed.
    pub case: Option<(u64, u64)>,
}

impl RunResult {
    const fn held(&self) -> bool {
        self.violation.is_none() && self.failures.is_empty()
    }

    pub(crate) fn empty(name: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), seed, ..Self::default() }
    }
}

/// Runs a scenario with a seed; for an enumerated one, the crash point with that number.
pub fn run(scenario: &Scenario, seed: u64, sink: &mut dyn Sink) -> RunResult {
    if scenario.enumerate.is_some() {
        return enumerate::run_point(scenario, seed, None, sink);
    }
    run_at_most(scenario, seed, sink, MAX_EVENTS)
}

/// The number of nodes of the run with this seed.
pub fn nodes(scenario: &Scenario, seed: u64) -> u64 {
    with_drawn_nodes(scenario, seed).nodes
}

fn run_at_most(scenario: &Scenario, seed: u64, sink: &mut dyn Sink, most: u64) -> RunResult {
    let drawn = with_drawn_nodes(scenario, seed);
    let (scenario, shared) = (&*drawn, Arc::new(drawn.clone().into_owned()));
    let (mut result, _) = check_run(RunChecker::new(scenario), &shared, |checker| {
        let mut world = World::new(&shared, seed);
        checker.follow(&mut world, sink, most);
        world
    });
    result.seed = seed;
    if let Some(panic) = result.violation.as_mut().filter(|violation| violation.property == PANIC) {
        panic.message = format!("seed {seed}: {}", panic.message);
    }
    result
}

/// Checks the run of `follow`; returns the result, and the world at its end. A panic of the production code is a
/// violation, not the end of the campaign.
pub(crate) fn check_run(
    mut checker: RunChecker,
    scenario: &Scenario,
    follow: impl FnOnce(&mut RunChecker) -> World,
) -> (RunResult, Option<World>) {
    let world = checker.guard(follow);
    (checker.into_result(scenario, world.as_ref()), world)
}

pub const PANIC: &str = "no-panic";

/// The checkers of a run, and their state.
#[derive(Clone)]
pub(crate) struct RunChecker {
    checkers: Checkers,
    hash: TraceHash,
    view: Option<Box<NodeView>>,
    /// Whether no record had the current view yet.
    fresh_view: bool,
    events: u64,
    progress: Progress,
    violation: Option<Violation>,
    failures: Vec<String>,
}

impl RunChecker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            checkers: Checkers::new(scenario),
            hash: TraceHash::new(),
            view: None,
            fresh_view: false,
            events: 0,
            progress: Progress::default(),
            violation: None,
            failures: Vec::new(),
        }
    }

    /// Lets one event happen and checks it.
    pub(crate) fn step(&mut self, world: &mut World, sink: &mut dyn Sink) {
        self.advance(world, sink, &mut Vec::new());
    }

    /// Lets one event happen and checks it; `memory` is reused. Returns false after the end of the run, or after a
    /// violation.
    pub(crate) fn advance(&mut self, world: &mut World, sink: &mut dyn Sink, memory: &mut Vec<Emission>) -> bool {
        let goes_on = self.violation.is_none() && world.advance();
        if goes_on {
            tell_struck(world, sink);
            world.take_emissions(memory);
            self.check(memory, world.now(), sink);
        }
        goes_on && self.violation.is_none()
    }

    /// Runs code under test: its panic is a violation, and then there is no result.
    pub(crate) fn guard<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| act(self)));
        outcome
            .map_err(|panic| {
                let message = words(panic.as_ref());
                self.violation = Some(Violation { property: PANIC, message, facts: vec![self.events] });
            })
            .ok()
    }

    /// The trace hash so far.
    pub(crate) fn hash(&self) -> u128 {
        self.hash.value()
    }

    /// The number of records so far.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// The marks since the last call, in order; nothing at the first call.
    pub(crate) fn take_new_marks(&mut self) -> Vec<&'static str> {
        self.checkers.take_new_marks()
    }

    /// Follows a run to its end.
    pub(crate) fn follow(&mut self, world: &mut World, sink: &mut dyn Sink, most: u64) {
        let mut emissions = Vec::new();
        let mut goes_on = true;
        while goes_on && self.violation.is_none() {
            world.take_emissions(&mut emissions);
            self.check(&mut emissions, world.now(), sink);
            if self.events > most {
                self.failures.push(format!("run did not end: {} records by {:?}", self.events, world.now()));
                break;
            }
            goes_on = world.advance();
            tell_struck(world, sink);
        }
        if self.violation.is_none() {
            world.finish();
            tell_struck(world, sink);
            world.take_emissions(&mut emissions);
            self.check(&mut emissions, world.now(), sink);
        }
    }

    fn check(&mut self, emissions: &mut Vec<Emission>, now: SimTime, sink: &mut dyn Sink) {
        for emission in emissions.drain(..) {
            match emission {
                Emission::View(view) => {
                    self.view = view;
                    self.fresh_view = true;
                }
                Emission::Record(mut record) => {
                    self.see(&mut record, sink);
                    if self.violation.is_some() {
                        return;
                    }
                }
                Emission::Expect(expectations) => self.failures.extend(self.checkers.expectations(&expectations, now)),
            }
        }
        self.violation = self.progress.advanced(now, self.events);
    }

    /// The view moves from record to record without a copy.
    fn see(&mut self, record: &mut Record, sink: &mut dyn Sink) {
        record.view = self.view.take();
        self.events = record.number;
        self.hash.add(record, self.fresh_view);
        self.fresh_view = false;
        sink.record(record);
        self.violation = self.checkers.observe(record);
        self.view = record.view.take();
    }

    pub(crate) fn into_result(mut self, scenario: &Scenario, world: Option<&World>) -> RunResult {
        let mut result = RunResult {
            hash: self.hash.value(),
            events: self.events,
            violation: self.violation,
            failures: self.failures,
            ..RunResult::empty(&scenario.name, 0)
        };
        let Some(world) = world else { return result };
        let healed = world.healed();
        let end = End { at: world.now(), history: world.history(), healed: healed.as_ref() };
        result.simulated = Duration::from_nanos(world.now().0);
        result.faults = world.fault_counts().counts();
        let finish = self.checkers.finish(&end);
        result.sometimes = finish.sometimes;
        // After a violation the run is cut short, so its end is not known.
        if result.violation.is_none() {
            result.violation = finish.violation;
            result.failures.extend(finish.failures);
            result.failures.extend(world.unreached_step());
            result.failures.extend(world.unfinished_task());
            result.failures.extend(world.refusals.failures());
            result.failures.extend(world.rebuild_failure());
            result.inconclusive = finish.inconclusive;
            result.heal = finish.heal;
            // Only a cluster that works again can become idle.
            if let (true, Some(_), Some(healed)) = (result.held(), result.heal, &healed) {
                result.violation = never_idle(world, healed);
            }
        }
        result.history = self.checkers.newest_history(world.history());
        result
    }
}

fn tell_struck(world: &mut World, sink: &mut dyn Sink) {
    let struck = world.take_struck();
    if !struck.is_empty() {
        sink.struck(struck);
    }
}

/// The message of a panic.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

fn never_idle(world: &World, healed: &Healed) -> Option<Violation> {
    let outcome = catch_unwind(AssertUnwindSafe(|| world.never_idle(healed)));
    outcome.unwrap_or_else(|panic| {
        let message = format!("after the end of the run: {}", words(panic.as_ref()));
        Some(Violation { property: PANIC, message, facts: Vec::new() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;
    use crate::record::RecordKind;
    use crate::testing::{ms, quiet, swarm};
    use raft_check::history::Status;
    use raft_core::RoleKind;
    use std::collections::BTreeSet;

    #[test]
    fn a_quiet_cluster_elects_one_leader_and_serves_its_clients() {
        let mut records: Vec<Record> = Vec::new();
        let result = run(&quiet(3, ms(3_000)), 1, &mut records);
        assert_eq!((&result.violation, &result.failures), (&None, &Vec::new()));
        let leaders = records.iter().filter_map(|record| record.view.as_ref());
        let terms: BTreeSet<_> = leaders.filter(|view| view.role == RoleKind::Leader).map(|view| view.term).collect();
        assert!(!terms.is_empty() && terms.len() <= 3, "led in terms {terms:?}");
        let ok = result.history.iter().filter(|operation| operation.status == Status::Ok).count();
        assert!(ok > 50, "{ok} of {} operations were ok", result.history.len());
        assert!(result.faults.values().all(|count| !count.injected), "{:?}", result.faults);
        assert!(records.iter().any(|record| matches!(record.kind, RecordKind::Applied { .. })));
        assert_eq!(result.events, records.len() as u64);
        assert_eq!(result.simulated, ms(3_000));
    }

    #[test]
    fn a_run_is_a_function_of_scenario_and_seed() {
        let scenario = swarm(5);
        let first = run(&scenario, 4, &mut ());
        assert_eq!(first, run(&scenario, 4, &mut Vec::new()), "watching changes nothing");
        assert_ne!(first.hash, run(&scenario, 5, &mut ()).hash);
    }

    #[test]
    fn a_copy_of_a_world_goes_on_like_the_original() {
        let scenario = Arc::new(swarm(3));
        let mut world = World::new(&scenario, 9);
        (0..2_000).for_each(|_| assert!(world.advance(), "the run is longer than that"));
        world.take_emissions(&mut Vec::new());
        let mut copy = world.clone();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            assert!(world.advance() && copy.advance());
            world.take_emissions(&mut ours);
            copy.take_emissions(&mut theirs);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn swarm_runs_hold_and_heal_and_their_faults_matter() {
        let mut had_effect = BTreeSet::new();
        let mut retries = 0;
        for seed in 0..30 {
            let result = run(&swarm(3 + 2 * (seed % 2)), seed, &mut ());
            assert_eq!((&result.violation, &result.failures), (&None, &Vec::new()), "seed {seed}");
            assert!(result.heal.is_some(), "seed {seed}");
            had_effect.extend(result.faults.iter().filter(|(_, count)| count.had_effect).map(|(name, _)| *name));
            retries += result.sometimes["client_retry"];
        }
        // Writes of several sectors are rare, and the store never leaves a name unsynced between two calls. Only
        // scenarios lose disks: Raft's guarantees then depend on the other nodes that are up.
        let rare = [Fault::TornWrite, Fault::RenameLost, Fault::DiskWiped];
        for fault in Fault::ALL.iter().copied().filter(|fault| !rare.contains(fault)) {
            assert!(had_effect.contains(fault.name()), "{fault:?} never mattered: {had_effect:?}");
        }
        assert!(retries > 0);
    }

    #[test]
    fn a_run_without_end_is_a_failure() {
        let result = run_at_most(&quiet(3, ms(3_000)), 1, &mut (), 100);
        assert!(result.failures.iter().any(|failure| failure.starts_with("run did not end")), "{:?}", result.failures);
    }

    #[test]
    fn a_panic_is_a_violation() {
        struct Clumsy;
        impl Sink for Clumsy {
            fn record(&mut self, record: &Record) {
                assert!(record.number < 10, "clumsy at {}", record.number);
            }
        }
        let violation = run(&quiet(3, ms(3_000)), 6, &mut Clumsy).violation.expect("a violation");
        assert_eq!((violation.property, violation.message.as_str()), ("no-panic", "seed 6: clumsy at 10"));
        assert_eq!(violation.facts, [10]);
    }
}
