//! A log in the form that the checkers keep. Each entry has its id and a chain hash over everything up to it, so "the
//! same log up to here" is one comparison (Raft §5.3, Log Matching). The log keeps no payload.

use super::Committed;
use raft_core::{Entry, EntryId, LogIndex, Payload, Term};

/// A hash over all entries of a log up to an index. Equal chains mean equal logs up to there, payloads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(u64);

impl Chain {
    /// The chain of the empty log.
    pub(crate) const ROOT: Self = Self(0);

    /// The chain after one more entry.
    pub(crate) fn then(self, entry: &Entry) -> Self {
        let id = mix(mix(self.0, entry.id.index.0), entry.id.term.0);
        Self(match &entry.payload {
            Payload::Noop => mix(id, 1),
            Payload::Command(command) => bytes(mix(id, 2), command),
            Payload::Configuration(configuration) => {
                let half = |hash, voters: &std::collections::BTreeSet<raft_core::NodeId>| {
                    voters.iter().fold(mix(hash, voters.len() as u64), |hash, id| mix(hash, id.0))
                };
                let halves = half(half(mix(id, 3), &configuration.voters), &configuration.outgoing);
                let halves = half(halves, &configuration.leaving);
                configuration.members.iter().fold(halves, |hash, (id, member)| bytes(mix(hash, id.0), member))
            }
        })
    }
}

fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let hash = words.by_ref().fold(mix(hash, bytes.len() as u64), |hash, word| {
        mix(hash, word.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    });
    mix(hash, words.remainder().iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// One round of a folded 64-bit multiplication: a few cycles for a word, and strong enough against accidental
/// collisions.
fn mix(hash: u64, word: u64) -> u64 {
    const LEFT: u64 = 0x9e37_79b9_7f4a_7c15;
    const RIGHT: u64 = 0xd6e8_feb8_6659_fd93;
    let product = u128::from(hash ^ LEFT) * u128::from(word ^ RIGHT);
    (product as u64) ^ ((product >> 64) as u64) ^ hash.rotate_left(23)
}

/// The position of an entry in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) id: EntryId,
    /// The chain of the log up to and including this entry.
    pub(crate) chain: Chain,
    /// The record in which the node wrote the entry (or recovered it).
    pub(crate) record: u64,
}

/// A log from index 1. It also contains the entries that a snapshot covers: a snapshot represents every
/// entry up to its last one, and compaction concerns only the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    slots: Vec<Slot>,
}

impl Log {
    /// The log that a snapshot with this last entry represents: the committed log up to there. If the committed log has
    /// another entry there, returns a log of the same length that no node has.
    pub(crate) fn covered(committed: &[Committed], last: EntryId, record: u64) -> Self {
        let count = usize::try_from(last.index.0).unwrap_or(usize::MAX);
        let known = committed.iter().take(count).map(|&Committed { id, chain, .. }| Slot { id, chain, record });
        let mut slots: Vec<Slot> = known.collect();
        if slots.last().map(|slot| slot.id).unwrap_or_default() != last {
            slots.pop();
            for index in slots.len() as u64 + 1..=last.index.0 {
                let id = EntryId { index: LogIndex(index), term: last.term };
                slots.push(Slot { id, chain: Chain(mix(mix(u64::MAX, index), last.term.0)), record });
            }
        }
        Self { slots }
    }

    /// The first and the last slot that differ from another log.
    pub(crate) fn not_in(&self, other: &Self) -> Option<(Slot, Slot)> {
        let shared = |slot: &Slot| other.chain_at(slot.id.index) == Some(slot.chain);
        let first = self.slots.partition_point(shared);
        Some((*self.slots.get(first)?, *self.last()?))
    }

    pub(crate) fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(crate) fn last(&self) -> Option<&Slot> {
        self.slots.last()
    }

    /// The last entry's id; `0@0` if there is none.
    pub(crate) fn last_id(&self) -> EntryId {
        self.last().map_or(EntryId::ZERO, |slot| slot.id)
    }

    pub(crate) fn chain(&self) -> Chain {
        self.last().map_or(Chain::ROOT, |slot| slot.chain)
    }

    pub(crate) fn slot(&self, index: LogIndex) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The chain up to `index`; at 0 the chain of the empty log, `None` beyond the end.
    pub(crate) fn chain_at(&self, index: LogIndex) -> Option<Chain> {
        if index == LogIndex(0) { Some(Chain::ROOT) } else { self.slot(index).map(|slot| slot.chain) }
    }

    pub(crate) fn after(&self, after: LogIndex) -> &[Slot] {
        self.slots.get(usize::try_from(after.0).unwrap_or(usize::MAX)..).unwrap_or_default()
    }

    /// The terms of all entries, in order.
    pub(crate) fn terms(&self) -> impl Iterator<Item = Term> {
        self.slots.iter().map(|slot| slot.id.term)
    }

    /// Removes the entries from `index` on; returns the first and the last of them, if there were any.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) -> Option<(Slot, Slot)> {
        let removed = (*self.slot(index.max(LogIndex(1)))?, *self.last()?);
        self.slots.truncate(usize::try_from(index.previous().0).unwrap_or(usize::MAX));
        Some(removed)
    }

    /// Adds an entry if it follows the last one. Otherwise returns false and changes nothing: the index is not the next
    /// one, or the term fell.
    pub(crate) fn push(&mut self, entry: &Entry, record: u64) -> bool {
        let last = self.last_id();
        let follows = entry.id.index == last.index.next() && entry.id.term >= last.term && entry.id.term > Term(0);
        if follows {
            self.slots.push(Slot { id: entry.id, chain: self.chain().then(entry), record });
        }
        follows
    }

    /// Adds slots that were once part of this same log.
    pub(crate) fn extend(&mut self, slots: &[Slot]) {
        self.slots.extend_from_slice(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::{Configuration, NodeId};

    fn entry(index: u64, term: u64, payload: Payload) -> Entry {
        Entry { id: EntryId::new(index, term), payload }
    }

    #[test]
    fn a_chain_sees_every_difference() {
        let command = |text: &'static str| Payload::Command(Bytes::from_static(text.as_bytes()));
        let voters = |ids: &[u64]| Payload::Configuration(Configuration::of_voters(ids.iter().map(|&id| NodeId(id))));
        let payloads = [
            Payload::Noop,
            command(""),
            command("a"),
            command("a\0"),
            command("abcdefgh"),
            command("abcdefghi"),
            command("abcdefgi"),
            voters(&[1]),
            voters(&[1, 2]),
        ];
        let mut seen = Vec::new();
        for (place, payload) in payloads.into_iter().enumerate() {
            for (index, term) in [(1, 1), (2, 1), (1, 2)] {
                for before in [Chain::ROOT, Chain(7)] {
                    let chain = before.then(&entry(index, term, payload.clone()));
                    assert!(!seen.contains(&chain), "payload {place} at {index}@{term} collides");
                    seen.push(chain);
                }
            }
        }
    }

    #[test]
    fn a_log_takes_only_what_follows() {
        let mut log = Log::default();
        assert!(log.push(&entry(1, 1, Payload::Noop), 1) && log.push(&entry(2, 3, Payload::Noop), 2));
        assert!(!log.push(&entry(4, 3, Payload::Noop), 3), "a gap");
        assert!(!log.push(&entry(3, 2, Payload::Noop), 3), "a falling term");
        assert_eq!(log.truncate_from(LogIndex(3)), None);
        let removed = log.truncate_from(LogIndex(2)).map(|(first, last)| (first.id, last.id));
        assert_eq!(removed, Some((EntryId::new(2, 3), EntryId::new(2, 3))));
        assert_eq!((log.len(), log.chain_at(LogIndex(0)), log.chain_at(LogIndex(2))), (1, Some(Chain::ROOT), None));
    }
}
