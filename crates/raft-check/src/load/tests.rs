//! Each finding fires, and explicable records have none.

use super::*;

/// A record at a separate time: `at` is its invocation, and it returns one later.
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
fn each_finding_has_its_history_and_a_correct_one_has_none() {
    const LOST: &[&str] = &["lost", "not linearizable"];
    let unknown_put = |at, value: &str| unknown(at, Op::Put, OpValue::Value(value.into()));
    let unknown_delete = || unknown(2, Op::Delete, OpValue::Null);
    let failed = record(1, Op::Put, OpValue::Value("a".into()), Status::Fail, OpResult::Null, 0);
    let unread = record(9, Op::Get, OpValue::Null, Status::Fail, OpResult::Null, 0);
    // It is concurrent with the second put: either order would explain the read, and the revisions show the right one.
    let mut long = put(1, "a", 1);
    long.operation.return_ns = Some(100);
    let mut other = put(2, "b", 1);
    other.operation.key = "other".into();
    let last = |value: &str, revision| get(9, Some(value), revision);
    let nothing = || get(9, None, 0);
    let table: [(&str, Vec<Record>, Record, &[&str]); 17] = [
        ("deleted", vec![put(1, "a", 1), delete(2, true, 2), delete(3, false, 2)], nothing(), &[]),
        ("no operations", vec![], nothing(), &[]),
        ("a late put explains a read", vec![put(1, "a", 1), unknown_put(2, "b")], last("b", 2), &[]),
        ("a late delete explains an absent key", vec![put(1, "a", 1), unknown_delete()], nothing(), &[]),
        ("a delete may have no effect", vec![put(1, "a", 1), unknown_delete()], last("a", 1), &[]),
        ("an older value", vec![put(1, "a", 1), put(2, "b", 2)], last("a", 1), LOST),
        ("no value", vec![put(1, "a", 1), put(2, "b", 2)], nothing(), LOST),
        ("a lost swap", vec![put(1, "a", 1), cas(2, Some("a"), "b", true, 2)], last("a", 1), LOST),
        ("a lost delete", vec![put(1, "a", 1), delete(2, true, 2)], last("a", 1), LOST),
        ("its revision alone shows the loss", vec![long, put(2, "b", 2)], get(60, Some("a"), 1), &["lost"]),
        ("one revision acknowledged twice", vec![put(1, "a", 1), other], last("a", 1), &["lost"]),
        ("another value at that revision", vec![put(1, "a", 1), unknown_put(1, "b")], last("b", 1), &["lost"]),
        ("one put at two revisions", vec![put(1, "a", 1)], last("a", 2), &["applied twice"]),
        (
            "an unknown put at two revisions",
            vec![unknown_put(1, "a"), get(2, Some("a"), 1)],
            last("a", 3),
            &["applied twice"],
        ),
        (
            "a stale read",
            vec![put(1, "a", 1), put(2, "b", 2), get(3, Some("a"), 1)],
            last("b", 2),
            &["not linearizable"],
        ),
        ("a failed write is read", vec![failed], last("a", 1), &["not linearizable"]),
        ("the last read failed", vec![put(1, "a", 1)], unread, &["not read"]),
    ];
    for (name, history, last, expected) in table {
        assert_eq!(findings(&history, &last), expected, "{name}");
    }
}

#[test]
fn a_report_is_one_line() {
    let history =
        [put(1, "a", 1), cas(2, Some("a"), "b", true, 2), cas(3, Some("a"), "c", false, 2), get(4, Some("b"), 2)];
    let report = check(&history, &[get(9, Some("b"), 2)], 1000);
    assert_eq!(
        (report.to_string(), report.findings),
        ("4 operations, 0 lost, 0 applied twice, linearizable".into(), vec![])
    );
    let history = [unknown(1, Op::Put, OpValue::Value("a".into())), get(2, Some("a"), 1)];
    let report = check(&history, &[get(9, Some("a"), 3)], 1000);
    assert_eq!(report.findings[0].to_string(), "applied twice: k had a at revisions 1 and 3");
    assert_eq!(report.to_string(), "2 operations, 0 lost, 1 applied twice, linearizable");
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
