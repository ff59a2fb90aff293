//! The state that a node recovers from its disk, and the contradictions that keep it from starting.

use crate::action::{HardState, Write};
use crate::entry::{Entries, Entry, Payload};
use crate::id::{EntryId, LogIndex, MAX_NUMBER, Term};
use crate::membership::Configuration;
use crate::snapshot_meta::SnapshotMeta;
use alloc::vec::Vec;
use core::fmt;

/// The state after some prefix of this node's writes that contains every reported one, **and itself durable** (rule R9):
/// recovery syncs what it has read before it returns. Otherwise a kill (bytes stay readable), a restart and a power loss
/// (the bytes vanish) would lose entries that the restarted node has acknowledged meanwhile.
///
/// Of the log it needs only the shape, and the newest payloads to fill the cache. The core reads the other payloads
/// back ([`Action::ReadLog`](crate::Action::ReadLog)) when it needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredState {
    /// Term and vote.
    pub hard_state: HardState,
    /// The newest snapshot whose record is in the log and whose file exists.
    pub snapshot: Option<SnapshotMeta>,
    /// The first index of each term in the log. The first index is 1, or at most one after the snapshot. The list is
    /// empty in a node that joins. A log that ends before the snapshot counts as empty.
    pub runs: Vec<(LogIndex, Term)>,
    /// The last entry; `0@0` if `runs` is empty.
    pub last: EntryId,
    /// The configurations in the log. Configurations up to the snapshot's may be missing.
    pub configurations: Vec<(LogIndex, Configuration)>,
    /// The newest entries, up to `last`, to keep in memory; may be empty.
    pub tail: Entries,
    /// The index up to which the state machine has applied; 0 if it starts empty. If it is below the snapshot, the
    /// first call emits `Restore`.
    pub applied: LogIndex,
}

/// Why a node refuses to start.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A setting is out of range.
    Config(&'static str),
    /// The log has a gap, a falling term or an entry of term 0 before this entry, or the runs and entries differ there.
    BrokenLog { at: EntryId },
    /// The log begins too late: entries after the snapshot, or after `0@0` without a snapshot, are missing.
    MissingEntries { snapshot: EntryId, first: LogIndex },
    /// The snapshot contradicts itself, or the log has another entry at its last index.
    BadSnapshot { last: EntryId },
    /// The last entry of log or snapshot has a higher term than the hard state, so the hard state is too old.
    TermAhead { last: EntryId, term: Term },
    /// A configuration is invalid (no voters, or a voter that is no member), or its index is not in the log.
    BadConfiguration { at: LogIndex },
    /// The state machine has applied more than the log and the snapshot hold.
    AppliedBeyondLog { applied: LogIndex, last: LogIndex },
    /// A term or an index is above [`MAX_NUMBER`](crate::MAX_NUMBER).
    OutOfRange,
}

impl RecoveredState {
    /// The state of a node with its whole log in memory: all entries from index 1, or after the snapshot.
    pub fn of_log(hard_state: HardState, snapshot: Option<SnapshotMeta>, entries: Entries) -> Self {
        let mut runs: Vec<(LogIndex, Term)> = Vec::new();
        let mut configurations = Vec::new();
        for Entry { id, payload } in entries.iter() {
            if runs.last().is_none_or(|&(_, term)| term != id.term) {
                runs.push((id.index, id.term));
            }
            if let Payload::Configuration(configuration) = payload {
                configurations.push((id.index, configuration.clone()));
            }
        }
        let last = entries.last_id().unwrap_or_default();
        Self { hard_state, snapshot, runs, last, configurations, tail: entries, applied: LogIndex(0) }
    }

    /// The state of a founder, once [`Write::bootstrap`] is durable.
    pub fn bootstrap(configuration: Configuration) -> Self {
        let write = Write::bootstrap(configuration);
        Self::of_log(write.hard_state.unwrap_or_default(), None, write.entries)
    }

    /// The term of the entry at `index`, if the log holds it.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let run = self.runs.partition_point(|&(first, _)| first <= index).checked_sub(1)?;
        self.runs.get(run).filter(|_| index <= self.last.index).map(|&(_, term)| term)
    }

    /// The last entry of the snapshot; `0@0` without one.
    pub(crate) fn snapshot_last(&self) -> EntryId {
        self.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default()
    }

    /// Checks that its parts agree.
    ///
    /// # Errors
    /// The first contradiction found; see [`RestoreError`].
    pub fn check(&self) -> Result<(), RestoreError> {
        self.check_log()?;
        let snapshot = self.snapshot_last();
        let is_consistent = self.snapshot.as_ref().is_none_or(SnapshotMeta::is_consistent);
        if !is_consistent || self.term_at(snapshot.index).is_some_and(|term| term != snapshot.term) {
            return Err(RestoreError::BadSnapshot { last: snapshot });
        }
        if let Some(&(first, _)) = self.runs.first()
            && first > snapshot.index.next()
        {
            return Err(RestoreError::MissingEntries { snapshot, first });
        }
        let numbers = [self.hard_state.term.0, self.last.index.0, snapshot.index.0, snapshot.term.0];
        if numbers.iter().any(|&number| number > MAX_NUMBER) {
            return Err(RestoreError::OutOfRange);
        }
        let last = self.last.max(snapshot);
        if last.term > self.hard_state.term {
            return Err(RestoreError::TermAhead { last, term: self.hard_state.term });
        }
        let last = self.last.index.max(snapshot.index);
        if self.applied > last {
            return Err(RestoreError::AppliedBeyondLog { applied: self.applied, last });
        }
        Ok(())
    }

    /// Checks that runs, last entry, configurations and tail belong to one log.
    fn check_log(&self) -> Result<(), RestoreError> {
        let mut previous: Option<(LogIndex, Term)> = None;
        for &(first, term) in &self.runs {
            let rises = previous.is_none_or(|(index, before)| first > index && term > before);
            if !rises || term == Term(0) || first == LogIndex(0) {
                return Err(RestoreError::BrokenLog { at: EntryId { term, index: first } });
            }
            previous = Some((first, term));
        }
        let ends = match previous {
            Some((first, term)) => self.last.index >= first && self.last.term == term,
            None => self.last == EntryId::ZERO,
        };
        if !ends || (!self.tail.is_empty() && self.tail.last_id() != Some(self.last)) {
            return Err(RestoreError::BrokenLog { at: self.last });
        }
        let mut place = self.tail.first_index().unwrap_or_default();
        for entry in self.tail.iter() {
            if entry.id.index != place || self.term_at(place) != Some(entry.id.term) {
                return Err(RestoreError::BrokenLog { at: entry.id });
            }
            place = place.next();
        }
        let mut bad = self
            .configurations
            .iter()
            .filter(|(index, configuration)| !configuration.is_valid() || self.term_at(*index).is_none());
        bad.next().map_or(Ok(()), |&(at, _)| Err(RestoreError::BadConfiguration { at }))
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => write!(f, "setting out of range: {problem}"),
            Self::BrokenLog { at } => write!(f, "the log is broken: {at} does not follow the entry before it"),
            Self::MissingEntries { snapshot, first } => {
                write!(f, "the log begins at {first}, but the snapshot ends at {snapshot}: entries are missing")
            }
            Self::BadSnapshot { last } => write!(f, "the snapshot of {last} contradicts itself or the log"),
            Self::TermAhead { last, term } => write!(f, "the log ends in {last} but the hard state is of term {term}"),
            Self::BadConfiguration { at } => write!(f, "the configuration in {at} has no voters or unknown ones"),
            Self::AppliedBeyondLog { applied, last } => write!(f, "applied {applied}, but the log ends at {last}"),
            Self::OutOfRange => write!(f, "a term or an index is above 2^62"),
        }
    }
}

impl core::error::Error for RestoreError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::testing::meta;
    use alloc::vec;

    fn restored(term: u64, ids: &[(u64, u64)]) -> RecoveredState {
        let entry = |&(index, term): &(u64, u64)| Entry { id: EntryId::new(index, term), payload: Payload::Noop };
        let hard_state = HardState { term: Term(term), voted_for: None };
        RecoveredState::of_log(hard_state, None, ids.iter().map(entry).collect())
    }

    #[test]
    fn legal_states_are_accepted() {
        assert_eq!(RecoveredState::default().check(), Ok(()), "a joiner: no log, no configuration");
        assert_eq!(RecoveredState::bootstrap(Configuration::of_voters([NodeId(1)])).check(), Ok(()));
        assert_eq!(restored(3, &[(1, 1), (2, 1), (3, 3)]).check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        use RestoreError::{AppliedBeyondLog, BadConfiguration, BrokenLog, MissingEntries, OutOfRange, TermAhead};
        assert_eq!(restored(3, &[(1, 1), (3, 1)]).check(), Err(BrokenLog { at: EntryId::new(3, 1) }));
        let missing = MissingEntries { snapshot: EntryId::ZERO, first: LogIndex(2) };
        assert_eq!(restored(3, &[(2, 1)]).check(), Err(missing));
        assert_eq!(restored(3, &[(1, 2), (2, 1)]).check(), Err(BrokenLog { at: EntryId::new(2, 1) }));
        assert_eq!(restored(3, &[(1, 0)]).check(), Err(BrokenLog { at: EntryId::new(1, 0) }));
        assert_eq!(restored(1, &[(1, 2)]).check(), Err(TermAhead { last: EntryId::new(1, 2), term: Term(1) }));
        assert_eq!(restored(MAX_NUMBER + 1, &[]).check(), Err(OutOfRange));
        let mut ahead = restored(1, &[(1, 1)]);
        ahead.applied = LogIndex(2);
        assert_eq!(ahead.check(), Err(AppliedBeyondLog { applied: LogIndex(2), last: LogIndex(1) }));
        let empty = RecoveredState::bootstrap(Configuration::default());
        assert_eq!(empty.check(), Err(BadConfiguration { at: LogIndex(1) }));
        let mut short = restored(3, &[(1, 1), (2, 3)]);
        short.last = EntryId::new(3, 3);
        assert_eq!(short.check(), Err(BrokenLog { at: EntryId::new(3, 3) }), "the tail ends elsewhere");
        let mut other = restored(3, &[(1, 1), (2, 3)]);
        other.runs[1].0 = LogIndex(1);
        assert_eq!(other.check(), Err(BrokenLog { at: EntryId::new(1, 3) }));
        let mut shifted = restored(3, &[(1, 1), (2, 3)]);
        shifted.runs = vec![(LogIndex(1), Term(3))];
        assert_eq!(shifted.check(), Err(BrokenLog { at: EntryId::new(1, 1) }), "runs and tail differ");
        let mut elsewhere = restored(3, &[(1, 1)]);
        elsewhere.configurations.push((LogIndex(2), Configuration::of_voters([NodeId(1)])));
        assert_eq!(elsewhere.check(), Err(BadConfiguration { at: LogIndex(2) }));
    }

    #[test]
    fn a_snapshot_and_the_log_must_meet_and_agree() {
        use RestoreError::{AppliedBeyondLog, BadSnapshot, MissingEntries, TermAhead};
        let with = |term, (index, at), ids: &[(u64, u64)]| RecoveredState {
            snapshot: Some(meta(index, at)),
            ..restored(term, ids)
        };
        assert_eq!(with(3, (4, 2), &[]).check(), Ok(()), "an empty log");
        assert_eq!(with(3, (4, 2), &[(5, 2), (6, 3)]).check(), Ok(()), "the log continues after the snapshot");
        assert_eq!(with(3, (4, 2), &[(3, 1), (4, 2), (5, 2)]).check(), Ok(()), "trailing entries");
        assert_eq!(with(3, (4, 2), &[(2, 1), (3, 1)]).check(), Ok(()), "the log ends before the snapshot");
        let missing = MissingEntries { snapshot: EntryId::new(4, 2), first: LogIndex(6) };
        assert_eq!(with(3, (4, 2), &[(6, 2)]).check(), Err(missing));
        let bad = Err(BadSnapshot { last: EntryId::new(4, 2) });
        assert_eq!(with(3, (4, 2), &[(4, 1)]).check(), bad, "another entry at its index");
        let mut early = with(3, (4, 2), &[]);
        early.snapshot = early.snapshot.map(|meta| SnapshotMeta { configured_at: EntryId::new(5, 2), ..meta });
        assert_eq!(early.check(), bad, "its configuration comes after it");
        let ahead = TermAhead { last: EntryId::new(4, 2), term: Term(1) };
        assert_eq!(with(1, (4, 2), &[]).check(), Err(ahead));
        let mut applied = with(3, (4, 2), &[]);
        applied.applied = LogIndex(4);
        assert_eq!(applied.check(), Ok(()));
        applied.applied = LogIndex(5);
        assert_eq!(applied.check(), Err(AppliedBeyondLog { applied: LogIndex(5), last: LogIndex(4) }));
    }
}
