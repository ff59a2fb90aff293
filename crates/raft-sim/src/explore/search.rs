//! The search: breadth first, so the first violation is the nearest one.
//!
//! The frontier holds states, not paths: a state is 24 to 60 bytes, since its parts are in the pool, and no step is taken
//! again. A path is found when it is needed: each visited state knows the number of the state before it, and the path is
//! walked again from the beginning.

use super::ghost::Ghost;
use super::pool::Pool;
use super::script::{self, Line};
use super::state::{State, Used};
use super::successors::Step;
use super::table::{Blocks, Table};
use super::{Broken, End, Figures, Limits, heal};
use crate::checkers::Violation;
use std::collections::VecDeque;

pub(super) struct Search<'a> {
    limits: &'a Limits,
    pool: Pool,
    /// The steps of the path before the first state.
    prefix: Vec<Line>,
    first: State,
    found: Found,
    figures: Figures,
}

/// The states found.
struct Found {
    visited: Table,
    /// The number of the state before each one.
    parents: Blocks<u32>,
    frontier: Frontier,
    healed: u64,
}

/// States in order of insertion, as words.
#[derive(Default)]
struct Frontier {
    blocks: VecDeque<Vec<u32>>,
    /// The words of the first block that are taken.
    taken: usize,
    states: u64,
}

/// A step from a state that breaks a property.
struct Failure {
    step: Step,
    violation: Violation,
}

const BLOCK: usize = 1 << 16;
/// States between two questions to the caller.
const PAUSE: u64 = 1 << 12;

impl Frontier {
    fn push(&mut self, state: &State) {
        if self.blocks.back().is_none_or(|block| block.len() + 64 > BLOCK) {
            self.blocks.push_back(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.back_mut() {
            state.encode(block);
        }
        self.states += 1;
    }

    fn pop(&mut self, nodes: usize) -> Option<State> {
        if self.blocks.front().is_some_and(|block| self.taken == block.len()) {
            self.blocks.pop_front();
            self.taken = 0;
        }
        let block = self.blocks.front()?;
        let (state, length) = State::decode(&block[self.taken..], nodes);
        self.taken += length;
        self.states -= 1;
        Some(state)
    }

    fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<u32>()
    }
}

impl Found {
    /// Adds a state after a step of a node of state `parent`, if it is new, and checks it.
    fn add(
        &mut self,
        pool: &Pool,
        limits: &Limits,
        (parent, place): (u32, usize),
        state: &State,
    ) -> Result<(), Violation> {
        let fingerprint = pool.fingerprint(state);
        if !self.visited.insert(fingerprint).1 {
            return Ok(());
        }
        self.parents.push(parent);
        pool.check(place, state)?;
        if (fingerprint as u64).is_multiple_of(limits.heal_every) || self.visited.len() == 1 {
            heal::converges(pool, state)?;
            self.healed += 1;
        }
        self.frontier.push(state);
        Ok(())
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(limits: &'a Limits, path: &str) -> Result<Self, String> {
        let mut pool = Pool::new(limits);
        let founders = pool.founders().map_err(|violation| violation.message)?;
        let ghost = pool.ghost_number(Ghost::default());
        let start = State { nodes: founders, letters: Vec::new(), ghost, used: Used::default() };
        let (prefix, first) = script::walk(&mut pool, limits, start, path)?;
        Ok(Self {
            limits,
            pool,
            prefix,
            first,
            found: Found {
                visited: Table::new(),
                parents: Blocks::default(),
                frontier: Frontier::default(),
                healed: 0,
            },
            figures: Figures::default(),
        })
    }

    pub(super) fn run(
        mut self,
        keep_on: &mut dyn FnMut(&Figures) -> Option<&'static str>,
    ) -> Result<(End, Figures), String> {
        let first = self.first.clone();
        self.found.add(&self.pool, self.limits, (0, 0), &first).map_err(|violation| violation.message)?;
        // The number of the state whose steps come next, and of the last one of its depth.
        let (mut number, mut last) = (0, 0);
        while let Some(state) = self.found.frontier.pop(self.limits.nodes) {
            if let Err(failure) = self.expand(number, &state) {
                let end = self.broken(number, failure);
                self.measure();
                return Ok((end, self.figures));
            }
            if u64::from(number) == last && self.found.visited.len() as u64 > last + 1 {
                last = self.found.visited.len() as u64 - 1;
                self.figures.depth += 1;
            }
            number += 1;
            if u64::from(number).is_multiple_of(PAUSE) {
                self.measure();
                let reason =
                    keep_on(&self.figures).or((self.found.visited.len() > MOST_STATES).then_some("too many states"));
                if let Some(reason) = reason {
                    return Ok((End::Stopped(reason), self.figures));
                }
            }
        }
        self.measure();
        Ok((End::Exhausted, self.figures))
    }

    /// Takes all steps from a state.
    fn expand(&mut self, number: u32, state: &State) -> Result<(), Failure> {
        let Self { limits, pool, found, figures, .. } = self;
        let mut end = Ok(());
        pool.successors(limits, state, &mut |pool, step, next| {
            figures.transitions += 1;
            let added = next.and_then(|next| found.add(pool, limits, (number, step.node), &next));
            end = added.map_err(|violation| Failure { step, violation });
            end.is_ok()
        });
        end
    }

    fn measure(&mut self) {
        let figures = &mut self.figures;
        figures.states = self.found.visited.len() as u64;
        figures.frontier = self.found.frontier.states;
        (figures.nodes, figures.messages) = (self.pool.nodes() as u64, self.pool.letters() as u64);
        figures.healed = self.found.healed;
        figures.calls = self.pool.outcomes() as u64;
        let bytes = self.found.visited.next_bytes()
            + self.found.parents.bytes()
            + self.found.frontier.bytes()
            + self.pool.bytes();
        figures.bytes = figures.bytes.max(bytes as u64);
    }

    /// The path to state `number`, and the step after it that breaks a property.
    fn broken(&mut self, number: u32, failure: Failure) -> End {
        let mut numbers = vec![number];
        while let Some(&number) = numbers.last().filter(|&&number| number != 0) {
            numbers.push(self.found.parents.get(number as usize));
        }
        let (mut state, mut lines) = (self.first.clone(), self.prefix.clone());
        for &number in numbers.iter().rev().skip(1) {
            let wanted = self.found.visited.key(number);
            let mut found = None;
            self.pool.successors(self.limits, &state, &mut |pool, step, next| {
                found = next.ok().filter(|next| pool.fingerprint(next) == wanted).map(|next| (step, next));
                found.is_none()
            });
            // Equal fingerprints have equal steps; a state that has not is a fault of the fingerprint.
            let (step, next) = found.expect("a state with the fingerprint of the next one on the path");
            lines.push(script::line(&self.pool, &state, &step, Some(&next)));
            state = next;
        }
        let Failure { step, violation } = self.repeated(&state, failure);
        lines.push(script::line(&self.pool, &state, &step, None));
        End::Broken(Broken { violation, steps: script::show(&lines) })
    }

    /// The failure from a state at the end of the path. The nodes may have other names than in the search.
    fn repeated(&mut self, state: &State, failure: Failure) -> Failure {
        let (mut found, property) = (None, failure.violation.property);
        self.pool.successors(self.limits, state, &mut |pool, step, next| {
            let outcome = next.and_then(|next| {
                pool.check(step.node, &next)?;
                heal::converges(pool, &next)
            });
            let broken = outcome.err().filter(|violation| violation.property == property);
            found = broken.map(|violation| Failure { step, violation });
            found.is_none()
        });
        found.unwrap_or(failure)
    }
}

/// A number of a state is a word.
const MOST_STATES: usize = u32::MAX as usize - (1 << 24);

#[cfg(test)]
mod tests {
    use super::super::explore;
    use super::*;

    fn small() -> Limits {
        Limits { terms: 1, entries: 0, in_flight: 2, heartbeats: Some(0), heal_every: 16, ..Limits::default() }
    }

    fn all(limits: &Limits) -> Figures {
        let (end, figures) = explore(limits, "", &mut |_| None).expect("the limits are in range");
        assert_eq!(end, End::Exhausted);
        figures
    }

    #[test]
    fn a_state_counts_once_under_all_names() {
        let (each, once) = (all(&small()), all(&Limits { symmetry: true, ..small() }));
        assert_eq!(each.depth, once.depth);
        assert!(once.states < each.states && each.states <= 6 * once.states, "{each:?}, {once:?}");
        assert!(each.healed > 10 && once.healed > 10);
    }

    #[test]
    fn the_path_to_a_state_has_a_step_for_each_level() {
        let limits = Limits { symmetry: true, ..small() };
        let mut search = Search::new(&limits, "n1 election timeout").expect("the first step is possible");
        let first = search.first.clone();
        search.found.add(&search.pool, &limits, (0, 0), &first).expect("the first state is sound");
        let (mut number, mut states) = (0, Vec::new());
        while let Some(state) = search.found.frontier.pop(limits.nodes) {
            assert!(search.expand(number, &state).is_ok());
            states.push(state);
            number += 1;
        }
        let last = states.len() - 1;
        let mut step = None;
        search.pool.successors(&limits, &states[0], &mut |_, first, _| {
            step = Some(first);
            false
        });
        let violation = Violation { property: "planted", message: "for this test".into(), facts: Vec::new() };
        let failure = Failure { step: step.expect("a step"), violation: violation.clone() };
        let End::Broken(broken) = search.broken(last as u32, failure) else { panic!("a violation is the end") };
        let mut levels = 0;
        let mut at = last as u32;
        while at != 0 {
            at = search.found.parents.get(at as usize);
            levels += 1;
        }
        assert_eq!((broken.violation, broken.steps.len()), (violation, 1 + levels + 1));
        assert!(levels > 10 && broken.steps[0].starts_with("  1. n1 election timeout"), "{:?}", broken.steps);
        // The path is a path again.
        let path = broken.steps[..=levels].join("\n");
        assert!(Search::new(&limits, &path).is_ok(), "{path}");
    }

    #[test]
    fn a_line_that_is_no_step_is_refused_with_the_steps_that_are() {
        let refused = |path: &str| explore(&small(), path, &mut |_| None).expect_err("no such step");
        let problem = refused("# a comment\n\nn1 election timeout\nn9 restart");
        assert!(problem.starts_with("line 4 of the path: expected one step `n9 restart`, found 0"), "{problem}");
        assert!(problem.contains("n1 write done: w1 term 2 vote n1"), "{problem}");
        assert!(refused("n1").contains("found 2"), "a timeout and a power loss");
        assert!(refused("n1 election timeout; lost: n1>n2").contains("expected one message"));
    }
}
