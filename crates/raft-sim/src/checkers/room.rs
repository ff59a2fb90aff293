//! Whoever keeps room ahead on its disk does not end for want of space: what can be refused is refused before. Only when
//! more than a quarter of the room went into what nobody can refuse, since the node heard that it was low, may the rest give
//! out. A node that does not start on a full disk breaks nothing: nothing was asked of it.
//!
//! First to catch: a word about the room that comes after what rests on it, or never; entries let through uncounted. Nobody
//! backs it up: an end for want of space is safe, and so the other properties are silent.

use super::ghost::Ghost;
use super::{Fact, Property, Violation};
use crate::faults::Fault;
use crate::record::RecordKind;
use raft_core::{NodeId, Write};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "room";

/// What a record of the log takes beside its payload, at most: its frame, and padding.
const FRAME: u64 = 39;

#[derive(Clone, Default)]
pub(super) struct RoomKept {
    nodes: BTreeMap<NodeId, Kept>,
}

/// What a process that keeps room has been told.
#[derive(Clone, Default)]
struct Kept {
    reserve: u64,
    /// The record of its start, or of the newest word.
    told: u64,
    is_low: bool,
    /// What it has asked its disk for since it heard that there is no room.
    written: u64,
    /// What has just made calls to its disk fail.
    struck: BTreeSet<Fault>,
}

impl Property for RoomKept {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.record.node?;
        match &fact.record.kind {
            RecordKind::ReserveKept { bytes } => {
                self.nodes.insert(node, Kept { reserve: *bytes, told: fact.record.number, ..Kept::default() });
            }
            RecordKind::Crashed { .. } => {
                self.nodes.remove(&node);
            }
            RecordKind::RefusedToStart { error } => {
                let kept = self.nodes.remove(&node)?;
                let for_space = kept.struck == BTreeSet::from([Fault::Enospc]);
                if for_space && kept.written <= kept.reserve / 4 {
                    return Some(fact.contradicts(NAME, kept.told, kept.complaint(node, error)));
                }
            }
            what => {
                if let Some(kept) = self.nodes.get_mut(&node) {
                    kept.observe(fact.record.number, what);
                }
            }
        }
        None
    }
}

impl Kept {
    fn observe(&mut self, record: u64, what: &RecordKind) {
        match what {
            RecordKind::SpaceTold { is_low } => {
                (self.is_low, self.told) = (*is_low, record);
                self.written = 0;
            }
            RecordKind::Asked { write } if self.is_low => self.written += bytes(write),
            RecordKind::DiskFault { fault, .. } => {
                self.struck.insert(*fault);
            }
            _ => {}
        }
    }

    fn complaint(&self, node: NodeId, error: &str) -> String {
        let known = if self.is_low { "that there was none" } else { "of enough" };
        format!(
            "{node} keeps room for {} bytes, had last heard {known}, has asked for {} bytes since it knew of want, and \
             ends: {error}",
            self.reserve, self.written
        )
    }
}

/// At most what a write takes in the log.
fn bytes(write: &Write) -> u64 {
    raft_proto::encode_write(write).len() as u64 + FRAME
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    fn struck(script: &mut Script, faults: &[Fault]) {
        for fault in faults {
            script.push(Some(1), RecordKind::DiskFault { fault: *fault, place: String::new() });
        }
        script.push(Some(1), RecordKind::RefusedToStart { error: "the disk is full".into() });
    }

    fn keeping(words: &[bool]) -> Script {
        let mut script = Script::led();
        script.push(Some(1), RecordKind::ReserveKept { bytes: 1_000 });
        for is_low in words {
            script.push(Some(1), RecordKind::SpaceTold { is_low: *is_low });
        }
        script
    }

    #[test]
    fn an_end_for_want_of_space_fires() {
        for (words, known) in [(&[][..], "of enough"), (&[true], "that there was none"), (&[true, false], "of enough")]
        {
            let mut script = keeping(words);
            struck(&mut script, &[Fault::Enospc]);
            assert_fires(RoomKept::default(), NAME, &script, known);
        }
    }

    #[test]
    fn an_end_is_silent_without_a_reserve_or_for_another_reason_or_once_the_rest_is_used_up() {
        let mut script = Script::led();
        struck(&mut script, &[Fault::Enospc]);
        assert_silent(RoomKept::default(), &script);
        for faults in [&[][..], &[Fault::Eio], &[Fault::Enospc, Fault::Eio]] {
            let mut script = keeping(&[]);
            struck(&mut script, faults);
            assert_silent(RoomKept::default(), &script);
        }
        let mut script = keeping(&[true]);
        for index in 3..8 {
            script.ask(1, Some((3, None)), None, vec![noop(index, 2)]);
        }
        struck(&mut script, &[Fault::Enospc]);
        assert_silent(RoomKept::default(), &script);
    }

    #[test]
    fn a_start_that_fails_is_silent() {
        let mut script = keeping(&[]);
        script.crash(1, crate::record::CrashKind::Kill);
        struck(&mut script, &[Fault::Enospc]);
        assert_silent(RoomKept::default(), &script);
    }
}
