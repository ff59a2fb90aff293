//! Brings the log back: folds what a walk reads, cuts a torn tail, and makes durable what it hands over. What is a torn
//! tail and what is corruption, the walk has decided.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::format::segment_file;
use crate::walk::{Known, Position, TornTail, walk};
use raft_core::{Entries, Entry, HardState, Write};

/// What a store brought back: the fold of all its records, durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The newest hard state; term 0 and no vote if none was ever written.
    pub hard_state: HardState,
    /// The log, from index 1.
    pub entries: Entries,
    /// What was cut, if something was: the tail of writes that no sync had covered.
    pub torn_tail: Option<TornTail>,
    /// How many records there were.
    pub records: u64,
}

/// Recovers from the disk. No position if there is no segment (left): a new store, or one whose making was torn.
pub(crate) fn recover<D: Disk>(disk: &mut D, known: Known) -> Result<(Recovery, Option<Position>), StoreError> {
    let mut replay = Replay::default();
    let walked = walk(disk, known, &mut |record| replay.apply(&record.write))?;
    if let Some(tail) = &walked.torn_tail {
        cut(disk, tail)?;
    }
    let position = walked.position;
    // A killed process leaves writes that can be read and are not durable. Whoever starts from them will promise what
    // they hold, so a power loss must not be able to take them any more.
    for segment in position.iter().flat_map(|position| 1..=position.segment) {
        disk.sync(&segment_file(segment))?;
    }
    disk.sync_folder()?;
    let Replay { hard_state, entries } = replay;
    let (records, torn_tail) = (walked.records, walked.torn_tail);
    Ok((Recovery { hard_state, entries: entries.into(), torn_tail, records }, position))
}

/// The state that the records read so far add up to.
#[derive(Default)]
struct Replay {
    hard_state: HardState,
    entries: Vec<Entry>,
}

impl Replay {
    fn apply(&mut self, write: &Write) {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = write.truncate_from {
            self.entries.truncate(usize::try_from(from.previous().0).unwrap_or(usize::MAX));
        }
        self.entries.extend(write.entries.iter().cloned());
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
