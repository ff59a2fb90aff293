//! Commands, queries and their answers as values; `codec` encodes them.

#![allow(missing_docs)]

use bytes::Bytes;
use std::fmt;

/// The most keys in one answer.
pub const MAX_RANGE_KEYS: u64 = 10_000;
/// The most bytes of keys and values in one answer, beyond the first key.
pub const MAX_RANGE_BYTES: u64 = 4 << 20;
/// The most compares, and the most operations in each list, of a transaction.
pub const MAX_TXN_OPS: usize = 128;
/// The most bytes of keys and values that a transaction reads: its session stores the answer.
pub const MAX_TXN_ANSWER_BYTES: u64 = 1 << 20;

/// A change to the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set a key that lives for `ttl_ms` milliseconds; 0 means until it is removed. The leader counts from the
    /// application of the command; a new leader restarts the count, so a key can expire late but never early.
    Put { key: Bytes, value: Bytes, ttl_ms: u64 },
    /// Remove a key.
    Delete { key: Bytes },
    /// Compare and swap: set a key if it has the expected value; `None` expects it to be absent.
    Cas { key: Bytes, expected: Option<Bytes>, value: Bytes },
    /// Compare several keys, then read and change several.
    Txn(Txn),
    /// Remove the keys among these that have a time to live and were last set at the given revision. The leader
    /// proposes it; from a client it is an ordinary deletion.
    Expire { keys: Vec<(Bytes, u64)> },
}

/// The answer to a [`Command`]. `revision` is the map's revision after the command; `actual` is the value that a swap
/// found, `None` if the key was absent; `succeeded` says whether all compares held, so that `success` was executed;
/// `results` has one item for each operation of the executed list; `removed` is the number of keys. A command that was
/// refused or could not be decoded changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Put { revision: u64 },
    Delete { revision: u64, existed: bool },
    Cas { swapped: bool, revision: u64, actual: Option<Bytes> },
    Txn { succeeded: bool, revision: u64, results: Vec<TxnResult> },
    Expire { revision: u64, removed: u64 },
    Refused(Refusal),
    Malformed,
}

/// The reason why a transaction is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More compares or operations than [`MAX_TXN_OPS`].
    TooMany,
    /// A list changes a key twice.
    DuplicateKey,
    /// It reads more than [`MAX_TXN_ANSWER_BYTES`].
    AnswerTooLarge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => {
                write!(f, "a transaction has at most {MAX_TXN_OPS} compares and {MAX_TXN_OPS} operations in each list")
            }
            Self::DuplicateKey => f.write_str("a list of a transaction changes each key at most once"),
            Self::AnswerTooLarge => write!(f, "a transaction reads at most {MAX_TXN_ANSWER_BYTES} bytes"),
        }
    }
}

/// A query of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A key's value.
    Get { key: Bytes },
    /// The keys of a range and their values, by key: at most `limit` keys, and at most `max_bytes` bytes of keys and values beyond
    /// the first key. 0, or a larger number, means [`MAX_RANGE_KEYS`] or [`MAX_RANGE_BYTES`].
    Range { range: KeyRange, limit: u64, max_bytes: u64 },
    /// The changes of a range from a revision on. Only watches may use it.
    Watch(Watch),
}

/// The answer to a [`Query`]. `revision` is the map's revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value and the revision of the key's last change; `None` and 0 if the key is absent.
    Got { value: Option<Bytes>, modified_revision: u64, revision: u64 },
    /// The entries by key, and whether the range has more keys after these.
    Ranged { entries: Vec<KeyValue>, more: bool, revision: u64 },
    /// All changes of a range in some revisions, by revision; empty if the answer only says that the watch has begun.
    /// Every change up to `through` has been sent; the watch continues after it.
    Changes { events: Vec<Event>, through: u64 },
    /// The map no longer remembers the requested changes; `oldest` is the first revision whose changes it remembers.
    Compacted { oldest: u64, revision: u64 },
    /// The query could not be decoded, or is a watch that is not allowed here.
    Malformed,
}

/// A value with its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub data: Bytes,
    /// The map's revision when the key was last created.
    pub created_revision: u64,
    /// The map's revision when the key was last set.
    pub modified_revision: u64,
    /// The number of times the key was set since its creation, from 1.
    pub version: u64,
    /// The time to live of the key in milliseconds; 0 means until it is removed.
    pub ttl_ms: u64,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Value,
}

/// The keys from `start` up to, but excluding, `end`. The default is all keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Bytes,
    /// `None` means that the range has no end.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// The range of one key.
    pub fn key(key: &[u8]) -> Self {
        let end = key.iter().copied().chain([0]).collect();
        Self { start: Bytes::copy_from_slice(key), end: Some(end) }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(prefix), end: end_of_prefix(prefix) }
    }

    /// A prefix of all keys of the range: the longest one if the range is one key or all keys with a prefix.
    #[cfg(feature = "map")]
    pub(crate) fn common_prefix(&self) -> Bytes {
        let end_of_start = end_of_prefix(&self.start);
        match &self.end {
            None if end_of_start.is_some() => Bytes::new(),
            Some(end) if end_of_start.as_ref().is_some_and(|end_of_start| end_of_start < end) => {
                let common = self.start.iter().zip(end).take_while(|(start, end)| start == end).count();
                self.start.slice(..common)
            }
            None | Some(_) => self.start.clone(),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }
}

/// The first key after all keys that begin with `prefix`: the prefix with its last byte incremented. A last byte of 255 is dropped
/// first; if no byte is left, there is no such key.
fn end_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    Some(prefix[..last].iter().copied().chain([prefix[last] + 1]).collect())
}

/// A query for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub range: KeyRange,
    /// The first revision; 0 means the next one that the node applies.
    pub from: u64,
    /// Whether the client knows that the watch has begun.
    pub begun: bool,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: Bytes,
    /// The map's revision with this change.
    pub revision: u64,
    /// The revision that had set the key before; 0 if the key was absent.
    pub previous_revision: u64,
    pub kind: EventKind,
}

/// A kind of change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put(Value),
    Delete,
    /// The key was removed because its time to live ended.
    Expire,
}

/// A transaction: it executes `success` if all compares hold, and `failure` if not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<TxnOp>,
    pub failure: Vec<TxnOp>,
}

/// A condition on a key: the actual value has this relation to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub key: Bytes,
    pub relation: Relation,
    pub target: Target,
}

impl Compare {
    /// Holds if the key is absent.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), relation: Relation::Equal, target: Target::Version(0) }
    }

    /// Holds if the key is present.
    pub fn present(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), relation: Relation::Greater, target: Target::Version(0) }
    }
}

/// The relation of the actual value to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    Greater,
}

/// The attribute of a key to compare, with the target value. The numbers of an absent key are 0; its value satisfies no
/// relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value, byte by byte.
    Value(Bytes),
    /// See [`Value::version`].
    Version(u64),
    /// See [`Value::created_revision`].
    Created(u64),
    /// See [`Value::modified_revision`].
    Modified(u64),
}

/// An operation of a transaction. It sees the effects of the operations before it. [`Command::Put`] explains `ttl_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    Put { key: Bytes, value: Bytes, ttl_ms: u64 },
    Delete { key: Bytes },
    Get { key: Bytes },
}

/// The result of a [`TxnOp`]. An absent key gives `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnResult {
    Put,
    Delete { existed: bool },
    Got(Option<KeyValue>),
}
