//! The store: groups of writes go to the newest segment in one disk write each, and one sync makes them durable. What
//! becomes of snapshots and of old segments is in the files below.

use crate::disk::{Disk, DiskErrorKind};
use crate::folder::known_peers::KnownPeers;
use crate::snapshots::unfinished::{Receiving, SnapshotWriter};
use crate::space::recycle::Recycled;
use crate::store_error::{OpenError, StoreError};
use crate::wal::format::{Frame, MAX_PAYLOAD, SegmentHeader, record_bytes, segment_file};
use crate::wal::log_summary::LogSummary;
use crate::wal::read_entries::read_back;
use crate::wal::recover::{Recovered, Recovery, recover};
use crate::wal::scan::{Known, Position};
use raft_core::{Entries, EntryId, LogIndex, Write};
use raft_proto::encode_write;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The smallest segment: a few records must fit, or every group would make a file.
pub const MIN_SEGMENT_BYTES: u64 = 4096;

/// How a store lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of a segment, preallocated; at least [`MIN_SEGMENT_BYTES`]. A group of writes that is larger gets a segment
    /// as large as it needs. May differ from what the existing segments were made with. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of entries ([`Entry::size`](raft_core::Entry::size)) that recovery hands over: the newest that fit. Default
    /// 32 MiB.
    pub tail_bytes: u64,
    /// Bytes of records for which there is to be room ahead ([`Store::space`]): the next segment's file is made before it is
    /// needed, at least so large. What a host may have on its way to the disk, or more. 0: no file is made ahead, and a full
    /// disk is noticed when a write fails. Default 32 MiB.
    pub reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, tail_bytes: 32 << 20, reserve_bytes: 32 << 20 }
    }
}

/// The write-ahead log and the snapshots of one node.
///
/// Invariant: everything before `durable` in the newest segment, all earlier segments, the next one's
/// file and all names are durable.
#[derive(Clone, Debug)]
pub struct Store<D> {
    pub(crate) disk: D,
    pub(crate) options: StoreOptions,
    /// The oldest segment that is there.
    pub(crate) oldest: u64,
    /// The newest segment and where the next record goes.
    pub(crate) position: Position,
    /// Its file.
    pub(crate) file: String,
    /// How far it is synced.
    pub(crate) durable: u64,
    /// The file of the next one, if it is there.
    pub(crate) spare: Option<Spare>,
    /// An old segment's file on its way to become that.
    pub(crate) recycled: Option<Recycled>,
    /// What all records add up to, synced or not.
    pub(crate) summary: LogSummary,
    /// The snapshots whose files are there, durable and whole.
    pub(crate) saved: BTreeSet<EntryId>,
    /// The snapshot in force at the last sync.
    pub(crate) in_force: Option<EntryId>,
    /// Those of records that are not synced: a crash may lead back to any of them.
    pub(crate) coming: Vec<EntryId>,
    /// The snapshot that is made here.
    pub(crate) writer: Option<SnapshotWriter>,
    /// The one that comes from a peer.
    pub(crate) receiving: Option<Receiving>,
    /// The peers whose disks are known, durably.
    pub(crate) known_peers: KnownPeers,
    /// The first failure, if there was one.
    pub(crate) poison: Option<Box<StoreError>>,
}

/// The file of the next segment, made ahead: zeros, durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    /// Its length.
    pub(crate) bytes: u64,
    /// How much of it a header and a checkpoint may take.
    pub(crate) head: u64,
}

impl<D: Disk> Store<D> {
    /// Opens the store on this disk, a new one if there is none, and recovers. What it returns is durable.
    ///
    /// # Errors
    /// Corruption, a newer format, a failing disk, options out of range; with the disk.
    pub fn open(disk: D, options: StoreOptions) -> Result<(Self, Recovery), OpenError<D>> {
        Self::open_known(disk, options, Known::default(), KnownPeers::default())
    }

    /// The same for a folder of which something is known from elsewhere.
    pub(crate) fn open_known(
        mut disk: D,
        options: StoreOptions,
        known: Known,
        known_peers: KnownPeers,
    ) -> Result<(Self, Recovery), OpenError<D>> {
        let (Recovered { recovery, summary, oldest, spare, .. }, position) =
            match Self::prepare(&mut disk, options, known) {
                Ok(prepared) => prepared,
                Err(error) => return Err(OpenError { error, disk }),
            };
        let in_force = summary.snapshot.as_ref().map(|meta| meta.last);
        let mut store = Self {
            disk,
            options,
            spare: None,
            recycled: None,
            oldest,
            file: segment_file(position.segment),
            durable: position.end,
            position,
            summary,
            saved: in_force.into_iter().collect(),
            in_force,
            coming: Vec::new(),
            writer: None,
            receiving: None,
            known_peers,
            poison: None,
        };
        let head = store.head_bytes();
        store.spare = spare.map(|bytes| Spare { bytes, head });
        match store.ensure_spare() {
            Ok(()) => Ok((store, recovery)),
            Err(error) => Err(OpenError { error, disk: store.disk }),
        }
    }

    pub(crate) fn prepare(
        disk: &mut D,
        options: StoreOptions,
        known: Known,
    ) -> Result<(Recovered, Position), StoreError> {
        let StoreOptions { segment_bytes, tail_bytes, reserve_bytes } = options;
        if segment_bytes < MIN_SEGMENT_BYTES {
            return Err(StoreError::SegmentTooSmall { segment_bytes, minimum: MIN_SEGMENT_BYTES });
        }
        let mut recovered = recover(disk, known, tail_bytes, reserve_bytes > 0)?;
        if let Some(position) = recovered.position.take() {
            return Ok((recovered, position));
        }
        recovered.oldest = 1;
        let header = SegmentHeader { segment: 1, first_record: 1, previous_end: 0, checkpoint: 0 };
        let position = begin_segment(disk, header, &[], None, segment_bytes..=segment_bytes)?;
        Ok((recovered, position))
    }

    /// Writes a group, in order, each write one atomic record. Readable at once, durable after the next
    /// [`sync`](Self::sync). One disk write, unless the group needs a new segment: then the old one is synced first.
    ///
    /// # Errors
    /// The disk failed, or a write is too large or does not fit the log, or it names a snapshot that was not saved. No call
    /// succeeds after any error.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.unless_poisoned(|store| store.write_group(writes))
    }

    /// Makes everything written durable, with one file sync if there is something to sync. If a newer snapshot is in force
    /// since, it then frees what that makes useless: older snapshots, and segments with nothing in them that is in the log.
    /// And if there is not enough room ahead, it asks for some: [`space`](Self::space) is to be read after each sync, and
    /// told before what is durable now.
    ///
    /// # Errors
    /// The disk failed: it is unknown what is durable, and no call succeeds any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.unless_poisoned(|store| store.sync_all().and_then(|()| store.ensure_spare()))
    }

    /// Reads the entries `first..=last` back: at least one, more only if their sizes sum up to at most `max_bytes`. Empty if
    /// `first` was compacted away or lies beyond the log's end. Reads what was written, synced or not.
    ///
    /// # Errors
    /// The disk failed, or what is there is not what was written. Reading and writing go on, as far as they can.
    pub fn read(&mut self, first: LogIndex, last: LogIndex, max_bytes: u64) -> Result<Entries, StoreError> {
        self.refuse_if_poisoned()?;
        read_back(&mut self.disk, &self.summary, first, last, max_bytes)
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

    pub(crate) fn unless_poisoned(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        let result = call(self);
        self.poison = result.as_ref().err().cloned().map(Box::new);
        result
    }

    pub(crate) fn refuse_if_poisoned(&self) -> Result<(), StoreError> {
        self.poison.as_ref().map_or(Ok(()), |first| Err(StoreError::Poisoned(first.clone())))
    }

    pub(crate) fn write_group(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut payloads = Vec::with_capacity(writes.len());
        for write in writes {
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
        for (write, payload) in writes.iter().zip(&payloads) {
            let offset = self.position.end + group.len() as u64;
            self.take(write, offset)?;
            let frame = Frame::of(number, self.durable, payload);
            frame.append_to(&mut group, self.position.segment, offset, payload);
            number += 1;
        }
        self.disk.write(&self.file, self.position.end, &group)?;
        self.position.end += group.len() as u64;
        self.position.next_record = number;
        Ok(())
    }

    /// Takes note of a write that is to stand at `offset`.
    pub(crate) fn take(&mut self, write: &Write, offset: u64) -> Result<(), StoreError> {
        let last = self.summary.last;
        let misfit = |reason| StoreError::InvalidWrite { last, reason };
        self.summary.apply(write, self.position.segment, offset).map_err(misfit)?;
        if let Some(record) = &write.snapshot {
            if !self.saved.contains(&record.meta.last) {
                return Err(misfit("its snapshot was not saved"));
            }
            self.coming.push(record.meta.last);
        }
        Ok(())
    }

    pub(crate) fn sync_all(&mut self) -> Result<(), StoreError> {
        if self.durable < self.position.end {
            self.disk.sync(&self.file)?;
            self.durable = self.position.end;
        }
        self.settle_snapshots()
    }

    /// Starts a segment in which `bytes` of records fit.
    pub(crate) fn next_segment(&mut self, bytes: u64) -> Result<(), StoreError> {
        // First: that a segment has a successor tells recovery that all of it was durable. And a checkpoint must not say what
        // a crash can take back.
        self.sync_all()?;
        let checkpoint = encode_write(&self.summary.checkpoint());
        let length = checkpoint.len() as u64;
        let Ok(checkpoint_bytes) = u32::try_from(length) else {
            return Err(StoreError::RecordTooLarge { bytes: length, limit: MAX_PAYLOAD });
        };
        let header = SegmentHeader {
            segment: self.position.segment + 1,
            first_record: self.position.next_record,
            previous_end: self.position.end,
            checkpoint: checkpoint_bytes,
        };
        let least = header.records_from().saturating_add(bytes);
        self.recycle_for(least)?;
        let capacity = least..=self.options.segment_bytes.max(least);
        self.position = begin_segment(&mut self.disk, header, &checkpoint, self.spare.take(), capacity)?;
        self.file = segment_file(self.position.segment);
        self.durable = self.position.end;
        Ok(())
    }
}

/// Begins a segment, durably: that a record is in it tells recovery that it had a header. Its file may be there, or is made
/// as long as the disk allows.
fn begin_segment<D: Disk>(
    disk: &mut D,
    header: SegmentHeader,
    checkpoint: &[u8],
    spare: Option<Spare>,
    capacities: RangeInclusive<u64>,
) -> Result<Position, StoreError> {
    let file = segment_file(header.segment);
    if spare.is_none() {
        disk.create(&file)?;
    }
    let (least, wanted) = capacities.into_inner();
    let mut capacity = spare.map_or(0, |spare| spare.bytes);
    if capacity < least {
        capacity = match disk.set_len(&file, wanted) {
            Err(error) if error.kind == DiskErrorKind::Full && least < wanted => {
                disk.set_len(&file, least)?;
                least
            }
            grown => grown.map(|()| wanted)?,
        };
    }
    disk.write(&file, 0, &header.encode(checkpoint))?;
    disk.sync(&file)?;
    if spare.is_none() {
        disk.sync_folder()?;
    }
    Ok(Position { segment: header.segment, end: header.records_from(), capacity, next_record: header.first_record })
}
