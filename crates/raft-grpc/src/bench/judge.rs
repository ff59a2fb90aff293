//! Whether what clients were told is possible: nothing acknowledged is lost, nothing is applied twice, and there is an
//! order of all operations that explains every answer.
//!
//! Pure functions over records. Must not know how they came to be.

mod claim;

use raft_kv::history::{Op, OpResult, OpValue, Operation, Status};
use raft_kv::linearizability::{Counterexample, Verdict, check};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An operation, and the revision that came with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The operation. Its value is its own: no other operation of the run stores the same.
    pub operation: Operation,
    /// Of a change the map's revision after it; of a get that of the key's last change, 0 if it was not there. 0 if it
    /// did not end [`Status::Ok`].
    pub revision: u64,
    /// The map's revision when it took effect; 0 if it did not end [`Status::Ok`].
    pub map_revision: u64,
}

/// Something that cannot be. One line for people each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A change was acknowledged, and no trace of it is left.
    Lost {
        /// The change.
        change: Operation,
        /// Its revision.
        revision: u64,
        /// What is there instead.
        instead: String,
    },
    /// A value was written by one operation and appeared at more than one revision.
    AppliedTwice {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Its revisions.
        revisions: BTreeSet<u64>,
    },
    /// No order explains the answers.
    NotLinearizable(Counterexample),
    /// The search for an order was given up: that is no proof.
    Inconclusive {
        /// The first undecided key.
        key: String,
        /// How many operations it has.
        operations: usize,
        /// How many steps were spent on it.
        steps: u64,
    },
    /// A key could not be read at the end.
    NotRead {
        /// The key.
        key: String,
    },
}

/// The judgement over a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How many operations were judged, the reads at the end apart.
    pub operations: usize,
    /// What cannot be; empty: all is well.
    pub findings: Vec<Finding>,
}

/// Judges a run: its operations, and a read of each key after all of them. `budget` bounds the search for an order of
/// the operations of one key, in steps.
pub fn judge(records: &[Record], last_reads: &[Record], budget: u64) -> Judgement {
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
    // What the revisions prove need not be searched.
    of_key.retain(|_, records| !claim::holds(records));
    let history: Vec<Operation> = of_key.into_values().flatten().map(|record| record.operation.clone()).collect();
    match check(&history, budget) {
        Verdict::Linearizable => {}
        Verdict::Violation(counterexample) => findings.push(Finding::NotLinearizable(counterexample)),
        Verdict::Inconclusive { key, operations, steps } => {
            findings.push(Finding::Inconclusive { key, operations, steps });
        }
    }
    Judgement { operations: records.len(), findings }
}

/// What an operation surely stored: a value, or none if it removed one. None: it changed nothing, or nobody knows.
fn change(record: &Record) -> Option<Option<&str>> {
    let operation = &record.operation;
    match (operation.status, operation.op, &operation.value, &operation.result) {
        (Status::Ok, Op::Put, OpValue::Value(value), _) => Some(Some(value)),
        (Status::Ok, Op::Cas, OpValue::Cas(_, new), OpResult::Flag(true)) => Some(Some(new)),
        (Status::Ok, Op::Delete, _, OpResult::Flag(true)) => Some(None),
        _ => None,
    }
}

/// Every change has a revision of its own, over all keys: of two with the same one, at least one is in no history.
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

/// Whether the read at the end shows no trace of the highest acknowledged change among the operations of its key.
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
        _ => "the key is not there, and nobody removed it".into(),
    };
    Some(Finding::Lost { change: last.operation.clone(), revision: last.revision, instead })
}

/// Each value is written by one operation, so it has one revision: the one that was acknowledged, and that of every
/// read that returns it.
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

/// `812 operations, 0 lost, 0 applied twice, linearizable`.
impl fmt::Display for Judgement {
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
                "undecided: no order found for the {operations} operations of {key} in {steps} steps, none ruled out; \
                 try more --keys or fewer --clients"
            ),
            Self::NotRead { key } => {
                write!(f, "not read: {key} could not be read at the end, so nothing is proven of it")
            }
        }
    }
}

#[cfg(test)]
mod tests;
