//! A node reads back from its disk the entries that it wrote. It reads only durable entries, and the result equals its
//! log, payloads included, unless the log meanwhile has another entry there.
//!
//! It is the first to catch: a store that finds the wrong record, a read of entries that a write in flight may still
//! change. `state_machine_safety` and `log_matching` back it up.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::Entry;

const NAME: &str = "read_back";

#[derive(Clone)]
pub(super) struct ReadBack;

impl Property for ReadBack {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        let message = match &fact.record.kind {
            RecordKind::ReadAsked { first, last, .. } => {
                let durable = node.durable.log.last_id();
                if first <= last && *last <= durable.index {
                    return None;
                }
                format!("{} reads {first}..={last} back; its log is durable up to {durable}", node.id)
            }
            RecordKind::LogRead { entries, .. } => {
                let entry = entries.iter().find(|entry| is_another(node, entry))?;
                format!("{} reads {} back with another content than it wrote", node.id, entry.id)
            }
            _ => return None,
        };
        Some(fact.contradicts(NAME, node.durable.record.min(fact.record.number), message))
    }
}

fn is_another(node: &Node, entry: &Entry) -> bool {
    let held = node.log.slot(entry.id.index).filter(|slot| slot.id == entry.id);
    let before = node.log.chain_at(entry.id.index.previous());
    held.zip(before).is_some_and(|(slot, before)| slot.chain != before.then(entry))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_core::{LogIndex, ReadId};

    fn ask(script: &mut Script, first: u64, last: u64) {
        let what =
            RecordKind::ReadAsked { read: ReadId(1), first: LogIndex(first), last: LogIndex(last), max_bytes: 1 };
        script.push(Some(1), what);
    }

    #[test]
    fn a_question_beyond_what_is_durable_fires() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.write(1);
        ask(&mut script, 2, 3);
        assert_fires(ReadBack, NAME, &script, "n1 reads 2..=3 back; its log is durable up to 2@2");
    }

    #[test]
    fn another_content_fires_and_another_entry_does_not() {
        let mut script = Script::led();
        ask(&mut script, 1, 2);
        let answer = |entries: Vec<Entry>| RecordKind::LogRead { read: ReadId(1), entries: entries.into() };
        script.push(Some(1), answer(vec![founding(), noop(2, 2)]));
        script.push(Some(1), answer(vec![founding(), noop(2, 1)]));
        assert_silent(ReadBack, &script);
        script.push(Some(1), answer(vec![founding(), command(2, 2, Bytes::new())]));
        assert_fires(ReadBack, NAME, &script, "n1 reads 2@2 back with another content than it wrote");
    }
}
