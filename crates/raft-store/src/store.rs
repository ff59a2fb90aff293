//! The store: its state, and the path of a write. One disk write appends a group of writes to the newest segment, and one
//! sync makes it durable. The other calls are beside the files that they work on: `wal/compact`, `snapshots`, `space`
//! and `folder/register_peer`.

use crate::disk::{Disk, DiskErrorKind};
use crate::folder::known_peers::KnownPeers;
use crate::snapshots::partial_file::{SnapshotReceiver, SnapshotWriter};
use crate::store_error::{OpenError, StoreError};
use crate::wal::format::{Frame, MAX_PAYLOAD, SegmentHeader, record_bytes, segment_file};
use crate::wal::log_summary::LogSummary;
use crate::wal::read_entries::read_entries;
use crate::wal::recover::{Recovered, Recovery, recover};
use crate::wal::scan::{ExpectedLog, WritePosition};
use raft_core::{Entries, EntryId, LogIndex, Write};
use raft_proto::encode_write;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The smallest segment size, so that a segment holds a few records.
pub const MIN_SEGMENT_BYTES: u64 = 4096;

/// The layout of a store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The bytes of a segment, which is preallocated; at least [`MIN_SEGMENT_BYTES`]. A larger group of writes gets a
    /// segment as large as the group. The size may differ from that of existing segments. Default 64 MiB.
    pub segment_bytes: u64,
    /// Recovery returns the newest entries whose sizes ([`Entry::size`](raft_core::Entry::size)) sum up to at most this.
    /// Default 32 MiB.
    pub tail_bytes: u64,
    /// The bytes of records that [`Space::Enough`](crate::Space::Enough) promises. The next segment's file is
    /// preallocated with at least this size. It must cover the writes that a host may have in flight. 0 preallocates
    /// nothing, and a full disk shows only when a write fails. Default 32 MiB.
    pub reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, tail_bytes: 32 << 20, reserve_bytes: 32 << 20 }
    }
}

/// The write-ahead log and the snapshots of one node.
///
/// An error of a call that changes something poisons the store: no later call succeeds. Snapshots and peers that do not fit
/// on the disk are exceptions, and so are the kinds of [`StoreError`] that say so.
///
/// Invariant: the newest segment up to `durable`, all earlier segments, the next segment's file and all file names are
/// durable.
#[derive(Clone, Debug)]
pub struct Store<D> {
    pub(crate) disk: D,
    pub(crate) options: StoreOptions,
    /// The oldest segment on the disk.
    pub(crate) oldest: u64,
    /// The newest segment, and the offset of the next record.
    pub(crate) position: WritePosition,
    /// The newest segment's file.
    pub(crate) file: String,
    /// Bytes of the newest segment that are durable.
    pub(crate) durable: u64,
    pub(crate) spare: Option<Spare>,
    pub(crate) recycled: Option<Recycled>,
    /// The state that all records lead to, synced or not.
    pub(crate) summary: LogSummary,
    /// The snapshots whose files are complete and durable.
    pub(crate) saved: BTreeSet<EntryId>,
    /// The snapshot that the newest synced record names.
    pub(crate) durable_snapshot: Option<EntryId>,
    /// The snapshots that unsynced records name: after a crash any of them may be the newest.
    pub(crate) unsynced_snapshots: Vec<EntryId>,
    pub(crate) writer: Option<SnapshotWriter>,
    pub(crate) receiver: Option<SnapshotReceiver>,
    pub(crate) known_peers: KnownPeers,
    /// The first failure.
    pub(crate) poison: Option<Box<StoreError>>,
}

/// The next segment's preallocated file, which holds durable zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) bytes: u64,
    /// Bytes that header and checkpoint may need.
    pub(crate) head: u64,
}

/// An old segment's file that becomes the next segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recycled {
    pub(crate) bytes: u64,
    /// Bytes from the beginning that are durable zeros.
    pub(crate) zeros: u64,
}

impl<D: Disk> Store<D> {
    /// Opens or creates the store on this disk, and recovers. The returned state is durable.
    ///
    /// # Errors
    /// Corruption, a newer format, a failed disk, or options out of range; the disk is part of the error.
    pub fn open(disk: D, options: StoreOptions) -> Result<(Self, Recovery), OpenError<D>> {
        Self::open_expecting(disk, options, ExpectedLog::default(), KnownPeers::default())
    }

    /// Opens the store of a folder whose META and PEERS were read.
    pub(crate) fn open_expecting(
        mut disk: D,
        options: StoreOptions,
        expected: ExpectedLog,
        known_peers: KnownPeers,
    ) -> Result<(Self, Recovery), OpenError<D>> {
        let (Recovered { recovery, summary, oldest, spare, .. }, position) =
            match Self::prepare(&mut disk, options, expected) {
                Ok(prepared) => prepared,
                Err(error) => return Err(OpenError { error, disk }),
            };
        let durable_snapshot = summary.snapshot.as_ref().map(|meta| meta.last);
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
            saved: durable_snapshot.into_iter().collect(),
            durable_snapshot,
            unsynced_snapshots: Vec::new(),
            writer: None,
            receiver: None,
            known_peers,
            poison: None,
        };
        let head = store.head_bytes();
        store.spare = spare.map(|bytes| Spare { bytes, head });
        match store.ensure_space() {
            Ok(()) => Ok((store, recovery)),
            Err(error) => Err(OpenError { error, disk: store.disk }),
        }
    }

    fn prepare(
        disk: &mut D,
        options: StoreOptions,
        expected: ExpectedLog,
    ) -> Result<(Recovered, WritePosition), StoreError> {
        let StoreOptions { segment_bytes, tail_bytes, reserve_bytes } = options;
        if segment_bytes < MIN_SEGMENT_BYTES {
            return Err(StoreError::SegmentTooSmall { segment_bytes, minimum: MIN_SEGMENT_BYTES });
        }
        let mut recovered = recover(disk, expected, tail_bytes, reserve_bytes > 0)?;
        if let Some(position) = recovered.position.take() {
            return Ok((recovered, position));
        }
        recovered.oldest = 1;
        let header = SegmentHeader { segment: 1, first_record: 1, previous_end: 0, checkpoint: 0 };
        let position = begin_segment(disk, header, &[], None, segment_bytes..=segment_bytes)?;
        Ok((recovered, position))
    }

    /// Writes a group in order. Each write is one atomic record. The group can be read at once, and is durable after
    /// the next [`sync`](Self::sync). It costs one disk write; a group that needs a new segment first syncs the old
    /// one.
    ///
    /// # Errors
    /// The disk failed, a write is too large or does not fit the log, or a write names a snapshot that was not saved.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.or_poison(|store| store.write_group(writes))
    }

    /// Makes all writes durable, with at most one file sync. If a newer snapshot becomes durable, it deletes the
    /// segments without entries of the log. If space runs low, it allocates more. Read [`space`](Self::space) after
    /// each sync, and report it before the writes that are durable.
    ///
    /// # Errors
    /// The disk failed, and the durable state is unknown.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.or_poison(|store| store.sync_all().and_then(|()| store.ensure_space()))
    }

    /// Reads the entries `first..=last`, synced or not: the first one, and more as long as their sizes sum up to at
    /// most `max_bytes`. The result is empty if `first` was compacted or is beyond the log's end.
    ///
    /// # Errors
    /// The disk failed, or a record is damaged. The store stays usable.
    pub fn read(&mut self, first: LogIndex, last: LogIndex, max_bytes: u64) -> Result<Entries, StoreError> {
        self.check_poisoned()?;
        read_entries(&mut self.disk, &self.summary, first, last, max_bytes)
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, so that a host can inject crashes and faults.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Ends the store without a sync, like a crash.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Runs a call; any error poisons the store.
    pub(crate) fn or_poison<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check_poisoned()?;
        let result = call(self);
        self.poison = result.as_ref().err().cloned().map(Box::new);
        result
    }

    pub(crate) fn check_poisoned(&self) -> Result<(), StoreError> {
        self.poison.as_ref().map_or(Ok(()), |first| Err(StoreError::Poisoned(first.clone())))
    }

    fn write_group(&mut self, writes: &[Write]) -> Result<(), StoreError> {
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
            self.apply(write, offset)?;
            let frame = Frame::new(number, self.durable, payload);
            frame.append_to(&mut group, self.position.segment, offset, payload);
            number += 1;
        }
        self.disk.write(&self.file, self.position.end, &group)?;
        self.position.end += group.len() as u64;
        self.position.next_record = number;
        Ok(())
    }

    /// Applies a write whose record will begin at `offset`.
    fn apply(&mut self, write: &Write, offset: u64) -> Result<(), StoreError> {
        let last = self.summary.last;
        let invalid = |reason| StoreError::InvalidWrite { last, reason };
        self.summary.apply(write, self.position.segment, offset).map_err(invalid)?;
        if let Some(record) = &write.snapshot {
            if !self.saved.contains(&record.meta.last) {
                return Err(invalid("its snapshot was not saved"));
            }
            self.unsynced_snapshots.push(record.meta.last);
        }
        Ok(())
    }

    pub(crate) fn sync_all(&mut self) -> Result<(), StoreError> {
        if self.durable < self.position.end {
            self.disk.sync(&self.file)?;
            self.durable = self.position.end;
        }
        let Some(newest) = self.unsynced_snapshots.pop() else { return Ok(()) };
        self.unsynced_snapshots.clear();
        self.durable_snapshot = Some(newest);
        // If the snapshot discarded the log, this deletes its segments, because no compaction would request it. Older
        // snapshots stay until they are removed or the node starts again: they may be in transfer to a peer.
        self.delete_segments(self.summary.first)
    }

    /// Begins a segment that has space for `bytes` of records.
    fn next_segment(&mut self, bytes: u64) -> Result<(), StoreError> {
        // This comes first: recovery assumes that a segment with a successor is durable, and a checkpoint must not
        // contain state that a crash can undo.
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
        let least = header.first_offset().saturating_add(bytes);
        self.finish_recycling(least)?;
        let capacity = least..=self.options.segment_bytes.max(least);
        self.position = begin_segment(&mut self.disk, header, &checkpoint, self.spare.take(), capacity)?;
        self.file = segment_file(self.position.segment);
        self.durable = self.position.end;
        Ok(())
    }
}

/// Begins a segment, durably: recovery concludes from a record that the header before it was durable. It uses the
/// preallocated file, or creates one as long as the disk allows.
fn begin_segment<D: Disk>(
    disk: &mut D,
    header: SegmentHeader,
    checkpoint: &[u8],
    spare: Option<Spare>,
    capacities: RangeInclusive<u64>,
) -> Result<WritePosition, StoreError> {
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
            extended => extended.map(|()| wanted)?,
        };
    }
    disk.write(&file, 0, &header.encode(checkpoint))?;
    disk.sync(&file)?;
    if spare.is_none() {
        disk.sync_folder()?;
    }
    Ok(WritePosition {
        segment: header.segment,
        end: header.first_offset(),
        capacity,
        next_record: header.first_record,
    })
}
