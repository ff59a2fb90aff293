//! If two logs hold an entry of the same index and term, they are equal up to it (Raft Figure 3, Log Matching; §5.3),
//! payloads included, over all logs of the whole history.
//!
//! It is the first to catch: an append accepted without its prev entry, entries at the wrong index or damaged in
//! transit, two entries created with one id. `state_machine_safety` backs it up.

use super::ghost::Ghost;
use super::ghost::log::{Chain, Slot};
use super::property::{Fact, Property, Violation};
use raft_core::{LogIndex, NodeId, Term};

const NAME: &str = "log_matching";

/// Every entry that was ever at each index: one for most indices, and one for each conflicting term for the others.
#[derive(Clone, Default)]
pub(super) struct LogMatching {
    seen: Vec<Vec<Sighting>>,
}

#[derive(Clone, Copy)]
struct Sighting {
    term: Term,
    chain: Chain,
    node: NodeId,
    record: u64,
}

impl Property for LogMatching {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let pushed = fact.change.edit.pushed;
        let node = fact.node.filter(|_| pushed > 0)?;
        let slots = node.log.after(LogIndex(node.log.len().saturating_sub(pushed)));
        let (earlier, slot) = slots.iter().find_map(|slot| Some((self.differs(node.id, slot)?, slot)))?;
        let message = format!("{} and {} both hold {} after different logs", earlier.node, node.id, slot.id);
        Some(fact.contradicts(NAME, earlier.record, message))
    }
}

impl LogMatching {
    /// The earlier observation that this one contradicts.
    fn differs(&mut self, node: NodeId, slot: &Slot) -> Option<Sighting> {
        let place = usize::try_from(slot.id.index.previous().0).ok()?;
        if self.seen.len() <= place {
            self.seen.resize_with(place + 1, Vec::new);
        }
        let here = self.seen.get_mut(place)?;
        match here.iter().position(|known| known.term == slot.id.term) {
            Some(known) => here.get(known).copied().filter(|known| known.chain != slot.chain),
            None => {
                let Slot { id, chain, record } = *slot;
                here.push(Sighting { term: id.term, chain, node, record });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_same_id_after_another_prefix_fires() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.ask(3, None, None, vec![noop(2, 1), noop(3, 2)]);
        assert_fires(LogMatching::default(), NAME, &script, "n1 and n3 both hold 3@2");
    }

    #[test]
    fn the_same_id_with_another_payload_fires() {
        let mut script = Script::led();
        script.ask(3, None, None, vec![command(2, 2, Bytes::from_static(b"x"))]);
        assert_fires(LogMatching::default(), NAME, &script, "both hold 2@2");
    }

    #[test]
    fn conflicting_terms_at_one_index_are_silent() {
        let mut script = Script::legal();
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.ask(1, None, Some(3), vec![noop(3, 3)]);
        assert_silent(LogMatching::default(), &script);
    }
}
