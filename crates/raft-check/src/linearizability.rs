//! Linearizability (Herlihy & Wing 1990): is there an order of the operations, each at one instant between its invocation and
//! its return, that explains every result? Keys are independent objects and linearizability is local, so each key is checked
//! alone.
//!
//! The checker knows only the history. It does not depend on how operations are executed.

mod counterexample;
mod search;
#[cfg(test)]
mod tests;

pub use counterexample::Counterexample;

use crate::history::{Op, OpResult, OpValue, Operation, Status};
use search::Search;
use std::collections::BTreeMap;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Such an order exists.
    Linearizable,
    /// No order exists for the operations of one key.
    Violation(Counterexample),
    /// The budget ended before this key, the first such one, was decided; no other key has a violation. It has the
    /// key's operations, and the steps spent on it.
    #[allow(missing_docs)]
    Inconclusive { key: String, operations: usize, steps: u64 },
}

/// Checks a history. `budget` limits the steps of the search for each key, and those of the reduction of a
/// counterexample; a step looks at one operation.
///
/// An operation that returns in the same nanosecond as another is invoked counts as concurrent with it. An operation that
/// contradicts itself ([`Operation::check`]) fits in no order.
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

/// Whether the operation affects which orders are possible. A failed operation has no effect, and a read of unknown outcome
/// neither changes nor shows a value.
fn matters(operation: &Operation) -> bool {
    match operation.status {
        Status::Ok => true,
        Status::Unknown => operation.op != Op::Get,
        Status::Fail => false,
    }
}

/// The value of a key, as a number: 0 means that there is no value.
type State = u32;

/// An operation in the model of one key. A result of `None` is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Put { new: State, known: bool },
    Get { seen: State },
    Cas { old: State, new: State, swapped: Option<bool> },
    Delete { existed: Option<bool> },
    Impossible,
}

impl Step {
    /// The state after this step, if the step fits here. A step of unknown outcome without a change does not fit: every
    /// order with the step here is also possible with the step later or never.
    fn apply(self, state: State) -> Option<State> {
        let (after, fits) = match self {
            Self::Put { new, known } => (new, known || new != state),
            Self::Get { seen } => (state, seen == state),
            Self::Cas { old, new, swapped } => {
                let matches = old == state;
                (
                    if matches { new } else { state },
                    swapped.map_or(matches && new != state, |swapped| swapped == matches),
                )
            }
            Self::Delete { existed } => (0, existed.unwrap_or(true) == (state != 0)),
            Self::Impossible => (state, false),
        };
        fits.then_some(after)
    }
}

/// All values that no operation reads or expects: they need not be distinguished.
const UNSEEN: State = State::MAX;

/// Numbers for the values of one key that operations distinguish. Fewer states make a shorter search.
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
