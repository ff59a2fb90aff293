//! The format of a backup file: a snapshot in one file that does not depend on any folder. No I/O but [`Read`].
//!
//! ```text
//! header, 40 bytes   "raftback" (8), format (4), cluster id (16), time in milliseconds since 1970 (8), CRC32C of all that (4)
//! block              bytes of its content (4), CRC32C (4) of the block's offset in the file, those 4 bytes and the content;
//!                    then the content, at most 64 KiB
//! ```
//!
//! Numbers are little-endian. The content of the first block is a `raft.store.v1.Record` with the snapshot's meta (last entry,
//! configuration), as in a snapshot's file. The following blocks are the snapshot's data (`proto/snapshot.proto`). A block
//! without content ends the file, so a file that was cut anywhere shows it. The layout of the header is the same in every
//! format, so that a later format can be distinguished from damage.

use crate::folder::meta_file::ClusterId;
use crate::snapshots::snapshot_file::{decode_record, encode_record};
use crate::wal::format::{u32_at, u64_at};
use bytes::Bytes;
use raft_core::SnapshotMeta;
use std::io::{ErrorKind, Read};

/// The format that this version writes, and the newest it reads.
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"raftback";
const HEADER: usize = 40;
/// Bytes before a block's content.
const FRAME: usize = 8;
/// The most content of a block: damage shows at the block that has it.
const BLOCK: usize = 64 * 1024;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// The cluster that was saved.
    pub cluster: ClusterId,
    /// When it was saved, in milliseconds since 1970.
    pub time_ms: u64,
    /// The last entry that the backup covers, and the configuration there.
    pub meta: SnapshotMeta,
}

/// Why a backup cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BackupError {
    /// The file is not what was written. `offset` is the byte at which the damaged block begins, or the file's end.
    #[error("the backup is damaged at byte {offset}: {reason}. Use another copy of the file, or another backup")]
    Damaged { offset: u64, reason: String },
    #[error("the backup has format {found}, and this version reads up to {supported}: use the version that wrote it")]
    NewerFormat { found: u32, supported: u32 },
    #[error("the backup cannot be read at byte {offset}: {message}")]
    Read { offset: u64, message: String },
}

/// Encodes a backup file from its beginning to its end.
#[derive(Clone, Debug)]
pub struct BackupWriter {
    /// Bytes of the file so far.
    offset: u64,
}

impl BackupWriter {
    /// Begins a file. Returns its first bytes.
    pub fn begin(header: &BackupHeader) -> (Self, Bytes) {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(header.cluster.0);
        bytes.extend(header.time_ms.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let mut writer = Self { offset: bytes.len() as u64 };
        bytes.extend(writer.block(&encode_record(&header.meta)));
        (writer, bytes.into())
    }

    /// The file's next bytes, for this part of the snapshot's data.
    pub fn data(&mut self, data: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(data.len() + FRAME * (data.len() / BLOCK + 1));
        for content in data.chunks(BLOCK) {
            bytes.extend(self.block(content));
        }
        bytes.into()
    }

    /// The file's last bytes.
    pub fn end(mut self) -> Bytes {
        self.block(&[]).into()
    }

    fn block(&mut self, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = Vec::with_capacity(FRAME + content.len());
        bytes.extend(length);
        bytes.extend(block_checksum(self.offset, length, content).to_le_bytes());
        bytes.extend(content);
        self.offset += bytes.len() as u64;
        bytes
    }
}

fn block_checksum(offset: u64, length: [u8; 4], content: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &length);
    crc32c::crc32c_append(place, content)
}

/// Reads a backup file and checks every byte of it.
#[derive(Debug)]
pub struct BackupReader<R> {
    input: R,
    /// Bytes read so far.
    offset: u64,
    header: BackupHeader,
}

impl<R: Read> BackupReader<R> {
    /// Reads what precedes the data.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn open(mut input: R) -> Result<Self, BackupError> {
        let mut bytes = [0; HEADER];
        let read = fill(&mut input, &mut bytes, 0)?;
        let damaged = |offset: usize, reason: &str| {
            Err(BackupError::Damaged { offset: offset as u64, reason: reason.to_owned() })
        };
        if !MAGIC.starts_with(&bytes[..read.min(MAGIC.len())]) {
            return damaged(0, "expected a backup, found other bytes");
        }
        if read < HEADER {
            return damaged(read, "the file ends inside its header");
        }
        if u32_at(&bytes, HEADER - 4) != Some(crc32c::crc32c(&bytes[..HEADER - 4])) {
            return damaged(0, "the checksum of the first 40 bytes is wrong");
        }
        let fields = (u32_at(&bytes, 8), bytes.get(12..).and_then(<[u8]>::first_chunk), u64_at(&bytes, 28));
        let (Some(format), Some(cluster), Some(time_ms)) = fields else {
            return damaged(0, "the file ends inside its header");
        };
        match format {
            FORMAT => {}
            0 => return damaged(8, "the header names format 0, which no version writes"),
            found => return Err(BackupError::NewerFormat { found, supported: FORMAT }),
        }
        let mut offset = HEADER as u64;
        let place = offset;
        let bad = |reason: String| BackupError::Damaged { offset: place, reason };
        let record = read_block(&mut input, &mut offset)?.ok_or_else(|| bad("it names no snapshot".to_owned()))?;
        let meta = decode_record(record).map_err(bad)?;
        Ok(Self { input, offset, header: BackupHeader { cluster: ClusterId(*cluster), time_ms, meta } })
    }

    /// What the backup is of.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Bytes of the file read so far; after the end, the size of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next part of the snapshot's data; none: that was all, and the whole file is valid.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn next_block(&mut self) -> Result<Option<Bytes>, BackupError> {
        let block = read_block(&mut self.input, &mut self.offset)?;
        if block.is_none() && fill(&mut self.input, &mut [0], self.offset)? > 0 {
            let reason = "expected the end of the file, found more bytes".to_owned();
            return Err(BackupError::Damaged { offset: self.offset, reason });
        }
        Ok(block)
    }

    /// All data that is left, checked.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn read_all(&mut self) -> Result<Bytes, BackupError> {
        let mut data = Vec::new();
        while let Some(block) = self.next_block()? {
            data.extend_from_slice(&block);
        }
        Ok(data.into())
    }
}

/// The content of the block at `offset`, which moves behind it; none: the block that ends the file.
fn read_block(input: &mut impl Read, offset: &mut u64) -> Result<Option<Bytes>, BackupError> {
    let start = *offset;
    let damaged = |offset, reason| Err(BackupError::Damaged { offset, reason });
    let cut = |read: usize| damaged(start + read as u64, format!("the file ends inside the block at byte {start}"));
    let mut frame = [0; FRAME];
    let read = fill(input, &mut frame, start)?;
    let ([a, b, c, d, checksum @ ..], FRAME) = (frame, read) else { return cut(read) };
    let (length, checksum) = ([a, b, c, d], u32::from_le_bytes(checksum));
    let bytes = u32::from_le_bytes(length) as usize;
    if bytes > BLOCK {
        return damaged(start, format!("expected a block of at most {BLOCK} bytes, found one of {bytes}"));
    }
    let mut content = vec![0; bytes];
    let read = fill(input, &mut content, start)?;
    if read < bytes {
        return cut(FRAME + read);
    }
    if block_checksum(start, length, &content) != checksum {
        return damaged(start, format!("the checksum of the {} bytes from there on is wrong", FRAME + bytes));
    }
    *offset += (FRAME + bytes) as u64;
    Ok((bytes > 0).then(|| content.into()))
}

/// Reads until `buffer` is full or the input ends; returns how many bytes were read.
fn fill(input: &mut impl Read, buffer: &mut [u8], offset: u64) -> Result<usize, BackupError> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(BackupError::Read { offset: offset + count as u64, message: error.to_string() });
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::meta;
    use raft_core::EntryId;

    fn header() -> BackupHeader {
        let cluster = ClusterId(*b"a tested cluster");
        BackupHeader { cluster, time_ms: 1_700_000_000_123, meta: meta(EntryId::new(7, 3)) }
    }

    fn file(data: &[u8], chunk: usize) -> Vec<u8> {
        let (mut writer, mut file) = BackupWriter::begin(&header());
        let mut bytes = file.to_vec();
        for data in data.chunks(chunk) {
            file = writer.data(data);
            bytes.extend(&file);
        }
        bytes.extend(writer.end());
        bytes
    }

    fn read(file: &[u8]) -> Result<(BackupHeader, Bytes), BackupError> {
        let mut reader = BackupReader::open(file)?;
        let data = reader.read_all()?;
        assert_eq!(reader.offset(), file.len() as u64);
        Ok((reader.header().clone(), data))
    }

    #[test]
    fn a_backup_is_read_back_whatever_its_chunks() {
        let data: Vec<u8> = (0..200_000_u32).map(|place| (place * 31 / 7) as u8).collect();
        for (data, chunk) in [(&data[..], 1 << 20), (&data[..], 70_001), (&data[..7], 1), (&[], 1)] {
            let (found, content) = read(&file(data, chunk)).expect("just written");
            assert_eq!((found, &content[..]), (header(), data));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_shows_where() {
        let bytes = file(b"some data of a map", 7);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Err(BackupError::Damaged { offset, .. }) = read(&flipped) else { panic!("bit {bit} passes") };
            // A block that is too long now ends with the file.
            assert!(offset <= (bit / 8) as u64 || offset == bytes.len() as u64, "bit {bit} is damage at {offset}");
        }
        for cut in 0..bytes.len() {
            let Err(BackupError::Damaged { offset, reason }) = read(&bytes[..cut]) else { panic!("{cut} bytes pass") };
            assert_eq!(offset, cut as u64, "{reason}");
        }
        let longer = [&bytes[..], b"x"].concat();
        let expected = BackupError::Damaged {
            offset: bytes.len() as u64,
            reason: "expected the end of the file, found more bytes".to_owned(),
        };
        assert_eq!(read(&longer), Err(expected));
    }

    #[test]
    fn blocks_are_bound_to_their_place_and_a_newer_format_is_no_damage() {
        let bytes = file(b"aaaabbbb", 4);
        let (a, b) = (bytes.len() - 8 - 24, bytes.len() - 8 - 12);
        let swapped = [&bytes[..a], &bytes[b..b + 12], &bytes[a..b], &bytes[b + 12..]].concat();
        assert!(matches!(read(&swapped), Err(BackupError::Damaged { offset, .. }) if offset == a as u64));
        for (format, expected) in [(2, Some(BackupError::NewerFormat { found: 2, supported: 1 })), (0, None)] {
            let mut other = bytes.clone();
            other[8] = format;
            let checksum = crc32c::crc32c(&other[..36]);
            other[36..40].copy_from_slice(&checksum.to_le_bytes());
            let error = read(&other).expect_err("another format");
            assert!(expected.is_none_or(|expected| expected == error), "{error}");
        }
    }
}
