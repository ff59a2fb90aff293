//! The read-back of the log: the host reads entries that are no longer in memory, while the protocol continues (rule
//! R41).
//!
//! There is one read at a time for each purpose (the state machine, each peer), and it ends with its purpose. So an
//! answer that is late, repeated, or from a log that has changed meanwhile has no effect.
//!
//! This file must not know the purposes.

use crate::canonical::canonical;
use crate::entry::Entries;
use crate::id::{LogIndex, ReadId};
use crate::log::Log;

/// The read of one purpose.
///
/// Invariant: the log holds the entries of `answer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ReadBack {
    asked: Option<(ReadId, LogIndex)>,
    answer: Entries,
}

impl ReadBack {
    /// Whether it waits for this read.
    pub(crate) fn asks(&self, read: ReadId) -> bool {
        self.asked.is_some_and(|(id, _)| id == read)
    }

    /// The first index of the current read.
    pub(crate) fn asked_from(&self) -> Option<LogIndex> {
        self.asked.map(|(_, first)| first)
    }

    /// Starts a read of the entries from `first` on.
    pub(crate) fn ask(&mut self, read: ReadId, first: LogIndex) {
        self.asked = Some((read, first));
    }

    /// Accepts the answer, as far as it agrees with this log.
    pub(crate) fn answered(&mut self, log: &Log, entries: &Entries) {
        let Some((_, first)) = self.asked.take() else { return };
        let count = entries
            .iter()
            .zip(first.0..)
            .take_while(|(entry, index)| entry.id.index.0 == *index && log.holds(entry.id));
        self.answer = entries.slice(0, count.count());
    }

    /// Asserts the invariant for the last entry; for the others it follows (Raft §5.3, Log Matching).
    pub(crate) fn check(&self, log: &Log) {
        let end = self.answer.last_id();
        assert!(end.is_none_or(|id| log.compatible_with(id)), "{end:?} was read back, the log does not hold it");
    }

    /// Truncates the answer as the log is truncated. An answer reaches that far only if the host has read more than the
    /// core asked for.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        if let Some(first) = self.answer.first_index() {
            self.answer = self.answer.between(first, index.previous());
        }
    }

    /// Forgets the read and its answer.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The entries from `first` on, up to `last` and `max_bytes`, but at least one: from memory or from the answer.
    /// `None` means that neither has them.
    pub(crate) fn entries(&mut self, log: &Log, first: LogIndex, last: LogIndex, max_bytes: u64) -> Option<Entries> {
        if let Some(entries) = log.entries(first, last, max_bytes) {
            return Some(entries);
        }
        let answered = self.answer.first_index().is_some_and(|index| index <= first);
        let answer = if answered { self.answer.between(first, last) } else { Entries::new() };
        if answer.is_empty() {
            self.answer = Entries::new();
            return None;
        }
        Some(answer.within(max_bytes))
    }

    /// Drops an answer that ends before `next`.
    pub(crate) fn release(&mut self, next: LogIndex) {
        if self.answer.last_id().is_some_and(|last| last.index < next) {
            self.answer = Entries::new();
        }
    }
}

canonical!(ReadBack { asked, answer });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Payload};
    use crate::id::EntryId;
    use crate::testing::{each_fails, follower};
    use alloc::vec;

    #[test]
    fn an_answer_that_the_log_does_not_hold_fails() {
        let log = follower().shared.log;
        each_fails(
            &ReadBack::default(),
            |read_back| read_back.check(&log),
            &[("Some(3@1) was read back", |read_back| {
                read_back.answer = vec![Entry { id: EntryId::new(3, 1), payload: Payload::Noop }].into();
            })],
        );
    }
}
