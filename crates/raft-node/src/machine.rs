//! The state machine: the one trait a user implements.

use crate::snapshot::SnapshotError;
use bytes::Bytes;
use raft_core::EntryId;

/// A deterministic state machine (Raft §2): the same commands in the same order give the same state and the same
/// answers on every node. No clock, no entropy, no hash-map order.
pub trait StateMachine {
    /// Applies a committed command and returns the answer for the client. Must accept any bytes: what it cannot read it
    /// answers with an error of its own and changes nothing. The entry's id is the same on every node.
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Bytes;

    /// Answers a question about the present state. Must accept any bytes.
    fn query(&self, query: &Bytes) -> Bytes;

    /// A hash of the whole state, equal on all nodes that applied the same entries.
    fn state_hash(&self) -> u128;

    /// The whole state as bytes (Raft §7). Equal states give equal bytes.
    fn snapshot(&self) -> Bytes;

    /// Takes over the state in these bytes: what [`snapshot`](Self::snapshot) gave here or on another node. Everything that
    /// was there before is gone.
    ///
    /// # Errors
    /// [`SnapshotError::Malformed`], if they are something else: any bytes may come. Then nothing has changed.
    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError>;
}
