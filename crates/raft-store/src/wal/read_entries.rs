//! Reads entries back from the segments, through the places that the outline keeps. Checks each record again: what a disk
//! has changed since recovery is no entry.

use crate::disk::Disk;
use crate::store_error::StoreError;
use crate::wal::file_reader::Window;
use crate::wal::format::segment_file;
use crate::wal::log_summary::{LogSummary, Place};
use crate::wal::scan::{corrupt, record_at};
use raft_core::{Entries, Entry, LogIndex};
use raft_proto::decode_write;
use std::collections::VecDeque;

/// Entries from `first` on, up to `last` and `max_bytes`, but at least one; none if `first` is not here.
pub(crate) fn read_back<D: Disk>(
    disk: &mut D,
    summary: &LogSummary,
    first: LogIndex,
    last: LogIndex,
    max_bytes: u64,
) -> Result<Entries, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut next, mut room) = (first, max_bytes);
    while next <= last
        && let Some((place, until)) = summary.place_of(next)
    {
        // One buffer for all records that stand in the same segment.
        let file = segment_file(place.segment);
        let mut window = Window::open(disk, &file)?;
        let mut found = Some((place, until));
        while let Some((here, until)) = found.filter(|(here, _)| here.segment == place.segment && next <= last) {
            for entry in entries_at(&mut window, &file, here, next, until.min(last))?.iter() {
                if entry.size() > room && !entries.is_empty() {
                    return Ok(entries.into());
                }
                room = room.saturating_sub(entry.size());
                entries.push(entry.clone());
            }
            next = until.next();
            found = summary.place_of(next);
        }
    }
    Ok(entries.into())
}

/// The newest entries whose sizes sum up to at most `max_bytes`.
pub(crate) fn tail<D: Disk>(disk: &mut D, summary: &LogSummary, max_bytes: u64) -> Result<Entries, StoreError> {
    let mut entries: VecDeque<Entry> = VecDeque::new();
    let mut room = max_bytes;
    let mut until = summary.last;
    let mut places = summary.places.iter().rev().peekable();
    while let Some(segment) = places.peek().map(|place| place.segment) {
        let file = segment_file(segment);
        let mut window = Window::open(disk, &file)?;
        while let Some(&place) = places.next_if(|place| place.segment == segment) {
            for entry in entries_at(&mut window, &file, place, place.first, until)?.iter().rev() {
                let Some(left) = room.checked_sub(entry.size()) else { return Ok(Vec::from(entries).into()) };
                room = left;
                entries.push_front(entry.clone());
            }
            until = place.first.previous();
        }
    }
    Ok(Vec::from(entries).into())
}

/// The entries `first..=last` of the record at this place, which holds them.
fn entries_at<D: Disk>(
    window: &mut Window<'_, D>,
    file: &str,
    place: Place,
    first: LogIndex,
    last: LogIndex,
) -> Result<Entries, StoreError> {
    let damaged = |reason: String| corrupt(file, place.offset, reason);
    let (_, payload) = record_at(window, place.segment, place.offset)?
        .ok_or_else(|| damaged("the record that was here is damaged".to_owned()))?;
    let write = decode_write(payload).map_err(|error| damaged(error.to_string()))?;
    let entries = write.entries.between(first, last);
    if entries.first_index() == Some(first) && entries.last_id().is_some_and(|id| id.index == last) {
        Ok(entries)
    } else {
        Err(damaged(format!("the record does not hold the entries {first} to {last}")))
    }
}
