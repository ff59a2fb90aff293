//! A disk that is full, or is full at one call and not at the next: what was promised room has it, what can wait waits, and
//! what cannot be done says so and loses nothing.

use super::{RESERVING, content, entries, vote};
use crate::conformance::crash_points::{check, live};
use crate::conformance::log_model::{Model, save, snapshot};
use crate::wal::format::RECYCLED;
use crate::{Disk, DiskError, DiskErrorKind, Space, Store, StoreError};
use raft_core::{EntryId, InstallMode, LogIndex, Write};

/// A disk with a limit on the bytes of all files together.
#[derive(Clone, Debug)]
pub struct Quota<D> {
    /// The disk.
    pub disk: D,
    /// The limit.
    pub limit: u64,
    /// After so many more calls that may take space one finds the disk full, whatever the limit.
    pub full_after: Option<u32>,
    /// How many calls found it full.
    pub refused: u32,
}

impl<D: Disk> Quota<D> {
    /// Bytes of all files together.
    fn used(&mut self) -> Result<u64, DiskError> {
        self.disk.list()?.iter().map(|file| self.disk.len(file)).sum()
    }

    fn take(&mut self, file: &str, bytes: u64) -> Result<(), DiskError> {
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
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }
    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.take(file, 1)?;
        self.disk.create(file)
    }
    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        self.disk.len(file)
    }
    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read(file, offset, buffer)
    }
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let more = (offset + data.len() as u64).saturating_sub(self.disk.len(file)?);
        if more > 0 {
            self.take(file, more)?;
        }
        self.disk.write(file, offset, data)
    }
    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        let more = length.saturating_sub(self.disk.len(file)?);
        if more > 0 {
            self.take(file, more)?;
        }
        self.disk.set_len(file, length)
    }
    // Where space is promised and taken later, these are what finds that there is none.
    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.take(file, 0)?;
        self.disk.sync(file)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.take(from, 0)?;
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.disk.remove(file)
    }
    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.disk.sync_folder()
    }
}

/// What is on its way when the store has last said that there is enough room: three quarters of the reserve, in one group
/// or several, synced together or one by one.
fn burst<D: Disk>(store: &mut Store<D>, writes: &mut Vec<Write>, number: u64) {
    let next = Model::of(&*writes).last().0 + 1;
    let groups = match number % 4 {
        0 => vec![entries(next, 1, 1, 1750)],
        1 => (0..3).map(|place| entries(next + place, 1, 1, 540)).collect(),
        2 => vec![entries(next, 8, 1, 170)],
        _ => vec![entries(next, 1, 1, 30), entries(next + 1, 1, 1, 1550)],
    };
    for write in groups {
        store.write(std::slice::from_ref(&write)).expect("there was room");
        writes.push(write);
        if number.is_multiple_of(3) {
            store.sync().expect("there was room");
        }
    }
    store.sync().expect("there was room");
}

/// Whatever the limit: as long as there is said to be enough room, all that may be on its way fits; then what cannot be
/// refused still does; and when there is space again, there is soon enough room again.
pub(super) fn room_that_is_promised_is_there<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (mut enough, mut low, mut refused) = (0, 0, 0);
    for limit in (5_000..33_000).step_by(700) {
        let disk = Quota { disk: fresh(), limit, full_after: None, refused: 0 };
        let (mut store, _) = Store::open(disk, RESERVING).expect("one segment fits");
        let mut writes = Vec::new();
        for number in 0..12 {
            if number % 2 == 0 {
                while store.preallocate().expect("a full disk is no failure") {}
            }
            if store.space() == Space::Enough {
                enough += 1;
                burst(&mut store, &mut writes, number + limit / 700);
                continue;
            }
            low += 1;
            for candidate in 1..=3 {
                writes.push(vote(1, candidate));
                store.write(&writes[writes.len() - 1..]).and_then(|()| store.sync()).expect("a vote fits");
            }
            assert_eq!(store.space(), Space::Low, "nothing has changed");
            store.disk_mut().limit += 9_000;
            while store.preallocate().expect("a full disk is no failure") {}
            assert_eq!(store.space(), Space::Enough, "there is space again");
        }
        refused += store.disk().refused;
        let model = Model::of(&writes);
        let (store, recovery) = Store::open(store.into_disk(), RESERVING).expect("it goes on");
        model.check(&recovery.restored, LogIndex(0), u64::MAX);
        assert_eq!(recovery.torn_tail, None, "a file that was made ahead is none");
        // And without, from the same folder.
        let (_, recovery) = super::open(store.into_disk());
        model.check(&recovery.restored, LogIndex(0), u64::MAX);
    }
    assert!(enough > 100 && low > 40 && refused > 40, "{enough} times enough, {low} times low, {refused} refused");
}

/// The disk is full, and whatever compaction lets go of would be somebody else's at once: the log keeps it.
pub(super) fn an_old_segment_becomes_the_next_ones_file<D: Disk>(fresh: &mut impl FnMut() -> D) {
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
        store.write(&writes[writes.len() - 1..]).expect("there was room");
        let (refused, bytes) = (store.disk().refused, store.disk_mut().used().expect("a disk that works"));
        store.disk_mut().limit = bytes;
        store.compact(last.index.next()).expect("a disk that works");
        assert!(segments(&mut store).contains(&RECYCLED.to_owned()), "{:?}", segments(&mut store));
        // Nothing of it is free for others.
        store.disk_mut().limit = store.disk_mut().used().expect("a disk that works");
        if in_steps {
            let mut steps = 0;
            while store.preallocate().expect("nothing is asked for") {
                assert_eq!(store.space(), Space::Low);
                steps += 1;
            }
            assert_eq!((store.space(), steps), (Space::Enough, 3));
            let next = segments(&mut store).pop().expect("there is one");
            let zeros = content(store.disk_mut(), &next);
            assert!(zeros.len() >= 4096 && zeros.iter().all(|&byte| byte == 0), "no frame of the old one");
        } else {
            // A group that cannot wait.
            writes.push(entries(last.index.0 + 1, 1, 1, 2900));
            store.write(&writes[writes.len() - 1..]).expect("there is a segment");
        }
        assert_eq!(store.disk().refused, refused, "no space was asked for");
        store.sync().expect("a disk that works");
        assert!(!segments(&mut store).contains(&RECYCLED.to_owned()), "{:?}", segments(&mut store));
        let model = Model::of(&writes);
        let (mut store, recovery) = Store::open(store.into_disk(), RESERVING).expect("it goes on");
        model.check(&recovery.restored, last.index.next(), u64::MAX);
        model.check_snapshot(&mut store);
    }
}

fn segments<D: Disk>(store: &mut Store<D>) -> Vec<String> {
    let mut files = store.disk_mut().list().expect("a disk that works");
    files.retain(|file| file.starts_with("wal-"));
    files
}

/// Every call that takes space finds the disk full in turn: it is done without, or the store says so and has lost nothing.
pub(super) fn a_call_that_finds_the_disk_full_loses_nothing<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (mut said, mut borne) = (0, 0);
    for calls in 0.. {
        let disk = Quota { disk: fresh(), limit: u64::MAX, full_after: Some(calls), refused: 0 };
        let (disk, done, failure) = live(disk, RESERVING);
        if disk.refused == 0 {
            break;
        }
        match failure {
            Some(StoreError::Disk(error)) if error.kind == DiskErrorKind::Full => said += 1,
            Some(error) => panic!("call {calls}: {error}"),
            None => borne += 1,
        }
        check(disk.disk, RESERVING, &done, &|disk, check| check(disk));
    }
    assert!(said > 5 && borne > 3, "{said} said, {borne} borne");
}
