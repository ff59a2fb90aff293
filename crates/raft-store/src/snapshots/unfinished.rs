//! Snapshots that come to be piece by piece: one of this node's own, and beside it one that a peer sends. Each grows under a
//! name that is no snapshot's, and is nothing until it is whole, durable and renamed; the next start deletes what is left
//! of it. Must not know who wants them.
//!
//! What is written is synced every few MiB: all writes of the log wait for a sync, so none may have a whole snapshot to
//! write. For the same reason the checksum of a peer's file is that of the bytes as they came, and not of the file read
//! again at the end.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::folder::atomic_file::{create_empty, put_in_place};
use crate::snapshots::snapshot_file::{
    check_received, data_from, encode_head, encode_record, received_name, snapshot_name, sum_on, unfinished_name,
};
use crate::store::Store;
use crate::store_error::StoreError;
use crate::wal::format::MAX_PAYLOAD;
use raft_core::{EntryId, SnapshotMeta};

/// How much is written between two syncs, in bytes: little enough to be made durable in a moment.
const SYNC_EVERY: u64 = 4 << 20;

/// A file that grows.
#[derive(Clone, Debug)]
struct PartialFile {
    /// The snapshot's last entry.
    last: EntryId,
    /// Its name until it is whole.
    file: String,
    /// Where the next piece goes.
    end: u64,
    /// How far it is synced.
    synced: u64,
    /// A record names a snapshot of this last entry already: nothing is written.
    already_present: bool,
}

/// A snapshot that is made here.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotWriter {
    partial: PartialFile,
    /// What it stands for, as it stands in the file.
    record: Vec<u8>,
    /// Bytes of data so far, and their checksum.
    data: (u64, u32),
}

/// A snapshot that comes from a peer.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    partial: PartialFile,
    /// The checksum of what has come.
    sum: u32,
}

impl PartialFile {
    fn extend<D: Disk>(&mut self, disk: &mut D, bytes: &[u8]) -> Result<(), DiskError> {
        let end = self.end.saturating_add(bytes.len() as u64);
        if !self.already_present && !bytes.is_empty() {
            disk.write(&self.file, self.end, bytes)?;
            if end - self.synced >= SYNC_EVERY {
                disk.sync(&self.file)?;
                self.synced = end;
            }
        }
        self.end = end;
        Ok(())
    }
}

impl<D: Disk> Store<D> {
    /// Begins a snapshot of this node's own state; one of its own that was not finished is given up. Its data follows in
    /// pieces, then [`finish_snapshot`](Self::finish_snapshot) makes it one. The file that a record names already is left
    /// alone, and then all of this does nothing: what is called the same snapshot must not take the place of what the log
    /// rests on.
    ///
    /// # Errors
    /// The disk failed: no call succeeds any more. But if it is only full, or `meta` is too large, nothing is left of it and
    /// all else goes on.
    pub fn begin_snapshot(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        if let Some(SnapshotWriter { partial, .. }) = self.writer.take() {
            self.give_up(&partial)?;
        }
        let record = encode_record(meta);
        if record.len() as u64 > MAX_PAYLOAD {
            return Err(StoreError::RecordTooLarge { bytes: record.len() as u64, limit: MAX_PAYLOAD });
        }
        // The header goes before the data once that is known.
        let partial = self.begin(meta.last, unfinished_name(meta.last), data_from(&record))?;
        self.writer = Some(SnapshotWriter { partial, record, data: (0, 0) });
        Ok(())
    }

    /// The next piece of its data.
    ///
    /// # Errors
    /// [`StoreError::NotBegun`]. Else as of [`begin_snapshot`](Self::begin_snapshot).
    pub fn extend_snapshot(&mut self, data: &[u8]) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        let SnapshotWriter { mut partial, record, data: (bytes, sum) } =
            self.writer.take().ok_or(StoreError::NotBegun)?;
        let grown = partial.extend(&mut self.disk, data);
        self.unless_full(&partial.file, grown)?;
        let data = (bytes.saturating_add(data.len() as u64), crc32c::crc32c_append(sum, data));
        self.writer = Some(SnapshotWriter { partial, record, data });
        Ok(())
    }

    /// All of the data is there: makes it a snapshot, durably. It is in force once a record names it and is synced
    /// ([`Write::snapshot`](raft_core::Write)); until then the next start deletes it, and another one of the same last
    /// entry replaces it.
    ///
    /// # Errors
    /// As of [`extend_snapshot`](Self::extend_snapshot).
    pub fn finish_snapshot(&mut self) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        let SnapshotWriter { partial, record, data: (bytes, sum) } = self.writer.take().ok_or(StoreError::NotBegun)?;
        if partial.already_present || self.is_named(partial.last) {
            return self.give_up(&partial);
        }
        let too_large = StoreError::RecordTooLarge { bytes: record.len() as u64, limit: MAX_PAYLOAD };
        let head = encode_head(&record, bytes, sum).ok_or(too_large)?;
        let written = self.disk.write(&partial.file, 0, &head);
        self.finish(&partial, written)
    }

    /// A snapshot in one piece; see [`begin_snapshot`](Self::begin_snapshot).
    ///
    /// # Errors
    /// As of [`begin_snapshot`](Self::begin_snapshot).
    pub fn save_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), StoreError> {
        self.begin_snapshot(meta)?;
        self.extend_snapshot(data)?;
        self.finish_snapshot()
    }

    /// Takes bytes of a snapshot's file at a peer, as [`read_snapshot`](Self::read_snapshot) gave them there. At 0 a file
    /// begins, and one that was not finished is given up; anywhere else they must go on where the file ends.
    ///
    /// # Errors
    /// [`StoreError::OutOfPlace`], and nothing was changed. Else as of [`begin_snapshot`](Self::begin_snapshot).
    pub fn receive_snapshot(&mut self, last: EntryId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        if offset == 0 {
            self.drop_received()?;
            let partial = self.begin(last, received_name(last), 0)?;
            self.receiving = Some(Receiving { partial, sum: 0 });
        }
        let goes_on = |there: &&mut Receiving| there.partial.last == last && there.partial.end == offset;
        let Some(Receiving { mut partial, sum }) = self.receiving.take_if(|there| goes_on(&there)) else {
            let here = self.receiving.as_ref().filter(|here| here.partial.last == last);
            let end = here.map_or(0, |here| here.partial.end);
            return Err(StoreError::OutOfPlace { file: snapshot_name(last), offset, end });
        };
        let grown = partial.extend(&mut self.disk, bytes);
        self.unless_full(&partial.file, grown)?;
        self.receiving = Some(Receiving { partial, sum: sum_on(sum, offset, bytes) });
        Ok(())
    }

    /// All of it has come: checks that it is what was sent, and the snapshot of `meta`, and makes it a snapshot as
    /// [`finish_snapshot`](Self::finish_snapshot) does.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and nothing is left of it; [`StoreError::NotBegun`]. Else as of
    /// [`begin_snapshot`](Self::begin_snapshot).
    pub fn finish_received(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        let received = self.receiving.take_if(|here| here.partial.last == meta.last);
        let Receiving { partial, sum } = received.ok_or(StoreError::NotBegun)?;
        if partial.already_present || self.is_named(partial.last) {
            return self.give_up(&partial);
        }
        let reason = match check_received(&mut self.disk, &partial.file, sum, meta) {
            Ok(()) => return self.finish(&partial, Ok(())),
            Err(StoreError::Disk(error)) => return self.unless_full(&partial.file, Err(error)),
            Err(StoreError::Corrupt { offset, reason, .. }) => format!("{reason}, at byte {offset}"),
            Err(other) => other.to_string(),
        };
        self.give_up(&partial)?;
        Err(StoreError::Damaged { file: snapshot_name(meta.last), reason })
    }

    /// Gives up the snapshot that comes from a peer, if there is one.
    ///
    /// # Errors
    /// The disk failed. No call succeeds any more.
    pub fn drop_received(&mut self) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        self.receiving.take().map_or(Ok(()), |here| self.give_up(&here.partial))
    }

    fn begin(&mut self, last: EntryId, file: String, end: u64) -> Result<PartialFile, StoreError> {
        let already_present = self.is_named(last);
        if !already_present {
            let created = create_empty(&mut self.disk, &file);
            self.unless_full(&file, created)?;
        }
        Ok(PartialFile { last, file, end, synced: 0, already_present })
    }

    fn finish(&mut self, partial: &PartialFile, written: Result<(), DiskError>) -> Result<(), StoreError> {
        let file = &partial.file;
        let finished = written.and_then(|()| put_in_place(&mut self.disk, file, &snapshot_name(partial.last)));
        self.unless_full(file, finished)?;
        self.saved.insert(partial.last);
        Ok(())
    }

    fn give_up(&mut self, partial: &PartialFile) -> Result<(), StoreError> {
        let removed = if partial.already_present { Ok(()) } else { self.disk.remove(&partial.file) };
        self.unless_full(&partial.file, removed)
    }

    /// What becomes of the store when a step of an unfinished file has ended so.
    pub(crate) fn unless_full(&mut self, file: &str, step: Result<(), DiskError>) -> Result<(), StoreError> {
        let Err(error) = step else { return Ok(()) };
        let (is_full, error) = (error.kind == DiskErrorKind::Full && error.file == file, StoreError::Disk(error));
        if is_full {
            // As well as can be: the reason to report is that there is no space, and a start would delete it. But a folder
            // that cannot be synced is another matter: nothing is known of what was done in it.
            let removed = self.disk.remove(file).and_then(|()| self.disk.sync_folder());
            if let Some(worse) = removed.err().filter(|worse| worse.kind == DiskErrorKind::Failed) {
                self.poison = Some(Box::new(StoreError::Disk(worse)));
            }
        } else {
            self.poison = Some(Box::new(error.clone()));
        }
        Err(error)
    }
}
