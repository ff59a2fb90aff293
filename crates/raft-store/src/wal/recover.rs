//! Brings the log back: folds what a walk reads, cuts a torn tail, and makes durable what it hands over. What is a torn
//! tail and what is corruption, the walk has decided.
//!
//! To sync what was read is not enough. When a sync fails, the system may drop what it could not write and yet show it to
//! whoever reads: the process ends, the next one reads a whole log, its sync has nothing to do and succeeds, and a power
//! loss takes what it promised on the strength of that. So the end of the log that no record knows durable is **written
//! again**, and then synced. It is the newest segment's: a segment with a successor was synced without a failure. The same
//! holds for the zeros behind it: they may be a cut whose sync failed, in front of a torn tail that is still on the disk and
//! would come back behind the next record.

use crate::disk::Disk;
use crate::snapshots::snapshot_file::{check, is_snapshot, snapshot_name};
use crate::space::zeros::write_zeros;
use crate::store_error::StoreError;
use crate::wal::format::{RECYCLED, segment_file};
use crate::wal::log_summary::LogSummary;
use crate::wal::read_entries::tail;
use crate::wal::scan::{Known, Position, Scanned, TornTail, corrupt, scan};
use raft_core::{Configuration, InstallMode, LogIndex, Payload, RecoveredState, Write};
use std::collections::BTreeMap;

/// What a store brought back: the fold of all its records, durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What a core starts from. `applied` is 0: who has a state machine that survives, says how far it is.
    pub restored: RecoveredState,
    /// What was cut, if something was: the tail of writes that no sync had covered.
    pub torn_tail: Option<TornTail>,
    /// How many records were ever written, those that are deleted by now included: the number of the last one.
    pub records: u64,
}

/// What a store goes on from.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    pub(crate) summary: LogSummary,
    /// The oldest segment.
    pub(crate) oldest: u64,
    /// None if there is no segment (left): a new store, or one whose making was torn.
    pub(crate) position: Option<Position>,
    /// The length of the next segment's file, if it is there.
    pub(crate) spare: Option<u64>,
}

/// Recovers from the disk. Whatever can be refused is refused before anything is changed. `keep_spare`: whether the file of
/// the next segment stays, if it is there.
pub(crate) fn recover<D: Disk>(
    disk: &mut D,
    known: Known,
    tail_bytes: u64,
    keep_spare: bool,
) -> Result<Recovered, StoreError> {
    let mut configurations = Configurations::default();
    let scanned = scan(disk, known, &mut |record| configurations.apply(&record.write))?;
    let Scanned { summary, oldest, position, known_durable, records, torn_tail, spare, .. } = scanned;
    if let Some(named) = &summary.snapshot {
        check(disk, named)?;
    }
    let tail = tail(disk, &summary, tail_bytes)?;
    let (spare, unwanted) = if keep_spare { (spare, None) } else { (None, spare) };
    let unfinished = torn_tail.iter().chain(&unwanted).filter(|tail| tail.offset == 0);
    for TornTail { file, .. } in unfinished {
        disk.remove(file)?;
    }
    // A killed process leaves writes that can be read and are not durable. Whoever starts from them will promise what
    // they hold, so a power loss must not be able to take them any more.
    if let Some(Position { segment: newest, end, capacity, .. }) = position {
        for segment in oldest..newest {
            disk.sync(&segment_file(segment))?;
        }
        let file = segment_file(newest);
        write_again(disk, &file, known_durable, end)?;
        // A torn tail is cut by this, too.
        write_zeros(disk, &file, end..capacity)?;
        disk.sync(&file)?;
    }
    if let Some(TornTail { file, bytes, .. }) = &spare {
        write_zeros(disk, file, 0..*bytes)?;
        disk.sync(file)?;
    }
    disk.sync_folder()?;
    // Only now: until the records that can be read are durable, a power loss could lead back to one that names an older
    // snapshot.
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

/// The configurations in the log that the records read so far add up to.
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

/// Writes these bytes of a file as they are, in one piece as they were once: they are what had not been synced together.
fn write_again<D: Disk>(disk: &mut D, file: &str, from: u64, end: u64) -> Result<(), StoreError> {
    if from >= end {
        return Ok(());
    }
    let count = usize::try_from(end - from).unwrap_or(usize::MAX);
    let mut bytes = vec![0; count];
    let read = disk.read(file, from, &mut bytes)?;
    if read < count {
        return Err(corrupt(file, from + read as u64, "the file has become shorter"));
    }
    Ok(disk.write(file, from, &bytes)?)
}

/// Removes the files of snapshots that are not in force, those of which there is a part, and a segment's that was to become
/// another's.
fn remove_unnamed<D: Disk>(disk: &mut D, summary: &LogSummary) -> Result<(), StoreError> {
    let named = summary.snapshot.as_ref().map(|meta| snapshot_name(meta.last));
    let mut unnamed = disk.list()?;
    unnamed.retain(|file| file == RECYCLED || is_snapshot(file) && Some(file) != named.as_ref());
    for file in &unnamed {
        disk.remove(file)?;
    }
    if unnamed.is_empty() { Ok(()) } else { Ok(disk.sync_folder()?) }
}
