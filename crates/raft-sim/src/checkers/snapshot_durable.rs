//! The order in which a snapshot becomes durable: its file is durable before a record names it, and its record is
//! durable before other state depends on it. A node restores or sends only such a snapshot, and compacts only entries
//! that it covers; the file stays while a record names it (Raft §7).
//!
//! It is the first to catch: a record written beside the file instead of after it, a state machine that restores a
//! snapshot which a power loss takes back, a log that is compacted before its snapshot exists, a host that deletes the
//! wrong file. `recovery` backs it up.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{EntryId, SnapshotMeta};
use raft_node::{SnapshotChunk, SnapshotMessage};

const NAME: &str = "snapshot_durable";

#[derive(Clone)]
pub(super) struct SnapshotDurable;

impl Property for SnapshotDurable {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        let (id, durable) = (node.id, &node.durable);
        let unless_durable = |meta: &SnapshotMeta, what: &str| {
            let held = durable.snapshot_id();
            (held != meta.last).then(|| format!("{id} {what} {}; the durable record names {held}", meta.last))
        };
        // A newer durable record has replaced this one: no power loss restores it.
        let unless_replaced = |meta: &SnapshotMeta, what: &str| {
            let is_older = meta.last.index <= durable.snapshot_id().index;
            if is_older { None } else { unless_durable(meta, what) }
        };
        let message = match &fact.record.kind {
            RecordKind::Asked { write } => {
                let last = write.snapshot.as_ref()?.meta.last;
                let message = || format!("{id} asks for a record of the snapshot of {last}, whose file is not durable");
                (!node.files.contains(&last)).then(message)
            }
            RecordKind::SnapshotWanted { meta } => unless_durable(meta, "loads the snapshot of"),
            // Its file was read before the newer record of the same call was known to be durable: the node restores
            // that snapshot next.
            RecordKind::Restored { meta, .. } => unless_replaced(meta, "sets its state machine to the snapshot of"),
            // An older snapshot than the current one may have left its file before the file was deleted.
            RecordKind::SnapshotSaid { message: SnapshotMessage::Chunk(SnapshotChunk { meta, .. }), .. } => {
                unless_replaced(meta, "sends the snapshot of")
            }
            RecordKind::SnapshotRemoved { last } => removed(node, *last),
            RecordKind::Compacted { before } => {
                let (covered, applied) = (durable.snapshot_id(), node.view?.applied);
                let beyond = before.previous() > covered.index || before.previous() > applied;
                let words = || {
                    format!(
                        "{id} compacts all before {before}; its snapshot covers {covered}, and it has applied {applied}"
                    )
                };
                beyond.then(words)
            }
            _ => None,
        };
        Some(fact.contradicts(NAME, durable.record.min(fact.record.number), message?))
    }
}

/// The problem if the file of this snapshot is deleted although the newest record, durable or not, or the durable one
/// names it.
fn removed(node: &Node, last: EntryId) -> Option<String> {
    let newest = node.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default();
    let is_named = [newest, node.durable.snapshot_id()].contains(&last);
    is_named.then(|| format!("the file of the snapshot of {last} is deleted, which {} still needs", node.id))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::LogIndex;

    /// n1 has applied up to 2@2, and its snapshot's file is durable.
    fn saved() -> Script {
        let mut script = Script::led();
        script.step(1, |view| view.applied = LogIndex(2));
        script.save(1, &meta(2, 2));
        script
    }

    #[test]
    fn a_record_before_its_file_fires() {
        let mut script = Script::led();
        script.ask_snapshot(1, meta(2, 2), raft_core::InstallMode::Keep);
        assert_fires(SnapshotDurable, NAME, &script, "a record of the snapshot of 2@2, whose file is not durable");
    }

    #[test]
    fn what_rests_on_a_record_that_is_not_durable_fires() {
        let (to, message) = (raft_core::NodeId(3), chunk(2, meta(2, 2), b"chunk"));
        let sent = RecordKind::SnapshotSaid { to, message, verdict: crate::record::Verdict::Lost };
        let restored = RecordKind::Restored { meta: meta(2, 2), state_hash: 7 };
        let removed = RecordKind::SnapshotRemoved { last: EntryId::new(2, 2) };
        for (kind, words) in [
            (
                RecordKind::SnapshotWanted { meta: meta(2, 2) },
                "n1 loads the snapshot of 2@2; the durable record names 0@0",
            ),
            (restored, "n1 sets its state machine to the snapshot of 2@2"),
            (sent, "n1 sends the snapshot of 2@2"),
            (RecordKind::Compacted { before: LogIndex(2) }, "n1 compacts all before 2; its snapshot covers 0@0"),
            (removed, "the file of the snapshot of 2@2 is deleted"),
        ] {
            let mut script = saved();
            script.ask_snapshot(1, meta(2, 2), raft_core::InstallMode::Keep);
            script.write(1);
            script.push(Some(1), kind);
            assert_fires(SnapshotDurable, NAME, &script, words);
        }
    }

    #[test]
    fn the_right_order_is_silent() {
        let mut script = saved();
        script.ask_snapshot(1, meta(2, 2), raft_core::InstallMode::Keep);
        script.sync(1);
        script.push(Some(1), RecordKind::Compacted { before: LogIndex(3) });
        script.push(Some(1), RecordKind::SnapshotWanted { meta: meta(2, 2) });
        script.push(Some(1), RecordKind::Restored { meta: meta(2, 2), state_hash: 7 });
        script.push(Some(1), RecordKind::Restored { meta: meta(1, 1), state_hash: 7 });
        assert_silent(SnapshotDurable, &script);
        script.push(Some(1), RecordKind::Compacted { before: LogIndex(4) });
        let words = "n1 compacts all before 4; its snapshot covers 2@2, and it has applied 2";
        assert_fires(SnapshotDurable, NAME, &script, words);
    }
}
