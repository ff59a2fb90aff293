//! Brings the log back: folds what a walk reads, cuts a torn tail, and makes durable what it hands over. What is a torn
//! tail and what is corruption, the walk has decided.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::format::segment_file;
use crate::outline::Outline;
use crate::readback::tail;
use crate::snapshot_file::{check, is_snapshot, snapshot_name};
use crate::walk::{Known, Position, TornTail, Walked, walk};
use raft_core::{Configuration, LogFate, LogIndex, Payload, Restored, Write};
use std::collections::BTreeMap;

/// What a store brought back: the fold of all its records, durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What a core starts from. `applied` is 0: who has a state machine that survives, says how far it is.
    pub restored: Restored,
    /// What was cut, if something was: the tail of writes that no sync had covered.
    pub torn_tail: Option<TornTail>,
    /// How many records were ever written, those that are deleted by now included: the number of the last one.
    pub records: u64,
}

/// What a store goes on from.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    pub(crate) outline: Outline,
    /// The oldest segment.
    pub(crate) oldest: u64,
    /// None if there is no segment (left): a new store, or one whose making was torn.
    pub(crate) position: Option<Position>,
}

/// Recovers from the disk. Whatever can be refused is refused before anything is changed.
pub(crate) fn recover<D: Disk>(disk: &mut D, known: Known, tail_bytes: u64) -> Result<Recovered, StoreError> {
    let mut configurations = Configurations::default();
    let walked = walk(disk, known, &mut |record| configurations.apply(&record.write))?;
    let Walked { outline, oldest, position, vouched, records, torn_tail, .. } = walked;
    if let Some(named) = &outline.snapshot {
        check(disk, named)?;
    }
    let tail = tail(disk, &outline, tail_bytes)?;
    if let Some(torn) = &torn_tail {
        cut(disk, torn)?;
    }
    if let Some(position) = &position {
        write_again(disk, &segment_file(position.segment), vouched, position.end)?;
    }
    // A killed process leaves writes that can be read and are not durable. Whoever starts from them will promise what
    // they hold, so a power loss must not be able to take them any more.
    for segment in position.iter().flat_map(|position| oldest..=position.segment) {
        disk.sync(&segment_file(segment))?;
    }
    disk.sync_folder()?;
    // Only now: until the records that can be read are durable, a power loss could lead back to one that names an older
    // snapshot.
    remove_unnamed(disk, &outline)?;
    let restored = Restored {
        hard_state: outline.hard_state,
        snapshot: outline.snapshot.clone(),
        runs: outline.runs.clone(),
        last: outline.last_id(),
        configurations: configurations.0.into_iter().collect(),
        tail,
        applied: LogIndex(0),
    };
    Ok(Recovered { recovery: Recovery { restored, torn_tail, records }, outline, oldest, position })
}

/// The configurations in the log that the records read so far add up to.
#[derive(Default)]
struct Configurations(BTreeMap<LogIndex, Configuration>);

impl Configurations {
    fn apply(&mut self, write: &Write) {
        if let Some(from) = write.truncate_from {
            self.0.split_off(&from);
        }
        if write.snapshot.as_ref().is_some_and(|record| record.log == LogFate::Discard) {
            self.0.clear();
        }
        for entry in write.entries.iter() {
            if let Payload::Configuration(configuration) = &entry.payload {
                self.0.insert(entry.id.index, configuration.clone());
            }
        }
    }
}

/// Cuts a torn tail: zeros over it, or the whole file of an unfinished segment.
fn cut<D: Disk>(disk: &mut D, tail: &TornTail) -> Result<(), StoreError> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let TornTail { file, offset, bytes } = tail;
    if *offset == 0 {
        return Ok(disk.remove(file)?);
    }
    let mut done = 0;
    while done < *bytes {
        let count = (bytes - done).min(ZEROS.len() as u64);
        disk.write(file, offset + done, &ZEROS[..count as usize])?;
        done += count;
    }
    Ok(())
}

/// Writes what is there once more. After a sync that failed the system holds what it could not write for written: it can be
/// read, and no later sync writes it (Rebello et al., "Can applications recover from fsync failures?", USENIX ATC 2020).
fn write_again<D: Disk>(disk: &mut D, file: &str, from: u64, to: u64) -> Result<(), StoreError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = disk.read(file, at, &mut buffer[..wanted])?;
        if read == 0 {
            break;
        }
        disk.write(file, at, &buffer[..read])?;
        at += read as u64;
    }
    Ok(())
}

/// Removes the files of snapshots that are not in force, and of those that were being written.
fn remove_unnamed<D: Disk>(disk: &mut D, outline: &Outline) -> Result<(), StoreError> {
    let named = outline.snapshot.as_ref().map(|meta| snapshot_name(meta.last));
    let mut unnamed = disk.list()?;
    unnamed.retain(|file| is_snapshot(file) && Some(file) != named.as_ref());
    for file in &unnamed {
        disk.remove(file)?;
    }
    if unnamed.is_empty() { Ok(()) } else { Ok(disk.sync_folder()?) }
}
