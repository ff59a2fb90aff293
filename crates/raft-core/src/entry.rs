//! Log entries, and runs of entries that share memory.

use crate::canonical::{Canon, Canonical, canonical};
use crate::id::{EntryId, LogIndex, Term};
use crate::membership::Configuration;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::ops::Deref;

/// The content of an entry.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Payload {
    /// The payload is empty: this is the first entry of a leader's term (Raft §8).
    Noop,
    /// A command for the state machine, opaque to the core.
    Command(Bytes),
    /// A configuration, in force as soon as it is in the log (Raft §6).
    Configuration(Configuration),
}

/// One entry of the log.
#[allow(missing_docs)]
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    pub id: EntryId,
    pub payload: Payload,
}

impl Entry {
    /// The entry's size for every limit in bytes: the payload and a fixed overhead for the rest.
    pub fn size(&self) -> u64 {
        const OVERHEAD: u64 = 24;
        let payload = match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.len() as u64,
            Payload::Configuration(configuration) => configuration.size(),
        };
        OVERHEAD.saturating_add(payload)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.payload {
            Payload::Noop => write!(f, "{} no-op", self.id),
            Payload::Command(command) => write!(f, "{} {} B", self.id, command.len()),
            Payload::Configuration(configuration) => write!(f, "{} {configuration}", self.id),
        }
    }
}

/// A run of consecutive entries: a range of one shared allocation. Cloning and slicing copy no entry: the log, the write,
/// the message to each peer and the entries to apply share memory.
#[derive(Clone)]
pub struct Entries {
    shared: Arc<[Entry]>,
    start: usize,
    end: usize,
}

impl Entries {
    /// The empty run.
    pub fn new() -> Self {
        Self { shared: Arc::from(Vec::new()), start: 0, end: 0 }
    }

    /// The entries at positions `from..to` of this run (not log indices); both are cut to the length of the run.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let end = self.start.saturating_add(to).min(self.end);
        let start = self.start.saturating_add(from).min(end);
        Self { shared: Arc::clone(&self.shared), start, end }
    }

    /// The part of this run with indices `first..=last`.
    #[must_use]
    pub fn between(&self, first: LogIndex, last: LogIndex) -> Self {
        let Some(begin) = self.first_index() else { return self.clone() };
        let place = |index: u64| usize::try_from(index.saturating_sub(begin.0)).unwrap_or(usize::MAX);
        self.slice(place(first.0), place(last.0.saturating_add(1)))
    }

    /// The first entries of this run whose sizes sum up to at most `max_bytes`.
    #[must_use]
    pub(crate) fn fitting(&self, max_bytes: u64) -> Self {
        let mut bytes = 0_u64;
        let count = self.iter().take_while(|entry| {
            bytes = bytes.saturating_add(entry.size());
            bytes <= max_bytes
        });
        self.slice(0, count.count())
    }

    /// Like `fitting`, but with at least one entry.
    #[must_use]
    pub(crate) fn within(&self, max_bytes: u64) -> Self {
        let fitting = self.fitting(max_bytes);
        if fitting.is_empty() { self.slice(0, 1) } else { fitting }
    }

    /// The index of the first entry.
    pub fn first_index(&self) -> Option<LogIndex> {
        self.first().map(|entry| entry.id.index)
    }

    /// The id of the last entry.
    pub fn last_id(&self) -> Option<EntryId> {
        self.last().map(|entry| entry.id)
    }

    /// The sum of the entries' sizes ([`Entry::size`]).
    pub fn size(&self) -> u64 {
        self.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.size()))
    }

    /// Whether the entries follow one another from `after`: indices without a gap, terms that never fall.
    pub fn follows(&self, after: EntryId) -> bool {
        let mut previous = after;
        self.iter().all(|entry| {
            let fits = entry.id.index == previous.index.next() && entry.id.term >= previous.term;
            previous = entry.id;
            fits && entry.id.term > Term(0)
        })
    }
}

canonical!(Entry { id } without { payload });

impl Canonical for Entries {
    fn feed(&self, canon: &mut Canon<'_>) {
        (**self).feed(canon);
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        let end = entries.len();
        Self { shared: Arc::from(entries), start: 0, end }
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.shared[self.start..self.end]
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl core::hash::Hash for Entries {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Entry>::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first(), self.last()) {
            (Some(first), Some(last)) if first.id == last.id => write!(f, "[{}]", first.id),
            (Some(first), Some(last)) => write!(f, "[{}..{}]", first.id, last.id),
            _ => write!(f, "[]"),
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn run(ids: &[(u64, u64)]) -> Entries {
        ids.iter().map(|&(index, term)| Entry { id: EntryId::new(index, term), payload: Payload::Noop }).collect()
    }

    #[test]
    fn slices_share_and_are_cut_to_what_exists() {
        let entries = run(&[(4, 1), (5, 1), (6, 2)]);
        assert_eq!(format!("{}", entries.slice(1, 9)), "[5@1..6@2]");
        assert_eq!(format!("{}", entries.slice(7, 9)), "[]");
        assert_eq!(format!("{}", entries.between(LogIndex(5), LogIndex(5))), "[5@1]");
        assert_eq!(format!("{}", entries.between(LogIndex(1), LogIndex(4))), "[4@1]");
        assert!(Arc::ptr_eq(&entries.shared, &entries.slice(1, 2).shared));
    }

    #[test]
    fn follows_wants_no_gap_and_no_falling_term() {
        assert!(run(&[(4, 1), (5, 2)]).follows(EntryId::new(3, 1)));
        assert!(run(&[]).follows(EntryId::new(3, 1)));
        assert!(!run(&[(5, 1)]).follows(EntryId::new(3, 1)), "a gap");
        assert!(!run(&[(4, 1)]).follows(EntryId::new(3, 2)), "a falling term");
        assert!(!run(&[(1, 0)]).follows(EntryId::ZERO), "no entry is created in term 0");
    }
}
