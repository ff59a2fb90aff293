//! The simulated disk: the written data, its durable part, and the possible effects of a power loss on the rest. It
//! must not know the meaning of the data, and it makes no choices: every choice comes from outside.
//!
//! A write is readable at once and is remembered until a sync of its file. A power loss starts from the durable data
//! and applies any subset of the remembered writes to it, in order, each complete or with a run of its sectors missing.
//! Names are separate from content: creations, renamings and removals are remembered until a sync of the folder. Files
//! consist of pages that the durable and the readable image share (and clones of the disk too). So a write copies at
//! most the pages that it touches, and a preallocated file costs nothing.

mod cases;
mod content;
mod damage;
mod injected;
mod sync;

use content::{Change, Content};
use injected::InjectedErrors;
use raft_store::{Disk, DiskError, DiskErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use sync::Loss;

pub use cases::{Pending, PowerCase};
pub use damage::{SECTOR_BYTES, Sector};
pub use injected::InjectedError;

/// A folder of files on a simulated disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    /// The files, by a number that stays the same through renamings.
    files: BTreeMap<u64, File>,
    /// The readable names.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// The changes of names since the last sync of the folder, with the operations' numbers.
    name_changes: Vec<(u64, NameChange)>,
    /// The operations that are neither durable nor lost.
    unsettled: BTreeSet<u64>,
    operations: u64,
    next_file: u64,
    /// When the machine stops, if that is planned.
    stop: Option<Stop>,
    injected: InjectedErrors,
    /// The number of calls so far that change or sync data.
    calls: u64,
}

/// When a machine stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// After this many more calls that change or sync data.
    pub after: u64,
    /// Whether the counting begins only when the next file is created: a name is not durable only for a short time,
    /// which random choices rarely hit.
    pub from_creation: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    seen: Content,
    durable: Content,
    /// The changes since the last sync, with the operations' numbers.
    changes: Vec<(u64, Change)>,
    /// The changes that a failed sync dropped and the cache still shows: no sync writes them, unless they are written
    /// once more.
    dropped: Vec<(u64, Change)>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { name: String, file: u64 },
    Rename { from: String, to: String, file: u64 },
    Unlink { name: String },
}

/// The unsynced operations that survive a power loss.
pub enum PowerLoss<'a> {
    KeepAll,
    KeepNothing,
    /// The answers of this function, choice by choice, taken modulo [`Choice::options`].
    Choose(&'a mut dyn FnMut(Choice) -> u64),
}

/// One choice in a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub kind: ChoiceKind,
    pub operation: u64,
    /// The number of answers: 0 up to this, excluded. There are at least 2.
    pub options: u64,
}

/// The kinds of choices about an operation in a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChoiceKind {
    /// A write: 0 lost, 1 kept, 2 torn (only if it touches several sectors).
    Write,
    /// A torn write: its first lost sector.
    TearFrom,
    /// A torn write: the number of lost sectors from there on, less 1. There is no choice if only one answer is
    /// possible.
    TearCount,
    /// A change of a file's length: 0 lost, 1 kept.
    Length,
    /// A creation, renaming or removal: 0 lost, 1 kept.
    Name,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerLossReport {
    /// Operations of every kind that were lost completely.
    pub operations_lost: u64,
    /// Bytes of writes that were lost, completely or partly.
    pub bytes_lost: u64,
    /// Writes of which some sectors were kept and some lost.
    pub torn_writes: u64,
    /// Creations, renamings and removals lost.
    pub names_lost: u64,
}

impl SimDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of the last operation issued. Operations are counted from 1 since the disk was created: creations,
    /// writes, changes of length, renamings, removals; not syncs and reads.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The highest operation such that it and all before it are settled: durable, or lost in a power loss. Operations
    /// on an unfinished snapshot file do not count: every start deletes that file.
    pub fn durable_through(&self) -> u64 {
        if self.unsettled.is_empty() {
            return self.operations;
        }
        let passing = self.passing();
        let first = self.unsettled.iter().find(|operation| !passing.contains(operation));
        first.map_or(self.operations, |first| first - 1)
    }

    /// The operations that are not settled and that no other state depends on.
    fn passing(&self) -> BTreeSet<u64> {
        let linked = self.name_changes.iter().filter_map(|(_, change)| match change {
            NameChange::Link { name, file } => Some((name, file)),
            _ => None,
        });
        let unfinished =
            self.names.iter().chain(&self.durable_names).chain(linked).filter(|(name, _)| is_unfinished(name));
        let finished: BTreeSet<u64> =
            self.names.iter().filter(|(name, _)| !is_unfinished(name)).map(|(_, file)| *file).collect();
        let files = unfinished.filter(|(_, number)| !finished.contains(number));
        let files = files.filter_map(|(_, number)| self.files.get(number));
        let contents = files.flat_map(|file| file.changes.iter().chain(&file.dropped)).map(|(operation, _)| *operation);
        let names = self.name_changes.iter().filter_map(|(operation, change)| match change {
            NameChange::Link { name, .. } | NameChange::Unlink { name } => is_unfinished(name).then_some(*operation),
            NameChange::Rename { .. } => None,
        });
        contents.chain(names).collect()
    }

    /// Whether every operation after this one is settled.
    pub fn is_durable_after(&self, operation: u64) -> bool {
        self.unsettled.last().is_none_or(|last| *last <= operation)
    }

    /// Ends the process without warning. The system stays up: all written data can be read, is no more durable than
    /// before, and a later power loss may still take it.
    pub fn crash_kill(&mut self) {
        self.go_on();
    }

    /// Stops the machine at a later call: that call and all after it fail until the crash is executed, which ends this.
    /// So a crash can fire between any two steps of one call of the store.
    pub fn stop_at(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    pub fn go_on(&mut self) {
        self.stop = None;
    }

    /// Whether the next call that changes or syncs data will fail; the last one may have failed.
    pub fn has_stopped(&self) -> bool {
        self.stop == Some(Stop { after: 0, from_creation: false })
    }

    /// The number of calls so far that change or sync data.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Makes calls fail from now on: after this many more that can, in the way that the bits choose.
    pub fn inject_error(&mut self, error: InjectedError, after: u64, bits: u64) {
        self.injected.begin(error, after, bits);
    }

    pub fn clear_errors(&mut self) {
        self.injected.clear_errors();
    }

    pub fn has_errors(&self) -> bool {
        self.injected.any()
    }

    /// The errors that have fired since the last call of this function.
    pub fn take_fired(&mut self) -> Vec<InjectedError> {
        self.injected.take_fired()
    }

    /// Counts a call that changes or syncs data.
    fn spend(&mut self, file: &str) -> Result<(), DiskError> {
        if self.has_stopped() {
            return Err(error(DiskErrorKind::Failed, file));
        }
        self.calls += 1;
        if let Some(stop) = self.stop.as_mut().filter(|stop| !stop.from_creation) {
            stop.after = stop.after.saturating_sub(1);
        }
        Ok(())
    }

    /// Cuts the power. It keeps or loses each unsynced operation as chosen, oldest operation first, contents before
    /// names. The data that can be read afterwards is durable.
    pub fn crash_power(&mut self, keep: PowerLoss<'_>) -> PowerLossReport {
        self.go_on();
        let mut loss = Loss { keep, report: PowerLossReport::default() };
        for file in self.files.values_mut() {
            file.lose(&mut loss);
        }
        let mut names = std::mem::take(&mut self.durable_names);
        for (operation, change) in self.name_changes.drain(..) {
            if loss.keeps(ChoiceKind::Name, operation) {
                change.apply(&mut names);
            } else {
                loss.report.names_lost += 1;
            }
        }
        self.names.clone_from(&names);
        self.durable_names = names;
        self.unsettled.clear();
        self.forget_nameless();
        loss.report
    }

    fn operation(&mut self) -> u64 {
        self.operations += 1;
        self.unsettled.insert(self.operations);
        self.operations
    }

    fn number(&self, name: &str) -> Result<u64, DiskError> {
        self.names.get(name).copied().ok_or_else(|| error(DiskErrorKind::NotFound, name))
    }

    fn file(&mut self, name: &str) -> Result<&mut File, DiskError> {
        let number = self.number(name)?;
        self.files.get_mut(&number).ok_or_else(|| error(DiskErrorKind::NotFound, name))
    }

    fn change(&mut self, name: &str, change: Change) -> Result<(), DiskError> {
        let length = self.file(name)?.seen.length();
        self.spend(name)?;
        if change.end() > length && self.injected.has_no_space() {
            return Err(error(DiskErrorKind::Full, name));
        }
        let (change, result) = match self.injected.write_fails() {
            None => (Some(change), Ok(())),
            Some(bits) => (change.part(bits), Err(error(DiskErrorKind::Failed, name))),
        };
        if let Some(change) = change {
            let operation = self.operation();
            let file = self.file(name)?;
            file.seen.apply(&change);
            file.changes.push((operation, change));
        }
        result
    }

    /// Counts a change of names; `grows` if it needs space.
    fn spend_on_names(&mut self, file: &str, grows: bool) -> Result<(), DiskError> {
        self.spend(file)?;
        if grows && self.injected.has_no_space() {
            return Err(error(DiskErrorKind::Full, file));
        }
        match self.injected.write_fails() {
            Some(_) => Err(error(DiskErrorKind::Failed, file)),
            None => Ok(()),
        }
    }

    fn change_name(&mut self, change: NameChange) {
        let operation = self.operation();
        change.apply(&mut self.names);
        self.name_changes.push((operation, change));
    }

    /// Drops files that no name, readable or durable, leads to any more.
    fn forget_nameless(&mut self) {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        let unsettled = &mut self.unsettled;
        self.files.retain(|number, file| {
            let keep = named.contains(number);
            if !keep {
                file.changes.iter().chain(&file.dropped).for_each(|(operation, _)| {
                    unsettled.remove(operation);
                });
            }
            keep
        });
    }
}

/// Whether this is the name of an unfinished snapshot file.
fn is_unfinished(name: &str) -> bool {
    name.starts_with("snapshot-") && (name.ends_with(".new") || name.ends_with(".part"))
}

impl NameChange {
    /// Changes the names, as far as possible: if earlier changes were lost, the old name may be missing.
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

impl Disk for SimDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.names.keys().cloned().collect())
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        if self.names.contains_key(file) {
            return Err(error(DiskErrorKind::Exists, file));
        }
        if let Some(stop) = &mut self.stop {
            stop.from_creation = false;
        }
        self.spend_on_names(file, true)?;
        self.next_file += 1;
        self.files.insert(self.next_file, File::default());
        self.change_name(NameChange::Link { name: file.to_owned(), file: self.next_file });
        Ok(())
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        Ok(self.file(file)?.seen.length())
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.number(file)?;
        if self.injected.read_fails() {
            return Err(error(DiskErrorKind::Failed, file));
        }
        Ok(self.file(file)?.seen.read(offset, buffer))
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.change(file, Change::Write { offset, data: data.into() })
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        self.change(file, Change::SetLen(length))
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        let number = self.number(file)?;
        self.spend(file)?;
        let fails = self.injected.sync_fails();
        let Some(synced) = self.files.get_mut(&number) else { return Ok(()) };
        let mut settled = Vec::new();
        match fails {
            Some(bits) => synced.drop_dirty(bits, &mut settled),
            None => synced.sync(&mut settled),
        }
        for operation in settled {
            self.unsettled.remove(&operation);
        }
        fails.map_or(Ok(()), |_| Err(error(DiskErrorKind::Failed, file)))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let file = self.number(from)?;
        self.spend_on_names(from, false)?;
        if from != to {
            self.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        }
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.number(file)?;
        self.spend_on_names(file, false)?;
        self.change_name(NameChange::Unlink { name: file.to_owned() });
        Ok(())
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.spend_on_names(".", false)?;
        for (operation, _) in self.name_changes.drain(..) {
            self.unsettled.remove(&operation);
        }
        self.durable_names.clone_from(&self.names);
        self.forget_nameless();
        Ok(())
    }
}

fn error(kind: DiskErrorKind, file: &str) -> DiskError {
    let message = match kind {
        DiskErrorKind::NotFound => "there is no such file",
        DiskErrorKind::Exists => "there is such a file already",
        DiskErrorKind::Full => "no space left",
        DiskErrorKind::Failed => "the device failed",
    };
    DiskError { kind, file: file.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
