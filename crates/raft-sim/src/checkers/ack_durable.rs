//! A node acknowledges only state that is durable on its simulated disk. This covers the entries up to the claimed
//! match, in the log that it acknowledges and not in one that it has since truncated, and the term of the answer (Raft
//! §5.3, Figure 2; Thesis §10.2.1).
//!
//! It is the first to catch: an acknowledgement on receipt, a heartbeat answered with the index in memory, durability
//! counted from the newest instead of the newest contiguous write, a truncation in flight that is overlooked, a store
//! that reports before it syncs. `commit_quorum` backs it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{AppendOutcome, Rpc};

const NAME: &str = "ack_durable";

#[derive(Clone)]
pub(super) struct AckDurable;

impl Property for AckDurable {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let RecordKind::Sent { rpc: Rpc::AppendEntriesResponse(response), .. } = &fact.record.kind else { return None };
        let AppendOutcome::Matched { index } = response.outcome else { return None };
        let node = fact.node?;
        let durable = &node.durable;
        let id = node.id;
        let problem = if durable.hard_state.term < response.term {
            format!("{id} answers in term {} while {} is durable", response.term, durable.hard_state)
        } else if durable.log.len() < index.0 {
            format!("{id} acknowledges {index} while its log is durable up to {}", durable.log.last_id())
        } else if durable.log.chain_at(index) != node.log.chain_at(index) {
            let held = durable.log.slot(index).map(|slot| slot.id).unwrap_or_default();
            format!("{id} acknowledges {index} while {held} of a truncated log is durable there")
        } else {
            return None;
        };
        Some(fact.contradicts(NAME, durable.record, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    #[test]
    fn a_match_beyond_the_durable_log_fires() {
        let mut script = Script::led();
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.write(2);
        script.send(2, 1, matched(2, 3));
        assert_fires(AckDurable, NAME, &script, "n2 acknowledges 3 while its log is durable up to 2@2");
    }

    #[test]
    fn a_term_that_is_not_durable_fires() {
        let mut script = Script::led();
        script.ask(2, Some((3, None)), None, vec![]);
        script.send(2, 3, matched(3, 1));
        assert_fires(AckDurable, NAME, &script, "n2 answers in term 3 while term 2 vote n1 is durable");
    }

    #[test]
    fn a_truncation_in_flight_fires() {
        let mut script = Script::led();
        script.ask(2, None, Some(2), vec![noop(2, 3)]);
        script.send(2, 1, matched(2, 2));
        assert_fires(AckDurable, NAME, &script, "while 2@2 of a truncated log is durable there");
    }

    #[test]
    fn what_the_disk_holds_may_be_acknowledged() {
        let mut script = Script::legal();
        script.ask(3, None, None, vec![noop(4, 3)]);
        script.send(3, 2, matched(3, 3));
        assert_silent(AckDurable, &script);
    }
}
