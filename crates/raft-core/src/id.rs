//! Identifiers, each with a separate type. They print in a short form, because people read traces: an entry is `7@3`,
//! index at term.
//!
//! This file must not know what the identifiers are used for.

use core::fmt;

/// The core refuses terms, indices and sequence numbers above this from peers, so it can add one to any accepted number
/// without overflow.
pub const MAX_NUMBER: u64 = 1 << 62;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one. It stops at `u64::MAX`, which no accepted number reaches ([`MAX_NUMBER`]).
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number before this one, or 0.
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A node of the cluster. An id is never reused for a node whose disk is gone.
    NodeId, "n"
);
number!(
    /// A term (Raft §5.1). Term 0 is before the first election.
    Term, ""
);
number!(
    /// A position in the log, from 1; 0 is the position before the log.
    LogIndex, ""
);
number!(
    /// A request of the host, chosen by the host and opaque to the core.
    RequestId, "r"
);
number!(
    /// A log read ([`Action::ReadLog`](crate::Action::ReadLog)); counted from 1 after every start.
    ReadId, "l"
);
number!(
    /// A write ([`Write`](crate::Write)); counted from 1 after every start.
    WriteId, "w"
);
number!(
    /// The number of an append within its leader's term, over all peers.
    Seq, "s"
);
number!(
    /// A round of pre-votes, counted from 1 after every start.
    Round, "p"
);

/// The identity of an entry: two logs that hold the same `EntryId` hold the same prefix (Raft §5.3, Log Matching).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EntryId {
    /// The term of the leader that created the entry. This field is first, so that ids order as Raft §5.4.1 compares
    /// logs.
    pub term: Term,
    /// The entry's position in the log.
    pub index: LogIndex,
}

impl EntryId {
    /// The position before the first entry: `0@0`.
    pub const ZERO: Self = Self { term: Term(0), index: LogIndex(0) };

    /// The id `index@term`.
    pub const fn new(index: u64, term: u64) -> Self {
        Self { term: Term(term), index: LogIndex(index) }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn ids_print_short_and_order_as_logs_compare() {
        assert_eq!(format!("{} {}", NodeId(2), EntryId::new(7, 3)), "n2 7@3");
        assert!(EntryId::new(1, 3) > EntryId::new(9, 2), "a later term wins over a longer log (Raft §5.4.1)");
        assert!(EntryId::new(9, 3) > EntryId::new(8, 3), "in the same term the longer log wins (Raft §5.4.1)");
        assert_eq!(Term(u64::MAX).next(), Term(u64::MAX));
        assert_eq!(LogIndex(0).previous(), LogIndex(0));
    }
}
