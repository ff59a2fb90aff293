//! A disk in memory that loses no data, and whose files tests can change.

use crate::{Disk, DiskError, DiskErrorKind};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    pub syncs: u32,
    pub writes: u32,
    /// The largest read, in bytes.
    pub largest_read: usize,
}

impl Memory {
    fn error(kind: DiskErrorKind, file: &str) -> DiskError {
        DiskError { kind, file: file.to_owned(), message: format!("{kind:?}") }
    }

    fn file(&mut self, file: &str) -> Result<&mut Vec<u8>, DiskError> {
        self.files.get_mut(file).ok_or_else(|| Self::error(DiskErrorKind::NotFound, file))
    }
}

impl Disk for Memory {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.files.keys().cloned().collect())
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        if self.files.contains_key(file) {
            return Err(Self::error(DiskErrorKind::Exists, file));
        }
        self.files.insert(file.to_owned(), Vec::new());
        Ok(())
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        Ok(self.file(file)?.len() as u64)
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.largest_read = self.largest_read.max(buffer.len());
        let content = self.file(file)?;
        let content = content.get(offset as usize..).unwrap_or_default();
        let count = content.len().min(buffer.len());
        buffer[..count].copy_from_slice(&content[..count]);
        Ok(count)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.writes += 1;
        let content = self.file(file)?;
        let end = offset as usize + data.len();
        content.resize(content.len().max(end), 0);
        content[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        self.file(file)?.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.syncs += 1;
        self.file(file).map(drop)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let content = self.files.remove(from).ok_or_else(|| Self::error(DiskErrorKind::NotFound, from))?;
        self.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.files.remove(file).map(drop).ok_or_else(|| Self::error(DiskErrorKind::NotFound, file))
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}
