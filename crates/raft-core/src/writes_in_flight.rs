//! The writes in flight to the disk, and the highest durable index meanwhile (rule R5).

use crate::canonical::canonical;
use crate::id::{LogIndex, WriteId};
use crate::time::Instant;
use alloc::collections::VecDeque;

/// The writes in flight. Until a write is reported, all entries from the lowest index that it touches on are uncertain,
/// even those of an earlier write.
///
/// Invariants: `in_flight` holds the writes `reported + 1..=issued` in order, and `bytes` is their sum; `lowest` names only
/// writes in flight, ids and indices both rising.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Writes {
    issued: WriteId,
    reported: WriteId,
    in_flight: VecDeque<InFlight>,
    bytes: u64,
    /// The first element has the lowest index that a write in flight touches. A write with a lower index replaces those
    /// before it, because they are reported no later. So ids and indices both rise.
    lowest: VecDeque<(WriteId, LogIndex)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct InFlight {
    id: WriteId,
    bytes: u64,
    since: Instant,
}

impl Writes {
    /// Numbers the next write. `touches` is the lowest log index that the write changes, if any; `bytes` is its size in
    /// limits.
    pub(crate) fn issue(&mut self, touches: Option<LogIndex>, bytes: u64, now: Instant) -> WriteId {
        self.issued = self.issued.next();
        self.in_flight.push_back(InFlight { id: self.issued, bytes, since: now });
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(index) = touches {
            while self.lowest.back().is_some_and(|&(_, other)| other >= index) {
                self.lowest.pop_back();
            }
            self.lowest.push_back((self.issued, index));
        }
        self.issued
    }

    /// Notes that `id` and all before it are durable. An unknown or older id changes nothing.
    pub(crate) fn report(&mut self, id: WriteId) {
        if id > self.issued || id <= self.reported {
            return;
        }
        self.reported = id;
        while let Some(write) = self.in_flight.front().filter(|write| write.id <= id) {
            self.bytes = self.bytes.saturating_sub(write.bytes);
            self.in_flight.pop_front();
        }
        while self.lowest.front().is_some_and(|&(write, _)| write <= id) {
            self.lowest.pop_front();
        }
    }

    /// The highest index that is durable in a log that ends at `last`.
    pub(crate) fn durable(&self, last: LogIndex) -> LogIndex {
        self.lowest.front().map_or(last, |&(_, index)| index.previous().min(last))
    }

    pub(crate) fn is_durable(&self, id: WriteId) -> bool {
        id <= self.reported
    }

    /// The oldest write in flight, and its start.
    pub(crate) fn oldest(&self) -> Option<(WriteId, Instant)> {
        self.in_flight.front().map(|write| (write.id, write.since))
    }

    pub(crate) fn issued(&self) -> WriteId {
        self.issued
    }

    /// The newest durable write.
    pub(crate) fn reported(&self) -> WriteId {
        self.reported
    }

    /// Asserts the invariants, at the ends of both queues.
    pub(crate) fn check(&self) {
        let Self { issued, reported, bytes, .. } = *self;
        assert!(reported <= issued, "reported {reported} is above issued {issued}");
        let (count, front) = (self.in_flight.len() as u64, self.in_flight.front().map(|write| write.id));
        assert!(count == issued.0 - reported.0, "{count} writes in flight, reported {reported}, issued {issued}");
        assert!(
            front.is_none_or(|id| id == reported.next()),
            "the oldest write in flight is {front:?}, reported {reported}"
        );
        assert!(count > 0 || bytes == 0, "{bytes} bytes in flight without a write");
        if let (Some(&low), Some(&high)) = (self.lowest.front(), self.lowest.back()) {
            let is_in_flight = reported < low.0 && low.0 <= high.0 && high.0 <= issued;
            assert!(is_in_flight, "lowest {low:?} to {high:?}, reported {reported}, issued {issued}");
            assert!(low == high || low.1 < high.1, "lowest {low:?} does not rise to {high:?}");
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

canonical!(Writes { issued, reported, in_flight, bytes, lowest });
canonical!(InFlight { id, bytes, since });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_is_below_the_lowest_index_in_flight() {
        let mut writes = Writes::default();
        let last = LogIndex(9);
        assert_eq!(writes.durable(last), last, "nothing in flight");
        let append = writes.issue(Some(LogIndex(8)), 10, Instant(0));
        assert_eq!(writes.durable(last), LogIndex(7));
        let vote = writes.issue(None, 0, Instant(0));
        assert_eq!(writes.durable(last), LogIndex(7), "a vote touches no entry");
        let truncation = writes.issue(Some(LogIndex(5)), 5, Instant(0));
        assert_eq!(writes.durable(last), LogIndex(4));
        let further = writes.issue(Some(LogIndex(7)), 1, Instant(0));
        writes.report(append);
        assert_eq!(writes.durable(last), LogIndex(4), "the truncation is still in flight");
        assert!(!writes.is_durable(vote));
        writes.report(truncation);
        assert!(writes.is_durable(vote), "reports are cumulative");
        assert_eq!((writes.durable(last), writes.bytes()), (LogIndex(6), 1));
        writes.report(further);
        assert_eq!((writes.durable(last), writes.bytes()), (last, 0));
    }

    #[test]
    fn a_higher_index_behind_a_lower_one_counts_again_once_that_is_reported() {
        let mut writes = Writes::default();
        let first = writes.issue(Some(LogIndex(3)), 0, Instant(0));
        writes.issue(Some(LogIndex(6)), 0, Instant(0));
        assert_eq!(writes.durable(LogIndex(6)), LogIndex(2));
        writes.report(first);
        assert_eq!(writes.durable(LogIndex(6)), LogIndex(5));
    }

    #[test]
    fn unknown_and_older_reports_change_nothing() {
        let mut writes = Writes::default();
        let first = writes.issue(Some(LogIndex(1)), 4, Instant(0));
        let before = writes.clone();
        writes.report(WriteId(first.0 + 1));
        writes.report(WriteId(u64::MAX));
        writes.report(WriteId(0));
        assert_eq!(writes, before);
        writes.report(first);
        let after = writes.clone();
        writes.report(first);
        assert_eq!(writes, after);
    }

    #[test]
    fn writes_that_do_not_add_up_fail() {
        let mut writes = Writes::default();
        writes.issue(Some(LogIndex(3)), 4, Instant(0));
        writes.issue(Some(LogIndex(5)), 4, Instant(0));
        crate::testing::each_fails(
            &writes,
            |writes| writes.check(),
            &[
                ("reported w3 is above issued w2", |writes| writes.reported = WriteId(3)),
                ("1 writes in flight, reported w0, issued w2", |writes| {
                    writes.in_flight.pop_back();
                }),
                ("the oldest write in flight is Some(w2), reported w0", |writes| writes.in_flight[0].id = WriteId(2)),
                ("4 bytes in flight without a write", |writes| {
                    writes.report(WriteId(2));
                    writes.bytes = 4;
                }),
                ("lowest (w3, 3) to (w2, 5)", |writes| writes.lowest[0].0 = WriteId(3)),
                ("lowest (w1, 3) to (w3, 5), reported w0, issued w2", |writes| writes.lowest[1].0 = WriteId(3)),
                ("lowest (w1, 3) to (w2, 5), reported w1, issued w2", |writes| {
                    let lowest = writes.lowest.clone();
                    writes.report(WriteId(1));
                    writes.lowest = lowest;
                }),
                ("lowest (w1, 5) does not rise to (w2, 5)", |writes| writes.lowest[0].1 = LogIndex(5)),
            ],
        );
    }
}
