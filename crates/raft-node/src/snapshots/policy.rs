//! When a snapshot is taken: after so many applied entries or bytes of them, or when it is wished (Raft §7). One at a time.
//!
//! This file must not know what a snapshot contains.

use crate::node::NodeOptions;
use raft_core::LogIndex;

/// What has been applied since the newest snapshot, and whether one is being saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// `u64::MAX` for never.
    after_entries: u64,
    /// `u64::MAX` for never.
    after_bytes: u64,
    /// The newest snapshot, be it still on its way to the disk, covers up to here.
    covered: LogIndex,
    /// The bytes of the entries that were applied after that.
    bytes: u64,
    /// The one that the host is saving.
    saving: Option<LogIndex>,
    /// Somebody has asked for one in this call.
    pub(crate) requested: bool,
}

impl Policy {
    /// Nothing is applied and nothing covered.
    pub(crate) fn new(options: &NodeOptions) -> Self {
        let limit = |value| if value == 0 { u64::MAX } else { value };
        Self {
            after_entries: limit(options.snapshot_after_entries),
            after_bytes: limit(options.snapshot_after_bytes),
            covered: LogIndex(0),
            bytes: 0,
            saving: None,
            requested: false,
        }
    }

    /// Entries of so many bytes were applied.
    pub(crate) fn applied(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The state has been set to a snapshot that ends at `last`.
    pub(crate) fn restored(&mut self, last: LogIndex) {
        self.covered = self.covered.max(last);
        self.bytes = 0;
    }

    /// Whether a snapshot of the state at `applied` is to be taken now. Forgets the wish: it was for now.
    pub(crate) fn is_due(&mut self, applied: LogIndex) -> bool {
        let requested = std::mem::take(&mut self.requested);
        let entries = applied.0.saturating_sub(self.covered.0);
        let grown = entries >= self.after_entries || self.bytes >= self.after_bytes;
        self.saving.is_none() && entries > 0 && (requested || grown)
    }

    /// The host is asked to save one of the state at `applied`.
    pub(crate) fn begin(&mut self, applied: LogIndex) {
        self.saving = Some(applied);
        self.covered = applied;
        self.bytes = 0;
    }

    /// The host has saved it, or has given it up. Whether that was asked for.
    pub(crate) fn saved(&mut self, index: LogIndex) -> bool {
        self.saving.take_if(|saving| *saving == index).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(snapshot_after_entries: u64, snapshot_after_bytes: u64) -> Policy {
        Policy::new(&NodeOptions { snapshot_after_entries, snapshot_after_bytes, ..NodeOptions::default() })
    }

    #[test]
    fn it_is_due_after_so_many_entries_or_bytes() {
        let after = |mut policy: Policy, index, bytes| {
            policy.applied(bytes);
            policy.is_due(LogIndex(index))
        };
        assert!(!after(policy(10, 0), 9, u64::MAX - 1) && after(policy(10, 0), 10, 0));
        assert!(!after(policy(0, 10), 1_000, 9) && after(policy(0, 10), 1, 10));
        assert!(!after(policy(0, 0), 1 << 40, 1 << 60), "never");
        let mut restored = policy(10, 10);
        restored.applied(9);
        restored.restored(LogIndex(5));
        assert!(!after(restored.clone(), 14, 9) && after(restored, 15, 0), "counted from the snapshot on");
    }

    #[test]
    fn there_is_one_at_a_time() {
        let mut policy = policy(10, 0);
        assert!(policy.is_due(LogIndex(10)));
        policy.begin(LogIndex(10));
        assert!(!policy.is_due(LogIndex(30)), "one is being saved");
        assert!(!policy.saved(LogIndex(9)), "another was asked for");
        assert!(policy.saved(LogIndex(10)) && !policy.saved(LogIndex(10)));
        assert!(!policy.is_due(LogIndex(19)) && policy.is_due(LogIndex(20)));
    }

    #[test]
    fn a_wish_is_for_now_and_for_something_new() {
        let mut policy = policy(0, 0);
        policy.requested = true;
        assert!(!policy.is_due(LogIndex(0)), "nothing is applied");
        assert!(!policy.is_due(LogIndex(1)), "that was then");
        policy.requested = true;
        assert!(policy.is_due(LogIndex(1)));
    }
}
