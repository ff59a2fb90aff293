//! A node that keeps a reserve on its disk does not end for lack of space: it refuses requests before that. The reserve
//! may run out only if, since the node was notified that it is short, more than a quarter of it went into writes that
//! the node cannot refuse. A node that does not start on a full disk violates nothing.
//!
//! A node that learns that writes are durable counts on space for as many more, so it knows by then whether the reserve is
//! short after them.
//!
//! It is the first to catch: a notification about space that comes too late or never, and entries that are admitted
//! uncounted. No other checker covers it: an end for lack of space is safe.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::faults::Fault;
use crate::record::{RecordKind, SpaceAfter, Unhashed};
use raft_core::{NodeId, Write};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "disk_reserve";

/// The most bytes of a log record beside its payload: its frame, and padding.
const FRAME: u64 = 39;

#[derive(Clone, Default)]
pub(super) struct DiskReserve {
    nodes: BTreeMap<NodeId, Kept>,
}

/// The reserve of a process, as its node believes.
#[derive(Clone, Default)]
struct Kept {
    reserve: u64,
    /// The record of the process's start, or of the newest notification.
    notified: u64,
    is_low: bool,
    /// The disk's task after which the node was notified last.
    task: u64,
    /// The bytes that it has written since the notification that the reserve is short.
    written: u64,
    /// The faults that have just made calls to its disk fail.
    fired: BTreeSet<Fault>,
}

impl Property for DiskReserve {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.record.node?;
        match &fact.record.kind {
            RecordKind::ReserveKept { bytes } => {
                self.nodes.insert(node, Kept { reserve: *bytes, notified: fact.record.number, ..Kept::default() });
            }
            RecordKind::Crashed { .. } => {
                self.nodes.remove(&node);
            }
            RecordKind::RefusedToStart { error } => {
                let kept = self.nodes.remove(&node)?;
                let for_space = kept.fired == BTreeSet::from([Fault::Enospc]);
                if for_space && kept.written <= kept.reserve / 4 {
                    return Some(fact.contradicts(NAME, kept.notified, kept.complaint(node, error)));
                }
            }
            RecordKind::Persisted { space: Unhashed(space), .. } => {
                let kept = self.nodes.get(&node)?;
                if kept.is_outdated(*space) {
                    return Some(fact.contradicts(NAME, kept.notified, kept.complaint_about(node, *space)));
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
            RecordKind::SpaceTold { is_low, task } => {
                (self.is_low, self.task, self.notified) = (*is_low, task.0, record);
                self.written = 0;
            }
            RecordKind::Asked { write } if self.is_low => self.written += bytes(write),
            RecordKind::DiskFault { fault, .. } => {
                self.fired.insert(*fault);
            }
            _ => {}
        }
    }

    /// Whether the node was last notified of another space than there was after these writes. A notification after a later task of
    /// the disk replaces one that the node has not received yet.
    const fn is_outdated(&self, space: SpaceAfter) -> bool {
        self.task <= space.task && self.is_low != space.is_low
    }

    fn complaint_about(&self, node: NodeId, space: SpaceAfter) -> String {
        let word = |is_low| if is_low { "short" } else { "there" };
        format!(
            "{node} learns that its writes are durable, was last notified that its reserve is {}, and after them it is {}",
            word(self.is_low),
            word(space.is_low)
        )
    }

    fn complaint(&self, node: NodeId, error: &str) -> String {
        let known = if self.is_low { "that it is short" } else { "that it is there" };
        format!(
            "{node} keeps a reserve of {} bytes, was last notified {known}, has written {} bytes since it was short, and \
             ends: {error}",
            self.reserve, self.written
        )
    }
}

/// The most bytes that a write takes in the log.
fn bytes(write: &Write) -> u64 {
    raft_proto::encode_write(write).len() as u64 + FRAME
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    fn fired(script: &mut Script, faults: &[Fault]) {
        for fault in faults {
            script.push(Some(1), RecordKind::DiskFault { fault: *fault, place: String::new() });
        }
        script.push(Some(1), RecordKind::RefusedToStart { error: "the disk is full".into() });
    }

    fn keeping(words: &[bool]) -> Script {
        let mut script = Script::led();
        script.push(Some(1), RecordKind::ReserveKept { bytes: 1_000 });
        for is_low in words {
            script.push(Some(1), RecordKind::SpaceTold { is_low: *is_low, task: Unhashed(1) });
        }
        script
    }

    #[test]
    fn an_end_for_want_of_space_fires() {
        for (words, known) in
            [(&[][..], "that it is there"), (&[true], "that it is short"), (&[true, false], "that it is there")]
        {
            let mut script = keeping(words);
            fired(&mut script, &[Fault::Enospc]);
            assert_fires(DiskReserve::default(), NAME, &script, known);
        }
    }

    #[test]
    fn durable_writes_before_the_notification_about_their_space_fire() {
        for (told, is_low, task, words) in [
            (&[][..], true, 1, "was last notified that its reserve is there, and after them it is short"),
            (&[true], false, 1, "was last notified that its reserve is short, and after them it is there"),
            (&[true], true, 1, ""),
            (&[true, false], false, 2, ""),
            (&[true], false, 0, ""),
        ] {
            let mut script = keeping(told);
            script.ask(1, None, None, vec![noop(3, 2)]);
            script.sync(1);
            let RecordKind::Persisted { space, .. } = &mut script.newest().kind else { panic!("it is durable") };
            *space = Unhashed(SpaceAfter { task, is_low });
            assert_says(DiskReserve::default(), NAME, &script, words);
        }
    }

    #[test]
    fn an_end_is_silent_without_a_reserve_or_for_another_reason_or_once_the_rest_is_used_up() {
        let mut script = Script::led();
        fired(&mut script, &[Fault::Enospc]);
        assert_silent(DiskReserve::default(), &script);
        for faults in [&[][..], &[Fault::Eio], &[Fault::Enospc, Fault::Eio]] {
            let mut script = keeping(&[]);
            fired(&mut script, faults);
            assert_silent(DiskReserve::default(), &script);
        }
        let mut script = keeping(&[true]);
        for index in 3..8 {
            script.ask(1, Some((3, None)), None, vec![noop(index, 2)]);
        }
        fired(&mut script, &[Fault::Enospc]);
        assert_silent(DiskReserve::default(), &script);
    }

    #[test]
    fn a_start_that_fails_is_silent() {
        let mut script = keeping(&[]);
        script.crash(1, crate::record::CrashKind::Kill);
        fired(&mut script, &[Fault::Enospc]);
        assert_silent(DiskReserve::default(), &script);
    }
}
