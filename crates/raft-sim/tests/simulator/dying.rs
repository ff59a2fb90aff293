//! Test support: every outcome of a power loss.

use raft_sim::world::disk::{Choice, PowerLoss, PowerLossReport, SimDisk};

/// Runs `run` with the disk after each outcome of a power loss now; returns how many there were.
pub(crate) fn every_loss(disk: &SimDisk, mut run: impl FnMut(SimDisk, PowerLossReport)) -> u64 {
    every_outcome(|choose| {
        let mut disk = disk.clone();
        let report = disk.crash_power(PowerLoss::Choose(choose));
        run(disk, report);
    })
}

/// The disk after a power loss that took all unsynced data.
pub(crate) fn without_unsynced(mut disk: SimDisk) -> SimDisk {
    disk.crash_power(PowerLoss::KeepNothing);
    disk
}

/// Runs `run` once for every sequence of answers that its choices allow; returns how many there were.
fn every_outcome(mut run: impl FnMut(&mut dyn FnMut(Choice) -> u64)) -> u64 {
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
