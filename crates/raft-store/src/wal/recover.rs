//! Recovery: applies the records that the scan reads, cuts a torn tail, and makes the returned state durable. The scan
//! decides what is a torn tail and what is corruption.
//!
//! A sync of the bytes that were read is not enough. When a sync fails, the system may drop the pages that it could not
//! write and still show them to readers. The process ends, the next one reads a complete log, its sync has nothing to
//! write and succeeds, and a power loss undoes promises that the node made since then. So recovery **rewrites** the end
//! of the log after the last byte that a record calls durable, and then syncs it. Only the newest segment has such an
//! end: a segment with a successor was synced. The zeros after the end are rewritten too: they may be a cut whose sync
//! failed, and the torn tail under them would return after the next record.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::{check_named, is_snapshot, snapshot_name};
use crate::space::zeros::write_zeros;
use crate::store_error::StoreError;
use crate::wal::format::{RECYCLED, segment_file};
use crate::wal::log_summary::LogSummary;
use crate::wal::read_entries::read_tail;
use crate::wal::scan::{ExpectedLog, Scanned, TornTail, WritePosition, scan};
use raft_core::{Configuration, InstallMode, LogIndex, Payload, RecoveredState, Write};
use std::collections::BTreeMap;

/// The durable state that all records lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The input of a core's start. `applied` is 0: a durable state machine sets it.
    pub restored: RecoveredState,
    /// The tail that was cut: writes that were never synced.
    pub torn_tail: Option<TornTail>,
    /// How many records were ever written, including deleted ones; this is the number of the last record.
    pub records: u64,
}

/// The state from which a store continues.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    pub(crate) summary: LogSummary,
    /// The oldest segment.
    pub(crate) oldest: u64,
    /// `None` without a segment: the store is new, or its first segment was unfinished.
    pub(crate) position: Option<WritePosition>,
    /// The length of the next segment's file, if it exists.
    pub(crate) spare: Option<u64>,
}

/// Recovers from the disk. Every refusal comes before the first change. `keep_spare`: whether the preallocated
/// file of the next segment stays.
pub(crate) fn recover<D: Disk>(
    disk: &mut D,
    expected: ExpectedLog,
    tail_bytes: u64,
    keep_spare: bool,
) -> Result<Recovered, StoreError> {
    let mut configurations = Configurations::default();
    let scanned = scan(disk, expected, &mut |record| configurations.apply(&record.write))?;
    let Scanned { summary, oldest, position, known_durable, records, torn_tail, spare, .. } = scanned;
    if let Some(named) = &summary.snapshot {
        check_named(disk, named)?;
    }
    let tail = read_tail(disk, &summary, tail_bytes)?;
    let (spare, unwanted) = if keep_spare { (spare, None) } else { (None, spare) };
    let unfinished = torn_tail.iter().chain(&unwanted).filter(|tail| tail.offset == 0);
    for TornTail { file, .. } in unfinished {
        disk.remove(file)?;
    }
    // A killed process leaves writes that are readable and not durable. The node makes promises based on the bytes it
    // reads here, so a power loss must not be able to undo them.
    if let Some(WritePosition { segment: newest, end, capacity, .. }) = position {
        for segment in oldest..newest {
            disk.sync(&segment_file(segment))?;
        }
        let file = segment_file(newest);
        rewrite(disk, &file, known_durable, end)?;
        // This also cuts a torn tail.
        write_zeros(disk, &file, end..capacity)?;
        disk.sync(&file)?;
    }
    if let Some(TornTail { file, bytes, .. }) = &spare {
        write_zeros(disk, file, 0..*bytes)?;
        disk.sync(file)?;
    }
    disk.sync_folder()?;
    // This comes last: until the records are durable, a power loss can restore one that names an older snapshot.
    remove_unnamed(disk, &summary)?;
    let restored = RecoveredState {
        hard_state: summary.hard_state,
        snapshot: summary.snapshot.clone(),
        runs: summary.runs.clone(),
        last: summary.last_id(),
        configurations: configurations.0.into_iter().collect(),
        tail,
        applied: LogIndex(0),
    };
    let torn_tail = torn_tail.or(unwanted);
    let spare = spare.map(|spare| spare.bytes);
    Ok(Recovered { recovery: Recovery { restored, torn_tail, records }, summary, oldest, position, spare })
}

/// The configurations in the log.
#[derive(Default)]
struct Configurations(BTreeMap<LogIndex, Configuration>);

impl Configurations {
    fn apply(&mut self, write: &Write) {
        if let Some(from) = write.truncate_from {
            self.0.split_off(&from);
        }
        if write.snapshot.as_ref().is_some_and(|record| record.log == InstallMode::Discard) {
            self.0.clear();
        }
        for entry in write.entries.iter() {
            if let Payload::Configuration(configuration) = &entry.payload {
                self.0.insert(entry.id.index, configuration.clone());
            }
        }
    }
}

/// Writes these bytes of a file again, in one write like their group.
fn rewrite<D: Disk>(disk: &mut D, file: &str, from: u64, end: u64) -> Result<(), StoreError> {
    if from >= end {
        return Ok(());
    }
    let count = usize::try_from(end - from).unwrap_or(usize::MAX);
    let mut bytes = vec![0; count];
    let read = disk.read(file, from, &mut bytes)?;
    if read < count {
        return Err(StoreError::corrupt(file, from + read as u64, "the file has become shorter"));
    }
    Ok(disk.write(file, from, &bytes)?)
}

/// Removes unfinished snapshots, snapshots that the log does not name, and a segment's file that was being recycled.
fn remove_unnamed<D: Disk>(disk: &mut D, summary: &LogSummary) -> Result<(), StoreError> {
    let named = summary.snapshot.as_ref().map(|meta| snapshot_name(meta.last));
    let mut unnamed = disk.list()?;
    unnamed.retain(|file| file == RECYCLED || is_snapshot(file) && Some(file) != named.as_ref());
    for file in &unnamed {
        disk.remove(file)?;
    }
    if unnamed.is_empty() { Ok(()) } else { Ok(disk.sync_folder()?) }
}
