//! The state machine: the trait that a user implements, and its data types.

use bytes::Bytes;
use raft_core::EntryId;
use std::fmt;
use std::time::Duration;

/// A deterministic state machine (Raft §2): the same commands in the same order give the same state and the same
/// responses on every node. It must not depend on clocks, entropy or hash-map order.
pub trait StateMachine {
    /// The type that [`snapshot`](Self::snapshot) returns; [`Bytes`] suffices for a small state.
    type Snapshot: SnapshotSource;

    /// Applies a committed command and returns the response for the client. It accepts any bytes: an unreadable command
    /// gets a response that says so, and changes nothing. The entry's id is the same on every node.
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Bytes;

    /// Answers a query from the current state. It accepts any bytes.
    fn query(&self, query: &Bytes) -> Bytes;

    /// Answers a query that may wait: the node repeats a [`Watched::Later`] after one of its keys has changed. The query
    /// has had no response up to change number `seen`; 0 for a new query. It accepts any bytes. By default no query waits.
    fn watch(&self, query: &Bytes, seen: u64) -> Watched {
        let _ = seen;
        Watched::Now { response: self.query(query), next: None }
    }

    /// The keys that changed after change number `after`. The numbers ascend, and are part of the state. By default any
    /// key may have changed.
    fn changed_keys(&self, after: u64) -> ChangedKeys {
        let _ = after;
        ChangedKeys { through: 0, keys: None }
    }

    /// All timers with numbers above `after`, in the order of the numbers. Timers are part of the state, the elapsed time is
    /// not. A leader counts it from the call in which it applied the command that set the timer, or from the call in
    /// which it became leader. So a timer never fires early, and a new leader starts it again.
    fn timers(&self, after: u64) -> Vec<Timer> {
        let _ = after;
        Vec::new()
    }

    /// The command for these expired timers; `None` if none of them is still set. The node may apply it late, twice, or
    /// after the state has changed. It must then do no harm.
    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        let _ = due;
        None
    }

    /// A hash of the whole state, equal on all nodes that applied the same entries.
    fn state_hash(&self) -> u128;

    /// The whole current state (Raft §7), to be encoded later. **This must be cheap however large the state is**,
    /// because the node applies nothing meanwhile. Equal states give equal bytes.
    fn snapshot(&self) -> Self::Snapshot;

    /// Replaces the state by one that [`snapshot`](Self::snapshot) returned, here or on another node.
    ///
    /// # Errors
    /// [`SnapshotError`], if the bytes are not a snapshot: the node may pass any bytes. Then the state is unchanged.
    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError>;
}

/// A state that is encoded chunk by chunk. It does not contain commands that were applied later.
pub trait SnapshotSource: Clone + fmt::Debug + Send + 'static {
    /// The next 1 to `max_bytes` bytes (0 counts as 1); `None` at the end. The chunk size does not change the bytes.
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes>;
}

impl SnapshotSource for Bytes {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        let length = self.len().min(max_bytes.max(1));
        (length > 0).then(|| self.split_to(length))
    }
}

/// Why a node cannot use a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs)]
pub enum SnapshotError {
    /// The bytes are not a snapshot.
    #[error("snapshot is malformed: {0}")]
    Malformed(String),
    /// Another version wrote the snapshot, or a part of it.
    #[error("snapshot has format {found}, which this version cannot read: use the version that wrote it")]
    UnknownFormat { found: u32 },
    /// The snapshot covers up to another last entry.
    #[error("expected a snapshot at {expected}, found one at {found}")]
    OtherEntry { expected: EntryId, found: EntryId },
}

impl SnapshotError {
    pub(crate) fn malformed(problem: &str) -> Self {
        Self::Malformed(problem.to_owned())
    }
}

/// A state machine's answer to a query that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Watched {
    /// There is no response before a key with this prefix changes: then ask this query. Equal queries get one response.
    Later { prefix: Bytes, query: Bytes },
    /// The response, and the next query, for this node or any other, that continues without a gap; `None` ends the
    /// watch.
    Now { response: Bytes, next: Option<Bytes> },
}

/// The keys that some changes have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedKeys {
    /// The number of the newest change; 0: none.
    pub through: u64,
    /// `None` if the state machine no longer knows them.
    pub keys: Option<Vec<Bytes>>,
}

/// A timer that the state machine has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The name of the timer.
    pub name: TimerName,
    /// The time until it fires, on the leader's clock.
    pub after: Duration,
}

/// The name of a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerName {
    /// Timers of later commands have higher numbers; those of one command may share a number.
    pub number: u64,
    /// Distinguishes timers with the same number.
    pub name: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_snapshot_source() {
        let mut source = Bytes::from_static(b"abcde");
        let mut chunk = |max| source.next_chunk(max).map(|chunk| chunk.to_vec());
        assert_eq!([chunk(2), chunk(0)], [Some(b"ab".to_vec()), Some(b"c".to_vec())]);
        assert_eq!([chunk(9), chunk(9)], [Some(b"de".to_vec()), None]);
    }
}
