//! The order that the revisions claim. Each answer names its revision of the map, so the records define their order. If
//! that order explains every result it is a proof, whatever its source, and its check is fast. A search without it
//! takes time exponential in the number of clients that share a key.
//!
//! The revisions are not trusted: a wrong order proves nothing, and then the search decides.

use super::Record;
use crate::history::{Op, OpResult, OpValue, Status};
use std::collections::BTreeMap;

/// Whether the operations of one key, in the order of their revisions, explain all their results and fit their times.
/// Operations of unknown outcome are placed where their value was read, otherwise where a result needs them.
pub(super) fn explain(records: &[&Record]) -> bool {
    let mut unplaced = Vec::new();
    let mut state: Option<&str> = None;
    // The latest invocation of the operations placed so far: the next one takes effect at or after it.
    let mut now = 0;
    for record in order(records, &mut unplaced) {
        let known = record.operation.status == Status::Ok;
        let latest = record.operation.return_ns.filter(|_| known).unwrap_or(u64::MAX);
        let after = apply(record, state).or_else(|| {
            let place = unplaced.iter().position(|unknown| {
                let between = apply(unknown, state);
                unknown.operation.invoke_ns <= latest && between.is_some_and(|state| apply(record, state).is_some())
            })?;
            let unknown = unplaced.remove(place);
            now = now.max(unknown.operation.invoke_ns);
            apply(record, apply(unknown, state)?)
        });
        now = now.max(record.operation.invoke_ns);
        match after {
            Some(after) if now <= latest => state = after,
            _ => return false,
        }
    }
    true
}

/// The operations with a revision, in order: at each revision the change that made it, then the operations that saw it, by
/// invocation, which leaves each the most time. Other operations of unknown outcome go to `unplaced`.
fn order<'a>(records: &[&'a Record], unplaced: &mut Vec<&'a Record>) -> Vec<&'a Record> {
    let read: BTreeMap<&str, u64> = records
        .iter()
        .filter_map(|record| match &record.operation.result {
            OpResult::Value(value) => Some((value.as_str(), record.revision)),
            _ => None,
        })
        .collect();
    let mut placed = Vec::with_capacity(records.len());
    for &record in records {
        let reads = super::change(record).is_none();
        let stored = match &record.operation.value {
            OpValue::Value(new) | OpValue::Cas(_, new) => read.get(new.as_str()),
            OpValue::Null => None,
        };
        match (record.operation.status, stored) {
            (Status::Ok, _) => placed.push((record.map_revision, reads, record.operation.invoke_ns, record)),
            (Status::Unknown, Some(&revision)) => placed.push((revision, false, record.operation.invoke_ns, record)),
            (Status::Unknown, None) => unplaced.push(record),
            (Status::Fail, _) => {}
        }
    }
    placed.sort_by_key(|&(revision, reads, invoke_ns, _)| (revision, reads, invoke_ns));
    placed.into_iter().map(|(_, _, _, record)| record).collect()
}

/// The state after an operation that takes effect in this state; `None` if its result does not fit.
fn apply<'a>(record: &'a Record, state: Option<&'a str>) -> Option<Option<&'a str>> {
    let operation = &record.operation;
    let flag = match operation.result {
        OpResult::Flag(flag) => Some(flag),
        OpResult::Null | OpResult::Value(_) => None,
    };
    let (fits, after) = match (operation.op, &operation.value, &operation.result) {
        (Op::Put, OpValue::Value(new), _) => (true, Some(new.as_str())),
        (Op::Get, _, OpResult::Value(seen)) => (state == Some(seen), state),
        (Op::Get, _, _) => (state.is_none(), state),
        (Op::Cas, OpValue::Cas(old, new), _) => {
            let matches = old.as_deref() == state;
            (flag.unwrap_or(true) == matches, if matches { Some(new.as_str()) } else { state })
        }
        (Op::Delete, _, _) => (flag.is_none_or(|existed| existed == state.is_some()), None),
        (Op::Put | Op::Cas, _, _) => (false, state),
    };
    (fits && operation.check().is_ok()).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Operation;
    use crate::linearizability::{Verdict, check};

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// Records of a correct key under clients that are always busy; `unknown` of a thousand writes get no answer.
    fn truth(random: &mut Random, clients: usize, operations: usize, unknown: u64) -> Vec<Record> {
        let mut free_at = vec![0; clients];
        let mut times = Vec::new();
        for number in 0..operations {
            let client = (0..clients).min_by_key(|&client| free_at[client]).expect("there are clients");
            let invoke_ns = free_at[client] + random.below(50);
            let return_ns = invoke_ns + 2 + random.below(1000);
            free_at[client] = return_ns + 1;
            let time = invoke_ns + random.below(return_ns - invoke_ns + 1);
            times.push((time, number, client, invoke_ns, return_ns));
        }
        times.sort_unstable();
        let (mut state, mut modified, mut revision) = (None::<String>, 0, 0);
        let mut seen: Vec<Option<String>> = vec![None; clients];
        let mut records = Vec::new();
        for (_, number, client, invoke_ns, return_ns) in times {
            let op = [Op::Put, Op::Get, Op::Cas, Op::Delete][random.below(4) as usize];
            let lost = op != Op::Get && random.below(1000) < unknown;
            let applied = !lost || random.below(2) == 0;
            let before = state.clone();
            let (value, result) = match op {
                Op::Put => {
                    state = if applied { Some(format!("v{number}")) } else { state };
                    (OpValue::Value(format!("v{number}")), OpResult::Null)
                }
                Op::Get => {
                    seen[client].clone_from(&state);
                    (OpValue::Null, state.clone().map_or(OpResult::Null, OpResult::Value))
                }
                Op::Cas => {
                    let matches = seen[client] == state;
                    state = if applied && matches { Some(format!("v{number}")) } else { state };
                    (OpValue::Cas(seen[client].clone(), format!("v{number}")), OpResult::Flag(matches))
                }
                Op::Delete => {
                    let existed = state.is_some();
                    state = state.filter(|_| !applied);
                    (OpValue::Null, OpResult::Flag(existed))
                }
            };
            revision += u64::from(before != state);
            modified = if before == state { modified } else { revision };
            let (status, result) = if lost { (Status::Unknown, OpResult::Null) } else { (Status::Ok, result) };
            let client = client as u64;
            let key = "k".to_string();
            let return_ns = Some(return_ns);
            let operation = Operation { client, op, key, value, status, result, invoke_ns, return_ns };
            let of_key = if state.is_some() { modified } else { 0 };
            let of_operation = if op == Op::Get { of_key } else { revision };
            records.push(Record { operation, revision: of_operation, map_revision: revision });
        }
        records
    }

    fn claim_holds(records: &[Record]) -> bool {
        explain(&records.iter().collect::<Vec<_>>())
    }

    #[test]
    fn correct_revisions_prove_the_order_for_any_number_of_clients() {
        for clients in [1, 4, 16, 100] {
            assert!(claim_holds(&truth(&mut Random(clients as u64), clients, 5_000, 0)), "{clients} clients");
        }
        let proven = (0..100).filter(|&seed| claim_holds(&truth(&mut Random(seed), 16, 1000, 2))).count();
        assert!(proven > 90, "of 100 histories with unknown outcomes only {proven} are proven without a search");
    }

    #[test]
    fn a_claim_that_holds_is_linearizable_and_false_records_do_not_hold() {
        let (mut held, mut refuted) = (0, 0);
        for seed in 0..3_000 {
            let mut random = Random(seed);
            let mut records = truth(&mut random, 3, 8, 200);
            for _ in 0..random.below(3) {
                let place = random.below(records.len() as u64) as usize;
                let other = records[random.below(8) as usize].clone();
                let record = &mut records[place];
                match random.below(4) {
                    0 => record.map_revision = other.map_revision,
                    1 if record.operation.op == other.operation.op => record.operation.result = other.operation.result,
                    2 => record.operation.status = Status::Fail,
                    _ => record.operation.invoke_ns = record.operation.return_ns.unwrap_or_default(),
                }
                if record.operation.status != Status::Ok {
                    record.operation.result = OpResult::Null;
                }
            }
            let history: Vec<Operation> = records.iter().map(|record| record.operation.clone()).collect();
            let verdict = check(&history, 1_000_000);
            if claim_holds(&records) {
                held += 1;
                assert_eq!(verdict, Verdict::Linearizable, "seed {seed}: {records:#?}");
            } else if verdict != Verdict::Linearizable {
                refuted += 1;
            }
        }
        assert!(held > 1000 && refuted > 200, "{held} held, {refuted} were refuted");
    }
}
