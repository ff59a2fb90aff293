//! The log of raft-store with the options that a node has. It is never told to use a quiet moment (`Store::preallocate`), so that
//! all it costs is in its commits.

use super::counting::Counting;
use super::{Asked, Engine};
use crate::entries::Group;
use anyhow::Result;
use raft_core::{
    Configuration, Entries, Entry, EntryId, InstallMode, LogIndex, NodeId, Payload, SnapshotMeta, SnapshotRecord, Write,
    WriteId,
};
use raft_store::{Files, OpenError, Store, StoreOptions};
use std::path::Path;

/// All entries are of one term.
const TERM: u64 = 1;

pub(super) struct Own(Store<Counting<Files>>);

impl Own {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let disk = Counting::new(Files::open(folder, true)?);
        let (store, _) = Store::open(disk, StoreOptions::default()).map_err(|OpenError { error, .. }| error)?;
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

    /// Only what a snapshot covers may go: an empty one stands in for the state that a machine would have.
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

    fn asked(&self) -> Option<Asked> {
        Some(self.0.disk().asked())
    }
}

fn nothing() -> Write {
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot: None, entries: Entries::new() }
}
