//! Compares the map with a plain one, and its incremental sums with new ones.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn revisions_count_changes() {
    let mut map = KvMap::new();
    assert!(!map.delete(b"k"), "without a key there is no change");
    assert!(!map.compare_and_swap(b"k", Some(b""), b"v"), "an absent value differs from an empty one");
    assert_eq!((map.revision(), map.len()), (0, 0));
    assert!(map.compare_and_swap(b"k", None, b"v"));
    map.put(b"other", b"");
    map.put(b"k", b"v");
    let value =
        Value { data: Bytes::from_static(b"v"), created_revision: 1, modified_revision: 3, version: 2, ttl_ms: 0 };
    assert_eq!(map.get(b"k"), Some(&value));
    assert!(map.delete(b"k"));
    assert_eq!((map.revision(), map.get(b"k"), map.is_empty()), (4, None, false));
    map.put(b"k", b"v");
    let value = map.get(b"k").map(|value| (value.created_revision, value.version));
    assert_eq!(value, Some((5, 1)), "the key was created again");
}

#[test]
fn a_key_expires_at_the_revision_that_is_named_and_at_no_other() {
    let mut map = KvMap::new();
    map.put_for(b"k", b"1", 10);
    map.put_for(b"k", b"2", 10);
    map.put(b"for ever", b"");
    let (k, ever) = (Bytes::from_static(b"k"), Bytes::from_static(b"for ever"));
    let before = map.clone();
    assert_eq!(map.expire([(&k, 1), (&ever, 3), (&Bytes::from_static(b"gone"), 1)]), 0, "the revisions are obsolete");
    assert_eq!(map, before);
    assert_eq!(map.timed_after(0).collect::<Vec<_>>(), [(2, &k, 10)]);
    assert_eq!(map.timed_after(2).count(), 0);
    assert_eq!(map.expire([(&k, 2), (&k, 2)]), 1, "a repeated key is removed once");
    assert_eq!((map.revision(), map.get(b"k"), map.timed_after(0).count()), (4, None, 0));
    map.put_for(b"k", b"3", 10);
    map.put(b"k", b"4");
    assert_eq!(map.expire([(&k, 5), (&k, 6)]), 0, "the last put had no time to live");
}

#[test]
fn a_copy_stays_what_it_was() {
    let mut map = KvMap::new();
    for key in 0..=255u8 {
        map.put(&[key], &[key]);
    }
    let (copy, before) = (map.clone(), map.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>());
    for key in 0..=255u8 {
        if key % 2 == 0 {
            assert!(map.delete(&[key]));
        } else {
            map.put(&[key], b"other");
        }
    }
    assert!(copy.iter().map(|(k, v)| (k.clone(), v.clone())).eq(before));
    assert_eq!((copy.revision(), map.revision(), map.len()), (256, 512, 128));
}

#[test]
fn every_field_changes_the_hash() {
    let mut map = KvMap::new();
    map.put(b"a", b"1");
    map.put(b"b", b"2");
    let changes: [fn(&mut KvMap); 10] = [
        |_| {},
        |map| map.put(b"a", b"1"),
        |map| map.put(b"a", b"2"),
        |map| map.put_for(b"a", b"2", 1),
        |map| map.put(b"c", b"2"),
        |map| assert!(map.delete(b"a")),
        |map| assert!(map.delete(b"b")),
        |map| map.revision += 1,
        |map| map.window = Window::new(WindowLimits::default()),
        |map| {
            map.delete(b"a");
            map.put(b"a", b"1");
        },
    ];
    let hashes: BTreeSet<u128> = changes
        .iter()
        .map(|change| {
            let mut changed = map.clone();
            change(&mut changed);
            changed.state_hash()
        })
        .collect();
    assert_eq!(hashes.len(), changes.len());

    let data = Bytes::from_static(b"1");
    let value = Value { data, created_revision: 1, modified_revision: 2, version: 2, ttl_ms: 0 };
    let entries = [
        hash_of(b"k", &value),
        hash_of(b"K", &value),
        hash_of(b"k1", &Value { data: Bytes::new(), ..value.clone() }),
        hash_of(b"", &Value { data: Bytes::from_static(b"k1"), ..value.clone() }),
        hash_of(b"k", &Value { data: Bytes::from_static(b"0"), ..value.clone() }),
        hash_of(b"k", &Value { created_revision: 2, ..value.clone() }),
        hash_of(b"k", &Value { version: 1, ..value.clone() }),
        hash_of(b"k", &Value { ttl_ms: 1, ..value.clone() }),
        hash_of(b"k", &Value { modified_revision: 1, ..value }),
    ];
    assert_eq!(BTreeSet::from(entries).len(), entries.len());
}

proptest! {
    /// The incremental sums and indices equal those of a new map, and the content equals that of a plain map.
    #[test]
    fn the_map_is_a_map(changes in proptest::collection::vec((0..6u8, 0..5u8, 0..3u8), 0..60)) {
        let (mut map, mut plain) = (KvMap::with_limits(WindowLimits { events: 7, bytes: 1 << 20 }), BTreeMap::new());
        for (key, what, value) in changes {
            let name = Bytes::copy_from_slice(&[key]);
            match what {
                0 | 1 => {
                    map.put_for(&[key], &[value], u64::from(what));
                    plain.insert(vec![key], vec![value]);
                }
                2 => prop_assert_eq!(map.delete(&[key]), plain.remove(&[key][..]).is_some()),
                3 => {
                    let is_timed = map.timed_after(0).any(|(_, timed, _)| *timed == name);
                    let at = map.get(&[key]).map_or(0, |value| value.modified_revision);
                    prop_assert_eq!(map.expire([(&name, at)]), u64::from(is_timed));
                    if is_timed {
                        plain.remove(&[key][..]);
                    }
                }
                _ => {
                    let swaps = plain.get(&[key][..]) == Some(&vec![value]);
                    prop_assert_eq!(map.compare_and_swap(&[key], Some(&[value]), &[value + 1]), swaps);
                    if swaps {
                        plain.insert(vec![key], vec![value + 1]);
                    }
                }
            }
            let content: BTreeMap<_, _> = map.iter().map(|(key, value)| (key.to_vec(), value.data.to_vec())).collect();
            prop_assert_eq!(&content, &plain);
        }
        let again = KvMap::from_parts(map.entries.clone(), map.revision, map.window.clone());
        prop_assert_eq!(again, map);
    }
}
