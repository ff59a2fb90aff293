//! Every crash of a scripted run: before, between and after all outputs of every call, and before every call to a disk,
//! each with every outcome of a power loss. It also enumerates every scheduling point, at which one thread could be
//! slower: a node looks into its inbox, or a disk begins a task. So batches are mixed, groups grow and jobs are
//! reordered in every way that one slow thread allows. Each such run continues without a crash, and with each crash of
//! that node while its thread is slow. There are no random choices: the run is that of seed 0.
//!
//! The run is followed to just before the crash, once. Each outcome then continues with a copy of the world and of its
//! checkers, to the end of the scenario. A *point* is a node and a position in the run, or a scheduling point. The
//! outcomes of a position are a kill and every power loss.

use crate::record::{CrashKind, SimTime};
use crate::run::{MAX_EVENTS, RunChecker, RunResult, Sink, check_run};
use crate::scenario::model::{Enumeration, Keep, Scenario};
use crate::world::World;
use crate::world::disk::PowerCase;
use crate::world::host::Armed;
use raft_core::NodeId;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// The seed of the run whose crashes are enumerated.
const SEED: u64 = 0;
/// The outcomes of a crash while a thread is slow have numbers that start at the number of its position times this.
const OUTCOMES: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// After this many events of the run.
    events: u64,
    node: NodeId,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After this many outputs of the call.
    Outputs(u32),
    /// Before the disk call with this number.
    DiskCalls(u32),
}

/// How many points an enumerated scenario has.
pub fn points(scenario: &Scenario) -> u64 {
    let (crashes, delays) = counts(scenario);
    crashes + delays
}

/// How many crash points there are, and how many scheduling points.
fn counts(scenario: &Scenario) -> (u64, u64) {
    let mut world = World::new(&Arc::new(scenario.clone()), SEED);
    let mut crashes = 0;
    walk(&mut world, 0, until(scenario), &mut |_| {
        crashes += 1;
        true
    });
    let is_slow = scenario.enumerate.as_ref().is_some_and(|enumeration| !enumeration.slow_for.is_zero());
    (crashes, if is_slow { world.scheduling.count.saturating_sub(at_start(scenario)) } else { 0 })
}

/// The scheduling points of the first starts of a world: they are over before an enumeration can change them.
fn at_start(scenario: &Scenario) -> u64 {
    World::new(&Arc::new(scenario.clone()), SEED).scheduling.count
}

/// The time until which crashes fire.
fn until(scenario: &Scenario) -> SimTime {
    SimTime(0).after(scenario.enumerate.as_ref().map_or(Duration::ZERO, |enumeration| enumeration.until))
}

/// Follows a world from this event on and shows all crash points in order, as long as `each` wants more.
fn walk(world: &mut World, mut events: u64, until: SimTime, visit: &mut dyn FnMut(Point) -> bool) {
    let mut nothing = Vec::new();
    loop {
        let before = world.counters();
        if world.next_at().is_none_or(|at| at > until) || !world.advance() {
            return;
        }
        world.take_emissions(&mut nothing);
        for (node, (outputs, calls)) in world.counters() {
            let (outputs_before, calls_before) = before.get(&node).copied().unwrap_or_default();
            let new = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
            let outputs = new(outputs, outputs_before);
            let boundaries = if outputs > 0 { 0..outputs + 1 } else { 0..0 };
            let places = boundaries.map(Place::Outputs);
            let places = places.chain((0..new(calls, calls_before)).map(Place::DiskCalls));
            for place in places {
                if !visit(Point { events, node, place }) {
                    return;
                }
            }
        }
        events += 1;
    }
}

/// Runs one point with all its outcomes, or with one of them; it stops at the first failure.
pub fn run_point(scenario: &Scenario, number: u64, only: Option<u64>, sink: &mut dyn Sink) -> RunResult {
    let (crashes, delays) = counts(scenario);
    let mut sum = Sum::new(scenario, number);
    let shared = Arc::new(scenario.clone());
    if number >= crashes + delays {
        sum.result.failures.push(format!("there is no crash point {number}"));
    } else if let Some(delayed) = number.checked_sub(crashes) {
        sum.run_delayed(&shared, at_start(scenario) + delayed + 1, only, sink);
    } else {
        let mut left = number;
        let mut point = None;
        walk(&mut World::new(&shared, SEED), 0, until(scenario), &mut |found| {
            if left == 0 {
                point = Some(found);
            }
            left = left.wrapping_sub(1);
            point.is_none()
        });
        if let Some(point) = point {
            let (mut world, mut checker) = (World::new(&shared, SEED), RunChecker::new(scenario));
            follow(&mut world, &mut checker, point.events, sink);
            sum.all_outcomes((&shared, &world, &checker), point, (0, only), sink);
        }
    }
    sum.into_result()
}

/// Lets this many events happen.
fn follow(world: &mut World, checker: &mut RunChecker, events: u64, sink: &mut dyn Sink) {
    for _ in 0..events {
        checker.step(world, sink);
    }
}

/// The combined result of all branches of a point.
struct Sum {
    hash: Xxh3,
    result: RunResult,
    number: u64,
    restart_after: Duration,
    slow_for: Duration,
}

impl Sum {
    fn new(scenario: &Scenario, number: u64) -> Self {
        let of = |field: fn(&Enumeration) -> Duration| scenario.enumerate.as_ref().map_or(Duration::ZERO, field);
        let (restart_after, slow_for) = (of(|of| of.restart_after), of(|of| of.slow_for));
        Self { hash: Xxh3::new(), result: RunResult::empty(&scenario.name, number), number, restart_after, slow_for }
    }

    /// Runs with this scheduling point delayed, first without a crash, then with each crash of its node meanwhile.
    fn run_delayed(&mut self, scenario: &Arc<Scenario>, number: u64, only: Option<u64>, sink: &mut dyn Sink) {
        let slow = || {
            let mut world = World::new(scenario, SEED);
            world.scheduling.delayed = Some((number, self.slow_for));
            world
        };
        // First advances to the event of the scheduling point.
        let (mut ahead, mut events, mut nothing) = (slow(), 0, Vec::new());
        while ahead.scheduling.node.is_none() && ahead.advance() {
            ahead.take_emissions(&mut nothing);
            events += 1;
        }
        let Some(node) = ahead.scheduling.node else {
            self.result.failures.push(format!("scheduling point {number} was not reached"));
            return;
        };
        let mut points = Vec::new();
        let end = ahead.now().after(self.slow_for);
        walk(&mut ahead, events, end, &mut |point| {
            points.extend((point.node == node).then_some(point));
            true
        });
        let (mut world, mut checker) = (slow(), RunChecker::new(scenario));
        if only.is_none_or(|only| only < OUTCOMES) {
            let (result, _) = check_run(checker.clone(), scenario, |checker| {
                let mut world = world.clone();
                checker.follow(&mut world, sink, MAX_EVENTS);
                world
            });
            self.add(result, 0, format!("{node} is slow at scheduling point {number}"));
        }
        let mut done = 0;
        for (place, point) in (1_u64..).zip(points) {
            follow(&mut world, &mut checker, point.events - done, sink);
            done = point.events;
            let only = only.map(|only| only.checked_sub(place * OUTCOMES));
            let only = match only {
                None => None,
                Some(Some(outcome)) if outcome < OUTCOMES => Some(outcome),
                Some(_) => continue,
            };
            if self.has_failed() {
                return;
            }
            self.all_outcomes((scenario, &world, &checker), point, (place * OUTCOMES, only), sink);
        }
    }

    /// Runs all outcomes of a crash at a point that the world has reached, or one of them.
    fn all_outcomes(
        &mut self,
        (scenario, world, checker): (&Arc<Scenario>, &World, &RunChecker),
        point: Point,
        (first, only): (u64, Option<u64>),
        sink: &mut dyn Sink,
    ) {
        let mut outcome = only.unwrap_or(0);
        loop {
            let outcomes = self.branch((scenario, world, checker), point, (first, outcome), sink);
            if first > 0 && outcomes >= OUTCOMES {
                self.result.failures.push(format!("a crash has {outcomes} outcomes, more than can be numbered"));
            }
            if only.is_some() || outcome >= outcomes || self.has_failed() {
                return;
            }
            outcome += 1;
        }
    }

    fn has_failed(&self) -> bool {
        self.result.violation.is_some() || !self.result.failures.is_empty()
    }

    /// Continues from the point with this outcome. Returns the number of the last possible outcome: 0 is a kill, the
    /// power losses follow.
    fn branch(
        &mut self,
        (scenario, world, checker): (&Arc<Scenario>, &World, &RunChecker),
        point: Point,
        (first, outcome): (u64, u64),
        sink: &mut dyn Sink,
    ) -> u64 {
        let (crash, keep) = match outcome.checked_sub(1) {
            None => (CrashKind::Kill, Keep::Everything),
            Some(case) => (CrashKind::PowerLoss, Keep::Case(case)),
        };
        let after = match point.place {
            Place::Outputs(after) | Place::DiskCalls(after) => after,
        };
        let armed = Armed { after, crash, keep, restart_after: Some(self.restart_after) };
        let mut branch = world.clone();
        branch.on(point.node, |_, host| match point.place {
            Place::Outputs(_) => host.armed = Some(armed),
            Place::DiskCalls(_) => host.arm_disk(armed, false),
        });
        let mut fired = None;
        let (mut result, end) = check_run(checker.clone(), scenario, |checker| {
            let mut branch = branch;
            checker.step(&mut branch, sink);
            fired = branch.hosts.get(&point.node).map(|host| !host.is_armed());
            checker.follow(&mut branch, sink, MAX_EVENTS);
            branch
        });
        if fired == Some(false) && result.violation.is_none() {
            result.failures.push("the crash did not fire".to_owned());
        }
        let case = end.as_ref().and_then(|world| world.power_case.as_ref()).map(PowerCase::to_string);
        let how = match (outcome, case) {
            (0, _) => "is killed".to_owned(),
            (_, case) => format!("loses power, {}", case.unwrap_or_default()),
        };
        let place = match point.place {
            Place::Outputs(after) => format!("after {after} outputs"),
            Place::DiskCalls(after) => format!("after {after} calls to its disk"),
        };
        self.add(result, first + outcome, format!("{} {how} {place} of event {}", point.node, point.events + 1));
        end.map_or(0, |end| end.power_case.as_ref().map_or(1, |case| case.of))
    }

    /// Adds a branch; a failure gets its name.
    fn add(&mut self, result: RunResult, outcome: u64, kind: String) {
        let sum = &mut self.result;
        self.hash.update(&result.hash.to_le_bytes());
        sum.branches += 1;
        sum.events += result.events;
        sum.simulated = sum.simulated.saturating_add(result.simulated);
        sum.heal = sum.heal.max(result.heal);
        for (mark, count) in result.sometimes {
            *sum.sometimes.entry(mark).or_default() += count;
        }
        for (kind, count) in result.faults {
            let known = sum.faults.entry(kind).or_default();
            known.injected |= count.injected;
            known.had_effect |= count.had_effect;
        }
        sum.inconclusive = sum.inconclusive.take().or(result.inconclusive);
        let words = format!("case {}.{outcome}: {kind}", self.number);
        if let Some(mut violation) = result.violation {
            violation.message = format!("{} ({words})", violation.message);
            sum.violation = Some(violation);
        }
        sum.failures.extend(result.failures.into_iter().map(|failure| format!("{failure} ({words})")));
        if sum.violation.is_some() || !sum.failures.is_empty() {
            sum.case = Some((self.number, outcome));
        }
        sum.history = result.history;
    }

    fn into_result(mut self) -> RunResult {
        self.result.hash = self.hash.digest128();
        self.result
    }
}
