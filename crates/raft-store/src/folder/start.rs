//! Starts a node from its folder, on any disk, so that the simulator can crash it at any call.
//!
//! An empty folder becomes a node's folder in this order, each step durable before the next begins:
//!
//! ```text
//! FORMAT               from here on every version can tell what it reads
//! META, incarnation 0  the node and its disk id. At 0 the node has promised nothing, and the next start continues
//! wal-..1              the first segment
//! the first record     if this node is a founder
//! META, incarnation 1  the start is complete. From here on a missing log is damage
//! ```
//!
//! Each later start recovers the log and then increments META's incarnation. META also counts the records that were durable
//! then. Damage to the log's end does not show in the log, but shows in this count if it is older than the last start.
//!
//! A folder of format 1 has no disk id. The next completed start draws one, writes FORMAT, then META. Each of these
//! files is replaced atomically.

use crate::disk::Disk;
use crate::folder::atomic_file::replace;
use crate::folder::folder_state::{FolderState, NEW_FORMAT_FILE, NEW_META_FILE};
use crate::folder::known_peers::{KnownPeers, NEW_PEERS_FILE};
use crate::folder::meta_file::{
    DiskId, DiskMeta, FOLDER_FORMAT, FORMAT_FILE, Identity, META_FILE, Meta, current_format,
};
use crate::store::{Store, StoreOptions};
use crate::store_error::{OpenError, StoreError};
use crate::wal::recover::Recovery;
use crate::wal::scan::ExpectedLog;
use raft_core::Write;

/// The store of a started node.
#[derive(Clone, Debug)]
pub struct Opened<D> {
    /// The store.
    pub store: Store<D>,
    /// The recovered state, which is durable.
    pub recovery: Recovery,
    /// The number of this start, from 1: durable, and higher than at every earlier start. Interrupted starts leave gaps.
    pub incarnation: u64,
    /// The folder's disk id, the same at every start.
    pub disk_id: DiskId,
}

/// Starts a node from its folder; an empty folder becomes this node's folder. `founding` is the first record of a
/// founder's log, for a new folder; a joining node has none. `drawn` is the disk id for a folder without one: random
/// bytes, drawn anew for each call.
///
/// # Errors
/// [`StoreError::Foreign`], without a change of the folder; a newer format; damage; a missing file; a failed
/// disk; options out of range. The disk is part of the error.
pub fn open_node<D: Disk>(
    mut disk: D,
    identity: Identity,
    drawn: DiskId,
    founding: Option<&Write>,
    options: StoreOptions,
) -> Result<Opened<D>, OpenError<D>> {
    let (meta, known_peers, has_unfinished_peers) = match claim(&mut disk, identity, drawn) {
        Ok(claimed) => claimed,
        Err(error) => return Err(OpenError { error, disk }),
    };
    let (mut store, mut recovery) = Store::open_expecting(disk, options, meta.expected_log(), known_peers.clone())?;
    if let (0, 0, Some(founding)) = (meta.incarnation, recovery.records, founding) {
        let founded = store.write(std::slice::from_ref(founding)).and_then(|()| store.sync());
        if let Err(error) = founded {
            return Err(OpenError { error, disk: store.into_disk() });
        }
        let torn_tail = recovery.torn_tail;
        // Every start goes through recovery, the first one too.
        (store, recovery) = Store::open_expecting(store.into_disk(), options, ExpectedLog::default(), known_peers)?;
        recovery.torn_tail = recovery.torn_tail.or(torn_tail);
    }
    let id = meta.disk.map_or(drawn, |disk| disk.id);
    let disk = DiskMeta { id, known_peers: store.known_peers().count() };
    // An unfinished PEERS is never read. The write of the count syncs the folder.
    let removed = if has_unfinished_peers { store.disk_mut().remove(NEW_PEERS_FILE) } else { Ok(()) };
    match removed.map_err(StoreError::from).and_then(|()| count_start(store.disk_mut(), &meta, recovery.records, disk))
    {
        Ok(incarnation) => Ok(Opened { store, recovery, incarnation, disk_id: id }),
        Err(error) => Err(OpenError { error, disk: store.into_disk() }),
    }
}

/// Makes the folder this node's folder, or checks that it is. Returns META, PEERS, and whether an unfinished PEERS
/// exists.
fn claim<D: Disk>(disk: &mut D, identity: Identity, drawn: DiskId) -> Result<(Meta, KnownPeers, bool), StoreError> {
    let FolderState { format, meta, known_peers, has_unfinished_peers } = FolderState::read(disk)?;
    if let Some(meta) = meta {
        if meta.identity != identity {
            let found = format!("the data of {}", meta.identity);
            return Err(StoreError::Foreign { found, expected: identity.to_string() });
        }
        if meta.incarnation > 0 {
            return Ok((meta, known_peers, has_unfinished_peers));
        }
    }
    // A killed start may have left names that are not durable. If a power loss undid them and kept later ones, that would
    // look like damage.
    disk.sync_folder()?;
    if let Some(meta) = meta {
        return Ok((meta, known_peers, has_unfinished_peers));
    }
    if format != Some(FOLDER_FORMAT) {
        replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &current_format())?;
    }
    let on = DiskMeta { id: drawn, known_peers: 0 };
    let meta = Meta { identity, incarnation: 0, records: 0, disk: Some(on) };
    replace(disk, META_FILE, NEW_META_FILE, &meta.encode())?;
    Ok((meta, known_peers, false))
}

/// Writes the next incarnation and the other counts of a completed start to META.
fn count_start<D: Disk>(disk: &mut D, meta: &Meta, records: u64, on: DiskMeta) -> Result<u64, StoreError> {
    let at_maximum = || StoreError::corrupt(META_FILE, 0, "its incarnation is at the maximum");
    let incarnation = meta.incarnation.checked_add(1).ok_or_else(at_maximum)?;
    if meta.disk.is_none() {
        // It writes FORMAT in any case: a killed start may have written it without a sync, and an earlier version must
        // see the new FORMAT before it sees a META that it cannot read.
        replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &current_format())?;
    }
    replace(disk, META_FILE, NEW_META_FILE, &Meta { incarnation, records, disk: Some(on), ..*meta }.encode())?;
    Ok(incarnation)
}
