//! The pending write: the changes of the current call that no write carries yet (rule R7).

use crate::action::{HardState, Write};
use crate::canonical::canonical;
use crate::id::{LogIndex, WriteId};
use crate::log::Log;
use crate::snapshot_meta::SnapshotRecord;
use crate::time::Instant;
use crate::writes_in_flight::Writes;

/// The changes to persist at the end of the call.
///
/// Invariants between two calls: nothing is pending, and `written` is the end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PendingWrite {
    hard_state_changed: bool,
    /// The write that carries the current term and vote.
    hard_state_write: WriteId,
    /// The lowest index that this call changed.
    changed_from: Option<LogIndex>,
    changed_bytes: u64,
    truncate_from: Option<LogIndex>,
    /// The last index on the disk once all writes are done.
    written: LogIndex,
}

impl PendingWrite {
    /// A state with nothing pending, for a log that ends at `last`.
    pub(crate) fn new(last: LogIndex) -> Self {
        Self { written: last, ..Self::default() }
    }

    pub(crate) fn change_hard_state(&mut self) {
        self.hard_state_changed = true;
    }

    /// Whether the current term and vote are durable. A write with an older pair does not count.
    pub(crate) fn hard_state_is_durable(&self, writes: &Writes) -> bool {
        !self.hard_state_changed && writes.is_durable(self.hard_state_write)
    }

    /// Notes that the log changes from `from` on.
    pub(crate) fn change_log(&mut self, from: LogIndex, bytes: u64) {
        self.changed_from = Some(self.changed_from.map_or(from, |first| first.min(from)));
        self.changed_bytes = self.changed_bytes.saturating_add(bytes);
    }

    /// Notes that the log loses its entries from `index` on.
    pub(crate) fn truncate(&mut self, index: LogIndex) {
        self.change_log(index, 0);
        if index <= self.written {
            self.truncate_from = Some(self.truncate_from.map_or(index, |first| first.min(index)));
            self.written = index.previous();
        }
    }

    /// Notes that a snapshot up to `last` replaces the whole log. From `touched` on, no entry counts as durable.
    pub(crate) fn discard_log(&mut self, touched: LogIndex, last: LogIndex) {
        self.changed_bytes = 0;
        self.change_log(touched, 0);
        self.written = last;
        self.truncate_from = None;
    }

    /// The highest durable index, given that the writes in flight leave `durable`.
    pub(crate) fn durable(&self, durable: LogIndex) -> LogIndex {
        self.changed_from.map_or(durable, |first| durable.min(first.previous()))
    }

    /// The bytes of the entries that this call appended.
    pub(crate) fn bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// Issues the write, if there are changes. The log must be sealed.
    pub(crate) fn issue(
        &mut self,
        hard_state: HardState,
        snapshot: Option<SnapshotRecord>,
        log: &Log,
        writes: &mut Writes,
        now: Instant,
    ) -> Option<Write> {
        let hard_state = core::mem::take(&mut self.hard_state_changed).then_some(hard_state);
        let touches = self.changed_from.take();
        if hard_state.is_none() && touches.is_none() && snapshot.is_none() {
            return None;
        }
        let (first, last) = (self.written.next(), log.last().index);
        let entries = log.entries(first, last, u64::MAX).unwrap_or_default();
        let ends = entries.last_id().map_or(self.written, |id| id.index);
        debug_assert!(ends == last, "the write from {first} on ends at {ends}, the log at {last}");
        let id = writes.issue(touches, core::mem::take(&mut self.changed_bytes), now);
        if hard_state.is_some() {
            self.hard_state_write = id;
        }
        self.written = last;
        Some(Write { id, hard_state, truncate_from: self.truncate_from.take(), snapshot, entries })
    }

    /// Asserts the invariants between two calls; the log ends at `last`.
    pub(crate) fn check(&self, last: LogIndex) {
        let Self { hard_state_changed, changed_from, changed_bytes, truncate_from, written, .. } = *self;
        let pending = (changed_from, truncate_from, changed_bytes, hard_state_changed);
        assert!(pending == (None, None, 0, false), "no write carries {pending:?}");
        assert!(written == last, "written {written} is not last {last}");
    }
}

canonical!(PendingWrite { hard_state_changed, hard_state_write, changed_from, changed_bytes, truncate_from, written });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::each_fails;

    #[test]
    fn a_change_that_no_write_carries_fails() {
        each_fails(
            &PendingWrite::new(LogIndex(3)),
            |pending| pending.check(LogIndex(3)),
            &[
                ("no write carries (None, None, 0, true)", PendingWrite::change_hard_state),
                ("no write carries (Some(3), None, 7, false)", |pending| pending.change_log(LogIndex(3), 7)),
                ("no write carries (Some(2), Some(2), 0, false)", |pending| pending.truncate(LogIndex(2))),
                ("written 2 is not last 3", |pending| pending.written = LogIndex(2)),
            ],
        );
    }
}
