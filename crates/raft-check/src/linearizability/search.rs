//! The search for an order: Wing & Gong 1993 with Lowe's memoization (2017). A position of the search is the set of
//! placed operations and their state; a position that failed once always fails.
//!
//! Operations of unknown outcome make a search explode, so they are treated specially. The search also abandons a
//! position if another one failed that differs only in having more unknown operations left. It tries unknown operations
//! last, which makes that common, and tries equal ones in one order only.
//!
//! The search is iterative, so a long history cannot exhaust the stack.

use super::{State, Step, Values};
use crate::history::{Operation, Status};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Found,
    /// There is no order.
    Exhausted,
    OutOfBudget,
}

/// Searches for an order of the operations of one key; subtracts its steps from `budget`.
pub(super) fn order_exists(operations: &[Operation], budget: &mut u64) -> Search {
    let values = Values::new(operations);
    let steps: Vec<Step> = operations.iter().map(|operation| values.step(operation)).collect();
    let twins = twins(operations, &steps);
    let mut line = TimeLine::new(operations);
    let mut placed = Placed::new(operations);
    let mut tried = Tried::default();
    let mut path: Vec<(usize, usize, State)> = Vec::new();
    let mut state: State = 0;
    let mut choice = line.first_choice();
    // An operation of unknown outcome may never take effect: only the known operations must be placed.
    while placed.known_left > 0 {
        if *budget == 0 {
            return Search::OutOfBudget;
        }
        *budget -= 1;
        if let Some((place, operation)) = choice {
            let in_turn = twins[operation].is_none_or(|twin| placed.contains(twin));
            if in_turn && let Some(after) = steps[operation].apply(state) {
                placed.insert(operation);
                if tried.is_new(after, &placed) {
                    path.push((place, operation, state));
                    state = after;
                    line.lift(place);
                    choice = line.first_choice();
                    continue;
                }
                placed.remove(operation);
            }
            choice = line.choice_after(place);
        } else {
            // No operation fits before the first return of one that is not placed: an earlier choice was wrong.
            let Some((place, operation, before)) = path.pop() else { return Search::Exhausted };
            line.unlift(place);
            placed.remove(operation);
            state = before;
            choice = line.choice_after(place);
        }
    }
    Search::Found
}

/// The previous unknown operation with the same step, by invocation, for each unknown operation. They are
/// interchangeable, so one order suffices.
fn twins(operations: &[Operation], steps: &[Step]) -> Vec<Option<usize>> {
    let mut unknown: Vec<usize> = (0..operations.len()).collect();
    unknown.retain(|&place| operations[place].status == Status::Unknown);
    unknown.sort_by_key(|&place| operations[place].invoke_ns);
    let mut latest: BTreeMap<Step, usize> = BTreeMap::new();
    let mut twins = vec![None; operations.len()];
    for place in unknown {
        twins[place] = latest.insert(steps[place], place);
    }
    twins
}

/// An invocation or a return, with the index of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Invoke(usize),
    Return(usize),
}

/// Invocations and returns by time, numbered from 1, as two doubly linked rings: one of the known and one of the unknown
/// operations. Placed operations are unlinked and relinked in reverse order.
struct TimeLine {
    /// The events by number; `None` at the heads of the rings, which are the first and the last.
    events: Vec<Option<Event>>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The number of each invocation's return; its own number if it never returns.
    partner: Vec<usize>,
}

/// The head of the ring of known operations; the head of the unknown ones is the last number.
const KNOWN: usize = 0;

impl TimeLine {
    fn new(operations: &[Operation]) -> Self {
        let mut timed = Vec::with_capacity(operations.len() * 2);
        for (place, operation) in operations.iter().enumerate() {
            timed.push((operation.invoke_ns, Event::Invoke(place)));
            if let (Status::Ok, Some(returned)) = (operation.status, operation.return_ns) {
                timed.push((returned.max(operation.invoke_ns), Event::Return(place)));
            }
        }
        // Invocations sort before returns of the same nanosecond: that makes the operations concurrent.
        timed.sort_unstable();
        let timed = timed.into_iter().map(|(_, event)| Some(event));
        let events: Vec<Option<Event>> = std::iter::once(None).chain(timed).chain([None]).collect();
        let mut return_of = vec![None; operations.len()];
        let (mut known, mut unknown) = (vec![KNOWN], vec![events.len() - 1]);
        for (place, event) in events.iter().enumerate() {
            match *event {
                Some(Event::Invoke(operation)) if operations[operation].status == Status::Ok => known.push(place),
                Some(Event::Invoke(_)) => unknown.push(place),
                Some(Event::Return(operation)) => {
                    return_of[operation] = Some(place);
                    known.push(place);
                }
                None => {}
            }
        }
        let mut partner: Vec<usize> = (0..events.len()).collect();
        for (place, event) in events.iter().enumerate() {
            if let Some(Event::Invoke(operation)) = *event {
                partner[place] = return_of[operation].unwrap_or(place);
            }
        }
        let mut line = Self { next: vec![0; events.len()], previous: vec![0; events.len()], events, partner };
        for ring in [known, unknown] {
            for (&place, &next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                line.next[place] = next;
                line.previous[next] = place;
            }
        }
        line
    }

    /// The first operation that can come next, with the number of its invocation: the known ones invoked before any return, then
    /// the unknown ones.
    fn first_choice(&self) -> Option<(usize, usize)> {
        self.choice_from(self.next[KNOWN])
    }

    /// The operation to try after the one invoked at `place`.
    fn choice_after(&self, place: usize) -> Option<(usize, usize)> {
        self.choice_from(self.next[place])
    }

    fn choice_from(&self, place: usize) -> Option<(usize, usize)> {
        let (place, first_return) = match self.events[place] {
            Some(Event::Invoke(operation)) if self.partner[place] != place => return Some((place, operation)),
            Some(Event::Return(_)) => (self.next[self.events.len() - 1], place),
            Some(Event::Invoke(_)) | None => (place, self.first_return()),
        };
        match self.events[place] {
            Some(Event::Invoke(operation)) if place < first_return => Some((place, operation)),
            _ => None,
        }
    }

    /// The number of the first return; the head of the ring if there is none.
    fn first_return(&self) -> usize {
        let mut place = self.next[KNOWN];
        while let Some(Event::Invoke(_)) = self.events[place] {
            place = self.next[place];
        }
        place
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

/// The set of placed operations, as bits: the known ones by invocation, and separately the unknown ones. The known ones are
/// almost a prefix, so a stored position stays small even for a long history.
struct Placed {
    known: Vec<u64>,
    unknown: Vec<u64>,
    /// Known operations that are not placed yet.
    known_left: usize,
    /// For each operation: whether it is known, and its bit.
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
        Self { known: words(counts[1]), unknown: words(counts[0]), known_left: counts[1], bits }
    }

    fn contains(&self, operation: usize) -> bool {
        let (known, bit) = self.bits[operation];
        let words = if known { &self.known } else { &self.unknown };
        words[bit / 64] & (1 << (bit % 64)) != 0
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
}

/// The tried positions: for a state and a set of known operations (cut at both ends, see `is_new`), the smallest sets
/// of unknown operations that led there.
#[derive(Default)]
struct Tried(BTreeMap<(State, usize, Vec<u64>), Vec<Vec<u64>>>);

impl Tried {
    /// Stores a position. Returns false if it was tried, or if one with at least its remaining unknown operations was.
    fn is_new(&mut self, state: State, placed: &Placed) -> bool {
        let full_words = placed.known.iter().take_while(|word| **word == u64::MAX).count();
        let key = (state, full_words, without_zeros(&placed.known[full_words..]));
        let tried = self.0.entry(key).or_default();
        if tried.iter().any(|taken| is_subset(taken, &placed.unknown)) {
            return false;
        }
        tried.retain(|taken| !is_subset(&placed.unknown, taken));
        tried.push(without_zeros(&placed.unknown));
        true
    }
}

/// The words up to the last that is not zero.
fn without_zeros(words: &[u64]) -> Vec<u64> {
    let end = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    words[..end].to_vec()
}

/// Whether all bits of `small` are set in `large`; missing words are zero.
fn is_subset(small: &[u64], large: &[u64]) -> bool {
    small.iter().enumerate().all(|(place, word)| word & !large.get(place).copied().unwrap_or(0) == 0)
}
