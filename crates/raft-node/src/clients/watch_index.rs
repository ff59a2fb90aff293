//! The watches that wait, by the prefix of the keys that they wait for. Finding those of a changed key costs as much as there are
//! different lengths of watched prefixes, and matches, however many others wait.

use bytes::Bytes;
use raft_core::RequestId;
use std::collections::{BTreeMap, BTreeSet};

/// What a group of watches waits for: a change of a key with this prefix, after which it asks this query.
pub(crate) type Awaited = (Bytes, Bytes);

/// Groups of waiting watches.
///
/// Invariant: no group is empty, and `lengths` counts the prefixes by length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchIndex {
    /// By prefix, then by query.
    prefixes: BTreeMap<Bytes, BTreeMap<Bytes, BTreeSet<RequestId>>>,
    lengths: BTreeMap<usize, usize>,
}

impl WatchIndex {
    /// Adds a watch to the group that waits for this.
    pub(crate) fn insert(&mut self, id: RequestId, (prefix, query): Awaited) {
        let length = prefix.len();
        let groups = self.prefixes.entry(prefix).or_default();
        if groups.is_empty() {
            *self.lengths.entry(length).or_default() += 1;
        }
        groups.entry(query).or_default().insert(id);
    }

    /// Removes a watch from the group that waits for this.
    pub(crate) fn remove(&mut self, id: RequestId, awaited: &Awaited) {
        let group = self.prefixes.get_mut(&awaited.0).and_then(|groups| groups.get_mut(&awaited.1));
        if group.is_some_and(|group| group.remove(&id) && group.is_empty()) {
            self.remove_group(awaited);
        }
    }

    /// Removes the group that waits for this.
    pub(crate) fn remove_group(&mut self, (prefix, query): &Awaited) -> BTreeSet<RequestId> {
        let Some(groups) = self.prefixes.get_mut(prefix) else { return BTreeSet::new() };
        let group = groups.remove(query).unwrap_or_default();
        if groups.is_empty() {
            self.prefixes.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
            }
            self.lengths.retain(|_, count| *count > 0);
        }
        group
    }

    /// What the groups wait for that wait for one of these keys.
    pub(crate) fn matching(&self, keys: &[Bytes]) -> BTreeSet<Awaited> {
        let prefixes = keys.iter().flat_map(|key| {
            let lengths = self.lengths.range(..=key.len());
            lengths.filter_map(move |(&length, _)| self.prefixes.get_key_value(&key[..length]))
        });
        prefixes.flat_map(all_of).collect()
    }

    /// What the groups wait for.
    pub(crate) fn all(&self) -> BTreeSet<Awaited> {
        self.prefixes.iter().flat_map(all_of).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }
}

fn all_of<T>((prefix, groups): (&Bytes, &BTreeMap<Bytes, T>)) -> impl Iterator<Item = Awaited> {
    groups.keys().map(|query| (prefix.clone(), query.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(0..3u8, 0..4).prop_map(Bytes::from)
    }

    proptest! {
        /// The index finds what a search through all groups finds, whatever was added and removed before.
        #[test]
        fn exactly_the_watches_of_changed_keys_are_found(
            watches in proptest::collection::vec(((bytes(), bytes()), any::<bool>()), 0..20),
            keys in proptest::collection::vec(bytes(), 0..4),
        ) {
            let (mut index, mut waiting) = (WatchIndex::default(), BTreeSet::new());
            for (id, (awaited, _)) in (0..).zip(&watches) {
                index.insert(RequestId(id), awaited.clone());
            }
            for (id, (awaited, stays)) in (0..).zip(&watches) {
                if *stays {
                    waiting.insert(awaited.clone());
                } else {
                    index.remove(RequestId(id), awaited);
                }
            }
            prop_assert_eq!(&index.all(), &waiting);
            let is_found = |(prefix, _): &&Awaited| keys.iter().any(|key| key.starts_with(prefix));
            let expected: BTreeSet<Awaited> = waiting.iter().filter(is_found).cloned().collect();
            prop_assert_eq!(index.matching(&keys), expected);
            waiting.iter().for_each(|awaited| drop(index.remove_group(awaited)));
            prop_assert_eq!(index, WatchIndex::default());
        }
    }
}
