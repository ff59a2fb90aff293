//! Transactions: compare several keys, then read and change several, all of it at one revision or nothing.
//!
//! Whatever is wrong with one is found before anything of it takes effect: it works on a copy of the map, which costs
//! nothing, and the copy takes the map's place at the end.

use crate::KvMap;
use crate::command::{Refusal, Response};
use crate::map::{Change, Value};
use crate::range::KeyValue;
use crate::window::EventKind;
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The most compares, and the most operations in each list.
pub const MAX_TXN_OPS: usize = 128;
/// The most bytes of keys and values that a transaction may read: its answer is remembered by the session.
pub const MAX_TXN_ANSWER_BYTES: u64 = 1 << 20;

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What is to hold: all of it, or `failure` is carried out.
    pub compares: Vec<Compare>,
    /// What is done if all compares hold, in this order.
    pub success: Vec<TxnOp>,
    /// What is done if not.
    pub failure: Vec<TxnOp>,
}

/// Something that is to hold for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// How what is found relates to what is given.
    pub relation: Relation,
    /// What is compared, and with what.
    pub target: Target,
}

/// What is found, in relation to what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are equal.
    Equal,
    /// They are not equal.
    NotEqual,
    /// What is found is less.
    Less,
    /// What is found is greater.
    Greater,
}

/// What is compared, and with what. Of a key that is not there numbers are 0, and its value is in no relation to any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value, byte by byte.
    Value(Bytes),
    /// How often the key was set since it was last not there; 0: it is not there.
    Version(u64),
    /// The revision that set it without its being there.
    Created(u64),
    /// The revision that last set it.
    Modified(u64),
}

/// An operation of a transaction. It sees what those before it have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Set a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// How long it lives, in milliseconds; 0: until it is removed.
        ttl_ms: u64,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Read a key.
    Get {
        /// The key.
        key: Bytes,
    },
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnResult {
    /// The key is set.
    Put,
    /// The key is not there any more.
    Delete {
        /// Whether it was there.
        existed: bool,
    },
    /// What was read; none: the key is not there.
    Got(Option<KeyValue>),
}

impl Compare {
    /// That a key is not there.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), relation: Relation::Equal, target: Target::Version(0) }
    }

    /// That a key is there.
    pub fn present(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), relation: Relation::Greater, target: Target::Version(0) }
    }

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
    /// What is wrong with it whatever the map holds; both lists are looked at, whichever would be carried out.
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

    /// Carries it out, or refuses it and changes nothing.
    pub(crate) fn apply(&self, map: &mut KvMap) -> Response {
        if let Some(refusal) = self.problem() {
            return Response::Refused(refusal);
        }
        let succeeded = self.compares.iter().all(|compare| compare.holds(map));
        let list = if succeeded { &self.success } else { &self.failure };
        let mut copy = map.clone();
        let results: Vec<TxnResult> = copy.change(|change| list.iter().map(|op| op.carry_out(change)).collect());
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
    fn carry_out(&self, change: &mut Change<'_>) -> TxnResult {
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

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn put(key: &'static str, value: &'static str) -> TxnOp {
        TxnOp::Put { key: bytes(key), value: bytes(value), ttl_ms: 0 }
    }

    fn delete(key: &'static str) -> TxnOp {
        TxnOp::Delete { key: bytes(key) }
    }

    fn get(key: &'static str) -> TxnOp {
        TxnOp::Get { key: bytes(key) }
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
        let found = [(Target::Value(bytes("b")), Target::Value(bytes("a")), Target::Value(bytes("b\0")))];
        let numbers = [
            (Target::Version(2), Target::Version(1), Target::Version(3)),
            (Target::Created(2), Target::Created(1), Target::Created(3)),
            (Target::Modified(3), Target::Modified(2), Target::Modified(4)),
        ];
        let holds =
            |key, relation, target: &Target| Compare { key: bytes(key), relation, target: target.clone() }.holds(&map);
        let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
        for (equal, below, above) in found.iter().chain(&numbers) {
            let of = |target| relations.map(|relation| holds("k", relation, target));
            assert_eq!(of(equal), [true, false, false, false], "{equal:?}");
            assert_eq!(of(below), [false, true, false, true], "{below:?}");
            assert_eq!(of(above), [false, true, true, false], "{above:?}");
        }
        for (value, _, _) in &found {
            assert!(relations.iter().all(|&relation| !holds("gone", relation, value)), "no value is in no relation");
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
        let value = |data, created, modified| Value {
            data: bytes(data),
            created_revision: created,
            modified_revision: modified,
            version: 1,
            ttl_ms: 0,
        };
        let got = |key, value| TxnResult::Got(Some(KeyValue { key: bytes(key), value }));
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
