//! Transactions: compare several keys, then read and change several, all at one revision or not at all.
//!
//! A transaction works on a copy of the map, which replaces the map at the end: a refused one leaves no trace.

use super::{Change, KvMap};
use crate::command::{
    Compare, EventKind, KeyValue, MAX_TXN_ANSWER_BYTES, MAX_TXN_OPS, Refusal, Relation, Response, Target, Txn, TxnOp,
    TxnResult, Value,
};
use std::cmp::Ordering;
use std::collections::BTreeSet;

impl Compare {
    fn holds(&self, map: &KvMap) -> bool {
        let found = map.get(&self.key);
        let number = |of: fn(&Value) -> u64, given: &u64| found.map_or(0, of).cmp(given);
        let order = match &self.target {
            Target::Value(given) => match found {
                Some(value) => value.data.cmp(given),
                None => return false,
            },
            Target::Version(given) => number(|value| value.version, given),
            Target::Created(given) => number(|value| value.created_revision, given),
            Target::Modified(given) => number(|value| value.modified_revision, given),
        };
        match self.relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::NotEqual => order != Ordering::Equal,
            Relation::Less => order == Ordering::Less,
            Relation::Greater => order == Ordering::Greater,
        }
    }
}

impl Txn {
    /// The problem of the transaction that is the same for any map; it checks both lists.
    fn problem(&self) -> Option<Refusal> {
        let lists = [&self.success, &self.failure];
        if self.compares.len() > MAX_TXN_OPS || lists.iter().any(|list| list.len() > MAX_TXN_OPS) {
            return Some(Refusal::TooMany);
        }
        let changes_twice = |list: &Vec<TxnOp>| {
            let mut changed = BTreeSet::new();
            list.iter().any(|op| match op {
                TxnOp::Put { key, .. } | TxnOp::Delete { key } => !changed.insert(key),
                TxnOp::Get { .. } => false,
            })
        };
        lists.into_iter().any(changes_twice).then_some(Refusal::DuplicateKey)
    }

    /// Executes the transaction, or refuses it without a change.
    pub(crate) fn apply(&self, map: &mut KvMap) -> Response {
        if let Some(refusal) = self.problem() {
            return Response::Refused(refusal);
        }
        let succeeded = self.compares.iter().all(|compare| compare.holds(map));
        let list = if succeeded { &self.success } else { &self.failure };
        let mut copy = map.clone();
        let results: Vec<TxnResult> = copy.change(|change| list.iter().map(|op| op.execute(change)).collect());
        let read = |result: &TxnResult| match result {
            TxnResult::Got(Some(read)) => (read.key.len() + read.value.data.len()) as u64,
            _ => 0,
        };
        if results.iter().map(read).fold(0, u64::saturating_add) > MAX_TXN_ANSWER_BYTES {
            return Response::Refused(Refusal::AnswerTooLarge);
        }
        *map = copy;
        Response::Txn { succeeded, revision: map.revision(), results }
    }
}

impl TxnOp {
    fn execute(&self, change: &mut Change<'_>) -> TxnResult {
        match self {
            Self::Put { key, value, ttl_ms } => {
                change.put(key, value, *ttl_ms);
                TxnResult::Put
            }
            Self::Delete { key } => TxnResult::Delete { existed: change.remove(key, EventKind::Delete) },
            Self::Get { key } => {
                let value = change.map.get(key).cloned();
                TxnResult::Got(value.map(|value| KeyValue { key: key.clone(), value }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> TxnOp {
        TxnOp::Put { key: key.into(), value: value.into(), ttl_ms: 0 }
    }

    fn delete(key: &'static str) -> TxnOp {
        TxnOp::Delete { key: key.into() }
    }

    fn get(key: &'static str) -> TxnOp {
        TxnOp::Get { key: key.into() }
    }

    fn unless_absent(key: &'static str, success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Txn {
        Txn { compares: vec![Compare::absent(key)], success, failure }
    }

    #[test]
    fn a_compare_holds_or_not() {
        let mut map = KvMap::new();
        map.put(b"other", b"");
        map.put(b"k", b"a");
        map.put(b"k", b"b");
        let found = [(Target::Value("b".into()), Target::Value("a".into()), Target::Value("b\0".into()))];
        let numbers = [
            (Target::Version(2), Target::Version(1), Target::Version(3)),
            (Target::Created(2), Target::Created(1), Target::Created(3)),
            (Target::Modified(3), Target::Modified(2), Target::Modified(4)),
        ];
        let holds = |key: &'static str, relation, target: &Target| {
            Compare { key: key.into(), relation, target: target.clone() }.holds(&map)
        };
        let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
        for (equal, below, above) in found.iter().chain(&numbers) {
            let of = |target| relations.map(|relation| holds("k", relation, target));
            assert_eq!(of(equal), [true, false, false, false], "{equal:?}");
            assert_eq!(of(below), [false, true, false, true], "{below:?}");
            assert_eq!(of(above), [false, true, true, false], "{above:?}");
        }
        for (value, _, _) in &found {
            assert!(relations.iter().all(|&relation| !holds("gone", relation, value)), "absent values match nothing");
        }
        assert!(holds("gone", Relation::Equal, &Target::Modified(0)), "no key has revision 0");
        assert!(Compare::absent("gone").holds(&map) && !Compare::absent("k").holds(&map));
        assert!(Compare::present("k").holds(&map) && !Compare::present("gone").holds(&map));
    }

    #[test]
    fn all_changes_have_one_revision_and_see_each_other() {
        let mut map = KvMap::new();
        map.put(b"a", b"1");
        let txn =
            unless_absent("b", vec![get("a"), put("b", "2"), get("b"), delete("a"), get("a"), delete("gone")], vec![]);
        let value = |data: &'static str, created, modified| Value {
            data: data.into(),
            created_revision: created,
            modified_revision: modified,
            version: 1,
            ttl_ms: 0,
        };
        let got = |key: &'static str, value| TxnResult::Got(Some(KeyValue { key: key.into(), value }));
        let results = vec![
            got("a", value("1", 1, 1)),
            TxnResult::Put,
            got("b", value("2", 2, 2)),
            TxnResult::Delete { existed: true },
            TxnResult::Got(None),
            TxnResult::Delete { existed: false },
        ];
        assert_eq!(txn.apply(&mut map), Response::Txn { succeeded: true, revision: 2, results });
        assert_eq!((map.revision(), map.len()), (2, 1));
        let (revision, events) = map.window().from(2).next().expect("it is remembered");
        let kinds: Vec<_> = events.iter().map(|event| (&*event.key, event.revision, event.previous_revision)).collect();
        assert_eq!((revision, kinds), (2, vec![(&b"b"[..], 2, 0), (b"a", 2, 1)]));

        let before = map.clone();
        let txn = unless_absent("b", vec![put("c", "")], vec![get("b"), delete("gone")]);
        let Response::Txn { succeeded: false, revision: 2, results } = txn.apply(&mut map) else {
            panic!("it succeeded")
        };
        assert_eq!((results.len(), map), (2, before), "nothing changed, so it has no revision");
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut map = KvMap::new();
        map.put(b"large", &vec![0; MAX_TXN_ANSWER_BYTES as usize - 5]);
        let before = map.clone();
        let many = |count| (0..count).map(|key: usize| TxnOp::Get { key: key.to_string().into() }).collect::<Vec<_>>();
        let table = [
            (unless_absent("k", vec![put("a", ""), put("a", "")], vec![]), Some(Refusal::DuplicateKey)),
            (unless_absent("k", vec![], vec![put("a", ""), delete("a")]), Some(Refusal::DuplicateKey)),
            (unless_absent("k", vec![get("a"), get("a")], vec![]), None),
            (unless_absent("k", many(MAX_TXN_OPS), many(MAX_TXN_OPS)), None),
            (unless_absent("k", many(MAX_TXN_OPS + 1), vec![]), Some(Refusal::TooMany)),
            (unless_absent("k", vec![], many(MAX_TXN_OPS + 1)), Some(Refusal::TooMany)),
            (Txn { compares: vec![Compare::absent("k"); MAX_TXN_OPS + 1], ..Txn::default() }, Some(Refusal::TooMany)),
            (unless_absent("k", vec![get("large")], vec![]), None),
            (unless_absent("k", vec![put("a", "1"), get("large"), get("a")], vec![]), Some(Refusal::AnswerTooLarge)),
            (Txn::default(), None),
        ];
        for (txn, refusal) in table {
            let response = txn.apply(&mut map);
            let refused = if let Response::Refused(refusal) = response { Some(refusal) } else { None };
            assert_eq!(refused, refusal, "{txn:?}");
            assert_eq!(map, before);
        }
    }
}
