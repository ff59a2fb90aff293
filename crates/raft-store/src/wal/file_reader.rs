//! Reads a file forwards or backwards through a buffer of limited size, whatever the length of the file.

use crate::disk::{Disk, DiskError};

/// Bytes of one read: large enough for few calls, small enough for any machine.
pub(crate) const CHUNK: u64 = 256 * 1024;

pub(crate) struct FileReader<'a, D> {
    disk: &'a mut D,
    file: &'a str,
    length: u64,
    start: u64,
    data: Vec<u8>,
}

impl<'a, D: Disk> FileReader<'a, D> {
    pub(crate) fn open(disk: &'a mut D, file: &'a str) -> Result<Self, DiskError> {
        let length = disk.len(file)?;
        Ok(Self { disk, file, length, start: 0, data: Vec::new() })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The `count` bytes at `offset`, or fewer at the end of the file.
    pub(crate) fn bytes(&mut self, offset: u64, count: u64) -> Result<&[u8], DiskError> {
        let count = count.min(self.length.saturating_sub(offset));
        let is_buffered = offset >= self.start && offset + count <= self.start + self.data.len() as u64;
        if !is_buffered {
            // A backward reader continues backwards, but also reads the bytes after its offset.
            let start = if offset < self.start { offset.saturating_sub(CHUNK / 2) } else { offset };
            let wanted = (offset + count - start).max(CHUNK.min(self.length.saturating_sub(start)));
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            // A large enough buffer need not be zeroed again.
            if self.data.len() < wanted {
                self.data = vec![0; wanted];
            }
            self.data.truncate(wanted);
            self.start = start;
            let read = self.disk.read(self.file, start, &mut self.data)?;
            self.data.truncate(read);
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.data.len());
        let to = from.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(self.data.len());
        Ok(&self.data[from..to])
    }

    /// The buffered bytes from `offset` on; empty at the end of the file.
    pub(crate) fn chunk(&mut self, offset: u64) -> Result<&[u8], DiskError> {
        self.bytes(offset, CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Memory;

    #[test]
    fn forwards_backwards_and_at_random_it_reads_the_files_bytes() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 77).map(|place| (place * 31 / 7) as u8).collect();
        let mut disk = Memory::default();
        disk.files.insert("data".to_owned(), bytes.clone());
        let mut reader = FileReader::open(&mut disk, "data").expect("there");
        let end = bytes.len() as u64;
        let forwards: Vec<u64> = (0..end + 5000).step_by(4099).collect();
        let around = (0..40).map(|number| number * 7_654_321 % end);
        let places: Vec<u64> = forwards.iter().chain(forwards.iter().rev()).copied().chain(around).collect();
        for (offset, number) in places.into_iter().zip(0_u64..) {
            let count = [32, 5000, CHUNK, CHUNK + 1, 2 * CHUNK][number as usize % 5];
            let from = offset.min(end) as usize;
            let to = (offset + count).min(end).max(offset.min(end)) as usize;
            let shown = reader.bytes(offset, count).expect("a disk that works");
            assert!(shown == &bytes[from..to], "{count} bytes at {offset}");
        }
    }
}
