//! Every crash of a scripted run: before, between and after all outputs of every call, and before every call to a disk,
//! times all that a power loss can leave. Nothing is drawn: the run is that of seed 0.
//!
//! The run is followed to just before the crash, once; each outcome then goes on with a copy of the world and of its judges,
//! to the end of the scenario. A *point* is a node and a place in the run; its outcomes are a kill, and every power loss.

use crate::disk::PowerCase;
use crate::host::Armed;
use crate::record::{CrashKind, SimTime};
use crate::run::{Judge, MAX_EVENTS, RunResult, Sink, judged};
use crate::scenario::model::{Enumeration, Keep, Scenario};
use crate::world::World;
use raft_core::NodeId;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// The seed of the run whose crashes are enumerated.
const SEED: u64 = 0;

/// Where a crash strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// After how many events of the run.
    events: u64,
    node: NodeId,
    place: Place,
}

/// Where in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After so many outputs of the call.
    Outputs(u32),
    /// Before the disk call that comes after so many.
    DiskCalls(u32),
}

/// How many points an enumerated scenario has.
pub fn points(scenario: &Scenario) -> u64 {
    let mut count = 0;
    each_point(scenario, &mut |_| {
        count += 1;
        true
    });
    count
}

/// Shows all points in order, as long as that is wanted.
fn each_point(scenario: &Scenario, visit: &mut dyn FnMut(Point) -> bool) {
    let scenario = Arc::new(scenario.clone());
    let mut world = World::new(&scenario, SEED);
    let (mut events, mut nothing) = (0, Vec::new());
    let until = scenario.enumerate.as_ref().map_or(Duration::ZERO, |enumeration| enumeration.until);
    loop {
        let before = world.footprints();
        if !world.advance() || world.now() > SimTime(0).after(until) {
            return;
        }
        world.take_emissions(&mut nothing);
        for (node, (outputs, calls)) in world.footprints() {
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

/// Runs one point with all its outcomes, or with one of them; the first that fails ends it.
pub fn run_point(scenario: &Scenario, number: u64, only: Option<u64>, sink: &mut dyn Sink) -> RunResult {
    let mut left = number;
    let mut point = None;
    each_point(scenario, &mut |found| {
        if left == 0 {
            point = Some(found);
        }
        left = left.wrapping_sub(1);
        point.is_none()
    });
    let mut sum = Sum::new(scenario, number);
    let Some(point) = point else {
        sum.result.failures.push(format!("there is no crash point {number}"));
        return sum.into_result();
    };
    let shared = Arc::new(scenario.clone());
    let mut world = World::new(&shared, SEED);
    let mut judge = Judge::new(scenario);
    for _ in 0..point.events {
        judge.step(&mut world, sink);
    }
    let mut outcome = only.unwrap_or(0);
    loop {
        let outcomes = sum.branch(&shared, &world, &judge, point, outcome, sink);
        if only.is_some() || outcome >= outcomes || sum.has_failed() {
            return sum.into_result();
        }
        outcome += 1;
    }
}

/// What all branches of a point came to.
struct Sum {
    hash: Xxh3,
    result: RunResult,
    number: u64,
    restart_after: Duration,
}

impl Sum {
    fn new(scenario: &Scenario, number: u64) -> Self {
        let restart_after =
            scenario.enumerate.as_ref().map_or(Duration::ZERO, |Enumeration { restart_after, .. }| *restart_after);
        Self { hash: Xxh3::new(), result: RunResult::empty(&scenario.name, number), number, restart_after }
    }

    fn has_failed(&self) -> bool {
        self.result.violation.is_some() || !self.result.failures.is_empty()
    }

    /// Goes on from the point with this outcome. Returns the number of the last outcome there is: 0 is a kill, the power
    /// losses follow.
    fn branch(
        &mut self,
        scenario: &Arc<Scenario>,
        world: &World,
        judge: &Judge,
        point: Point,
        outcome: u64,
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
        branch.arm_now(point.node, armed, matches!(point.place, Place::DiskCalls(_)));
        let mut struck = None;
        let (mut result, end) = judged(judge.clone(), scenario, |judge| {
            let mut branch = branch;
            judge.step(&mut branch, sink);
            struck = Some(!branch.is_armed(point.node));
            judge.follow(&mut branch, sink, MAX_EVENTS);
            branch
        });
        if struck == Some(false) && result.violation.is_none() {
            result.failures.push("the crash did not come to strike".to_owned());
        }
        let case = end.as_ref().and_then(World::power_case).map(PowerCase::to_string);
        self.add(result, point, outcome, case);
        end.map_or(0, |end| end.power_case().map_or(1, |case| case.of))
    }

    fn add(&mut self, result: RunResult, point: Point, outcome: u64, case: Option<String>) {
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
            known.mattered |= count.mattered;
        }
        sum.inconclusive = sum.inconclusive.take().or(result.inconclusive);
        let how = match (outcome, case) {
            (0, _) => "is killed".to_owned(),
            (_, case) => format!("loses power, {}", case.unwrap_or_default()),
        };
        let place = match point.place {
            Place::Outputs(after) => format!("after {after} outputs"),
            Place::DiskCalls(after) => format!("after {after} calls to its disk"),
        };
        let words =
            format!("case {}.{outcome}: {} {how} {place} of event {}", self.number, point.node, point.events + 1);
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
