//! Checks a load on a cluster: no acknowledged write is lost, no command is applied twice, and one order of all operations
//! explains every result.
//!
//! Pure functions over records of operations. Each answer carries revisions of the map, which a plain history lacks.

mod revisions;

use crate::history::{Op, OpResult, OpValue, Operation, Status};
use crate::linearizability::{self, Counterexample, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An operation and the revisions in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// No other operation of the load stores the same value.
    pub operation: Operation,
    /// After a change, the map's revision; for a get, the revision of the key's last change, or 0 if the key is absent.
    /// It is 0 if the operation did not end [`Status::Ok`].
    pub revision: u64,
    /// The map's revision when the operation took effect; 0 if it did not end [`Status::Ok`].
    pub map_revision: u64,
}

/// A fault that the records show, or a reason why they prove nothing, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Finding {
    /// A change was acknowledged, and the last read lacks it.
    Lost { change: Operation, revision: u64, instead: String },
    /// One operation wrote this value, and the value appeared at several revisions.
    AppliedTwice { key: String, value: String, revisions: BTreeSet<u64> },
    /// No order explains the results.
    NotLinearizable(Counterexample),
    /// The budget ended before the search for an order; see [`Verdict::Inconclusive`].
    Inconclusive { key: String, operations: usize, steps: u64 },
    /// The last read of this key failed.
    NotRead { key: String },
}

/// The result of a check. The load holds if there are no findings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Report {
    /// How many operations were checked, without the last reads.
    pub operations: usize,
    pub findings: Vec<Finding>,
}

/// Checks the operations of a load and a last read of each key after all of them. `budget` bounds the search for an order of
/// the operations of one key, in steps.
pub fn check(records: &[Record], last_reads: &[Record], budget: u64) -> Report {
    let mut findings = Vec::new();
    one_change_a_revision(records, &mut findings);
    let mut of_key: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        of_key.entry(&record.operation.key).or_default().push(record);
    }
    for read in last_reads {
        let records = of_key.get(read.operation.key.as_str()).map_or(&[][..], Vec::as_slice);
        findings.extend(lost(records, read));
    }
    applied_twice(records.iter().chain(last_reads), &mut findings);
    for read in last_reads {
        of_key.entry(&read.operation.key).or_default().push(read);
    }
    // A key whose revisions prove its order needs no search.
    of_key.retain(|_, records| !revisions::explain(records));
    let history: Vec<Operation> = of_key.into_values().flatten().map(|record| record.operation.clone()).collect();
    match linearizability::check(&history, budget) {
        Verdict::Linearizable => {}
        Verdict::Violation(counterexample) => findings.push(Finding::NotLinearizable(counterexample)),
        Verdict::Inconclusive { key, operations, steps } => {
            findings.push(Finding::Inconclusive { key, operations, steps });
        }
    }
    Report { operations: records.len(), findings }
}

/// The effect of an acknowledged operation: a stored value, or a removed one. `None` means that it changed nothing, or
/// that its outcome is unknown.
fn change(record: &Record) -> Option<Option<&str>> {
    let operation = &record.operation;
    match (operation.status, operation.op, &operation.value, &operation.result) {
        (Status::Ok, Op::Put, OpValue::Value(value), _) => Some(Some(value)),
        (Status::Ok, Op::Cas, OpValue::Cas(_, new), OpResult::Flag(true)) => Some(Some(new)),
        (Status::Ok, Op::Delete, _, OpResult::Flag(true)) => Some(None),
        _ => None,
    }
}

/// Every change has its own revision, over all keys: of two changes with the same revision, at least one is lost.
fn one_change_a_revision(records: &[Record], findings: &mut Vec<Finding>) {
    let mut changes: BTreeMap<u64, &Record> = BTreeMap::new();
    for record in records.iter().filter(|record| change(record).is_some()) {
        if let Some(other) = changes.insert(record.revision, record) {
            findings.push(Finding::Lost {
                change: other.operation.clone(),
                revision: other.revision,
                instead: format!("the same revision was acknowledged for {}", record.operation),
            });
        }
    }
}

/// Whether the last read shows neither the newest acknowledged change of its key nor a later one.
fn lost(records: &[&Record], read: &Record) -> Option<Finding> {
    if read.operation.status != Status::Ok {
        return Some(Finding::NotRead { key: read.operation.key.clone() });
    }
    let changes = records.iter().filter_map(|record| Some((record, change(record)?)));
    let (last, stored) = changes.max_by_key(|(record, _)| record.revision)?;
    let may_have_removed =
        |record: &&Record| record.operation.op == Op::Delete && record.operation.status == Status::Unknown;
    let instead = match &read.operation.result {
        OpResult::Value(found) if read.revision < last.revision => {
            format!("the key still has {found} of revision {}", read.revision)
        }
        OpResult::Value(found) if read.revision == last.revision && stored != Some(found) => {
            format!("at that revision the key has {found}")
        }
        OpResult::Value(_) => return None,
        _ if stored.is_none() || records.iter().any(may_have_removed) => return None,
        _ => "the key is absent, and no client removed it".into(),
    };
    Some(Finding::Lost { change: last.operation.clone(), revision: last.revision, instead })
}

/// Each value is written by one operation, so its acknowledgement and every read of it carry the same revision.
fn applied_twice<'a>(records: impl Iterator<Item = &'a Record>, findings: &mut Vec<Finding>) {
    let mut revisions: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for record in records {
        let value = match &record.operation.result {
            OpResult::Value(value) => Some(value.as_str()),
            _ => change(record).flatten(),
        };
        if let Some(value) = value {
            revisions.entry((&record.operation.key, value)).or_default().insert(record.revision);
        }
    }
    for ((key, value), revisions) in revisions.into_iter().filter(|(_, revisions)| revisions.len() > 1) {
        findings.push(Finding::AppliedTwice { key: key.into(), value: value.into(), revisions });
    }
}

/// Formats a report as `812 operations, 0 lost, 0 applied twice, linearizable`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind: fn(&Finding) -> bool| self.findings.iter().filter(|finding| kind(finding)).count();
        let lost = count(|finding| matches!(finding, Finding::Lost { .. }));
        let twice = count(|finding| matches!(finding, Finding::AppliedTwice { .. }));
        let order = if count(|finding| matches!(finding, Finding::NotLinearizable(_))) > 0 {
            "not linearizable"
        } else if count(|finding| matches!(finding, Finding::Inconclusive { .. })) > 0 {
            "linearizability undecided"
        } else {
            "linearizable"
        };
        write!(f, "{} operations, {lost} lost, {twice} applied twice, {order}", self.operations)?;
        match count(|finding| matches!(finding, Finding::NotRead { .. })) {
            0 => Ok(()),
            keys => write!(f, ", {keys} keys not read at the end"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { change, revision, instead } => {
                write!(f, "lost: {change}, acknowledged at revision {revision}: {instead}")
            }
            Self::AppliedTwice { key, value, revisions } => {
                let revisions: Vec<String> = revisions.iter().map(u64::to_string).collect();
                write!(f, "applied twice: {key} had {value} at revisions {}", revisions.join(" and "))
            }
            Self::NotLinearizable(counterexample) => {
                let lines = counterexample.to_string();
                let lines: Vec<&str> = lines.lines().map(str::trim).collect();
                write!(f, "not linearizable: {}", lines.join("; "))
            }
            Self::Inconclusive { key, operations, steps } => write!(
                f,
                "undecided: {steps} steps found no order of the {operations} operations of {key} and did not rule one out; use more \
                 keys or fewer clients"
            ),
            Self::NotRead { key } => {
                write!(f, "not read: the last read of {key} failed, so its writes are not checked")
            }
        }
    }
}

#[cfg(test)]
mod tests;
