//! Random runs of a store against the model.

use super::{OPTIONS, RESERVING, entries, vote};
use crate::conformance::log_model::{Model, data_of, file_of, meta, snapshot};
use crate::{Disk, Recovery, Store, StoreOptions};
use raft_core::{
    Configuration, Entry, EntryId, HardState, InstallMode, LogIndex, NodeId, Payload, RecoveredState, Term, Write,
};

/// One step of a random run: its kind, and two numbers for it. Every value is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(pub u8, pub u16, pub u16);

pub(super) struct RandomRun {
    /// All writes in the log.
    pub(super) writes: Vec<Write>,
    model: Model,
    /// How many of them are surely durable.
    synced: usize,
    /// Entries below this may be compacted.
    before: LogIndex,
    term: u64,
}

/// Runs these steps. `crash` crashes the disk, with the step's two numbers. Returns how many segments were deleted and how many
/// crashes lost writes.
pub fn random_run<D: Disk>(disk: D, steps: &[Step], mut crash: impl FnMut(D, u16, u16) -> D) -> (u64, u64) {
    let mut run = RandomRun::new();
    // The first step decides whether there is a reserve.
    let mut options = if steps.first().is_some_and(|step| step.1 % 2 == 1) { RESERVING } else { OPTIONS };
    let (mut store, _) = open(disk, options);
    let (mut deleted, mut taken) = (0, 0);
    for &Step(kind, a, b) in steps {
        if kind % 16 < 15 {
            run.step(&mut store, Step(kind, a, b));
            continue;
        }
        options.tail_bytes = u64::from(b) * 4;
        let (reopened, recovery) = open(crash(store.into_disk(), a, b), options);
        store = reopened;
        taken += run.recovered(&recovery, options.tail_bytes);
        let files = store.disk_mut().list().expect("a disk that works");
        let oldest = files.iter().find_map(|file| file.strip_prefix("wal-")?.parse().ok());
        deleted = oldest.map_or(deleted, |oldest: u64| oldest - 1);
        run.model.check_snapshot(&mut store);
    }
    run.model.check_reads(&mut store, run.before);
    run.model.check_snapshot(&mut store);
    (deleted, taken)
}

fn open<D: Disk>(disk: D, options: StoreOptions) -> (Store<D>, Recovery) {
    Store::open(disk, options).unwrap_or_else(|error| panic!("it must open: {error}"))
}

/// An entry with a configuration.
fn configuration(index: u64, term: u64, voter: u64) -> Entry {
    let configuration = Configuration::of_voters([NodeId(1), NodeId(voter + 2)]);
    Entry { id: EntryId::new(index, term), payload: Payload::Configuration(configuration) }
}

impl RandomRun {
    fn new() -> Self {
        Self { writes: Vec::new(), model: Model::default(), synced: 0, before: LogIndex(0), term: 1 }
    }

    /// Runs these steps on a disk whose crashes lose no data, and stops without a sync. `started` gets the disk before
    /// each restart, with the number of records.
    pub(super) fn of_steps<D: Disk>(disk: D, steps: &[Step], started: &mut dyn FnMut(D, u64) -> D) -> (D, Self) {
        let mut run = Self::new();
        let (mut store, _) = open(disk, OPTIONS);
        for &step in steps {
            if step.0 % 16 == 15 {
                let disk = started(store.into_disk(), run.writes.len() as u64);
                let (reopened, recovery) = open(disk, OPTIONS);
                run.recovered(&recovery, OPTIONS.tail_bytes);
                store = reopened;
            } else {
                run.step(&mut store, step);
            }
        }
        (store.into_disk(), run)
    }

    fn step<D: Disk>(&mut self, store: &mut Store<D>, Step(kind, a, b): Step) {
        let some = || EntryId::new(u64::from(a) % 40 + 1, u64::from(b) % 4 + 1);
        match kind % 16 {
            9 | 10 => {
                store.sync().expect("a disk that works");
                self.synced = self.writes.len();
            }
            11 => {
                self.before = self.before.max(LogIndex(u64::from(a) % (self.model.last().0 + 3)));
                store.compact(self.before).expect("a disk that works");
            }
            12 if b.is_multiple_of(3) => drop(store.preallocate().expect("a disk that works")),
            12 => self.read(store, a, b),
            13 => Self::unnamed_snapshot(store, some(), a),
            14 => store.remove_snapshot(some()).expect("a disk that works"),
            _ => self.write(store, kind, a, b),
        }
    }

    /// Saves a snapshot that no record names, written or received, complete or not.
    fn unnamed_snapshot<D: Disk>(store: &mut Store<D>, last: EntryId, way: u16) {
        let (data, file, half) = (data_of(last), file_of(last), 100 + usize::from(way) % 400);
        let done = match way % 4 {
            0 => store.save_snapshot(&meta(last), &data),
            1 => store.begin_snapshot(&meta(last)).and_then(|()| store.extend_snapshot(&data[..half])),
            2 => store.receive_snapshot(last, 0, &file[..half]),
            _ => store
                .receive_snapshot(last, 0, &file[..half])
                .and_then(|()| store.receive_snapshot(last, half as u64, &file[half..]))
                .and_then(|()| store.finish_received(&meta(last))),
        };
        done.expect("a disk that works");
    }

    /// Checks the state after a crash. Returns whether it lost writes.
    fn recovered(&mut self, recovery: &Recovery, tail_bytes: u64) -> u64 {
        let records = recovery.records as usize;
        assert!((self.synced..=self.writes.len()).contains(&records), "{records} after {}", self.synced);
        let taken = u64::from(records < self.writes.len());
        self.writes.truncate(records);
        self.synced = records;
        self.model = Model::of(&self.writes);
        self.model.check(&recovery.restored, self.before, tail_bytes);
        let hard_state = HardState { term: Term(self.term), voted_for: None };
        let restored = RecoveredState { hard_state, ..recovery.restored.clone() };
        assert_eq!(restored.check(), Ok(()), "a core starts from this state");
        taken
    }

    /// Writes a group of one or two writes.
    fn write<D: Disk>(&mut self, store: &mut Store<D>, kind: u8, a: u16, b: u16) {
        let before = self.writes.len();
        for _ in 0..1 + kind / 128 {
            let write = self.next_write(kind % 16, u64::from(a), u64::from(b));
            if let Some(record) = &write.snapshot {
                let last = record.meta.last;
                store.save_snapshot(&meta(last), &data_of(last)).expect("a disk that works");
            }
            self.model.apply(&write);
            self.writes.push(write);
        }
        store.write(&self.writes[before..]).expect("fits");
    }

    fn next_write(&mut self, kind: u8, a: u64, b: u64) -> Write {
        let (covered, last) = (self.model.covered().0, self.model.last().0);
        let bytes = usize::try_from(a % 1500).unwrap_or(0);
        match kind {
            0 => {
                self.term += b % 2;
                vote(self.term, a)
            }
            // Entries after the snapshot may be truncated.
            1 => {
                self.term += 1;
                let from = covered + 1 + b % (last - covered + 1);
                Write { truncate_from: Some(LogIndex(from)), ..entries(from, a % 3, self.term, bytes) }
            }
            2 if last > covered => {
                let index = covered + 1 + a % (last - covered);
                let id = self.model.entry(index).expect("in the log").id;
                let cut = b.is_multiple_of(3).then(|| LogIndex(index + 1));
                Write { truncate_from: cut, ..snapshot(id, InstallMode::Keep) }
            }
            3 if b.is_multiple_of(4) => {
                self.term += 1;
                let id = EntryId::new(covered + 1 + a % 30, self.term);
                let entries = entries(id.index.0 + 1, b % 3, self.term, bytes).entries;
                Write { entries, ..snapshot(id, InstallMode::Discard) }
            }
            4 => {
                let entries = [configuration(last + 1, self.term, a), configuration(last + 2, self.term, b)];
                Write { entries: entries.into_iter().collect(), ..vote(self.term, a) }
            }
            _ => entries(last + 1, 1 + b % 3, self.term, bytes),
        }
    }

    fn read<D: Disk>(&self, store: &mut Store<D>, a: u16, b: u16) {
        let end = self.model.last().0 + 3;
        let first = u64::from(a) % end;
        self.model.check_read(store, first, first + u64::from(b) % 9, u64::from(b), self.before);
    }
}
