//! Reads the log exactly as recovery does and changes nothing: each record, then what is behind the last one. Why a torn
//! tail can be told from corruption is in `format`; what to do about a torn tail is not known here.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::is_snapshot;
use crate::space::zeros::nonzero_end;
use crate::store_error::StoreError;
use crate::wal::file_reader::Window;
use crate::wal::format::{
    ALIGN, FORMAT, FRAME, Frame, HeaderFault, SEGMENT_HEADER, SegmentHeader, segment_file, segment_number,
};
use crate::wal::log_summary::LogSummary;
use bytes::Bytes;
use raft_core::{MAX_NUMBER, Write};
use raft_proto::decode_write;

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its file.
    pub file: &'a str,
    /// Its segment, from 1.
    pub segment: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Bytes that it takes, frame and padding included.
    pub bytes: u64,
    /// Its number, from 1, over all segments.
    pub number: u64,
    /// What it says.
    pub write: Write,
}

/// A tail of writes that no sync had covered: a crash tore it, and recovery cuts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// From where in it, in bytes; 0 if the whole file is an unfinished segment, to be removed.
    pub offset: u64,
    /// How many bytes, up to the last that is not zero (the whole length of a file that is to be removed).
    pub bytes: u64,
}

/// Where the log goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) end: u64,
    pub(crate) capacity: u64,
    pub(crate) next_record: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// What the records add up to.
    pub(crate) summary: LogSummary,
    /// The oldest segment; 0 if there is none.
    pub(crate) oldest: u64,
    /// Where the log ends; none if there is no segment, or only one whose making was torn.
    pub(crate) position: Option<Position>,
    /// How far the newest record of that segment knows it durable, in bytes; 0 without a record.
    pub(crate) known_durable: u64,
    /// The number of the last record before the oldest segment: 0 unless segments before it were deleted.
    pub(crate) compacted: u64,
    /// The number of the last record, which is how many were ever written and kept.
    pub(crate) records: u64,
    /// What is behind the last of them.
    pub(crate) torn_tail: Option<TornTail>,
    /// The file of the next segment, made ahead: zeros.
    pub(crate) spare: Option<TornTail>,
}

/// What somebody knows of the log from elsewhere: damage to its very end shows in nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether its first segment was durable once.
    pub(crate) made: bool,
    /// How many records were durable once.
    pub(crate) records: u64,
}

/// Reads the log, in order.
pub(crate) fn scan<D: Disk>(
    disk: &mut D,
    known: Known,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Scanned, StoreError> {
    let mut segments = segments(disk)?;
    let spare = spare(disk, &segments)?;
    if spare.is_some() {
        segments.pop();
    }
    let mut scanned = Scanned { oldest: segments.first().copied().unwrap_or(0), spare, ..Scanned::default() };
    for &segment in &segments {
        let file = segment_file(segment);
        let newest = Some(&segment) == segments.last();
        let mut reader = Segment { window: Window::open(disk, &file)?, segment, file: &file };
        // A segment is made when the one before it is full. So the only one that is there is not in the making, but for the
        // very first.
        let may_be_torn = newest && (segment > scanned.oldest || segment == 1);
        let Some((header, checkpoint)) = reader.header(may_be_torn)? else {
            let bytes = reader.window.length();
            scanned.torn_tail = Some(TornTail { file, offset: 0, bytes });
            break;
        };
        scanned.enter(&reader, header, checkpoint)?;
        scanned.known_durable = 0;
        let end = reader.records(header.records_from(), &mut scanned, visit)?;
        let capacity = reader.window.length();
        let junk = reader.tail(end, newest)?;
        scanned.position = Some(Position { segment, end, capacity, next_record: scanned.records + 1 });
        scanned.torn_tail = (junk > end).then(|| TornTail { file, offset: end, bytes: junk - end });
    }
    scanned.is_whole()?;
    scanned.reaches(known, &disk.list()?)?;
    Ok(scanned)
}

impl Scanned {
    /// Checks that a segment follows what was read so far. The first that is there sets where the log begins.
    fn enter<D: Disk>(
        &mut self,
        reader: &Segment<'_, D>,
        header: SegmentHeader,
        checkpoint: Option<LogSummary>,
    ) -> Result<(), StoreError> {
        if header.first_record == 0 || header.first_record.max(header.segment) > MAX_NUMBER {
            return Err(reader.corrupt(0, "its numbers are none that a node ever reaches"));
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
                let reason = "its checkpoint does not say what the records before this segment add up to";
                return Err(reader.corrupt(SEGMENT_HEADER, reason));
            }
        }
        let previous_end = self.position.as_ref().map_or(0, |position| position.end);
        if header.previous_end != previous_end {
            let before = segment_file(header.segment - 1);
            let reason =
                format!("its records end here, but {} knows of some up to byte {}", reader.file, header.previous_end);
            return Err(corrupt(&before, previous_end, reason));
        }
        if header.first_record != self.records + 1 {
            return Err(reader.corrupt(0, "the records before this segment are not the ones it follows"));
        }
        Ok(())
    }

    /// Only what the snapshot covers may be missing.
    fn is_whole(&self) -> Result<(), StoreError> {
        let Some((first, last)) = self.summary.lacks() else { return Ok(()) };
        let reason = format!("the file is missing: entries {first} to {last} were in it or before it");
        Err(corrupt(&segment_file(self.oldest.saturating_sub(1)), 0, reason))
    }

    fn reaches(&self, known: Known, files: &[String]) -> Result<(), StoreError> {
        let Some(position) = &self.position else {
            let snapshot = files.iter().find(|file| is_snapshot(file));
            let witness =
                snapshot.cloned().or(known.made.then(|| "META, which says that this node has run,".to_owned()));
            let missing = |witness| corrupt(&segment_file(1), 0, format!("the log is missing, but {witness} is there"));
            return witness.map_or(Ok(()), |witness| Err(missing(witness)));
        };
        if self.records < known.records {
            let reason = format!("the log ends with record {}, but META knows of {}", self.records, known.records);
            return Err(corrupt(&segment_file(position.segment), position.end, reason));
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
            let reason = format!("the file is missing, but {} is there", segment_file(found));
            return Err(corrupt(&segment_file(before.saturating_add(1)), 0, reason));
        }
    }
    Ok(segments)
}

/// The last segment's file, if there is nothing in it and it is not the only one: it was made ahead, or its making was cut
/// short. Either way no header was ever written there, so the segment before it may be the one that is written to.
fn spare<D: Disk>(disk: &mut D, segments: &[u64]) -> Result<Option<TornTail>, StoreError> {
    let [_, .., last] = segments else { return Ok(None) };
    let file = segment_file(*last);
    let mut window = Window::open(disk, &file)?;
    let mut offset = 0;
    loop {
        let chunk = window.chunk(offset)?;
        if chunk.iter().any(|&byte| byte != 0) {
            return Ok(None);
        }
        offset += chunk.len() as u64;
        if chunk.is_empty() {
            return Ok(Some(TornTail { file, offset: 0, bytes: offset }));
        }
    }
}

/// The record at this place, its number and where the next one begins; none if it is not whole.
pub(crate) fn record_at<D: Disk>(
    window: &mut Window<'_, D>,
    segment: u64,
    offset: u64,
) -> Result<Option<(Frame, Bytes)>, StoreError> {
    let Some(frame) = Frame::parse(window.bytes(offset, FRAME)?, segment, offset) else { return Ok(None) };
    let payload = window.bytes(offset.saturating_add(FRAME), u64::from(frame.length))?;
    // A copy, so that an entry that lives long holds on to its record and not to the whole buffer.
    Ok(frame.holds(payload).then(|| (frame, Bytes::copy_from_slice(payload))))
}

/// One segment being read.
struct Segment<'a, D> {
    window: Window<'a, D>,
    segment: u64,
    file: &'a str,
}

impl<D: Disk> Segment<'_, D> {
    fn corrupt(&self, offset: u64, reason: impl Into<String>) -> StoreError {
        corrupt(self.file, offset, reason)
    }

    /// The header, and the state that the checkpoint leads to (none in segment 1). Nothing if this segment may be one whose
    /// creation did not get as far as a durable header, and is.
    fn header(&mut self, may_be_torn: bool) -> Result<Option<(SegmentHeader, Option<LogSummary>)>, StoreError> {
        let bytes = self.window.bytes(0, SEGMENT_HEADER)?;
        let header = match SegmentHeader::parse(bytes, self.segment) {
            Ok(header) => header,
            Err(HeaderFault::Newer(found)) => {
                return Err(StoreError::NewerFormat { file: self.file.to_owned(), found, supported: FORMAT });
            }
            Err(HeaderFault::Bad(reason)) => return self.bad_header(reason, SEGMENT_HEADER, may_be_torn),
        };
        if (header.checkpoint == 0) != (self.segment == 1) {
            return Err(
                self.corrupt(0, "all segments but the first begin with a checkpoint, and this one is otherwise")
            );
        }
        if header.checkpoint == 0 {
            return Ok(Some((header, None)));
        }
        let bytes = self.window.bytes(0, SEGMENT_HEADER + u64::from(header.checkpoint))?;
        let checkpoint = bytes.get(SEGMENT_HEADER as usize..).unwrap_or_default();
        if !header.holds(bytes, checkpoint) {
            return self.bad_header("the checkpoint's checksum is wrong", header.records_from(), may_be_torn);
        }
        let write = decode_write(Bytes::copy_from_slice(checkpoint));
        let write = write.map_err(|error| self.corrupt(SEGMENT_HEADER, error.to_string()))?;
        let summary = LogSummary::of_checkpoint(&write).map_err(|reason| self.corrupt(SEGMENT_HEADER, reason))?;
        Ok(Some((header, Some(summary))))
    }

    /// No record goes into a segment before its header is durable: any record proves that there was one.
    fn bad_header<T>(&mut self, reason: &str, records_from: u64, may_be_torn: bool) -> Result<Option<T>, StoreError> {
        if !may_be_torn {
            return Err(self.corrupt(0, reason));
        }
        if self.scan(records_from)?.durable > 0 {
            return Err(self.corrupt(0, format!("{reason}, and records follow it")));
        }
        Ok(None)
    }

    /// Shows records up to the end or the first that is bad; returns where that is.
    fn records(
        &mut self,
        from: u64,
        scanned: &mut Scanned,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u64, StoreError> {
        let mut offset = from;
        while let Some((frame, payload)) = record_at(&mut self.window, self.segment, offset)? {
            // The checksums vouch for what was written: whatever is wrong with it is no torn write.
            let number = scanned.records + 1;
            if frame.number != number {
                return Err(
                    self.corrupt(offset, format!("this is record {}, and {number} was to follow", frame.number))
                );
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

    /// Decides about what follows the last good record: the end of it, to be cut, or corruption. `end` if there is
    /// nothing.
    fn tail(&mut self, end: u64, newest: bool) -> Result<u64, StoreError> {
        let tail = self.scan(end)?;
        if tail.durable > end {
            let reason = format!("there is no good record here, but later ones know it durable up to {}", tail.durable);
            return Err(self.corrupt(end, reason));
        }
        if tail.nonzero_end > end && !newest {
            return Err(self.corrupt(end, "there is no good record here, but a later segment exists"));
        }
        Ok(tail.nonzero_end.max(end))
    }

    /// Looks at everything from `from` on.
    fn scan(&mut self, from: u64) -> Result<Tail, StoreError> {
        let segment = self.segment;
        let mut tail = Tail { nonzero_end: 0, durable: 0 };
        // What is inside the payload of a whole frame is a client's bytes, not ours, even if the payload is torn.
        let mut frames_from = match Frame::parse(self.window.bytes(from, FRAME)?, segment, from) {
            Some(frame) => {
                tail.durable = frame.durable;
                frame.end(from)
            }
            None => from.next_multiple_of(ALIGN),
        };
        let mut offset = from;
        loop {
            let chunk = self.window.chunk(offset)?;
            let length = chunk.len() as u64;
            if length == 0 {
                return Ok(tail);
            }
            let used = nonzero_end(chunk) as u64;
            if used == 0 {
                offset += length;
                continue;
            }
            tail.nonzero_end = offset + used;
            frames_from = frames_from.max(offset.next_multiple_of(ALIGN));
            while frames_from < offset + length {
                frames_from = match Frame::parse(self.window.bytes(frames_from, FRAME)?, segment, frames_from) {
                    Some(frame) => {
                        tail.durable = tail.durable.max(frame.durable);
                        frame.end(frames_from)
                    }
                    None => frames_from + ALIGN,
                };
            }
            offset += length;
        }
    }
}

/// What follows the last good record.
struct Tail {
    /// Just after the last byte that is not zero; 0 if all are.
    nonzero_end: u64,
    /// The highest offset that any frame in it knows durable; 0 if there is no frame.
    durable: u64,
}

pub(crate) fn corrupt(file: &str, offset: u64, reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { file: file.to_owned(), offset, reason: reason.into() }
}
