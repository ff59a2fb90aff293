//! Builds the folder of a node of a *new* cluster: it begins with a snapshot, and has no log.
//!
//! META.new is made first, and FORMAT is written last, both durably. In between no node starts from the folder. So an interrupted
//! call leaves nothing that could be mistaken for the whole, or for a new folder.
//!
//! The new cluster has another id than the old one, so that no node of the old one talks to it: both have entries after the
//! same log position, and they differ.

use crate::disk::Disk;
use crate::folder::atomic_file::{create_empty, replace};
use crate::folder::folder_state::{NEW_FORMAT_FILE, NEW_META_FILE};
use crate::folder::meta_file::{ClusterId, DiskId, DiskMeta, FORMAT_FILE, Identity, META_FILE, Meta, current_format};
use crate::snapshots::backup_file::BackupError;
use crate::store::{Store, StoreOptions};
use crate::store_error::StoreError;
use bytes::Bytes;
use raft_core::{Entries, EntryId, HardState, InstallMode, SnapshotMeta, SnapshotRecord, Write, WriteId};

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

/// Makes an empty folder that of a node that has started once, in the term of a snapshot, with no log after it. `content` gives the
/// snapshot. From before its call until the end no node starts from the folder. Returns the snapshot's last entry.
///
/// # Errors
/// See [`RebuildError`], or that of `content`. If the folder is not empty, or `content` failed, nothing was changed.
pub fn restore_folder<D: Disk, E: From<RebuildError>>(
    disk: &mut D,
    identity: Identity,
    disk_id: DiskId,
    options: StoreOptions,
    content: impl FnOnce() -> Result<(SnapshotMeta, Bytes), E>,
) -> Result<EntryId, E> {
    begin(disk).map_err(RebuildError::from)?;
    match content() {
        Ok((meta, data)) => {
            fill(disk, identity, disk_id, (&meta, &data), options).map_err(RebuildError::from)?;
            Ok(meta.last)
        }
        Err(error) => {
            disk.remove(NEW_META_FILE)
                .and_then(|()| disk.sync_folder())
                .map_err(StoreError::from)
                .map_err(RebuildError::from)?;
            Err(error)
        }
    }
}

/// Makes a file that no new folder begins with. *Without it:* a restore that was interrupted before its first write leaves a folder
/// that looks new.
fn begin<D: Disk>(disk: &mut D) -> Result<(), StoreError> {
    if let Some(file) = disk.list()?.first() {
        return Err(StoreError::Foreign { found: file.clone(), expected: "an empty folder".to_owned() });
    }
    create_empty(disk, NEW_META_FILE)?;
    disk.sync(NEW_META_FILE)?;
    Ok(disk.sync_folder()?)
}

fn fill<D: Disk>(
    disk: &mut D,
    identity: Identity,
    disk_id: DiskId,
    (meta, data): (&SnapshotMeta, &[u8]),
    options: StoreOptions,
) -> Result<(), StoreError> {
    let (mut store, _) = Store::open(&mut *disk, options).map_err(|refused| refused.error)?;
    store.save_snapshot(meta, data)?;
    store.write(&[Write {
        id: WriteId(0),
        hard_state: Some(HardState { term: meta.last.term, voted_for: None }),
        truncate_from: None,
        snapshot: Some(SnapshotRecord { meta: meta.clone(), log: InstallMode::Discard }),
        entries: Entries::new(),
    }])?;
    store.sync()?;
    let records = store.position.next_record - 1;
    let meta = Meta { identity, incarnation: 1, records, disk: Some(DiskMeta { id: disk_id, known_peers: 0 }) };
    let written = replace(disk, META_FILE, NEW_META_FILE, &meta.encode())
        .and_then(|()| replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &current_format()));
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{DISK_ID, Dying, IDENTITY, Memory, OPTIONS, data_of};
    use crate::{Opened, open_node};
    use raft_core::{Configuration, EntryId, NodeId, Term};

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
        restore_folder(disk, identity, DISK_ID, OPTIONS, || Ok((restored_meta(), data_of(LAST)))).map(drop)
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
    fn a_folder_with_files_is_refused() {
        let mut disk = restored(4);
        let before = disk.files.clone();
        let error = restore(&mut disk, 4).expect_err("it is not empty");
        assert!(error.to_string().contains("expected an empty folder"), "{error}");
        assert_eq!(disk.files, before);
        let mut disk = Memory::default();
        let failed: Result<_, RebuildError> =
            restore_folder(&mut disk, IDENTITY, DISK_ID, OPTIONS, || Err(RebuildError::NothingThere));
        assert_eq!(failed, Err(RebuildError::NothingThere));
        assert!(disk.files.is_empty());
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
                Err(error) => {
                    let is_said = matches!(error, StoreError::Missing { .. } | StoreError::Unfinished);
                    assert!(!done && is_said, "{error}");
                }
            }
            if done {
                assert!(calls_left > 10, "{calls_left} calls are too few");
                return;
            }
        }
    }
}
