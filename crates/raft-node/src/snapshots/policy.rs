//! When to take a snapshot: after a number of applied entries or bytes, or on request (Raft §7).
//!
//! The bytes are at least those of the newest snapshot, so snapshots at most double what a node writes, and at a start the log behind
//! the snapshot is at most about as large as the snapshot. *Without it:* a large state with small changes is written again and
//! again. This file must not know what a snapshot contains.

use crate::interface::options::NodeOptions;
use raft_core::LogIndex;

/// The amount that was applied since the newest snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotPolicy {
    /// `u64::MAX` means never.
    after_entries: u64,
    /// `u64::MAX` means never.
    after_bytes: u64,
    /// The bytes of the newest complete snapshot; 0: not known.
    newest_bytes: u64,
    /// The index of the newest snapshot, even one that is still being saved.
    covered: LogIndex,
    /// The bytes of the entries applied after that.
    bytes: u64,
    /// This call contains a request for a snapshot.
    pub(crate) requested: bool,
}

impl SnapshotPolicy {
    /// The policy of a node that has applied nothing and has no snapshot.
    pub(crate) fn new(options: &NodeOptions) -> Self {
        let limit = |value| if value == 0 { u64::MAX } else { value };
        Self {
            after_entries: limit(options.snapshot_after_entries),
            after_bytes: limit(options.snapshot_after_bytes),
            newest_bytes: 0,
            covered: LogIndex(0),
            bytes: 0,
            requested: false,
        }
    }

    /// Notes applied entries of this many bytes.
    pub(crate) fn on_applied(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The state is now that of a snapshot at `last` with so many bytes.
    pub(crate) fn on_restored(&mut self, last: LogIndex, bytes: u64) {
        self.covered = self.covered.max(last);
        self.bytes = 0;
        self.newest_bytes = bytes;
    }

    /// A snapshot of so many bytes is complete.
    pub(crate) fn on_saved(&mut self, bytes: u64) {
        self.newest_bytes = bytes;
    }

    /// Whether a snapshot of the state at `applied` was requested. Clears the request: it is for one call only.
    pub(crate) fn take_request(&mut self, applied: LogIndex) -> bool {
        std::mem::take(&mut self.requested) && applied > self.covered
    }

    /// Whether the log has grown by this percentage of what a snapshot at `applied` needs.
    pub(crate) fn has_grown(&self, applied: LogIndex, percent: u64) -> bool {
        let part = |limit: u64| if limit == u64::MAX { limit } else { limit.saturating_mul(percent) / 100 };
        let entries = applied.0.saturating_sub(self.covered.0);
        let after_bytes = part(self.after_bytes.max(self.newest_bytes));
        entries > 0 && (entries >= part(self.after_entries) || self.bytes >= after_bytes)
    }

    /// Notes that the node starts to save a snapshot of the state at `applied`.
    pub(crate) fn begin(&mut self, applied: LogIndex) {
        (self.covered, self.bytes) = (applied, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(snapshot_after_entries: u64, snapshot_after_bytes: u64) -> SnapshotPolicy {
        SnapshotPolicy::new(&NodeOptions { snapshot_after_entries, snapshot_after_bytes, ..NodeOptions::default() })
    }

    #[test]
    fn a_snapshot_is_due_after_so_many_entries_or_bytes() {
        let mut restored = policy(10, 10);
        restored.on_applied(9);
        restored.on_restored(LogIndex(5), 0);
        let mut large = policy(0, 10);
        large.on_saved(20);
        for (policy, applied, bytes, expected) in [
            (policy(10, 0), 9, u64::MAX - 1, false),
            (policy(10, 0), 10, 0, true),
            (policy(0, 10), 1_000, 9, false),
            (policy(0, 10), 1, 10, true),
            (policy(0, 0), 1 << 40, 1 << 60, false),
            (restored.clone(), 14, 9, false),
            (restored, 15, 0, true),
            (large.clone(), 9, 19, false),
            (large, 9, 20, true),
        ] {
            let mut after = policy.clone();
            after.on_applied(bytes);
            let grown = |percent| after.has_grown(LogIndex(applied), percent);
            assert_eq!(grown(100), expected, "{policy:?} at {applied} after {bytes} bytes");
            assert!(!grown(150), "{policy:?} at {applied} after {bytes} bytes");
        }
    }

    #[test]
    fn a_request_is_for_one_call_and_for_something_new() {
        let mut policy = policy(0, 0);
        policy.requested = true;
        assert!(!policy.take_request(LogIndex(0)), "nothing is applied");
        assert!(!policy.take_request(LogIndex(1)), "that was another call");
        policy.requested = true;
        assert!(policy.take_request(LogIndex(1)));
        policy.begin(LogIndex(1));
        policy.requested = true;
        assert!(!policy.take_request(LogIndex(1)), "there is a snapshot of this state");
    }
}
