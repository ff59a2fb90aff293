//! The folders of a new cluster's founders, from a backup.
//!
//! All founders restore the same backup with the same list of founders, and get the same log: none, after a snapshot whose
//! configuration is the founders. So they agree before they have exchanged a message, and any of them can be elected.
//!
//! The snapshot's last index is the backup's plus a gap. A session is named by the index of the entry that opened it. *Without
//! the gap:* the old cluster opened a session after the backup, the new one opens another at the same index, and the client of
//! the first gets the answers of the second.

use crate::interface::state_machine::SnapshotError;
use crate::snapshots::content::with_last;
use raft_core::{Configuration, EntryId, LogIndex, SnapshotMeta};
use raft_store::{BackupReader, Disk, DiskId, Identity, RebuildError, StoreOptions, restore_folder};
use std::io::Read;

/// How far a restored log begins after its backup: more than a cluster can have written since.
pub const RESTORE_GAP: u64 = 1_000_000_000;

/// Why a backup was not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RestoreBackupError {
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Content(#[from] SnapshotError),
}

impl From<raft_store::BackupError> for RestoreBackupError {
    fn from(error: raft_store::BackupError) -> Self {
        Self::Rebuild(error.into())
    }
}

/// Makes an empty folder that of a founder of a new cluster, with the state and the sessions of a backup. Returns the entry after
/// which its log begins: `gap` ([`RESTORE_GAP`]) after the backup's last one, the same for all founders.
///
/// # Errors
/// See [`RestoreBackupError`]. A backup that is damaged or of the same cluster, and a folder that is not empty, change nothing.
pub fn restore_backup<D: Disk, R: Read>(
    disk: &mut D,
    (identity, disk_id): (Identity, DiskId),
    mut backup: BackupReader<R>,
    founders: Configuration,
    options: StoreOptions,
    gap: u64,
) -> Result<EntryId, RestoreBackupError> {
    let data = backup.read_all()?;
    let header = backup.header();
    if header.cluster == identity.cluster {
        return Err(RebuildError::SameCluster(identity.cluster).into());
    }
    let saved = header.meta.last;
    let last = EntryId { index: LogIndex(saved.index.0.saturating_add(gap)), term: saved.term };
    let data = with_last(&data, saved, last)?;
    let meta = SnapshotMeta { last, configuration: founders, configured_at: last };
    restore_folder(disk, identity, disk_id, (&meta, &data), options)?;
    Ok(last)
}
