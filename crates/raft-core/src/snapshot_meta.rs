//! The metadata of a snapshot, and the record by which it takes effect (Raft §7). Pure data: this file must not know logs or roles.

use crate::canonical::canonical;
use crate::id::{EntryId, LogIndex, MAX_NUMBER, Term};
use crate::membership::Configuration;
use core::fmt;

/// The metadata of a snapshot of the state after `last`.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub last: EntryId,
    /// The newest configuration up to `last`: both halves of a joint one, learners and contexts.
    pub configuration: Configuration,
    /// The entry that carries this configuration.
    pub configured_at: EntryId,
}

/// The effect of a snapshot on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum InstallMode {
    /// The log stays, because it holds the last entry that the snapshot covers.
    Keep,
    /// The log is discarded and continues after the snapshot, because it may differ from the covered entries.
    Discard,
}

/// The record by which a snapshot takes effect.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotRecord {
    pub meta: SnapshotMeta,
    pub log: InstallMode,
}

impl SnapshotMeta {
    /// Whether a leader of `term` can have sent this snapshot.
    pub fn is_well_formed(&self, term: Term) -> bool {
        let numbers = [self.last.index.0, self.last.term.0, self.configured_at.index.0];
        self.is_consistent()
            && term.0 <= MAX_NUMBER
            && self.last.term <= term
            && numbers.iter().all(|&n| n <= MAX_NUMBER)
    }

    /// Whether its parts agree with each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let (last, at) = (self.last, self.configured_at);
        at.index > LogIndex(0)
            && at.index <= last.index
            && at.term > Term(0)
            && at.term <= last.term
            && self.configuration.is_valid()
    }
}

impl fmt::Display for SnapshotMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot {} with {} of {}", self.last, self.configuration, self.configured_at)
    }
}

canonical!(SnapshotMeta { last, configuration, configured_at });
canonical!(SnapshotRecord { meta, log });
canonical!(hash of InstallMode);
