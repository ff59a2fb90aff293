//! A snapshot's file: its name, its bytes, and whether they are what was written. What is in a snapshot, only a state
//! machine knows; whether one is in force, only the log.
//!
//! ```text
//! snapshot-<index>-<term>   of its last entry, 16 digits each; with ".new" behind it while it is written, or ".part" while
//!                           it comes from a peer
//!   header, 32 bytes        magic, format, bytes of the next part, bytes of the last part, checksum of the header so far,
//!                           checksum of everything but itself
//!   record                  what it stands for: a `raft.store.v1.Record` that says nothing else
//!   data                    the state machine's
//! ```

use crate::disk::Disk;
use crate::store_error::StoreError;
use crate::wal::file_reader::{CHUNK, Window};
use crate::wal::format::{FORMAT, u32_at, u64_at};
use crate::wal::scan::corrupt;
use bytes::Bytes;
use raft_core::{Entries, EntryId, InstallMode, SnapshotMeta, SnapshotRecord, Write, WriteId};
use raft_proto::{decode_write, encode_write};

/// Bytes of the header.
const HEADER: u64 = 32;
const MAGIC: [u8; 8] = *b"raftsnap";
/// Where the header keeps the checksum of everything else.
const SUM: u64 = 28;
/// The ends of the names of files that are not whole yet: one that is being made here, and one that comes from a peer.
const UNFINISHED: [&str; 2] = [".new", ".part"];

/// The name of the file of the snapshot with this last entry.
pub(crate) fn snapshot_name(last: EntryId) -> String {
    format!("snapshot-{:016}-{:016}", last.index.0, last.term.0)
}

/// The name it has while it is made here.
pub(crate) fn unfinished_name(last: EntryId) -> String {
    snapshot_name(last) + UNFINISHED[0]
}

/// The name it has while it comes from a peer.
pub(crate) fn received_name(last: EntryId) -> String {
    snapshot_name(last) + UNFINISHED[1]
}

/// The last entry of the snapshot, if this is the name of one's file.
pub(crate) fn snapshot_named(file: &str) -> Option<EntryId> {
    let (index, term) = file.strip_prefix("snapshot-")?.split_once('-')?;
    let last = EntryId::new(index.parse().ok()?, term.parse().ok()?);
    (snapshot_name(last) == file).then_some(last)
}

/// Whether this is the name of a snapshot's file, finished or not.
pub(crate) fn is_snapshot(file: &str) -> bool {
    let finished = UNFINISHED.iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    snapshot_named(finished).is_some()
}

/// What says in the file what the snapshot stands for.
pub(crate) fn encode_record(meta: &SnapshotMeta) -> Vec<u8> {
    encode_write(&Write {
        id: WriteId(0),
        hard_state: None,
        truncate_from: None,
        snapshot: Some(SnapshotRecord { meta: meta.clone(), log: InstallMode::Keep }),
        entries: Entries::new(),
    })
}

/// Where the data begins behind this record.
pub(crate) fn data_from(record: &[u8]) -> u64 {
    HEADER + record.len() as u64
}

/// What goes before the data, header and record, once all of the data is known. None if the record is too long.
pub(crate) fn encode_head(record: &[u8], data_bytes: u64, data_sum: u32) -> Option<Vec<u8>> {
    let length = u32::try_from(record.len()).ok()?;
    let mut head = Vec::with_capacity(HEADER as usize + record.len());
    head.extend(MAGIC);
    head.extend(FORMAT.to_le_bytes());
    head.extend(length.to_le_bytes());
    head.extend(data_bytes.to_le_bytes());
    let own = crc32c::crc32c(&head);
    head.extend(own.to_le_bytes());
    let before = crc32c::crc32c_append(crc32c::crc32c(&head), record);
    let all = crc32c::crc32c_combine(before, data_sum, usize::try_from(data_bytes).ok()?);
    head.extend(all.to_le_bytes());
    head.extend(record);
    Some(head)
}

/// The checksum of a file's bytes but for the place where it stands, when these at `offset` follow those of which it is `sum`.
pub(crate) fn sum_on(sum: u32, offset: u64, bytes: &[u8]) -> u32 {
    let until = |place: u64| usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
    let (before, after) = (bytes.get(..until(SUM)), bytes.get(until(HEADER)..));
    crc32c::crc32c_append(crc32c::crc32c_append(sum, before.unwrap_or_default()), after.unwrap_or_default())
}

/// A chunk of a snapshot's file, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChunk {
    /// Bytes of the whole file.
    pub size: u64,
    /// The checksum of the whole file, as its header says it: two files that differ in it are not the same.
    pub checksum: u32,
    /// The bytes from the place that was asked for on. None: there are no more.
    pub bytes: Bytes,
}

/// What a header says.
struct Head {
    /// The end of the record, where the data begins.
    data_from: u64,
    /// The end of the file.
    end: u64,
    /// The checksum of what was read of it so far.
    sum: u32,
    expected: u32,
}

impl Head {
    /// Reads the header of a file that is `length` bytes long.
    fn parse(file: &str, bytes: &[u8], length: u64) -> Result<Self, StoreError> {
        let fields = (u32_at(bytes, 8), u32_at(bytes, 12), u64_at(bytes, 16), u32_at(bytes, 24), u32_at(bytes, 28));
        let (Some(format), Some(record), Some(data), Some(own), Some(expected)) = fields else {
            return Err(corrupt(file, 0, "the file ends inside its header"));
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(corrupt(file, 0, "this is no snapshot"));
        }
        if bytes.get(..24).map(crc32c::crc32c) != Some(own) {
            return Err(corrupt(file, 0, "the header's checksum is wrong"));
        }
        if format > FORMAT {
            return Err(StoreError::NewerFormat { file: file.to_owned(), found: format, supported: FORMAT });
        }
        let data_from = HEADER + u64::from(record);
        let end = data_from.saturating_add(data);
        if format == 0 || length != end {
            let reason = format!("the file has {length} bytes, and its header says {end}");
            return Err(corrupt(file, length.min(end), reason));
        }
        Ok(Self { data_from, end, sum: sum_on(0, 0, bytes), expected })
    }
}

/// A snapshot's file being read.
struct Reader<'a, D> {
    window: Window<'a, D>,
    file: &'a str,
}

impl<D: Disk> Reader<'_, D> {
    fn corrupt(&self, offset: u64, reason: impl Into<String>) -> StoreError {
        corrupt(self.file, offset, reason)
    }

    fn header(&mut self) -> Result<Head, StoreError> {
        let length = self.window.length();
        Head::parse(self.file, self.window.bytes(0, HEADER)?, length)
    }

    /// What the snapshot stands for.
    fn record(&mut self, head: &mut Head) -> Result<SnapshotMeta, StoreError> {
        let bytes = self.window.bytes(HEADER, head.data_from - HEADER)?;
        head.sum = crc32c::crc32c_append(head.sum, bytes);
        let write = decode_write(Bytes::copy_from_slice(bytes));
        let write = write.map_err(|error| self.corrupt(HEADER, error.to_string()))?;
        let record = write.snapshot.ok_or_else(|| self.corrupt(HEADER, "it does not say what it stands for"))?;
        Ok(record.meta)
    }

    /// Shows the data, piece by piece; then the checksum must be right.
    fn data(&mut self, mut head: Head, show: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let mut offset = head.data_from;
        while offset < head.end {
            let piece = self.window.bytes(offset, CHUNK.min(head.end - offset))?;
            if piece.is_empty() {
                return Err(self.corrupt(offset, "the file has become shorter"));
            }
            head.sum = crc32c::crc32c_append(head.sum, piece);
            offset += piece.len() as u64;
            show(piece);
        }
        if head.sum == head.expected { Ok(()) } else { Err(self.corrupt(HEADER, "the snapshot's checksum is wrong")) }
    }
}

/// Reads the file of the snapshot with this last entry, and shows its data piece by piece. Only if there is no error were
/// they what was written.
fn read<D: Disk>(disk: &mut D, last: EntryId, show: &mut dyn FnMut(&[u8])) -> Result<SnapshotMeta, StoreError> {
    let file = snapshot_name(last);
    let mut reader = Reader { window: Window::open(disk, &file)?, file: &file };
    let mut head = reader.header()?;
    let meta = reader.record(&mut head)?;
    reader.data(head, show)?;
    if meta.last != last {
        return Err(reader.corrupt(HEADER, format!("it is the snapshot of {}", meta.last)));
    }
    Ok(meta)
}

/// The data of the snapshot with this last entry.
pub(crate) fn load<D: Disk>(disk: &mut D, last: EntryId) -> Result<Bytes, StoreError> {
    let mut data = Vec::with_capacity(usize::try_from(disk.len(&snapshot_name(last))?).unwrap_or(0));
    read(disk, last, &mut |piece| data.extend_from_slice(piece))?;
    Ok(data.into())
}

/// The first bytes of the data of the snapshot with this last entry, at most so many. Only its header is checked.
pub(crate) fn beginning<D: Disk>(disk: &mut D, last: EntryId, max_bytes: u64) -> Result<Bytes, StoreError> {
    let file = snapshot_name(last);
    let mut reader = Reader { window: Window::open(disk, &file)?, file: &file };
    let head = reader.header()?;
    let bytes = reader.window.bytes(head.data_from, max_bytes.min(head.end - head.data_from))?;
    Ok(Bytes::copy_from_slice(bytes))
}

/// Reads the whole file of the snapshot with this last entry.
pub(crate) fn verify<D: Disk>(disk: &mut D, last: EntryId) -> Result<(), StoreError> {
    read(disk, last, &mut |_| {}).map(drop)
}

/// Some bytes of the file of the snapshot with this last entry. Only its header is checked.
pub(crate) fn piece<D: Disk>(
    disk: &mut D,
    last: EntryId,
    offset: u64,
    max_bytes: u64,
) -> Result<FileChunk, StoreError> {
    let file = snapshot_name(last);
    let size = disk.len(&file)?;
    let mut header = [0; HEADER as usize];
    let read = disk.read(&file, 0, &mut header)?;
    let head = Head::parse(&file, header.get(..read).unwrap_or_default(), size)?;
    let wanted = max_bytes.min(size.saturating_sub(offset));
    let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
    if disk.read(&file, offset, &mut bytes)? < bytes.len() {
        return Err(corrupt(&file, offset, "the file has become shorter"));
    }
    Ok(FileChunk { size, checksum: head.expected, bytes: bytes.into() })
}

/// Checks a file that came from a peer: that it is a snapshot and that of `meta`, as long as it says, and that `sum`, the
/// checksum of what came, is that of what was sent.
pub(crate) fn check_received<D: Disk>(
    disk: &mut D,
    file: &str,
    sum: u32,
    meta: &SnapshotMeta,
) -> Result<(), StoreError> {
    let mut reader = Reader { window: Window::open(disk, file)?, file };
    let mut head = reader.header()?;
    if sum != head.expected {
        return Err(reader.corrupt(SUM, "the snapshot's checksum is wrong"));
    }
    let found = reader.record(&mut head)?;
    if found != *meta { Err(reader.corrupt(HEADER, format!("it is {found}, not {meta}"))) } else { Ok(()) }
}

/// Checks the file of the snapshot that the log goes by.
pub(crate) fn check<D: Disk>(disk: &mut D, named: &SnapshotMeta) -> Result<(), StoreError> {
    let file = snapshot_name(named.last);
    if !disk.list()?.contains(&file) {
        return Err(corrupt(&file, 0, "the file is missing, but the log goes on after this snapshot"));
    }
    let found = read(disk, named.last, &mut |_| {})?;
    if found != *named {
        return Err(corrupt(&file, HEADER, format!("it is {found}, but the log names {named}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_none() {
        let last = EntryId::new(7, 3);
        assert_eq!(snapshot_name(last), "snapshot-0000000000000007-0000000000000003");
        assert_eq!(snapshot_named(&snapshot_name(last)), Some(last));
        assert!(is_snapshot(&snapshot_name(last)));
        for unfinished in [unfinished_name(last), received_name(last)] {
            assert!(is_snapshot(&unfinished), "{unfinished}");
            assert_eq!(snapshot_named(&unfinished), None);
        }
        let most = EntryId::new(u64::MAX, u64::MAX);
        assert_eq!(snapshot_named(&snapshot_name(most)), Some(most), "longer than the padding");
        for other in ["", "snapshot-", "snapshot-7-3", "snapshot-0000000000000007", "wal-0000000000000007"] {
            assert!(!is_snapshot(other), "{other}");
        }
    }
}
