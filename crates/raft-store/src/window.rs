//! Reads a file through a buffer of bounded size, whatever length the file claims. Must not know what it reads.

use crate::disk::{Disk, DiskError};

/// How much is read at once: large enough for few calls, small enough for any machine.
const CHUNK: u64 = 256 * 1024;

/// A file being read, mostly forwards.
pub(crate) struct Window<'a, D> {
    disk: &'a mut D,
    file: &'a str,
    length: u64,
    start: u64,
    data: Vec<u8>,
}

impl<'a, D: Disk> Window<'a, D> {
    pub(crate) fn open(disk: &'a mut D, file: &'a str) -> Result<Self, DiskError> {
        let length = disk.len(file)?;
        Ok(Self { disk, file, length, start: 0, data: Vec::new() })
    }

    /// The file's length.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The `count` bytes at `offset`, or as many as there are before the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, count: u64) -> Result<&[u8], DiskError> {
        let count = count.min(self.length.saturating_sub(offset));
        let held = offset >= self.start && offset + count <= self.start + self.data.len() as u64;
        if !held {
            let wanted = count.max(CHUNK.min(self.length.saturating_sub(offset)));
            self.data.clear();
            self.data.resize(usize::try_from(wanted).unwrap_or(usize::MAX), 0);
            self.start = offset;
            let read = self.disk.read(self.file, offset, &mut self.data)?;
            self.data.truncate(read);
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.data.len());
        let to = from.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(self.data.len());
        Ok(&self.data[from..to])
    }

    /// What the buffer can show from `offset` on in one piece; empty at the end of the file.
    pub(crate) fn chunk(&mut self, offset: u64) -> Result<&[u8], DiskError> {
        self.bytes(offset, CHUNK)
    }
}
