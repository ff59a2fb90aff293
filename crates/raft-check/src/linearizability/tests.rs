//! The checker on histories with a known verdict, and compared with a checker that tries every order.

use super::{Counterexample, Verdict, check};
use crate::history::{Op, OpResult, OpValue, Operation, Status};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

const BUDGET: u64 = 100_000;

fn ok(op: Op, value: OpValue, result: OpResult, from: u64, to: u64) -> Operation {
    let key = "k".to_string();
    Operation { client: from, op, key, value, status: Status::Ok, result, invoke_ns: from, return_ns: Some(to) }
}

fn put(new: &str, from: u64, to: u64) -> Operation {
    ok(Op::Put, OpValue::Value(new.into()), OpResult::Null, from, to)
}

fn get(seen: Option<&str>, from: u64, to: u64) -> Operation {
    ok(Op::Get, OpValue::Null, seen.map_or(OpResult::Null, |seen| OpResult::Value(seen.into())), from, to)
}

fn cas(old: Option<&str>, new: &str, swapped: bool, from: u64, to: u64) -> Operation {
    ok(Op::Cas, OpValue::Cas(old.map(Into::into), new.into()), OpResult::Flag(swapped), from, to)
}

fn delete(existed: bool, from: u64, to: u64) -> Operation {
    ok(Op::Delete, OpValue::Null, OpResult::Flag(existed), from, to)
}

fn ended(status: Status, operation: Operation) -> Operation {
    Operation { status, result: OpResult::Null, ..operation }
}

fn violation(budget: u64, history: &[Operation]) -> Counterexample {
    match check(history, budget) {
        Verdict::Violation(counterexample) => counterexample,
        other => panic!("expected a violation, got {other:?}"),
    }
}

/// The counterexample's operations as text, without the heading.
fn shown(history: &[Operation]) -> Vec<String> {
    let counterexample = violation(BUDGET, history);
    assert!(counterexample.minimal);
    counterexample.to_string().lines().skip(1).map(|line| line.trim().to_string()).collect()
}

#[test]
fn an_order_is_found() {
    for seen in [None, Some("a"), Some("b")] {
        let concurrent = [put("a", 1, 9), put("b", 1, 9), get(seen, 2, 8)];
        assert_eq!(check(&concurrent, BUDGET), Verdict::Linearizable, "either way");
    }
    assert_eq!(check(&[], BUDGET), Verdict::Linearizable);
    assert_eq!(check(&[put("a", 1, 2), get(None, 2, 3)], BUDGET), Verdict::Linearizable, "equal times: concurrent");
    let deleted = [put("a", 1, 2), delete(true, 3, 4), delete(false, 5, 6), cas(Some("a"), "b", false, 7, 8)];
    assert_eq!(check(&deleted, BUDGET), Verdict::Linearizable);
}

#[test]
fn a_short_contradiction_is_shown_whole() {
    let table: [(&[Operation], &[&str]); 7] = [
        (
            &[put("a", 1, 2), get(Some("a"), 3, 4), get(None, 5, 6)],
            &["c1 put k a ok [1, 2]", "c5 get k = nothing [5, 6]"],
        ),
        (
            &[cas(None, "a", true, 1, 9), cas(None, "b", true, 2, 8)],
            &["c1 cas k nothing -> a = true [1, 9]", "c2 cas k nothing -> b = true [2, 8]"],
        ),
        (&[ended(Status::Fail, put("a", 1, 2)), get(Some("a"), 3, 4)], &["c3 get k = a [3, 4]"]),
        (
            &[put("a", 1, 2), ended(Status::Fail, delete(true, 3, 4)), get(None, 5, 6)],
            &["c1 put k a ok [1, 2]", "c5 get k = nothing [5, 6]"],
        ),
        (&[delete(true, 1, 2)], &["c1 delete k = true [1, 2]"]),
        (&[put("a", 1, 2), delete(false, 3, 4)], &["c1 put k a ok [1, 2]", "c3 delete k = false [3, 4]"]),
        (
            &[put("a", 1, 2), cas(Some("a"), "b", false, 3, 4)],
            &["c1 put k a ok [1, 2]", "c3 cas k a -> b = false [3, 4]"],
        ),
    ];
    for (history, expected) in table {
        assert_eq!(shown(history), expected);
    }
}

#[test]
fn a_stale_read_is_reduced_to_three_operations() {
    let mut history = vec![put("a", 10, 11), get(Some("a"), 12, 13), put("b", 14, 15), get(Some("a"), 16, 17)];
    let noise = |at: u64| [put(&format!("x{at}"), at, at + 1), get(Some(&format!("x{at}")), at + 2, at + 3)];
    history.extend((0..200).flat_map(|at| noise(100 + at * 10)));
    history.splice(0..0, noise(1));
    assert_eq!(shown(&history), ["c10 put k a ok [10, 11]", "c14 put k b ok [14, 15]", "c16 get k = a [16, 17]"]);
}

#[test]
fn a_swap_applied_twice_is_found() {
    // The swap a -> b is applied, the value is put back to a, and the retry of the swap is applied again.
    let history =
        [put("a", 1, 2), cas(Some("a"), "b", true, 3, 20), put("a", 5, 6), get(Some("a"), 7, 8), get(Some("b"), 9, 10)];
    assert_eq!(check(&history, BUDGET), Verdict::Linearizable, "once, late");
    let twice = [
        put("a", 1, 2),
        cas(Some("a"), "b", true, 3, 20),
        get(Some("b"), 4, 5),
        put("a", 6, 7),
        get(Some("a"), 8, 9),
        get(Some("b"), 10, 11),
    ];
    assert_eq!(shown(&twice).len(), 5, "only the read of a can be removed");
}

#[test]
fn an_unknown_put_may_be_seen_late_or_never() {
    let unknown = ended(Status::Unknown, put("a", 1, 2));
    let never = [unknown.clone(), get(None, 3, 4), get(None, 500, 501)];
    assert_eq!(check(&never, BUDGET), Verdict::Linearizable);
    let late = [unknown.clone(), get(None, 3, 4), get(Some("a"), 500, 501)];
    assert_eq!(check(&late, BUDGET), Verdict::Linearizable);
    let unreturned = [Operation { return_ns: None, ..unknown.clone() }, get(Some("a"), 3, 4)];
    assert_eq!(check(&unreturned, BUDGET), Verdict::Linearizable);
    let early = [get(Some("a"), 0, 0), unknown.clone()];
    assert_eq!(shown(&early), ["c0 get k = a [0, 0]"]);
    let twice = [unknown, get(Some("a"), 3, 4), put("b", 5, 6), get(Some("b"), 7, 8), get(Some("a"), 9, 10)];
    assert_eq!(shown(&twice).len(), 4, "a value that was read and overwritten cannot return");
}

#[test]
fn keys_are_independent_and_the_one_in_violation_is_named() {
    let other = |operation: Operation| Operation { key: "other".into(), ..operation };
    let history = [put("a", 1, 2), other(put("b", 3, 4)), get(Some("a"), 5, 6), other(get(Some("b"), 5, 6))];
    assert_eq!(check(&history, BUDGET), Verdict::Linearizable);
    let history = [put("a", 1, 2), other(get(Some("a"), 3, 4))];
    assert_eq!(violation(BUDGET, &history).key, "other");
}

#[test]
fn a_budget_too_small_is_no_verdict_but_a_violation_elsewhere_is() {
    let many = || (0..8).map(|place| put(&format!("v{place}"), 1, 100));
    let mut history: Vec<Operation> = many().collect();
    history.push(get(Some("v0"), 1, 50));
    history.push(get(None, 101, 102));
    let Verdict::Inconclusive { key, operations, steps } = check(&history, 40) else {
        panic!("40 steps cannot suffice for {} operations", history.len())
    };
    assert_eq!((key.as_str(), operations, steps), ("k", 10, 40));
    assert!(matches!(check(&history, BUDGET), Verdict::Violation(_)));
    history.push(Operation { key: "z".into(), ..get(Some("nowhere"), 1, 2) });
    assert_eq!(violation(40, &history).key, "z");
}

#[test]
fn a_contradictory_operation_has_no_place() {
    let history = [Operation { value: OpValue::Null, ..put("a", 1, 2) }];
    assert_eq!(violation(BUDGET, &history).operations.len(), 1);
}

/// Overlapping puts, each read while the next is open; every `unknown_every`th put has an unknown outcome.
fn long_history(unknown_every: u64) -> Vec<Operation> {
    let mut history = Vec::new();
    for place in 0..5_000u64 {
        let (value, at) = (format!("v{place}"), place * 10);
        let write = put(&value, at, at + 15);
        if place % unknown_every == 1 {
            history.push(ended(Status::Unknown, write));
        } else {
            history.extend([write, get(Some(&value), at + 5, at + 9)]);
        }
    }
    history
}

#[test]
fn a_long_history_is_checked_and_its_one_fault_found() {
    assert_eq!(check(&long_history(100), 1_000_000), Verdict::Linearizable);
    // Forty writes may take effect at any later time, and one value came back: there is no order.
    let mut history = long_history(1_000_000);
    let unknown = (0..40).map(|place| ended(Status::Unknown, put(&format!("u{place}"), place * 1_000, 1)));
    history.extend(unknown.map(|operation| Operation { return_ns: None, ..operation }));
    history.push(get(Some("v7"), 60_000, 60_001));
    let Verdict::Violation(counterexample) = check(&history, 2_000_000) else { panic!("v7 was overwritten") };
    assert!(counterexample.minimal);
    assert_eq!(counterexample.operations.len(), 3, "{counterexample}");
}

/// Tries every order of every choice of unknown operations, with the simplest model.
fn brute_force(history: &[Operation]) -> bool {
    fn extend(left: &[&Operation], state: Option<&str>) -> bool {
        if left.iter().all(|operation| operation.status == Status::Unknown) {
            return true;
        }
        (0..left.len()).any(|place| {
            let mut rest = left.to_vec();
            let operation = rest.remove(place);
            let too_late = rest.iter().any(|other| {
                other.status == Status::Ok && other.return_ns.is_some_and(|returned| returned < operation.invoke_ns)
            });
            if too_late {
                return false;
            }
            let known = operation.status == Status::Ok;
            let (after, result) = match (&operation.op, &operation.value) {
                (Op::Put, OpValue::Value(new)) => (Some(new.as_str()), OpResult::Null),
                (Op::Cas, OpValue::Cas(old, new)) if old.as_deref() == state => {
                    (Some(new.as_str()), OpResult::Flag(true))
                }
                (Op::Cas, _) => (state, OpResult::Flag(false)),
                (Op::Delete, _) => (None, OpResult::Flag(state.is_some())),
                (Op::Get, _) => (state, state.map_or(OpResult::Null, |value| OpResult::Value(value.into()))),
                (Op::Put, _) => return false,
            };
            (!known || result == operation.result) && extend(&rest, after)
        })
    }
    let left: Vec<&Operation> = history.iter().filter(|operation| operation.status != Status::Fail).collect();
    extend(&left, None)
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let value = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let kind = prop_oneof![
        3 => value().prop_map(|new| put(new, 0, 0)),
        3 => proptest::option::of(value()).prop_map(|seen| get(seen, 0, 0)),
        2 => (proptest::option::of(value()), value(), any::<bool>())
            .prop_map(|(old, new, swapped)| cas(old, new, swapped, 0, 0)),
        1 => any::<bool>().prop_map(|existed| delete(existed, 0, 0)),
    ];
    let status = prop_oneof![8 => Just(Status::Ok), 2 => Just(Status::Unknown), 1 => Just(Status::Fail)];
    (kind, status, 0..20u64, 0..12u64).prop_map(|(operation, status, from, length)| {
        let timed = Operation { client: from, invoke_ns: from, return_ns: Some(from + length), ..operation };
        if status == Status::Ok { timed } else { ended(status, timed) }
    })
}

/// The same 6 000 histories of up to six operations in every run.
fn for_histories(test: impl Fn(Vec<Operation>) -> Result<(), TestCaseError>) {
    let config = Config { cases: 6_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    assert_eq!(runner.run(&proptest::collection::vec(any_operation(), 0..=6), test), Ok(()));
}

#[test]
fn agrees_with_brute_force_and_its_counterexamples_are_genuine() {
    let (linearizable, violations, reduced) = (Cell::new(0), Cell::new(0), Cell::new(0));
    for_histories(|history| {
        let expected = brute_force(&history);
        match check(&history, BUDGET) {
            Verdict::Linearizable => {
                linearizable.set(linearizable.get() + 1);
                prop_assert!(expected, "the checker found an order that does not exist");
            }
            Verdict::Violation(counterexample) => {
                violations.set(violations.get() + 1);
                prop_assert!(!expected, "the checker missed an order");
                prop_assert!(counterexample.minimal);
                prop_assert!(!brute_force(&counterexample.operations), "{counterexample}");
                if counterexample.operations.len() < history.len() {
                    reduced.set(reduced.get() + 1);
                }
            }
            Verdict::Inconclusive { .. } => prop_assert!(false, "six operations within the budget"),
        }
        Ok(())
    });
    assert!(linearizable.get() > 500, "only {} histories with an order", linearizable.get());
    assert!(violations.get() > 500, "only {} histories without", violations.get());
    assert!(reduced.get() > 100, "only {} counterexamples were reduced", reduced.get());
}

#[test]
fn no_reduction_creates_a_contradiction() {
    let shrunk = Cell::new(0);
    for_histories(|history| {
        let history: Vec<Operation> = history.into_iter().filter(super::matters).collect();
        if brute_force(&history) {
            for smaller in super::counterexample::all_single_reductions(&history) {
                shrunk.set(shrunk.get() + 1);
                prop_assert!(brute_force(&smaller), "a reduction created a contradiction: {smaller:?}");
            }
        }
        Ok(())
    });
    assert!(shrunk.get() > 1_000, "only {} reductions", shrunk.get());
}
