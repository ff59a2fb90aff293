//! What is on the disk, byte by byte, and why recovery can tell a torn tail from corruption. Must not do I/O.
//!
//! ```text
//! wal-0000000000000007      segments, numbered without a gap, each preallocated (zeros)
//!   header, 64 bytes        magic, format, segment number, number of its first record, where the segment before ends,
//!                           length and checksum of the checkpoint
//!   checkpoint              the state before its first record, as one `raft.store.v1.Record` without frame and number
//!                           that changes nothing; none in segment 1
//!   record                  32 bytes of frame, then the payload (`raft.store.v1.Record`), then zeros up to 8 bytes
//!   record ...              record numbers count on through all segments
//!   zeros                   the end
//! wal-recycled              an old segment on its way to become the next one's file: half of it may be zeros
//! snapshot-<index>-<term>   a snapshot whose last entry is that; see `snapshot_file`
//! ```
//!
//! # Torn or corrupt?
//!
//! A power loss may take back, wholly or sector by sector and *in any order*, every write that no sync covered. So
//! behind the last synced byte of the newest segment anything can be true: a hole, then a perfect record of a later
//! unsynced write. Cutting all of that is right: nobody was told it was durable. A bad record *before* the last synced
//! byte is another matter: it was promised, and dropping it silently would take back a vote or an acknowledged entry.
//!
//! Therefore **each frame says how far its segment was known to be durable when the frame was written** (`durable`, an
//! offset). Recovery reads records up to the first that is bad, at B, then searches all that follows for frames. A
//! frame that says `durable > B` proves that the bytes at B were synced once: corruption, refused. If none says so,
//! everything from B on may be an unsynced group: it is cut. Cutting (zeros up to the end, then a sync) is idempotent:
//! whatever a crash leaves of it, later frames still say `durable <= B`.
//!
//! Two things make a frame's word trustworthy: it has a checksum of its own, seeded with segment and offset (a stale
//! or misplaced frame fails it, and a torn payload does not silence it), and the frame is found only at multiples of 8.
//!
//! Segments: the file of N+1 may be made ahead, of zeros. Before N+1's header is written, N is synced; before a record goes
//! into N+1, its header, its checkpoint, its length and its name are synced. So if there is anything in the file N+1, all of
//! N was durable, and anything bad in N is corruption (N+1's header also says where N ends, so that a vanished end of N is
//! noticed). If it is all zeros, N is the newest segment. A newest segment with a bad header or checkpoint and no frame in it
//! is an unfinished beginning and is removed, if there is a segment before it or it is segment 1; with a frame in it, or
//! alone, it is corrupt.
//!
//! # Compacted or missing?
//!
//! Old segments are deleted, so a log that begins with segment 7 may be whole. What its first six said survives in the
//! **checkpoint** of the seventh: hard state, newest snapshot, last index of the log (not the entries). It is a record
//! like any other, and says what was true already: hard state, `truncate_from` = one after the last index, the snapshot
//! with Keep. Where the segment before is there, the checkpoint must agree with it.
//!
//! So every row of segments that ends with the newest stands for a state; what it may lack is entries. It lacks those that
//! the checkpoint counts and no later record truncates, discards or repeats. **A log is whole if its newest snapshot covers
//! all that it lacks**; else segments are missing that nobody had a right to delete: corruption, refused. (A segment that
//! was deleted by hand and held nothing but what the snapshot covers is no loss, and is not told from compaction.) And a
//! log never ends before its snapshot: a snapshot that keeps the log is of an entry in it, one that discards the log sets
//! its end, and no truncation reaches below one.
//!
//! Compaction deletes the segments before N such that all entries that are in them and still in the log are below the
//! wanted index and covered by the newest snapshot. It first syncs what is written. So the state it decides by is the
//! least that any crash can lead back to, and N's checkpoint, like that of every segment, was durable before its first
//! record. The oldest segment goes first, and its name is gone for certain before that of the next is touched: what a
//! crash leaves is a row without a gap that begins at or before N, and for all of these the rule above holds, since a
//! longer row lacks less. One of them may become the next segment's file: it loses its name like the others, durably, and
//! only then is zeroed; it gets the new one when all of it is zeros, durably. The newest segment always stays, so a log without any segment is a missing one if META, or a
//! snapshot's file, shows that there was one.
//!
//! Snapshots: the file is durable before a record names it. What a crash can lead back to are the state of the last sync
//! and those after it; the files of all their snapshots stay. When a newer one is synced, files of older ones go. Recovery
//! needs the file of the newest snapshot only. One that no record names was never in force, or is so no more: recovery
//! deletes it, after it has synced the log it goes by.
//!
//! What cannot be told apart: damage to the very last synced group, with nothing written after it, looks like a torn
//! write. No log without a second place to write to can tell; the next record ever written makes it detectable, and META
//! knows how many records were durable at the last start.

/// The format of segments and snapshots that this code writes, and the newest it reads. The folder's own, which changes
/// more often, is in `identity`.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a segment's header, before its checkpoint. Its layout up to the checksum is the same in every format, so that a
/// later format can be told from damage.
pub(crate) const SEGMENT_HEADER: u64 = 64;
/// Bytes of a record's frame.
pub(crate) const FRAME: u64 = 32;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// The largest payload.
pub(crate) const MAX_PAYLOAD: u64 = u32::MAX as u64;

const MAGIC: [u8; 8] = *b"raft wal";
const MARKER: [u8; 4] = *b"rec\x01";

/// The name of an old segment's file on its way to become the next one's.
pub(crate) const RECYCLED: &str = "wal-recycled";

/// The name of a segment's file.
pub(crate) fn segment_file(segment: u64) -> String {
    format!("wal-{segment:016}")
}

/// The segment's number, if this is the name of one.
pub(crate) fn segment_number(file: &str) -> Option<u64> {
    let segment = file.strip_prefix("wal-")?.parse().ok()?;
    (segment >= 1 && segment_file(segment) == file).then_some(segment)
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The segment's number.
    pub(crate) segment: u64,
    /// The number of the first record in it.
    pub(crate) first_record: u64,
    /// Where the records of the segment before end; 0 in the first.
    pub(crate) previous_end: u64,
    /// Bytes of its checkpoint; 0 in the first.
    pub(crate) checkpoint: u32,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// It is absent or damaged.
    Bad(&'static str),
    /// It is whole and of a later format.
    Newer(u32),
}

impl SegmentHeader {
    /// The bytes that a segment begins with; `checkpoint` is as long as the header says.
    pub(crate) fn encode(&self, checkpoint: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER as usize);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.checkpoint.to_le_bytes());
        for number in [self.segment, self.first_record, self.previous_end] {
            bytes.extend(number.to_le_bytes());
        }
        let own = crc32c::crc32c(&bytes);
        bytes.extend(own.to_le_bytes());
        bytes.extend(self.checkpoint_checksum(checkpoint).to_le_bytes());
        bytes.resize(SEGMENT_HEADER as usize, 0);
        bytes.extend(checkpoint);
        bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8], segment: u64) -> Result<Self, HeaderFault> {
        let (Some(magic), Some(format), Some(checksum)) = (u64_at(bytes, 0), u32_at(bytes, 8), u32_at(bytes, 40))
        else {
            return Err(HeaderFault::Bad("the file ends inside its header"));
        };
        if magic.to_le_bytes() != MAGIC {
            return Err(HeaderFault::Bad("this is no segment header"));
        }
        if bytes.get(..40).map(crc32c::crc32c) != Some(checksum) {
            return Err(HeaderFault::Bad("the header's checksum is wrong"));
        }
        if format > FORMAT {
            return Err(HeaderFault::Newer(format));
        }
        let fields = (u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32), u32_at(bytes, 12));
        match fields {
            (Some(named), ..) if named != segment => Err(HeaderFault::Bad("the header is of another segment")),
            (Some(segment), Some(first_record), Some(previous_end), Some(checkpoint)) if format == FORMAT => {
                Ok(Self { segment, first_record, previous_end, checkpoint })
            }
            _ => Err(HeaderFault::Bad("the header's format is none that was ever written")),
        }
    }

    /// Where its first record begins.
    pub(crate) fn records_from(&self) -> u64 {
        (SEGMENT_HEADER + u64::from(self.checkpoint)).next_multiple_of(ALIGN)
    }

    /// Whether this is the checkpoint that belongs to the header, whose bytes as read begin with `header`.
    pub(crate) fn holds(&self, header: &[u8], checkpoint: &[u8]) -> bool {
        checkpoint.len() as u64 == u64::from(self.checkpoint)
            && u32_at(header, 44) == Some(self.checkpoint_checksum(checkpoint))
    }

    /// Seeded with the segment: the checkpoint of another is none.
    fn checkpoint_checksum(&self, checkpoint: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.segment.to_le_bytes()), checkpoint)
    }
}

/// A record's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The record's number, from 1, over all segments.
    pub(crate) number: u64,
    /// How far the segment was known to be durable when this was written, in bytes.
    pub(crate) durable: u64,
    /// Bytes of the payload.
    pub(crate) length: u32,
    checksum: u32,
}

impl Frame {
    /// The frame for a payload, which is at most [`MAX_PAYLOAD`] long.
    pub(crate) fn of(number: u64, durable: u64, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).expect("the store has refused longer records");
        Self { number, durable, length, checksum: crc32c::crc32c(payload) }
    }

    /// Appends the whole record: frame, payload, padding.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>, segment: u64, offset: u64, payload: &[u8]) {
        let start = bytes.len();
        bytes.extend(MARKER);
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.durable.to_le_bytes());
        bytes.extend(self.checksum.to_le_bytes());
        let own = frame_checksum(&bytes[start..], segment, offset);
        bytes.extend(own.to_le_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
    }

    /// The frame that begins `bytes`, if it is whole and was written for this place.
    pub(crate) fn parse(bytes: &[u8], segment: u64, offset: u64) -> Option<Self> {
        let (marked, own) = (bytes.get(..28)?, u32_at(bytes, 28)?);
        if !marked.starts_with(&MARKER) || frame_checksum(marked, segment, offset) != own {
            return None;
        }
        let (length, checksum) = (u32_at(bytes, 4)?, u32_at(bytes, 24)?);
        Some(Self { number: u64_at(bytes, 8)?, durable: u64_at(bytes, 16)?, length, checksum })
    }

    /// Whether this is the frame's payload.
    pub(crate) fn holds(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.length) && crc32c::crc32c(payload) == self.checksum
    }

    /// Where the next record begins if this one is at `offset`.
    pub(crate) fn end(&self, offset: u64) -> u64 {
        offset.saturating_add(record_bytes(u64::from(self.length)))
    }
}

/// Bytes that a record with a payload of this length takes.
pub(crate) fn record_bytes(payload: u64) -> u64 {
    let bytes = FRAME.saturating_add(payload);
    bytes.checked_next_multiple_of(ALIGN).unwrap_or(bytes)
}

fn frame_checksum(marked: &[u8], segment: u64, offset: u64) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(place, marked)
}

pub(crate) fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..)?.first_chunk().copied().map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], place: usize) -> Option<u64> {
    bytes.get(place..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_none() {
        assert_eq!(segment_file(7), "wal-0000000000000007");
        assert_eq!(segment_number(&segment_file(7)), Some(7));
        assert_eq!(segment_number(&segment_file(u64::MAX)), Some(u64::MAX), "longer than the padding");
        for other in
            ["", "wal-", "wal-7", "wal-0000000000000000", "wal-000000000000000x", "wal-+000000000000007", "META"]
        {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_is_bound_to_its_segment_and_a_newer_format_is_told_from_damage() {
        let header = SegmentHeader { segment: 3, first_record: 9, previous_end: 77, checkpoint: 5 };
        let bytes = header.encode(b"state");
        assert_eq!((bytes.len() as u64, header.records_from()), (72, 72));
        assert!(header.holds(&bytes, b"state") && !header.holds(&bytes, b"stata") && !header.holds(&bytes, b"stat"));
        assert!(!SegmentHeader { segment: 4, ..header }.holds(&bytes, b"state"), "another segment's");
        assert_eq!(SegmentHeader::parse(&bytes, 3), Ok(header));
        assert!(matches!(SegmentHeader::parse(&bytes, 4), Err(HeaderFault::Bad(_))));
        assert!(matches!(SegmentHeader::parse(&bytes[..43], 3), Err(HeaderFault::Bad(_))));
        for place in 0..44 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x40;
            assert!(matches!(SegmentHeader::parse(&flipped, 3), Err(HeaderFault::Bad(_))), "byte {place}");
        }
        for (format, expected) in
            [(2, HeaderFault::Newer(2)), (0, HeaderFault::Bad("the header's format is none that was ever written"))]
        {
            let mut other = bytes.clone();
            other[8] = format;
            let checksum = crc32c::crc32c(&other[..40]);
            other[40..44].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(SegmentHeader::parse(&other, 3), Err(expected));
        }
    }

    #[test]
    fn a_frame_is_bound_to_its_place_and_its_payload() {
        let frame = Frame::of(5, 64, b"hello");
        let mut bytes = Vec::new();
        frame.append_to(&mut bytes, 2, 128, b"hello");
        assert_eq!((bytes.len() as u64, frame.end(128)), (record_bytes(5), 128 + 40));
        assert_eq!(Frame::parse(&bytes, 2, 128), Some(frame));
        assert_eq!((Frame::parse(&bytes, 1, 128), Frame::parse(&bytes, 2, 136)), (None, None), "misplaced");
        for place in 0..32 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            assert_eq!(Frame::parse(&flipped, 2, 128), None, "byte {place}");
        }
        assert!(frame.holds(b"hello") && !frame.holds(b"hellp") && !frame.holds(b"hell"));
    }
}
