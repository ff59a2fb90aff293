//! The state that records lead to, without the payloads of entries. Recovery applies the records that it reads, and the
//! store those that it writes, so the store never writes a record that recovery would refuse. This file does no I/O.

use raft_core::{
    EntryId, HardState, InstallMode, LogIndex, MAX_NUMBER, SnapshotMeta, SnapshotRecord, Term, Write, WriteId,
};
use std::collections::VecDeque;

/// Invariant: `last` is not below the snapshot's last index. The segments hold the entries `first..=last`:
/// `runs` has their terms, `locations` their records, both in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSummary {
    pub(crate) hard_state: HardState,
    /// The newest snapshot.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// The first entry in a segment; `last` + 1 if there is none. Earlier entries were compacted or discarded.
    pub(crate) first: LogIndex,
    /// The last index of the log.
    pub(crate) last: LogIndex,
    /// The first index of each term in `first..=last`.
    pub(crate) runs: Vec<(LogIndex, Term)>,
    /// A record's entries count up to the first entry of the next location; the rest was truncated.
    pub(crate) locations: VecDeque<RecordLocation>,
}

/// The location of a record with entries of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordLocation {
    /// Its first entry that is in the log.
    pub(crate) first: LogIndex,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Default for LogSummary {
    fn default() -> Self {
        Self {
            hard_state: HardState::default(),
            snapshot: None,
            first: LogIndex(1),
            last: LogIndex(0),
            runs: Vec::new(),
            locations: VecDeque::new(),
        }
    }
}

impl LogSummary {
    /// The state as one record. Applied to any state, the record leads to this one, without the entries; applied to
    /// this state it changes nothing.
    pub(crate) fn checkpoint(&self) -> Write {
        let snapshot = self.snapshot.as_ref().map(|meta| SnapshotRecord { meta: meta.clone(), log: InstallMode::Keep });
        Write {
            id: WriteId(0),
            hard_state: Some(self.hard_state),
            truncate_from: Some(self.last.next()),
            snapshot,
            entries: raft_core::Entries::new(),
        }
    }

    /// The state of a log that begins with this checkpoint and has no entries.
    pub(crate) fn from_checkpoint(write: &Write) -> Result<Self, &'static str> {
        let (Some(hard_state), Some(end)) = (write.hard_state, write.truncate_from) else {
            return Err("the checkpoint lacks hard state or last index");
        };
        let snapshot = write.snapshot.as_ref().map(|record| record.meta.clone());
        let last = end.previous();
        let summary = Self { hard_state, snapshot, first: end, last, ..Self::default() };
        let keeps = write.snapshot.as_ref().is_none_or(|record| record.log == InstallMode::Keep);
        if end == LogIndex(0)
            || end.0 > MAX_NUMBER
            || summary.snapshot_index() > last
            || !keeps
            || !write.entries.is_empty()
        {
            return Err("the checkpoint contradicts itself");
        }
        Ok(summary)
    }

    /// The last index that the newest snapshot covers; 0 without one.
    pub(crate) fn snapshot_index(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(LogIndex(0), |meta| meta.last.index)
    }

    /// The term of the entry at `index`, if a segment holds it.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index < self.first || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|&(first, _)| first <= index).checked_sub(1)?;
        self.runs.get(run).map(|&(_, term)| term)
    }

    /// The last entry in a segment; `0@0` if there is none.
    pub(crate) fn last_id(&self) -> EntryId {
        self.term_at(self.last).map_or(EntryId::ZERO, |term| EntryId { term, index: self.last })
    }

    /// The first and last of the entries that no segment holds and the snapshot does not cover.
    pub(crate) fn missing(&self) -> Option<(LogIndex, LogIndex)> {
        let needed = self.snapshot_index().next();
        (needed < self.first).then(|| (needed, self.first.previous()))
    }

    /// Applies the record at this location. An error says why it does not fit the log; the summary is then invalid.
    pub(crate) fn apply(&mut self, write: &Write, segment: u64, offset: u64) -> Result<(), &'static str> {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = write.truncate_from {
            if from == LogIndex(0) || from > self.last.next() {
                return Err("it truncates beyond the end of the log");
            }
            if from <= self.snapshot_index() {
                return Err("it truncates entries that the snapshot covers");
            }
            self.truncate(from);
        }
        if let Some(SnapshotRecord { meta, log }) = &write.snapshot {
            self.apply_snapshot(meta, *log)?;
        }
        for entry in write.entries.iter() {
            if entry.id.index != self.last.next() || entry.id.index.0 > MAX_NUMBER {
                return Err("its entries do not follow the log");
            }
            if self.runs.last().is_none_or(|&(_, term)| term != entry.id.term) {
                self.runs.push((entry.id.index, entry.id.term));
            }
            self.last = entry.id.index;
        }
        if let Some(first) = write.entries.first_index() {
            self.locations.push_back(RecordLocation { first, segment, offset });
        }
        Ok(())
    }

    fn truncate(&mut self, from: LogIndex) {
        self.last = from.previous();
        self.first = self.first.min(from);
        self.runs.truncate(self.runs.partition_point(|&(first, _)| first < from));
        while self.locations.back().is_some_and(|location| location.first >= from) {
            self.locations.pop_back();
        }
    }

    fn apply_snapshot(&mut self, meta: &SnapshotMeta, log: InstallMode) -> Result<(), &'static str> {
        let EntryId { index, term } = meta.last;
        if index <= self.snapshot_index() {
            return Err("its snapshot is not newer than the one before");
        }
        if index.0 > MAX_NUMBER {
            return Err("its snapshot's last index is above 2^62");
        }
        match log {
            InstallMode::Keep if index > self.last => {
                return Err("its snapshot ends after the log that it keeps");
            }
            InstallMode::Keep if self.term_at(index).is_some_and(|found| found != term) => {
                return Err("its snapshot ends in another term than the log that it keeps");
            }
            InstallMode::Keep => {}
            InstallMode::Discard => {
                (self.first, self.last) = (index.next(), index);
                self.runs.clear();
                self.locations.clear();
            }
        }
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    /// The oldest segment with a needed entry, if the entries below `before` that the snapshot covers are not needed.
    pub(crate) fn oldest_needed(&self, before: LogIndex) -> Option<u64> {
        let before = before.min(self.snapshot_index().next());
        // The entries of a location end where the next one's begin.
        let next = self.locations.partition_point(|location| location.first <= before);
        let needed = if before > self.last { self.locations.len() } else { next.saturating_sub(1) };
        self.locations.get(needed).map(|location| location.segment)
    }

    /// Drops the entries in the segments before this one.
    pub(crate) fn drop_segments_before(&mut self, segment: u64) {
        while self.locations.front().is_some_and(|location| location.segment < segment) {
            self.locations.pop_front();
        }
        self.first = self.locations.front().map_or(self.last.next(), |location| location.first);
        if self.locations.is_empty() {
            self.runs.clear();
            return;
        }
        let over = self.runs.partition_point(|&(first, _)| first <= self.first).saturating_sub(1);
        self.runs.drain(..over);
        if let Some(run) = self.runs.first_mut() {
            run.0 = self.first;
        }
    }

    /// The record that holds the entry at `index`, and the last index that it holds of the log.
    pub(crate) fn locate(&self, index: LogIndex) -> Option<(RecordLocation, LogIndex)> {
        if index < self.first || index > self.last {
            return None;
        }
        let next = self.locations.partition_point(|location| location.first <= index);
        let last = self.locations.get(next).map_or(self.last, |location| location.first.previous());
        Some((*self.locations.get(next.checked_sub(1)?)?, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{entries, snapshot, vote};

    /// Records in segments, two in each, without checkpoints.
    fn records() -> Vec<Write> {
        vec![
            vote(3, 2),
            entries(1, 4, 1, 9),
            Write { truncate_from: Some(LogIndex(4)), ..entries(4, 2, 2, 9) },
            snapshot(EntryId::new(3, 1), InstallMode::Keep),
            Write { truncate_from: Some(LogIndex(5)), ..entries(5, 1, 3, 9) },
            snapshot(EntryId::new(5, 3), InstallMode::Keep),
            entries(6, 3, 3, 9),
            snapshot(EntryId::new(20, 4), InstallMode::Discard),
            entries(21, 1, 4, 9),
            vote(4, 1),
        ]
    }

    #[test]
    fn a_log_from_a_checkpoint_on_is_the_whole_log_without_earlier_segments() {
        let records = records();
        for end in 0..=records.len() {
            let mut whole = LogSummary::default();
            let mut suffixes: Vec<(u64, LogSummary)> = Vec::new();
            for (write, number) in records[..end].iter().zip(0_u64..) {
                let segment = number / 2 + 1;
                if number.is_multiple_of(2) {
                    let checkpoint = whole.checkpoint();
                    suffixes.push((segment, LogSummary::from_checkpoint(&checkpoint).expect("it is valid")));
                    let mut same = whole.clone();
                    // It is a record like any other, except that its snapshot is not newer.
                    let unchanged = same.apply(&Write { snapshot: None, ..checkpoint }, segment, 64);
                    assert_eq!((unchanged, &same), (Ok(()), &whole));
                }
                let summaries = suffixes.iter_mut().map(|(_, summary)| summary).chain([&mut whole]);
                for summary in summaries {
                    summary.apply(write, segment, 64 + number).expect("fits");
                }
            }
            for (segment, suffix) in suffixes {
                let mut shortened = whole.clone();
                shortened.drop_segments_before(segment);
                assert_eq!(suffix, shortened, "{end} records, from segment {segment} on");
                let is_deletable = whole.oldest_needed(LogIndex(u64::MAX)).is_none_or(|needed| needed >= segment);
                assert_eq!(suffix.missing().is_none(), is_deletable, "{end} records, from segment {segment} on");
            }
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_refused() {
        let (keep, discard) = (InstallMode::Keep, InstallMode::Discard);
        let mut summary = LogSummary::default();
        summary.apply(&entries(1, 4, 1, 9), 1, 64).expect("fits");
        summary.apply(&snapshot(EntryId::new(2, 1), keep), 1, 96).expect("fits");
        let truncation = |from| Write { truncate_from: Some(LogIndex(from)), ..vote(1, 1) };
        let truncated = |from, last| Write { snapshot: snapshot(last, keep).snapshot, ..truncation(from) };
        let with_gap = Write { entries: entries(7, 1, 1, 1).entries, ..snapshot(EntryId::new(5, 2), discard) };
        for (write, reason) in [
            (truncation(0), "it truncates beyond the end of the log"),
            (truncation(6), "it truncates beyond the end of the log"),
            (truncation(2), "it truncates entries that the snapshot covers"),
            (entries(6, 1, 1, 9), "its entries do not follow the log"),
            (with_gap, "its entries do not follow the log"),
            (snapshot(EntryId::new(5, 1), keep), "its snapshot ends after the log that it keeps"),
            (truncated(4, EntryId::new(4, 1)), "its snapshot ends after the log that it keeps"),
            (snapshot(EntryId::new(3, 2), keep), "its snapshot ends in another term than the log that it keeps"),
            (snapshot(EntryId::new(2, 1), keep), "its snapshot is not newer than the one before"),
            (snapshot(EntryId::new(2, 1), discard), "its snapshot is not newer than the one before"),
            (snapshot(EntryId::new(MAX_NUMBER + 1, 1), discard), "its snapshot's last index is above 2^62"),
        ] {
            assert_eq!(summary.clone().apply(&write, 1, 128), Err(reason));
        }
        let beyond = Write { snapshot: snapshot(EntryId::new(5, 1), keep).snapshot, ..summary.checkpoint() };
        for checkpoint in [vote(1, 1), entries(1, 1, 1, 1), beyond] {
            LogSummary::from_checkpoint(&checkpoint).expect_err("no checkpoint");
        }
    }
}
