//! What records add up to, without what the entries carry: the same fold for recovery, which reads the records, and for
//! the store, which writes them. So what could not be recovered is never written. Must not do I/O.

use raft_core::{
    EntryId, HardState, InstallMode, LogIndex, MAX_NUMBER, SnapshotMeta, SnapshotRecord, Term, Write, WriteId,
};
use std::collections::VecDeque;

/// The state that some records add up to.
///
/// Invariant: `last` is not below the snapshot's last index. The entries that are here are `first..=last`: `runs` has their
/// terms, `places` the records that hold them, both in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSummary {
    pub(crate) hard_state: HardState,
    /// The newest snapshot.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// The first entry that is here; one after `last` if none is. What is missing from 1 on was compacted, or discarded.
    pub(crate) first: LogIndex,
    /// The last index of the log.
    pub(crate) last: LogIndex,
    /// The first index of each term among the entries that are here.
    pub(crate) runs: Vec<(LogIndex, Term)>,
    /// Where they are. The entries of a record from the next one's first on are in the log no more.
    pub(crate) places: VecDeque<Place>,
}

/// A record with entries of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first entry of it that is in the log; all of it was once.
    pub(crate) first: LogIndex,
    pub(crate) segment: u64,
    /// Where in the segment it begins.
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
            places: VecDeque::new(),
        }
    }
}

impl LogSummary {
    /// The state as one record. Whatever state it is read in, it leads to this one but for the entries, which it cannot
    /// bring back; in this state it changes nothing.
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

    /// The state that a checkpoint leads to where nothing is known: none of its entries is here.
    pub(crate) fn of_checkpoint(write: &Write) -> Result<Self, &'static str> {
        let (Some(hard_state), Some(end)) = (write.hard_state, write.truncate_from) else {
            return Err("its checkpoint says too little");
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
            return Err("its checkpoint contradicts itself");
        }
        Ok(summary)
    }

    /// The last index that the newest snapshot covers; 0 without one.
    pub(crate) fn snapshot_index(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(LogIndex(0), |meta| meta.last.index)
    }

    /// The term of the entry at `index`, if it is here.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index < self.first || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|&(first, _)| first <= index).checked_sub(1)?;
        self.runs.get(run).map(|&(_, term)| term)
    }

    /// The last entry that is here; `0@0` if none is.
    pub(crate) fn last_id(&self) -> EntryId {
        self.term_at(self.last).map_or(EntryId::ZERO, |term| EntryId { term, index: self.last })
    }

    /// Entries that neither are here nor covered by the snapshot: the first and the last.
    pub(crate) fn lacks(&self) -> Option<(LogIndex, LogIndex)> {
        let needed = self.snapshot_index().next();
        (needed < self.first).then(|| (needed, self.first.previous()))
    }

    /// One more record, at this place. If it does not fit the log, the reason, and what is left is of no use.
    pub(crate) fn apply(&mut self, write: &Write, segment: u64, offset: u64) -> Result<(), &'static str> {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = write.truncate_from {
            if from == LogIndex(0) || from > self.last.next() {
                return Err("it truncates where there is no entry");
            }
            if from <= self.snapshot_index() {
                return Err("it truncates what its snapshot covers");
            }
            self.truncate(from);
        }
        if let Some(SnapshotRecord { meta, log }) = &write.snapshot {
            self.take_snapshot(meta, *log)?;
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
            self.places.push_back(Place { first, segment, offset });
        }
        Ok(())
    }

    fn truncate(&mut self, from: LogIndex) {
        self.last = from.previous();
        self.first = self.first.min(from);
        self.runs.truncate(self.runs.partition_point(|&(first, _)| first < from));
        while self.places.back().is_some_and(|place| place.first >= from) {
            self.places.pop_back();
        }
    }

    fn take_snapshot(&mut self, meta: &SnapshotMeta, log: InstallMode) -> Result<(), &'static str> {
        let EntryId { index, term } = meta.last;
        if index <= self.snapshot_index() {
            return Err("its snapshot is not newer than the one before");
        }
        if index.0 > MAX_NUMBER {
            return Err("its snapshot's last index is above 2^62");
        }
        match log {
            InstallMode::Keep if index > self.last => {
                return Err("its snapshot covers more than the log that it keeps");
            }
            InstallMode::Keep if self.term_at(index).is_some_and(|here| here != term) => {
                return Err("its snapshot is not of the log that it keeps");
            }
            InstallMode::Keep => {}
            InstallMode::Discard => {
                (self.first, self.last) = (index.next(), index);
                self.runs.clear();
                self.places.clear();
            }
        }
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    /// The oldest segment that is needed if entries below `before` are not, as far as the snapshot covers them; none if no
    /// entry is needed.
    pub(crate) fn needs_from(&self, before: LogIndex) -> Option<u64> {
        let before = before.min(self.snapshot_index().next());
        // The entries of a place end where the next one's begin.
        let next = self.places.partition_point(|place| place.first <= before);
        let needed = if before > self.last { self.places.len() } else { next.saturating_sub(1) };
        self.places.get(needed).map(|place| place.segment)
    }

    /// Forgets what is in the segments before this one.
    pub(crate) fn forget_before(&mut self, segment: u64) {
        while self.places.front().is_some_and(|place| place.segment < segment) {
            self.places.pop_front();
        }
        self.first = self.places.front().map_or(self.last.next(), |place| place.first);
        if self.places.is_empty() {
            self.runs.clear();
            return;
        }
        let over = self.runs.partition_point(|&(first, _)| first <= self.first).saturating_sub(1);
        self.runs.drain(..over);
        if let Some(run) = self.runs.first_mut() {
            run.0 = self.first;
        }
    }

    /// Where the entry at `index` is: the record, and the last index up to which its entries are in the log.
    pub(crate) fn place_of(&self, index: LogIndex) -> Option<(Place, LogIndex)> {
        if index < self.first || index > self.last {
            return None;
        }
        let next = self.places.partition_point(|place| place.first <= index);
        let last = self.places.get(next).map_or(self.last, |place| place.first.previous());
        Some((*self.places.get(next.checked_sub(1)?)?, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{entries, snapshot, vote};

    /// Records in segments, two in each; no checkpoints.
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
    fn a_suffix_from_a_checkpoint_on_is_the_whole_with_the_rest_forgotten() {
        let records = records();
        for end in 0..=records.len() {
            let mut whole = LogSummary::default();
            let mut suffixes: Vec<(u64, LogSummary)> = Vec::new();
            for (write, number) in records[..end].iter().zip(0_u64..) {
                let segment = number / 2 + 1;
                if number.is_multiple_of(2) {
                    let checkpoint = whole.checkpoint();
                    suffixes.push((segment, LogSummary::of_checkpoint(&checkpoint).expect("it is one")));
                    let mut same = whole.clone();
                    assert_eq!(
                        LogSummary::of_checkpoint(&same.checkpoint()).map(|summary| summary.last),
                        Ok(whole.last)
                    );
                    // But for the snapshot, which is not newer, it is a record like any other.
                    let unchanged = same.apply(&Write { snapshot: None, ..checkpoint }, segment, 64);
                    assert_eq!((unchanged, &same), (Ok(()), &whole));
                }
                let outlines = suffixes.iter_mut().map(|(_, summary)| summary).chain([&mut whole]);
                for summary in outlines {
                    summary.apply(write, segment, 64 + number).expect("fits");
                }
            }
            for (segment, suffix) in suffixes {
                let mut forgetful = whole.clone();
                forgetful.forget_before(segment);
                assert_eq!(suffix, forgetful, "{end} records, from segment {segment} on");
                let is_deletable = whole.needs_from(LogIndex(u64::MAX)).is_none_or(|needed| needed >= segment);
                assert_eq!(suffix.lacks().is_none(), is_deletable, "{end} records, from segment {segment} on");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut summary = LogSummary::default();
        summary.apply(&entries(1, 3, 1, 9), 1, 64).expect("fits");
        let beyond = EntryId::new(MAX_NUMBER + 1, 1);
        for (write, reason) in [
            (Write { truncate_from: Some(LogIndex(0)), ..vote(1, 1) }, "it truncates where there is no entry"),
            (Write { truncate_from: Some(LogIndex(5)), ..vote(1, 1) }, "it truncates where there is no entry"),
            (entries(5, 1, 1, 9), "its entries do not follow the log"),
            (snapshot(EntryId::new(4, 1), InstallMode::Keep), "its snapshot covers more than the log that it keeps"),
            (snapshot(EntryId::new(2, 2), InstallMode::Keep), "its snapshot is not of the log that it keeps"),
            (snapshot(EntryId::ZERO, InstallMode::Discard), "its snapshot is not newer than the one before"),
            (snapshot(beyond, InstallMode::Discard), "its snapshot's last index is above 2^62"),
        ] {
            assert_eq!(summary.clone().apply(&write, 1, 128), Err(reason));
        }
        assert!(
            LogSummary::of_checkpoint(&vote(1, 1)).is_err() && LogSummary::of_checkpoint(&entries(1, 1, 1, 1)).is_err()
        );
        let below = Write { hard_state: vote(1, 1).hard_state, ..summary.checkpoint() };
        assert!(
            LogSummary::of_checkpoint(&Write {
                snapshot: snapshot(EntryId::new(4, 1), InstallMode::Keep).snapshot,
                ..below
            })
            .is_err()
        );
    }
}
