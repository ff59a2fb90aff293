//! The window: the events of the latest revisions, limited in number and bytes. It is part of the state, so a watch can
//! continue at any node, even one that installed a snapshot.
//!
//! Beyond the limits the window drops whole revisions, the oldest first. The newest revision always stays, whatever its
//! size.

use super::hash_of;
use crate::command::{Event, EventKind};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// The bytes of an event without its key and value: about its own memory.
const EVENT_BYTES: u64 = 128;

/// The limits of the changes that the map remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// The most events; 0 counts as 1. Default 10 000.
    pub events: u64,
    /// The most bytes of keys and values, and 128 for each event. Default 16 MiB.
    pub bytes: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { events: 10_000, bytes: 16 << 20 }
    }
}

impl Event {
    /// The bytes of key and value.
    pub(crate) fn size(&self) -> usize {
        let value = if let EventKind::Put(value) = &self.kind { value.data.len() } else { 0 };
        self.key.len().saturating_add(value)
    }

    fn bytes(&self) -> u64 {
        EVENT_BYTES.saturating_add(self.size() as u64)
    }
}

/// The events of the latest revisions.
///
/// Invariant: the revisions are consecutive and none is empty; `events`, `bytes` and `content` are the sums over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    limits: WindowLimits,
    revisions: RedBlackTreeMapSync<u64, Arc<[Event]>>,
    events: u64,
    bytes: u64,
    content: u128,
}

impl Window {
    pub(crate) fn new(limits: WindowLimits) -> Self {
        Self { limits, revisions: RedBlackTreeMapSync::new_sync(), events: 0, bytes: 0, content: 0 }
    }

    pub(crate) const fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// Adds the events of the next revision, and drops the oldest revisions while the limits are exceeded.
    pub(crate) fn push(&mut self, revision: u64, events: Vec<Event>) {
        self.events = self.events.saturating_add(events.len() as u64);
        self.bytes = events.iter().fold(self.bytes, |sum, event| sum.saturating_add(event.bytes()));
        self.content = sum_of(revision, &events).fold(self.content, u128::wrapping_add);
        self.revisions.insert_mut(revision, events.into());
        while self.is_too_large() && self.revisions.size() > 1 {
            let Some((&oldest, events)) = self.revisions.first() else { return };
            let events = events.clone();
            self.events = self.events.saturating_sub(events.len() as u64);
            self.bytes = events.iter().fold(self.bytes, |sum, event| sum.saturating_sub(event.bytes()));
            self.content = sum_of(oldest, &events).fold(self.content, u128::wrapping_sub);
            self.revisions.remove_mut(&oldest);
        }
    }

    const fn is_too_large(&self) -> bool {
        self.events > self.limits.events || self.bytes > self.limits.bytes
    }

    /// The first remembered revision; `None` before the first change.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.revisions.first().map(|(&revision, _)| revision)
    }

    /// The remembered revisions from this one on, and their events.
    pub(crate) fn from(&self, revision: u64) -> impl Iterator<Item = (u64, &[Event])> {
        self.revisions.range(revision..).map(|(&revision, events)| (revision, &**events))
    }

    /// A hash of all remembered events.
    pub(crate) const fn hash(&self) -> u128 {
        self.content
    }
}

fn sum_of(revision: u64, events: &[Event]) -> impl Iterator<Item = u128> {
    events.iter().zip(0u64..).map(move |(event, place)| {
        let mut hasher = Xxh3::new();
        let (kind, value) = match &event.kind {
            EventKind::Put(value) => (0, hash_of(&event.key, value)),
            EventKind::Delete => (1, 0),
            EventKind::Expire => (2, 0),
        };
        for number in [revision, place, event.previous_revision, kind] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&value.to_le_bytes());
        hasher.update(&event.key);
        hasher.digest128()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Value;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn event(key: &[u8], length: Option<usize>) -> Event {
        let value = |length| Value {
            data: Bytes::from(vec![0; length]),
            created_revision: 1,
            modified_revision: 1,
            version: 1,
            ttl_ms: 0,
        };
        let kind = length.map_or(EventKind::Delete, |length| EventKind::Put(value(length)));
        Event { key: Bytes::copy_from_slice(key), revision: 0, previous_revision: 0, kind }
    }

    fn revisions(window: &Window) -> Vec<u64> {
        window.from(0).map(|(revision, _)| revision).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_whole_and_the_newest_never() {
        let mut window = Window::new(WindowLimits { events: 3, bytes: 10_000 });
        assert_eq!(window.oldest(), None);
        window.push(1, vec![event(b"a", None)]);
        window.push(2, vec![event(b"a", None), event(b"b", None)]);
        assert_eq!(revisions(&window), [1, 2]);
        window.push(3, vec![event(b"a", Some(100))]);
        assert_eq!((revisions(&window), window.oldest()), (vec![2, 3], Some(2)), "four events exceed the limit by one");
        window.push(4, vec![event(b"a", None); 5]);
        assert_eq!(revisions(&window), [4], "the newest revision stays, although it exceeds the limit");
        window.push(5, vec![event(b"a", Some(9_000))]);
        assert_eq!(revisions(&window), [5]);
        window.push(6, vec![event(b"a", Some(900))]);
        assert_eq!(revisions(&window), [6], "more than 10 000 bytes");
        assert_eq!(window.from(7).count(), 0);
    }

    #[test]
    fn every_field_changes_the_hash() {
        let hash = |revision, events: &[Event]| sum_of(revision, events).fold(0u128, u128::wrapping_add);
        let (put, delete) = (event(b"k", Some(1)), event(b"k", None));
        let hashes = [
            hash(1, std::slice::from_ref(&put)),
            hash(2, std::slice::from_ref(&put)),
            hash(1, std::slice::from_ref(&delete)),
            hash(1, &[Event { kind: EventKind::Expire, ..delete.clone() }]),
            hash(1, &[Event { previous_revision: 1, ..put.clone() }]),
            hash(1, &[event(b"l", Some(1))]),
            hash(1, &[event(b"k", Some(2))]),
            hash(1, &[put.clone(), delete.clone()]),
            hash(1, &[delete, put]),
        ];
        assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
    }

    proptest! {
        /// The incremental sums equal those of a new window.
        #[test]
        fn the_sums_are_the_sums(pushes in proptest::collection::vec((1..4usize, 0..60usize), 0..40)) {
            let limits = WindowLimits { events: 6, bytes: 1_000 };
            let mut window = Window::new(limits);
            for ((count, length), revision) in pushes.into_iter().zip(1..) {
                window.push(revision, (0..count).map(|key| event(&[key as u8], Some(length))).collect());
                let mut afresh = Window::new(WindowLimits { events: u64::MAX, bytes: u64::MAX });
                for (revision, events) in window.from(0) {
                    afresh.push(revision, events.to_vec());
                }
                let sums = |window: &Window| (window.events, window.bytes, window.content);
                prop_assert_eq!(sums(&window), sums(&afresh));
                prop_assert!(!window.is_too_large() || window.revisions.size() == 1);
                prop_assert_eq!(revisions(&window), (window.oldest().unwrap_or(0)..=revision).collect::<Vec<_>>());
            }
        }
    }
}
