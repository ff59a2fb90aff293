//! Each finding fires, and nothing is found where the records can be explained.

use super::*;

/// A record at a time of its own: `at` is its invocation, it returns one later.
fn record(at: u64, op: Op, value: OpValue, status: Status, result: OpResult, revision: u64) -> Record {
    let operation = Operation {
        client: 1,
        op,
        key: "k".into(),
        value,
        status,
        result,
        invoke_ns: 2 * at,
        return_ns: Some(2 * at + 1),
    };
    assert_eq!(operation.check(), Ok(()));
    Record { operation, revision, map_revision: revision }
}

fn put(at: u64, value: &str, revision: u64) -> Record {
    record(at, Op::Put, OpValue::Value(value.into()), Status::Ok, OpResult::Null, revision)
}

fn unknown(at: u64, op: Op, value: OpValue) -> Record {
    record(at, op, value, Status::Unknown, OpResult::Null, 0)
}

fn delete(at: u64, existed: bool, revision: u64) -> Record {
    record(at, Op::Delete, OpValue::Null, Status::Ok, OpResult::Flag(existed), revision)
}

fn cas(at: u64, old: Option<&str>, new: &str, swapped: bool, revision: u64) -> Record {
    let value = OpValue::Cas(old.map(str::to_string), new.into());
    record(at, Op::Cas, value, Status::Ok, OpResult::Flag(swapped), revision)
}

fn get(at: u64, value: Option<&str>, revision: u64) -> Record {
    let result = value.map_or(OpResult::Null, |value| OpResult::Value(value.into()));
    Record { map_revision: at, ..record(at, Op::Get, OpValue::Null, Status::Ok, result, revision) }
}

/// The findings, each up to its first colon.
fn findings(records: &[Record], last: &Record) -> Vec<String> {
    let report = check(records, std::slice::from_ref(last), 100_000);
    let lines: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    assert!(lines.iter().all(|line| line.lines().count() == 1), "{lines:?}");
    lines.iter().map(|line| line.split(':').next().unwrap_or_default().to_string()).collect()
}

#[test]
fn a_correct_history_has_no_findings() {
    let history =
        [put(1, "a", 1), cas(2, Some("a"), "b", true, 2), cas(3, Some("a"), "c", false, 2), get(4, Some("b"), 2)];
    assert_eq!(findings(&history, &get(9, Some("b"), 2)), [""; 0]);
    let report = check(&history, &[get(9, Some("b"), 2)], 1000);
    assert_eq!(report.to_string(), "4 operations, 0 lost, 0 applied twice, linearizable");
    assert_eq!(findings(&[put(1, "a", 1), delete(2, true, 2), delete(3, false, 2)], &get(9, None, 0)), [""; 0]);
    assert_eq!(findings(&[], &get(9, None, 0)), [""; 0]);
}

#[test]
fn an_operation_of_unknown_outcome_can_explain_a_read() {
    let late_put = unknown(2, Op::Put, OpValue::Value("b".into()));
    assert_eq!(findings(&[put(1, "a", 1), late_put], &get(9, Some("b"), 2)), [""; 0]);
    let late_delete = unknown(2, Op::Delete, OpValue::Null);
    assert_eq!(findings(&[put(1, "a", 1), late_delete.clone()], &get(9, None, 0)), [""; 0]);
    assert_eq!(findings(&[put(1, "a", 1), late_delete], &get(9, Some("a"), 1)), [""; 0]);
}

#[test]
fn a_lost_write_is_found() {
    let history = [put(1, "a", 1), put(2, "b", 2)];
    for last in [get(9, Some("a"), 1), get(9, None, 0)] {
        assert_eq!(findings(&history, &last), ["lost", "not linearizable"], "{last:?}");
    }
    let swapped = [put(1, "a", 1), cas(2, Some("a"), "b", true, 2)];
    assert_eq!(findings(&swapped, &get(9, Some("a"), 1)), ["lost", "not linearizable"]);
    let deleted = [put(1, "a", 1), delete(2, true, 2)];
    assert_eq!(findings(&deleted, &get(9, Some("a"), 1)), ["lost", "not linearizable"]);
}

#[test]
fn a_write_lost_among_concurrent_ones_is_found_by_its_revision_alone() {
    // Concurrent, so either order would explain the read; the revisions say which one it was.
    let mut first = put(1, "a", 1);
    first.operation.return_ns = Some(100);
    assert_eq!(findings(&[first, put(2, "b", 2)], &get(60, Some("a"), 1)), ["lost"]);
}

#[test]
fn a_revision_acknowledged_twice_is_a_lost_write() {
    let mut other = put(2, "b", 1);
    other.operation.key = "other".into();
    assert_eq!(findings(&[put(1, "a", 1), other], &get(9, Some("a"), 1)), ["lost"]);
}

#[test]
fn another_value_at_the_acknowledged_revision_is_a_lost_write() {
    let concurrent = unknown(1, Op::Put, OpValue::Value("b".into()));
    assert_eq!(findings(&[put(1, "a", 1), concurrent], &get(9, Some("b"), 1)), ["lost"]);
}

#[test]
fn a_value_at_two_revisions_was_applied_twice() {
    let acknowledged = [put(1, "a", 1)];
    assert_eq!(findings(&acknowledged, &get(9, Some("a"), 2)), ["applied twice"]);
    let unknown = unknown(1, Op::Put, OpValue::Value("a".into()));
    let history = [unknown, get(2, Some("a"), 1)];
    assert_eq!(findings(&history, &get(9, Some("a"), 3)), ["applied twice"]);
    let report = check(&history, &[get(9, Some("a"), 3)], 1000);
    assert_eq!(report.findings[0].to_string(), "applied twice: k had a at revisions 1 and 3");
    assert_eq!(report.to_string(), "2 operations, 0 lost, 1 applied twice, linearizable");
}

#[test]
fn a_stale_read_is_not_linearizable() {
    let history = [put(1, "a", 1), put(2, "b", 2), get(3, Some("a"), 1)];
    assert_eq!(findings(&history, &get(9, Some("b"), 2)), ["not linearizable"]);
}

#[test]
fn a_failed_write_that_is_read_is_not_linearizable() {
    let failed = record(1, Op::Put, OpValue::Value("a".into()), Status::Fail, OpResult::Null, 0);
    assert_eq!(findings(&[failed], &get(9, Some("a"), 1)), ["not linearizable"]);
}

#[test]
fn a_search_out_of_budget_is_no_pass() {
    // These revisions prove nothing, so the search has to decide.
    let history = [put(1, "a", 2), put(2, "b", 1)];
    let report = check(&history, &[get(9, Some("b"), 1)], 1);
    let undecided = |finding: &Finding| matches!(finding, Finding::Inconclusive { operations: 3, steps: 1, .. });
    assert!(report.findings.iter().any(undecided), "{report:?}");
    assert!(report.to_string().ends_with(", linearizability undecided"), "{report}");
}

#[test]
fn a_key_that_cannot_be_read_is_no_pass() {
    let last = record(9, Op::Get, OpValue::Null, Status::Fail, OpResult::Null, 0);
    assert_eq!(findings(&[put(1, "a", 1)], &last), ["not read"]);
}
