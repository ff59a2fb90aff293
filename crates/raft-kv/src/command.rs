//! Commands, queries and their answers, as values. How they look as bytes is `codec`'s business.

pub use crate::range::{KeyRange, KeyValue, MAX_RANGE_BYTES, MAX_RANGE_KEYS};
pub use crate::txn::{Compare, MAX_TXN_ANSWER_BYTES, MAX_TXN_OPS, Relation, Target, Txn, TxnOp, TxnResult};
pub use crate::watch::Watch;
pub use crate::window::{Event, EventKind};
use bytes::Bytes;

/// A change to the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// How long it lives, in milliseconds; 0: until it is removed. The time begins when the leader applies this, and anew
        /// with every next leader: never shorter, perhaps longer.
        ttl_ms: u64,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Compare and swap: set a key if it has the expected value.
    Cas {
        /// The key.
        key: Bytes,
        /// The expected value; none: the key must not be there.
        expected: Option<Bytes>,
        /// The value to set.
        value: Bytes,
    },
    /// Compare several keys, then read and change several.
    Txn(Txn),
    /// Remove the keys that have a time to live and were last set at these revisions. The leader's word; from a client it is
    /// a deletion like any other.
    Expire {
        /// The keys, and the revisions that set them.
        keys: Vec<(Bytes, u64)>,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The key is set.
    Put {
        /// The map's revision after it.
        revision: u64,
    },
    /// The key is not there any more.
    Delete {
        /// The map's revision after it.
        revision: u64,
        /// Whether it was there.
        existed: bool,
    },
    /// The values were compared.
    Cas {
        /// Whether the key had the expected value and was set.
        swapped: bool,
        /// The map's revision after it.
        revision: u64,
        /// The value found; none: the key was not there.
        actual: Option<Bytes>,
    },
    /// One of the lists was carried out.
    Txn {
        /// Whether all compares held, so that it was `success`.
        succeeded: bool,
        /// The map's revision after it.
        revision: u64,
        /// What came of each operation, in order.
        results: Vec<TxnResult>,
    },
    /// Keys whose time was up are removed.
    Expire {
        /// The map's revision after it.
        revision: u64,
        /// How many.
        removed: u64,
    },
    /// The command is refused; nothing changed.
    Refused(Refusal),
    /// The command could not be read; nothing changed.
    Malformed,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More compares or operations than [`MAX_TXN_OPS`].
    TooMany,
    /// A list changes a key twice.
    DuplicateKey,
    /// It reads more than [`MAX_TXN_ANSWER_BYTES`].
    AnswerTooLarge,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => write!(f, "a transaction has at most {MAX_TXN_OPS} compares, and operations in each list"),
            Self::DuplicateKey => f.write_str("a list of a transaction changes each key once at most"),
            Self::AnswerTooLarge => write!(f, "a transaction reads at most {MAX_TXN_ANSWER_BYTES} bytes"),
        }
    }
}

/// A question about the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// The keys of a range and their values, in the order of the keys.
    Range {
        /// The range.
        range: KeyRange,
        /// The most keys; 0, or more than [`MAX_RANGE_KEYS`]: that many.
        limit: u64,
        /// The most bytes of keys and values beyond the first key; 0, or more than [`MAX_RANGE_BYTES`]: that many.
        max_bytes: u64,
    },
    /// The changes of a range from a revision on. Only for watches.
    Watch(Watch),
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value of a key.
    Got {
        /// The value; none: the key is not there.
        value: Option<Bytes>,
        /// The revision of the key's last change; 0 if it is not there.
        modified_revision: u64,
        /// The map's revision.
        revision: u64,
    },
    /// The keys of a range and their values.
    Ranged {
        /// Ascending by key.
        entries: Vec<KeyValue>,
        /// Whether the range holds more keys behind these.
        more: bool,
        /// The map's revision.
        revision: u64,
    },
    /// All changes of a range in some revisions.
    Changes {
        /// In the order in which they happened; none, if this only says that the watch has begun.
        events: Vec<Event>,
        /// Everything up to this revision has been said; the watch goes on behind it.
        through: u64,
    },
    /// The changes that were asked for are not remembered any more.
    Compacted {
        /// The first revision whose changes are remembered.
        oldest: u64,
        /// The map's revision.
        revision: u64,
    },
    /// The query could not be read, or is one for a watch where none is meant.
    Malformed,
}
