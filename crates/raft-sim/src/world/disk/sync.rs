//! The life of a file's changes: a sync makes them durable, a failed sync drops them, a power loss keeps or loses them.
//! This file makes no choices.

use super::content::{Change, SECTOR};
use super::{Choice, ChoiceKind, File, PowerLoss, PowerLossReport};

pub(crate) struct Loss<'a> {
    pub(crate) keep: PowerLoss<'a>,
    pub(crate) report: PowerLossReport,
}

impl Loss<'_> {
    fn choose(&mut self, kind: ChoiceKind, operation: u64, options: u64) -> u64 {
        match &mut self.keep {
            PowerLoss::KeepAll => 1,
            PowerLoss::KeepNothing => 0,
            PowerLoss::Choose(choose) => choose(Choice { kind, operation, options }).checked_rem(options).unwrap_or(0),
        }
    }

    /// Whether an operation that cannot be torn is kept.
    pub(crate) fn keeps(&mut self, kind: ChoiceKind, operation: u64) -> bool {
        let kept = self.choose(kind, operation, 2) == 1;
        self.report.operations_lost += u64::from(!kept);
        kept
    }

    /// The surviving parts of a write of `length` bytes at `offset`, as ranges of its bytes.
    fn pieces(&mut self, operation: u64, offset: u64, length: u64) -> [(u64, u64); 2] {
        let first = offset / SECTOR;
        let sectors = (offset + length).div_ceil(SECTOR).saturating_sub(first);
        match self.choose(ChoiceKind::Write, operation, if sectors > 1 { 3 } else { 2 }) {
            0 => {
                self.report.operations_lost += 1;
                self.report.bytes_lost += length;
                [(0, 0), (0, 0)]
            }
            1 => [(0, length), (0, 0)],
            _ => {
                let from = self.choose(ChoiceKind::TearFrom, operation, sectors);
                // A tear that loses every sector is a lost write, for which there is a separate answer.
                let most = if from == 0 { sectors - 1 } else { sectors - from };
                let count = 1 + if most > 1 { self.choose(ChoiceKind::TearCount, operation, most) } else { 0 };
                let place = |sector: u64| ((first + sector) * SECTOR).saturating_sub(offset).min(length);
                let (lost_from, lost_to) = (place(from), place(from + count));
                self.report.torn_writes += 1;
                self.report.bytes_lost += lost_to - lost_from;
                [(0, lost_from), (lost_to, length)]
            }
        }
    }
}

impl File {
    /// Cuts the power: each unsynced change is kept or lost as chosen.
    pub(crate) fn lose(&mut self, loss: &mut Loss<'_>) {
        if self.changes.is_empty() && self.dropped.is_empty() {
            return;
        }
        for (_, change) in self.dropped.drain(..) {
            loss.report.operations_lost += 1;
            loss.report.bytes_lost += change.bytes();
        }
        let mut left = self.durable.clone();
        for (operation, change) in self.changes.drain(..) {
            match &change {
                Change::SetLen(_) => {
                    if loss.keeps(ChoiceKind::Length, operation) {
                        left.apply(&change);
                    }
                }
                Change::Write { offset, data } => {
                    let mut written = left.clone();
                    written.apply(&change);
                    // Data that is already there can neither be lost nor torn.
                    if left.equals_where(&written, &change) {
                        continue;
                    }
                    for (from, to) in loss.pieces(operation, *offset, data.len() as u64) {
                        if from < to {
                            left.write(offset + from, &data[from as usize..to as usize]);
                        }
                    }
                }
            }
        }
        self.durable = left.clone();
        self.seen = left;
    }

    /// Fails a sync: some of its data is durable, the rest is dropped. It adds the operations that this settles:
    /// durable, or lost to every reader.
    pub(crate) fn drop_dirty(&mut self, bits: u64, settled: &mut Vec<u64>) {
        let shows_old = bits & 1 == 1;
        for (place, (operation, change)) in self.changes.drain(..).enumerate() {
            if bits >> (1 + place % 63) & 1 == 1 {
                self.durable.apply(&change);
                settled.push(operation);
            } else if shows_old {
                settled.push(operation);
            } else {
                self.dropped.push((operation, change));
            }
        }
        if shows_old {
            settled.extend(self.dropped.drain(..).map(|(operation, _)| operation));
            self.seen = self.durable.clone();
        }
    }

    /// Makes all changes durable. A dropped change is settled once the disk holds the data that can be read there. It
    /// adds the settled operations.
    pub(crate) fn sync(&mut self, settled: &mut Vec<u64>) {
        for (operation, change) in self.changes.drain(..) {
            self.durable.copy_changed(&self.seen, &change);
            settled.push(operation);
        }
        let (durable, seen) = (&self.durable, &self.seen);
        self.dropped.retain(|(operation, change)| {
            let holds = durable.equals_where(seen, change);
            if holds {
                settled.push(*operation);
            }
            !holds
        });
    }
}
