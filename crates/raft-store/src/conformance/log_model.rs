//! A simple model of a store: all entries, and the newest hard state and snapshot.

use super::{Disk, Store};
use crate::conformance::memory_disk::Memory;
use bytes::Bytes;
use raft_core::{
    Configuration, Entries, Entry, EntryId, HardState, InstallMode, LogIndex, NodeId, RecoveredState, SnapshotMeta,
    SnapshotRecord, Write, WriteId,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub hard_state: HardState,
    pub snapshot: Option<SnapshotMeta>,
    /// The log since it was last discarded; it is never compacted.
    pub entries: Vec<Entry>,
}

impl Model {
    /// The state that these writes lead to.
    pub fn of<'a>(writes: impl IntoIterator<Item = &'a Write>) -> Self {
        let mut model = Self::default();
        writes.into_iter().for_each(|write| model.apply(write));
        model
    }

    pub fn apply(&mut self, write: &Write) {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        self.entries.retain(|entry| write.truncate_from.is_none_or(|from| entry.id.index < from));
        if let Some(record) = &write.snapshot {
            self.snapshot = Some(record.meta.clone());
            if record.log == InstallMode::Discard {
                self.entries.clear();
            }
        }
        self.entries.extend(write.entries.iter().cloned());
    }

    /// The last index that the snapshot covers; 0 without one.
    pub fn covered(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(LogIndex(0), |meta| meta.last.index)
    }

    pub fn last(&self) -> LogIndex {
        self.entries.last().map_or(self.covered(), |entry| entry.id.index)
    }

    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let first = self.entries.first()?.id.index.0;
        self.entries.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Checks a recovered state; entries below `before` may be compacted.
    pub fn check(&self, restored: &RecoveredState, before: LogIndex, tail_bytes: u64) {
        let after = self.last().next();
        let oldest = self.entries.first().map_or(after, |entry| entry.id.index);
        let first = restored.runs.first().map_or(after, |&(first, _)| first);
        let most = before.min(self.covered().next()).max(oldest);
        assert!(first >= oldest && first <= most, "begins at {first}, not in {oldest}..={most}: {restored:?}");
        let here: Entries = self.entries.iter().filter(|entry| entry.id.index >= first).cloned().collect();
        let mut expected = RecoveredState::of_log(self.hard_state, self.snapshot.clone(), here.clone());
        let mut budget = tail_bytes;
        let fitting = here.iter().rev().take_while(|entry| {
            let left = budget.checked_sub(entry.size());
            budget = left.unwrap_or(budget);
            left.is_some()
        });
        expected.tail = here.slice(here.len() - fitting.count(), here.len());
        assert_eq!(*restored, expected);
    }

    /// Checks one read: the result is empty if `first` may be compacted, and otherwise right.
    pub fn check_read<D: Disk>(&self, store: &mut Store<D>, first: u64, last: u64, max_bytes: u64, before: LogIndex) {
        let read = store.read(LogIndex(first), LogIndex(last), max_bytes).expect("a disk that works");
        let gone = LogIndex(first) < before.min(self.covered().next());
        if read.is_empty() && gone {
            return;
        }
        let mut size = 0;
        let expected = (first..=last).map_while(|index| self.entry(index)).take_while(|entry| {
            size += entry.size();
            entry.id.index.0 == first || size <= max_bytes
        });
        let expected: Entries = expected.cloned().collect();
        assert_eq!(read, expected, "{first}..={last} up to {max_bytes} bytes");
    }

    /// Checks reads from every index.
    pub fn check_reads<D: Disk>(&self, store: &mut Store<D>, before: LogIndex) {
        let end = self.last().0 + 2;
        for first in 0..=end {
            for last in [first, first + 1, end] {
                for max_bytes in [0, 2000, u64::MAX] {
                    self.check_read(store, first, last, max_bytes, before);
                }
            }
        }
    }

    /// Checks that the newest snapshot's data is that of [`data_of`].
    pub fn check_snapshot<D: Disk>(&self, store: &mut Store<D>) {
        if let Some(meta) = &self.snapshot {
            assert_eq!(store.load_snapshot(meta.last), Ok(data_of(meta.last)));
        }
    }
}

pub fn meta(last: EntryId) -> SnapshotMeta {
    let configuration = Configuration::of_voters([NodeId(1), NodeId(last.index.0 + 2)]);
    SnapshotMeta { last, configuration, configured_at: EntryId::new(1, 1) }
}

/// The data of a snapshot with this last entry, different for each.
pub fn data_of(last: EntryId) -> Bytes {
    let byte = |place: u64| (place * 7 + last.index.0 * 3 + last.term.0) as u8;
    (0..600 + last.index.0 % 64).map(byte).collect::<Vec<_>>().into()
}

pub fn file_of(last: EntryId) -> Bytes {
    let (mut store, _) = super::open(Memory::default());
    save(&mut store, last);
    store.read_snapshot(last, 0, u64::MAX).expect("it was saved").bytes
}

/// The write that names this snapshot.
pub fn snapshot(last: EntryId, log: InstallMode) -> Write {
    let snapshot = Some(SnapshotRecord { meta: meta(last), log });
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot, entries: Entries::new() }
}

pub fn save<D: Disk>(store: &mut Store<D>, last: EntryId) {
    store.save_snapshot(&meta(last), &data_of(last)).expect("a disk that works");
}
