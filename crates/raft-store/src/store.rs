//! The store: groups of writes go to the newest segment in one disk write each, and one sync makes them durable.

use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::format::{Frame, MAX_PAYLOAD, SEGMENT_HEADER, SegmentHeader, record_bytes, segment_file};
use crate::recovery::{Recovery, recover};
use crate::walk::{Known, Position, fits};
use raft_core::{LogIndex, Write};
use raft_proto::encode_write;

/// The smallest segment: a few records must fit, or every group would make a file.
pub const MIN_SEGMENT_BYTES: u64 = 4096;

/// How a store lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of a segment, preallocated; at least [`MIN_SEGMENT_BYTES`]. A group of writes that is larger gets a segment
    /// as large as it needs. May differ from what the existing segments were made with. Default 64 MiB.
    pub segment_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// The write-ahead log of one node.
///
/// Invariant: everything before `durable` in the newest segment, all earlier segments and all names are durable.
#[derive(Clone, Debug)]
pub struct Store<D> {
    disk: D,
    options: StoreOptions,
    /// The newest segment and where the next record goes.
    position: Position,
    /// Its file.
    file: String,
    /// How far it is synced.
    durable: u64,
    /// The log's last index.
    last: LogIndex,
    /// The first failure, if there was one.
    poison: Option<Box<StoreError>>,
}

impl<D: Disk> Store<D> {
    /// Opens the store on this disk, a new one if there is none, and recovers. What it returns is durable.
    ///
    /// # Errors
    /// Corruption, a newer format, a failing disk, options out of range; with the disk.
    pub fn open(disk: D, options: StoreOptions) -> Result<(Self, Recovery), OpenError<D>> {
        Self::open_known(disk, options, Known::default())
    }

    /// The same for a log of which something is known from elsewhere.
    pub(crate) fn open_known(
        mut disk: D,
        options: StoreOptions,
        known: Known,
    ) -> Result<(Self, Recovery), OpenError<D>> {
        match Self::prepare(&mut disk, options, known) {
            Ok((position, recovery)) => {
                let file = segment_file(position.segment);
                let last = LogIndex(recovery.entries.len() as u64);
                let durable = position.end;
                Ok((Self { disk, options, position, file, durable, last, poison: None }, recovery))
            }
            Err(error) => Err(OpenError { error, disk }),
        }
    }

    fn prepare(disk: &mut D, options: StoreOptions, known: Known) -> Result<(Position, Recovery), StoreError> {
        let StoreOptions { segment_bytes } = options;
        if segment_bytes < MIN_SEGMENT_BYTES {
            return Err(StoreError::SegmentTooSmall { segment_bytes, minimum: MIN_SEGMENT_BYTES });
        }
        let (recovery, position) = recover(disk, known)?;
        let position = match position {
            Some(position) => position,
            None => {
                create_segment(disk, SegmentHeader { segment: 1, first_record: 1, previous_end: 0 }, segment_bytes)?
            }
        };
        Ok((position, recovery))
    }

    /// Writes a group, in order, each write one atomic record. Readable at once, durable after the next
    /// [`sync`](Self::sync). One disk write, unless the group needs a new segment: then the old one is synced first.
    ///
    /// # Errors
    /// The disk failed, or a write is too large or does not fit the log. No call succeeds after any error.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.unless_poisoned(|store| store.write_group(writes))
    }

    /// Makes everything written durable, with one file sync if there is something to sync.
    ///
    /// # Errors
    /// The disk failed: it is unknown what is durable, and no call succeeds any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.unless_poisoned(Self::sync_segment)
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, for what a host does to it from outside: crashes, faults.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Ends the store without syncing, as a crash would.
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn unless_poisoned(&mut self, call: impl FnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        if let Some(first) = &self.poison {
            return Err(StoreError::Poisoned(first.clone()));
        }
        let result = call(self);
        self.poison = result.as_ref().err().cloned().map(Box::new);
        result
    }

    fn write_group(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut last = self.last;
        let mut payloads = Vec::with_capacity(writes.len());
        for write in writes {
            last = fits(last, write).map_err(|reason| StoreError::Misfit { last, reason })?;
            let payload = encode_write(write);
            if payload.len() as u64 > MAX_PAYLOAD {
                return Err(StoreError::RecordTooLarge { bytes: payload.len() as u64, limit: MAX_PAYLOAD });
            }
            payloads.push(payload);
        }
        let bytes = payloads.iter().fold(0, |sum: u64, payload| sum.saturating_add(record_bytes(payload.len() as u64)));
        if bytes == 0 {
            return Ok(());
        }
        if self.position.end.saturating_add(bytes) > self.position.capacity {
            self.next_segment(bytes)?;
        }
        let mut group = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut number = self.position.next_record;
        for payload in &payloads {
            let frame = Frame::of(number, self.durable, payload);
            let offset = self.position.end + group.len() as u64;
            frame.append_to(&mut group, self.position.segment, offset, payload);
            number += 1;
        }
        self.disk.write(&self.file, self.position.end, &group)?;
        self.position.end += group.len() as u64;
        self.position.next_record = number;
        self.last = last;
        Ok(())
    }

    fn sync_segment(&mut self) -> Result<(), StoreError> {
        if self.durable < self.position.end {
            self.disk.sync(&self.file)?;
            self.durable = self.position.end;
        }
        Ok(())
    }

    /// Starts a segment in which `bytes` fit.
    fn next_segment(&mut self, bytes: u64) -> Result<(), StoreError> {
        // First: that a segment has a successor tells recovery that all of it was durable.
        self.sync_segment()?;
        let header = SegmentHeader {
            segment: self.position.segment + 1,
            first_record: self.position.next_record,
            previous_end: self.position.end,
        };
        let capacity = self.options.segment_bytes.max(SEGMENT_HEADER.saturating_add(bytes));
        self.position = create_segment(&mut self.disk, header, capacity)?;
        self.file = segment_file(self.position.segment);
        self.durable = self.position.end;
        Ok(())
    }
}

/// Creates a segment, durably: that a record is in it tells recovery that it had a header.
fn create_segment<D: Disk>(disk: &mut D, header: SegmentHeader, capacity: u64) -> Result<Position, StoreError> {
    let file = segment_file(header.segment);
    disk.create(&file)?;
    disk.set_len(&file, capacity)?;
    disk.write(&file, 0, &header.encode())?;
    disk.sync(&file)?;
    disk.sync_folder()?;
    Ok(Position { segment: header.segment, end: SEGMENT_HEADER, capacity, next_record: header.first_record })
}
