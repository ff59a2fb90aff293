//! A run with snapshots and compaction, crashed at every call to the disk, and again at every call of the recovery. The
//! recovered state must be that of a prefix of the writes that contains all synced writes.

use super::{OPTIONS, entries, vote};
use crate::conformance::log_model::{Model, data_of, file_of, meta, snapshot};
use crate::wal::format::RECYCLED;
use crate::{Disk, DiskError, DiskErrorKind, Store, StoreError, StoreOptions};
use raft_core::{EntryId, InstallMode, LogIndex, Write};
use std::ops::Range;

/// Passes each state in which a crash can leave the disk to a check.
pub type Ends<'a, D> = &'a dyn Fn(D, &mut dyn FnMut(D));

/// A disk whose process dies: all changes and syncs fail after the first `calls_left`.
#[derive(Clone, Debug)]
pub struct Dying<D> {
    pub disk: D,
    /// Changes and syncs until the process dies.
    pub calls_left: u32,
}

fn death() -> DiskError {
    DiskError { kind: DiskErrorKind::Failed, file: String::new(), message: "the process died".to_owned() }
}

impl<D: Disk> Dying<D> {
    fn call<T>(&mut self, call: impl FnOnce(&mut D) -> Result<T, DiskError>) -> Result<T, DiskError> {
        let Some(left) = self.calls_left.checked_sub(1) else {
            return Err(death());
        };
        self.calls_left = left;
        call(&mut self.disk)
    }
}

impl<D: Disk> Disk for Dying<D> {
    forward! {
        disk.list() -> Vec<String>;
        disk.len(file: &str) -> u64;
        disk.read(file: &str, offset: u64, buffer: &mut [u8]) -> usize;
    }
    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.call(|disk| disk.create(file))
    }
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.call(|disk| disk.write(file, offset, data))
    }
    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        self.call(|disk| disk.set_len(file, length))
    }
    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.call(|disk| disk.sync(file))
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.call(|disk| disk.rename(from, to))
    }
    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.call(|disk| disk.remove(file))
    }
    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.call(D::sync_folder)
    }
}

/// One call of the store.
enum Call {
    Write(Write),
    Sync,
    Save(EntryId),
    Begin(EntryId),
    /// These bytes of its data.
    Extend(EntryId, Range<usize>),
    Finish,
    /// These bytes of its file.
    Receive(EntryId, Range<usize>),
    FinishReceived(EntryId),
    DropReceived,
    Remove(EntryId),
    Compact(u64),
    Preallocate,
}

impl Call {
    /// Whether a full disk is recoverable.
    fn may_be_full(&self) -> bool {
        !matches!(self, Self::Write(_) | Self::Sync | Self::Compact(_) | Self::Preallocate)
    }
}

/// The calls: a snapshot is written between other writes and compacts the log before it is synced; one is removed; the
/// log is truncated; a received snapshot is dropped, received again and replaces the log, which grows and is compacted
/// again, so that a segment is recycled.
fn calls() -> Vec<Call> {
    use Call::{Begin, Compact, DropReceived, Extend, Finish, FinishReceived, Receive, Remove, Save, Sync};
    let write = Call::Write;
    let keep = |last| write(snapshot(last, InstallMode::Keep));
    let (kept, unwanted, received, last) =
        (EntryId::new(5, 1), EntryId::new(6, 1), EntryId::new(9, 3), EntryId::new(12, 3));
    let discard = Write { entries: entries(10, 1, 3, 400).entries, ..snapshot(received, InstallMode::Discard) };
    vec![
        write(vote(1, 1)),
        write(entries(1, 2, 1, 700)),
        Call::Preallocate,
        Sync,
        write(entries(3, 2, 1, 1200)),
        Sync,
        Begin(kept),
        Extend(kept, 0..300),
        write(entries(5, 3, 1, 700)),
        Sync,
        Extend(kept, 300..data_of(kept).len()),
        Finish,
        keep(kept),
        Compact(5),
        write(vote(2, 1)),
        Sync,
        Save(unwanted),
        Remove(unwanted),
        write(Write { truncate_from: Some(LogIndex(6)), ..entries(6, 1, 2, 300) }),
        Compact(3),
        write(Write { truncate_from: Some(LogIndex(6)), ..vote(3, 2) }),
        Compact(6),
        Call::Preallocate,
        Receive(received, 0..9),
        DropReceived,
        Receive(received, 0..300),
        write(entries(6, 1, 2, 30)),
        Receive(received, 300..file_of(received).len()),
        FinishReceived(received),
        write(discard),
        write(entries(11, 1, 3, 300)),
        Sync,
        write(entries(12, 1, 3, 2500)),
        Sync,
        Save(last),
        keep(last),
        write(entries(13, 1, 3, 1800)),
        Compact(13),
        Call::Preallocate,
        write(vote(4, 1)),
        Call::Preallocate,
        Sync,
        Call::Preallocate,
        Call::Preallocate,
        write(entries(14, 1, 3, 2500)),
        Sync,
    ]
}

/// The state of the run before the crash.
#[derive(Default)]
pub(super) struct Done {
    writes: Vec<Write>,
    synced: usize,
    /// Entries below this may be gone.
    before: LogIndex,
    /// How many calls ended while a segment was being recycled.
    recycling: u32,
}

/// Makes the calls until one fails. Returns the disk, the state of the run, and the error.
pub(super) fn run<D: Disk>(disk: D, options: StoreOptions) -> (D, Done, Option<StoreError>) {
    let mut done = Done::default();
    let mut store = match Store::open(disk, options) {
        Ok((store, _)) => store,
        Err(error) => return (error.disk, done, Some(error.error)),
    };
    for call in calls() {
        let may_be_full = call.may_be_full();
        let result = match call {
            Call::Write(write) => {
                done.writes.push(write);
                store.write(&done.writes[done.writes.len() - 1..])
            }
            Call::Sync => store.sync().inspect(|()| done.synced = done.writes.len()),
            Call::Save(last) => store.save_snapshot(&meta(last), &data_of(last)),
            Call::Begin(last) => store.begin_snapshot(&meta(last)),
            Call::Extend(last, place) => store.extend_snapshot(&data_of(last)[place]),
            Call::Finish => store.finish_snapshot(),
            Call::Receive(last, place) => store.receive_snapshot(last, place.start as u64, &file_of(last)[place]),
            Call::FinishReceived(last) => store.finish_received(&meta(last)),
            Call::DropReceived => store.drop_received(),
            Call::Remove(last) => store.remove_snapshot(last),
            Call::Compact(before) => {
                done.before = done.before.max(LogIndex(before));
                store.compact(LogIndex(before))
            }
            Call::Preallocate => store.preallocate().map(drop),
        };
        if let Err(error) = result {
            let is_full = matches!(&error, StoreError::Disk(disk) if disk.kind == DiskErrorKind::Full);
            if may_be_full && is_full {
                let files = store.disk_mut().list().expect("a disk that works");
                let is_left = |file: &String| file.ends_with(".new") || file.ends_with(".part");
                assert!(!files.iter().any(is_left), "the unfinished file is removed: {files:?}");
                store.sync().expect("the log goes on");
                done.synced = done.writes.len();
            } else {
                let again = store.sync().expect_err("after a failure every call fails");
                assert_eq!(again, StoreError::Poisoned(Box::new(error.clone())));
            }
            return (store.into_disk(), done, Some(error));
        }
        let files = store.disk_mut().list().expect("a disk that works");
        done.recycling += u32::from(files.iter().any(|file| file == RECYCLED));
    }
    (store.into_disk(), done, None)
}

/// Makes the calls on a disk that dies. Also returns whether all calls were made.
fn run_until_death<D: Disk>(disk: D, options: StoreOptions, calls_left: u32) -> (D, Done, bool) {
    let (disk, done, failure) = run(Dying { disk, calls_left }, options);
    if let Some(error) = &failure {
        assert_eq!(*error, StoreError::Disk(death()));
    }
    (disk.disk, done, failure.is_none())
}

/// Opens the disk after a crash, checks the state, crashes once more without a loss, and continues to write.
pub(super) fn check<D: Disk>(disk: D, options: StoreOptions, done: &Done, ends: Ends<'_, D>) {
    let open = |disk| Store::open(disk, options).unwrap_or_else(|error| panic!("the store must open: {error}"));
    let (mut store, recovery) = open(disk);
    let records = recovery.records as usize;
    let Done { writes, synced, before, .. } = done;
    assert!((*synced..=writes.len()).contains(&records), "{records} of {}, {synced} synced", writes.len());
    let model = Model::of(&writes[..records]);
    model.check(&recovery.restored, *before, OPTIONS.tail_bytes);
    model.check_snapshot(&mut store);
    model.check_read(&mut store, model.last().0, model.last().0, 0, *before);
    let files = store.disk_mut().list().expect("a disk that works");
    let snapshots = files.iter().filter(|file| !file.starts_with("wal-")).count();
    assert_eq!(snapshots, usize::from(model.snapshot.is_some()), "{files:?}");
    assert!(!files.iter().any(|file| file == RECYCLED), "{files:?}");
    ends(store.into_disk(), &mut |disk| {
        let (mut store, again) = open(disk);
        assert_eq!((&again.restored, &again.torn_tail), (&recovery.restored, &None), "it was durable");
        let next = model.last().0 + 1;
        let more = [vote(9, 9), entries(next, 1, 9, 3000)];
        store.write(&more).and_then(|()| store.sync()).expect("the log goes on");
        let (_, later) = open(store.into_disk());
        let writes: Vec<&Write> = writes[..records].iter().chain(&more).collect();
        Model::of(writes).check(&later.restored, *before, OPTIONS.tail_bytes);
    });
}

/// Crashes the run at every call, and the recovery after it at every call. Returns the number of crashes.
pub fn every_crash<D: Disk>(options: StoreOptions, fresh: &mut impl FnMut() -> D, ends: Ends<'_, D>) -> u64 {
    let mut crashes = 0;
    for calls in 0.. {
        let (disk, done, finished) = run_until_death(fresh(), options, calls);
        ends(disk, &mut |disk| {
            crashes += 1;
            check(disk, options, &done, ends);
        });
        for recovery_calls in 0.. {
            // The calls run again each time, because not every disk can be cloned.
            let mut finished = true;
            ends(run_until_death(fresh(), options, calls).0, &mut |disk| {
                if let Err(error) = Store::open(Dying { disk, calls_left: recovery_calls }, options) {
                    assert_eq!(error.error, StoreError::Disk(death()));
                    finished = false;
                    ends(error.disk.disk, &mut |disk| {
                        crashes += 1;
                        check(disk, options, &done, ends);
                    });
                }
            });
            if finished {
                break;
            }
        }
        if finished {
            assert!(done.recycling > 2 || options.reserve_bytes == 0, "expected a crash in each step of recycling");
            break;
        }
    }
    crashes
}

/// Makes each sync of the run fail in turn. The state that the next start recovers must survive a power loss: the
/// system may have dropped data that it could not write, and still show it to readers. `failing` returns an empty disk
/// on which one sync fails, after this many others. Returns the number of failures.
pub fn every_failed_sync<D: Disk + Clone>(
    options: StoreOptions,
    failing: impl Fn(u64) -> D,
    lose_power: impl Fn(D) -> D,
) -> u64 {
    for syncs in 0.. {
        let (disk, done, failure) = run(failing(syncs), options);
        let Some(failure) = failure else { return syncs };
        assert!(matches!(failure, StoreError::Disk(_)), "{failure}");
        let open = |disk| Store::open(disk, options).unwrap_or_else(|error| panic!("the store must open: {error}"));
        let (store, recovery) = open(disk);
        let disk = lose_power(store.into_disk());
        check(disk.clone(), options, &done, &|disk, check| check(disk));
        let (_, again) = open(disk);
        assert_eq!((again.restored, again.records), (recovery.restored, recovery.records), "after sync {syncs}");
    }
    0
}
