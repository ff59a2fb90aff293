//! The log: the terms of all entries as runs, their payloads as shared slices, the configurations among them.
//!
//! Pure data: this file must not know about roles, peers, time or the disk.

use crate::configuration::Configuration;
use crate::entry::{Entries, Entry, Payload};
use crate::id::{EntryId, LogIndex, Term};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// The replicated log (Raft §5.3).
///
/// Invariant: `terms` covers exactly 1..=last, indices and terms both rising; `runs`, then `open`, hold the same
/// entries without a gap; `configurations` names every configuration entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    last: EntryId,
    /// The first index of each term that has entries.
    terms: Vec<(LogIndex, Term)>,
    runs: VecDeque<Entries>,
    /// Entries appended one by one since the last `seal`.
    open: Vec<Entry>,
    configurations: BTreeMap<LogIndex, Configuration>,
}

impl Log {
    /// The log with these entries, which must start at index 1 and follow one another.
    pub(crate) fn new(entries: Entries) -> Self {
        let mut log = Self::default();
        log.append(entries);
        log
    }

    /// The last entry; `0@0` in an empty log.
    pub(crate) fn last(&self) -> EntryId {
        self.last
    }

    /// The term of the entry at `index`; 0 before the log; none beyond its end.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index > self.last.index {
            return None;
        }
        let run = self.terms.partition_point(|&(first, _)| first <= index);
        Some(run.checked_sub(1).and_then(|run| self.terms.get(run)).map_or(Term(0), |&(_, term)| term))
    }

    /// The id of the entry at `index`.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<EntryId> {
        self.term_at(index).map(|term| EntryId { term, index })
    }

    /// Whether the log holds this entry, and so everything before it as its creator did (Raft §5.3, Log Matching).
    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The last entry that could also be in a log where `unmatched` stands: index and term at most its own. Each side
    /// answers a mismatch with it, so one refused probe skips a whole conflicting term (Raft §5.3, last paragraphs).
    pub(crate) fn last_possible_match(&self, unmatched: EntryId) -> EntryId {
        let index = unmatched.index.min(self.last.index);
        let in_term = self.terms.partition_point(|&(_, term)| term <= unmatched.term);
        // The first entry of a later term bounds the place from above.
        let bound = self.terms.get(in_term).map_or(self.last.index, |&(first, _)| first.previous());
        self.id_at(index.min(bound)).unwrap_or_default()
    }

    /// The configuration in force: the newest in the log, committed or not (Raft §6), and the entry that carries it.
    pub(crate) fn configuration(&self) -> Option<(EntryId, &Configuration)> {
        let (&index, configuration) = self.configurations.last_key_value()?;
        Some((self.id_at(index)?, configuration))
    }

    /// Those that may yet be in force: the newest in entries up to `commit`, and all after it.
    pub(crate) fn configurations_since(&self, commit: LogIndex) -> impl Iterator<Item = &Configuration> {
        let decided = self.configurations.range(..=commit).next_back().map_or(LogIndex(0), |(&index, _)| index);
        self.configurations.range(decided..).map(|(_, configuration)| configuration)
    }

    /// The configurations in entries `after+1..=up_to`, in order.
    pub(crate) fn configurations_between(
        &self,
        after: LogIndex,
        up_to: LogIndex,
    ) -> impl Iterator<Item = (EntryId, &Configuration)> {
        self.configurations
            .range(after.next()..)
            .take_while(move |&(&index, _)| index <= up_to)
            .filter_map(|(&index, configuration)| Some((self.id_at(index)?, configuration)))
    }

    /// Appends one entry, which must follow the last.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.note(&entry);
        self.open.push(entry);
    }

    /// Appends a run, which must follow the last entry. Shares its memory.
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

    fn note(&mut self, entry: &Entry) {
        debug_assert!(
            entry.id.index == self.last.index.next() && entry.id.term >= self.last.term,
            "{} does not follow {}",
            entry.id,
            self.last
        );
        if entry.id.term != self.last.term {
            self.terms.push((entry.id.index, entry.id.term));
        }
        if let Payload::Configuration(configuration) = &entry.payload {
            self.configurations.insert(entry.id.index, configuration.clone());
        }
        self.last = entry.id;
    }

    /// Makes what was pushed one by one into a shared run.
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.runs.push_back(core::mem::take(&mut self.open).into());
        }
    }

    /// Forgets the entries from `index` on (Raft §5.3: what conflicts with the leader's log).
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        self.seal();
        while let Some(run) = self.runs.pop_back() {
            let first = run.first_index().unwrap_or_default();
            if first < index {
                self.runs.push_back(run.between(first, index.previous()));
                break;
            }
        }
        self.last = self.id_at(index.previous().min(self.last.index)).unwrap_or_default();
        let kept = self.terms.partition_point(|&(first, _)| first < index);
        self.terms.truncate(kept);
        self.configurations.split_off(&index);
    }

    /// The entries `first..=last`, cut after `max_bytes` but never before one entry. Sealed entries only. Shares memory
    /// where they stand in one run, else gathers them in a new one (payloads are shared in any case).
    pub(crate) fn entries(&self, first: LogIndex, last: LogIndex, max_bytes: u64) -> Entries {
        let run = self.runs.partition_point(|run| run.last_id().is_none_or(|id| id.index < first));
        let mut gathered: Option<Vec<Entry>> = None;
        let mut shared = Entries::new();
        let mut bytes = 0_u64;
        for run in self.runs.iter().skip(run) {
            let part = run.between(first.max(run.first_index().unwrap_or_default()), last);
            let mut fitting = 0;
            for entry in part.iter() {
                bytes = bytes.saturating_add(entry.size());
                let is_first = fitting == 0 && shared.is_empty() && gathered.is_none();
                if bytes > max_bytes && !is_first {
                    break;
                }
                fitting += 1;
            }
            let fits_whole = fitting == part.len();
            let part = part.slice(0, fitting);
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
        gathered.map_or(shared, Entries::from)
    }

    /// The bytes of the entries `first..=last` ([`Entry::size`]).
    pub(crate) fn bytes(&self, first: LogIndex, last: LogIndex) -> u64 {
        let run = self.runs.partition_point(|run| run.last_id().is_none_or(|id| id.index < first));
        let sealed = self.runs.iter().skip(run).take_while(|run| run.first_index().is_some_and(|index| index <= last));
        let sealed = sealed.flat_map(|run| run.iter()).chain(self.open.iter());
        sealed
            .filter(|entry| (first..=last).contains(&entry.id.index))
            .fold(0, |sum, entry| sum.saturating_add(entry.size()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use alloc::format;
    use alloc::vec;
    use bytes::Bytes;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { id: EntryId::new(index, term), payload: Payload::Command(Bytes::from_static(&[7; 76])) }
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
        // Raft Figure 7: the leader's log ends in 10@6; what (a) to (f) answer to a probe at it.
        let table: &[(&[u64], (u64, u64), &str)] = &[
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6], (10, 6), "9@6"),
            (&[1, 1, 1, 4], (10, 6), "4@4"),
            (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], (10, 6), "10@6"),
            (&[1, 1, 1, 4, 4, 4, 4], (10, 6), "7@4"),
            (&[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], (10, 6), "10@3"),
            // The other side's step: the leader's last entry of a term at most the hint's.
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
        let configuration = Configuration::of_voters([NodeId(1)]);
        let payload = Payload::Configuration(configuration.clone());
        log.push(Entry { id: EntryId::new(3, 2), payload });
        log.push(entry(4, 2));
        assert_eq!(log.configuration(), Some((EntryId::new(3, 2), &configuration)));
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
        let mut log = Log::default();
        for run in [&[1, 2][..], &[3], &[4, 5, 6]] {
            log.append(run.iter().map(|&index| entry(index, 1)).collect());
        }
        // Every entry counts 100 bytes.
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
            let entries = log.entries(LogIndex(first), LogIndex(last), max_bytes);
            assert_eq!(format!("{entries}"), expected, "{first}..={last} in {max_bytes}");
        }
        assert_eq!(log.bytes(LogIndex(2), LogIndex(4)), 300);
        assert_eq!(log.bytes(LogIndex(7), LogIndex(9)), 0);
        log.push(entry(7, 1));
        assert_eq!(log.bytes(LogIndex(6), LogIndex(7)), 200, "open entries count");
    }

    #[test]
    fn configurations_between_are_those_a_commit_passes() {
        let configuration = Configuration::of_voters([NodeId(1)]);
        let carry =
            |index| Entry { id: EntryId::new(index, 1), payload: Payload::Configuration(configuration.clone()) };
        let log = Log::new(vec![carry(1), entry(2, 1), carry(3)].into());
        let between = |after, up_to| {
            log.configurations_between(LogIndex(after), LogIndex(up_to)).map(|(id, _)| id.index.0).collect::<Vec<_>>()
        };
        assert_eq!(between(0, 3), [1, 3]);
        assert_eq!(between(1, 2), [0; 0]);
        assert_eq!(between(2, 9), [3]);
    }
}
