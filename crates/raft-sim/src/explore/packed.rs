//! The terms of a short log in one word, to compare logs fast.

use raft_core::Entry;

/// The longest log, and the highest term, that a word holds.
pub(super) const MOST: u64 = 15;

/// The terms of the entries from index 1 on, four bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Packed {
    terms: u64,
    len: u64,
}

impl Packed {
    /// The log, cut where it is too long. The limits of a search keep it short.
    pub(super) fn of(entries: &[Entry]) -> Self {
        entries.iter().take(MOST as usize).fold(Self::default(), |log, entry| log.with(entry.id.term.0))
    }

    pub(super) fn len(self) -> u64 {
        self.len
    }

    /// The term at `index`, from 1; 0 if there is none.
    pub(super) fn term(self, index: u64) -> u64 {
        if index == 0 || index > self.len { 0 } else { self.terms >> (4 * (index - 1)) & MOST }
    }

    /// This log with one more entry.
    pub(super) fn with(self, term: u64) -> Self {
        Self { terms: self.terms | (term & MOST) << (4 * self.len), len: self.len + 1 }
    }

    /// The entries up to `index`.
    pub(super) fn up_to(self, index: u64) -> Self {
        let len = self.len.min(index);
        Self { terms: self.terms & ((1 << (4 * len)) - 1), len }
    }

    /// How many entries both have in common from the beginning.
    pub(super) fn common(self, other: Self) -> u64 {
        let same = u64::from((self.terms ^ other.terms).trailing_zeros()) / 4;
        same.min(self.len).min(other.len)
    }

    /// An index where both hold the same entry after different ones.
    pub(super) fn mismatch(self, other: Self) -> Option<u64> {
        let shorter = self.len.min(other.len);
        (self.common(other) + 1..=shorter).find(|&index| self.term(index) == other.term(index))
    }

    pub(super) fn show(self) -> String {
        let entries: Vec<String> = (1..=self.len).map(|index| format!("{index}@{}", self.term(index))).collect();
        if entries.is_empty() { "empty".into() } else { entries.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> Packed {
        terms.iter().fold(Packed::default(), |log, &term| log.with(term))
    }

    #[test]
    fn logs_are_compared_from_their_beginning() {
        let (long, other) = (log(&[1, 2, 4, 4]), log(&[1, 2, 3, 4]));
        assert_eq!((long.common(other), long.common(log(&[1, 2])), long.common(log(&[]))), (2, 2, 0));
        assert_eq!((long.mismatch(other), long.mismatch(log(&[1, 2, 3]))), (Some(4), None));
        assert_eq!((long.up_to(2), long.up_to(9)), (log(&[1, 2]), long));
        assert_eq!((long.term(3), long.term(5), long.len()), (4, 0, 4));
        assert_eq!(long.show(), "1@1 2@2 3@4 4@4");
    }
}
