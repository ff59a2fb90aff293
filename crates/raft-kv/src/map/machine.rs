//! The map as a state machine: executes commands and answers queries. The answer to bytes that cannot be decoded is
//! `Malformed`; they change nothing, on any node.

use super::{KvMap, MapSnapshot, snapshot};
use crate::command::{Answer, Command, Query, Response};
use bytes::Bytes;
use raft_core::EntryId;
use raft_node::{ChangedKeys, SnapshotError, StateMachine, Timer, TimerName, Watched};
use std::time::Duration;

impl StateMachine for KvMap {
    type Snapshot = MapSnapshot;

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Bytes {
        let response = match Command::decode(command) {
            Some(Command::Put { key, value, ttl_ms }) => {
                self.put_for(&key, &value, ttl_ms);
                Response::Put { revision: self.revision() }
            }
            Some(Command::Delete { key }) => {
                let existed = self.delete(&key);
                Response::Delete { revision: self.revision(), existed }
            }
            Some(Command::Cas { key, expected, value }) => {
                let actual = self.get(&key).map(|value| value.data.clone());
                let swapped = self.compare_and_swap(&key, expected.as_deref(), &value);
                Response::Cas { swapped, revision: self.revision(), actual }
            }
            Some(Command::Txn(txn)) => txn.apply(self),
            Some(Command::Expire { keys }) => {
                let removed = self.expire(keys.iter().map(|(key, revision)| (key, *revision)));
                Response::Expire { revision: self.revision(), removed }
            }
            None => Response::Malformed,
        };
        response.encode()
    }

    fn query(&self, query: &Bytes) -> Bytes {
        let answer = match Query::decode(query) {
            Some(Query::Get { key }) => {
                let found = self.get(&key);
                Answer::Got {
                    value: found.map(|value| value.data.clone()),
                    modified_revision: found.map_or(0, |value| value.modified_revision),
                    revision: self.revision(),
                }
            }
            Some(Query::Range { range, limit, max_bytes }) => {
                let (entries, more) = range.read(self.entries(), limit, max_bytes);
                Answer::Ranged { entries, more, revision: self.revision() }
            }
            Some(Query::Watch(_)) | None => Answer::Malformed,
        };
        answer.encode()
    }

    fn watch(&self, query: &Bytes, seen: u64) -> Watched {
        match Query::decode(query) {
            Some(Query::Watch(watch)) => watch.answer(self, seen),
            _ => Watched::Now { response: Answer::Malformed.encode(), next: None },
        }
    }

    fn changed_keys(&self, after: u64) -> ChangedKeys {
        let first = after.saturating_add(1);
        let is_known = after >= self.revision() || self.window().oldest().is_some_and(|oldest| oldest <= first);
        let changes = || self.window().from(first).flat_map(|(_, events)| events);
        let keys = is_known.then(|| changes().map(|event| event.key.clone()).collect());
        ChangedKeys { through: self.revision(), keys }
    }

    fn timers(&self, after: u64) -> Vec<Timer> {
        let timer = |(number, name, ttl_ms): (u64, &Bytes, u64)| Timer {
            name: TimerName { number, name: name.clone() },
            after: Duration::from_millis(ttl_ms),
        };
        self.timed_after(after).map(timer).collect()
    }

    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        let is_due = |timer: &&TimerName| {
            self.get(&timer.name).is_some_and(|value| value.ttl_ms > 0 && value.modified_revision == timer.number)
        };
        let keys: Vec<_> = due.iter().filter(is_due).map(|timer| (timer.name.clone(), timer.number)).collect();
        (!keys.is_empty()).then(|| Command::Expire { keys }.encode())
    }

    fn state_hash(&self) -> u128 {
        KvMap::state_hash(self)
    }

    fn snapshot(&self) -> MapSnapshot {
        MapSnapshot::new(self.clone())
    }

    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError> {
        *self = snapshot::decode(snapshot, self.window().limits())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{KeyRange, KeyValue, Txn, TxnOp};
    use proptest::prelude::*;

    fn apply(map: &mut KvMap, command: Command) -> Option<Response> {
        Response::decode(&map.apply(EntryId::new(1, 1), &command.encode()))
    }

    fn get(map: &KvMap, key: &'static str) -> Option<Answer> {
        Answer::decode(&map.query(&Query::Get { key: key.into() }.encode()))
    }

    #[test]
    fn commands_are_executed_and_answered() {
        let mut map = KvMap::new();
        let cas = |expected: Option<&'static str>, value: &'static str| Command::Cas {
            key: "k".into(),
            expected: expected.map(Bytes::from),
            value: value.into(),
        };
        let put = Command::Put { key: "k".into(), value: "a".into(), ttl_ms: 0 };
        let txn = Txn { success: vec![TxnOp::Delete { key: "k".into() }], ..Txn::default() };
        let results = vec![crate::command::TxnResult::Delete { existed: true }];
        let steps = [
            (put, Response::Put { revision: 1 }),
            (cas(None, "b"), Response::Cas { swapped: false, revision: 1, actual: Some("a".into()) }),
            (cas(Some("a"), ""), Response::Cas { swapped: true, revision: 2, actual: Some("a".into()) }),
            (cas(None, "c"), Response::Cas { swapped: false, revision: 2, actual: Some("".into()) }),
            (Command::Delete { key: "k".into() }, Response::Delete { revision: 3, existed: true }),
            (Command::Delete { key: "k".into() }, Response::Delete { revision: 3, existed: false }),
            (cas(Some(""), "d"), Response::Cas { swapped: false, revision: 3, actual: None }),
            (cas(None, "e"), Response::Cas { swapped: true, revision: 4, actual: None }),
            (Command::Txn(txn), Response::Txn { succeeded: true, revision: 5, results }),
            (cas(None, "e"), Response::Cas { swapped: true, revision: 6, actual: None }),
            (Command::Expire { keys: vec![("k".into(), 6)] }, Response::Expire { revision: 6, removed: 0 }),
        ];
        for (command, expected) in steps {
            assert_eq!(apply(&mut map, command.clone()), Some(expected), "{command:?}");
        }
        let here = Answer::Got { value: Some("e".into()), modified_revision: 6, revision: 6 };
        assert_eq!(get(&map, "k"), Some(here));
        assert_eq!(get(&map, "gone"), Some(Answer::Got { value: None, modified_revision: 0, revision: 6 }));
        let range = Query::Range { range: KeyRange::default(), limit: 0, max_bytes: 0 };
        let value = map.get(b"k").expect("it is there").clone();
        let all = Answer::Ranged { entries: vec![KeyValue { key: "k".into(), value }], more: false, revision: 6 };
        assert_eq!(Answer::decode(&map.query(&range.encode())), Some(all));
    }

    #[test]
    fn timers_are_in_order_and_a_late_expiry_removes_nothing_newer() {
        let mut map = KvMap::new();
        map.put_for(b"a", b"", 50);
        map.put(b"ever", b"");
        map.put_for(b"b", b"", 70);
        let name = |number, name: &'static str| TimerName { number, name: name.into() };
        let timer = |number, key, ms| Timer { name: name(number, key), after: Duration::from_millis(ms) };
        assert_eq!(map.timers(0), [timer(1, "a", 50), timer(3, "b", 70)]);
        assert_eq!(map.timers(1), [timer(3, "b", 70)]);
        assert_eq!(map.timers(u64::MAX), []);
        let late = map.timed_out(&[name(1, "a"), name(3, "b"), name(2, "ever")]).expect("two are due");
        map.put_for(b"a", b"again", 50);
        let response = map.apply(EntryId::new(1, 1), &late);
        assert_eq!(Response::decode(&response), Some(Response::Expire { revision: 5, removed: 1 }));
        assert_eq!((map.get(b"a").is_some(), map.get(b"b").is_some()), (true, false));
        assert_eq!(map.timed_out(&[name(1, "a"), name(3, "b")]), None, "neither key has this revision any more");
        assert_eq!(map.timers(0), [timer(4, "a", 50)]);
    }

    #[test]
    fn malformed_bytes_change_nothing_and_are_answered() {
        let mut map = KvMap::new();
        map.put(b"k", b"v");
        let before = map.clone();
        for garbage in [&b""[..], b"\xff", b"\x0a\x7f", b"garbage"] {
            let garbage = Bytes::from_static(garbage);
            let response = map.apply(EntryId::new(1, 1), &garbage);
            assert_eq!(Response::decode(&response), Some(Response::Malformed), "{garbage:?}");
            assert_eq!(Answer::decode(&map.query(&garbage)), Some(Answer::Malformed), "{garbage:?}");
            let Watched::Now { response, next: None } = map.watch(&garbage, 0) else {
                panic!("{garbage:?} is waited for")
            };
            assert_eq!(Answer::decode(&response), Some(Answer::Malformed), "{garbage:?}");
        }
        assert_eq!(map, before);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(garbage in proptest::collection::vec(any::<u8>(), 0..64)) {
            let garbage = Bytes::from(garbage);
            let mut map = KvMap::new();
            prop_assert!(Response::decode(&map.apply(EntryId::new(1, 1), &garbage)).is_some());
            prop_assert!(Answer::decode(&map.query(&garbage)).is_some());
            let _ = (map.watch(&garbage, 0), Response::decode(&garbage), Answer::decode(&garbage));
        }
    }
}
