//! What a node sends stays within its limits: an append carries at most `max_append_bytes` of entries, or one entry.
//!
//! The records do not show how much is in flight, waiting for the disk or for the state machine: those limits are
//! tested where they live, in the core. First to catch: a size limit that is ignored or applied to the wrong side of the
//! first entry. Backs up nobody.

use super::ghost::Ghost;
use super::{Fact, Property, Violation};
use crate::record::What;
use crate::scenario::model::Scenario;
use raft_core::Rpc;

const NAME: &str = "queues";

#[derive(Clone)]
pub(super) struct Queues {
    max_append_bytes: u64,
}

impl Queues {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { max_append_bytes: scenario.raft.max_append_bytes }
    }
}

impl Property for Queues {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let What::Sent { to, rpc: Rpc::AppendEntries(append), .. } = &fact.record.what else { return None };
        if append.entries.len() <= 1 || append.entries.size() <= self.max_append_bytes {
            return None;
        }
        let (size, limit) = (append.entries.size(), self.max_append_bytes);
        let node = fact.record.node?;
        let message = format!("{node} sends {to} {} of {size} B in one append; the limit is {limit} B", append.entries);
        Some(fact.contradicts(NAME, fact.record.number, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_core::EntryId;

    fn big(index: u64) -> raft_core::Entry {
        command(index, 2, Bytes::from(vec![0; 1000]))
    }

    #[test]
    fn two_entries_beyond_the_limit_fire() {
        let mut script = Script::led();
        script.send(1, 2, append(2, EntryId::new(2, 2), 2, vec![big(3), noop(4, 2)]));
        assert_fires(Queues::new(&scenario()), NAME, &script, "n1 sends n2 [3@2..4@2] of 1048 B");
    }

    #[test]
    fn one_big_entry_is_silent() {
        let mut script = Script::legal();
        script.send(2, 1, append(3, EntryId::new(3, 3), 3, vec![big(4)]));
        assert_silent(Queues::new(&scenario()), &script);
    }
}
