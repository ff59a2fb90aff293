//! Which files of snapshots are of no use any more. A file is needed while a record names it that a start may go by, while
//! one may come to name it in this very call, and while it is being sent.
//!
//! This file must not know what is in a snapshot, nor how it came.

use raft_core::{EntryId, Write, WriteId};
use std::collections::{BTreeSet, VecDeque};

/// The whole files of snapshots on this node's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// All of them.
    on_disk: BTreeSet<EntryId>,
    /// That of the newest record that is durable.
    in_force: Option<EntryId>,
    /// Those of the records that are not.
    in_flight: VecDeque<(WriteId, EntryId)>,
    /// Those of which the core is told in this call.
    reported: BTreeSet<EntryId>,
}

impl Files {
    /// What a start finds: the snapshot that the log goes by.
    pub(crate) fn new(in_force: Option<EntryId>) -> Self {
        Self { on_disk: in_force.into_iter().collect(), in_force, ..Self::default() }
    }

    /// A file is there, and the core is about to be told.
    pub(crate) fn reported(&mut self, last: EntryId) {
        self.on_disk.insert(last);
        self.reported.insert(last);
    }

    /// A record is asked for.
    pub(crate) fn asked(&mut self, write: &Write) {
        if let Some(record) = &write.snapshot {
            self.in_flight.push_back((write.id, record.meta.last));
        }
    }

    /// This record and all before it are durable.
    pub(crate) fn persisted(&mut self, write: WriteId) {
        while let Some(&(_, last)) = self.in_flight.front().filter(|(id, _)| *id <= write) {
            self.in_flight.pop_front();
            self.in_force = Some(last);
        }
    }

    /// The call is over: forgets the files that are obsolete, and says which. `is_made`: it is being written, by this node or from
    /// a peer's chunks, and its end will be told of; to remove it meanwhile would be to remove what a record is about to name.
    pub(crate) fn settle(
        &mut self,
        is_sent: impl Fn(EntryId) -> bool,
        is_made: impl Fn(EntryId) -> bool,
    ) -> Vec<EntryId> {
        let reported = std::mem::take(&mut self.reported);
        if reported.is_empty() && self.on_disk.len() <= 1 {
            return Vec::new();
        }
        let is_named = |last| self.in_force == Some(last) || self.in_flight.iter().any(|(_, named)| *named == last);
        let is_over = |last: EntryId| self.in_force.is_some_and(|newest| last.index < newest.index) && !is_sent(last);
        let is_kept = |last| is_named(last) || is_made(last);
        let useless = |last: &EntryId| !is_kept(*last) && (reported.contains(last) || is_over(*last));
        let useless: Vec<EntryId> = self.on_disk.iter().copied().filter(useless).collect();
        self.on_disk.retain(|last| !useless.contains(last));
        useless
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Configuration, InstallMode, NodeId, SnapshotMeta, SnapshotRecord};

    fn id(index: u64) -> EntryId {
        EntryId::new(index, 1)
    }

    fn naming(write: u64, index: u64) -> Write {
        let configuration = Configuration::of_voters([NodeId(1)]);
        let meta = SnapshotMeta { last: id(index), configuration: configuration.clone(), configured_at: id(1) };
        let snapshot = Some(SnapshotRecord { meta, log: InstallMode::Keep });
        Write { id: WriteId(write), snapshot, ..Write::bootstrap(configuration) }
    }

    #[test]
    fn a_file_that_no_record_of_its_call_names_is_of_no_use() {
        let mut files = Files::new(None);
        files.reported(id(5));
        files.reported(id(7));
        files.asked(&naming(1, 7));
        assert_eq!(files.settle(|_| false, |_| false), [id(5)]);
        assert_eq!(files.settle(|_| false, |_| false), []);
        files.reported(id(7));
        assert_eq!(files.settle(|_| false, |_| false), [], "a record names it already");
    }

    #[test]
    fn a_file_that_is_being_made_stays_until_its_end_is_told() {
        let mut files = Files::new(None);
        files.reported(id(9));
        assert_eq!(files.settle(|_| false, |last| last == id(9)), [], "another one of that name is being written");
        files.reported(id(9));
        files.asked(&naming(1, 9));
        assert_eq!(files.settle(|_| false, |_| false), []);
    }

    #[test]
    fn an_older_file_is_of_no_use_once_the_newer_record_is_durable_and_nobody_is_sent_it() {
        let mut files = Files::new(Some(id(5)));
        for index in [7, 9] {
            files.reported(id(index));
            files.asked(&naming(index, index));
            assert_eq!(files.settle(|_| false, |_| false), [], "a crash may lead back to the older one");
        }
        files.persisted(WriteId(6));
        assert_eq!(files.settle(|_| false, |_| false), []);
        files.persisted(WriteId(8));
        assert_eq!(files.settle(|last| last == id(5), |_| false), []);
        files.persisted(WriteId(9));
        assert_eq!(files.settle(|last| last == id(5), |_| false), [id(7)]);
        assert_eq!(files.settle(|_| false, |_| false), [id(5)]);
        assert_eq!(files.settle(|_| false, |_| false), []);
    }
}
