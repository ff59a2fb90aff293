//! The log on the disk, byte by byte, and how recovery can tell a torn tail from corruption. This file does no I/O.
//!
//! ```text
//! wal-0000000000000007      segments, numbered without a gap, each preallocated (zeros)
//!   header, 64 bytes        magic, format, segment number, number of its first record, where the previous segment ends,
//!                           length and checksum of the checkpoint
//!   checkpoint              the state before its first record, as one `raft.store.v1.Record` without frame and number
//!                           that changes nothing; none in segment 1
//!   record                  32 bytes of frame, the payload (`raft.store.v1.Record`), zeros up to a multiple of 8
//!   record ...              record numbers continue through all segments
//!   zeros                   the end
//! wal-recycled              an old segment that becomes the next one's file: a part of it may be zeros
//! snapshot-<index>-<term>   a snapshot with this last entry; see `snapshots/snapshot_file`
//! ```
//!
//! # Torn or corrupt?
//!
//! A power loss can undo every unsynced write, completely or sector by sector and *in any order*. So any bytes can
//! follow the last synced byte of the newest segment: a hole, then a valid record of a later unsynced write. Recovery
//! must cut all of that; no node relies on it. A bad record *before* the last synced byte is different: if recovery
//! dropped it, a vote or an acknowledged entry would be lost silently.
//!
//! Therefore **each frame says how many bytes of its segment were known to be durable when it was written** (`durable`).
//! Recovery reads records up to the first bad one, at B, then searches everything after B for frames. A frame with
//! `durable > B` proves that the bytes at B were synced: corruption, and the start is refused. Without such a frame everything
//! from B on may be an unsynced group, and is cut. A cut (zeros up to the end, then a sync) can be repeated: whatever
//! part of it survives a crash, later frames still say `durable <= B`.
//!
//! A frame can be trusted for two reasons. It has its own checksum, seeded with segment and offset: a stale or misplaced frame
//! fails it, and a torn payload does not affect it. And frames begin only at multiples of 8.
//!
//! The file of segment N+1 may be preallocated with zeros. N is synced before N+1 gets a header; N+1's header, checkpoint,
//! length and name are synced before it gets a record. So if the file N+1 holds anything, all of N was durable, and any
//! bad record in N is corruption (N+1's header also says where N ends, so a lost end of N shows). If the file is all
//! zeros, N is the newest segment. If a newest segment has a bad header or checkpoint and no frame, it is unfinished,
//! and recovery removes it, provided that it is segment 1 or not the only one. Otherwise it is corrupt.
//!
//! # Compacted or missing?
//!
//! Compaction deletes old segments, so a log that begins with segment 7 can be complete. The **checkpoint** of segment
//! 7 summarizes the first six: hard state, newest snapshot and last index, but no entries. It is a record like any
//! other and repeats the current state: hard state, `truncate_from` = last index + 1, the snapshot with Keep. If the
//! previous segment exists, the checkpoint must agree with it.
//!
//! So every sequence of segments that ends with the newest one leads to a state, and can lack only entries: those that
//! its first checkpoint counts and that no later record truncates, discards or repeats. **A log is complete if its
//! newest snapshot covers all entries that it lacks**; otherwise needed segments are missing: corruption. (If an
//! operator deletes a segment whose entries the snapshot covers, that looks like compaction, and no data is lost.) A
//! log never ends before its snapshot: a snapshot that keeps the log ends in one of its entries, one that discards the
//! log sets its end, and no truncation reaches below a snapshot.
//!
//! Compaction deletes the segments before N if all their entries that are still in the log are below the requested index and
//! covered by the newest snapshot. It first syncs all writes: so it decides by the oldest state that a crash can
//! restore, and N's checkpoint, like every checkpoint, was durable before its first record. It deletes the oldest
//! segment first and syncs the folder before it deletes the next one. A crash leaves a sequence without a gap that
//! begins at or before N, and the rule above holds for each of these, because a longer sequence lacks less. A deleted
//! segment may become the next segment's file: it loses its name durably, is then zeroed, and gets the new name when
//! all of it is durable zeros. The newest segment always stays. So if META or a snapshot shows that there was a log, a
//! folder without a segment has lost it.
//!
//! A snapshot's file is durable before a record names it. A crash can restore the last synced state or a later one; the
//! files of all their snapshots stay. Recovery needs only the newest snapshot's file. It syncs the log, then deletes
//! the snapshots that the log does not name.
//!
//! One case cannot be detected: damage to the last synced group, without a later write, looks like a torn write. Only a
//! second copy of the records could show it. The next record makes such damage detectable, and META counts the records
//! that were durable at the last start.

/// The format of segments and snapshots that this version writes, and the newest it reads. `folder/meta_file` has the
/// folder's own format, which changes more often.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a segment's header without its checkpoint. The layout up to the checksum is the same in every format, so that a
/// later format can be distinguished from damage.
pub(crate) const SEGMENT_HEADER: u64 = 64;
/// Bytes of a record's frame.
pub(crate) const FRAME: u64 = 32;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// The largest payload in bytes.
pub(crate) const MAX_PAYLOAD: u64 = u32::MAX as u64;

const MAGIC: [u8; 8] = *b"raft wal";
const MARKER: [u8; 4] = *b"rec\x01";

/// The name of an old segment's file while it becomes the next one's.
pub(crate) const RECYCLED: &str = "wal-recycled";

pub(crate) fn segment_file(segment: u64) -> String {
    format!("wal-{segment:016}")
}

/// The segment's number, if this is the name of a segment's file.
pub(crate) fn segment_number(file: &str) -> Option<u64> {
    let segment = file.strip_prefix("wal-")?.parse().ok()?;
    (segment >= 1 && segment_file(segment) == file).then_some(segment)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: u64,
    /// The number of the segment's first record.
    pub(crate) first_record: u64,
    /// The offset at which the previous segment's records end; 0 in segment 1.
    pub(crate) previous_end: u64,
    /// Bytes of the checkpoint; 0 in segment 1.
    pub(crate) checkpoint: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The header is absent or damaged.
    Bad(&'static str),
    /// The header is valid, but has this later format.
    Newer(u32),
}

impl SegmentHeader {
    /// The header and the checkpoint, padded. `checkpoint` must have the length in the header.
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

    pub(crate) fn parse(bytes: &[u8], segment: u64) -> Result<Self, HeaderError> {
        let (Some(magic), Some(format), Some(checksum)) = (u64_at(bytes, 0), u32_at(bytes, 8), u32_at(bytes, 40))
        else {
            return Err(HeaderError::Bad("the file ends inside its header"));
        };
        if magic.to_le_bytes() != MAGIC {
            return Err(HeaderError::Bad("expected a segment header, found other bytes"));
        }
        if bytes.get(..40).map(crc32c::crc32c) != Some(checksum) {
            return Err(HeaderError::Bad("the header's checksum is wrong"));
        }
        if format > FORMAT {
            return Err(HeaderError::Newer(format));
        }
        let fields = (u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32), u32_at(bytes, 12));
        match fields {
            (Some(named), ..) if named != segment => Err(HeaderError::Bad("the header belongs to another segment")),
            (Some(segment), Some(first_record), Some(previous_end), Some(checkpoint)) if format == FORMAT => {
                Ok(Self { segment, first_record, previous_end, checkpoint })
            }
            _ => Err(HeaderError::Bad("the header names a format that no version wrote")),
        }
    }

    /// The offset of the first record.
    pub(crate) fn first_offset(&self) -> u64 {
        (SEGMENT_HEADER + u64::from(self.checkpoint)).next_multiple_of(ALIGN)
    }

    /// Whether the checkpoint belongs to this header, whose bytes begin with `header`.
    pub(crate) fn matches(&self, header: &[u8], checkpoint: &[u8]) -> bool {
        checkpoint.len() as u64 == u64::from(self.checkpoint)
            && u32_at(header, 44) == Some(self.checkpoint_checksum(checkpoint))
    }

    /// The segment number is the seed, so that another segment's checkpoint does not match.
    fn checkpoint_checksum(&self, checkpoint: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.segment.to_le_bytes()), checkpoint)
    }
}

/// The bytes before a record's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The record's number, from 1, counted over all segments.
    pub(crate) number: u64,
    /// The bytes of the segment that were known to be durable when this frame was written.
    pub(crate) durable: u64,
    /// Bytes of the payload.
    pub(crate) length: u32,
    checksum: u32,
}

impl Frame {
    /// The frame of a payload of at most [`MAX_PAYLOAD`] bytes.
    pub(crate) fn new(number: u64, durable: u64, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).expect("the store refuses longer records");
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

    /// The frame at the start of `bytes`, if it is valid and was written for this position.
    pub(crate) fn parse(bytes: &[u8], segment: u64, offset: u64) -> Option<Self> {
        let (marked, own) = (bytes.get(..28)?, u32_at(bytes, 28)?);
        if !marked.starts_with(&MARKER) || frame_checksum(marked, segment, offset) != own {
            return None;
        }
        let (length, checksum) = (u32_at(bytes, 4)?, u32_at(bytes, 24)?);
        Some(Self { number: u64_at(bytes, 8)?, durable: u64_at(bytes, 16)?, length, checksum })
    }

    /// Whether this is the frame's payload.
    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.length) && crc32c::crc32c(payload) == self.checksum
    }

    /// The offset of the next record if this one is at `offset`.
    pub(crate) fn end(&self, offset: u64) -> u64 {
        offset.saturating_add(record_bytes(u64::from(self.length)))
    }
}

/// Bytes of a record with a payload of this length.
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
    fn only_segment_names_have_a_number() {
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
        assert_eq!((bytes.len() as u64, header.first_offset()), (72, 72));
        assert!(
            header.matches(&bytes, b"state") && !header.matches(&bytes, b"stata") && !header.matches(&bytes, b"stat")
        );
        assert!(!SegmentHeader { segment: 4, ..header }.matches(&bytes, b"state"), "another segment's");
        assert_eq!(SegmentHeader::parse(&bytes, 3), Ok(header));
        assert!(matches!(SegmentHeader::parse(&bytes, 4), Err(HeaderError::Bad(_))));
        assert!(matches!(SegmentHeader::parse(&bytes[..43], 3), Err(HeaderError::Bad(_))));
        for place in 0..44 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x40;
            assert!(matches!(SegmentHeader::parse(&flipped, 3), Err(HeaderError::Bad(_))), "byte {place}");
        }
        for (format, expected) in
            [(2, HeaderError::Newer(2)), (0, HeaderError::Bad("the header names a format that no version wrote"))]
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
        let frame = Frame::new(5, 64, b"hello");
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
        assert!(frame.matches(b"hello") && !frame.matches(b"hellp") && !frame.matches(b"hell"));
    }
}
