//! The state machine: the one trait a user implements, and what its parts are made of.

use crate::snapshots::content::SnapshotError;
use bytes::Bytes;
use raft_core::EntryId;
use std::fmt;
use std::time::Duration;

/// A deterministic state machine (Raft §2): the same commands in the same order give the same state and the same
/// answers on every node. No clock, no entropy, no hash-map order.
pub trait StateMachine {
    /// What [`snapshot`](Self::snapshot) gives; plain [`Bytes`] will do for a small state.
    type Snapshot: SnapshotSource;

    /// Applies a committed command and returns the answer for the client. Must accept any bytes: what it cannot read it
    /// answers with an error of its own and changes nothing. The entry's id is the same on every node.
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Bytes;

    /// Answers a question about the present state. Must accept any bytes.
    fn query(&self, query: &Bytes) -> Bytes;

    /// Answers a question that may have to wait: [`Watched::Later`] is asked again once more has been applied. Must accept
    /// any bytes. Unless a state machine says otherwise, no question waits.
    fn watch(&self, query: &Bytes) -> Watched {
        Watched::Now { response: self.query(query), next: None }
    }

    /// What is to happen by itself, and after what time: all timers with numbers above `after`, in the order of the numbers.
    /// Timers are part of the state, the time is not: the leader counts it, from the call on in which it has applied what set
    /// the timer or has come to lead. So a timer never ends early, and a change of the leader gives it the whole time again.
    fn timers(&self, after: u64) -> Vec<Timer> {
        let _ = after;
        Vec::new()
    }

    /// The command that carries out these timers, whose time is up; none: none of them is meant any more. It may be applied
    /// late, twice, or after the state has changed, and must do no harm then.
    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        let _ = due;
        None
    }

    /// A hash of the whole state, equal on all nodes that applied the same entries.
    fn state_hash(&self) -> u128;

    /// The whole state as of now (Raft §7), to be made into bytes later: **this must cost little however large the state
    /// is**, because nothing is applied meanwhile. Equal states give equal bytes.
    fn snapshot(&self) -> Self::Snapshot;

    /// Takes over the state in these bytes: what [`snapshot`](Self::snapshot) gave here or on another node. Everything that
    /// was there before is gone.
    ///
    /// # Errors
    /// [`SnapshotError::Malformed`], if they are something else: any bytes may come. Then nothing has changed.
    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError>;
}

/// A state on its way to bytes, piece by piece. What is applied after it was taken is not in it.
pub trait SnapshotSource: Clone + fmt::Debug + Send + 'static {
    /// The next bytes, at least one and at most `max_bytes` (0 counts as 1); none: that was all. However they are cut, the
    /// bytes are the same.
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes>;
}

impl SnapshotSource for Bytes {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        let length = self.len().min(max_bytes.max(1));
        (length > 0).then(|| self.split_to(length))
    }
}

/// What a state machine says to a question that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Nothing yet.
    Later(
        /// What to ask instead, once more has been applied.
        Bytes,
    ),
    /// This.
    Now {
        /// The answer.
        response: Bytes,
        /// What to ask next, of this node or any other, to go on without a gap; none: the watch is over.
        next: Option<Bytes>,
    },
}

/// Something that is to happen by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What.
    pub name: TimerName,
    /// After what time, on the leader's clock.
    pub after: Duration,
}

/// The name of a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerName {
    /// Its number: what is set later has a higher one, or the same if one command sets both.
    pub number: u64,
    /// What tells it from others of the same number.
    pub name: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_source_of_themselves() {
        let mut source = Bytes::from_static(b"abcde");
        let mut chunk = |max| source.next_chunk(max).map(|chunk| chunk.to_vec());
        assert_eq!([chunk(2), chunk(0)], [Some(b"ab".to_vec()), Some(b"c".to_vec())]);
        assert_eq!([chunk(9), chunk(9)], [Some(b"de".to_vec()), None]);
    }
}
