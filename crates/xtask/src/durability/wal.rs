//! A node's log as its system calls make it: which entries, votes and snapshots each write carries, which of them a sync has
//! made durable, and which files no crash can lead back to. Must not know who relies on it.

use super::fold::{Fold, Said, Snapshot};
use anyhow::Result;
use raft_store::records_written;
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

/// A record, or a segment's header, which says nothing here; and how far it has come.
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
    /// Whether the process died in its write: nobody knows whether it is there, unless it is written again.
    is_ghost: bool,
    said: Said,
}

/// A node's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    records: Vec<Kept>,
    /// What all of them add up to, those included whose write is under way.
    fold: Fold,
    /// The records that are not synced.
    unsynced: BTreeSet<usize>,
    /// The segments that are there.
    segments: BTreeSet<String>,
    /// Segments whose names are not durable.
    unnamed: BTreeSet<String>,
    /// Segments that are gone, but not for certain.
    leaving: BTreeSet<String>,
    /// By call: the records that it will have made durable.
    syncs: BTreeMap<usize, (Place, Vec<usize>)>,
    /// By call: the names that it will have made durable, and those that will be gone for certain.
    folder_syncs: BTreeMap<usize, (Vec<String>, Vec<String>)>,
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
    /// Snapshots that took the place of the log: those that peers have sent.
    pub(crate) received: u64,
    /// Syncs that made a record durable.
    pub(crate) syncs: u64,
}

impl Log {
    /// A segment's file was made, or something else has become it.
    pub(crate) fn created(&mut self, file: &str) -> Result<()> {
        self.drop_from(file, 0)?;
        self.segments.insert(file.to_owned());
        self.unnamed.insert(file.to_owned());
        Ok(())
    }

    /// A segment's file was removed, or has become something else.
    pub(crate) fn removed(&mut self, file: &str) {
        self.segments.remove(file);
        self.unnamed.remove(file);
        self.leaving.insert(file.to_owned());
    }

    /// A write begins: the records in it, and the snapshots that they name.
    ///
    /// # Errors
    /// The store never writes such bytes there.
    pub(crate) fn write_begins(
        &mut self,
        file: &str,
        offset: u64,
        bytes: &[u8],
        place: Place,
    ) -> Result<(Vec<usize>, Vec<Snapshot>)> {
        let records = records_written(file, offset, bytes)?;
        self.drop_from(file, offset)?;
        self.figures.writes += u64::from(!records.is_empty());
        self.figures.records += records.len() as u64;
        let is_header = offset == 0 && bytes.iter().any(|&byte| byte != 0);
        let header = is_header.then(|| (offset, Said::default()));
        let said = records.iter().map(|record| (record.offset, Said::by(&record.write)));
        let (mut numbers, mut snapshots) = (Vec::new(), Vec::new());
        for (offset, said) in header.into_iter().chain(said) {
            let number = self.records.len();
            self.figures.entries += said.entries.1.len() as u64;
            self.figures.truncations += u64::from(said.truncate_from.is_some());
            self.figures.received += u64::from(said.snapshot.is_some_and(|snapshot| snapshot.discards));
            snapshots.extend(said.snapshot);
            let mut fold = std::mem::take(&mut self.fold);
            self.take(&mut fold, number, &said)?;
            self.fold = fold;
            let (file, written, synced, dropped) = (file.to_owned(), false, false, false);
            self.records.push(Kept { file, offset, place, written, synced, dropped, is_ghost: false, said });
            self.unsynced.insert(number);
            numbers.push(number);
        }
        Ok((numbers, snapshots))
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
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect();
        self.folder_syncs.insert(call, (names(&self.unnamed), names(&self.leaving)));
    }

    /// A sync has returned.
    pub(crate) fn sync_ends(&mut self, call: usize, well: bool) {
        let (_, covered) = self.syncs.remove(&call).unwrap_or((Place { trace: 0, line: 0 }, Vec::new()));
        let (named, gone) = self.folder_syncs.remove(&call).unwrap_or_default();
        if !well {
            return;
        }
        let is_record = |number: &usize| self.records.get(*number).is_some_and(|record| record.offset > 0);
        self.figures.syncs += u64::from(covered.iter().any(is_record));
        for number in covered {
            self.unsynced.remove(&number);
            if let Some(record) = self.records.get_mut(number) {
                record.synced = true;
            }
        }
        self.unnamed.retain(|name| !named.contains(name));
        self.leaving.retain(|name| !gone.contains(name));
    }

    /// The process died. What it had begun to write may be there: then recovery syncs it before it relies on it.
    pub(crate) fn died(&mut self) {
        self.syncs.clear();
        self.folder_syncs.clear();
        for record in self.records.iter_mut().filter(|record| !record.written) {
            (record.written, record.is_ghost) = (true, true);
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
            if record.said.hard_state.is_some_and(|(newer, _)| newer > term) {
                break;
            }
            self.take(&mut fold, number, &record.said)?;
        }
        std::mem::swap(&mut fold, &mut self.fold);
        let lacks = self.lacks_prefix(index);
        self.fold = fold;
        Ok(lacks)
    }

    /// What is missing for the entry to be durable with all before it.
    pub(crate) fn lacks_entry(&mut self, index: u64, term: u64) -> Option<String> {
        match self.fold.entry(index) {
            Some((found, _)) if found != term => Some(format!("its log holds {index}@{found}")),
            _ => self.lacks_prefix(index),
        }
    }

    /// What is missing for all entries up to this index to be durable.
    pub(crate) fn lacks_prefix(&mut self, index: u64) -> Option<String> {
        let mut fold = std::mem::take(&mut self.fold);
        self.find_durable(&mut fold);
        self.fold = fold;
        let (prefix, (base, because)) = (self.fold.durable, self.fold.base);
        if index <= prefix {
            return None;
        }
        if prefix < base {
            return Some(format!("the snapshot up to {base} is not in force: {}", self.state(because)));
        }
        let Some((term, number)) = self.fold.entry(prefix + 1) else {
            return Some(format!("its log ends at index {prefix}"));
        };
        Some(format!("entry {}@{term} is not durable: {}", prefix + 1, self.state(number)))
    }

    /// One more record for a fold.
    fn take(&self, fold: &mut Fold, number: usize, said: &Said) -> Result<()> {
        if said.snapshot.is_some_and(|snapshot| snapshot.discards) {
            // What was durable until then is not asked for any more.
            self.find_durable(fold);
        }
        fold.apply(number, said)
    }

    /// Finds out how far all of a fold is durable.
    fn find_durable(&self, fold: &mut Fold) {
        let (base, because) = fold.base;
        if fold.durable < base && self.is_durable(because) {
            fold.durable = base;
        }
        while fold.entry(fold.durable + 1).is_some_and(|(_, number)| self.is_durable(number)) {
            fold.durable += 1;
        }
    }

    /// What is missing for a segment's file to be allowed to go: no crash may lead to a log that needs it.
    pub(crate) fn lacks_to_remove_segment(&self, file: &str) -> Result<Option<String>> {
        let is_in_it = |record: &Kept| record.file == file && !record.dropped && !record.is_ghost;
        if !self.records.iter().any(is_in_it) {
            // A file without anything in it, not even a header: no segment yet, or none that ever was.
            return Ok(None);
        }
        if let Some(before) = self.segments.iter().next().filter(|first| first.as_str() < file) {
            return Ok(Some(format!("{before}, which comes before it, is still there")));
        }
        if let Some(before) = self.leaving.iter().next() {
            return Ok(Some(format!("it is not certain yet that {before}, which comes before it, is gone")));
        }
        let mut later = self.records.iter().enumerate().filter(|(_, record)| record.file.as_str() > file);
        if !later.any(|(number, _)| self.is_durable(number)) {
            return Ok(Some("nothing of a later segment is durable".to_owned()));
        }
        self.lacks_whatever_is_there(|fold| {
            let mut uncovered = fold.uncovered();
            let in_it = |number: usize| self.records.get(number).is_some_and(|record| record.file == file);
            let needed = uncovered.find(|(_, number)| in_it(*number));
            Ok(needed.map(|(index, _)| match fold.snapshot {
                None => format!("entry {index} is in it, and no record that names a snapshot is durable"),
                Some(Snapshot { index: covered, .. }) => {
                    format!("entry {index} is in it, and the newest durable record of a snapshot covers {covered}")
                }
            }))
        })
    }

    /// What is missing for a snapshot's file to be allowed to go: no crash may lead to a log that rests on it.
    pub(crate) fn lacks_to_remove_snapshot(&self, file: &str) -> Result<Option<String>> {
        let coming = |record: &Kept| {
            let is_it = record.said.snapshot.is_some_and(|snapshot| snapshot.file() == file);
            is_it && !record.dropped && !record.is_ghost
        };
        if let Some(number) = self.unsynced.iter().find(|number| self.records.get(**number).is_some_and(coming)) {
            return Ok(Some(format!("a record names it: {}", self.state(*number))));
        }
        self.lacks_whatever_is_there(|fold| {
            let is_it = fold.snapshot.is_some_and(|snapshot| snapshot.file() == file);
            Ok(is_it.then(|| "no record that names a newer one is durable".to_owned()))
        })
    }

    /// What is missing for the log as a power loss would leave it, if it lacks something both with and without what the
    /// process may have written as it died.
    fn lacks_whatever_is_there(&self, lacks: impl Fn(&Fold) -> Result<Option<String>>) -> Result<Option<String>> {
        let without = lacks(&self.durable_fold(false)?)?;
        if without.is_none() { Ok(None) } else { Ok(lacks(&self.durable_fold(true)?)?.and(without)) }
    }

    /// What is durable, with or without the ghosts among it.
    fn durable_fold(&self, with_ghosts: bool) -> Result<Fold> {
        let mut fold = Fold::default();
        for (number, record) in self.records.iter().enumerate() {
            if self.is_durable(number) && (with_ghosts || !record.is_ghost) {
                fold.apply(number, &record.said)?;
            }
        }
        Ok(fold)
    }

    /// What is missing for this vote to be durable.
    pub(crate) fn lacks_vote(&self, term: u64, candidate: u64) -> Option<String> {
        let vote = (term, Some(candidate));
        if self.hard_states().any(|(_, found)| found == vote) {
            return None;
        }
        let written = self.records.iter().rposition(|record| record.said.hard_state == Some(vote) && !record.dropped);
        Some(written.map_or_else(
            || "no such vote was written".to_owned(),
            |number| format!("that vote is not durable: {}", self.state(number)),
        ))
    }

    /// All hard states that are durable, newest first.
    fn hard_states(&self) -> impl Iterator<Item = (usize, (u64, Option<u64>))> {
        let records = self.records.iter().enumerate().rev();
        records
            .filter_map(|(number, record)| Some((number, record.said.hard_state.filter(|_| self.is_durable(number))?)))
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
        for (number, record) in self.records.iter_mut().enumerate().filter(|(_, record)| is_over(record)) {
            record.dropped = true;
            self.unsynced.remove(&number);
        }
        let mut fold = Fold::default();
        for (number, record) in self.records.iter().enumerate().filter(|(_, record)| !record.dropped) {
            self.take(&mut fold, number, &record.said)?;
        }
        self.fold = fold;
        Ok(())
    }
}
