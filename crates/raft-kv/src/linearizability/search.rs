//! The search for an order: Wing & Gong 1993 with Lowe's memory (2017) of what was already tried. A position of the
//! search is the set of operations placed so far and the state they lead to; one that failed once fails always.
//!
//! Iterative, so that a long history cannot exhaust the stack. This file must not know where the operations come from.

use super::{State, Step, Values};
use crate::history::{Operation, Status};
use std::collections::BTreeSet;

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// There is an order.
    Found,
    /// There is none.
    Exhausted,
    /// The budget ended first.
    OutOfBudget,
}

/// Looks for an order of the operations of one key; takes the steps it needs from `budget`.
pub(super) fn order_exists(operations: &[Operation], budget: &mut u64) -> Search {
    let mut values = Values::default();
    let steps: Vec<Step> = operations.iter().map(|operation| values.step(operation)).collect();
    let mut line = TimeLine::new(operations);
    let mut placed = Placed::new(operations);
    let mut tried: BTreeSet<(State, Placed)> = BTreeSet::new();
    let mut path: Vec<(usize, usize, State)> = Vec::new();
    let mut state: State = 0;
    let mut place = line.first();
    // An unknown operation may never take effect: only the known ones must find a place.
    while placed.known_left > 0 {
        if *budget == 0 {
            return Search::OutOfBudget;
        }
        *budget -= 1;
        let event = line.event(place);
        if let Some(Event::Invoke(operation)) = event {
            let after = steps.get(operation).and_then(|step| step.apply(state));
            if let Some(after) = after {
                placed.insert(operation);
                if tried.insert((after, placed.trimmed())) {
                    path.push((place, operation, state));
                    state = after;
                    line.lift(place);
                    place = line.first();
                    continue;
                }
                placed.remove(operation);
            }
            place = line.next(place);
        } else {
            // An operation has returned without a place: an earlier choice was wrong.
            let Some((choice, operation, before)) = path.pop() else { return Search::Exhausted };
            line.unlift(choice);
            placed.remove(operation);
            state = before;
            place = line.next(choice);
        }
    }
    Search::Found
}

/// An end of an operation, by the operation's place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Invoke(usize),
    Return(usize),
}

/// Invocations and returns in the order of time, as a doubly linked list from which placed operations are lifted out
/// and put back in reverse order. Place 0 is the list's head and end.
struct TimeLine {
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The place of each invocation's return; its own place if it never returns.
    partner: Vec<usize>,
}

impl TimeLine {
    fn new(operations: &[Operation]) -> Self {
        let mut timed = Vec::with_capacity(operations.len() * 2);
        for (place, operation) in operations.iter().enumerate() {
            timed.push((operation.invoke_ns, Event::Invoke(place)));
            if let (Status::Ok, Some(returned)) = (operation.status, operation.return_ns) {
                timed.push((returned.max(operation.invoke_ns), Event::Return(place)));
            }
        }
        // At one nanosecond invocations come first: that makes the operations concurrent.
        timed.sort_unstable();
        let events: Vec<Event> = timed.into_iter().map(|(_, event)| event).collect();
        let count = events.len() + 1;
        let mut return_of = vec![None; operations.len()];
        for (at, event) in events.iter().enumerate() {
            if let Event::Return(operation) = event {
                return_of[*operation] = Some(at + 1);
            }
        }
        let mut partner: Vec<usize> = (0..count).collect();
        for (at, event) in events.iter().enumerate() {
            if let Event::Invoke(operation) = event {
                partner[at + 1] = return_of[*operation].unwrap_or(at + 1);
            }
        }
        let next = (0..count).map(|at| (at + 1) % count).collect();
        let previous = (0..count).map(|at| (at + count - 1) % count).collect();
        Self { events, next, previous, partner }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn next(&self, place: usize) -> usize {
        self.next[place]
    }

    /// The event at a place; none at the end of the list.
    fn event(&self, place: usize) -> Option<Event> {
        place.checked_sub(1).map(|at| self.events[at])
    }

    fn lift(&mut self, invoke: usize) {
        self.unlink(invoke);
        if self.partner[invoke] != invoke {
            self.unlink(self.partner[invoke]);
        }
    }

    fn unlift(&mut self, invoke: usize) {
        if self.partner[invoke] != invoke {
            self.relink(self.partner[invoke]);
        }
        self.relink(invoke);
    }

    fn unlink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn relink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }
}

/// The set of operations that have a place, as bits: the known ones in the order of invocation, apart from the unknown
/// ones. The known ones then are nearly a prefix, and what is remembered of a position stays small however long the
/// history is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    /// Words of `known` cut off at the front because all their bits are set.
    full_words: usize,
    known: Vec<u64>,
    unknown: Vec<u64>,
    /// How many known operations have no place yet.
    known_left: usize,
    /// For each operation: whether it is known, and its bit. Empty in what is remembered.
    bits: Vec<(bool, usize)>,
}

impl Placed {
    fn new(operations: &[Operation]) -> Self {
        let mut order: Vec<usize> = (0..operations.len()).collect();
        order.sort_by_key(|&place| operations[place].invoke_ns);
        let mut bits = vec![(false, 0); operations.len()];
        let mut counts = [0, 0];
        for place in order {
            let known = operations[place].status == Status::Ok;
            let count = &mut counts[usize::from(known)];
            bits[place] = (known, *count);
            *count += 1;
        }
        let words = |count: usize| vec![0; count.div_ceil(64)];
        Self { full_words: 0, known: words(counts[1]), unknown: words(counts[0]), known_left: counts[1], bits }
    }

    fn insert(&mut self, operation: usize) {
        let (known, bit) = self.bits[operation];
        let words = if known { &mut self.known } else { &mut self.unknown };
        words[bit / 64] |= 1 << (bit % 64);
        self.known_left -= usize::from(known);
    }

    fn remove(&mut self, operation: usize) {
        let (known, bit) = self.bits[operation];
        let words = if known { &mut self.known } else { &mut self.unknown };
        words[bit / 64] &= !(1 << (bit % 64));
        self.known_left += usize::from(known);
    }

    /// The same set, as short as it can be said.
    fn trimmed(&self) -> Self {
        let full_words = self.known.iter().take_while(|word| **word == u64::MAX).count();
        let tail = |words: &[u64]| {
            let end = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
            words[..end].to_vec()
        };
        Self {
            full_words,
            known: tail(&self.known[full_words..]),
            unknown: tail(&self.unknown),
            known_left: self.known_left,
            bits: Vec::new(),
        }
    }
}
