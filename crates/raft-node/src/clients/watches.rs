//! Questions that wait for the state machine to have an answer: all that a node keeps of a watch.
//!
//! An answer ends the question; whoever watches asks the next one. So a watcher that is slow is none that the node waits
//! for, and what it missed is in the state machine's memory, or not any more. This file must not know what is asked.

use crate::state_machine::Watched;
use bytes::Bytes;
use raft_core::{LogIndex, RequestId};
use std::collections::BTreeMap;

/// The most that wait.
const MAX_WAITING: usize = 10_000;

/// The questions that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watches {
    /// With the index up to which was applied when it was asked last; none: not yet.
    waiting: BTreeMap<RequestId, (Option<LogIndex>, Bytes)>,
}

impl Watches {
    /// One more is asked. False: there is no room.
    pub(crate) fn insert(&mut self, id: RequestId, query: Bytes) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING;
        if has_room {
            self.waiting.insert(id, (None, query));
        }
        has_room
    }

    /// Nobody wants the answer any more.
    pub(crate) fn remove(&mut self, id: RequestId) {
        self.waiting.remove(&id);
    }

    /// Asks all that were not asked since `applied` was applied, and hands over the answers.
    pub(crate) fn ask(
        &mut self,
        applied: LogIndex,
        watch: impl Fn(&Bytes) -> Watched,
        mut answer: impl FnMut(RequestId, Bytes, Option<Bytes>),
    ) {
        self.waiting.retain(|id, (asked, query)| {
            if *asked == Some(applied) {
                return true;
            }
            match watch(query) {
                Watched::Later(next) => {
                    (*asked, *query) = (Some(applied), next);
                    true
                }
                Watched::Now { response, next } => {
                    answer(*id, response, next);
                    false
                }
            }
        });
    }

    /// The replica has stopped: the questions that will never be answered.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Answers `now` at once; anything else becomes `now` when it is asked.
    fn watch(query: &Bytes) -> Watched {
        let now = Bytes::from_static(b"now");
        if *query == now { Watched::Now { response: now, next: None } } else { Watched::Later(now) }
    }

    #[test]
    fn each_is_asked_once_for_each_index_until_there_is_an_answer() {
        let (mut watches, asked) = (Watches::default(), Cell::new(0));
        for (id, query) in [(1, "now"), (2, "later"), (3, "later")] {
            assert!(watches.insert(RequestId(id), Bytes::from_static(query.as_bytes())));
        }
        let ask = |watches: &mut Watches, applied| {
            let (mut answered, count) = (Vec::new(), |query: &Bytes| {
                asked.set(asked.get() + 1);
                watch(query)
            });
            watches.ask(LogIndex(applied), count, |id, _, _| answered.push(id.0));
            (answered, asked.take())
        };
        assert_eq!(ask(&mut watches, 5), (vec![1], 3));
        assert_eq!(ask(&mut watches, 5), (vec![], 0), "nothing has changed");
        watches.remove(RequestId(3));
        assert_eq!(ask(&mut watches, 6), (vec![2], 1), "asked as it said");
        assert_eq!(watches, Watches::default());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut watches = Watches::default();
        for id in 0..MAX_WAITING as u64 {
            assert!(watches.insert(RequestId(id), Bytes::new()));
        }
        assert!(!watches.insert(RequestId(u64::MAX), Bytes::new()));
        assert_eq!(watches.take_all().len(), MAX_WAITING);
        assert!(watches.insert(RequestId(1), Bytes::new()));
    }
}
