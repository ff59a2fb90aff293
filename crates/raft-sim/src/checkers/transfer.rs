//! Leadership is handed over by the book (Thesis §3.10): only its leader tells a node to start, one that votes and holds
//! the leader's whole log for good; and a request for votes claims to come of that only if it does: in the next term, with
//! the log that the leader spoke of.
//!
//! First to catch: a target that starts with another log than it was told of, a flag that is set by candidates nobody
//! asked (their requests pass the stickiness that protects a living leader, Thesis §4.2.3), a target told too early.

use super::ghost::Ghost;
use super::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{EntryId, NodeId, Rpc, Term, TimeoutNow};
use std::collections::BTreeMap;

const NAME: &str = "transfer";

#[derive(Clone, Default)]
pub(super) struct Transfer {
    /// Of each node: when it was told to start in which term with which log.
    told: BTreeMap<(NodeId, Term), (EntryId, u64)>,
}

impl Property for Transfer {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        match &fact.record.kind {
            RecordKind::Received { rpc: Rpc::TimeoutNow(rpc), .. } => {
                self.told.insert((node.id, rpc.term), (rpc.last, fact.record.number));
                None
            }
            RecordKind::Sent { to, rpc: Rpc::TimeoutNow(rpc), .. } => {
                let (message, earlier) = told_wrongly(ghost, node.id, *to, *rpc)?;
                Some(fact.contradicts(NAME, earlier.unwrap_or(fact.record.number), message))
            }
            RecordKind::Sent { rpc: Rpc::RequestVote(rpc), .. } if rpc.transfer => {
                let told = self.told.get(&(node.id, Term(rpc.term.0.saturating_sub(1))));
                let id = node.id;
                let Some((last, record)) = told else {
                    let message = format!("{id} asks for votes in term {} as if it had been told to start", rpc.term);
                    return Some(fact.contradicts(NAME, node.asked, message));
                };
                let message =
                    format!("{id} starts term {} with a log up to {}; it was told of {last}", rpc.term, rpc.last);
                (*last != rpc.last).then(|| fact.contradicts(NAME, *record, message))
            }
            _ => None,
        }
    }
}

/// What is wrong with telling `to` to start, and a record that shows it.
fn told_wrongly(ghost: &Ghost, from: NodeId, to: NodeId, rpc: TimeoutNow) -> Option<(String, Option<u64>)> {
    let TimeoutNow { term, last } = rpc;
    let leader = ghost.terms.get(&term).and_then(|term| term.leader);
    if leader.is_none_or(|(leader, _)| leader != from) {
        return Some((format!("{from} tells {to} to start after term {term}, which it does not lead"), None));
    }
    let target = ghost.node(to)?;
    if target.held().log.slot(last.index).is_some_and(|slot| slot.id == last) {
        return None;
    }
    let held = target.durable.log.last_id();
    Some((
        format!("{from} tells {to} to start with {last}, and {to} holds {held} for good"),
        Some(target.durable.record),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::RequestVote;

    fn start(term: u64, last: EntryId) -> Rpc {
        Rpc::TimeoutNow(TimeoutNow { term: Term(term), last })
    }

    fn flagged(term: u64, last: EntryId) -> Rpc {
        Rpc::RequestVote(RequestVote { term: Term(term), last, transfer: true })
    }

    fn hears(script: &mut Script, node: u64, rpc: Rpc) {
        script.push(Some(node), RecordKind::Received { from: NodeId(1), rpc });
    }

    #[test]
    fn a_target_told_too_early_and_a_teller_that_does_not_lead_fire() {
        let last = EntryId::new(2, 2);
        let mut script = Script::led();
        script.send(1, 3, start(2, last));
        assert_fires(Transfer::default(), NAME, &script, "tells n3 to start with 2@2, and n3 holds 1@1 for good");
        let mut script = Script::led();
        script.send(2, 1, start(2, last));
        assert_fires(Transfer::default(), NAME, &script, "n2 tells n1 to start after term 2, which it does not lead");
    }

    #[test]
    fn a_flag_nobody_gave_and_another_log_fire() {
        let mut script = Script::led();
        hears(&mut script, 2, start(2, EntryId::new(2, 2)));
        script.send(2, 3, flagged(3, EntryId::new(1, 1)));
        assert_fires(Transfer::default(), NAME, &script, "starts term 3 with a log up to 1@1; it was told of 2@2");
        let mut script = Script::led();
        hears(&mut script, 2, start(2, EntryId::new(2, 2)));
        script.send(2, 3, flagged(4, EntryId::new(2, 2)));
        assert_fires(Transfer::default(), NAME, &script, "n2 asks for votes in term 4 as if");
    }

    #[test]
    fn a_transfer_by_the_book_is_silent() {
        let mut script = Script::led();
        let last = EntryId::new(2, 2);
        script.send(1, 2, start(2, last));
        hears(&mut script, 2, start(2, last));
        script.send(2, 3, flagged(3, last));
        script.send(2, 3, request_vote(4, last));
        assert_silent(Transfer::default(), &script);
    }
}
