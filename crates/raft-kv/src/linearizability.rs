//! Is there an order in which these operations, each at one moment between its invocation and its return, give these
//! results (Herlihy & Wing 1990)? Keys are independent objects, so each is judged alone: linearizability is local.
//!
//! This file must not know how the operations were carried out: it is the independent judge of everything else.

mod counterexample;
mod search;
#[cfg(test)]
mod tests;

pub use counterexample::Counterexample;

use crate::history::{Op, OpResult, OpValue, Operation, Status};
use search::Search;
use std::collections::BTreeMap;

/// What became of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none for the operations of one key.
    Violation(Counterexample),
    /// The budget did not suffice for this key, and no other key is in violation.
    Inconclusive {
        /// The first undecided key.
        key: String,
        /// How many operations it has.
        operations: usize,
        /// How many steps were spent on it.
        steps: u64,
    },
}

/// Judges a history. `budget` bounds the steps of the search for each key, and those for reducing a counterexample; a
/// step is one look at one operation.
///
/// An operation that returns at the very nanosecond another is invoked counts as concurrent with it. An operation that
/// contradicts itself ([`Operation::check`]) has no place in any order.
pub fn check(history: &[Operation], budget: u64) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| matters(operation)) {
        keys.entry(&operation.key).or_default().push(operation.clone());
    }
    let mut verdict = Verdict::Linearizable;
    for (key, operations) in keys {
        let mut steps = budget;
        match search::order_exists(&operations, &mut steps) {
            Search::Found => {}
            Search::Exhausted => {
                return Verdict::Violation(Counterexample::reduce(key.to_string(), operations, budget));
            }
            Search::OutOfBudget if verdict == Verdict::Linearizable => {
                let operations = operations.len();
                verdict = Verdict::Inconclusive { key: key.to_string(), operations, steps: budget };
            }
            Search::OutOfBudget => {}
        }
    }
    verdict
}

/// Whether the operation restricts or extends the possible orders at all. One that failed took no effect, and a read of
/// unknown outcome neither changed nor told anything.
fn matters(operation: &Operation) -> bool {
    match operation.status {
        Status::Ok => true,
        Status::Unknown => operation.op != Op::Get,
        Status::Fail => false,
    }
}

/// The value of a key, as a number the search can compare: 0 is no value.
type State = u32;

/// An operation as the model of one key sees it. `None` as a result: unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Put { new: State, known: bool },
    Get { seen: State },
    Cas { old: State, new: State, swapped: Option<bool> },
    Delete { existed: Option<bool> },
    Impossible,
}

impl Step {
    /// The state after this step, if it fits here. A step of unknown outcome that changes nothing does not fit: leaving
    /// it for later, or for never, allows every order that taking it allows, and more.
    fn apply(self, state: State) -> Option<State> {
        let (after, fits) = match self {
            Self::Put { new, known } => (new, known || new != state),
            Self::Get { seen } => (state, seen == state),
            Self::Cas { old, new, swapped } => {
                let matches = old == state;
                (if matches { new } else { state }, swapped.map_or(matches && new != state, |told| told == matches))
            }
            Self::Delete { existed } => (0, existed.unwrap_or(true) == (state != 0)),
            Self::Impossible => (state, false),
        };
        fits.then_some(after)
    }
}

/// Any value that no operation tells from another: never read, never expected by a swap.
const UNSEEN: State = State::MAX;

/// Numbers for those values of one key that an operation could tell apart. The fewer states, the shorter the search.
struct Values<'a>(BTreeMap<&'a str, State>);

impl<'a> Values<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        let seen = operations.iter().filter_map(|operation| match (&operation.result, &operation.value) {
            (OpResult::Value(seen), _) | (_, OpValue::Cas(Some(seen), _)) => Some(seen.as_str()),
            _ => None,
        });
        let mut numbers: BTreeMap<&str, State> = seen.map(|seen| (seen, 0)).collect();
        for (number, slot) in (1..UNSEEN).zip(numbers.values_mut()) {
            *slot = number;
        }
        Self(numbers)
    }

    fn number(&self, value: &str) -> State {
        self.0.get(value).copied().unwrap_or(UNSEEN)
    }

    fn step(&self, operation: &Operation) -> Step {
        let known = operation.status == Status::Ok;
        if operation.check().is_err() {
            return Step::Impossible;
        }
        let flag = match operation.result {
            OpResult::Flag(flag) => Some(flag),
            OpResult::Null | OpResult::Value(_) => None,
        };
        match (operation.op, &operation.value, &operation.result) {
            (Op::Put, OpValue::Value(new), _) => Step::Put { new: self.number(new), known },
            (Op::Cas, OpValue::Cas(old, new), _) => {
                let old = old.as_deref().map_or(0, |old| self.number(old));
                Step::Cas { old, new: self.number(new), swapped: flag }
            }
            (Op::Get, _, OpResult::Value(seen)) => Step::Get { seen: self.number(seen) },
            (Op::Get, _, _) => Step::Get { seen: 0 },
            (Op::Delete, _, _) => Step::Delete { existed: flag },
            (Op::Put | Op::Cas, _, _) => Step::Impossible,
        }
    }
}
