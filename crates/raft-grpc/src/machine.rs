//! A state machine whose copies are dropped on a thread of their own.
//!
//! A copy for a snapshot shares its structure with the state, so its drop frees all that has changed since. *Without the thread:* the
//! node waits for that at the end of each snapshot of a large map.

use bytes::Bytes;
use raft_core::EntryId;
use raft_node::{ChangedKeys, SnapshotError, SnapshotSource, StateMachine, Timer, TimerName, Watched};

/// A state machine with such copies.
#[derive(Debug)]
pub(crate) struct Machine<S>(pub(crate) S);

/// A copy of the state; none once it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct StateCopy<C: SnapshotSource>(Option<C>);

impl<C: SnapshotSource> SnapshotSource for StateCopy<C> {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        self.0.as_mut()?.next_chunk(max_bytes)
    }
}

impl<C: SnapshotSource> Drop for StateCopy<C> {
    fn drop(&mut self) {
        let state = self.0.take();
        // Without a thread it is dropped here.
        drop(std::thread::Builder::new().name("drop".to_owned()).spawn(move || drop(state)));
    }
}

impl<S: StateMachine> StateMachine for Machine<S> {
    type Snapshot = StateCopy<S::Snapshot>;

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Bytes {
        self.0.apply(entry, command)
    }

    fn query(&self, query: &Bytes) -> Bytes {
        self.0.query(query)
    }

    fn watch(&self, query: &Bytes, seen: u64) -> Watched {
        self.0.watch(query, seen)
    }

    fn changed_keys(&self, after: u64) -> ChangedKeys {
        self.0.changed_keys(after)
    }

    fn timers(&self, after: u64) -> Vec<Timer> {
        self.0.timers(after)
    }

    fn timed_out(&self, due: &[TimerName]) -> Option<Bytes> {
        self.0.timed_out(due)
    }

    fn state_hash(&self) -> u128 {
        self.0.state_hash()
    }

    fn snapshot(&self) -> Self::Snapshot {
        StateCopy(Some(self.0.snapshot()))
    }

    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError> {
        self.0.restore(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    #[derive(Clone, Debug)]
    struct Slow(Sender<thread::ThreadId>);

    impl SnapshotSource for Slow {
        fn next_chunk(&mut self, _: usize) -> Option<Bytes> {
            Some(Bytes::from_static(b"c"))
        }
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).expect("the test waits");
        }
    }

    #[test]
    fn a_copy_is_dropped_on_another_thread() {
        let (dropped, wait) = channel();
        let mut copy = StateCopy(Some(Slow(dropped)));
        assert_eq!(copy.next_chunk(1), Some(Bytes::from_static(b"c")));
        drop(copy);
        assert_ne!(wait.recv().expect("it is dropped"), thread::current().id());
    }
}
