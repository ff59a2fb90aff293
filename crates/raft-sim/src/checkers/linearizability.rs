//! The clients' history has a linearization (Herlihy & Wing 1990). This is the last check, and it knows nothing of
//! Raft.
//!
//! It runs only at the end of a run, with the search of raft-check. A search that exceeds its budget is reported as
//! undecided, never as a pass. It backs up every other property. It is the first to catch violations that only clients
//! see and `stale_read` does not cover: a write that is lost or applied twice without an answer that says so.

use super::property::Violation;
use raft_check::history::Operation;
use raft_check::linearizability::{Verdict, check};

const NAME: &str = "linearizability";

/// The most steps of the search for each key: far more than the history of a run needs, a fraction of a second at most.
const BUDGET: u64 = 5_000_000;

pub(super) enum Linearizability {
    Holds,
    Violated(Violation),
    Inconclusive(String),
}

pub(super) fn check_history(history: &[Operation]) -> Linearizability {
    check_within(history, BUDGET)
}

fn check_within(history: &[Operation], budget: u64) -> Linearizability {
    match check(history, budget) {
        Verdict::Linearizable => Linearizability::Holds,
        Verdict::Violation(counterexample) => {
            let message = counterexample.to_string();
            Linearizability::Violated(Violation { property: NAME, message, facts: Vec::new() })
        }
        Verdict::Inconclusive { key, operations, steps } => Linearizability::Inconclusive(format!(
            "linearizability of key {key} is undecided: {operations} operations, {steps} steps spent"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_check::history::{Op, OpResult, OpValue, Status};

    fn operation(op: Op, value: OpValue, result: OpResult, invoke_ns: u64) -> Operation {
        let (status, return_ns) = (Status::Ok, Some(invoke_ns + 1));
        Operation { client: 1, op, key: "k".into(), value, status, result, invoke_ns, return_ns }
    }

    fn put_then_get(result: OpResult) -> Vec<Operation> {
        vec![
            operation(Op::Put, OpValue::Value("a".into()), OpResult::Null, 1),
            operation(Op::Get, OpValue::Null, result, 3),
        ]
    }

    #[test]
    fn a_lost_write_fires() {
        let Linearizability::Violated(violation) = check_history(&put_then_get(OpResult::Null)) else {
            panic!("a get after an acknowledged put returned nothing");
        };
        assert_eq!(violation.property, NAME);
        assert!(violation.message.contains("put k a"), "{violation:?}");
    }

    #[test]
    fn a_history_with_an_order_is_silent() {
        assert!(matches!(check_history(&put_then_get(OpResult::Value("a".into()))), Linearizability::Holds));
    }

    #[test]
    fn an_exhausted_budget_is_no_pass() {
        let history = put_then_get(OpResult::Value("a".into()));
        assert!(matches!(check_within(&history, 0), Linearizability::Inconclusive(_)));
    }
}
