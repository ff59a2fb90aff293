//! The format of a snapshot's file, with its reader and its check. The state machine defines the format of the data.
//!
//! ```text
//! snapshot-<index>-<term>   of its last entry, 16 digits each; with ".new" while it is written, ".part" while it is received
//!   header, 32 bytes        magic, format, bytes of the record, bytes of the data, checksum of the header so far,
//!                           checksum of everything but itself
//!   record                  a `raft.store.v1.Record` that holds the snapshot's meta and nothing else
//!   data                    the state machine's
//! ```

use crate::disk::Disk;
use crate::store_error::StoreError;
use crate::wal::file_reader::{CHUNK, FileReader};
use crate::wal::format::{FORMAT, u32_at, u64_at};
use bytes::Bytes;
use raft_core::{Entries, EntryId, InstallMode, SnapshotMeta, SnapshotRecord, Write, WriteId};
use raft_proto::{decode_write, encode_write};

const HEADER: u64 = 32;
const MAGIC: [u8; 8] = *b"raftsnap";
/// The offset of the checksum of all other bytes.
const CHECKSUM: u64 = 28;
/// The suffixes of unfinished files: of this node's snapshot, and of a peer's.
const SUFFIXES: [&str; 2] = [".new", ".part"];

pub(crate) fn snapshot_name(last: EntryId) -> String {
    format!("snapshot-{:016}-{:016}", last.index.0, last.term.0)
}

/// The file's name while this node writes it.
pub(crate) fn writing_name(last: EntryId) -> String {
    snapshot_name(last) + SUFFIXES[0]
}

/// The file's name while a peer sends it.
pub(crate) fn receiving_name(last: EntryId) -> String {
    snapshot_name(last) + SUFFIXES[1]
}

/// The snapshot's last entry, if this is the name of a complete snapshot's file.
pub(crate) fn parse_name(file: &str) -> Option<EntryId> {
    let (index, term) = file.strip_prefix("snapshot-")?.split_once('-')?;
    let last = EntryId::new(index.parse().ok()?, term.parse().ok()?);
    (snapshot_name(last) == file).then_some(last)
}

/// Whether this is the name of a snapshot's file, complete or not.
pub(crate) fn is_snapshot(file: &str) -> bool {
    let complete = SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(file);
    parse_name(complete).is_some()
}

/// The record with the snapshot's meta.
pub(crate) fn encode_record(meta: &SnapshotMeta) -> Vec<u8> {
    encode_write(&Write {
        id: WriteId(0),
        hard_state: None,
        truncate_from: None,
        snapshot: Some(SnapshotRecord { meta: meta.clone(), log: InstallMode::Keep }),
        entries: Entries::new(),
    })
}

/// The meta in such a record. An error says why it is none.
pub(crate) fn decode_record(record: Bytes) -> Result<SnapshotMeta, String> {
    let write = decode_write(record).map_err(|error| error.to_string())?;
    write.snapshot.map(|record| record.meta).ok_or_else(|| "its record names no snapshot".to_owned())
}

/// The offset of the data after this record.
pub(crate) fn data_offset(record: &[u8]) -> u64 {
    HEADER + record.len() as u64
}

/// The header and the record, which precede the data. `None` if the record is too long.
pub(crate) fn encode_head(record: &[u8], data_bytes: u64, data_checksum: u32) -> Option<Vec<u8>> {
    let length = u32::try_from(record.len()).ok()?;
    let mut head = Vec::with_capacity(HEADER as usize + record.len());
    head.extend(MAGIC);
    head.extend(FORMAT.to_le_bytes());
    head.extend(length.to_le_bytes());
    head.extend(data_bytes.to_le_bytes());
    let own = crc32c::crc32c(&head);
    head.extend(own.to_le_bytes());
    let before = crc32c::crc32c_append(crc32c::crc32c(&head), record);
    let all = crc32c::crc32c_combine(before, data_checksum, usize::try_from(data_bytes).ok()?);
    head.extend(all.to_le_bytes());
    head.extend(record);
    Some(head)
}

/// Extends the checksum of a file's first `offset` bytes by the next ones, without the bytes of the checksum itself.
pub(crate) fn checksum_append(checksum: u32, offset: u64, bytes: &[u8]) -> u32 {
    let until = |place: u64| usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
    let (before, after) = (bytes.get(..until(CHECKSUM)), bytes.get(until(HEADER)..));
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, before.unwrap_or_default()), after.unwrap_or_default())
}

/// A chunk of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChunk {
    /// Bytes of the whole file.
    pub size: u64,
    /// The checksum of the whole file, from its header: files with different checksums differ.
    pub checksum: u32,
    /// The bytes from the requested offset on; empty at the end of the file.
    pub bytes: Bytes,
}

struct Header {
    data_offset: u64,
    /// The end of the file.
    end: u64,
    /// The checksum of the bytes read so far.
    checksum: u32,
    /// The checksum of the whole file.
    expected: u32,
}

impl Header {
    /// Reads the header of a file that is `length` bytes long.
    fn parse(file: &str, bytes: &[u8], length: u64) -> Result<Self, StoreError> {
        let fields = (u32_at(bytes, 8), u32_at(bytes, 12), u64_at(bytes, 16), u32_at(bytes, 24), u32_at(bytes, 28));
        let (Some(format), Some(record), Some(data), Some(own), Some(expected)) = fields else {
            return Err(StoreError::corrupt(file, 0, "the file ends inside its header"));
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(StoreError::corrupt(file, 0, "expected a snapshot, found other bytes"));
        }
        if bytes.get(..24).map(crc32c::crc32c) != Some(own) {
            return Err(StoreError::corrupt(file, 0, "the header's checksum is wrong"));
        }
        if format > FORMAT {
            return Err(StoreError::NewerFormat { file: file.to_owned(), found: format, supported: FORMAT });
        }
        let data_offset = HEADER + u64::from(record);
        let end = data_offset.saturating_add(data);
        if format == 0 || length != end {
            let reason = format!("expected {end} bytes, found {length}");
            return Err(StoreError::corrupt(file, length.min(end), reason));
        }
        Ok(Self { data_offset, end, checksum: checksum_append(0, 0, bytes), expected })
    }
}

struct SnapshotReader<'a, D> {
    input: FileReader<'a, D>,
    file: &'a str,
}

impl<D: Disk> SnapshotReader<'_, D> {
    fn corrupt(&self, offset: u64, reason: impl Into<String>) -> StoreError {
        StoreError::corrupt(self.file, offset, reason)
    }

    fn header(&mut self) -> Result<Header, StoreError> {
        let length = self.input.length();
        Header::parse(self.file, self.input.bytes(0, HEADER)?, length)
    }

    fn record(&mut self, head: &mut Header) -> Result<SnapshotMeta, StoreError> {
        let bytes = self.input.bytes(HEADER, head.data_offset - HEADER)?;
        head.checksum = crc32c::crc32c_append(head.checksum, bytes);
        decode_record(Bytes::copy_from_slice(bytes)).map_err(|reason| self.corrupt(HEADER, reason))
    }

    /// Visits the data in chunks, then checks the checksum.
    fn data(&mut self, mut head: Header, visit: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let mut offset = head.data_offset;
        while offset < head.end {
            let chunk = self.input.bytes(offset, CHUNK.min(head.end - offset))?;
            if chunk.is_empty() {
                return Err(self.corrupt(offset, "the file has become shorter"));
            }
            head.checksum = crc32c::crc32c_append(head.checksum, chunk);
            offset += chunk.len() as u64;
            visit(chunk);
        }
        if head.checksum == head.expected {
            Ok(())
        } else {
            Err(self.corrupt(HEADER, "the snapshot's checksum is wrong"))
        }
    }
}

/// Reads the snapshot's file and visits its data in chunks. The data is valid only if this succeeds.
fn read<D: Disk>(disk: &mut D, last: EntryId, visit: &mut dyn FnMut(&[u8])) -> Result<SnapshotMeta, StoreError> {
    let file = snapshot_name(last);
    let mut reader = SnapshotReader { input: FileReader::open(disk, &file)?, file: &file };
    let mut head = reader.header()?;
    let meta = reader.record(&mut head)?;
    reader.data(head, visit)?;
    if meta.last != last {
        return Err(reader.corrupt(HEADER, format!("expected the snapshot at {last}, found one at {}", meta.last)));
    }
    Ok(meta)
}

/// The snapshot's data.
pub(crate) fn load<D: Disk>(disk: &mut D, last: EntryId) -> Result<Bytes, StoreError> {
    let mut data = Vec::with_capacity(usize::try_from(disk.len(&snapshot_name(last))?).unwrap_or(0));
    read(disk, last, &mut |chunk| data.extend_from_slice(chunk))?;
    Ok(data.into())
}

/// The first bytes of the snapshot's data, at most `max_bytes`. It checks only the header.
pub(crate) fn load_prefix<D: Disk>(disk: &mut D, last: EntryId, max_bytes: u64) -> Result<Bytes, StoreError> {
    let file = snapshot_name(last);
    let mut reader = SnapshotReader { input: FileReader::open(disk, &file)?, file: &file };
    let head = reader.header()?;
    let bytes = reader.input.bytes(head.data_offset, max_bytes.min(head.end - head.data_offset))?;
    Ok(Bytes::copy_from_slice(bytes))
}

/// Reads and checks the snapshot's whole file.
pub(crate) fn verify<D: Disk>(disk: &mut D, last: EntryId) -> Result<(), StoreError> {
    read(disk, last, &mut |_| {}).map(drop)
}

/// Some bytes of the snapshot's file. It checks only the header.
pub(crate) fn read_chunk<D: Disk>(
    disk: &mut D,
    last: EntryId,
    offset: u64,
    max_bytes: u64,
) -> Result<FileChunk, StoreError> {
    let file = snapshot_name(last);
    let size = disk.len(&file)?;
    let mut header = [0; HEADER as usize];
    let read = disk.read(&file, 0, &mut header)?;
    let head = Header::parse(&file, header.get(..read).unwrap_or_default(), size)?;
    let wanted = max_bytes.min(size.saturating_sub(offset));
    let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
    if disk.read(&file, offset, &mut bytes)? < bytes.len() {
        return Err(StoreError::corrupt(&file, offset, "the file has become shorter"));
    }
    Ok(FileChunk { size, checksum: head.expected, bytes: bytes.into() })
}

/// Checks a received file: it must be the snapshot of `meta` and have its length, and `checksum`, the checksum of the
/// received bytes, must be the sender's.
pub(crate) fn check_received<D: Disk>(
    disk: &mut D,
    file: &str,
    checksum: u32,
    meta: &SnapshotMeta,
) -> Result<(), StoreError> {
    let mut reader = SnapshotReader { input: FileReader::open(disk, file)?, file };
    let mut head = reader.header()?;
    if checksum != head.expected {
        return Err(reader.corrupt(CHECKSUM, "the snapshot's checksum is wrong"));
    }
    let found = reader.record(&mut head)?;
    if found == *meta { Ok(()) } else { Err(reader.corrupt(HEADER, format!("expected {meta}, found {found}"))) }
}

/// Checks the file of the snapshot that the log names.
pub(crate) fn check_named<D: Disk>(disk: &mut D, named: &SnapshotMeta) -> Result<(), StoreError> {
    let file = snapshot_name(named.last);
    if !disk.list()?.contains(&file) {
        return Err(StoreError::missing(disk, file, "the log names this snapshot"));
    }
    let found = read(disk, named.last, &mut |_| {})?;
    if found != *named {
        return Err(StoreError::corrupt(&file, HEADER, format!("the log names {named}, found {found}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_snapshot_names_have_a_last_entry() {
        let last = EntryId::new(7, 3);
        assert_eq!(snapshot_name(last), "snapshot-0000000000000007-0000000000000003");
        assert_eq!(parse_name(&snapshot_name(last)), Some(last));
        assert!(is_snapshot(&snapshot_name(last)));
        for partial in [writing_name(last), receiving_name(last)] {
            assert!(is_snapshot(&partial), "{partial}");
            assert_eq!(parse_name(&partial), None);
        }
        let most = EntryId::new(u64::MAX, u64::MAX);
        assert_eq!(parse_name(&snapshot_name(most)), Some(most), "longer than the padding");
        for other in ["", "snapshot-", "snapshot-7-3", "snapshot-0000000000000007", "wal-0000000000000007"] {
            assert!(!is_snapshot(other), "{other}");
        }
    }
}
