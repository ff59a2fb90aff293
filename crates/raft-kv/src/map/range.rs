//! Reads ranges of keys, in the order of the keys, within the limits of an answer.

use super::Entries;
use crate::command::{KeyRange, KeyValue, MAX_RANGE_BYTES, MAX_RANGE_KEYS};
use std::ops::Bound;

impl KeyRange {
    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The first keys of the range and whether it has more: at most `limit` keys, and at most `max_bytes` bytes beyond the first key.
    /// 0 means the largest limit.
    pub(crate) fn read(&self, entries: &Entries, limit: u64, max_bytes: u64) -> (Vec<KeyValue>, bool) {
        let cap = |asked, most| if asked == 0 { most } else { u64::min(asked, most) };
        let (limit, max_bytes) = (cap(limit, MAX_RANGE_KEYS), cap(max_bytes, MAX_RANGE_BYTES));
        let (mut found, mut bytes) = (Vec::new(), 0u64);
        // The tree panics on a range that ends before it begins.
        if self.is_empty() {
            return (found, false);
        }
        let end = self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&**end));
        for (key, value) in entries.range::<[u8], _>((Bound::Included(&*self.start), end)) {
            bytes = bytes.saturating_add(key.len() as u64).saturating_add(value.data.len() as u64);
            if found.len() as u64 >= limit || (!found.is_empty() && bytes > max_bytes) {
                return (found, true);
            }
            found.push(KeyValue { key: key.clone(), value: value.clone() });
        }
        (found, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KvMap;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn keys(map: &KvMap, range: &KeyRange, limit: u64, max_bytes: u64) -> (Vec<Vec<u8>>, bool) {
        let (found, more) = range.read(map.entries(), limit, max_bytes);
        (found.into_iter().map(|found| found.key.to_vec()).collect(), more)
    }

    #[test]
    fn a_prefix_is_the_keys_that_begin_with_it() {
        let table: [(&[u8], Option<&[u8]>); 5] =
            [(b"a", Some(b"b")), (b"a\xff", Some(b"b")), (b"\xff\xff", None), (b"", None), (b"a\x00", Some(b"a\x01"))];
        for (prefix, end) in table {
            let range = KeyRange::prefix(prefix);
            assert_eq!((range.end.as_deref(), &*range.common_prefix()), (end, prefix));
        }
        let one = KeyRange::key(b"a");
        assert!(one.contains(b"a") && !one.contains(b"a\x00") && !one.contains(b""));
        assert_eq!(one.common_prefix(), "a");
    }

    #[test]
    fn what_is_read_is_in_order_and_bounded() {
        let mut map = KvMap::new();
        for key in [&b"b"[..], b"aa", b"ab", b"a", b"c"] {
            map.put(key, b"1234");
        }
        let all = KeyRange::default();
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(keys(&map, &all, 0, 0), (names(&["a", "aa", "ab", "b", "c"]), false));
        assert_eq!(keys(&map, &KeyRange::prefix(b"a"), 2, 0), (names(&["a", "aa"]), true));
        assert_eq!(keys(&map, &KeyRange::prefix(b"a"), 3, 0), (names(&["a", "aa", "ab"]), false), "there is no more");
        assert_eq!(keys(&map, &all, 0, 11), (names(&["a", "aa"]), true), "eleven bytes");
        assert_eq!(keys(&map, &all, 0, 10), (names(&["a"]), true));
        assert_eq!(keys(&map, &all, 0, 1), (names(&["a"]), true), "one is always answered");
        let backwards = KeyRange { start: Bytes::from_static(b"b"), end: Some(Bytes::from_static(b"a")) };
        let nothing = KeyRange { start: Bytes::from_static(b"a"), end: Some(Bytes::from_static(b"a")) };
        assert_eq!((keys(&map, &backwards, 0, 0), keys(&map, &nothing, 0, 0)), ((vec![], false), (vec![], false)));
    }

    proptest! {
        #[test]
        fn every_key_of_a_range_begins_with_its_common_prefix(
            start in proptest::collection::vec(253u8.., 0..4),
            end in proptest::option::of(proptest::collection::vec(253u8.., 0..4)),
            key in proptest::collection::vec(253u8.., 0..4),
        ) {
            let range = KeyRange { start: start.into(), end: end.map(Bytes::from) };
            prop_assert!(!range.contains(&key) || key.starts_with(&range.common_prefix()), "{range:?}");
        }

        /// Reading page after page, each after the last key of the previous one, reads every key of the range once.
        #[test]
        fn pages_are_the_whole(
            all in proptest::collection::btree_set(proptest::collection::vec(0..4u8, 0..3), 0..30),
            start in proptest::collection::vec(0..4u8, 0..3), end: Option<[u8; 2]>, limit in 0..5u64, max_bytes in 0..9u64,
        ) {
            let mut map = KvMap::new();
            all.iter().for_each(|key| map.put(key, b"v"));
            let mut range = KeyRange { start: start.into(), end: end.map(|end| Bytes::copy_from_slice(&end)) };
            let expected: Vec<_> = all.iter().filter(|key| range.contains(key)).cloned().collect();
            let mut read = Vec::new();
            loop {
                let (page, more) = keys(&map, &range, limit, max_bytes);
                let Some(last) = page.last().cloned() else { break };
                read.extend(page);
                range.start = last.into_iter().chain([0]).collect();
                if !more {
                    prop_assert_eq!(keys(&map, &range, 1, 0).0.len(), 0);
                }
            }
            prop_assert_eq!(read, expected);
        }
    }
}
