//! The folder of a node whose cluster is given up. It is read as a start reads it, and never changed.

use crate::disk::Disk;
use crate::folder::folder_state::FolderState;
use crate::folder::meta_file::Identity;
use crate::folder::rebuild::RebuildError;
use crate::snapshots::snapshot_file::load;
use crate::store_error::StoreError;
use crate::wal::format::segment_file;
use crate::wal::log_summary::LogSummary;
use crate::wal::read_entries::read_entries;
use crate::wal::scan::scan;
use bytes::Bytes;
use raft_core::{Entries, EntryId, LogIndex, SnapshotMeta, Term};

/// Bytes of entries in one read.
const READ_BYTES: u64 = 1 << 20;

/// A folder with a log, of a node that does not run.
#[derive(Debug)]
pub struct OldFolder<D> {
    disk: D,
    identity: Identity,
    summary: LogSummary,
    last: EntryId,
}

impl<D: Disk> OldFolder<D> {
    /// Reads the whole log of a folder.
    ///
    /// # Errors
    /// [`RebuildError::NothingThere`], or the errors of a start.
    pub fn open(mut disk: D) -> Result<Self, RebuildError> {
        let meta = FolderState::read(&mut disk)?.meta.ok_or(RebuildError::NothingThere)?;
        let summary = scan(&mut disk, meta.expected_log(), &mut |_| {})?.summary;
        let covered = summary.snapshot.as_ref().map(|meta| meta.last);
        let last = Some(summary.last_id()).filter(|last| *last > EntryId::ZERO).max(covered);
        let last = last.ok_or(RebuildError::NothingThere)?;
        Ok(Self { disk, identity: meta.identity, summary, last })
    }

    /// The node and its cluster.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// The last entry, committed or not.
    pub const fn last(&self) -> EntryId {
        self.last
    }

    /// The node's term.
    pub const fn term(&self) -> Term {
        self.summary.hard_state.term
    }

    /// The newest snapshot with its data, if there is one.
    ///
    /// # Errors
    /// Its file is missing or damaged.
    pub fn load_snapshot(&mut self) -> Result<Option<(SnapshotMeta, Bytes)>, RebuildError> {
        let Some(meta) = self.summary.snapshot.clone() else { return Ok(None) };
        let data = load(&mut self.disk, meta.last)?;
        Ok(Some((meta, data)))
    }

    /// Entries from `first` on, about 1 MiB and at least one; none if `first` is after the last entry.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn entries(&mut self, first: LogIndex) -> Result<Entries, RebuildError> {
        let Self { disk, summary, .. } = self;
        let entries = read_entries(disk, summary, first, summary.last, READ_BYTES)?;
        if first <= summary.last && entries.is_empty() {
            let segment = summary.locations.front().map_or(1, |location| location.segment);
            let reason = format!("expected entry {first}, which no segment holds");
            return Err(StoreError::corrupt(&segment_file(segment), 0, reason).into());
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{DISK_ID, IDENTITY, Memory, OPTIONS, data_of, entries, save, snapshot, vote};
    use crate::open_node;
    use raft_core::{InstallMode, Write};

    /// A folder whose log ends with entries that nobody may have committed, with a snapshot or without one.
    fn survivor(with_snapshot: bool) -> Memory {
        let opened = open_node(Memory::default(), IDENTITY, DISK_ID, None, OPTIONS).expect("new");
        let mut store = opened.store;
        let mut writes = vec![vote(2, 1), entries(1, 5, 2, 90)];
        if with_snapshot {
            save(&mut store, EntryId::new(3, 2));
            writes.push(snapshot(EntryId::new(3, 2), InstallMode::Keep));
        }
        writes.push(Write { truncate_from: Some(LogIndex(5)), ..entries(5, 2, 4, 9) });
        writes.push(vote(6, 3));
        store.write(&writes).and_then(|()| store.sync()).expect("fits");
        store.into_disk()
    }

    #[test]
    fn it_is_read_to_the_last_entry_and_not_changed() {
        for with_snapshot in [false, true] {
            let mut disk = survivor(with_snapshot);
            let before = disk.files.clone();
            let mut old = OldFolder::open(&mut disk).expect("an intact folder");
            assert_eq!((old.identity(), old.last(), old.term()), (IDENTITY, EntryId::new(6, 4), Term(6)));
            let covered = old.load_snapshot().expect("intact").map(|(meta, data)| (meta.last, data));
            let last = EntryId::new(3, 2);
            assert_eq!(covered, with_snapshot.then(|| (last, data_of(last))));
            let ids: Vec<EntryId> = old.entries(LogIndex(4)).expect("intact").iter().map(|entry| entry.id).collect();
            assert_eq!(ids, [EntryId::new(4, 2), EntryId::new(5, 4), EntryId::new(6, 4)]);
            assert!(old.entries(LogIndex(7)).expect("the end").is_empty());
            assert_eq!(disk.files, before);
        }
    }

    #[test]
    fn there_is_nothing_to_recover_in_an_empty_folder_or_a_joiners() {
        let joiner = open_node(Memory::default(), IDENTITY, DISK_ID, None, OPTIONS).expect("new").store.into_disk();
        for mut old in [Memory::default(), joiner] {
            assert_eq!(OldFolder::open(&mut old).err(), Some(RebuildError::NothingThere));
        }
    }
}
