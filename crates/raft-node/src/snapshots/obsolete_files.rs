//! The snapshot files that the disk can delete. A file is needed while a durable record or one in flight names it,
//! while the current call may emit such a record, and while a transfer sends it.
//!
//! This file must not know the content of a snapshot, nor its origin.

use raft_core::{EntryId, Write, WriteId};
use std::collections::{BTreeSet, VecDeque};

/// The complete snapshot files on this node's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotFiles {
    on_disk: BTreeSet<EntryId>,
    /// The file that the newest durable record names.
    durable: Option<EntryId>,
    /// The files that records in flight name.
    in_flight: VecDeque<(WriteId, EntryId)>,
    /// The files that this call reports to the core.
    completed: BTreeSet<EntryId>,
}

impl SnapshotFiles {
    /// The state after a start: the file that the newest record names.
    pub(crate) fn new(durable: Option<EntryId>) -> Self {
        Self { on_disk: durable.into_iter().collect(), durable, ..Self::default() }
    }

    /// Notes a complete file that this call reports to the core.
    pub(crate) fn on_complete(&mut self, last: EntryId) {
        self.on_disk.insert(last);
        self.completed.insert(last);
    }

    /// Notes a write of the core, perhaps with a record.
    pub(crate) fn on_write(&mut self, write: &Write) {
        self.in_flight.extend(write.snapshot.as_ref().map(|record| (write.id, record.meta.last)));
    }

    /// Notes that this write and all earlier ones are durable.
    pub(crate) fn on_persisted(&mut self, write: WriteId) {
        while let Some(&(_, last)) = self.in_flight.front().filter(|(id, _)| *id <= write) {
            self.in_flight.pop_front();
            self.durable = Some(last);
        }
    }

    /// Ends the call: returns the files that are not needed, and no longer counts them. `is_written`: a new file with
    /// this name is being written. *Without it*, a record could name the new file while the old one's removal deletes
    /// it.
    pub(crate) fn take_obsolete(
        &mut self,
        is_sent: impl Fn(EntryId) -> bool,
        is_written: impl Fn(EntryId) -> bool,
    ) -> Vec<EntryId> {
        let completed = std::mem::take(&mut self.completed);
        if completed.is_empty() && self.on_disk.len() <= 1 {
            return Vec::new();
        }
        let is_named = |last| self.durable == Some(last) || self.in_flight.iter().any(|(_, named)| *named == last);
        let is_old = |last: EntryId| self.durable.is_some_and(|newest| last.index < newest.index) && !is_sent(last);
        let is_obsolete =
            |&last: &EntryId| !is_named(last) && !is_written(last) && (completed.contains(&last) || is_old(last));
        let obsolete: Vec<EntryId> = self.on_disk.iter().copied().filter(is_obsolete).collect();
        self.on_disk.retain(|last| !obsolete.contains(last));
        obsolete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Configuration, InstallMode, NodeId, SnapshotMeta, SnapshotRecord};

    fn id(index: u64) -> EntryId {
        EntryId::new(index, 1)
    }

    /// A write with a record that names the file at `index`.
    fn naming(write: u64, index: u64) -> Write {
        let configuration = Configuration::of_voters([NodeId(1)]);
        let meta = SnapshotMeta { last: id(index), configuration: configuration.clone(), configured_at: id(1) };
        let snapshot = Some(SnapshotRecord { meta, log: InstallMode::Keep });
        Write { id: WriteId(write), snapshot, ..Write::bootstrap(configuration) }
    }

    /// The obsolete files while one file is being sent and another is being written; 0 means none.
    fn obsolete(files: &mut SnapshotFiles, sent: u64, written: u64) -> Vec<u64> {
        let obsolete = files.take_obsolete(|last| last == id(sent), |last| last == id(written));
        obsolete.iter().map(|last| last.index.0).collect()
    }

    #[test]
    fn a_file_that_no_record_of_its_call_names_is_obsolete() {
        let mut files = SnapshotFiles::new(None);
        files.on_complete(id(5));
        files.on_complete(id(7));
        files.on_write(&naming(1, 7));
        assert_eq!([obsolete(&mut files, 0, 0), obsolete(&mut files, 0, 0)], [vec![5], vec![]]);
        files.on_complete(id(7));
        assert_eq!(obsolete(&mut files, 0, 0), [0; 0], "a record names it already");
    }

    #[test]
    fn a_file_that_is_written_again_stays() {
        let mut files = SnapshotFiles::new(None);
        files.on_complete(id(9));
        assert_eq!(obsolete(&mut files, 0, 9), [0; 0]);
        files.on_complete(id(9));
        files.on_write(&naming(1, 9));
        assert_eq!(obsolete(&mut files, 0, 0), [0; 0]);
    }

    #[test]
    fn an_older_file_is_obsolete_once_the_newer_record_is_durable_and_no_peer_is_sent_it() {
        let mut files = SnapshotFiles::new(Some(id(5)));
        for index in [7, 9] {
            files.on_complete(id(index));
            files.on_write(&naming(index, index));
            assert_eq!(obsolete(&mut files, 0, 0), [0; 0], "a crash may restore the older one");
        }
        for (persisted, sent, expected) in
            [(6, 0, vec![]), (8, 5, vec![]), (9, 5, vec![7]), (9, 0, vec![5]), (9, 0, vec![])]
        {
            files.on_persisted(WriteId(persisted));
            assert_eq!(obsolete(&mut files, sent, 0), expected, "{persisted} is durable, {sent} is sent");
        }
    }
}
