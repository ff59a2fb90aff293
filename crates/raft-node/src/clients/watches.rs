//! Watches that wait for a response: the node keeps only the next query of each.
//!
//! A response ends the query, and the client sends the next one. So the node never waits for a slow client. The client
//! finds the changes that it missed in the state machine's memory, unless they are too old. This file must not know the
//! meaning of a query.

use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::requests::Reply;
use crate::interface::state_machine::Watched;
use bytes::Bytes;
use raft_core::{LogIndex, RequestId};
use std::collections::BTreeMap;

/// The most waiting watches.
const MAX_WAITING: usize = 10_000;

/// The waiting watches: the query of each, and the applied index at which the state machine last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watches(BTreeMap<RequestId, (Option<LogIndex>, Bytes)>);

impl Watches {
    /// Adds a watch; returns false if there are too many.
    pub(crate) fn insert(&mut self, id: RequestId, query: Bytes) -> bool {
        let fits = self.0.len() < MAX_WAITING;
        if fits {
            self.0.insert(id, (None, query));
        }
        fits
    }

    /// Cancels a watch.
    pub(crate) fn remove(&mut self, id: RequestId) {
        self.0.remove(&id);
    }

    /// Passes to the state machine all queries that it has not seen at `applied`, and replies where it has a response.
    pub(crate) fn ask(&mut self, applied: LogIndex, watch: impl Fn(&Bytes) -> Watched, outputs: &mut Outputs) {
        self.0.retain(|&id, (asked, query)| {
            if *asked == Some(applied) {
                return true;
            }
            match watch(query) {
                Watched::Later(next) => {
                    (*asked, *query) = (Some(applied), next);
                    true
                }
                Watched::Now { response, next } => {
                    outputs.push(NodeOutput::Reply { id, reply: Reply::Watched { applied, response, next } });
                    false
                }
            }
        });
    }

    /// Removes all watches: the replica has stopped.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.0).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn each_watch_is_asked_once_per_index_until_there_is_a_response() {
        let (mut watches, calls) = (Watches::default(), Cell::new(0));
        for (id, query) in [(1, "now"), (2, "later"), (3, "later")] {
            assert!(watches.insert(RequestId(id), Bytes::from_static(query.as_bytes())));
        }
        // Any query except `now` becomes `now` after the first call.
        let machine = |query: &Bytes| {
            calls.set(calls.get() + 1);
            let now = Bytes::from_static(b"now");
            if *query == now { Watched::Now { response: now, next: None } } else { Watched::Later(now) }
        };
        let ask = |watches: &mut Watches, applied| {
            let mut outputs = Vec::new();
            watches.ask(LogIndex(applied), machine, &mut outputs);
            (outputs.len(), calls.take(), watches.0.keys().map(|id| id.0).collect::<Vec<_>>())
        };
        assert_eq!(ask(&mut watches, 5), (1, 3, vec![2, 3]));
        assert_eq!(ask(&mut watches, 5), (0, 0, vec![2, 3]), "nothing has changed");
        watches.remove(RequestId(3));
        assert_eq!(ask(&mut watches, 6), (1, 1, vec![]), "the state machine gets the next query");
    }

    #[test]
    fn the_number_of_watches_is_limited() {
        let mut watches = Watches::default();
        assert!((0..MAX_WAITING as u64).all(|id| watches.insert(RequestId(id), Bytes::new())));
        assert!(!watches.insert(RequestId(u64::MAX), Bytes::new()));
        assert_eq!(watches.take_all().len(), MAX_WAITING);
        assert!(watches.insert(RequestId(1), Bytes::new()));
    }
}
