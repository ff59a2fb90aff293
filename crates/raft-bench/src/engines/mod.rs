//! The engines, behind the few operations that a Raft log needs.

mod fjall;
mod own;
mod redb;

use crate::entries::Group;
use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All engines; the others are compared with the first one.
pub(crate) const ALL: [Name; 3] = [Name::Own, Name::Redb, Name::Fjall];

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    /// The log of raft-store, on real files
    Own,
    /// redb, durability immediate
    Redb,
    /// fjall, every batch persisted by sync-all
    Fjall,
}

impl Name {
    /// Its name in tables and command lines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
        }
    }

    /// Opens it in this folder; creates it if the folder is empty.
    pub(crate) fn open(self, folder: &Path) -> Result<Box<dyn Engine>> {
        std::fs::create_dir_all(folder)?;
        Ok(match self {
            Self::Own => Box::new(own::Own::open(folder)?),
            Self::Redb => Box::new(redb::Redb::open(folder)?),
            Self::Fjall => Box::new(fjall::Fjall::open(folder)?),
        })
    }
}

/// A log on a disk.
pub(crate) trait Engine {
    /// Appends a group, which is durable when this returns.
    fn append(&mut self, group: &Group) -> Result<()>;

    /// Removes entries below `before`, which is at most one above the last entry.
    fn remove_before(&mut self, before: u64) -> Result<()>;

    /// The payload of the entry at `index`, if there is one.
    fn read(&mut self, index: u64) -> Result<Option<Vec<u8>>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::payload;

    #[test]
    fn every_engine_keeps_its_entries_and_removes_old_ones() {
        for name in ALL {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = name.open(folder.path()).unwrap();
            for first in (1..=60).step_by(3) {
                engine.append(&Group::of(first, 3, 100)).unwrap();
            }
            engine.remove_before(40).unwrap();
            engine.append(&Group::of(61, 1, 100)).unwrap();
            drop(engine);
            let mut engine = name.open(folder.path()).unwrap();
            for index in 40..=61 {
                assert_eq!(engine.read(index).unwrap().as_deref(), Some(&payload(index, 100)[..]), "{name:?} {index}");
            }
            assert_eq!(engine.read(62).unwrap(), None, "{name:?}");
            // Our engine removes only whole segments.
            assert!(name == Name::Own || engine.read(39).unwrap().is_none(), "{name:?}");
        }
    }
}
