//! Whether the disk has room for more entries. What can be refused is refused before a write could fail for want of space:
//! proposals with "no space", which surely has no effect, and a peer's entries in silence, as if the message were lost.
//! Reads, elections, heartbeats and what these have to write go on.
//!
//! The store keeps a reserve ahead and says with each sync whether it is whole. While it is, this file lets at most three
//! quarters of it be on their way, in bytes as they are on the disk. So whatever the next word of the store is, all that
//! was let through fits; and a quarter is left for what nobody can refuse: hard states, a new leader's no-op, the end of a
//! joint configuration, the names of snapshots. This file must not know how a store comes by its reserve.

use crate::node::outputs::Reply;
use raft_core::{Entries, Entry, Instant, Payload, RejectReason, Write, WriteId};
use std::collections::VecDeque;
use std::time::Duration;

/// How often the store is asked while it has no room: often enough for a person who has just made some.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// At most so many bytes of a record are neither entries nor a configuration: frame, padding, hard state, truncation.
const RECORD: u64 = 128;
/// At most so many bytes of an entry are not counted by its size: tags and lengths, and long numbers.
const ENTRY: u64 = 40;

/// What is on its way to the disk, and what the disk has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskBudget {
    /// So many bytes of entries may be on their way.
    limit: u64,
    /// What is on its way: each write's number and bytes.
    writes: VecDeque<(WriteId, u64)>,
    /// Their sum.
    bytes: u64,
    /// What was let through in the running call and is no write yet.
    promised: u64,
    /// When the store is to be asked again; none while it has room.
    ask_at: Option<Instant>,
}

impl DiskBudget {
    /// A store with a reserve of so many bytes; 0: nothing is known of one, and everything is let through.
    pub(crate) fn new(reserve_bytes: u64) -> Self {
        let limit = if reserve_bytes == 0 { u64::MAX } else { reserve_bytes / 4 * 3 };
        Self { limit, writes: VecDeque::new(), bytes: 0, promised: 0, ask_at: None }
    }

    /// A call begins: what the last one let through has become writes, or nothing.
    pub(crate) fn begin(&mut self) {
        self.promised = 0;
    }

    /// Whether a command of so many bytes may be proposed; then it counts. One may always, if nothing else is on its way.
    ///
    /// # Errors
    /// What a leader replies: `NoSpace`, or `Busy`.
    pub(crate) fn take_command(&mut self, bytes: usize) -> Result<(), Reply> {
        self.take(RECORD + 2 * ENTRY + bytes as u64)
    }

    /// Whether entries of a peer may be handed to the core; then they count.
    pub(crate) fn take_entries(&mut self, entries: &Entries) -> bool {
        entries.is_empty() || self.take(RECORD + bytes_of(entries)).is_ok()
    }

    fn take(&mut self, bytes: u64) -> Result<(), Reply> {
        if self.ask_at.is_some() {
            return Err(Reply::NoSpace);
        }
        let before = self.bytes.saturating_add(self.promised);
        if before > 0 && before.saturating_add(bytes) > self.limit {
            return Err(Reply::Rejected { reason: RejectReason::Busy });
        }
        self.promised = self.promised.saturating_add(bytes);
        Ok(())
    }

    /// The core has asked for this write.
    pub(crate) fn asked(&mut self, write: &Write) {
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

    /// This write and all before it are durable, and the store has said what room it has after them.
    pub(crate) fn persisted(&mut self, write: WriteId) {
        while let Some(&(id, bytes)) = self.writes.front()
            && id <= write
        {
            self.writes.pop_front();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// The store's word.
    pub(crate) fn on_space(&mut self, is_low: bool, now: Instant) {
        self.ask_at = is_low.then(|| now.after(ASK_EVERY));
    }

    /// Whether the store is to be asked now, and not again for a while.
    pub(crate) fn is_to_be_asked(&mut self, now: Instant) -> bool {
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        if is_due {
            self.ask_at = Some(now.after(ASK_EVERY));
        }
        is_due
    }

    /// When that is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }
}

/// At most what these entries take in a record.
fn bytes_of(entries: &Entries) -> u64 {
    entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry_bytes(entry)))
}

fn entry_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Noop | Payload::Command(_) => entry.size().saturating_add(ENTRY),
        // Many small parts, each with tags and lengths of its own.
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
    fn no_record_takes_more_than_it_is_counted_for() {
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
            // A frame of 32 bytes, and up to 7 of padding.
            let taken = raft_proto::encode_write(&write).len() as u64 + 39;
            let mut disk_budget = DiskBudget::new(1 << 30);
            disk_budget.asked(&write);
            assert!(taken <= disk_budget.bytes, "{taken} bytes counted as {}: {write}", disk_budget.bytes);
            let mut promising = DiskBudget::new(1 << 30);
            assert!(promising.take_entries(&write.entries));
            assert!(
                write.snapshot.is_some() || promising.promised + 1 >= disk_budget.bytes || write.entries.is_empty()
            );
        }
    }

    #[test]
    fn three_quarters_may_be_on_their_way_and_one_command_always() {
        let busy = Err(Reply::Rejected { reason: RejectReason::Busy });
        let mut disk_budget = DiskBudget::new(4_000);
        assert_eq!(disk_budget.take_command(10_000), Ok(()), "it is alone");
        assert_eq!(disk_budget.take_command(0), busy);
        disk_budget.begin();
        assert_eq!((disk_budget.take_command(1_000), disk_budget.take_command(1_000)), (Ok(()), Ok(())));
        assert_eq!(disk_budget.take_command(1_000), busy);
        assert!(
            !disk_budget.take_entries(&write(1, vec![command(1_000)]).entries)
                && disk_budget.take_entries(&Entries::new())
        );
        disk_budget.begin();
        disk_budget.asked(&write(1, vec![command(1_000)]));
        disk_budget.asked(&write(2, vec![command(1_000)]));
        assert_eq!(disk_budget.take_command(1_000), busy);
        disk_budget.persisted(WriteId(1));
        assert_eq!(disk_budget.take_command(1_000), Ok(()));
        disk_budget.persisted(WriteId(9));
        assert_eq!((disk_budget.bytes, disk_budget.writes.len()), (0, 0));
    }

    #[test]
    fn without_room_nothing_is_taken_and_the_store_is_asked_each_second() {
        let at = |millis: u64| Instant(millis * 1_000_000);
        let mut disk_budget = DiskBudget::new(4_000);
        assert!(!disk_budget.is_to_be_asked(at(0)) && disk_budget.deadline().is_none());
        disk_budget.on_space(true, at(5));
        assert_eq!(disk_budget.take_command(0), Err(Reply::NoSpace));
        assert!(
            !disk_budget.take_entries(&write(1, vec![Payload::Noop]).entries)
                && disk_budget.take_entries(&Entries::new())
        );
        assert_eq!(disk_budget.deadline(), Some(at(1_005)));
        assert!(
            !disk_budget.is_to_be_asked(at(1_004))
                && disk_budget.is_to_be_asked(at(1_005))
                && !disk_budget.is_to_be_asked(at(1_006))
        );
        assert_eq!(disk_budget.deadline(), Some(at(2_005)));
        disk_budget.on_space(false, at(2_006));
        assert_eq!((disk_budget.take_command(0), disk_budget.deadline()), (Ok(()), None));
        let mut unlimited = DiskBudget::new(0);
        unlimited.asked(&write(1, vec![command(1_000)]));
        assert_eq!(
            (unlimited.take_command(usize::MAX / 2), unlimited.take_command(9), unlimited.bytes),
            (Ok(()), Ok(()), 0)
        );
    }
}
