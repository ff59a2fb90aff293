//! Reads a folder as a start does, without changing it: for tools.

use crate::disk::Disk;
use crate::folder::folder_state::FolderState;
use crate::folder::known_peers::KnownPeers;
use crate::folder::meta_file::{DiskId, Identity};
use crate::snapshots::snapshot_file::check_named;
use crate::store_error::StoreError;
use crate::wal::scan::{Record, TornTail, scan};
use raft_core::{EntryId, HardState, LogIndex, SnapshotMeta};

/// The content of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The node and its number of starts; `None` if the folder is empty or unfinished.
    pub owner: Option<(Identity, u64)>,
    /// The disk id; `None` in an empty folder, and in format 1.
    pub disk_id: Option<DiskId>,
    /// The registered peers.
    pub known_peers: KnownPeers,
    /// The number of the last record.
    pub records: u64,
    /// The number of the first record; earlier ones were deleted with their segments.
    pub first_record: u64,
    /// The newest hard state.
    pub hard_state: HardState,
    /// The newest snapshot. Its file was read and is valid.
    pub snapshot: Option<SnapshotMeta>,
    /// The first entry in a segment; one after the last entry if there is none.
    pub first: LogIndex,
    /// The last entry in a segment; `0@0` if there is none.
    pub last: EntryId,
    /// The tail that the next start will cut.
    pub torn_tail: Option<TornTail>,
}

/// The node whose folder this is; none if no node has completed a start on it.
///
/// # Errors
/// FORMAT, META or PEERS cannot be read, or the folder is no node's.
pub fn folder_owner<D: Disk>(disk: &mut D) -> Result<Option<Identity>, StoreError> {
    let meta = FolderState::read(disk)?.meta;
    Ok(meta.filter(|meta| meta.incarnation > 0).map(|meta| meta.identity))
}

/// Reads a folder and changes nothing. `visit` gets each record in order, up to the end or the damage. No process may
/// write to the folder meanwhile: a log that grows during the read looks damaged.
///
/// # Errors
/// The errors of a start, except that the folder may belong to any node.
pub fn inspect<D: Disk>(disk: &mut D, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Inspection, StoreError> {
    let FolderState { meta, known_peers, .. } = FolderState::read(disk)?;
    let scanned = scan(disk, meta.map(|meta| meta.expected_log()).unwrap_or_default(), visit)?;
    if let Some(named) = &scanned.summary.snapshot {
        check_named(disk, named)?;
    }
    let last = scanned.summary.last_id();
    Ok(Inspection {
        owner: meta.map(|meta| (meta.identity, meta.incarnation)),
        disk_id: meta.and_then(|meta| meta.disk).map(|disk| disk.id),
        known_peers,
        records: scanned.records,
        first_record: scanned.compacted + 1,
        hard_state: scanned.summary.hard_state,
        snapshot: scanned.summary.snapshot,
        first: scanned.summary.first,
        last,
        torn_tail: scanned.torn_tail,
    })
}
