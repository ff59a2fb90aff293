//! A disk whose syncs can fail the way they really do: what was to be made durable is dropped and yet stays readable, and
//! the next sync, which has nothing to do with it any more, succeeds. A power loss shows what is really there.

use crate::conformance::memory_disk::Memory;
use crate::{Disk, DiskError, DiskErrorKind};
use std::collections::BTreeMap;
use std::ops::Range;

/// A folder in memory with a cache before it. Names and lengths are never dropped: a file system's journal sees to them.
#[derive(Clone, Debug, Default)]
pub struct Dropping {
    /// What can be read.
    cache: Memory,
    /// What a power loss leaves of the files.
    durable: BTreeMap<String, Vec<u8>>,
    /// What the next sync has to write, by file.
    dirty: BTreeMap<String, Vec<Range<usize>>>,
    /// So many more syncs of files succeed; the one after fails. None: all succeed.
    pub syncs_left: Option<u32>,
}

impl Dropping {
    /// An empty one on which so many syncs succeed.
    pub fn after(syncs: u32) -> Self {
        Self { syncs_left: Some(syncs), ..Self::default() }
    }

    /// The power fails, and comes back.
    pub fn lose_power(&mut self) {
        for (file, content) in &mut self.cache.files {
            *content = self.durable.get(file).cloned().unwrap_or_default();
        }
        self.dirty.clear();
        self.syncs_left = None;
    }
}

impl Disk for Dropping {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.cache.list()
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.cache.create(file)
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        self.cache.len(file)
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.cache.read(file, offset, buffer)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.cache.write(file, offset, data)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        self.dirty.entry(file.to_owned()).or_default().push(from..from + data.len());
        Ok(())
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        self.cache.set_len(file, length)
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        let content = self.cache.files.get(file).cloned().unwrap_or_default();
        let dirty = self.dirty.remove(file).unwrap_or_default();
        match &mut self.syncs_left {
            Some(0) => {
                let message = "the device failed, and nobody will say so again".to_owned();
                return Err(DiskError { kind: DiskErrorKind::Failed, file: file.to_owned(), message });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let durable = self.durable.entry(file.to_owned()).or_default();
        durable.resize(content.len(), 0);
        for range in dirty {
            let range = range.start.min(content.len())..range.end.min(content.len());
            durable[range.clone()].copy_from_slice(&content[range]);
        }
        self.cache.sync(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.cache.rename(from, to)?;
        let content = self.durable.remove(from).unwrap_or_default();
        self.durable.insert(to.to_owned(), content);
        let dirty = self.dirty.remove(from).unwrap_or_default();
        self.dirty.insert(to.to_owned(), dirty);
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.cache.remove(file)?;
        self.durable.remove(file);
        self.dirty.remove(file);
        Ok(())
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.cache.sync_folder()
    }
}
