//! Builds the folder of a node of a *new* cluster: from a backup, or from the folder of a node whose cluster lost its quorum.
//!
//! FORMAT is written last, and durably after everything else. Until then no node starts from the folder, because it has a log
//! without FORMAT. So an interrupted call leaves nothing that could be mistaken for the whole.
//!
//! The new cluster has another id than the old one, so that no node of the old one talks to it: both have entries after the
//! same log position, and they differ.

use crate::disk::Disk;
use crate::folder::atomic_file::replace;
use crate::folder::folder_state::{FolderState, NEW_FORMAT_FILE, NEW_META_FILE};
use crate::folder::meta_file::{ClusterId, DiskId, DiskMeta, FORMAT_FILE, Identity, META_FILE, Meta, current_format};
use crate::snapshots::backup_file::BackupError;
use crate::snapshots::snapshot_file::load;
use crate::store::{Store, StoreOptions};
use crate::store_error::StoreError;
use crate::wal::read_entries::read_entries;
use crate::wal::scan::scan;
use raft_core::{
    Configuration, Entries, Entry, EntryId, HardState, InstallMode, NodeId, Payload, SnapshotMeta, SnapshotRecord,
    Write, WriteId,
};

/// Bytes of entries in one write.
const WRITE_BYTES: u64 = 1 << 20;

/// Why a folder was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The id of the new cluster is that of the old one.
    #[error("the new cluster has the id {0} of the old one: choose another name for it")]
    SameCluster(ClusterId),
    /// The old folder holds no entry and no snapshot.
    #[error("the folder holds no log: there is nothing to recover")]
    NothingThere,
}

/// Makes an empty folder that of a node whose log is empty after this snapshot.
///
/// # Errors
/// See [`RebuildError`]. If the folder is not empty, nothing was changed.
pub fn restore_folder<D: Disk>(
    disk: &mut D,
    identity: Identity,
    disk_id: DiskId,
    (meta, data): (&SnapshotMeta, &[u8]),
    options: StoreOptions,
) -> Result<(), RebuildError> {
    build(disk, identity, disk_id, options, |store| {
        store.save_snapshot(meta, data)?;
        let hard_state = HardState { term: meta.last.term, voted_for: None };
        Ok(store.write(&[Write { hard_state: Some(hard_state), ..discarding(meta.clone()) }])?)
    })
}

/// What a recovered folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredFolder {
    /// The node, of the new cluster.
    pub identity: Identity,
    /// The last entry of the old folder. The entry after it makes the node the only voter.
    pub last: EntryId,
}

/// Makes an empty folder that of the only node of a new cluster, with everything that `old` holds: snapshot and log, entries
/// that may never have been committed included. An entry of a new term follows, which makes the node the only voter. `old` is
/// only read.
///
/// # Errors
/// See [`RebuildError`].
pub fn recover_folder<A: Disk, D: Disk>(
    old: &mut A,
    disk: &mut D,
    new_cluster: impl FnOnce(NodeId) -> ClusterId,
    disk_id: DiskId,
    options: StoreOptions,
) -> Result<RecoveredFolder, RebuildError> {
    let meta = FolderState::read(old)?.meta.ok_or(RebuildError::NothingThere)?;
    let summary = scan(old, meta.expected_log(), &mut |_| {})?.summary;
    let node = meta.identity.node;
    let identity = Identity { cluster: new_cluster(node), node };
    if identity.cluster == meta.identity.cluster {
        return Err(RebuildError::SameCluster(identity.cluster));
    }
    let covered = summary.snapshot.as_ref().map(|meta| meta.last);
    let last = Some(summary.last_id()).filter(|last| *last > EntryId::ZERO).max(covered);
    let last = last.ok_or(RebuildError::NothingThere)?;
    let before = HardState { voted_for: None, ..summary.hard_state };
    // Of a term in which no other node has written anything.
    let hard_state = HardState { term: before.term.next(), voted_for: None };
    // Without the addresses of the old cluster: the node completes its own.
    let id = EntryId { index: last.index.next(), term: hard_state.term };
    let alone = Entry { id, payload: Payload::Configuration(Configuration::of_voters([node])) };
    build(disk, identity, disk_id, options, |store| {
        let mut first = Write { hard_state: Some(before), ..empty() };
        if let Some(meta) = summary.snapshot.clone() {
            store.save_snapshot(&meta, &load(old, meta.last)?)?;
            first.snapshot = discarding(meta).snapshot;
        }
        store.write(&[first])?;
        let mut next = covered.unwrap_or_default().index.next();
        while next <= summary.last {
            let entries = read_entries(old, &summary, next, summary.last, WRITE_BYTES)?;
            let Some(read) = entries.last_id() else { break };
            store.write(&[Write { entries, ..empty() }])?;
            next = read.index.next();
        }
        Ok(store.write(&[Write { hard_state: Some(hard_state), entries: vec![alone].into(), ..empty() }])?)
    })?;
    Ok(RecoveredFolder { identity, last })
}

fn empty() -> Write {
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot: None, entries: Entries::new() }
}

fn discarding(meta: SnapshotMeta) -> Write {
    Write { snapshot: Some(SnapshotRecord { meta, log: InstallMode::Discard }), ..empty() }
}

/// Makes an empty folder that of a node that has started once, with the log that `fill` writes.
fn build<D: Disk>(
    disk: &mut D,
    identity: Identity,
    disk_id: DiskId,
    options: StoreOptions,
    fill: impl FnOnce(&mut Store<&mut D>) -> Result<(), RebuildError>,
) -> Result<(), RebuildError> {
    if let Some(file) = disk.list().map_err(StoreError::from)?.first() {
        return Err(StoreError::Foreign { found: file.clone(), expected: "an empty folder".to_owned() }.into());
    }
    let (mut store, _) = Store::open(&mut *disk, options).map_err(|refused| refused.error)?;
    fill(&mut store)?;
    store.sync()?;
    let records = store.position.next_record - 1;
    let meta = Meta { identity, incarnation: 1, records, disk: Some(DiskMeta { id: disk_id, known_peers: 0 }) };
    let written = replace(disk, META_FILE, NEW_META_FILE, &meta.encode())
        .and_then(|()| replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &current_format()));
    Ok(written.map_err(StoreError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{DISK_ID, Dying, IDENTITY, Memory, OPTIONS, data_of, entries, save, snapshot, vote};
    use crate::{Opened, open_node};
    use raft_core::{LogIndex, Term};

    const LAST: EntryId = EntryId::new(7, 3);
    const NEW: ClusterId = ClusterId(*b"another cluster.");

    fn founders() -> Configuration {
        Configuration::of_voters([4, 5].map(NodeId))
    }

    fn restored_meta() -> SnapshotMeta {
        SnapshotMeta { last: LAST, configuration: founders(), configured_at: LAST }
    }

    fn restore<D: Disk>(disk: &mut D, node: u64) -> Result<(), RebuildError> {
        let identity = Identity { cluster: NEW, node: NodeId(node) };
        restore_folder(disk, identity, DISK_ID, (&restored_meta(), &data_of(LAST)), OPTIONS)
    }

    fn restored(node: u64) -> Memory {
        let mut disk = Memory::default();
        restore(&mut disk, node).expect("an empty folder");
        disk
    }

    fn start(disk: Memory, node: u64) -> Result<Opened<Memory>, StoreError> {
        let founding = Write::bootstrap(founders());
        let identity = Identity { cluster: NEW, node: NodeId(node) };
        open_node(disk, identity, DiskId([1; 16]), Some(&founding), OPTIONS).map_err(|refused| refused.error)
    }

    fn recover(old: &mut Memory) -> Result<(Memory, RecoveredFolder), RebuildError> {
        let mut disk = Memory::default();
        let found = recover_folder(old, &mut disk, |_| NEW, DiskId([2; 16]), OPTIONS)?;
        Ok((disk, found))
    }

    #[test]
    fn all_founders_start_from_the_same_log() {
        let [four, five] = [4, 5].map(|node| start(restored(node), node).expect("it is whole"));
        assert_eq!(four.recovery, five.recovery);
        let restored = four.recovery.restored;
        assert_eq!(restored.check(), Ok(()));
        assert_eq!((restored.snapshot, restored.last), (Some(restored_meta()), EntryId::ZERO));
        assert_eq!(restored.hard_state, HardState { term: Term(3), voted_for: None });
        assert_eq!((four.incarnation, four.disk_id), (2, DISK_ID));
        let mut store = four.store;
        assert_eq!(store.load_snapshot(LAST), Ok(data_of(LAST)));
    }

    #[test]
    fn a_folder_with_files_and_the_old_cluster_id_are_refused() {
        let mut disk = restored(4);
        let before = disk.files.clone();
        let error = restore(&mut disk, 4).expect_err("it is not empty");
        assert!(error.to_string().contains("expected an empty folder"), "{error}");
        assert_eq!(disk.files, before);
        assert_eq!(recover(&mut disk).map(|(_, found)| found), Err(RebuildError::SameCluster(NEW)));
    }

    #[test]
    fn a_crash_at_any_call_leaves_the_whole_or_nothing_to_start_from() {
        for calls_left in 0.. {
            let mut dying = Dying { disk: Memory::default(), calls_left };
            let done = restore(&mut dying, 4).is_ok();
            let left = dying.disk;
            if left.files.is_empty() {
                continue;
            }
            match start(left, 4) {
                Ok(opened) => assert_eq!(opened.recovery.restored.snapshot.map(|meta| meta.last), Some(LAST)),
                Err(error) => assert!(!done && matches!(error, StoreError::Missing { .. }), "{error}"),
            }
            if done {
                assert!(calls_left > 10, "{calls_left} calls are too few");
                return;
            }
        }
    }

    /// A node's folder whose log ends with entries that nobody may have committed, with a snapshot or without one.
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
    fn a_recovered_folder_holds_everything_and_makes_its_node_the_only_voter() {
        for with_snapshot in [false, true] {
            let mut old = survivor(with_snapshot);
            let before = old.files.clone();
            let (disk, found) = recover(&mut old).expect("an intact folder");
            assert_eq!(old.files, before, "it is only read");
            let identity = Identity { cluster: NEW, node: NodeId(1) };
            assert_eq!(found, RecoveredFolder { identity, last: EntryId::new(6, 4) });
            let restored = start(disk, 1).expect("it is whole").recovery.restored;
            assert_eq!(restored.check(), Ok(()));
            assert_eq!(restored.hard_state, HardState { term: Term(7), voted_for: None });
            assert_eq!(restored.last, EntryId::new(7, 7));
            let alone = (LogIndex(7), Configuration::of_voters([NodeId(1)]));
            assert_eq!(restored.configurations.last(), Some(&alone));
            let first = LogIndex(if with_snapshot { 4 } else { 1 });
            assert_eq!(restored.tail.first_index(), Some(first));
            let mut store = Store::open(old, OPTIONS).expect("intact").0;
            let kept = store.read(first, LogIndex(6), u64::MAX).expect("intact");
            assert_eq!(restored.tail.between(first, LogIndex(6)), kept);
        }
    }

    #[test]
    fn there_is_nothing_to_recover_in_an_empty_folder_or_a_joiners() {
        let joiner = open_node(Memory::default(), IDENTITY, DISK_ID, None, OPTIONS).expect("new").store.into_disk();
        for mut old in [Memory::default(), joiner] {
            assert_eq!(recover(&mut old).map(|(_, found)| found), Err(RebuildError::NothingThere));
        }
    }
}
