//! When a node may write a chunk of its own snapshot: in its turn, and not faster than the disk allows.
//!
//! The log goes round: each member has a turn of so many applied entries, by its place among the members. An entry is committed once
//! a majority has it on disk, and all members agree whose turn an index is. So each entry meets at most one disk that also writes a
//! snapshot, and waits for the others. Two write at once only while their applied indexes lie in two turns, which is a follower's lag.
//! *Without turns:* all nodes apply the same entries and take their snapshots at the same time, so every write waits for them.
//!
//! No node waits for its turn while nothing is applied. A node whose log grows faster than its snapshot is written hurries: it waits
//! for no turn and makes no pause, so the log is limited. Members begin to hurry at different sizes of the log. This file must not know
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

    /// When the node at this place may write, if nothing more is applied until then.
    pub(crate) fn next(&self, place: Place, hurries: bool) -> Instant {
        let (applied, at) = self.applied;
        if hurries {
            Instant(0)
        } else if place.is_turn(applied, self.entries) {
            self.paused_until
        } else {
            self.paused_until.max(at.after(IDLE))
        }
    }
}

/// The place of a node among the members of its configuration: `number` of `members`, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    number: u64,
    members: u64,
}

impl Place {
    /// A node that is no member is the only one of its own.
    pub(crate) fn of(id: NodeId, configuration: Option<&Configuration>) -> Self {
        let members = configuration.map(|configuration| &configuration.members);
        let number = members.and_then(|members| members.keys().position(|member| *member == id));
        match (number, members) {
            (Some(number), Some(members)) => Self { number: number as u64, members: members.len() as u64 },
            _ => Self { number: 0, members: 1 },
        }
    }

    /// The node's part of `whole`: they ascend from 0 by place.
    pub(crate) const fn part_of(self, whole: u64) -> u64 {
        whole * self.number / self.members
    }

    /// Whether this index is in a turn of the node, if a turn has so many entries; 0: there are no turns.
    fn is_turn(self, applied: LogIndex, entries: u64) -> bool {
        applied.0.checked_div(entries).is_none_or(|turn| turn % self.members == self.number)
    }
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
            let is_turn = |id: &u64| Place::of(NodeId(*id), Some(&members)).is_turn(LogIndex(index), 10);
            [2, 3, 7].into_iter().filter(is_turn).collect::<Vec<_>>()
        };
        assert_eq!([0, 9, 10, 19, 20, 29, 30].map(whose), [[2], [2], [3], [3], [7], [7], [2]]);
        let place = |id, members| Place::of(NodeId(id), members);
        assert!(place(9, Some(&members)).is_turn(LogIndex(1), 10), "no member");
        assert!(place(3, Some(&members)).is_turn(LogIndex(1), 0), "there are no turns");
        assert!(place(3, None).is_turn(LogIndex(1), 10));
        assert_eq!([2, 3, 7, 9].map(|id| place(id, Some(&members)).part_of(100)), [0, 33, 66, 0]);
    }

    #[test]
    fn a_node_waits_for_its_turn_for_a_pause_and_while_entries_are_applied() {
        let at = |ms: u64| Instant(ms * 1_000_000);
        let members = Configuration::of_voters([NodeId(1), NodeId(2)]);
        let mut turns = turns(10, 3);
        turns.on_applied(LogIndex(10), at(5));
        turns.on_applied(LogIndex(10), at(50));
        let next = |turns: &SavingTurns, id, hurries| turns.next(Place::of(NodeId(id), Some(&members)), hurries);
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(105), at(0)], "nothing was applied since 5 ms");
        turns.on_written(at(50), at(90));
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(210), at(210)], "three times 40 ms");
        assert_eq!([1, 2].map(|id| next(&turns, id, true)), [at(0), at(0)], "a log that grows waits for nothing");
        turns.on_applied(LogIndex(11), at(200));
        assert_eq!([1, 2].map(|id| next(&turns, id, false)), [at(300), at(210)]);
    }
}
