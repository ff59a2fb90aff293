//! The map itself: keys, values and revisions. The map's revision is the number of changes so far, and every value
//! knows the revision that created its key and the one that last changed it.
//!
//! This file must not know how commands look as bytes.

use bytes::Bytes;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// A map with revisions.
///
/// Invariant: `content` is the wrapping sum of the hashes of all entries, so [`state_hash`](Self::state_hash) costs
/// the same however large the map is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvMap {
    entries: BTreeMap<Bytes, Value>,
    revision: u64,
    content: u128,
}

/// A value and its history in two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub data: Bytes,
    /// The map's revision when the key was last set without being there.
    pub created_revision: u64,
    /// The map's revision when the key was last set.
    pub modified_revision: u64,
}

impl KvMap {
    /// An empty map of revision 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The map with this content, which some map once had.
    pub(crate) fn from_parts(entries: BTreeMap<Bytes, Value>, revision: u64) -> Self {
        let content = entries.iter().fold(0u128, |sum, (key, value)| sum.wrapping_add(hash_of(key, value)));
        Self { entries, revision, content }
    }

    /// How many changes the map has seen.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many keys are there.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All keys and their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Value)> {
        self.entries.iter()
    }

    /// Sets a key; always a change, even to an equal value.
    pub fn put(&mut self, key: &[u8], data: &[u8]) {
        self.revision = self.revision.saturating_add(1);
        let previous = self.entries.remove(key);
        if let Some(previous) = &previous {
            self.content = self.content.wrapping_sub(hash_of(key, previous));
        }
        let created_revision = previous.map_or(self.revision, |previous| previous.created_revision);
        // A copy of its own: a slice of the buffer it arrived in would keep that whole buffer alive with it.
        let data = Bytes::copy_from_slice(data);
        let value = Value { data, created_revision, modified_revision: self.revision };
        self.content = self.content.wrapping_add(hash_of(key, &value));
        self.entries.insert(Bytes::copy_from_slice(key), value);
    }

    /// Removes a key; whether it was there. If not, nothing changes.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Some(previous) = self.entries.remove(key) else { return false };
        self.revision = self.revision.saturating_add(1);
        self.content = self.content.wrapping_sub(hash_of(key, &previous));
        true
    }

    /// Sets a key if its value is the expected one (`None`: it is not there). Whether it was; if not, nothing changes.
    pub fn compare_and_swap(&mut self, key: &[u8], expected: Option<&[u8]>, data: &[u8]) -> bool {
        let matches = self.get(key).map(|value| &*value.data) == expected;
        if matches {
            self.put(key, data);
        }
        matches
    }

    /// A hash of everything in the map. Equal maps have equal hashes, whatever way they came to be. Against accidents,
    /// not against an adversary: a sum of XXH3 hashes is easy to forge.
    pub fn state_hash(&self) -> u128 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.content.to_le_bytes());
        hasher.update(&self.revision.to_le_bytes());
        hasher.digest128()
    }
}

/// The hash of one entry. Lengths go in front, so that no two entries run together to the same bytes.
fn hash_of(key: &[u8], value: &Value) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(&value.created_revision.to_le_bytes());
    hasher.update(&value.modified_revision.to_le_bytes());
    hasher.update(&value.data);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn revisions_count_changes() {
        let mut map = KvMap::new();
        assert!(!map.delete(b"k"), "nothing to remove, nothing changed");
        assert!(!map.compare_and_swap(b"k", Some(b""), b"v"), "no value is not an empty value");
        assert_eq!((map.revision(), map.len()), (0, 0));
        assert!(map.compare_and_swap(b"k", None, b"v"));
        map.put(b"other", b"");
        map.put(b"k", b"v");
        let value = Value { data: Bytes::from_static(b"v"), created_revision: 1, modified_revision: 3 };
        assert_eq!(map.get(b"k"), Some(&value));
        assert!(map.delete(b"k"));
        assert_eq!((map.revision(), map.get(b"k"), map.is_empty()), (4, None, false));
        map.put(b"k", b"v");
        assert_eq!(map.get(b"k").map(|value| value.created_revision), Some(5), "a new life of the key");
    }

    #[test]
    fn every_field_changes_the_hash() {
        let mut map = KvMap::new();
        map.put(b"a", b"1");
        map.put(b"b", b"2");
        let changes: [fn(&mut KvMap); 8] = [
            |_| {},
            |map| map.put(b"a", b"1"),
            |map| map.put(b"a", b"2"),
            |map| map.put(b"c", b"2"),
            |map| assert!(map.delete(b"a")),
            |map| assert!(map.delete(b"b")),
            |map| map.revision += 1,
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

        let value = Value { data: Bytes::from_static(b"1"), created_revision: 1, modified_revision: 2 };
        let entries = [
            hash_of(b"k", &value),
            hash_of(b"K", &value),
            hash_of(b"k1", &Value { data: Bytes::new(), ..value.clone() }),
            hash_of(b"", &Value { data: Bytes::from_static(b"k1"), ..value.clone() }),
            hash_of(b"k", &Value { data: Bytes::from_static(b"0"), ..value.clone() }),
            hash_of(b"k", &Value { created_revision: 2, ..value.clone() }),
            hash_of(b"k", &Value { modified_revision: 1, ..value }),
        ];
        assert_eq!(BTreeSet::from(entries).len(), entries.len());
    }

    proptest! {
        /// The sum kept up to date is the sum computed afresh, whatever happened before.
        #[test]
        fn the_hash_depends_on_the_state_alone(changes in proptest::collection::vec((0..4u8, 0..3u8, 0..3u8), 0..40)) {
            let mut map = KvMap::new();
            for (key, what, value) in changes {
                match what {
                    0 => map.put(&[key], &[value]),
                    1 => drop(map.delete(&[key])),
                    _ => drop(map.compare_and_swap(&[key], Some(&[value]), &[value + 1])),
                }
            }
            let afresh = map.iter().fold(0u128, |sum, (key, value)| sum.wrapping_add(hash_of(key, value)));
            prop_assert_eq!(map.content, afresh);
        }
    }
}
