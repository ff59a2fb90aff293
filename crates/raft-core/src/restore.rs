//! What a node brings back from its disk, and what makes it refuse to start.

use crate::action::{HardState, Write};
use crate::configuration::Configuration;
use crate::entry::{Entries, Payload};
use crate::id::{EntryId, LogIndex, MAX_NUMBER, Term};
use core::fmt;

/// The state after some prefix of the writes this node once asked for, containing every reported one, **and itself
/// durable**: recovery syncs what it read before it hands it over. Otherwise a kill (bytes stay readable), a restart
/// and a power loss (they vanish) would take back what the restarted node has meanwhile acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log, from index 1. Empty in a node that joins.
    pub entries: Entries,
    /// The index up to which the state machine has applied; 0 if it starts empty.
    pub applied: LogIndex,
}

/// Why a node refuses to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A setting is out of range.
    Config(&'static str),
    /// The log has a gap, a falling term or an entry of term 0 before this place.
    BrokenLog {
        /// The first entry that does not follow the one before it.
        at: EntryId,
    },
    /// An entry's term is above the hard state's: the hard state is older than the log.
    TermAhead {
        /// The log's last entry.
        last: EntryId,
        /// The hard state's term.
        term: Term,
    },
    /// A configuration in the log cannot be in force (no voters, or a voter that is no member).
    BadConfiguration {
        /// The entry that carries it.
        at: EntryId,
    },
    /// The state machine claims to have applied what the log does not hold.
    AppliedBeyondLog {
        /// The state machine's claim.
        applied: LogIndex,
        /// The log's last index.
        last: LogIndex,
    },
    /// A term or an index is above [`MAX_NUMBER`](crate::MAX_NUMBER).
    OutOfRange,
}

impl Restored {
    /// What a founder starts from, once [`Write::bootstrap`] is durable.
    pub fn bootstrap(configuration: Configuration) -> Self {
        let write = Write::bootstrap(configuration);
        let hard_state = write.hard_state.unwrap_or_default();
        Self { hard_state, entries: write.entries, applied: LogIndex(0) }
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// The first contradiction found; see [`RestoreError`].
    pub fn check(&self) -> Result<(), RestoreError> {
        let mut previous = EntryId::ZERO;
        for entry in self.entries.iter() {
            let follows = entry.id.index == previous.index.next() && entry.id.term >= previous.term;
            if !follows || entry.id.term == Term(0) {
                return Err(RestoreError::BrokenLog { at: entry.id });
            }
            if matches!(&entry.payload, Payload::Configuration(configuration) if !configuration.is_valid()) {
                return Err(RestoreError::BadConfiguration { at: entry.id });
            }
            previous = entry.id;
        }
        if self.hard_state.term.0 > MAX_NUMBER {
            return Err(RestoreError::OutOfRange);
        }
        if previous.term > self.hard_state.term {
            return Err(RestoreError::TermAhead { last: previous, term: self.hard_state.term });
        }
        if self.applied > previous.index {
            return Err(RestoreError::AppliedBeyondLog { applied: self.applied, last: previous.index });
        }
        Ok(())
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => write!(f, "the configuration is out of range: {problem}"),
            Self::BrokenLog { at } => write!(f, "the log is broken: {at} does not follow the entry before it"),
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
    use crate::entry::Entry;
    use crate::id::NodeId;

    fn restored(term: u64, ids: &[(u64, u64)]) -> Restored {
        let entry = |&(index, term): &(u64, u64)| Entry { id: EntryId::new(index, term), payload: Payload::Noop };
        Restored {
            hard_state: HardState { term: Term(term), voted_for: None },
            entries: ids.iter().map(entry).collect(),
            applied: LogIndex(0),
        }
    }

    #[test]
    fn legal_states_are_accepted() {
        assert_eq!(Restored::default().check(), Ok(()), "a joiner: no log, no configuration");
        assert_eq!(Restored::bootstrap(Configuration::of_voters([NodeId(1)])).check(), Ok(()));
        assert_eq!(restored(3, &[(1, 1), (2, 1), (3, 3)]).check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        use RestoreError::{AppliedBeyondLog, BadConfiguration, BrokenLog, OutOfRange, TermAhead};
        assert_eq!(restored(3, &[(1, 1), (3, 1)]).check(), Err(BrokenLog { at: EntryId::new(3, 1) }));
        assert_eq!(restored(3, &[(2, 1)]).check(), Err(BrokenLog { at: EntryId::new(2, 1) }));
        assert_eq!(restored(3, &[(1, 2), (2, 1)]).check(), Err(BrokenLog { at: EntryId::new(2, 1) }));
        assert_eq!(restored(3, &[(1, 0)]).check(), Err(BrokenLog { at: EntryId::new(1, 0) }));
        assert_eq!(restored(1, &[(1, 2)]).check(), Err(TermAhead { last: EntryId::new(1, 2), term: Term(1) }));
        assert_eq!(restored(MAX_NUMBER + 1, &[]).check(), Err(OutOfRange));
        let mut ahead = restored(1, &[(1, 1)]);
        ahead.applied = LogIndex(2);
        assert_eq!(ahead.check(), Err(AppliedBeyondLog { applied: LogIndex(2), last: LogIndex(1) }));
        let empty = Restored::bootstrap(Configuration::default());
        assert_eq!(empty.check(), Err(BadConfiguration { at: EntryId::new(1, 1) }));
    }
}
