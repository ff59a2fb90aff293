//! Makes a failing run small, until a person can read it as a story.
//!
//! First it writes the run down without a draw where it can: each fault at its time, each operation of a client, each message that
//! a random fault met (`script`). Then it leaves out what it can, and keeps a candidate iff the same check fails with the same
//! words (numbers aside). Every candidate is a scenario and a seed, so the smallest one is a file that anybody can run.
//!
//! A swarm does only what Raft promises to survive. Its rules hold for the steps of a candidate, too: a damaged disk that no
//! quorum could spare stays sound, a node whose disk is lost does not start again. So no candidate fails for a fault that the
//! swarm would not have drawn.

mod minimize;
mod script;

use crate::record::CrashKind;
use crate::run::{RunResult, run};
use crate::scenario::defaults;
use crate::scenario::model::{
    ClientModel, Expectations, Fate, Invocation, MessagePlace, NetworkModel, NodeSettings, Scenario, Step, StepAction,
    Trigger,
};
use crate::scenario::parse::{Recorded, parse};
use crate::scenario::write::write;
use minimize::minimize;
use raft_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The default budget, in events of candidates: about a minute.
pub const BUDGET: u64 = 8_000_000;

/// A failing run that was made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub scenario: Scenario,
    pub seed: u64,
    /// The result of its run.
    pub result: RunResult,
    /// How many candidates ran.
    pub candidates: u64,
    /// How many events they had.
    pub spent: u64,
}

impl Shrunk {
    /// The number of lines of the story: faults, operations of clients, messages that met a fault.
    pub fn lines(&self) -> usize {
        let operations = match &self.scenario.clients.operations {
            Some(operations) => operations.len(),
            None => self.result.history.len(),
        };
        self.scenario.steps.len() + operations + self.scenario.messages.as_ref().map_or(0, BTreeMap::len)
    }
}

/// The check that has to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Goal {
    property: String,
    words: String,
}

impl Goal {
    /// The check that failed in this run, if one did.
    fn of(result: &RunResult) -> Option<Self> {
        if let Some(violation) = &result.violation {
            return Some(Self { property: violation.property.to_owned(), words: without_numbers(&violation.message) });
        }
        let failure = result.failures.first()?;
        Some(Self { property: String::new(), words: without_numbers(failure) })
    }
}

fn without_numbers(words: &str) -> String {
    let mut text: String = words.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    while text.contains("00") {
        text = text.replace("00", "0");
    }
    text
}

/// Makes a failing run small, with candidates of at most about `budget` events in all. `None` if the run does not fail, or is one of
/// an enumeration.
pub fn shrink(scenario: &Scenario, seed: u64, budget: u64) -> Option<Shrunk> {
    if scenario.enumerate.is_some() {
        return None;
    }
    let result = run(scenario, seed, &mut ());
    let goal = Goal::of(&result)?;
    let mut shrinker =
        Shrinker { goal, best: Shrunk { scenario: scenario.clone(), seed, result, candidates: 0, spent: 0 }, budget };
    shrinker.shrink();
    Some(shrinker.best)
}

struct Shrinker {
    goal: Goal,
    best: Shrunk,
    budget: u64,
}

impl Shrinker {
    fn shrink(&mut self) {
        self.keep_only_the_goal();
        let written = script::script(&self.best.scenario, self.best.seed, self.best.result.events);
        self.accept(written);
        self.end_with_the_failure();
        self.network();
        loop {
            let before = (self.best.lines(), self.size());
            self.steps();
            self.messages();
            self.operations();
            self.links();
            self.settings();
            self.nodes();
            self.end_with_the_failure();
            if self.is_spent() || (self.best.lines(), self.size()) >= before {
                break;
            }
        }
        self.times();
        self.name();
    }

    /// Says what the small run shows.
    fn name(&mut self) {
        let Shrunk { scenario, seed, result, .. } = &mut self.best;
        let violated =
            result.violation.as_ref().map(|violation| format!("{}: {}", violation.property, violation.message));
        scenario.title = violated.or_else(|| result.failures.first().cloned()).unwrap_or_default();
        scenario.story = format!("A small run that fails like {} with seed {seed}.", scenario.name);
        "raft-sim shrink".clone_into(&mut scenario.source);
    }

    fn is_spent(&self) -> bool {
        self.best.spent >= self.budget
    }

    /// The size of the file, to see progress that no line shows.
    fn size(&self) -> usize {
        let recorded = Recorded { scenario: String::new(), seed: 0, hash: None, property: None, build: None };
        write(&self.best.scenario, &recorded).map_or(usize::MAX, |text| text.len())
    }

    /// Whether this candidate, read from its file, fails as the run did. If so it is the best so far.
    fn accept(&mut self, candidate: Scenario) -> bool {
        if self.is_spent() || candidate == self.best.scenario {
            return false;
        }
        let Ok(candidate) = as_read(&candidate, self.best.seed) else { return false };
        let result = run(&candidate, self.best.seed, &mut ());
        self.best.candidates += 1;
        self.best.spent += result.events;
        let fails = Goal::of(&result).as_ref() == Some(&self.goal);
        if fails {
            (self.best.scenario, self.best.result) = (candidate, result);
        }
        fails
    }

    fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.scenario.clone();
        change(&mut candidate);
        self.accept(candidate)
    }

    /// Of the expectations only the one that failed matters. A violated property needs none.
    fn keep_only_the_goal(&mut self) {
        let scenario = &mut self.best.scenario;
        if self.best.result.violation.is_some() {
            scenario.expect = Expectations::default();
        }
        scenario.expect.sometimes.clear();
        scenario.expect.never.clear();
    }

    /// Nothing after the failure matters.
    fn end_with_the_failure(&mut self) {
        if self.best.result.violation.is_none() {
            return;
        }
        let end = rounded(self.best.result.simulated, MILLISECOND) + MILLISECOND;
        self.change(|candidate| {
            candidate.duration = end;
            candidate.steps.retain(|step| !matches!(step.trigger, Trigger::At(at) if at > end));
            candidate.swarm.iter_mut().for_each(|swarm| swarm.heal_at = swarm.heal_at.min(end - MILLISECOND / 2));
        });
        let operations = self.best.result.simulated;
        self.change(|candidate| {
            candidate.clients.operations.iter_mut().for_each(|all| all.retain(|operation| operation.at < operations));
        });
    }

    fn steps(&mut self) {
        let steps = self.best.scenario.steps.clone();
        let kept = minimize(&steps, |some: &[Step]| self.change(|candidate| candidate.steps = some.to_vec()));
        // Each node of a step, and its end.
        for place in 0..kept.len() {
            self.change(|candidate| {
                candidate.steps.get_mut(place).into_iter().for_each(|step| *step = step.clone().for_good());
            });
        }
    }

    fn messages(&mut self) {
        let Some(fates) = self.best.scenario.messages.clone() else { return };
        let fates: Vec<(MessagePlace, Fate)> = fates.into_iter().collect();
        minimize(&fates, |some| self.change(|candidate| candidate.messages = Some(some.iter().copied().collect())));
    }

    /// The links as drawn become those of the scenario, without the random faults that the listed messages replace.
    fn network(&mut self) {
        let step = self.best.scenario.steps.iter().position(|step| matches!(step.action, StepAction::Network(_)));
        if let Some(place) = step {
            self.change(|candidate| {
                if let StepAction::Network(model) = candidate.steps.remove(place).action {
                    candidate.network = model;
                }
            });
        }
        if self.best.scenario.messages.is_some() {
            let usual = NetworkModel::default();
            self.change(|candidate| {
                each_network(candidate, |network| {
                    (network.loss_ppm, network.duplicate_ppm, network.reorder_ppm, network.late_ppm) = (0, 0, 0, 0);
                    network.snapshot_loss_ppm = 0;
                    network.duplicate_delay = usual.duplicate_delay.clone();
                    network.reorder_delay = usual.reorder_delay.clone();
                    network.late_delay = usual.late_delay.clone();
                });
            });
        }
    }

    /// Links become as fast as the others, one after the other.
    fn links(&mut self) {
        if self.best.scenario.messages.as_ref().is_some_and(BTreeMap::is_empty) {
            self.change(|candidate| candidate.messages = None);
        }
        let changes: [fn(&mut NetworkModel); 4] = [
            |network| {
                network.delay = MILLISECOND..MILLISECOND;
                network.delay_of.clear();
            },
            |network| network.delay_of.clear(),
            |network| (network.priority_wait, network.priority_change) = (Duration::ZERO, Duration::ZERO),
            |network| network.unreachable_ppm = 0,
        ];
        for change in changes {
            self.change(|candidate| each_network(candidate, change));
        }
        let mut links = BTreeSet::new();
        each_network(&mut self.best.scenario.clone(), |network| links.extend(network.delay_of.keys().copied()));
        for link in links {
            self.change(|candidate| {
                each_network(candidate, |network| network.delay_of.retain(|other, _| *other != link))
            });
        }
    }

    fn operations(&mut self) {
        self.change(|candidate| candidate.clients.watchers = 0);
        match self.best.scenario.clients.operations.clone() {
            None => {
                self.change(|candidate| candidate.clients.count = 0);
            }
            Some(operations) => {
                minimize(&operations, |some: &[Invocation]| {
                    self.change(|candidate| candidate.clients.operations = Some(some.to_vec()))
                });
                let last = self.best.scenario.clients.operations.iter().flatten().map(|one| one.client).max();
                self.change(|candidate| candidate.clients.count = last.unwrap_or(0));
            }
        }
        self.change(|candidate| candidate.clients.open = 1);
    }

    /// Settings that the failure does not need become the usual ones.
    fn settings(&mut self) {
        self.change(|candidate| candidate.raft.of.clear());
        for node in self.best.scenario.raft.of.clone().into_keys() {
            self.change(|candidate| candidate.raft.of.retain(|other, _| *other != node));
            for name in NodeSettings::NAMES {
                self.change(|candidate| {
                    let is_left = |own: &mut NodeSettings| own.drop(name);
                    if candidate.raft.of.get_mut(&node).is_some_and(is_left) {
                        candidate.raft.of.retain(|_, own| *own != NodeSettings::default());
                    }
                });
            }
        }
        let usual = defaults::scenario("", "");
        type Simplify = fn(&mut Scenario, &Scenario);
        let changes: [Simplify; 17] = [
            // Without a swarm nothing keeps the faults within what Raft survives.
            |candidate, _| {
                if !candidate.steps.iter().any(|step| step.action.breaks_promises()) {
                    candidate.swarm = None;
                }
            },
            |candidate, _| candidate.founders = None,
            |candidate, usual| {
                let ClientModel { count, open, operations, .. } = candidate.clients.clone();
                candidate.clients = ClientModel { count, open, operations, ..usual.clients.clone() };
            },
            |candidate, usual| {
                let clients = &usual.clients;
                (candidate.clients.ttl_ppm, candidate.clients.ttl) = (clients.ttl_ppm, clients.ttl.clone());
            },
            |candidate, usual| candidate.clients.reads = usual.clients.reads,
            |candidate, usual| candidate.clients.retry_after = usual.clients.retry_after,
            |candidate, usual| candidate.clients.retry_expired = usual.clients.retry_expired,
            |candidate, usual| candidate.clients.keys = usual.clients.keys,
            |candidate, usual| {
                let of = std::mem::take(&mut candidate.raft.of);
                candidate.raft = usual.raft.clone();
                candidate.raft.of = of;
            },
            |candidate, usual| candidate.process = usual.process.clone(),
            |candidate, usual| candidate.disk = usual.disk.clone(),
            |candidate, usual| candidate.network = usual.network.clone(),
            |candidate, _| candidate.disk.latency = MILLISECOND..MILLISECOND,
            |candidate, usual| candidate.clients.mix = usual.clients.mix,
            |candidate, _| candidate.raft.lease_reads = false,
            |candidate, usual| {
                let raft = &usual.raft;
                candidate.raft.max_forwarded_requests = raft.max_forwarded_requests;
                candidate.raft.max_forwarded_bytes = raft.max_forwarded_bytes;
            },
            |candidate, usual| {
                let raft = &usual.raft;
                (candidate.raft.max_sessions, candidate.raft.max_answers) = (raft.max_sessions, raft.max_answers);
            },
        ];
        for change in changes {
            self.change(|candidate| change(candidate, &usual));
        }
    }

    /// The nodes with the highest numbers go first: the numbers of the others stay. A file with a step that names one that is gone
    /// is refused.
    fn nodes(&mut self) {
        while self.best.scenario.nodes > 1 {
            let last = NodeId(self.best.scenario.nodes);
            let goes = self.change(|candidate| {
                candidate.nodes -= 1;
                candidate.founders = candidate.founders.map(|founders| founders.min(candidate.nodes));
                candidate.raft.of.remove(&last);
                candidate.raft.election_timeout_of.remove(&last);
                candidate.raft.priority_of.remove(&last);
                candidate.initial.remove(&last);
                candidate.network.delay_of.retain(|(from, to), _| *from != last && *to != last);
                let is_other = |place: &MessagePlace| place.link.0 != last && place.link.1 != last;
                candidate.messages.iter_mut().for_each(|all| all.retain(|place, _| is_other(place)));
            });
            if !goes {
                break;
            }
        }
    }

    /// Rounds all times, then each.
    fn times(&mut self) {
        for unit in [100, 10, 1].map(|millis| MILLISECOND * millis) {
            self.change(|candidate| {
                candidate.steps.iter_mut().for_each(|step| *step = step.clone().rounded(unit));
                candidate.clients.operations.iter_mut().flatten().for_each(|one| one.at = rounded(one.at, unit));
            });
            for place in 0..self.best.scenario.steps.len() {
                self.change(|candidate| {
                    candidate.steps.get_mut(place).into_iter().for_each(|step| *step = step.clone().rounded(unit));
                });
            }
            let operations = self.best.scenario.clients.operations.as_ref().map_or(0, Vec::len);
            for place in 0..operations {
                self.change(|candidate| {
                    let one = candidate.clients.operations.iter_mut().flatten().nth(place);
                    one.into_iter().for_each(|one| one.at = rounded(one.at, unit));
                });
            }
        }
        self.end_with_the_failure();
    }
}

/// A candidate as its file reads.
///
/// # Errors
/// The file would be refused.
fn as_read(candidate: &Scenario, seed: u64) -> Result<Scenario, String> {
    let mut candidate = candidate.clone();
    candidate.seeds = seed..seed.saturating_add(1);
    let recorded = Recorded { scenario: candidate.name.clone(), seed, hash: None, property: None, build: None };
    let text = write(&candidate, &recorded).map_err(|error| error.to_string())?;
    let mut read = parse(&candidate.path, text.as_bytes()).map_err(|problems| problems.to_string())?.scenario;
    read.name.clone_from(&candidate.name);
    Ok(read)
}

/// Changes the links of a scenario, and those of its steps.
fn each_network(scenario: &mut Scenario, mut change: impl FnMut(&mut NetworkModel)) {
    change(&mut scenario.network);
    for step in &mut scenario.steps {
        if let (StepAction::Network(model), Trigger::At(time)) = (&step.action, &step.trigger) {
            let mut model = model.clone();
            change(&mut model);
            *step = Step::at(*time, StepAction::Network(model), step.lasts);
        }
    }
}

fn rounded(time: Duration, unit: Duration) -> Duration {
    let (time, unit) = (time.as_nanos(), unit.as_nanos());
    let nanos = (time + unit / 2) / unit * unit;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl StepAction {
    /// Whether a disk breaks a promise, or other members or another cluster follow.
    const fn breaks_promises(&self) -> bool {
        match self {
            Self::Crash { crash, .. } => matches!(crash, CrashKind::DiskLoss | CrashKind::DiskRollback),
            Self::Damage { .. } | Self::Restore { .. } | Self::Recover { .. } | Self::Change { .. } => true,
            _ => false,
        }
    }
}

impl Step {
    /// The same step without an end of its own.
    fn for_good(self) -> Self {
        match self.trigger {
            Trigger::At(time) if self.lasts.is_some() => Self::at(time, self.action, None),
            _ => self,
        }
    }

    /// The same step at a rounded time.
    fn rounded(self, unit: Duration) -> Self {
        match self.trigger {
            Trigger::At(time) => {
                let lasts = self.lasts.map(|lasts| rounded(lasts, unit).max(MILLISECOND));
                Self::at(rounded(time, unit), self.action, lasts)
            }
            Trigger::When { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::profiles::all;
    use raft_core::Term;

    #[test]
    fn a_failing_run_loses_what_its_failure_does_not_need_and_a_passing_one_is_refused() {
        let mut scenario = all(5);
        (scenario.title, scenario.story, scenario.source) = ("title".into(), "story".into(), "source".into());
        assert!(shrink(&scenario, 2, 1_000).is_none(), "it does not fail");
        // Any election fails it.
        scenario.expect = Expectations { max_term: Some(Term(1)), ..Expectations::default() };
        let small = shrink(&scenario, 2, 400_000).expect("a failing run");
        assert!(small.lines() == 0 && small.candidates > 5, "{} lines of {}", small.lines(), small.candidates);
        let again = run(&as_read(&small.scenario, 2).expect("a file"), 2, &mut ());
        assert_eq!(Goal::of(&again), Goal::of(&small.result));
    }

    #[test]
    fn a_script_is_read_as_it_is_written() {
        for seed in 0..60 {
            let mut scenario = all(5);
            scenario.seeds = seed..seed + 1;
            (scenario.title, scenario.story, scenario.source) = ("title".into(), "story".into(), "source".into());
            let mut script = script::script(&scenario, seed, u64::MAX);
            let mut read = as_read(&script, seed).unwrap_or_else(|problems| panic!("seed {seed}: {problems}"));
            for steps in [&mut script.steps, &mut read.steps] {
                steps.iter_mut().for_each(|step| step.form = None);
            }
            let difference = script.steps.iter().zip(&read.steps).find(|(ours, theirs)| ours != theirs);
            assert_eq!(difference, None, "seed {seed}");
            assert_eq!(script, read, "seed {seed}");
        }
    }
}
