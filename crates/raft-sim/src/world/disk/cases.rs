//! An enumeration of all outcomes of a power loss. If few operations are unsynced it has each subset of them, otherwise
//! each prefix. The last write that survives is complete, or torn at each of its sectors.

use super::content::{Change, SECTOR};
use super::{Choice, ChoiceKind, SimDisk};
use std::fmt;

/// The highest number of operations whose subsets are all counted.
const FEW: usize = 4;

/// An operation that was not synced, and the number of sectors that it writes (0 if it is not a write).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    operation: u64,
    sectors: u64,
}

/// One of the outcomes of a power loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerCase {
    /// The number of outcomes.
    pub of: u64,
    kept: Vec<u64>,
    /// The number of unsynced operations.
    pending: usize,
    /// The number of its kept sectors, and of all its sectors, if the last operation is torn.
    torn: Option<(u64, u64)>,
}

impl SimDisk {
    /// The operations that are not durable, oldest first. Operations that a failed sync has dropped are always lost.
    pub fn pending(&self) -> Vec<Pending> {
        let mut pending: Vec<Pending> =
            self.name_changes.iter().map(|&(operation, _)| Pending { operation, sectors: 0 }).collect();
        for (operation, change) in self.files.values().flat_map(|file| &file.changes) {
            let sectors = match change {
                Change::SetLen(_) => 0,
                Change::Write { offset, data } => {
                    (offset + data.len() as u64).div_ceil(SECTOR).saturating_sub(offset / SECTOR)
                }
            };
            pending.push(Pending { operation: *operation, sectors });
        }
        pending.sort_unstable();
        pending
    }
}

impl PowerCase {
    /// The outcome with this number; the last one for higher numbers.
    pub fn new(pending: &[Pending], number: u64) -> Self {
        let mut left = number;
        let mut found = None;
        let mut of = 0;
        for kept in keepings(pending) {
            let last = kept.last().map_or(0, |last| last.sectors);
            for whole in 0..last.max(1) {
                let torn = (whole > 0).then_some((last - whole, last));
                if left == 0 || found.is_none() {
                    let kept = kept.iter().map(|pending| pending.operation).collect();
                    found = Some((kept, torn)).filter(|_| left == 0).or(found);
                }
                left = left.wrapping_sub(1);
                of += 1;
            }
        }
        let (kept, torn) = found.unwrap_or_default();
        Self { of, kept, pending: pending.len(), torn }
    }

    pub fn answer(&self, choice: Choice) -> u64 {
        let torn = self.torn.filter(|_| self.kept.last() == Some(&choice.operation));
        match (choice.kind, torn) {
            (ChoiceKind::Write, Some(_)) => 2,
            (ChoiceKind::TearFrom, Some((sectors, _))) => sectors,
            // All sectors from there on are lost.
            (ChoiceKind::TearCount, Some(_)) => choice.options.saturating_sub(1),
            _ => u64::from(self.kept.contains(&choice.operation)),
        }
    }
}

/// The sets of operations that can survive together.
fn keepings(pending: &[Pending]) -> Vec<Vec<Pending>> {
    if pending.len() > FEW {
        return (0..=pending.len()).map(|count| pending.iter().take(count).copied().collect()).collect();
    }
    let of_subset = |subset: u32| {
        let is_in = |place: &usize| subset >> place & 1 == 1;
        (0..pending.len()).filter(is_in).filter_map(|place| pending.get(place).copied()).collect()
    };
    (0..1_u32 << pending.len()).map(of_subset).collect()
}

impl fmt::Display for PowerCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} unsynced operations kept", self.kept.len(), self.pending)?;
        match self.torn {
            Some((sectors, all)) => write!(f, ", the last one torn after {sectors} of {all} sectors"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(sectors: &[u64]) -> Vec<Pending> {
        sectors.iter().zip(1..).map(|(&sectors, operation)| Pending { operation, sectors }).collect()
    }

    /// The kept operations, and the torn one.
    type Outcome = (Vec<u64>, Option<(u64, u64)>);

    fn all(sectors: &[u64]) -> Vec<Outcome> {
        let pending = pending(sectors);
        let of = PowerCase::new(&pending, 0).of;
        (0..of).map(|number| PowerCase::new(&pending, number)).map(|case| (case.kept, case.torn)).collect()
    }

    #[test]
    fn few_operations_are_left_in_every_subset_and_the_last_write_is_torn_everywhere() {
        assert_eq!(all(&[]), [(vec![], None)]);
        assert_eq!(all(&[0]), [(vec![], None), (vec![1], None)]);
        let three = [(vec![], None), (vec![1], None), (vec![1], Some((2, 3))), (vec![1], Some((1, 3)))];
        assert_eq!(all(&[3]), three);
        let two = all(&[2, 2]);
        let expected = [
            (vec![], None),
            (vec![1], None),
            (vec![1], Some((1, 2))),
            (vec![2], None),
            (vec![2], Some((1, 2))),
            (vec![1, 2], None),
            (vec![1, 2], Some((1, 2))),
        ];
        assert_eq!(two, expected);
        assert_eq!(all(&[1, 1, 1, 1]).len(), 16);
    }

    #[test]
    fn many_operations_are_left_in_every_prefix() {
        let lengths: Vec<usize> = all(&[1, 1, 1, 1, 1]).into_iter().map(|(kept, _)| kept.len()).collect();
        assert_eq!(lengths, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_torn_write_loses_all_from_a_sector_on() {
        let case = PowerCase::new(&pending(&[3]), 2);
        let choice = |kind, options| Choice { kind, operation: 1, options };
        assert_eq!(case.answer(choice(ChoiceKind::Write, 3)), 2);
        assert_eq!(case.answer(choice(ChoiceKind::TearFrom, 3)), 2);
        let case = PowerCase::new(&pending(&[3]), 3);
        assert_eq!(
            (case.answer(choice(ChoiceKind::TearFrom, 3)), case.answer(choice(ChoiceKind::TearCount, 2))),
            (1, 1)
        );
    }
}
