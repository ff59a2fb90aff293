//! Reduces a history without an order to the few operations that show the contradiction.
//!
//! Every reduction only removes constraints: if the larger history has an order, so has the smaller one. The removal of
//! single operations would break that: without its put, every get is a contradiction, and the reader would see a read
//! of an unknown value instead of a stale read.

use super::search::{Search, order_exists};
use crate::history::{Op, OpResult, OpValue, Operation, Status};
use std::collections::BTreeSet;
use std::fmt;

/// Operations of one key that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counterexample {
    pub key: String,
    /// The operations in the order of their invocation. An operation that is open when the contradiction is complete,
    /// or whose result does not contribute to it, has status unknown.
    pub operations: Vec<Operation>,
    /// Whether no single reduction is possible any more. If it is false, the budget ended first.
    pub minimal: bool,
}

impl Counterexample {
    /// Reduces operations of one key, which have no order.
    pub(super) fn reduce(key: String, operations: Vec<Operation>, budget: u64) -> Self {
        let mut reducer = Reducer { operations, budget };
        reducer.shortest_prefix();
        let minimal = reducer.remove_parts();
        let mut operations = reducer.operations;
        operations.sort_by_key(|operation| operation.invoke_ns);
        Self { key, operations, minimal }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}: no order of these operations gives these results", self.key)?;
        for operation in &self.operations {
            write!(f, "\n  {operation}")?;
        }
        if self.minimal { Ok(()) } else { write!(f, "\n  (not minimal: the budget ended before the reduction)") }
    }
}

/// A part of a history that can be removed without creating a contradiction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The index of an operation that changes nothing and only constrains the order.
    Reader(usize),
    /// All operations that store or see this value (`None`: no value, as after a delete).
    Value(Option<String>),
}

struct Reducer {
    operations: Vec<Operation>,
    budget: u64,
}

impl Reducer {
    /// Whether the search proves that these operations have no order.
    fn fails(&mut self, operations: &[Operation]) -> bool {
        order_exists(operations, &mut self.budget) == Search::Exhausted
    }

    /// Cuts the history after the first return that completes a contradiction, by binary search: a prefix of a history with an
    /// order has an order.
    fn shortest_prefix(&mut self) {
        let known = |operation: &&Operation| operation.status == Status::Ok;
        let mut returns: Vec<u64> = self.operations.iter().filter(known).filter_map(|op| op.return_ns).collect();
        returns.sort_unstable();
        returns.dedup();
        let (mut low, mut high) = (0, returns.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let candidate = prefix(&self.operations, returns[middle]);
            if self.fails(&candidate) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Some(&end) = returns.get(high) {
            self.operations = prefix(&self.operations, end);
        }
    }

    /// Removes parts, many at once first, until none can be removed. Returns false if the budget ended first.
    fn remove_parts(&mut self) -> bool {
        let mut chunk = self.operations.len().max(1);
        loop {
            let parts: Vec<Part> = parts(&self.operations).into_iter().collect();
            let smaller = parts.chunks(chunk).find_map(|chunk| {
                let candidate = without(&self.operations, chunk)?;
                self.fails(&candidate).then_some(candidate)
            });
            match smaller {
                Some(smaller) => self.operations = smaller,
                None if chunk > 1 => chunk = chunk.div_ceil(2),
                None => return self.budget > 0,
            }
        }
    }
}

/// The history up to `end`; open operations have status unknown.
fn prefix(operations: &[Operation], end: u64) -> Vec<Operation> {
    let begun = operations.iter().filter(|operation| operation.invoke_ns <= end).cloned();
    let seen = begun.map(|operation| if operation.return_ns > Some(end) { opened(operation) } else { operation });
    seen.filter(super::matters).collect()
}

/// The operation with an unknown outcome.
fn opened(operation: Operation) -> Operation {
    Operation { status: Status::Unknown, result: OpResult::Null, return_ns: None, ..operation }
}

/// The parts that the reduction tries to remove.
fn parts(operations: &[Operation]) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    for (place, operation) in operations.iter().enumerate() {
        match (operation.op, &operation.value, &operation.result) {
            (Op::Get, _, result) => {
                parts.insert(Part::Reader(place));
                parts.insert(Part::Value(value_of(result)));
            }
            (Op::Cas | Op::Delete, _, OpResult::Flag(false)) => {
                parts.insert(Part::Reader(place));
            }
            (Op::Delete, _, _) => {
                parts.insert(Part::Value(None));
            }
            (Op::Put, OpValue::Value(new), _) => {
                parts.insert(Part::Value(Some(new.clone())));
            }
            (Op::Put | Op::Cas, _, _) => {}
        }
    }
    parts
}

fn value_of(result: &OpResult) -> Option<String> {
    match result {
        OpResult::Value(value) => Some(value.clone()),
        OpResult::Null | OpResult::Flag(_) => None,
    }
}

/// The operations without these parts; `None` if their removal could create a contradiction.
///
/// Take an order of all operations and remove every put and get of a value: each remaining get still directly follows
/// its own put. Three kinds of operations need care. A swap from or to the value would break the order, so the value
/// stays. A failed swap may have expected the state before the value, so it is removed too. A delete that found a value
/// may have found this one, so its result becomes unknown.
fn without(operations: &[Operation], parts: &[Part]) -> Option<Vec<Operation>> {
    let readers: BTreeSet<usize> =
        parts.iter().filter_map(|part| if let Part::Reader(at) = part { Some(*at) } else { None }).collect();
    let values: BTreeSet<Option<&str>> = parts
        .iter()
        .filter_map(|part| if let Part::Value(value) = part { Some(value.as_deref()) } else { None })
        .collect();
    let mut left = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        if readers.contains(&place) {
            continue;
        }
        let stays = match (operation.op, &operation.value, &operation.result) {
            _ if values.is_empty() => true,
            (Op::Get, _, OpResult::Value(seen)) => !values.contains(&Some(seen)),
            (Op::Get, _, _) | (Op::Delete, _, _) => !values.contains(&None),
            (Op::Put, OpValue::Value(new), _) => !values.contains(&Some(new)),
            (Op::Cas, _, OpResult::Flag(false)) => false,
            (Op::Cas, OpValue::Cas(old, new), _) => {
                if values.contains(&old.as_deref()) || values.contains(&Some(new)) {
                    return None;
                }
                true
            }
            (Op::Put | Op::Cas, _, _) => true,
        };
        if stays {
            let found_a_value = operation.op == Op::Delete && operation.result == OpResult::Flag(true);
            let open = found_a_value && !values.is_empty();
            left.push(if open { opened(operation.clone()) } else { operation.clone() });
        }
    }
    Some(left)
}

/// Every history with one part removed; a test checks that none has a new contradiction.
#[cfg(test)]
pub(super) fn all_single_reductions(operations: &[Operation]) -> Vec<Vec<Operation>> {
    let ends: BTreeSet<u64> = operations.iter().filter_map(|operation| operation.return_ns).collect();
    let prefixes = ends.into_iter().map(|end| prefix(operations, end));
    let parts = parts(operations);
    prefixes.chain(parts.into_iter().filter_map(|part| without(operations, &[part]))).collect()
}
