//! Tests on a disk that is full, always or at one call: promised space exists, and a failed call loses nothing.

use super::{RESERVING, content, entries, files, put, vote};
use crate::conformance::crash_points::{check, run};
use crate::conformance::log_model::{Model, save, snapshot};
use crate::wal::format::RECYCLED;
use crate::{Disk, DiskError, DiskErrorKind, Space, Store, StoreError};
use raft_core::{EntryId, InstallMode, LogIndex, Write};

/// A disk with a limit on the bytes of all files together.
#[derive(Clone, Debug)]
pub struct Quota<D> {
    pub disk: D,
    pub limit: u64,
    /// The call that finds the disk full whatever the limit is, after this many that may allocate space.
    pub full_after: Option<u32>,
    /// How many calls found the disk full.
    pub refused: u32,
}

impl<D: Disk> Quota<D> {
    /// Bytes of all files together.
    fn used(&mut self) -> Result<u64, DiskError> {
        self.disk.list()?.iter().map(|file| self.disk.len(file)).sum()
    }

    fn allocate(&mut self, file: &str, bytes: u64) -> Result<(), DiskError> {
        let used = self.used()?;
        let is_the_one = self.full_after == Some(0);
        self.full_after = self.full_after.and_then(|left| left.checked_sub(1));
        if !is_the_one && used + bytes <= self.limit {
            return Ok(());
        }
        self.refused += 1;
        let message = format!("{bytes} bytes are needed, and {used} of {} are used", self.limit);
        Err(DiskError { kind: DiskErrorKind::Full, file: file.to_owned(), message })
    }
}

impl<D: Disk> Disk for Quota<D> {
    forward! {
        disk.list() -> Vec<String>;
        disk.len(file: &str) -> u64;
        disk.read(file: &str, offset: u64, buffer: &mut [u8]) -> usize;
        disk.remove(file: &str) -> ();
        disk.sync_folder() -> ();
    }
    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.allocate(file, 1)?;
        self.disk.create(file)
    }
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let more = (offset + data.len() as u64).saturating_sub(self.disk.len(file)?);
        if more > 0 {
            self.allocate(file, more)?;
        }
        self.disk.write(file, offset, data)
    }
    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        let more = length.saturating_sub(self.disk.len(file)?);
        if more > 0 {
            self.allocate(file, more)?;
        }
        self.disk.set_len(file, length)
    }
    // On a file system with delayed allocation these calls find the disk full.
    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.allocate(file, 0)?;
        self.disk.sync(file)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.allocate(from, 0)?;
        self.disk.rename(from, to)
    }
}

/// Writes three quarters of the reserve, in one group or several, synced together or one by one.
fn burst<D: Disk>(store: &mut Store<D>, writes: &mut Vec<Write>, number: u64) {
    let next = Model::of(&*writes).last().0 + 1;
    let groups = match number % 4 {
        0 => vec![entries(next, 1, 1, 1750)],
        1 => (0..3).map(|place| entries(next + place, 1, 1, 540)).collect(),
        2 => vec![entries(next, 8, 1, 170)],
        _ => vec![entries(next, 1, 1, 30), entries(next + 1, 1, 1, 1550)],
    };
    for write in groups {
        store.write(std::slice::from_ref(&write)).expect("space was promised");
        writes.push(write);
        if number.is_multiple_of(3) {
            store.sync().expect("space was promised");
        }
    }
    store.sync().expect("space was promised");
}

/// Tests any limit: while space is Enough, all writes in flight fit; when it is Low, votes still fit; when the limit
/// rises, it is Enough again.
pub(super) fn promised_space_is_there<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (mut enough, mut low, mut refused) = (0, 0, 0);
    for limit in (5_000..33_000).step_by(700) {
        let disk = Quota { disk: fresh(), limit, full_after: None, refused: 0 };
        let (mut store, _) = Store::open(disk, RESERVING).expect("one segment fits");
        let mut writes = Vec::new();
        for number in 0..12 {
            if number % 2 == 0 {
                while store.preallocate().expect("a full disk is not a failure") {}
            }
            if store.space() == Space::Enough {
                enough += 1;
                burst(&mut store, &mut writes, number + limit / 700);
                continue;
            }
            low += 1;
            for candidate in 1..=3 {
                put(&mut store, &mut writes, vote(1, candidate));
            }
            assert_eq!(store.space(), Space::Low, "nothing has changed");
            store.disk_mut().limit += 9_000;
            while store.preallocate().expect("a full disk is not a failure") {}
            assert_eq!(store.space(), Space::Enough, "there is space again");
        }
        refused += store.disk().refused;
        let model = Model::of(&writes);
        let (store, recovery) = Store::open(store.into_disk(), RESERVING).expect("it opens");
        model.check(&recovery.restored, LogIndex(0), u64::MAX);
        assert_eq!(recovery.torn_tail, None, "a preallocated file is not a torn tail");
        // This is the same folder without a reserve.
        let (_, recovery) = super::open(store.into_disk());
        model.check(&recovery.restored, LogIndex(0), u64::MAX);
    }
    assert!(
        enough > 100 && low > 40 && refused > 40,
        "{enough} reports of Enough, {low} of Low, {refused} refused calls"
    );
}

/// On a full disk the space of a deleted segment would go to another user at once, so the log keeps it.
pub(super) fn a_deleted_segment_is_recycled<D: Disk>(fresh: &mut impl FnMut() -> D) {
    for in_steps in [true, false] {
        let disk = Quota { disk: fresh(), limit: 13_000, full_after: None, refused: 0 };
        let (mut store, _) = Store::open(disk, RESERVING).expect("one segment fits");
        let mut writes = Vec::new();
        while store.space() == Space::Enough {
            burst(&mut store, &mut writes, 2);
        }
        let last = EntryId::new(Model::of(&writes).last().0, 1);
        store.disk_mut().limit += 1000;
        save(&mut store, last);
        writes.push(snapshot(last, InstallMode::Keep));
        store.write(&writes[writes.len() - 1..]).expect("space was promised");
        let (refused, bytes) = (store.disk().refused, store.disk_mut().used().expect("a disk that works"));
        store.disk_mut().limit = bytes;
        store.compact(last.index.next()).expect("a disk that works");
        assert!(
            files(store.disk_mut(), "wal-").contains(&RECYCLED.to_owned()),
            "{:?}",
            files(store.disk_mut(), "wal-")
        );
        store.disk_mut().limit = store.disk_mut().used().expect("a disk that works");
        if in_steps {
            let mut steps = 0;
            while store.preallocate().expect("no space is allocated") {
                assert_eq!(store.space(), Space::Low);
                steps += 1;
            }
            assert_eq!((store.space(), steps), (Space::Enough, 3));
            let next = files(store.disk_mut(), "wal-").pop().expect("there is one");
            let zeros = content(store.disk_mut(), &next);
            assert!(zeros.len() >= 4096 && zeros.iter().all(|&byte| byte == 0), "no frame of the old segment");
        } else {
            // This group needs the next segment at once.
            writes.push(entries(last.index.0 + 1, 1, 1, 2900));
            store.write(&writes[writes.len() - 1..]).expect("there is a segment");
        }
        assert_eq!(store.disk().refused, refused, "no space was allocated");
        store.sync().expect("a disk that works");
        assert!(
            !files(store.disk_mut(), "wal-").contains(&RECYCLED.to_owned()),
            "{:?}",
            files(store.disk_mut(), "wal-")
        );
        let model = Model::of(&writes);
        let (mut store, recovery) = Store::open(store.into_disk(), RESERVING).expect("it opens");
        model.check(&recovery.restored, last.index.next(), u64::MAX);
        model.check_snapshot(&mut store);
    }
}

/// Each call that allocates space finds the disk full in turn: the run continues without the space, or the store
/// reports the error.
pub(super) fn a_full_disk_loses_nothing_at_any_call<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (mut reported, mut tolerated) = (0, 0);
    for calls in 0.. {
        let disk = Quota { disk: fresh(), limit: u64::MAX, full_after: Some(calls), refused: 0 };
        let (disk, done, failure) = run(disk, RESERVING);
        if disk.refused == 0 {
            break;
        }
        match failure {
            Some(StoreError::Disk(error)) if error.kind == DiskErrorKind::Full => reported += 1,
            Some(error) => panic!("call {calls}: {error}"),
            None => tolerated += 1,
        }
        check(disk.disk, RESERVING, &done, &|disk, check| check(disk));
    }
    assert!(reported > 5 && tolerated > 3, "{reported} reported, {tolerated} tolerated");
}
