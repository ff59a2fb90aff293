//! The map itself: keys, values and revisions. The map's revision is the number of changes so far, and every value
//! knows the revision that created its key and the one that last changed it.
//!
//! The map shares its structure with its copies, so that a copy costs the same however large it is: a snapshot is one,
//! and so is what a transaction works on. This file must not know how commands look as bytes, nor about clocks: a key whose
//! time is up is removed by a command like any other.

use crate::window::{Event, EventKind, Window, WindowLimits};
use bytes::Bytes;
use rpds::RedBlackTreeMapSync;
use xxhash_rust::xxh3::Xxh3;

/// The entries, in the order of the keys.
pub(crate) type Entries = RedBlackTreeMapSync<Bytes, Value>;

/// A map with revisions.
///
/// Invariant: `content` is the wrapping sum of the hashes of all entries, so [`state_hash`](Self::state_hash) costs
/// the same however large the map is; `timed` has exactly one place for each entry that has a time to live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvMap {
    entries: Entries,
    /// By the revision that set them: in the order in which they were set.
    timed: RedBlackTreeMapSync<(u64, Bytes), u64>,
    revision: u64,
    content: u128,
    window: Window,
}

/// A value and its history in three numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub data: Bytes,
    /// The map's revision when the key was last set without being there.
    pub created_revision: u64,
    /// The map's revision when the key was last set.
    pub modified_revision: u64,
    /// How often the key was set since it was last not there; from 1.
    pub version: u64,
    /// How long it lives, in milliseconds; 0: until it is removed.
    pub ttl_ms: u64,
}

impl Default for KvMap {
    fn default() -> Self {
        Self::new()
    }
}

impl KvMap {
    /// An empty map of revision 0, which remembers as many changes as is usual.
    pub fn new() -> Self {
        Self::with_limits(WindowLimits::default())
    }

    /// An empty map of revision 0. The limits must be **the same on all nodes of a cluster, for ever**: what is remembered is
    /// part of the state.
    pub fn with_limits(limits: WindowLimits) -> Self {
        Self::from_parts(Entries::new_sync(), 0, Window::new(limits))
    }

    /// The map with this content, which some map once had.
    pub(crate) fn from_parts(entries: Entries, revision: u64, window: Window) -> Self {
        let (mut content, mut timed) = (0u128, RedBlackTreeMapSync::new_sync());
        for (key, value) in &entries {
            content = content.wrapping_add(hash_of(key, value));
            if value.ttl_ms > 0 {
                timed.insert_mut((value.modified_revision, key.clone()), value.ttl_ms);
            }
        }
        Self { entries, timed, revision, content, window }
    }

    /// How many changes the map has seen.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many keys are there.
    pub fn len(&self) -> usize {
        self.entries.size()
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

    /// The same, to look for ranges in it.
    pub(crate) const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The changes that are remembered.
    pub(crate) const fn window(&self) -> &Window {
        &self.window
    }

    /// The keys that have a time to live and were set after revision `after`, with the revision and the time in
    /// milliseconds, in the order of the revisions.
    pub(crate) fn timed_after(&self, after: u64) -> impl Iterator<Item = (u64, &Bytes, u64)> {
        let from = (after.saturating_add(1), Bytes::new());
        self.timed.range(from..).map(|((revision, key), ttl)| (*revision, key, *ttl))
    }

    /// Sets a key; always a change, even to an equal value.
    pub fn put(&mut self, key: &[u8], data: &[u8]) {
        self.put_for(key, data, 0);
    }

    /// Sets a key that lives for `ttl_ms` milliseconds; 0: until it is removed.
    pub fn put_for(&mut self, key: &[u8], data: &[u8], ttl_ms: u64) {
        self.change(|change| change.put(key, data, ttl_ms));
    }

    /// Removes a key; whether it was there. If not, nothing changes.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.change(|change| change.remove(key, EventKind::Delete))
    }

    /// Sets a key if its value is the expected one (`None`: it is not there). Whether it was; if not, nothing changes.
    pub fn compare_and_swap(&mut self, key: &[u8], expected: Option<&[u8]>, data: &[u8]) -> bool {
        let matches = self.get(key).map(|value| &*value.data) == expected;
        if matches {
            self.put(key, data);
        }
        matches
    }

    /// Removes a key whose time is up, in a change that removes others, too.
    pub(crate) fn expire<'a>(&mut self, keys: impl IntoIterator<Item = (&'a Bytes, u64)>) -> u64 {
        let is_due = |value: &Value, revision| value.ttl_ms > 0 && value.modified_revision == revision;
        self.change(|change| {
            let due = |map: &Self, key: &Bytes, revision| map.get(key).is_some_and(|value| is_due(value, revision));
            let removed =
                keys.into_iter().filter(|(key, at)| due(change.map, key, *at) && change.remove(key, EventKind::Expire));
            removed.count() as u64
        })
    }

    /// Makes changes that all have the next revision, each of another key; if there are none the revision stays.
    pub(crate) fn change<T>(&mut self, make: impl FnOnce(&mut Change<'_>) -> T) -> T {
        let mut change = Change { revision: self.revision.saturating_add(1), map: self, events: Vec::new() };
        let result = make(&mut change);
        let Change { revision, events, .. } = change;
        if !events.is_empty() {
            self.revision = revision;
            self.window.push(revision, events);
        }
        result
    }

    /// A hash of everything in the map. Equal maps have equal hashes, whatever way they came to be. Against accidents,
    /// not against an adversary: a sum of XXH3 hashes is easy to forge.
    pub fn state_hash(&self) -> u128 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.content.to_le_bytes());
        hasher.update(&self.window.hash().to_le_bytes());
        hasher.update(&self.revision.to_le_bytes());
        hasher.digest128()
    }
}

/// Changes under way, all of one revision.
pub(crate) struct Change<'a> {
    pub(crate) map: &'a mut KvMap,
    revision: u64,
    events: Vec<Event>,
}

impl Change<'_> {
    /// Sets a key.
    pub(crate) fn put(&mut self, key: &[u8], data: &[u8], ttl_ms: u64) {
        let previous = self.forget(key);
        // Copies of their own: slices of the buffer they arrived in would keep that whole buffer alive with them.
        let (key, data) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(data));
        let value = Value {
            data,
            created_revision: previous.as_ref().map_or(self.revision, |previous| previous.created_revision),
            modified_revision: self.revision,
            version: previous.as_ref().map_or(0, |previous| previous.version).saturating_add(1),
            ttl_ms,
        };
        self.map.content = self.map.content.wrapping_add(hash_of(&key, &value));
        if ttl_ms > 0 {
            self.map.timed.insert_mut((self.revision, key.clone()), ttl_ms);
        }
        self.map.entries.insert_mut(key.clone(), value.clone());
        let previous_revision = previous.map_or(0, |previous| previous.modified_revision);
        let revision = self.revision;
        self.events.push(Event { key, revision, previous_revision, kind: EventKind::Put(value) });
    }

    /// Removes a key, and remembers it as `kind`; whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8], kind: EventKind) -> bool {
        let Some(previous) = self.forget(key) else { return false };
        self.map.entries.remove_mut(key);
        let (key, revision) = (Bytes::copy_from_slice(key), self.revision);
        self.events.push(Event { key, revision, previous_revision: previous.modified_revision, kind });
        true
    }

    /// Takes what belongs to a key out of the sums; it is about to be replaced or removed.
    fn forget(&mut self, key: &[u8]) -> Option<Value> {
        let (key, previous) = self.map.entries.get_key_value(key)?;
        let (key, previous) = (key.clone(), previous.clone());
        self.map.content = self.map.content.wrapping_sub(hash_of(&key, &previous));
        if previous.ttl_ms > 0 {
            self.map.timed.remove_mut(&(previous.modified_revision, key));
        }
        Some(previous)
    }
}

/// The hash of one entry. Lengths go in front, so that no two entries run together to the same bytes.
pub(crate) fn hash_of(key: &[u8], value: &Value) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    for number in [value.created_revision, value.modified_revision, value.version, value.ttl_ms] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&value.data);
    hasher.digest128()
}

#[cfg(test)]
mod tests;
