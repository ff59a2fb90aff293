//! Reads a file through a buffer of bounded size, whatever length the file claims, forwards or backwards. Must not know
//! what it reads.

use crate::disk::{Disk, DiskError};

/// How much is read at once: large enough for few calls, small enough for any machine.
pub(crate) const CHUNK: u64 = 256 * 1024;

/// A file being read.
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
            // Who has gone backwards goes on backwards, but reads what follows a place as well.
            let start = if offset < self.start { offset.saturating_sub(CHUNK / 2) } else { offset };
            let wanted = (offset + count - start).max(CHUNK.min(self.length.saturating_sub(start)));
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            // What is read anyway need not be zeros before.
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

    /// What the buffer can show from `offset` on in one piece; empty at the end of the file.
    pub(crate) fn chunk(&mut self, offset: u64) -> Result<&[u8], DiskError> {
        self.bytes(offset, CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;

    #[test]
    fn whichever_way_it_is_read_it_shows_what_is_there() {
        let folder = tempfile::tempdir().expect("there is a place for temporary files");
        let mut disk = Files::open(folder.path(), false).expect("an empty folder");
        let bytes: Vec<u8> = (0..3 * CHUNK + 77).map(|place| (place * 31 / 7) as u8).collect();
        disk.create("data").and_then(|()| disk.write("data", 0, &bytes)).expect("a disk that works");
        let mut window = Window::open(&mut disk, "data").expect("there");
        let end = bytes.len() as u64;
        let forwards: Vec<u64> = (0..end + 5000).step_by(4099).collect();
        let around = (0..40).map(|number| number * 7_654_321 % end);
        let places: Vec<u64> = forwards.iter().chain(forwards.iter().rev()).copied().chain(around).collect();
        for (offset, number) in places.into_iter().zip(0_u64..) {
            let count = [32, 5000, CHUNK, CHUNK + 1, 2 * CHUNK][number as usize % 5];
            let from = offset.min(end) as usize;
            let to = (offset + count).min(end).max(offset.min(end)) as usize;
            let shown = window.bytes(offset, count).expect("a disk that works");
            assert!(shown == &bytes[from..to], "{count} bytes at {offset}");
        }
    }
}
