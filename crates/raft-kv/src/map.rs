//! The map: keys, values and revisions. The map's revision is the number of changes so far; a value has the revision that
//! created its key and the one that last set it.
//!
//! Copies share the map's structure, so a copy costs the same for any size: a snapshot is a copy, and a transaction works on
//! one. In reading order: `window` has the latest changes, `range`, `txn` and `watch` execute the longer queries and
//! commands, `machine` makes the map a state machine, `snapshot` encodes it.
//!
//! The map uses neither encodings nor clocks: a command removes an expired key.

mod machine;
mod range;
mod snapshot;
mod txn;
mod watch;
mod window;

pub use snapshot::MapSnapshot;
pub use window::WindowLimits;

use crate::command::{Event, EventKind, Value};
use bytes::Bytes;
use rpds::RedBlackTreeMapSync;
use window::Window;
use xxhash_rust::xxh3::Xxh3;

/// The values by key.
pub(crate) type Entries = RedBlackTreeMapSync<Bytes, Value>;

/// A map with revisions.
///
/// Invariant: `content` is the wrapping sum of the hashes of all entries, so [`state_hash`](Self::state_hash) costs
/// the same however large the map is; `timed` has one item for each entry with a time to live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvMap {
    entries: Entries,
    /// The keys with a time to live and that time, by the revision that set them.
    timed: RedBlackTreeMapSync<(u64, Bytes), u64>,
    revision: u64,
    content: u128,
    window: Window,
}

impl Default for KvMap {
    fn default() -> Self {
        Self::new()
    }
}

impl KvMap {
    /// An empty map of revision 0 with the default limits.
    pub fn new() -> Self {
        Self::with_limits(WindowLimits::default())
    }

    /// An empty map of revision 0. The limits must be **the same on all nodes of a cluster and never change**, because
    /// the remembered changes are part of the state.
    pub fn with_limits(limits: WindowLimits) -> Self {
        Self::from_parts(Entries::new_sync(), 0, Window::new(limits))
    }

    /// A map with this content.
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

    #[allow(missing_docs)]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.size()
    }

    /// Whether the map has no key.
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

    pub(crate) const fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) const fn window(&self) -> &Window {
        &self.window
    }

    /// The keys with a time to live that were set after revision `after`, by revision: revision, key, time in milliseconds.
    pub(crate) fn timed_after(&self, after: u64) -> impl Iterator<Item = (u64, &Bytes, u64)> {
        let from = (after.saturating_add(1), Bytes::new());
        self.timed.range(from..).map(|((revision, key), ttl)| (*revision, key, *ttl))
    }

    /// Sets a key; this is always a change, even with an equal value.
    pub fn put(&mut self, key: &[u8], data: &[u8]) {
        self.put_for(key, data, 0);
    }

    /// Sets a key that lives for `ttl_ms` milliseconds; 0 means until it is removed.
    pub fn put_for(&mut self, key: &[u8], data: &[u8], ttl_ms: u64) {
        self.change(|change| change.put(key, data, ttl_ms));
    }

    /// Removes a key and returns whether it existed. If it did not, nothing changes.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.change(|change| change.remove(key, EventKind::Delete))
    }

    /// Sets a key if its value is the expected one (`None`: the key is absent), and returns whether it did.
    pub fn compare_and_swap(&mut self, key: &[u8], expected: Option<&[u8]>, data: &[u8]) -> bool {
        let matches = self.get(key).map(|value| &*value.data) == expected;
        if matches {
            self.put(key, data);
        }
        matches
    }

    /// Removes, in one change, the keys among these that have a time to live and were last set at the given revision.
    /// Returns the number of removed keys.
    pub(crate) fn expire<'a>(&mut self, keys: impl IntoIterator<Item = (&'a Bytes, u64)>) -> u64 {
        let is_due = |value: &Value, revision| value.ttl_ms > 0 && value.modified_revision == revision;
        self.change(|change| {
            let due = |map: &Self, key: &Bytes, revision| map.get(key).is_some_and(|value| is_due(value, revision));
            let removed =
                keys.into_iter().filter(|(key, at)| due(change.map, key, *at) && change.remove(key, EventKind::Expire));
            removed.count() as u64
        })
    }

    /// Changes several keys at the next revision. Without a change the revision stays the same.
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

    /// A hash of the whole state: equal maps have equal hashes. It detects accidents, not adversaries: a sum of XXH3 hashes is
    /// easy to forge.
    pub fn state_hash(&self) -> u128 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.content.to_le_bytes());
        hasher.update(&self.window.hash().to_le_bytes());
        hasher.update(&self.revision.to_le_bytes());
        hasher.digest128()
    }
}

/// Changes in progress, all at one revision.
pub(crate) struct Change<'a> {
    pub(crate) map: &'a mut KvMap,
    revision: u64,
    events: Vec<Event>,
}

impl Change<'_> {
    pub(crate) fn put(&mut self, key: &[u8], data: &[u8], ttl_ms: u64) {
        let previous = self.forget(key);
        // This is a copy: a slice would keep the whole receive buffer alive.
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

    /// Removes a key, records the event as `kind`, and returns whether the key existed.
    pub(crate) fn remove(&mut self, key: &[u8], kind: EventKind) -> bool {
        let Some(previous) = self.forget(key) else { return false };
        self.map.entries.remove_mut(key);
        let (key, revision) = (Bytes::copy_from_slice(key), self.revision);
        self.events.push(Event { key, revision, previous_revision: previous.modified_revision, kind });
        true
    }

    /// Subtracts a key's value from the sums, before it is replaced or removed.
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

/// The hash of one entry. The key's length comes first, so that different entries never hash the same bytes.
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
