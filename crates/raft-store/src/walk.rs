//! Reads the log exactly as recovery does and changes nothing: each record, then what is behind the last one. Why a torn
//! tail can be told from corruption is in `format`; what to do about a torn tail is not known here.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::format::{
    ALIGN, FORMAT, FRAME, Frame, HeaderFault, SEGMENT_HEADER, SegmentHeader, segment_file, segment_number,
};
use crate::window::Window;
use bytes::Bytes;
use raft_core::{LogIndex, Write};
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
pub(crate) struct Walked {
    /// Where the log ends; none if there is no segment, or only one whose making was torn.
    pub(crate) position: Option<Position>,
    /// How many records there are.
    pub(crate) records: u64,
    /// What is behind the last of them.
    pub(crate) torn_tail: Option<TornTail>,
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
pub(crate) fn walk<D: Disk>(
    disk: &mut D,
    known: Known,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Walked, StoreError> {
    let segments = segments(disk)?;
    let mut read = Read { last: LogIndex(0), records: 0 };
    let mut walked = Walked::default();
    for (place, &segment) in segments.iter().enumerate() {
        let file = segment_file(segment);
        let newest = place + 1 == segments.len();
        let mut reader = Segment { window: Window::open(disk, &file)?, segment, file: &file };
        let Some(header) = reader.header(newest)? else {
            let bytes = reader.window.length();
            walked.torn_tail = Some(TornTail { file, offset: 0, bytes });
            break;
        };
        let previous_end = walked.position.as_ref().map_or(0, |position| position.end);
        if header.previous_end != previous_end {
            let before = segment_file(segment - 1);
            let reason = format!("its records end here, but {file} knows of some up to byte {}", header.previous_end);
            return Err(corrupt(&before, previous_end, reason));
        }
        if header.first_record != read.records + 1 {
            return Err(reader.corrupt(0, "the records before this segment are not the ones it follows"));
        }
        let end = reader.records(&mut read, visit)?;
        let capacity = reader.window.length();
        let junk = reader.tail(end, newest)?;
        walked.position = Some(Position { segment, end, capacity, next_record: read.records + 1 });
        walked.torn_tail = (junk > end).then(|| TornTail { file, offset: end, bytes: junk - end });
    }
    walked.records = read.records;
    walked.reaches(known)?;
    Ok(walked)
}

impl Walked {
    fn reaches(&self, known: Known) -> Result<(), StoreError> {
        let Some(position) = &self.position else {
            let reason = "the log has no beginning, but META says that this node has run";
            return if known.made { Err(corrupt(&segment_file(1), 0, reason)) } else { Ok(()) };
        };
        if self.records < known.records {
            let reason = format!("the log ends with record {}, but META knows of {}", self.records, known.records);
            return Err(corrupt(&segment_file(position.segment), position.end, reason));
        }
        Ok(())
    }
}

/// The numbers of all segments: 1, 2, ... without a gap.
fn segments<D: Disk>(disk: &mut D) -> Result<Vec<u64>, StoreError> {
    let mut segments: Vec<u64> = disk.list()?.iter().filter_map(|file| segment_number(file)).collect();
    segments.sort_unstable();
    for (expected, &found) in (1..).zip(&segments) {
        if found != expected {
            let reason = format!("the file is missing, but {} is there", segment_file(found));
            return Err(corrupt(&segment_file(expected), 0, reason));
        }
    }
    Ok(segments)
}

/// How far the log was read.
struct Read {
    /// Its last index.
    last: LogIndex,
    records: u64,
}

/// The last index of the log after this write, or why it does not fit a log that ends at `last`.
pub(crate) fn fits(last: LogIndex, write: &Write) -> Result<LogIndex, &'static str> {
    let mut last = last;
    if let Some(from) = write.truncate_from {
        if from == LogIndex(0) || from > last.next() {
            return Err("it truncates where there is no entry");
        }
        last = from.previous();
    }
    for entry in write.entries.iter() {
        if entry.id.index != last.next() {
            return Err("its entries do not follow the log");
        }
        last = entry.id.index;
    }
    Ok(last)
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

    /// The header; nothing if this is the newest segment and its creation did not get as far as a durable header.
    fn header(&mut self, newest: bool) -> Result<Option<SegmentHeader>, StoreError> {
        let bytes = self.window.bytes(0, SEGMENT_HEADER)?;
        match SegmentHeader::parse(bytes, self.segment) {
            Ok(header) => Ok(Some(header)),
            Err(HeaderFault::Newer(found)) => {
                Err(StoreError::NewerFormat { file: self.file.to_owned(), found, supported: FORMAT })
            }
            Err(HeaderFault::Bad(reason)) if !newest => Err(self.corrupt(0, reason)),
            // No record goes into a segment before its header is durable: any record proves that there was one.
            Err(HeaderFault::Bad(reason)) if self.scan(SEGMENT_HEADER)?.durable > 0 => {
                Err(self.corrupt(0, format!("{reason}, and records follow it")))
            }
            Err(HeaderFault::Bad(_)) => Ok(None),
        }
    }

    /// Shows records up to the end or the first that is bad; returns where that is.
    fn records(&mut self, read: &mut Read, visit: &mut dyn FnMut(&Record<'_>)) -> Result<u64, StoreError> {
        let mut offset = SEGMENT_HEADER;
        loop {
            let segment = self.segment;
            let Some(frame) = Frame::parse(self.window.bytes(offset, FRAME)?, segment, offset) else {
                return Ok(offset);
            };
            let payload = self.window.bytes(offset + FRAME, u64::from(frame.length))?;
            if !frame.holds(payload) {
                return Ok(offset);
            }
            // A copy, so that an entry that lives long holds on to its record and not to the whole buffer.
            let payload = Bytes::copy_from_slice(payload);
            // From here on the checksums vouch for what was written: whatever is wrong with it is no torn write.
            if frame.number != read.records + 1 {
                let reason = format!("this is record {}, and {} was to follow", frame.number, read.records + 1);
                return Err(self.corrupt(offset, reason));
            }
            let write = decode_write(payload).map_err(|error| self.corrupt(offset, error.to_string()))?;
            read.last = fits(read.last, &write).map_err(|reason| self.corrupt(offset, reason))?;
            read.records += 1;
            let end = frame.end(offset);
            visit(&Record { file: self.file, segment, offset, bytes: end - offset, number: frame.number, write });
            offset = end;
        }
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
            let Some(last) = chunk.iter().rposition(|&byte| byte != 0) else {
                offset += length;
                continue;
            };
            tail.nonzero_end = offset + last as u64 + 1;
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
