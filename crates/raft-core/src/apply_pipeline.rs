//! The pipeline that brings committed entries to the state machine: submitted once they are durable here (rule R15),
//! being applied, applied.
//!
//! This file must not know why an entry is committed.

use crate::action::Action;
use crate::canonical::canonical;
use crate::event::Event;
use crate::id::LogIndex;
use crate::readback::ReadBack;
use crate::shared::Shared;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::time::Duration;

/// The apply pipeline. Invariants: applied <= submitted <= commit; `applying` ends at `submitted` and begins after
/// `applied`, and `applying_bytes` is its sum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ApplyPipeline {
    /// The highest index that the state machine has reported `Applied`.
    pub(crate) applied: LogIndex,
    /// The highest index that an `Apply` or a `Restore` has submitted.
    pub(crate) submitted: LogIndex,
    applying: VecDeque<Applying>,
    pub(crate) applying_bytes: u64,
    /// The host was warned about overdue applies up to this index.
    overdue: LogIndex,
    /// The read of the next entries, if they are no longer in memory.
    pub(crate) read_back: ReadBack,
}

/// An `Apply` or `Restore` that the host has not reported `Applied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Applying {
    last: LogIndex,
    bytes: u64,
    since: Instant,
}

impl ApplyPipeline {
    /// A pipeline whose state machine has applied everything up to `applied`.
    pub(crate) fn new(applied: LogIndex) -> Self {
        Self {
            applied,
            submitted: applied,
            applying: VecDeque::new(),
            applying_bytes: 0,
            overdue: LogIndex(0),
            read_back: ReadBack::default(),
        }
    }

    /// How many more bytes the core may submit.
    pub(crate) fn room(&self, max_bytes: u64) -> u64 {
        max_bytes.saturating_sub(self.applying_bytes)
    }

    /// Whether everything that was submitted is applied.
    pub(crate) fn is_idle(&self) -> bool {
        self.applying.is_empty()
    }

    /// Notes an `Apply` or `Restore` that ends at `last`. Everything up to `limit` must be committed and durable.
    pub(crate) fn submit(&mut self, last: LogIndex, bytes: u64, limit: LogIndex, now: Instant) {
        let before = self.submitted;
        debug_assert!(before < last, "submitted {last} is not above {before}");
        debug_assert!(last <= limit, "submitted {last} is above {limit}, which is committed and durable");
        self.submitted = last;
        self.applying.push_back(Applying { last, bytes, since: now });
        self.applying_bytes = self.applying_bytes.saturating_add(bytes);
        self.read_back.release(last.next());
    }

    /// Notes that the state machine has applied everything up to `index`, which is at most `submitted`.
    pub(crate) fn report(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index.min(self.submitted));
        while let Some(apply) = self.applying.front().filter(|apply| apply.last <= self.applied) {
            self.applying_bytes = self.applying_bytes.saturating_sub(apply.bytes);
            self.applying.pop_front();
        }
    }

    fn next_overdue(&self) -> Option<&Applying> {
        self.applying.iter().find(|apply| apply.last > self.overdue)
    }

    /// When the next report of an overdue `Apply` is due.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.next_overdue().map(|apply| apply.since.after(timeout))
    }

    /// The last index of the next `Apply` that was submitted at least `timeout` ago and is not applied. Returns each
    /// index once.
    pub(crate) fn take_overdue(&mut self, timeout: Duration, now: Instant) -> Option<LogIndex> {
        let last = self.next_overdue().filter(|apply| apply.since.after(timeout).is_due(now))?.last;
        self.overdue = last;
        Some(last)
    }

    pub(crate) fn check(&self, commit: LogIndex) {
        let Self { applied, submitted, applying_bytes: bytes, .. } = *self;
        assert!(applied <= submitted, "applied {applied} is above submitted {submitted}");
        assert!(submitted <= commit, "submitted {submitted} is above commit {commit}");
        let (oldest, latest) = (self.applying.front(), self.applying.back());
        let is_the_rest = match (oldest, latest) {
            (Some(oldest), Some(latest)) => applied < oldest.last && latest.last == submitted,
            _ => applied == submitted && bytes == 0,
        };
        assert!(is_the_rest, "applying {oldest:?} to {latest:?}, {bytes} B, applied {applied}, submitted {submitted}");
    }
}

impl Shared {
    /// Submits the committed entries that are durable here to the state machine (rule R15), as far as the limits allow.
    pub(crate) fn emit_apply(&mut self) {
        if self.emit_restore() {
            return;
        }
        // The entries that were read back may end before those in memory begin, or before the next read.
        while self.apply_next() {}
    }

    /// Submits one run of entries, if there are entries and the limits allow it. Returns false if there is no more to
    /// do.
    fn apply_next(&mut self) -> bool {
        let limit = self.commit.min(self.durable());
        let (first, room) = (self.apply.submitted.next(), self.apply.room(self.config.max_apply_bytes));
        if first > limit || room == 0 {
            return false;
        }
        let mut read_back = core::mem::take(&mut self.apply.read_back);
        let entries = self.entries(&mut read_back, first, limit, room).unwrap_or_default();
        self.apply.read_back = read_back;
        let (Some(last), bytes) = (entries.last_id(), entries.size()) else { return false };
        if bytes > room && !self.apply.is_idle() {
            return false;
        }
        self.apply.submit(last.index, bytes, limit, self.now);
        self.actions.push(Action::Apply { entries });
        true
    }

    /// When the next overdue `Apply` is reported.
    pub(crate) fn apply_deadline(&self) -> Option<Instant> {
        self.apply.deadline(self.longest_timeout())
    }

    /// Reports each `Apply` that was emitted an election timeout ago and is not reported `Applied`.
    pub(crate) fn report_overdue(&mut self) {
        while let Some(index) = self.apply.take_overdue(self.longest_timeout(), self.now) {
            self.observe(|| Event::ApplyOverdue { index });
        }
    }
}

canonical!(ApplyPipeline { applied, submitted, applying, applying_bytes, overdue, read_back });
canonical!(Applying { last, bytes, since });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_fails, follower};

    #[test]
    fn positions_out_of_order_fail() {
        each_fails(
            &follower().shared.apply,
            |apply| apply.check(LogIndex(2)),
            &[
                ("applied 3 is above submitted 2", |apply| apply.applied = LogIndex(3)),
                ("submitted 3 is above commit 2", |apply| apply.submitted = LogIndex(3)),
                ("applying None to None", |apply| apply.applying.clear()),
                ("None to None, 96 B, applied 2, submitted 2", |apply| {
                    apply.applying.clear();
                    apply.applied = LogIndex(2);
                }),
                ("applied 0, submitted 1", |apply| apply.submitted = LogIndex(1)),
                ("applied 2, submitted 2", |apply| apply.applied = LogIndex(2)),
            ],
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    fn what_is_submitted_twice_or_too_early_fails() {
        each_fails(
            &follower().shared.apply,
            |_| (),
            &[
                ("submitted 2 is not above 2", |apply| apply.submit(LogIndex(2), 0, LogIndex(2), Instant(0))),
                ("submitted 3 is above 2", |apply| apply.submit(LogIndex(3), 0, LogIndex(2), Instant(0))),
            ],
        );
    }
}
