//! Whether the disk has space for more entries. The node refuses what it can before a write fails: the core rejects proposals with
//! `NoSpace`, which has no effect, and the node ignores a peer's entries, as if the message were lost. Reads, votes and heartbeats,
//! with the writes they need, continue.
//!
//! The store reserves space ahead and reports after each sync whether the reserve is complete. While the reserve is
//! complete, the entries in flight take at most three quarters of it, in bytes on disk. So all of them fit, whatever
//! the store reports next. The last quarter is for writes that the node cannot refuse: hard states, a new leader's
//! no-op, the end of a joint configuration, snapshot records. This file must not know how a store reserves space.

use raft_core::{Entries, Entry, Instant, Payload, Write, WriteId};
use std::collections::VecDeque;
use std::time::Duration;

/// How often the node requests space while it is low: soon enough for an operator who has just freed some.
const RETRY: Duration = Duration::from_secs(1);
/// The most bytes of a record beside entries and a configuration: frame, padding, hard state, truncation.
const RECORD: u64 = 128;
/// The most bytes of an entry that its size leaves out: tags, lengths, long numbers.
const ENTRY: u64 = 40;

/// The writes in flight to the disk, and whether its space is low.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskBudget {
    /// The most bytes of entries in flight.
    limit: u64,
    /// The writes in flight, with their bytes.
    writes: VecDeque<(WriteId, u64)>,
    /// The sum of these bytes.
    bytes: u64,
    /// Bytes admitted in this call that are not yet part of a write.
    admitted: u64,
    /// When to request space from the store again; `None` while there is enough.
    retry_at: Option<Instant>,
}

impl DiskBudget {
    /// A store with a reserve of this many bytes; 0 means that no reserve is known and no limit applies.
    pub(crate) fn new(reserve_bytes: u64) -> Self {
        let limit = if reserve_bytes == 0 { u64::MAX } else { reserve_bytes / 4 * 3 };
        Self { limit, writes: VecDeque::new(), bytes: 0, admitted: 0, retry_at: None }
    }

    pub(crate) const fn bytes_in_flight(&self) -> u64 {
        self.bytes
    }

    /// Begins a call: the entries that the last call admitted are now part of a write, or were rejected.
    pub(crate) fn begin_call(&mut self) {
        self.admitted = 0;
    }

    /// Admits a command of so many bytes; false if too much is in flight. One always fits if nothing else is. Without space the
    /// core rejects it: only the core knows whether leadership is being transferred to a node with space.
    pub(crate) fn admit_command(&mut self, bytes: usize) -> bool {
        self.admit(RECORD + 2 * ENTRY + bytes as u64)
    }

    /// Admits entries of a peer; returns false if there is no space.
    pub(crate) fn admit_entries(&mut self, entries: &Entries) -> bool {
        entries.is_empty() || (self.retry_at.is_none() && self.admit(RECORD + bytes_of(entries)))
    }

    fn admit(&mut self, bytes: u64) -> bool {
        let before = self.bytes.saturating_add(self.admitted);
        let fits = before == 0 || before.saturating_add(bytes) <= self.limit;
        if fits {
            self.admitted = self.admitted.saturating_add(bytes);
        }
        fits
    }

    /// Notes a write of the core.
    pub(crate) fn on_write(&mut self, write: &Write) {
        if self.limit == u64::MAX {
            return;
        }
        let snapshot = write.snapshot.as_ref().map_or(0, |record| {
            let configuration = Payload::Configuration(record.meta.configuration.clone());
            entry_bytes(&Entry { id: record.meta.last, payload: configuration })
        });
        let bytes = RECORD.saturating_add(snapshot).saturating_add(bytes_of(&write.entries));
        self.writes.push_back((write.id, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Notes that this write and all earlier ones are durable, and that the store has reported its space after them.
    pub(crate) fn on_persisted(&mut self, write: WriteId) {
        while let Some(&(id, bytes)) = self.writes.front()
            && id <= write
        {
            self.writes.pop_front();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Notes the space that the store reports.
    pub(crate) fn on_space(&mut self, is_low: bool, now: Instant) {
        self.retry_at = is_low.then(|| now.after(RETRY));
    }

    /// Whether to request space from the store now; then false for a while.
    pub(crate) fn take_space_request(&mut self, now: Instant) -> bool {
        let is_due = self.retry_at.is_some_and(|at| at <= now);
        if is_due {
            self.retry_at = Some(now.after(RETRY));
        }
        is_due
    }

    /// When to request space from the store.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }
}

/// The most bytes of these entries in a record.
fn bytes_of(entries: &Entries) -> u64 {
    entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry_bytes(entry)))
}

fn entry_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Noop | Payload::Command(_) => entry.size().saturating_add(ENTRY),
        // A configuration has many small parts, each with its tags and lengths.
        Payload::Configuration(_) => entry.size().saturating_mul(2).saturating_add(2 * ENTRY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Configuration, EntryId, HardState, InstallMode, LogIndex, MAX_NUMBER, NodeId, SnapshotMeta};
    use raft_core::{SnapshotRecord, Term};

    const MOST: EntryId = EntryId { index: LogIndex(MAX_NUMBER), term: Term(MAX_NUMBER) };

    fn write(id: u64, payloads: Vec<Payload>) -> Write {
        let entries = payloads.into_iter().map(|payload| Entry { id: MOST, payload }).collect();
        Write { id: WriteId(id), hard_state: None, truncate_from: None, snapshot: None, entries }
    }

    fn command(bytes: usize) -> Payload {
        Payload::Command(vec![7; bytes].into())
    }

    #[test]
    fn no_record_is_larger_than_counted() {
        let mut configuration = Configuration::of_voters((0..9).map(|id| NodeId(MAX_NUMBER - id)));
        configuration.outgoing.extend((0..9).map(|id| NodeId(MAX_NUMBER - 5 - id)));
        let members = Payload::Configuration(configuration.clone());
        let hard_state = Some(HardState { term: Term(MAX_NUMBER), voted_for: Some(NodeId(u64::MAX)) });
        let meta = SnapshotMeta { last: MOST, configuration, configured_at: MOST };
        let snapshot = Some(SnapshotRecord { meta, log: InstallMode::Discard });
        let truncate_from = Some(MOST.index);
        let full = |payloads| Write { hard_state, truncate_from, ..write(1, payloads) };
        for write in [
            write(1, vec![]),
            full(vec![]),
            full(vec![Payload::Noop]),
            full(vec![command(0); 50]),
            full(vec![command(3), command(200), members.clone(), command(70_000)]),
            full(vec![members]),
            Write { snapshot, ..full(vec![command(1)]) },
        ] {
            // The frame takes 32 bytes, and the padding up to 7.
            let on_disk = raft_proto::encode_write(&write).len() as u64 + 39;
            let (mut counted, mut admitting) = (DiskBudget::new(1 << 30), DiskBudget::new(1 << 30));
            counted.on_write(&write);
            assert!(on_disk <= counted.bytes, "{on_disk} bytes counted as {}: {write}", counted.bytes);
            assert!(admitting.admit_entries(&write.entries));
            let is_covered = admitting.admitted + 1 >= counted.bytes;
            assert!(is_covered || write.snapshot.is_some() || write.entries.is_empty(), "{write}");
        }
    }

    #[test]
    fn three_quarters_may_be_in_flight_and_one_command_always() {
        let mut budget = DiskBudget::new(4_000);
        assert_eq!((budget.admit_command(10_000), budget.admit_command(0)), (true, false), "the first is alone");
        budget.begin_call();
        assert_eq!([1_000, 1_000, 1_000].map(|bytes| budget.admit_command(bytes)), [true, true, false]);
        assert!(!budget.admit_entries(&write(1, vec![command(1_000)]).entries));
        assert!(budget.admit_entries(&Entries::new()));
        budget.begin_call();
        budget.on_write(&write(1, vec![command(1_000)]));
        budget.on_write(&write(2, vec![command(1_000)]));
        assert!(!budget.admit_command(1_000));
        budget.on_persisted(WriteId(1));
        assert!(budget.admit_command(1_000));
        budget.on_persisted(WriteId(9));
        assert_eq!((budget.bytes, budget.writes.len()), (0, 0));
        let mut unlimited = DiskBudget::new(0);
        unlimited.on_write(&write(1, vec![command(1_000)]));
        let admitted = [usize::MAX / 2, 9].map(|bytes| unlimited.admit_command(bytes));
        assert_eq!((admitted, unlimited.bytes), ([true, true], 0));
    }

    #[test]
    fn without_space_no_entries_are_admitted_and_the_node_asks_each_second() {
        let at = |millis: u64| Instant(millis * 1_000_000);
        let mut budget = DiskBudget::new(4_000);
        assert!(!budget.take_space_request(at(0)) && budget.deadline().is_none());
        budget.on_space(true, at(5));
        assert!(budget.admit_command(0), "the core rejects it");
        assert!(!budget.admit_entries(&write(1, vec![Payload::Noop]).entries));
        assert!(budget.admit_entries(&Entries::new()));
        assert_eq!(budget.deadline(), Some(at(1_005)));
        assert_eq!([1_004, 1_005, 1_006].map(|ms| budget.take_space_request(at(ms))), [false, true, false]);
        assert_eq!(budget.deadline(), Some(at(2_005)));
        budget.on_space(false, at(2_006));
        assert_eq!((budget.admit_entries(&write(1, vec![Payload::Noop]).entries), budget.deadline()), (true, None));
    }
}
