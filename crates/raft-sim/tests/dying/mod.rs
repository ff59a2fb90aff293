//! Test support: a process that dies at any call to its disk, and every outcome of the power loss after it.

use raft_sim::disk::{Choice, SimDisk};
use raft_store::{Disk, DiskError, DiskErrorKind};

/// The simulated disk behind a process that dies: after `calls_left` changes and syncs, everything fails.
#[derive(Clone, Debug)]
pub(crate) struct Dying {
    pub(crate) disk: SimDisk,
    pub(crate) calls_left: u32,
}

impl Dying {
    fn call<T>(&mut self, call: impl FnOnce(&mut SimDisk) -> Result<T, DiskError>) -> Result<T, DiskError> {
        let Some(left) = self.calls_left.checked_sub(1) else {
            let message = "the process died".to_owned();
            return Err(DiskError { kind: DiskErrorKind::Failed, file: String::new(), message });
        };
        self.calls_left = left;
        call(&mut self.disk)
    }
}

impl Disk for Dying {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }
    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.call(|disk| disk.create(file))
    }
    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        self.disk.len(file)
    }
    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read(file, offset, buffer)
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
        self.call(SimDisk::sync_folder)
    }
}

/// Runs `run` once for every sequence of answers that its choices allow; returns how many there were.
pub(crate) fn every_outcome(mut run: impl FnMut(&mut dyn FnMut(Choice) -> u64)) -> u64 {
    let mut path: Vec<(u64, u64)> = Vec::new();
    for count in 1.. {
        let mut depth = 0;
        run(&mut |choice| {
            if depth == path.len() {
                path.push((0, choice.options));
            }
            depth += 1;
            path[depth - 1].0
        });
        while let Some((answer, options)) = path.pop() {
            if answer + 1 < options {
                path.push((answer + 1, options));
                break;
            }
        }
        if path.is_empty() {
            return count;
        }
    }
    0
}
