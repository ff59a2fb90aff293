//! Reads entries from the segments, at the locations that the log summary keeps. It checks each record again, because a
//! disk can damage it after recovery.

use crate::disk::Disk;
use crate::store_error::StoreError;
use crate::wal::file_reader::FileReader;
use crate::wal::format::segment_file;
use crate::wal::log_summary::{LogSummary, RecordLocation};
use crate::wal::scan::read_record;
use raft_core::{Entries, Entry, LogIndex};
use raft_proto::decode_write;
use std::collections::VecDeque;

/// Entries from `first` on, up to `last` and `max_bytes`, but at least one; empty if the log does not hold `first`.
pub(crate) fn read_entries<D: Disk>(
    disk: &mut D,
    summary: &LogSummary,
    first: LogIndex,
    last: LogIndex,
    max_bytes: u64,
) -> Result<Entries, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut next, mut budget) = (first, max_bytes);
    while next <= last
        && let Some((location, until)) = summary.locate(next)
    {
        // All records of the same segment use one buffer.
        let file = segment_file(location.segment);
        let mut reader = FileReader::open(disk, &file)?;
        let mut found = Some((location, until));
        while let Some((here, until)) = found.filter(|(here, _)| here.segment == location.segment && next <= last) {
            for entry in entries_of_record(&mut reader, &file, here, next, until.min(last))?.iter() {
                if entry.size() > budget && !entries.is_empty() {
                    return Ok(entries.into());
                }
                budget = budget.saturating_sub(entry.size());
                entries.push(entry.clone());
            }
            next = until.next();
            found = summary.locate(next);
        }
    }
    Ok(entries.into())
}

/// The newest entries whose sizes sum up to at most `max_bytes`.
pub(crate) fn read_tail<D: Disk>(disk: &mut D, summary: &LogSummary, max_bytes: u64) -> Result<Entries, StoreError> {
    let mut entries: VecDeque<Entry> = VecDeque::new();
    let mut budget = max_bytes;
    let mut until = summary.last;
    let mut locations = summary.locations.iter().rev().peekable();
    while let Some(segment) = locations.peek().map(|location| location.segment) {
        let file = segment_file(segment);
        let mut reader = FileReader::open(disk, &file)?;
        while let Some(&location) = locations.next_if(|location| location.segment == segment) {
            for entry in entries_of_record(&mut reader, &file, location, location.first, until)?.iter().rev() {
                let Some(left) = budget.checked_sub(entry.size()) else { return Ok(Vec::from(entries).into()) };
                budget = left;
                entries.push_front(entry.clone());
            }
            until = location.first.previous();
        }
    }
    Ok(Vec::from(entries).into())
}

/// The entries `first..=last` of the record at this location, which must hold them.
fn entries_of_record<D: Disk>(
    reader: &mut FileReader<'_, D>,
    file: &str,
    location: RecordLocation,
    first: LogIndex,
    last: LogIndex,
) -> Result<Entries, StoreError> {
    let damaged = |reason: String| StoreError::corrupt(file, location.offset, reason);
    let (_, payload) = read_record(reader, location.segment, location.offset)?
        .ok_or_else(|| damaged("expected the record that was written here, found other bytes".to_owned()))?;
    let write = decode_write(payload).map_err(|error| damaged(error.to_string()))?;
    let entries = write.entries.between(first, last);
    if entries.first_index() == Some(first) && entries.last_id().is_some_and(|id| id.index == last) {
        Ok(entries)
    } else {
        Err(damaged(format!("expected a record with entries {first} to {last}, found another one")))
    }
}
