//! Reads a folder as a start does, without changing it: for tools.

use crate::disk::{Disk, DiskErrorKind};
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
    /// The tail that the next start will cut. None in the folder of a running node, whose tail may be in flight.
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

/// How often a running node may change the log while it is read.
const ATTEMPTS: u32 = 16;

/// Reads the folder of a node that may be running, as [`inspect`] does, each time from a new `open`. Needs no lock. `visit` gets
/// each record once.
///
/// While it is read, the log grows and old files disappear, and both look like damage. So damage counts only if a second reading
/// finds it at the same place: what proves that a place was durable has been read before the place is read again.
///
/// # Errors
/// Those of [`inspect`]; [`StoreError::InUse`] if the log changes faster than it can be read.
pub fn inspect_running<D: Disk>(
    mut open: impl FnMut() -> Result<D, StoreError>,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Inspection, StoreError> {
    let (mut visited, mut before) = (0, None);
    for _ in 0..ATTEMPTS {
        // Records are never rewritten, so their numbers tell which are new.
        let found = inspect(&mut open()?, &mut |record| {
            if record.number > visited {
                visited = record.number;
                visit(record);
            }
        });
        let place = match found {
            Ok(found) => return Ok(Inspection { torn_tail: None, ..found }),
            Err(StoreError::Corrupt { ref file, offset, .. }) => (file.clone(), offset),
            Err(StoreError::Missing { ref file, .. }) => (file.clone(), 0),
            Err(StoreError::Disk(ref error)) if error.kind == DiskErrorKind::NotFound => (error.file.clone(), 0),
            Err(error) => return Err(error),
        };
        if before.as_ref() == Some(&place) {
            return found;
        }
        before = Some(place);
    }
    Err(StoreError::InUse { pid: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{DISK_ID, IDENTITY, Memory, OPTIONS, entries, vote};
    use crate::open_node;
    use crate::wal::format::segment_file;

    /// A running node's disk, after each of some groups.
    fn moments() -> Vec<Memory> {
        let mut store = open_node(Memory::default(), IDENTITY, DISK_ID, None, OPTIONS).expect("new").store;
        let mut moments = vec![store.disk().clone()];
        for group in 0..4 {
            let writes = [vote(group + 1, 1), entries(group * 3 + 1, 3, group + 1, 90)];
            store.write(&writes).and_then(|()| store.sync()).expect("fits");
            moments.push(store.disk().clone());
        }
        moments
    }

    /// What a reader sees in turn; the last view stays.
    fn look(views: &[Memory]) -> (Result<Inspection, StoreError>, Vec<u64>) {
        let (mut views, mut numbers) = (views.iter().cloned(), Vec::new());
        let mut view = Memory::default();
        let open = || {
            view = views.next().unwrap_or_else(|| view.clone());
            Ok(view.clone())
        };
        let found = inspect_running(open, &mut |record| numbers.push(record.number));
        (found, numbers)
    }

    #[test]
    fn a_log_that_grows_while_it_is_read_is_never_damaged() {
        let moments = moments();
        let file = segment_file(1);
        let [.., before, after] = &moments[..] else { panic!("there are more") };
        for passed in (0..after.files[&file].len()).step_by(8) {
            // The reader passed this place before the last groups were written.
            for earlier in [&moments[0], &moments[2], before] {
                let mut mixed = after.clone();
                let bytes = mixed.files.get_mut(&file).expect("the segment");
                bytes[..passed].copy_from_slice(&earlier.files[&file][..passed]);
                let (found, numbers) = look(&[mixed.clone(), mixed.clone(), after.clone()][1..]);
                let found = found.unwrap_or_else(|error| panic!("{passed}: {error}"));
                assert_eq!(found.torn_tail, None);
                assert_eq!(numbers, (1..=found.records).collect::<Vec<_>>(), "each record once");
                // The same in every reading is damage.
                let is_sound = inspect(&mut mixed.clone(), &mut |_| {}).is_ok();
                assert_eq!(look(&[mixed]).0.is_ok(), is_sound, "{passed}");
            }
        }
    }

    #[test]
    fn files_that_come_and_go_are_no_damage_and_a_log_that_never_rests_is_in_use() {
        let moments = moments();
        let newest = moments.last().expect("some").clone();
        let mut without = newest.clone();
        without.files.remove(&segment_file(1));
        assert!(look(&[without.clone(), newest.clone()]).0.is_ok());
        assert!(matches!(look(&[without.clone()]).0, Err(StoreError::Missing { .. })));
        let mut other = newest;
        other.files.insert("META".to_owned(), vec![]);
        let restless: Vec<Memory> = (0..30).map(|number| [&without, &other][number % 2].clone()).collect();
        assert_eq!(look(&restless).0, Err(StoreError::InUse { pid: None }));
    }
}
