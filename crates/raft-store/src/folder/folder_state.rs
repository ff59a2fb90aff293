//! Reads FORMAT, META and PEERS, and refuses a folder that belongs to no node.

use crate::disk::Disk;
use crate::folder::known_peers::{KnownPeers, NEW_PEERS_FILE, PEERS_FILE};
use crate::folder::meta_file::{FOLDER_FORMAT, FORMAT_FILE, META_FILE, Meta, parse_format};
use crate::snapshots::snapshot_file::is_snapshot;
use crate::store_error::StoreError;
use crate::wal::format::{RECYCLED, segment_number};
use crate::wal::scan::ExpectedLog;

pub(crate) const NEW_FORMAT_FILE: &str = "FORMAT.new";
pub(crate) const NEW_META_FILE: &str = "META.new";

/// A longer file is neither FORMAT nor META.
const MAX_FILE_BYTES: usize = 256;

/// The content of FORMAT, META and PEERS.
#[derive(Default)]
pub(crate) struct FolderState {
    pub(crate) format: Option<u32>,
    pub(crate) meta: Option<Meta>,
    pub(crate) known_peers: KnownPeers,
    /// An unfinished PEERS exists beside a META.
    pub(crate) has_unfinished_peers: bool,
}

impl FolderState {
    pub(crate) fn read<D: Disk>(disk: &mut D) -> Result<Self, StoreError> {
        let files = disk.list()?;
        let has = |name: &str| files.iter().any(|file| file == name);
        let is_later = |file: &str| is_log_file(file) || [PEERS_FILE, NEW_PEERS_FILE].contains(&file);
        let later = files.iter().map(String::as_str).find(|file| is_later(file));
        if !has(FORMAT_FILE) {
            // A start writes FORMAT before it.
            if has(NEW_META_FILE) && !has(META_FILE) {
                return Err(StoreError::Unfinished);
            }
            let meta = Some(META_FILE).filter(|file| has(file));
            if let Some(later) = later.or(meta) {
                return Err(StoreError::missing(disk, FORMAT_FILE, format!("{later} exists")));
            }
            let foreign_file = files.iter().find(|file| *file != NEW_FORMAT_FILE);
            return foreign_file.map_or(Ok(Self::default()), |file| Err(foreign(file)));
        }
        let format = match parse_format(&content(disk, FORMAT_FILE)?) {
            None => return Err(StoreError::corrupt(FORMAT_FILE, 0, "expected a format and its checksum")),
            Some(found) if found > FOLDER_FORMAT => {
                return Err(StoreError::NewerFormat { file: FORMAT_FILE.to_owned(), found, supported: FOLDER_FORMAT });
            }
            found => found,
        };
        if has(META_FILE) {
            let meta = Meta::parse(&content(disk, META_FILE)?);
            let meta = meta.map_err(|reason| StoreError::corrupt(META_FILE, 0, reason))?;
            let expected = meta.disk.map_or(0, |disk| disk.known_peers);
            let known_peers = KnownPeers::read(disk, &files, expected)?;
            return Ok(Self { format, meta: Some(meta), known_peers, has_unfinished_peers: has(NEW_PEERS_FILE) });
        }
        match later {
            Some(later) => Err(StoreError::missing(disk, META_FILE, format!("{later} exists"))),
            None => Ok(Self { format, ..Self::default() }),
        }
    }
}

impl Meta {
    pub(crate) fn expected_log(&self) -> ExpectedLog {
        ExpectedLog { exists: self.incarnation > 0, records: self.records }
    }
}

/// Refuses a folder that has files, but none of a store.
pub(crate) fn refuse_foreign(files: &[String]) -> Result<(), StoreError> {
    let ours = [FORMAT_FILE, NEW_FORMAT_FILE, META_FILE, NEW_META_FILE, PEERS_FILE, NEW_PEERS_FILE];
    let is_ours = |file: &String| ours.contains(&file.as_str()) || is_log_file(file);
    match files.first() {
        Some(file) if !files.iter().any(is_ours) => Err(foreign(file)),
        _ => Ok(()),
    }
}

/// Whether this is the name of a segment, of a recycled one, or of a snapshot.
fn is_log_file(file: &str) -> bool {
    segment_number(file).is_some() || file == RECYCLED || is_snapshot(file)
}

fn foreign(file: &str) -> StoreError {
    StoreError::Foreign { found: format!("{file}, which no node wrote"), expected: "a folder for a node".to_owned() }
}

fn content<D: Disk>(disk: &mut D, file: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; MAX_FILE_BYTES];
    let read = disk.read(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
