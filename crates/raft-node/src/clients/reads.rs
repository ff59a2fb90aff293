//! Linearizable reads in progress: the core confirms leadership and names an index, then the node must apply up to it
//! (ReadIndex, Thesis §6.4).
//!
//! This file must not know how the core confirms leadership, nor the meaning of a query.

use bytes::Bytes;
use raft_core::{LogIndex, RequestId};
use std::collections::BTreeMap;

/// What waits for a state that is recent enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The response to this query.
    Query(Bytes),
    /// The beginning of a backup.
    Backup,
}

/// The reads without a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    unconfirmed: BTreeMap<RequestId, Read>,
    confirmed: BTreeMap<(LogIndex, RequestId), Read>,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.unconfirmed.len() + self.confirmed.len()
    }

    /// A new read, before the core confirms it.
    pub(crate) fn insert(&mut self, id: RequestId, read: Read) {
        self.unconfirmed.insert(id, read);
    }

    /// The core has confirmed the read at `index`. An unknown read changes nothing.
    pub(crate) fn on_ready(&mut self, id: RequestId, index: LogIndex) {
        if let Some(read) = self.unconfirmed.remove(&id) {
            self.confirmed.insert((index, id), read);
        }
    }

    /// The core has rejected this request. Returns true if it was an unconfirmed read.
    pub(crate) fn on_failed(&mut self, id: RequestId) -> bool {
        self.unconfirmed.remove(&id).is_some()
    }

    /// The next read that the state after `applied` can answer.
    pub(crate) fn next(&mut self, applied: LogIndex) -> Option<(RequestId, Read)> {
        let first = self.confirmed.first_entry().filter(|first| first.key().0 <= applied)?;
        let ((_, id), read) = first.remove_entry();
        Some((id, read))
    }

    /// The client of this backup is gone.
    pub(crate) fn cancel_backup(&mut self, id: RequestId) {
        let stays = |at: RequestId, read: &Read| at != id || *read != Read::Backup;
        self.unconfirmed.retain(|at, read| stays(*at, read));
        self.confirmed.retain(|(_, at), read| stays(*at, read));
    }

    /// Removes all reads: the replica has stopped.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        let confirmed = std::mem::take(&mut self.confirmed).into_keys().map(|(_, id)| id);
        std::mem::take(&mut self.unconfirmed).into_keys().chain(confirmed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_for_confirmation_then_for_its_index_and_ends_once() {
        let mut reads = Reads::default();
        for id in 1..=5 {
            reads.insert(RequestId(id), Read::Query(Bytes::new()));
        }
        let next = |reads: &mut Reads, applied| reads.next(LogIndex(applied)).map(|(id, _)| id.0);
        assert_eq!(next(&mut reads, 9), None, "not confirmed");
        reads.on_ready(RequestId(2), LogIndex(5));
        reads.on_ready(RequestId(1), LogIndex(4));
        assert_eq!([3, 4, 4, 5].map(|applied| next(&mut reads, applied)), [None, Some(1), None, Some(2)]);
        reads.on_ready(RequestId(2), LogIndex(5));
        assert_eq!(next(&mut reads, 9), None, "one reply");
        assert!(reads.on_failed(RequestId(3)) && !reads.on_failed(RequestId(3)), "one rejection");
        reads.on_ready(RequestId(3), LogIndex(1));
        reads.on_ready(RequestId(5), LogIndex(7));
        assert_eq!(next(&mut reads, 1), None);
        assert_eq!(reads.take_all(), [RequestId(4), RequestId(5)]);
        assert_eq!(reads, Reads::default());
    }
}
