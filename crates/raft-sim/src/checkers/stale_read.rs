//! No stale read: a get never returns a value that was replaced before the get began, by a write that was acknowledged
//! or by a value that was read. It keeps a register for each key, with the versions in the order of the applied
//! entries. That costs a constant time per operation, where `linearizability` searches.
//!
//! It is the first to catch: a read served without its round (Thesis §6.4), before the no-op of the term is committed,
//! before the state machine has caught up, or by a leader that has been replaced. It backs up `revisions`, which sees the same
//! reads earlier, by the revision in the answer; this checker needs the values alone. `linearizability` backs it up.

use super::effect::Effect;
use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_check::history::{Op, OpResult, OpValue, Operation, Status};
use raft_core::LogIndex;
use raft_proto::wire::kv::kv_command::Kind;
use std::collections::BTreeMap;

const NAME: &str = "stale_read";

#[derive(Clone, Default)]
pub(super) struct StaleRead {
    keys: BTreeMap<String, Register>,
}

/// A key. Both lists grow only at the end.
#[derive(Clone, Default)]
struct Register {
    versions: Vec<Version>,
    floors: Vec<Floor>,
}

#[derive(Clone)]
struct Version {
    index: LogIndex,
    value: Option<String>,
}

/// From this time on no operation may see a version older than that of `index`.
#[derive(Clone, Copy, Default)]
struct Floor {
    after_ns: u64,
    index: LogIndex,
    /// The record that returned this version to a client.
    record: u64,
}

impl Property for StaleRead {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            if let Effect::Carries(_, Some(change)) = &applied.effect {
                self.apply(applied.entry.id.index, change);
            }
        }
        match &fact.record.kind {
            RecordKind::Returned { operation } if operation.status == Status::Ok => self.returned(fact, operation),
            _ => None,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl StaleRead {
    fn apply(&mut self, index: LogIndex, change: &Kind) {
        let (key, value) = match change {
            Kind::Put(put) => (text(&put.key), Some(text(&put.value))),
            Kind::Delete(delete) => (text(&delete.key), None),
            Kind::Cas(cas) => {
                let key = text(&cas.key);
                let present = self.keys.get(&key).and_then(Register::present);
                if present != cas.expected.as_deref().map(text).as_deref() {
                    return;
                }
                (key, Some(text(&cas.value)))
            }
            // If clients use them, `revisions` checks the reads.
            Kind::Txn(_) | Kind::Expire(_) => return,
        };
        let register = self.keys.entry(key).or_default();
        if value.is_some() || register.present().is_some() {
            register.versions.push(Version { index, value });
        }
    }

    fn returned(&mut self, fact: &Fact<'_>, operation: &Operation) -> Option<Violation> {
        let seen: Option<&str> = match (operation.op, &operation.value, &operation.result) {
            (Op::Get, _, OpResult::Value(value)) | (Op::Put, OpValue::Value(value), _) => Some(value),
            (Op::Cas, OpValue::Cas(_, value), OpResult::Flag(true)) => Some(value),
            (Op::Get, ..) | (Op::Delete, _, OpResult::Flag(true)) => None,
            _ => return None,
        };
        if !self.keys.contains_key(&operation.key) {
            self.keys.insert(operation.key.clone(), Register::default());
        }
        let register = self.keys.get_mut(&operation.key)?;
        let floor = register.floor_at(operation.invoke_ns);
        if let Some(index) = register.first_since(floor.index, seen, operation.op == Op::Get) {
            let newest = register.floors.last().map_or(LogIndex(0), |floor| floor.index);
            if index > newest {
                let after_ns = operation.return_ns.unwrap_or(u64::MAX);
                register.floors.push(Floor { after_ns, index, record: fact.record.number });
            }
            return None;
        }
        if operation.op != Op::Get {
            return None;
        }
        let older = register.versions.iter().rev().find(|version| version.value.as_deref() == seen);
        let message = match older {
            Some(version) => format!(
                "{operation}: that is the value of entry {}, and entry {} replaced it and was known before",
                version.index, floor.index
            ),
            None if seen.is_none() => format!("{operation}: entry {} had set it and was known before", floor.index),
            None => format!("{operation}: no applied entry has written that value"),
        };
        let earlier = if floor.record == 0 { fact.record.number } else { floor.record };
        Some(fact.contradicts(NAME, earlier, message))
    }
}

impl Register {
    fn present(&self) -> Option<&str> {
        self.versions.last()?.value.as_deref()
    }

    /// The least version for an operation that is invoked at this time. A return at the same nanosecond is concurrent.
    fn floor_at(&self, invoke_ns: u64) -> Floor {
        let known = self.floors.partition_point(|floor| floor.after_ns < invoke_ns);
        known.checked_sub(1).and_then(|place| self.floors.get(place)).copied().unwrap_or_default()
    }

    /// The first version with this value that is not older than `floor` (for a write: newer).
    fn first_since(&self, floor: LogIndex, value: Option<&str>, may_equal: bool) -> Option<LogIndex> {
        if floor == LogIndex(0) && value.is_none() && may_equal {
            return Some(LogIndex(0));
        }
        let start = self.versions.partition_point(|version| version.index < floor);
        let mut rest = self.versions.get(start..)?.iter();
        let fits = |version: &&Version| version.value.as_deref() == value && (version.index > floor || may_equal);
        rest.find(fits).map(|version| version.index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{changes, opens, puts};
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_proto::wire::kv;

    /// `k` is put to a, then b, then deleted, by entries 4, 5 and 6.
    fn changed() -> Script {
        let mut script = Script::led();
        let delete = Kind::Delete(kv::Delete { key: Bytes::from_static(b"k") });
        let entries = vec![
            founding(),
            noop(2, 2),
            opens(3, 2),
            puts(4, 2, (3, 1), "a"),
            puts(5, 2, (3, 2), "b"),
            changes(6, 2, (3, 3), delete),
        ];
        script.apply(1, entries, 1);
        script
    }

    fn returns(script: &mut Script, op: Op, value: OpValue, result: OpResult, invoke_ns: u64, return_ns: u64) {
        let (status, return_ns) = (Status::Ok, Some(return_ns));
        let operation = Operation { client: 1, op, key: "k".into(), value, status, result, invoke_ns, return_ns };
        assert_eq!(operation.check(), Ok(()));
        script.push(None, RecordKind::Returned { operation });
    }

    fn put(script: &mut Script, value: &str, invoke_ns: u64, return_ns: u64) {
        returns(script, Op::Put, OpValue::Value(value.into()), OpResult::Null, invoke_ns, return_ns);
    }

    fn get(script: &mut Script, value: Option<&str>, invoke_ns: u64, return_ns: u64) {
        let result = value.map_or(OpResult::Null, |value| OpResult::Value(value.into()));
        returns(script, Op::Get, OpValue::Null, result, invoke_ns, return_ns);
    }

    #[test]
    fn a_value_replaced_by_an_acknowledged_write_fires() {
        let mut script = changed();
        put(&mut script, "a", 1, 2);
        put(&mut script, "b", 3, 4);
        get(&mut script, Some("a"), 5, 6);
        let words = "that is the value of entry 4, and entry 5 replaced it";
        assert_fires(StaleRead::default(), NAME, &script, words);
        let mut script = changed();
        put(&mut script, "a", 1, 2);
        get(&mut script, None, 3, 4);
        get(&mut script, Some("b"), 5, 6);
        assert_fires(StaleRead::default(), NAME, &script, "that is the value of entry 5, and entry 6 replaced it");
    }

    #[test]
    fn a_read_older_than_another_read_fires() {
        let mut script = changed();
        get(&mut script, Some("b"), 1, 2);
        get(&mut script, Some("a"), 3, 4);
        assert_fires(StaleRead::default(), NAME, &script, "entry 5 replaced it");
    }

    #[test]
    fn a_value_from_nowhere_fires() {
        let mut script = changed();
        get(&mut script, Some("z"), 1, 2);
        assert_fires(StaleRead::default(), NAME, &script, "no applied entry has written that value");
    }

    #[test]
    fn nothing_read_after_an_acknowledged_write_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), puts(4, 2, (3, 1), "a")], 1);
        put(&mut script, "a", 1, 2);
        get(&mut script, None, 3, 4);
        assert_fires(StaleRead::default(), NAME, &script, "entry 4 had set it and was known before");
    }

    #[test]
    fn concurrent_reads_may_see_either_and_cas_is_followed() {
        let mut script = changed();
        get(&mut script, None, 1, 2);
        put(&mut script, "a", 1, 4);
        put(&mut script, "b", 5, 8);
        get(&mut script, Some("a"), 6, 9);
        get(&mut script, Some("b"), 8, 10);
        get(&mut script, None, 9, 11);
        let cas = |expected: Option<&'static str>, value: &'static str| {
            let expected = expected.map(|value| Bytes::from_static(value.as_bytes()));
            let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()));
            Kind::Cas(kv::Cas { key, expected, value })
        };
        let entries = vec![changes(7, 2, (3, 4), cas(Some("b"), "x")), changes(8, 2, (3, 5), cas(None, "c"))];
        script.apply(1, entries, 2);
        returns(&mut script, Op::Cas, OpValue::Cas(Some("b".into()), "x".into()), OpResult::Flag(false), 12, 13);
        returns(&mut script, Op::Cas, OpValue::Cas(None, "c".into()), OpResult::Flag(true), 14, 15);
        get(&mut script, Some("c"), 16, 17);
        assert_silent(StaleRead::default(), &script);
    }
}
