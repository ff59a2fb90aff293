//! A node's folder: whose it is, how often it was started, and a start that no crash can spoil. Written for any disk, so
//! that the simulator's crashes run through it too.
//!
//! An empty folder becomes a node's in this order, each step durable before the next begins:
//!
//! ```text
//! FORMAT               from here on any version can tell what it looks at
//! META, incarnation 0  whose it is, and its disk id. While this says 0, nobody was promised anything: the next start goes on
//! wal-..1              the first segment
//! the founding record  if this node is a founder
//! META, incarnation 1  the start has got through. From here on a log that is missing is damage
//! ```
//!
//! Each later start recovers the log and then counts META up. META also says how many records were durable then, so
//! damage to the very end of the log, which the log itself cannot show, is noticed as far as the last start goes.
//!
//! A folder of format 1 has no disk id. The next start that gets through gives it one: it writes FORMAT, then META.
//!
//! FORMAT and META are written whole under another name, synced and renamed: they are never seen half written. PEERS, which
//! comes once the node meets a peer, is read here and written elsewhere (`known_peers`).

use crate::disk::Disk;
use crate::folder::atomic_file::replace;
use crate::folder::known_peers::{KnownPeers, NEW_PEERS_FILE, PEERS_FILE};
use crate::folder::meta_file::{
    DiskId, FOLDER_FORMAT, FORMAT_FILE, Identity, META_FILE, Meta, MetaOfDisk, parse_format, present_format,
};
use crate::snapshots::snapshot_file::{check, is_snapshot};
use crate::store::{Store, StoreOptions};
use crate::store_error::{OpenError, StoreError};
use crate::wal::format::{RECYCLED, segment_number};
use crate::wal::recover::Recovery;
use crate::wal::scan::{Known, Record, TornTail, corrupt, scan};
use raft_core::{EntryId, HardState, LogIndex, SnapshotMeta, Write};

const NEW_FORMAT_FILE: &str = "FORMAT.new";
const NEW_META_FILE: &str = "META.new";

/// FORMAT and META are smaller; what is longer is neither.
const LIMIT: usize = 256;

/// A node's store, open.
#[derive(Clone, Debug)]
pub struct Opened<D> {
    /// The store.
    pub store: Store<D>,
    /// What it brought back, all of it durable.
    pub recovery: Recovery,
    /// From 1, and higher at each start than ever before: durable, so what one start has named with it no later one
    /// names again. Starts that were cut short may leave gaps.
    pub incarnation: u64,
    /// The folder's own, the same at every start.
    pub disk_id: DiskId,
}

/// Starts a node from its folder; an empty one becomes this node's. `founding` is the first record of a founder's log,
/// written if the folder is new; a node that joins has none. `drawn` is the disk id of a folder that has none yet: random
/// bytes, others at each call.
///
/// # Errors
/// Another node's folder, or a folder of something else ([`StoreError::Foreign`], nothing touched); a newer format;
/// damage, which includes a file that must be there and is not; a failing disk; options out of range. With the disk.
pub fn open_node<D: Disk>(
    mut disk: D,
    identity: Identity,
    drawn: DiskId,
    founding: Option<&Write>,
    options: StoreOptions,
) -> Result<Opened<D>, OpenError<D>> {
    let (meta, known_peers, unfinished) = match claim(&mut disk, identity, drawn) {
        Ok(claimed) => claimed,
        Err(error) => return Err(OpenError { error, disk }),
    };
    let (mut store, mut recovery) = Store::open_known(disk, options, meta.known(), known_peers.clone())?;
    if let (0, 0, Some(founding)) = (meta.incarnation, recovery.records, founding) {
        let founded = store.write(std::slice::from_ref(founding)).and_then(|()| store.sync());
        if let Err(error) = founded {
            return Err(OpenError { error, disk: store.into_disk() });
        }
        let torn_tail = recovery.torn_tail;
        // Every start goes through recovery, the first one too.
        (store, recovery) = Store::open_known(store.into_disk(), options, Known::default(), known_peers)?;
        recovery.torn_tail = recovery.torn_tail.or(torn_tail);
    }
    let id = meta.disk.map_or(drawn, |disk| disk.id);
    let disk = MetaOfDisk { id, known_peers: store.known_peers().count() };
    // Nobody reads it, and what it holds may never be durable: a start that succeeds leaves nothing of that kind. The count syncs
    // the folder.
    let removed = if unfinished { store.disk_mut().remove(NEW_PEERS_FILE) } else { Ok(()) };
    match removed.map_err(StoreError::from).and_then(|()| count(store.disk_mut(), &meta, recovery.records, disk)) {
        Ok(incarnation) => Ok(Opened { store, recovery, incarnation, disk_id: id }),
        Err(error) => Err(OpenError { error, disk: store.into_disk() }),
    }
}

/// What is in a folder, by all records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whose it is and how often it was started; none if it is empty, or its making did not get that far.
    pub owner: Option<(Identity, u64)>,
    /// Its disk id; none if it is empty, or of format 1.
    pub disk_id: Option<DiskId>,
    /// The peers whose disks its node knows.
    pub known_peers: KnownPeers,
    /// How many records were ever written: the number of the last one.
    pub records: u64,
    /// The number of the first record that is there; those before it were deleted with their segments.
    pub first_record: u64,
    /// The hard state. What a deleted record said of it is known from the checkpoint of a later segment.
    pub hard_state: HardState,
    /// The snapshot in force. Its file was read and is whole.
    pub snapshot: Option<SnapshotMeta>,
    /// The first entry of the log that is there; one after the last if none is.
    pub first: LogIndex,
    /// The last entry of the log that is there; `0@0` if none is.
    pub last: EntryId,
    /// The tail that the next start will cut.
    pub torn_tail: Option<TornTail>,
}

/// Reads a folder exactly as a start does, and changes nothing. `visit` sees each record that is there, in order, up to the
/// end or the damage. Nobody else must write to the folder meanwhile: a log that grows while it is read looks damaged.
///
/// # Errors
/// What would make a start refuse this folder, whoever's it is.
pub fn inspect<D: Disk>(disk: &mut D, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Inspection, StoreError> {
    let Look { meta, known_peers, .. } = look(disk)?;
    let scanned = scan(disk, meta.map(|meta| meta.known()).unwrap_or_default(), visit)?;
    if let Some(named) = &scanned.summary.snapshot {
        check(disk, named)?;
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

/// Refuses a folder in which there is something, and nothing that a store puts there.
pub(crate) fn refuse_strangers(files: &[String]) -> Result<(), StoreError> {
    let ours = [FORMAT_FILE, NEW_FORMAT_FILE, META_FILE, NEW_META_FILE, PEERS_FILE, NEW_PEERS_FILE];
    let is_ours = |file: &String| ours.contains(&file.as_str()) || is_of_log(file);
    match files.first() {
        Some(stranger) if !files.iter().any(is_ours) => Err(strange(stranger)),
        _ => Ok(()),
    }
}

/// Whether this is the name of a segment, also of one on its way to become another, or of a snapshot.
fn is_of_log(file: &str) -> bool {
    segment_number(file).is_some() || file == RECYCLED || is_snapshot(file)
}

fn strange(file: &str) -> StoreError {
    StoreError::Foreign { found: format!("{file}, which no node wrote"), expected: "a folder for a node".to_owned() }
}

/// What there is of FORMAT, META and PEERS.
struct Look {
    format: Option<u32>,
    meta: Option<Meta>,
    known_peers: KnownPeers,
    /// Something is left of a PEERS that did not get its name.
    unfinished: bool,
}

impl Meta {
    fn known(&self) -> Known {
        Known { made: self.incarnation > 0, records: self.records }
    }
}

/// Reads FORMAT, META and PEERS.
fn look<D: Disk>(disk: &mut D) -> Result<Look, StoreError> {
    let files = disk.list()?;
    let has = |name: &str| files.iter().any(|file| file == name);
    let is_later = |file: &str| is_of_log(file) || [PEERS_FILE, NEW_PEERS_FILE].contains(&file);
    let later = files.iter().map(String::as_str).find(|file| is_later(file));
    let missing = |file, witness| Err(corrupt(file, 0, format!("the file is missing, but {witness} is there")));
    if !has(FORMAT_FILE) {
        let meta = [META_FILE, NEW_META_FILE].into_iter().find(|file| has(file));
        if let Some(witness) = later.or(meta) {
            return missing(FORMAT_FILE, witness);
        }
        return match files.iter().find(|file| *file != NEW_FORMAT_FILE) {
            Some(stranger) => Err(strange(stranger)),
            None => Ok(Look { format: None, meta: None, known_peers: KnownPeers::default(), unfinished: false }),
        };
    }
    let format = match parse_format(&content(disk, FORMAT_FILE)?) {
        None => return Err(corrupt(FORMAT_FILE, 0, "it does not say a format with the checksum that belongs to it")),
        Some(found) if found > FOLDER_FORMAT => {
            return Err(StoreError::NewerFormat { file: FORMAT_FILE.to_owned(), found, supported: FOLDER_FORMAT });
        }
        found => found,
    };
    if has(META_FILE) {
        let meta = Meta::parse(&content(disk, META_FILE)?).map_err(|reason| corrupt(META_FILE, 0, reason))?;
        let known = meta.disk.map_or(0, |disk| disk.known_peers);
        let known_peers = KnownPeers::read(disk, &files, known)?;
        return Ok(Look { format, meta: Some(meta), known_peers, unfinished: has(NEW_PEERS_FILE) });
    }
    match later {
        Some(witness) => missing(META_FILE, witness),
        None => Ok(Look { format, meta: None, known_peers: KnownPeers::default(), unfinished: false }),
    }
}

/// Sees to it that the folder is this node's; says what META and PEERS say, and whether
/// something is left of a PEERS that did not get its name.
fn claim<D: Disk>(disk: &mut D, identity: Identity, drawn: DiskId) -> Result<(Meta, KnownPeers, bool), StoreError> {
    let Look { format, meta, known_peers, unfinished } = look(disk)?;
    if let Some(meta) = meta {
        if meta.identity != identity {
            let found = format!("the data of {}", meta.identity);
            return Err(StoreError::Foreign { found, expected: identity.to_string() });
        }
        if meta.incarnation > 0 {
            return Ok((meta, known_peers, unfinished));
        }
    }
    // What a killed start has renamed need not be durable: a power loss could keep what is made next and take the names
    // before it, and that looks like damage.
    disk.sync_folder()?;
    if let Some(meta) = meta {
        return Ok((meta, known_peers, unfinished));
    }
    if format != Some(FOLDER_FORMAT) {
        replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &[&present_format()])?;
    }
    let on = MetaOfDisk { id: drawn, known_peers: 0 };
    let meta = Meta { identity, incarnation: 0, records: 0, disk: Some(on) };
    replace(disk, META_FILE, NEW_META_FILE, &[&meta.encode()])?;
    Ok((meta, known_peers, false))
}

/// Counts a start that has got through, and notes what there is besides.
fn count<D: Disk>(disk: &mut D, meta: &Meta, records: u64, on: MetaOfDisk) -> Result<u64, StoreError> {
    let used_up = || corrupt(META_FILE, 0, "its incarnation is the highest there is");
    let incarnation = meta.incarnation.checked_add(1).ok_or_else(used_up)?;
    if meta.disk.is_none() {
        // Whatever FORMAT says: what a killed start has written there need not be durable, and an earlier version is to see
        // it before it sees a META that it does not know.
        replace(disk, FORMAT_FILE, NEW_FORMAT_FILE, &[&present_format()])?;
    }
    replace(disk, META_FILE, NEW_META_FILE, &[&Meta { incarnation, records, disk: Some(on), ..*meta }.encode()])?;
    Ok(incarnation)
}

fn content<D: Disk>(disk: &mut D, file: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; LIMIT];
    let read = disk.read(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
