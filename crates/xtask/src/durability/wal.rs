//! A node's log as its system calls make it: which entries and votes each write carries, and which of them a sync has
//! made durable. Must not know who relies on it.

use anyhow::{Result, bail};
use raft_store::{Record, records_written};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which trace of the node, from 0.
    pub(crate) trace: usize,
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if self.trace > 0 { write!(f, " of trace {}", self.trace + 1) } else { Ok(()) }
    }
}

/// A record, and how far it has come.
#[derive(Debug)]
struct Kept {
    file: String,
    offset: u64,
    /// Where its write began.
    place: Place,
    /// Whether its write has returned.
    written: bool,
    synced: bool,
    /// Whether something else was written over it.
    dropped: bool,
    hard_state: Option<(u64, Option<u64>)>,
    truncate_from: Option<u64>,
    /// The index of the first entry, and the terms of all.
    entries: (u64, Vec<u64>),
}

/// What the records add up to.
#[derive(Clone, Debug, Default)]
struct Fold {
    term: u64,
    /// By index - 1: an entry's term, and the record that holds it.
    entries: Vec<(u64, usize)>,
    /// So many entries from the first were found durable.
    durable: usize,
}

/// A node's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    records: Vec<Kept>,
    /// What all of them add up to, those included whose write is under way.
    fold: Fold,
    /// The records that are not synced.
    unsynced: BTreeSet<usize>,
    /// Segments whose names are not durable.
    unnamed: BTreeSet<String>,
    /// By call: the records that it will have made durable.
    syncs: BTreeMap<usize, (Place, Vec<usize>)>,
    /// By call: the names that it will have made durable.
    folder_syncs: BTreeMap<usize, Vec<String>>,
    pub(crate) figures: Figures,
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Disk writes with records.
    pub(crate) writes: u64,
    pub(crate) records: u64,
    pub(crate) entries: u64,
    pub(crate) truncations: u64,
    /// Syncs that made a record durable.
    pub(crate) syncs: u64,
}

impl Log {
    /// A file was made.
    pub(crate) fn created(&mut self, file: &str) -> Result<()> {
        self.drop_from(file, 0)?;
        self.unnamed.insert(file.to_owned());
        Ok(())
    }

    /// A write begins: the records in it.
    ///
    /// # Errors
    /// The store never writes such bytes there.
    pub(crate) fn write_begins(&mut self, file: &str, offset: u64, bytes: &[u8], place: Place) -> Result<Vec<usize>> {
        let records = records_written(file, offset, bytes)?;
        self.drop_from(file, offset)?;
        self.figures.writes += u64::from(!records.is_empty());
        let mut numbers = Vec::new();
        for record in records {
            let number = self.records.len();
            let kept = keep(&record, place);
            self.figures.records += 1;
            self.figures.entries += kept.entries.1.len() as u64;
            self.figures.truncations += u64::from(kept.truncate_from.is_some());
            apply(&mut self.fold, number, &kept)?;
            self.records.push(kept);
            self.unsynced.insert(number);
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// A write has returned.
    pub(crate) fn write_ends(&mut self, records: &[usize]) {
        for number in records {
            if let Some(record) = self.records.get_mut(*number) {
                record.written = true;
            }
        }
    }

    /// The sync of a segment begins: what is written by now it will have made durable.
    pub(crate) fn sync_begins(&mut self, call: usize, file: &str, place: Place) {
        let covers = |record: &Kept| record.written && record.file == file;
        let covered = self.unsynced.iter().filter(|number| self.records.get(**number).is_some_and(covers));
        self.syncs.insert(call, (place, covered.copied().collect()));
    }

    /// The sync of the folder begins.
    pub(crate) fn folder_sync_begins(&mut self, call: usize) {
        self.folder_syncs.insert(call, self.unnamed.iter().cloned().collect());
    }

    /// A sync has returned.
    pub(crate) fn sync_ends(&mut self, call: usize, well: bool) {
        let (_, covered) = self.syncs.remove(&call).unwrap_or((Place { trace: 0, line: 0 }, Vec::new()));
        let names = self.folder_syncs.remove(&call).unwrap_or_default();
        if !well {
            return;
        }
        self.figures.syncs += u64::from(!covered.is_empty());
        for number in covered {
            self.unsynced.remove(&number);
            if let Some(record) = self.records.get_mut(number) {
                record.synced = true;
            }
        }
        for name in names {
            self.unnamed.remove(&name);
        }
    }

    /// The process died. What it had begun to write may be there: then recovery syncs it before it relies on it.
    pub(crate) fn died(&mut self) {
        self.syncs.clear();
        self.folder_syncs.clear();
        for record in &mut self.records {
            record.written = true;
        }
    }

    /// What is missing for the log to be durable up to `index` as the node knew it in `term`, and for the term itself.
    pub(crate) fn lacks_match(&mut self, index: u64, term: u64) -> Result<Option<String>> {
        let newest = self.hard_states().map(|(_, (term, _))| term).max().unwrap_or(0);
        if newest < term {
            return Ok(Some(format!("of its terms only those up to {newest} are durable")));
        }
        if self.fold.term <= term {
            return Ok(self.lacks_prefix(index));
        }
        // A late message of an earlier term: since then entries may have been truncated that nobody counts any more.
        let mut fold = Fold::default();
        for (number, record) in self.records.iter().enumerate().filter(|(_, record)| !record.dropped) {
            if record.hard_state.is_some_and(|(newer, _)| newer > term) {
                break;
            }
            apply(&mut fold, number, record)?;
        }
        std::mem::swap(&mut fold, &mut self.fold);
        let lacks = self.lacks_prefix(index);
        self.fold = fold;
        Ok(lacks)
    }

    /// What is missing for the entry to be durable with all before it.
    pub(crate) fn lacks_entry(&mut self, index: u64, term: u64) -> Option<String> {
        let found = usize::try_from(index).ok().and_then(|index| self.fold.entries.get(index.checked_sub(1)?));
        match found {
            Some((found, _)) if *found != term => Some(format!("its log holds {index}@{found}")),
            _ => self.lacks_prefix(index),
        }
    }

    /// What is missing for all entries up to this index to be durable.
    pub(crate) fn lacks_prefix(&mut self, index: u64) -> Option<String> {
        let durable = |number: &usize| self.is_durable(*number);
        let mut prefix = self.fold.durable;
        while self.fold.entries.get(prefix).is_some_and(|(_, number)| durable(number)) {
            prefix += 1;
        }
        self.fold.durable = prefix;
        if index <= prefix as u64 {
            return None;
        }
        let Some((term, number)) = self.fold.entries.get(prefix) else {
            return Some(format!("its log ends at index {prefix}"));
        };
        Some(format!("entry {}@{term} is not durable: {}", prefix + 1, self.state(*number)))
    }

    /// What is missing for this vote to be durable.
    pub(crate) fn lacks_vote(&self, term: u64, candidate: u64) -> Option<String> {
        let vote = (term, Some(candidate));
        if self.hard_states().any(|(_, found)| found == vote) {
            return None;
        }
        let written = self.records.iter().rposition(|record| record.hard_state == Some(vote) && !record.dropped);
        Some(written.map_or_else(
            || "no such vote was written".to_owned(),
            |number| format!("that vote is not durable: {}", self.state(number)),
        ))
    }

    /// All hard states that are durable, newest first.
    fn hard_states(&self) -> impl Iterator<Item = (usize, (u64, Option<u64>))> {
        let records = self.records.iter().enumerate().rev();
        records.filter_map(|(number, record)| Some((number, record.hard_state.filter(|_| self.is_durable(number))?)))
    }

    fn is_durable(&self, number: usize) -> bool {
        let durable = |record: &Kept| record.synced && !record.dropped && !self.unnamed.contains(&record.file);
        self.records.get(number).is_some_and(durable)
    }

    /// How far a record has come, for people.
    fn state(&self, number: usize) -> String {
        let Some(record) = self.records.get(number) else { return "it was never written".to_owned() };
        let Kept { file, offset, place, written, .. } = record;
        let how_far = match self.syncs.values().find(|(_, covered)| covered.contains(&number)) {
            Some((sync, _)) => format!("its fdatasync began in {sync} and has not returned"),
            None if record.synced => "the name of its file is not synced".to_owned(),
            None if *written => "no fdatasync has begun since that write returned".to_owned(),
            None => "that write has not returned".to_owned(),
        };
        format!("written to {file} at {offset} in {place}, and {how_far}")
    }

    /// Something is written over all from `offset` of a segment on.
    fn drop_from(&mut self, file: &str, offset: u64) -> Result<()> {
        let is_over = |record: &Kept| !record.dropped && record.file == file && record.offset >= offset;
        // Rare (a cut tail), and in a log that is only appended to, what is written over is at its end.
        let newest = self.records.iter().rev().find(|record| !record.dropped);
        if !newest.is_some_and(is_over) {
            return Ok(());
        }
        let mut fold = Fold::default();
        for (number, record) in self.records.iter_mut().enumerate() {
            if is_over(record) {
                record.dropped = true;
                self.unsynced.remove(&number);
            } else if !record.dropped {
                apply(&mut fold, number, record)?;
            }
        }
        self.fold = fold;
        Ok(())
    }
}

fn keep(record: &Record<'_>, place: Place) -> Kept {
    let write = &record.write;
    let first = write.entries.iter().next().map_or(0, |entry| entry.id.index.0);
    Kept {
        file: record.file.to_owned(),
        offset: record.offset,
        place,
        written: false,
        synced: false,
        dropped: false,
        hard_state: write.hard_state.map(|state| (state.term.0, state.voted_for.map(|candidate| candidate.0))),
        truncate_from: write.truncate_from.map(|from| from.0),
        entries: (first, write.entries.iter().map(|entry| entry.id.term.0).collect()),
    }
}

fn apply(fold: &mut Fold, number: usize, record: &Kept) -> Result<()> {
    if let Some((term, _)) = record.hard_state {
        fold.term = term;
    }
    if let Some(from) = record.truncate_from {
        let left = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        fold.entries.truncate(left);
        fold.durable = fold.durable.min(left);
    }
    let (first, terms) = &record.entries;
    if !terms.is_empty() && *first != fold.entries.len() as u64 + 1 {
        bail!("entry {first} is written after entry {}", fold.entries.len());
    }
    fold.entries.extend(terms.iter().map(|term| (*term, number)));
    Ok(())
}
