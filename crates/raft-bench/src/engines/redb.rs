//! redb: a table from index to entry, one write transaction of durability `Immediate` for each group, and default
//! options.

use super::Engine;
use crate::entries::Group;
use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableError};
use std::path::Path;

/// Keys are big-endian indexes, for a store that orders bytes.
const LOG: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("log");

pub(super) struct Redb(Database);

impl Redb {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Database::create(folder.join("log.redb"))?))
    }
}

impl Engine for Redb {
    fn append(&mut self, group: &Group) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(LOG)?;
            for (index, data) in group.entries() {
                table.insert(&index.to_be_bytes(), &data[..])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn remove_before(&mut self, before: u64) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let before = before.to_be_bytes();
        transaction.open_table(LOG)?.retain_in::<&[u8; 8], _>(..&before, |_, _| false)?;
        Ok(transaction.commit()?)
    }

    fn read(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        let table = match self.0.begin_read()?.open_table(LOG) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(&index.to_be_bytes())?.map(|data| data.value().to_vec()))
    }
}
