//! The log: the terms of all entries as runs, the newest payloads as shared slices, and the configurations.
//!
//! Pure data: this file must not know about roles, peers, time or the disk.

use crate::canonical::canonical;
use crate::entry::{Entries, Entry, Payload};
use crate::id::{EntryId, LogIndex, Term};
use crate::membership::Configuration;
use crate::membership::in_force::InForce;
use crate::recovered_state::RecoveredState;
use crate::snapshot_meta::SnapshotMeta;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The replicated log (Raft §5.3).
///
/// Invariants: `terms` covers exactly base+1..=last, indices and terms both rising; `runs`, then `open`, hold the newest
/// of these entries without a gap, and `cached_bytes` is their size; `configurations` names every configuration entry and
/// the one in force at `base`, all valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Log {
    /// The last compacted entry, which a snapshot covers; `0@0` if there is none.
    base: EntryId,
    last: EntryId,
    /// The first index of each term that has entries.
    terms: Vec<(LogIndex, Term)>,
    runs: VecDeque<Entries>,
    /// Entries appended one by one since the last `seal`.
    open: Vec<Entry>,
    /// The bytes of `runs` and `open` ([`Entry::size`]).
    cached_bytes: u64,
    configurations: InForce,
}

impl Log {
    /// The checked log of a disk. The first entry counts as compacted if a snapshot covers it and the log does not hold
    /// the entry before it.
    pub(crate) fn restored(restored: &RecoveredState) -> Self {
        let mut log = Self::default();
        if let Some(snapshot) = &restored.snapshot {
            log.discard(snapshot);
        }
        let Some(&(first, term)) = restored.runs.first() else { return log };
        if restored.last.index <= log.base.index {
            return log;
        }
        log.base = match first {
            LogIndex(1) => EntryId::ZERO,
            _ if first == log.base.index.next() => log.base,
            _ => EntryId { term, index: first },
        };
        log.last = restored.last;
        log.terms.clone_from(&restored.runs);
        log.forget_terms();
        for (index, configuration) in &restored.configurations {
            if let Some(term) = restored.term_at(*index) {
                log.configurations.append(EntryId { term, index: *index }, configuration);
            }
        }
        let tail = restored.tail.between(log.base.index.next(), log.last.index);
        if !tail.is_empty() {
            log.cached_bytes = tail.size();
            log.runs.push_back(tail);
        }
        log
    }

    /// The last compacted entry; `0@0` if there is none.
    pub(crate) fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry; in an empty log that of the snapshot, or `0@0`.
    pub(crate) fn last(&self) -> EntryId {
        self.last
    }

    /// The term of the entry at `index`; 0 at index 0; `None` beyond the end of the log and where it is compacted.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index <= self.base.index {
            return (index == self.base.index).then_some(self.base.term);
        }
        if index > self.last.index {
            return None;
        }
        let run = self.terms.partition_point(|&(first, _)| first <= index);
        run.checked_sub(1).and_then(|run| self.terms.get(run)).map(|&(_, term)| term)
    }

    /// The id of the entry at `index`.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<EntryId> {
        self.term_at(index).map(|term| EntryId { term, index })
    }

    /// Whether the log holds this entry. If so, it equals the log of the entry's creator up to there (Raft §5.3, Log
    /// Matching).
    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// Whether this log can agree with another one that holds this entry: it holds the entry too, or has compacted that
    /// position, which was committed.
    pub(crate) fn compatible_with(&self, id: EntryId) -> bool {
        id.index < self.base.index || self.holds(id)
    }

    /// The last entry that can also be in a log that holds `unmatched`: its index and term are at most those. Each side
    /// answers a mismatch with it, so one refused probe skips a whole conflicting term (Raft §5.3, last paragraphs). It
    /// is never before the base, which is committed.
    pub(crate) fn last_possible_match(&self, unmatched: EntryId) -> EntryId {
        let index = unmatched.index.min(self.last.index);
        let in_term = self.terms.partition_point(|&(_, term)| term <= unmatched.term);
        // The first entry of a later term bounds the position from above.
        let bound = self.terms.get(in_term).map_or(self.last.index, |&(first, _)| first.previous());
        self.id_at(index.min(bound)).unwrap_or(self.base)
    }

    /// The configuration in force, and the entry that carries it.
    pub(crate) fn configuration(&self) -> Option<(EntryId, &Configuration)> {
        self.configurations.newest()
    }

    /// The configurations in the log.
    pub(crate) fn configurations(&self) -> &InForce {
        &self.configurations
    }

    /// Appends one entry, which must follow the last.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.note(&entry);
        self.open.push(entry);
    }

    /// Appends a run, which must follow the last entry. It shares the run's memory.
    pub(crate) fn append(&mut self, entries: Entries) {
        if entries.is_empty() {
            return;
        }
        self.seal();
        for entry in entries.iter() {
            self.note(entry);
        }
        self.runs.push_back(entries);
    }

    /// Asserts the invariants at both ends; `note` asserts them for the entries in between.
    pub(crate) fn check(&self) {
        let (base, last) = (self.base, self.last);
        assert!(base.index <= last.index && base.term <= last.term, "base {base} is above last {last}");
        let first = self.terms.first().map(|&(first, _)| first);
        let expected = (base.index < last.index).then(|| base.index.next());
        assert!(first == expected, "terms begin at {first:?}, expected {expected:?}");
        let newest = self.terms.last().copied();
        let ends = newest.is_none_or(|(first, term)| first <= last.index && term == last.term);
        assert!(ends, "the newest term is {newest:?}, last {last}");
        let cached = self.open.last().map(|entry| entry.id).or_else(|| self.runs.back().and_then(Entries::last_id));
        assert!(cached.is_none_or(|id| id == last), "memory ends at {cached:?}, last {last}");
        let from = self.cached_from();
        assert!(from > base.index, "memory begins at {from}, base {base}");
        assert!(cached.is_some() || self.cached_bytes == 0, "{} bytes in memory without entries", self.cached_bytes);
        let configured = self.configurations.newest().map(|(at, _)| at.index);
        assert!(configured <= Some(last.index), "configuration at {configured:?}, last {last}");
    }

    fn note(&mut self, entry: &Entry) {
        debug_assert!(
            entry.id.index == self.last.index.next() && entry.id.term >= self.last.term,
            "{} does not follow {}",
            entry.id,
            self.last
        );
        if entry.id.term != self.last.term || self.terms.is_empty() {
            self.terms.push((entry.id.index, entry.id.term));
        }
        if let Payload::Configuration(configuration) = &entry.payload {
            debug_assert!(configuration.is_valid(), "{} carries {configuration}, which is not valid", entry.id);
            self.configurations.append(entry.id, configuration);
        }
        self.cached_bytes = self.cached_bytes.saturating_add(entry.size());
        self.last = entry.id;
    }

    /// Turns the entries that were pushed one by one into a shared run.
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.runs.push_back(core::mem::take(&mut self.open).into());
        }
    }

    /// Removes the entries from `index` on, which conflict with the leader's log (Raft §5.3).
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        self.seal();
        while let Some(run) = self.runs.pop_back() {
            let first = run.first_index().unwrap_or_default();
            self.cached_bytes = self.cached_bytes.saturating_sub(run.size());
            if first < index {
                let kept = run.between(first, index.previous());
                self.cached_bytes = self.cached_bytes.saturating_add(kept.size());
                self.runs.push_back(kept);
                break;
            }
        }
        self.last = self.id_at(index.previous().min(self.last.index)).unwrap_or(self.base);
        let kept = self.terms.partition_point(|&(first, _)| first < index);
        self.terms.truncate(kept);
        self.configurations.truncate_from(index);
    }

    /// Drops the entries up to `index`, which this log must reach: a snapshot covers them (Raft §7).
    pub(crate) fn compact(&mut self, index: LogIndex) {
        let Some(base) = self.id_at(index) else { return };
        self.base = base;
        self.forget_terms();
        self.seal();
        while let Some(run) = self.runs.front().filter(|run| run.last_id().is_none_or(|last| last.index <= index)) {
            self.cached_bytes = self.cached_bytes.saturating_sub(run.size());
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            let kept = run.between(index.next(), self.last.index);
            self.cached_bytes = self.cached_bytes.saturating_sub(run.size()).saturating_add(kept.size());
            *run = kept;
        }
        self.configurations.compact(index);
    }

    /// Drops all entries; the log continues after a snapshot.
    pub(crate) fn discard(&mut self, snapshot: &SnapshotMeta) {
        let SnapshotMeta { last, configuration, configured_at } = snapshot;
        *self = Self { base: *last, last: *last, ..Self::default() };
        self.configurations.append(*configured_at, configuration);
    }

    /// Drops the oldest payloads beyond `max_bytes` from memory, as far as they are durable.
    pub(crate) fn evict(&mut self, max_bytes: u64, durable: LogIndex) {
        while self.cached_bytes > max_bytes
            && let Some(run) = self.runs.front().filter(|run| run.last_id().is_none_or(|last| last.index <= durable))
        {
            self.cached_bytes = self.cached_bytes.saturating_sub(run.size());
            self.runs.pop_front();
        }
    }

    /// The bytes of the payloads in memory ([`Entry::size`]).
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cached_bytes
    }

    /// The first index whose payload is in memory; the index after the end if there is none.
    pub(crate) fn cached_from(&self) -> LogIndex {
        let first = self.runs.front().and_then(Entries::first_index);
        first.or_else(|| self.open.first().map(|entry| entry.id.index)).unwrap_or(self.last.index.next())
    }

    /// The entries `first..=last`, up to `max_bytes` but at least one. It returns sealed entries only, and `None` if
    /// they are not in memory. Entries of one run share its memory. Entries of several runs are copied to a new run,
    /// which shares their payloads.
    pub(crate) fn entries(&self, first: LogIndex, last: LogIndex, max_bytes: u64) -> Option<Entries> {
        if first < self.cached_from() {
            return None;
        }
        let run = self.runs.partition_point(|run| run.last_id().is_none_or(|id| id.index < first));
        let mut gathered: Option<Vec<Entry>> = None;
        let mut shared = Entries::new();
        let mut room = max_bytes;
        for run in self.runs.iter().skip(run) {
            let whole = run.between(first.max(run.first_index().unwrap_or_default()), last);
            let is_first = shared.is_empty() && gathered.is_none();
            let part = if is_first { whole.within(room) } else { whole.fitting(room) };
            room = room.saturating_sub(part.size());
            let fits_whole = part.len() == whole.len();
            match &mut gathered {
                Some(entries) => entries.extend(part.iter().cloned()),
                None if shared.is_empty() => shared = part,
                None if !part.is_empty() => gathered = Some(shared.iter().chain(part.iter()).cloned().collect()),
                None => {}
            }
            if !fits_whole || run.last_id().is_none_or(|id| id.index >= last) {
                break;
            }
        }
        Some(gathered.map_or(shared, Entries::from))
    }

    /// Drops the runs of terms that are fully compacted, and cuts the first remaining run.
    fn forget_terms(&mut self) {
        let first = self.base.index.next();
        if first > self.last.index {
            self.terms.clear();
            return;
        }
        let kept = self.terms.partition_point(|&(start, _)| start <= first).saturating_sub(1);
        self.terms.drain(..kept);
        if let Some(run) = self.terms.first_mut() {
            run.0 = run.0.max(first);
        }
    }
}

canonical!(Log { base, last, terms, runs, open, cached_bytes, configurations });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::testing::meta;
    use alloc::format;
    use alloc::vec;
    use bytes::Bytes;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { id: EntryId::new(index, term), payload: Payload::Command(Bytes::from_static(&[7; 76])) }
    }

    /// An entry with the only configuration of these tests.
    fn carry(index: u64, term: u64) -> Entry {
        let payload = Payload::Configuration(Configuration::of_voters([NodeId(1)]));
        Entry { id: EntryId::new(index, term), payload }
    }

    /// Six entries of 100 bytes, in memory as three runs.
    fn three_runs() -> Log {
        let mut log = Log::default();
        for run in [&[1, 2][..], &[3], &[4, 5, 6]] {
            log.append(run.iter().map(|&index| entry(index, 1)).collect());
        }
        log
    }

    fn log_of(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (place, &term) in terms.iter().enumerate() {
            log.push(entry(place as u64 + 1, term));
        }
        log.seal();
        log
    }

    #[test]
    fn terms_are_found_by_index() {
        let log = log_of(&[1, 1, 1, 4, 4, 5]);
        let terms: Vec<_> = (0..=7).map(|index| log.term_at(LogIndex(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(1), Some(4), Some(4), Some(5), None]);
        assert!(log.holds(EntryId::ZERO) && log.holds(EntryId::new(5, 4)));
        assert!(!log.holds(EntryId::new(5, 5)) && !log.holds(EntryId::new(7, 5)));
        assert_eq!(Log::default().term_at(LogIndex(0)), Some(Term(0)));
        assert_eq!(Log::default().term_at(LogIndex(1)), None);
    }

    #[test]
    fn the_last_possible_match_skips_whole_terms() {
        // Raft Figure 7: the leader's log ends in 10@6, and (a) to (f) answer a probe at that entry.
        let table: &[(&[u64], (u64, u64), &str)] = &[
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6], (10, 6), "9@6"),
            (&[1, 1, 1, 4], (10, 6), "4@4"),
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], (10, 6), "10@6"),
            (&[1, 1, 1, 4, 4, 4, 4], (10, 6), "7@4"),
            (&[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], (10, 6), "10@3"),
            // The leader's next probe: its last entry with a term of at most the hint's.
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], (7, 4), "5@4"),
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], (10, 3), "3@1"),
            (&[], (10, 6), "0@0"),
            (&[3, 3], (2, 2), "0@0"),
        ];
        for (terms, (index, term), expected) in table {
            let found = log_of(terms).last_possible_match(EntryId::new(*index, *term));
            assert_eq!(format!("{found}"), *expected, "{terms:?} at {index}@{term}");
        }
    }

    #[test]
    fn truncation_forgets_entries_terms_and_configurations() {
        let mut log = log_of(&[1, 1]);
        log.push(carry(3, 2));
        log.push(entry(4, 2));
        assert_eq!(log.configuration(), Some((EntryId::new(3, 2), &Configuration::of_voters([NodeId(1)]))));
        let mut shorter = log.clone();
        shorter.truncate_from(LogIndex(4));
        assert_eq!((shorter.last(), shorter.configuration().is_some()), (EntryId::new(3, 2), true));
        shorter.truncate_from(LogIndex(2));
        assert_eq!((shorter.last(), shorter.configuration()), (EntryId::new(1, 1), None));
        assert_eq!(shorter.term_at(LogIndex(2)), None);
        shorter.truncate_from(LogIndex(1));
        assert_eq!((shorter.last(), shorter.runs.len()), (EntryId::ZERO, 0));
        let mut untouched = log.clone();
        untouched.truncate_from(LogIndex(9));
        assert_eq!(untouched.last(), log.last());
    }

    #[test]
    fn slices_keep_to_the_bytes_but_always_hold_one_entry() {
        let log = three_runs();
        let table = [
            (1, 6, 1_000, "[1@1..6@1]"),
            (1, 6, 300, "[1@1..3@1]"),
            (2, 6, 350, "[2@1..4@1]"),
            (4, 6, 200, "[4@1..5@1]"),
            (4, 5, 1_000, "[4@1..5@1]"),
            (3, 3, 1, "[3@1]"),
            (2, 6, 0, "[2@1]"),
            (7, 9, 1_000, "[]"),
        ];
        for (first, last, max_bytes, expected) in table {
            let entries = log.entries(LogIndex(first), LogIndex(last), max_bytes).expect("they are in memory");
            assert_eq!(format!("{entries}"), expected, "{first}..={last} in {max_bytes}");
        }
    }

    #[test]
    fn a_slice_has_no_gap_where_something_smaller_would_fit() {
        let mut log = Log::default();
        log.append(vec![entry(1, 1), entry(2, 1)].into());
        log.append(vec![Entry { id: EntryId::new(3, 1), payload: Payload::Noop }].into());
        let entries = log.entries(LogIndex(1), LogIndex(3), 150).expect("they are in memory");
        assert_eq!(format!("{entries}"), "[1@1]");
    }

    #[test]
    fn configurations_between_are_those_a_commit_passes() {
        let mut log = Log::default();
        log.append(vec![carry(1, 1), entry(2, 1), carry(3, 1)].into());
        let between = |after, up_to| {
            log.configurations().between(LogIndex(after), LogIndex(up_to)).map(|(id, _)| id.index.0).collect::<Vec<_>>()
        };
        assert_eq!(between(0, 3), [1, 3]);
        assert_eq!(between(1, 2), [0; 0]);
        assert_eq!(between(2, 9), [3]);
    }

    #[test]
    fn compaction_forgets_entries_and_terms_and_keeps_what_is_in_force() {
        let mut log = Log::default();
        log.append(vec![carry(1, 1), entry(2, 1), carry(3, 1)].into());
        log.append(vec![entry(4, 2), entry(5, 2), entry(6, 4)].into());
        let whole = log.cached_bytes;
        log.compact(LogIndex(4));
        assert_eq!((log.base(), log.last(), log.cached_from()), (EntryId::new(4, 2), EntryId::new(6, 4), LogIndex(5)));
        let terms: Vec<_> = (3..=7).map(|index| log.term_at(LogIndex(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [None, Some(2), Some(2), Some(4), None]);
        assert_eq!(log.configuration().map(|(at, _)| at), Some(EntryId::new(3, 1)));
        assert_eq!(log.configurations().as_of(LogIndex(2)), None, "replaced before the base");
        assert!(log.cached_bytes < whole && log.entries(LogIndex(4), LogIndex(5), 1_000).is_none());
        assert!(log.compatible_with(EntryId::new(2, 7)) && !log.compatible_with(EntryId::new(5, 3)));
        assert_eq!(log.last_possible_match(EntryId::new(9, 1)), EntryId::new(4, 2), "nothing before the base");
        log.truncate_from(LogIndex(5));
        assert_eq!((log.last(), log.terms.len(), log.cached_bytes), (EntryId::new(4, 2), 0, 0));
        let mut same_term = log.clone();
        same_term.push(entry(5, 2));
        assert_eq!(same_term.term_at(LogIndex(5)), Some(Term(2)), "a separate run, although the base has that term");
        log.push(entry(5, 5));
        assert_eq!(log.term_at(LogIndex(5)), Some(Term(5)));
    }

    #[test]
    fn a_discarded_log_goes_on_after_the_snapshot() {
        let mut log = log_of(&[1, 1, 2]);
        log.discard(&meta(7, 3));
        assert_eq!((log.base(), log.last(), log.cached_from()), (EntryId::new(7, 3), EntryId::new(7, 3), LogIndex(8)));
        assert_eq!(log.configuration().map(|(at, _)| at), Some(EntryId::new(1, 1)));
        assert!(log.holds(EntryId::new(7, 3)) && !log.holds(EntryId::new(2, 1)));
        log.append(vec![entry(8, 3)].into());
        assert_eq!(log.entries(LogIndex(8), LogIndex(8), 0).map(|entries| entries.len()), Some(1));
    }

    #[test]
    fn only_what_is_durable_leaves_memory_oldest_first() {
        let mut log = three_runs();
        log.evict(600, LogIndex(6));
        assert_eq!((log.cached_bytes(), log.cached_from()), (600, LogIndex(1)));
        log.evict(0, LogIndex(1));
        assert_eq!(log.cached_from(), LogIndex(1), "half of the run is not durable");
        log.evict(350, LogIndex(6));
        assert_eq!((log.cached_from(), log.cached_bytes), (LogIndex(4), 300));
        assert!(log.entries(LogIndex(3), LogIndex(6), 1_000).is_none(), "the sequence must start at its beginning");
        assert!(log.holds(EntryId::new(1, 1)), "terms stay");
        log.evict(0, LogIndex(6));
        assert_eq!((log.cached_from(), log.cached_bytes), (LogIndex(7), 0));
    }

    #[test]
    fn a_restored_log_begins_where_its_terms_are_known() {
        let entries = |ids: &[(u64, u64)]| ids.iter().map(|&(index, term)| entry(index, term)).collect::<Entries>();
        let restored = |snapshot, ids: &[(u64, u64)]| {
            Log::restored(&RecoveredState::of_log(crate::HardState::default(), snapshot, entries(ids)))
        };
        let whole = restored(None, &[(1, 1), (2, 3)]);
        assert_eq!((whole.base(), whole.last(), whole.cached_from()), (EntryId::ZERO, EntryId::new(2, 3), LogIndex(1)));
        let adjacent = restored(Some(meta(4, 2)), &[(5, 2), (6, 3)]);
        assert_eq!((adjacent.base(), adjacent.cached_from()), (EntryId::new(4, 2), LogIndex(5)));
        let trailing = restored(Some(meta(4, 2)), &[(3, 1), (4, 2), (5, 2)]);
        assert_eq!((trailing.base(), trailing.last()), (EntryId::new(3, 1), EntryId::new(5, 2)));
        assert_eq!((trailing.term_at(LogIndex(4)), trailing.cached_from()), (Some(Term(2)), LogIndex(4)));
        let dropped = restored(Some(meta(4, 2)), &[(2, 1), (3, 1)]);
        assert_eq!((dropped.base(), dropped.last()), (EntryId::new(4, 2), EntryId::new(4, 2)));
        assert_eq!(dropped.term_at(LogIndex(3)), None);
        assert_eq!(restored(None, &[]), Log::default());
    }

    #[test]
    fn a_log_whose_parts_do_not_meet_fails() {
        crate::testing::each_fails(
            &log_of(&[1, 1, 2]),
            |log| log.check(),
            &[
                ("base 9@1 is above last 3@2", |log| log.base = EntryId::new(9, 1)),
                ("terms begin at None, expected Some(1)", |log| log.terms.clear()),
                ("terms begin at Some(1), expected Some(2)", |log| log.base = EntryId::new(1, 1)),
                ("the newest term is Some((1, 1))", |log| log.terms.truncate(1)),
                ("memory ends at Some(9@2), last 3@2", |log| log.runs.push_back(vec![entry(9, 2)].into())),
                ("memory begins at 1, base 1", |log| (log.base, log.terms[0].0) = (EntryId::new(1, 1), LogIndex(2))),
                ("300 bytes in memory without entries", |log| log.runs.clear()),
                ("configuration at Some(4), last 3@2", |log| {
                    log.configurations.append(EntryId::new(4, 2), &Configuration::default());
                }),
            ],
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    fn an_entry_that_does_not_belong_fails() {
        crate::testing::each_fails(
            &log_of(&[1, 1, 2]),
            |_| (),
            &[
                ("5@2 does not follow 3@2", |log| log.push(entry(5, 2))),
                ("4@1 does not follow 3@2", |log| log.push(entry(4, 1))),
                ("4@2 carries {}, which is not valid", |log| {
                    let payload = Payload::Configuration(Configuration::default());
                    log.push(Entry { id: EntryId::new(4, 2), payload });
                }),
            ],
        );
    }
}
