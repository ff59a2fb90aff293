//! Reads the whole log as recovery does, and changes nothing: all records, then the bytes after the last one. `format`
//! explains how a torn tail differs from corruption.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::{is_snapshot, parse_name};
use crate::space::zeros::nonzero_end;
use crate::store_error::StoreError;
use crate::wal::file_reader::FileReader;
use crate::wal::format::{
    ALIGN, FORMAT, FRAME, Frame, HeaderError, SEGMENT_HEADER, SegmentHeader, segment_file, segment_number,
};
use crate::wal::log_summary::LogSummary;
use bytes::Bytes;
use raft_core::{MAX_NUMBER, Write};
use raft_proto::decode_write;

/// One record of the log. Segments and records are numbered from 1; `bytes` includes frame and padding.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub file: &'a str,
    pub segment: u64,
    pub offset: u64,
    pub bytes: u64,
    pub number: u64,
    pub write: Write,
}

/// Unsynced writes that a crash tore, at the end of the log: recovery cuts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file of the tail.
    pub file: String,
    /// The offset in the file; 0 if the file is an unfinished segment, which recovery removes.
    pub offset: u64,
    /// The bytes up to the last that is not zero; the file's length if recovery removes it.
    pub bytes: u64,
}

/// The position of the next record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WritePosition {
    pub(crate) segment: u64,
    pub(crate) end: u64,
    pub(crate) capacity: u64,
    pub(crate) next_record: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// The state that the records lead to.
    pub(crate) summary: LogSummary,
    /// The oldest segment; 0 if there is none.
    pub(crate) oldest: u64,
    /// The end of the log; `None` without a segment, or if the only one is unfinished.
    pub(crate) position: Option<WritePosition>,
    /// Bytes of the newest segment that its newest record calls durable; 0 without a record.
    pub(crate) known_durable: u64,
    /// The number of the last record before the oldest segment; 0 unless segments were deleted.
    pub(crate) compacted: u64,
    /// The number of the last record.
    pub(crate) records: u64,
    /// The tail after the last record.
    pub(crate) torn_tail: Option<TornTail>,
    /// The preallocated file of the next segment, which holds zeros.
    pub(crate) spare: Option<TornTail>,
}

/// The facts about the log in META. Only they show damage to the log's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpectedLog {
    /// Whether its first segment was durable once.
    pub(crate) exists: bool,
    /// How many records were durable once.
    pub(crate) records: u64,
}

/// Reads the log in order.
pub(crate) fn scan<D: Disk>(
    disk: &mut D,
    expected: ExpectedLog,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Scanned, StoreError> {
    let mut segments = segments(disk)?;
    let spare = find_spare(disk, &segments)?;
    if spare.is_some() {
        segments.pop();
    }
    let mut scanned = Scanned { oldest: segments.first().copied().unwrap_or(0), spare, ..Scanned::default() };
    for &segment in &segments {
        let file = segment_file(segment);
        let newest = Some(&segment) == segments.last();
        let mut reader = SegmentReader { input: FileReader::open(disk, &file)?, segment, file: &file };
        // The store begins a segment when the previous one is full, so the only one is never unfinished, unless it is
        // segment 1.
        let may_be_unfinished = newest && (segment > scanned.oldest || segment == 1);
        let Some((header, checkpoint)) = reader.header(may_be_unfinished)? else {
            let bytes = reader.input.length();
            scanned.torn_tail = Some(TornTail { file, offset: 0, bytes });
            break;
        };
        scanned.begin_segment(&reader, header, checkpoint)?;
        scanned.known_durable = 0;
        let end = reader.records(header.first_offset(), &mut scanned, visit)?;
        let capacity = reader.input.length();
        let junk_end = reader.tail(end, newest)?;
        scanned.position = Some(WritePosition { segment, end, capacity, next_record: scanned.records + 1 });
        scanned.torn_tail = (junk_end > end).then(|| TornTail { file, offset: end, bytes: junk_end - end });
    }
    scanned.check_complete(disk)?;
    scanned.check_expected(expected, disk)?;
    Ok(scanned)
}

impl Scanned {
    /// Checks that a segment continues the log. The oldest segment determines where the log begins.
    fn begin_segment<D: Disk>(
        &mut self,
        reader: &SegmentReader<'_, D>,
        header: SegmentHeader,
        checkpoint: Option<LogSummary>,
    ) -> Result<(), StoreError> {
        if header.first_record == 0 || header.first_record.max(header.segment) > MAX_NUMBER {
            return Err(reader.corrupt(0, "its segment or record number is out of range"));
        }
        if let Some(checkpoint) = checkpoint {
            if self.position.is_none() {
                self.summary = checkpoint;
                self.compacted = header.first_record.saturating_sub(1);
                self.records = self.compacted;
                return Ok(());
            }
            let LogSummary { hard_state, snapshot, last, .. } = &checkpoint;
            let so_far = (&self.summary.hard_state, &self.summary.snapshot, &self.summary.last);
            if so_far != (hard_state, snapshot, last) {
                let reason = "its checkpoint differs from the state that the previous records lead to";
                return Err(reader.corrupt(SEGMENT_HEADER, reason));
            }
        }
        let previous_end = self.position.as_ref().map_or(0, |position| position.end);
        if header.previous_end != previous_end {
            let before = segment_file(header.segment - 1);
            let reason =
                format!("its records end here, but {} expects some up to {}", reader.file, header.previous_end);
            return Err(StoreError::corrupt(&before, previous_end, reason));
        }
        if header.first_record != self.records + 1 {
            let reason = format!("it begins with record {}, expected {}", header.first_record, self.records + 1);
            return Err(reader.corrupt(0, reason));
        }
        Ok(())
    }

    /// Checks that only entries that the snapshot covers are missing.
    fn check_complete<D: Disk>(&self, disk: &mut D) -> Result<(), StoreError> {
        let Some((first, last)) = self.summary.missing() else { return Ok(()) };
        let covers = |file: &String| parse_name(file).is_some_and(|covered| covered.index >= last);
        // Segments are deleted after the record that names a snapshot of their entries, so that record was the end of the log.
        let (segment, evidence) = match disk.list()?.into_iter().find(covers) {
            Some(snapshot) => {
                let newest = self.position.as_ref().map_or(self.oldest, |position| position.segment);
                (
                    newest.saturating_add(1),
                    format!("{snapshot}, which covers entries {first} to {last}, was named in it or after it"),
                )
            }
            None => (self.oldest.saturating_sub(1), format!("entries {first} to {last} were in it or before it")),
        };
        Err(StoreError::missing(disk, segment_file(segment), evidence))
    }

    fn check_expected<D: Disk>(&self, expected: ExpectedLog, disk: &mut D) -> Result<(), StoreError> {
        let Some(position) = &self.position else {
            let evidence = match disk.list()?.iter().find(|file| is_snapshot(file)) {
                Some(snapshot) => format!("{snapshot} exists"),
                None if expected.exists => "META says that this node has run".to_owned(),
                None => return Ok(()),
            };
            let file = segment_file(self.oldest.max(1));
            return Err(match self.oldest {
                0 => StoreError::missing(disk, format!("{file} or a later one"), evidence),
                _ => StoreError::corrupt(&file, 0, format!("expected records, but found none, and {evidence}")),
            });
        };
        if self.records < expected.records {
            let next = segment_file(position.segment.saturating_add(1));
            let reason = format!(
                "the log ends with record {}, but META counts {}: its end is damaged, or {next} is missing",
                self.records, expected.records
            );
            return Err(StoreError::corrupt(&segment_file(position.segment), position.end, reason));
        }
        Ok(())
    }
}

/// The numbers of all segments, in order, without a gap.
fn segments<D: Disk>(disk: &mut D) -> Result<Vec<u64>, StoreError> {
    let mut segments: Vec<u64> = disk.list()?.iter().filter_map(|file| segment_number(file)).collect();
    segments.sort_unstable();
    for (&before, &found) in segments.iter().zip(segments.iter().skip(1)) {
        if found != before.saturating_add(1) {
            let evidence = format!("{} and {} exist", segment_file(before), segment_file(found));
            return Err(StoreError::missing(disk, segment_file(before.saturating_add(1)), evidence));
        }
    }
    Ok(segments)
}

/// The last segment's file, if it is all zeros: it was preallocated, or is unfinished. It never had a header, so the previous
/// segment must be there, as the newest. Only segment 1 has none.
fn find_spare<D: Disk>(disk: &mut D, segments: &[u64]) -> Result<Option<TornTail>, StoreError> {
    let Some(last) = segments.last().copied().filter(|&last| last > 1) else { return Ok(None) };
    let file = segment_file(last);
    let Some(bytes) = zeros(disk, &file)? else { return Ok(None) };
    if segments.len() == 1 {
        let evidence = format!("{file} was made for what follows it, and no log file with records exists");
        return Err(StoreError::missing(disk, segment_file(last - 1), evidence));
    }
    Ok(Some(TornTail { file, offset: 0, bytes }))
}

/// The length of a file, if it is all zeros.
fn zeros<D: Disk>(disk: &mut D, file: &str) -> Result<Option<u64>, StoreError> {
    let mut reader = FileReader::open(disk, file)?;
    let mut offset = 0;
    loop {
        let chunk = reader.chunk(offset)?;
        if chunk.iter().any(|&byte| byte != 0) {
            return Ok(None);
        }
        offset += chunk.len() as u64;
        if chunk.is_empty() {
            return Ok(Some(offset));
        }
    }
}

/// The frame and payload of the record at this position; `None` if the record is invalid.
pub(crate) fn read_record<D: Disk>(
    reader: &mut FileReader<'_, D>,
    segment: u64,
    offset: u64,
) -> Result<Option<(Frame, Bytes)>, StoreError> {
    let Some(frame) = Frame::parse(reader.bytes(offset, FRAME)?, segment, offset) else { return Ok(None) };
    let payload = reader.bytes(offset.saturating_add(FRAME), u64::from(frame.length))?;
    // This is a copy: an entry that stays in memory keeps its record there, and not the whole buffer.
    Ok(frame.matches(payload).then(|| (frame, Bytes::copy_from_slice(payload))))
}

/// The reader of one segment.
struct SegmentReader<'a, D> {
    input: FileReader<'a, D>,
    segment: u64,
    file: &'a str,
}

impl<D: Disk> SegmentReader<'_, D> {
    fn corrupt(&self, offset: u64, reason: impl Into<String>) -> StoreError {
        StoreError::corrupt(self.file, offset, reason)
    }

    /// The header, and the state of its checkpoint (`None` in segment 1). The result is `None` if the segment is
    /// unfinished and may be.
    fn header(&mut self, may_be_unfinished: bool) -> Result<Option<(SegmentHeader, Option<LogSummary>)>, StoreError> {
        let bytes = self.input.bytes(0, SEGMENT_HEADER)?;
        let header = match SegmentHeader::parse(bytes, self.segment) {
            Ok(header) => header,
            Err(HeaderError::Newer(found)) => {
                return Err(StoreError::NewerFormat { file: self.file.to_owned(), found, supported: FORMAT });
            }
            Err(HeaderError::Bad(reason)) => return self.bad_header(reason, SEGMENT_HEADER, may_be_unfinished),
        };
        if (header.checkpoint == 0) != (self.segment == 1) {
            return Err(self.corrupt(0, "expected a checkpoint in segments after the first, and only there"));
        }
        if header.checkpoint == 0 {
            return Ok(Some((header, None)));
        }
        let bytes = self.input.bytes(0, SEGMENT_HEADER + u64::from(header.checkpoint))?;
        let checkpoint = bytes.get(SEGMENT_HEADER as usize..).unwrap_or_default();
        if !header.matches(bytes, checkpoint) {
            return self.bad_header("the checkpoint's checksum is wrong", header.first_offset(), may_be_unfinished);
        }
        let write = decode_write(Bytes::copy_from_slice(checkpoint));
        let write = write.map_err(|error| self.corrupt(SEGMENT_HEADER, error.to_string()))?;
        let summary = LogSummary::from_checkpoint(&write).map_err(|reason| self.corrupt(SEGMENT_HEADER, reason))?;
        Ok(Some((header, Some(summary))))
    }

    /// A segment gets a record only when its header is durable, so a record proves that the header was valid earlier.
    fn bad_header<T>(
        &mut self,
        reason: &str,
        first_offset: u64,
        may_be_unfinished: bool,
    ) -> Result<Option<T>, StoreError> {
        if !may_be_unfinished {
            return Err(self.corrupt(0, reason));
        }
        if self.scan_tail(first_offset)?.durable > 0 {
            return Err(self.corrupt(0, format!("{reason}, and records follow it")));
        }
        Ok(None)
    }

    /// Visits the records up to the first invalid one or the end; returns its offset.
    fn records(
        &mut self,
        from: u64,
        scanned: &mut Scanned,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u64, StoreError> {
        let mut offset = from;
        while let Some((frame, payload)) = read_record(&mut self.input, self.segment, offset)? {
            // Its checksums are right, so any problem with it is not a torn write.
            let number = scanned.records + 1;
            if frame.number != number {
                return Err(self.corrupt(offset, format!("expected record {number}, found {}", frame.number)));
            }
            let write = decode_write(payload).map_err(|error| self.corrupt(offset, error.to_string()))?;
            let summary = &mut scanned.summary;
            summary.apply(&write, self.segment, offset).map_err(|reason| self.corrupt(offset, reason))?;
            (scanned.records, scanned.known_durable) = (number, frame.durable);
            let end = frame.end(offset);
            visit(&Record { file: self.file, segment: self.segment, offset, bytes: end - offset, number, write });
            offset = end;
        }
        Ok(offset)
    }

    /// Decides about the bytes after the last valid record: a tail to cut, or corruption. Returns the end of the tail;
    /// `end` if there is none.
    fn tail(&mut self, end: u64, newest: bool) -> Result<u64, StoreError> {
        let tail = self.scan_tail(end)?;
        if tail.durable > end {
            let reason = format!("expected a record, but found none; later ones call {} bytes durable", tail.durable);
            return Err(self.corrupt(end, reason));
        }
        if tail.nonzero_end > end && !newest {
            return Err(self.corrupt(end, "expected a record, but found none; a later segment exists"));
        }
        Ok(tail.nonzero_end.max(end))
    }

    /// Searches everything from `from` on for frames.
    fn scan_tail(&mut self, from: u64) -> Result<Tail, StoreError> {
        let segment = self.segment;
        let mut tail = Tail { nonzero_end: 0, durable: 0 };
        let mut frames_from = from.next_multiple_of(ALIGN);
        let mut offset = from;
        loop {
            let chunk = self.input.chunk(offset)?;
            let length = chunk.len() as u64;
            if length == 0 {
                return Ok(tail);
            }
            let used = nonzero_end(chunk) as u64;
            if used > 0 {
                tail.nonzero_end = offset + used;
                frames_from = frames_from.max(offset.next_multiple_of(ALIGN));
                while frames_from < offset + length {
                    frames_from = match Frame::parse(self.input.bytes(frames_from, FRAME)?, segment, frames_from) {
                        // Its payload holds a client's bytes, no frames, even if it is torn.
                        Some(frame) => {
                            tail.durable = tail.durable.max(frame.durable);
                            frame.end(frames_from)
                        }
                        None => frames_from + ALIGN,
                    };
                }
            }
            offset += length;
        }
    }
}

/// The bytes after the last valid record.
struct Tail {
    /// The offset after the last byte that is not zero; 0 if all bytes are zero.
    nonzero_end: u64,
    /// The most bytes that any frame in them calls durable; 0 without a frame.
    durable: u64,
}
