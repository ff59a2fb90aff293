//! A disk that counts what is asked of another one. Must not change anything of it.

use super::Asked;
use raft_store::{Disk, DiskError};

/// Another disk, and what was asked of it.
pub(crate) struct Counting<D> {
    disk: D,
    asked: Asked,
}

impl<D> Counting<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, asked: Asked::default() }
    }

    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }
}

impl<D: Disk> Disk for Counting<D> {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.disk.create(file)
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        self.disk.len(file)
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read(file, offset, buffer)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.disk.write(file, offset, data)
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        self.asked.ahead += length.saturating_sub(self.disk.len(file)?);
        self.disk.set_len(file, length)
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.asked.syncs += 1;
        self.disk.sync(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.disk.remove(file)
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.asked.syncs += 1;
        self.disk.sync_folder()
    }
}
