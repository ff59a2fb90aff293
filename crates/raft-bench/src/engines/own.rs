//! The log of raft-store with a node's options. It never preallocates between commits (`Store::preallocate`), so its
//! whole cost is in its commits.

use super::Engine;
use crate::entries::Group;
use anyhow::Result;
use raft_core::{
    Configuration, Entries, Entry, EntryId, InstallMode, LogIndex, NodeId, Payload, SnapshotMeta, SnapshotRecord,
    Write, WriteId,
};
use raft_store::{Files, OpenError, Store, StoreOptions};
use std::path::Path;

/// All entries are of one term.
const TERM: u64 = 1;

pub(super) struct Own(Store<Files>);

impl Own {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let files = Files::open(folder, true)?;
        let (store, _) = Store::open(files, StoreOptions::default()).map_err(|OpenError { error, .. }| error)?;
        Ok(Self(store))
    }
}

impl Engine for Own {
    fn append(&mut self, group: &Group) -> Result<()> {
        let entry = |(index, data): (u64, &bytes::Bytes)| Entry {
            id: EntryId::new(index, TERM),
            payload: Payload::Command(data.clone()),
        };
        self.0.write(&[Write { entries: group.entries().map(entry).collect(), ..nothing() }])?;
        Ok(self.0.sync()?)
    }

    /// Only entries that a snapshot covers can be removed: an empty one replaces a state machine's.
    fn remove_before(&mut self, before: u64) -> Result<()> {
        let meta = SnapshotMeta {
            last: EntryId::new(before - 1, TERM),
            configuration: Configuration::of_voters([NodeId(1)]),
            configured_at: EntryId::new(1, TERM),
        };
        self.0.save_snapshot(&meta, &[])?;
        self.0.write(&[Write { snapshot: Some(SnapshotRecord { meta, log: InstallMode::Keep }), ..nothing() }])?;
        self.0.sync()?;
        Ok(self.0.compact(LogIndex(before))?)
    }

    fn read(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        let entries = self.0.read(LogIndex(index), LogIndex(index), u64::MAX)?;
        Ok(entries.iter().find_map(|entry| match &entry.payload {
            Payload::Command(data) if entry.id.index == LogIndex(index) => Some(data.to_vec()),
            _ => None,
        }))
    }
}

fn nothing() -> Write {
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot: None, entries: Entries::new() }
}
