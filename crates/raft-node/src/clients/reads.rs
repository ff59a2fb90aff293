//! Linearizable reads on their way: first the core confirms leadership and names an index, then the state machine must
//! have applied up to it (ReadIndex, Thesis §6.4).
//!
//! This file must not know how leadership is confirmed, nor what is asked.

use bytes::Bytes;
use raft_core::{LogIndex, RequestId};
use std::collections::BTreeMap;

/// The reads not yet answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    unconfirmed: BTreeMap<RequestId, Bytes>,
    confirmed: BTreeMap<(LogIndex, RequestId), Bytes>,
}

impl Reads {
    /// The core is about to be asked.
    pub(crate) fn insert(&mut self, id: RequestId, query: Bytes) {
        self.unconfirmed.insert(id, query);
    }

    /// The core confirmed the read at `index`. A read that is not waiting changes nothing.
    pub(crate) fn ready(&mut self, id: RequestId, index: LogIndex) {
        if let Some(query) = self.unconfirmed.remove(&id) {
            self.confirmed.insert((index, id), query);
        }
    }

    /// The core refused the request. Whether it was a read that waited for it.
    pub(crate) fn failed(&mut self, id: RequestId) -> bool {
        self.unconfirmed.remove(&id).is_some()
    }

    /// The next read that may be answered once everything up to `applied` is applied.
    pub(crate) fn next(&mut self, applied: LogIndex) -> Option<(RequestId, Bytes)> {
        let first = self.confirmed.first_entry().filter(|first| first.key().0 <= applied)?;
        let ((_, id), query) = first.remove_entry();
        Some((id, query))
    }

    /// The replica has stopped: the reads that can never be answered.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        let confirmed = std::mem::take(&mut self.confirmed).into_keys().map(|(_, id)| id);
        std::mem::take(&mut self.unconfirmed).into_keys().chain(confirmed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Reads {
        let mut reads = Reads::default();
        for id in 1..=3 {
            reads.insert(RequestId(id), Bytes::from(format!("query {id}")));
        }
        reads
    }

    #[test]
    fn a_read_waits_for_confirmation_and_then_for_its_index() {
        let mut reads = waiting();
        assert_eq!(reads.next(LogIndex(9)), None, "not confirmed");
        reads.ready(RequestId(2), LogIndex(5));
        reads.ready(RequestId(1), LogIndex(4));
        assert_eq!(reads.next(LogIndex(3)), None, "not applied");
        assert_eq!(reads.next(LogIndex(4)), Some((RequestId(1), Bytes::from_static(b"query 1"))));
        assert_eq!(reads.next(LogIndex(4)), None);
        assert_eq!(reads.next(LogIndex(5)), Some((RequestId(2), Bytes::from_static(b"query 2"))));
        reads.ready(RequestId(2), LogIndex(5));
        assert_eq!(reads.next(LogIndex(9)), None, "answered once");
    }

    #[test]
    fn a_failed_read_is_gone_and_the_rest_can_be_taken() {
        let mut reads = waiting();
        assert!(reads.failed(RequestId(1)));
        assert!(!reads.failed(RequestId(1)), "refused once");
        reads.ready(RequestId(1), LogIndex(1));
        reads.ready(RequestId(3), LogIndex(7));
        assert_eq!(reads.next(LogIndex(1)), None);
        assert_eq!(reads.take_all(), [RequestId(2), RequestId(3)]);
        assert_eq!(reads, Reads::default());
    }
}
