//! What the records of a log add up to, as far as it matters for what may be promised and what may be let go of. A log
//! whose head is gone begins after a snapshot. Must not know what is durable.

use anyhow::{Result, bail};
use raft_core::{InstallMode, Write};

/// What a record says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// The term, and who has the vote in it.
    pub(crate) hard_state: Option<(u64, Option<u64>)>,
    pub(crate) truncate_from: Option<u64>,
    pub(crate) snapshot: Option<Snapshot>,
    /// The index of the first entry, and the terms of all.
    pub(crate) entries: (u64, Vec<u64>),
}

/// A snapshot that a record puts in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The last entry that it covers.
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// Whether it takes the place of the log: a peer has sent it.
    pub(crate) discards: bool,
}

impl Snapshot {
    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("snapshot-{:016}-{:016}", self.index, self.term)
    }
}

impl Said {
    pub(crate) fn by(write: &Write) -> Self {
        let snapshot = write.snapshot.as_ref().map(|record| Snapshot {
            index: record.meta.last.index.0,
            term: record.meta.last.term.0,
            discards: record.log == InstallMode::Discard,
        });
        let first = write.entries.iter().next().map_or(0, |entry| entry.id.index.0);
        Self {
            hard_state: write.hard_state.map(|state| (state.term.0, state.voted_for.map(|candidate| candidate.0))),
            truncate_from: write.truncate_from.map(|from| from.0),
            snapshot,
            entries: (first, write.entries.iter().map(|entry| entry.id.term.0).collect()),
        }
    }
}

/// What records add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fold {
    pub(crate) term: u64,
    /// The newest snapshot.
    pub(crate) snapshot: Option<Snapshot>,
    /// The index that the log begins after, and the record that says so: a snapshot took the place of what was before.
    pub(crate) base: (u64, usize),
    /// The entries after that: their terms, and the records that hold them.
    entries: Vec<(u64, usize)>,
    /// Up to this index all was found durable.
    pub(crate) durable: u64,
}

impl Fold {
    /// One more record.
    ///
    /// # Errors
    /// It does not fit the log.
    pub(crate) fn apply(&mut self, number: usize, said: &Said) -> Result<()> {
        if let Some((term, _)) = said.hard_state {
            self.term = term;
        }
        if let Some(from) = said.truncate_from {
            let Some(left) = from.checked_sub(self.base.0 + 1) else {
                bail!("entries from {from} on are truncated, and the log begins after {}", self.base.0);
            };
            self.entries.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.durable = self.durable.min(from - 1);
        }
        if let Some(snapshot) = said.snapshot {
            self.snapshot = Some(snapshot);
            if snapshot.discards {
                // What was durable and is covered now stays so. But if the log was longer, it was another one.
                self.durable = if snapshot.index > self.last() { self.durable } else { 0 };
                self.base = (snapshot.index, number);
                self.entries.clear();
            }
        }
        let (first, terms) = &said.entries;
        if !terms.is_empty() && *first != self.last() + 1 {
            bail!("entry {first} is written after entry {}", self.last());
        }
        self.entries.extend(terms.iter().map(|term| (*term, number)));
        Ok(())
    }

    /// The last index.
    pub(crate) fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    /// The entry at this index, if it is here: its term, and its record.
    pub(crate) fn entry(&self, index: u64) -> Option<(u64, usize)> {
        self.entries.get(usize::try_from(index.checked_sub(self.base.0 + 1)?).ok()?).copied()
    }

    /// The indexes of the entries that no snapshot covers, and their records.
    pub(crate) fn uncovered(&self) -> impl Iterator<Item = (u64, usize)> {
        let covered = self.snapshot.map_or(0, |snapshot| snapshot.index);
        let entries = (self.base.0 + 1..).zip(&self.entries);
        entries.filter(move |(index, _)| *index > covered).map(|(index, (_, number))| (index, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{EntryId, LogIndex};
    use raft_store::conformance::{entries, snapshot};

    fn fold(writes: &[Write]) -> Result<Fold> {
        let mut fold = Fold::default();
        writes.iter().enumerate().try_for_each(|(number, write)| fold.apply(number, &Said::by(write)))?;
        Ok(fold)
    }

    #[test]
    fn a_snapshot_that_keeps_the_log_only_covers_it_and_one_that_discards_it_begins_another() {
        let kept = [entries(1, 5, 2, 8), snapshot(EntryId::new(3, 2), InstallMode::Keep)];
        let fold_of_kept = fold(&kept).unwrap();
        assert_eq!((fold_of_kept.last(), fold_of_kept.entry(3)), (5, Some((2, 0))));
        assert_eq!(fold_of_kept.uncovered().collect::<Vec<_>>(), [(4, 0), (5, 0)]);
        let discarded = snapshot(EntryId::new(9, 3), InstallMode::Discard);
        let fold_of_both = fold(&[&kept[..], &[discarded.clone(), entries(10, 2, 3, 8)]].concat()).unwrap();
        assert_eq!((fold_of_both.last(), fold_of_both.base), (11, (9, 2)));
        assert_eq!((fold_of_both.entry(9), fold_of_both.entry(10)), (None, Some((3, 3))));
        assert_eq!(fold_of_both.uncovered().collect::<Vec<_>>(), [(10, 3), (11, 3)]);
        assert!(fold(&[discarded.clone(), entries(5, 1, 3, 8)]).is_err());
        let truncation = Write { truncate_from: Some(LogIndex(9)), ..entries(9, 1, 3, 8) };
        assert!(fold(&[discarded, truncation]).is_err());
    }
}
