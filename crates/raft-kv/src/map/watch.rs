//! Watches: all changes of a range from a revision on, each once and in order.
//!
//! A watch is a query that is asked again and again: each answer names the revision after which the next one begins. So a node
//! keeps only the query, a slow client delays nobody, and a client that loses its node continues at any other. While there is no
//! answer, the node counts the revisions in which no key of the range has changed.

use super::KvMap;
use crate::command::{Answer, Query, Watch};
use raft_node::Watched;

/// An answer is full when it has this many events ...
const MAX_EVENTS: usize = 1_000;
/// ... or so many bytes of keys and values. One revision is never divided.
const MAX_BYTES: usize = 64 << 10;

impl Watch {
    /// The answer now, or none until the range changes. No key of the range has changed up to revision `seen`.
    pub(crate) fn answer(self, map: &KvMap, seen: u64) -> Watched {
        let next = map.revision().saturating_add(1);
        let from = if self.from == 0 { next } else { self.from.max(seen.saturating_add(1)) };
        // Without a remembered change, every later revision is still to come.
        let oldest = map.window().oldest().unwrap_or(next);
        if from < oldest {
            let response = Answer::Compacted { oldest, revision: map.revision() }.encode();
            return Watched::Now { response, next: None };
        }
        let (mut events, mut bytes, mut through) = (Vec::new(), 0, from - 1);
        for (revision, changes) in map.window().from(from) {
            if bytes >= MAX_BYTES || events.len() >= MAX_EVENTS {
                break;
            }
            for event in changes.iter().filter(|event| self.range.contains(&event.key)) {
                bytes += event.size();
                events.push(event.clone());
            }
            through = revision;
        }
        if events.is_empty() && self.begun {
            let prefix = self.range.common_prefix();
            // Those that wait for the next change are the same query, whatever they have seen.
            let from = if from > next { from } else { 1 };
            return Watched::Later { prefix, query: Query::Watch(Self { from, ..self }).encode() };
        }
        let next = Self { from: through.saturating_add(1), begun: true, ..self };
        let response = Answer::Changes { events, through }.encode();
        Watched::Now { response, next: Some(Query::Watch(next).encode()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WindowLimits;
    use crate::command::{Event, EventKind, KeyRange};
    use bytes::Bytes;
    use proptest::prelude::*;
    use raft_node::{ChangedKeys, StateMachine};

    fn watch(prefix: &[u8], from: u64) -> Bytes {
        Query::Watch(Watch { range: KeyRange::prefix(prefix), from, begun: true }).encode()
    }

    /// The events and the next query; `None` if there is no answer yet.
    fn ask(map: &KvMap, query: &mut Bytes) -> Option<Vec<Event>> {
        let Watched::Now { response, next } = map.watch(query, 0) else { return None };
        *query = next?;
        match Answer::decode(&response) {
            Some(Answer::Changes { events, .. }) => Some(events),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_answers_that_it_has_begun_and_then_the_changes() {
        let mut map = KvMap::new();
        map.put(b"a", b"1");
        let query = Query::Watch(Watch { range: KeyRange::prefix(b"a"), from: 0, begun: false }).encode();
        let Watched::Now { response, next: Some(mut query) } = map.watch(&query, 0) else { panic!("nothing is said") };
        assert_eq!(Answer::decode(&response), Some(Answer::Changes { events: vec![], through: 1 }));
        assert_eq!(ask(&map, &mut query), None);
        map.put(b"b", b"of another range");
        assert_eq!(ask(&map, &mut query), None);
        map.put_for(b"a", b"2", 5);
        map.expire([(&Bytes::from_static(b"a"), 3)]);
        map.put(b"ab", b"");
        map.delete(b"ab");
        let events = ask(&map, &mut query).expect("there are some");
        let said = |event: &Event| {
            let kind = match event.kind {
                EventKind::Put(_) => "put",
                EventKind::Delete => "delete",
                EventKind::Expire => "expire",
            };
            (kind, event.revision, event.previous_revision)
        };
        let expected = [("put", 3, 1), ("expire", 4, 3), ("put", 5, 0), ("delete", 6, 5)];
        assert_eq!(events.iter().map(said).collect::<Vec<_>>(), expected);
        assert_eq!(ask(&map, &mut query), None, "each once");
    }

    #[test]
    fn a_forgotten_revision_is_refused_and_a_future_one_is_awaited() {
        let mut map = KvMap::with_limits(WindowLimits { events: 2, bytes: 1 << 20 });
        assert!(matches!(map.watch(&watch(b"", 1), 0), Watched::Later { .. }), "the first revision there will be");
        for _ in 0..5 {
            map.put(b"k", b"v");
        }
        for from in 1..=3 {
            let Watched::Now { response, next: None } = map.watch(&watch(b"", from), 0) else { panic!("{from}") };
            assert_eq!(Answer::decode(&response), Some(Answer::Compacted { oldest: 4, revision: 5 }));
        }
        let mut query = watch(b"", 4);
        assert_eq!(ask(&map, &mut query).map(|events| events.len()), Some(2));
        let later = |prefix: &'static [u8], from| Watched::Later { prefix: prefix.into(), query: watch(prefix, from) };
        assert_eq!(map.watch(&watch(b"a", 1), 5), later(b"a", 1), "the node has seen that nothing has changed");
        assert_eq!(map.watch(&watch(b"a", 6), 0), later(b"a", 1), "the same");
        assert_eq!(map.watch(&watch(b"a", 7), 5), later(b"a", 7), "not the next one");
        assert_eq!(map.changed_keys(3), ChangedKeys { through: 5, keys: Some(vec!["k".into(); 2]) });
        assert_eq!(map.changed_keys(2), ChangedKeys { through: 5, keys: None }, "the third is forgotten");
        assert_eq!(map.changed_keys(u64::MAX), ChangedKeys { through: 5, keys: Some(vec![]) });
        let mut query = watch(b"", 9);
        for revision in 6..=8 {
            map.put(b"k", b"v");
            assert_eq!(ask(&map, &mut query), None, "{revision} is not asked for");
        }
        map.put(b"k", b"v");
        assert_eq!(ask(&map, &mut query).map(|events| events[0].revision), Some(9));
        assert!(matches!(map.watch(&watch(b"", u64::MAX), 0), Watched::Later { .. }));
    }

    #[test]
    fn an_answer_is_bounded_and_a_revision_is_whole() {
        let mut map = KvMap::new();
        for count in [MAX_EVENTS - 1, 3, 1] {
            map.change(|change| (0..count).for_each(|key| change.put(&key.to_be_bytes(), b"", 0)));
        }
        map.put(b"large", &vec![0; MAX_BYTES]);
        map.put(b"large", b"");
        let mut query = watch(b"", 1);
        let counts: Vec<_> = std::iter::from_fn(|| ask(&map, &mut query)).map(|events| events.len()).collect();
        assert_eq!(counts, [MAX_EVENTS + 2, 2, 1]);
    }

    proptest! {
        /// A client that asks any number of times at two nodes, one of which is behind, gets every change of the range
        /// once and in order.
        #[test]
        fn every_change_comes_once_and_in_order(steps in proptest::collection::vec((0..6u8, 0..4u8), 0..60)) {
            let (mut ahead, mut behind) = (KvMap::new(), KvMap::new());
            let (mut query, mut seen, mut puts) = (watch(&[1], 1), Vec::new(), Vec::new());
            for (what, key) in steps {
                match what {
                    0 | 1 => {
                        ahead.put(&[key / 2, key], b"");
                        puts.push([key / 2, key]);
                    }
                    2 => behind = ahead.clone(),
                    _ => {
                        let node = if what == 3 { &behind } else { &ahead };
                        seen.extend(ask(node, &mut query).into_iter().flatten());
                    }
                }
            }
            seen.extend(ask(&ahead, &mut query).into_iter().flatten());
            let revisions: Vec<u64> = seen.iter().map(|event| event.revision).collect();
            let expected: Vec<u64> =
                puts.iter().zip(1..).filter(|(key, _)| key[0] == 1).map(|(_, revision)| revision).collect();
            prop_assert_eq!(revisions, expected);
        }
    }
}
