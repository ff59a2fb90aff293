//! When a node may write a chunk of its own snapshot: in its turn, and not faster than the disk allows.
//!
//! The log goes round: each member has a turn of so many applied entries, by its place among the members. An entry is committed once
//! a majority has it on disk, and all members agree whose turn an index is. So each entry meets at most one disk that also writes a
//! snapshot, and waits for the others. Two write at once only while their applied indexes lie in two turns, which is a follower's lag.
//! *Without turns:* all nodes apply the same entries and take their snapshots at the same time, so every write waits for them.
//!
//! Nobody waits for a turn while nothing is applied, nor if the log grows faster than snapshots are written. This file must not know
//! what a snapshot contains.

use crate::interface::options::NodeOptions;
use raft_core::{Configuration, Instant, LogIndex, NodeId};
use std::time::Duration;

/// Without an applied entry for so long, no client waits for a disk.
const IDLE: Duration = Duration::from_millis(100);

/// When the next chunk may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavingTurns {
    /// How many entries a turn has; 0: there are no turns.
    entries: u64,
    /// How many times as long as a chunk took the pause after it is.
    pauses: u32,
    /// The end of the pause after the last chunk.
    paused_until: Instant,
    /// The newest applied entry, and when it was applied.
    applied: (LogIndex, Instant),
}

impl SavingTurns {
    pub(crate) fn new(options: &NodeOptions) -> Self {
        let (entries, pauses) = (options.snapshot_turn_entries, options.snapshot_pauses);
        Self { entries, pauses, paused_until: Instant(0), applied: (LogIndex(0), Instant(0)) }
    }

    /// A call ends at which the node has applied this.
    pub(crate) fn on_applied(&mut self, applied: LogIndex, now: Instant) {
        if self.applied.0 != applied {
            self.applied = (applied, now);
        }
    }

    /// A chunk that was sent to the disk at `sent` is written. A disk that serves many writes takes longer for it.
    pub(crate) fn on_written(&mut self, sent: Instant, now: Instant) {
        self.paused_until = now.after(now.since(sent).saturating_mul(self.pauses));
    }

    /// When this member of the configuration may write, if nothing more is applied until then. `hurries`: it does not wait for its turn.
    pub(crate) fn next(&self, id: NodeId, configuration: Option<&Configuration>, hurries: bool) -> Instant {
        let (applied, at) = self.applied;
        if hurries || configuration.is_none_or(|members| is_turn(id, members, applied, self.entries)) {
            self.paused_until
        } else {
            self.paused_until.max(at.after(IDLE))
        }
    }
}

/// Whether it is the turn of this node; always that of one which is no member.
fn is_turn(id: NodeId, configuration: &Configuration, applied: LogIndex, entries: u64) -> bool {
    let members = configuration.members.len() as u64;
    let place = configuration.members.keys().zip(0..).find(|(member, _)| **member == id);
    let turn = applied.0.checked_div(entries).and_then(|turns| turns.checked_rem(members));
    place.zip(turn).is_none_or(|((_, place), turn): ((_, u64), u64)| place == turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(snapshot_turn_entries: u64, snapshot_pauses: u32) -> SavingTurns {
        SavingTurns::new(&NodeOptions { snapshot_turn_entries, snapshot_pauses, ..NodeOptions::default() })
    }

    #[test]
    fn each_index_is_the_turn_of_one_member() {
        let members = Configuration::of_voters([NodeId(2), NodeId(3), NodeId(7)]);
        let whose = |index| {
            let ids = [2, 3, 7].map(NodeId).into_iter();
            ids.filter(|id| is_turn(*id, &members, LogIndex(index), 10)).map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!([0, 9, 10, 19, 20, 29, 30].map(whose), [[2], [2], [3], [3], [7], [7], [2]]);
        assert!(is_turn(NodeId(9), &members, LogIndex(1), 10), "no member");
        assert!(is_turn(NodeId(3), &members, LogIndex(1), 0), "there are no turns");
        assert!(is_turn(NodeId(3), &Configuration::default(), LogIndex(1), 10));
    }

    #[test]
    fn a_node_waits_for_its_turn_for_a_pause_and_while_entries_are_applied() {
        let at = |ms: u64| Instant(ms * 1_000_000);
        let members = Configuration::of_voters([NodeId(1), NodeId(2)]);
        let mut turns = turns(10, 3);
        turns.on_applied(LogIndex(10), at(5));
        turns.on_applied(LogIndex(10), at(50));
        let next = |turns: &SavingTurns, id, hurries| turns.next(NodeId(id), Some(&members), hurries);
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(105), at(0)], "nothing was applied since 5 ms");
        assert_eq!(next(&turns, 1, true), at(0));
        turns.on_written(at(50), at(90));
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(210), at(210)], "three times 40 ms");
        turns.on_applied(LogIndex(11), at(200));
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(300), at(210)]);
    }
}
