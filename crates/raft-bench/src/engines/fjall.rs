//! fjall: a keyspace from index to entry, one batch persisted by `SyncAll` for each group, and default options; its
//! threads flush and compact in parallel.

use super::Engine;
use crate::entries::Group;
use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

pub(super) struct Fjall {
    database: Database,
    log: Keyspace,
    /// Entries below this are removed.
    first: u64,
}

impl Fjall {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder).open()?;
        let log = database.keyspace("log", KeyspaceCreateOptions::default)?;
        Ok(Self { database, log, first: 1 })
    }
}

impl Engine for Fjall {
    fn append(&mut self, group: &Group) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (index, data) in group.entries() {
            batch.insert(&self.log, index.to_be_bytes(), &data[..]);
        }
        Ok(batch.commit()?)
    }

    fn remove_before(&mut self, before: u64) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for index in self.first..before {
            batch.remove(&self.log, index.to_be_bytes());
        }
        self.first = before;
        Ok(batch.commit()?)
    }

    fn read(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.log.get(index.to_be_bytes())?.map(|data| data.to_vec()))
    }
}
