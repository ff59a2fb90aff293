//! Leadership transfers follow Thesis §3.10: only the leader sends TimeoutNow, to a voter whose log is durable up to the leader's
//! last entry. A vote request carries the transfer flag only if its node received TimeoutNow in the previous term, and
//! has the log that it named. A leader gives a transfer up after its longest election timeout, because it takes no writes
//! meanwhile. That is a time of its clock, which may run at half the speed of true time, and it notices in its next call.
//!
//! It is the first to catch: a target that starts with another log, a flag on the requests of other candidates (such
//! requests pass the stickiness that protects a live leader, Thesis §4.2.3), a TimeoutNow that is sent too early or to no
//! voter, a transfer without end.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use super::write_stall::SLOWEST_CLOCK;
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::{RaftSettings, Scenario};
use raft_core::{EntryId, Event, NodeId, Rpc, Term, TimeoutNow};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "transfer";

#[derive(Clone)]
pub(super) struct Transfer {
    raft: RaftSettings,
    /// The TimeoutNow that each node has received in each term: the log that it names, and the record.
    received: BTreeMap<(NodeId, Term), (EntryId, u64)>,
    /// The transfer in progress of each leader.
    begun: BTreeMap<NodeId, Begun>,
}

#[derive(Clone, Copy)]
struct Begun {
    at: SimTime,
    record: u64,
    /// The newest call of the leader, and its time.
    call: (u64, SimTime),
}

impl Transfer {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { raft: scenario.raft.clone(), received: BTreeMap::new(), begun: BTreeMap::new() }
    }

    /// How long a transfer of this leader may last, in true time.
    fn limit(&self, leader: NodeId) -> Duration {
        let timeout = self.raft.election_timeout_of.get(&leader).unwrap_or(&self.raft.election_timeout);
        timeout.end.saturating_mul(SLOWEST_CLOCK)
    }

    /// The transfer that this leader should have given up in its previous call. The call may have begun another one instead.
    fn is_overdue(&mut self, fact: &Fact<'_>, node: &Node) -> Option<Violation> {
        let (record, leader) = (fact.record, node.id);
        let limit = self.limit(leader).saturating_add(node.stood_still);
        let view = record.view.as_ref().filter(|_| record.call > 0)?;
        let Some(target) = view.internals.0.transfer_to else {
            self.begun.remove(&leader);
            return None;
        };
        let begun = self.begun.get_mut(&leader).filter(|begun| begun.call.0 != record.call)?;
        let (_, before) = std::mem::replace(&mut begun.call, (record.call, record.at));
        let words =
            || format!("{leader} transfers leadership to {target} for more than {limit:?}, and takes no writes");
        (before.since(begun.at) > limit).then(|| fact.contradicts(NAME, begun.record, words()))
    }
}

impl Property for Transfer {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        if let Some(violation) = self.is_overdue(fact, node) {
            return Some(violation);
        }
        match &fact.record.kind {
            RecordKind::Observed(Event::TransferBegun { .. }) => {
                let (at, record, call) = (fact.record.at, fact.record.number, fact.record.call);
                self.begun.insert(node.id, Begun { at, record, call: (call, at) });
                None
            }
            RecordKind::Received { rpc: Rpc::TimeoutNow(rpc), .. } => {
                self.received.insert((node.id, rpc.term), (rpc.last, fact.record.number));
                None
            }
            RecordKind::Sent { to, rpc: Rpc::TimeoutNow(rpc), .. } => {
                let (message, earlier) = wrong_timeout_now(ghost, node.id, *to, *rpc)?;
                Some(fact.contradicts(NAME, earlier.unwrap_or(fact.record.number), message))
            }
            RecordKind::Sent { rpc: Rpc::RequestVote(rpc), .. } if rpc.transfer => {
                let received = self.received.get(&(node.id, Term(rpc.term.0.saturating_sub(1))));
                let id = node.id;
                let Some((last, record)) = received else {
                    let message = format!(
                        "{id} requests votes in term {} with the transfer flag, and has received no TimeoutNow",
                        rpc.term
                    );
                    return Some(fact.contradicts(NAME, node.asked, message));
                };
                let message =
                    format!("{id} starts term {} with a log up to {}; its TimeoutNow names {last}", rpc.term, rpc.last);
                (*last != rpc.last).then(|| fact.contradicts(NAME, *record, message))
            }
            _ => None,
        }
    }
}

/// The problem of this TimeoutNow to `to`, and a record that shows it.
fn wrong_timeout_now(ghost: &Ghost, from: NodeId, to: NodeId, rpc: TimeoutNow) -> Option<(String, Option<u64>)> {
    let TimeoutNow { term, last } = rpc;
    let leader = ghost.terms.get(&term).and_then(|term| term.leader);
    if leader.is_none_or(|(leader, _)| leader != from) {
        return Some((format!("{from} sends {to} TimeoutNow of term {term}, which it does not lead"), None));
    }
    let configuration = ghost.node(from).and_then(Node::configuration)?;
    if !configuration.voters.contains(&to) {
        return Some((format!("{from} sends {to} TimeoutNow, which is no voter of {configuration}"), None));
    }
    let target = ghost.node(to)?;
    // A leader of a later term may have replaced what the target had confirmed.
    if target.view.as_ref().map_or(target.durable.hard_state.term, |view| view.term) > term {
        return None;
    }
    if target.held().log.slot(last.index).is_some_and(|slot| slot.id == last) {
        return None;
    }
    let held = target.durable.log.last_id();
    Some((
        format!("{from} sends {to} TimeoutNow with {last}, while the log of {to} is durable up to {held}"),
        Some(target.durable.record),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::RequestVote;

    fn transfer() -> Transfer {
        Transfer::new(&scenario())
    }

    fn start(term: u64, last: EntryId) -> Rpc {
        Rpc::TimeoutNow(TimeoutNow { term: Term(term), last })
    }

    fn flagged(term: u64, last: EntryId) -> Rpc {
        Rpc::RequestVote(RequestVote { term: Term(term), last, transfer: true })
    }

    fn receives(script: &mut Script, node: u64, rpc: Rpc) {
        script.push(Some(node), RecordKind::Received { from: NodeId(1), rpc });
    }

    #[test]
    fn one_sent_too_early_and_a_sender_that_does_not_lead_fire() {
        let last = EntryId::new(2, 2);
        let mut script = Script::led();
        script.send(1, 3, start(2, last));
        let words = "sends n3 TimeoutNow with 2@2, while the log of n3 is durable up to 1@1";
        assert_fires(transfer(), NAME, &script, words);
        let mut script = Script::led();
        script.send(2, 1, start(2, last));
        assert_fires(transfer(), NAME, &script, "n2 sends n1 TimeoutNow of term 2, which it does not lead");
        let mut script = Script::led();
        script.send(1, 4, start(2, last));
        assert_fires(transfer(), NAME, &script, "n1 sends n4 TimeoutNow, which is no voter of {n1 n2 n3}");
    }

    #[test]
    fn a_former_leader_may_not_know_what_a_later_one_has_replaced() {
        let mut script = Script::led();
        script.step(3, |view| view.term = Term(3));
        script.send(1, 3, start(2, EntryId::new(2, 2)));
        assert_silent(transfer(), &script);
    }

    #[test]
    fn a_flag_without_cause_and_another_log_fire() {
        let mut script = Script::led();
        receives(&mut script, 2, start(2, EntryId::new(2, 2)));
        script.send(2, 3, flagged(3, EntryId::new(1, 1)));
        let words = "starts term 3 with a log up to 1@1; its TimeoutNow names 2@2";
        assert_fires(transfer(), NAME, &script, words);
        let mut script = Script::led();
        receives(&mut script, 2, start(2, EntryId::new(2, 2)));
        script.send(2, 3, flagged(4, EntryId::new(2, 2)));
        assert_fires(transfer(), NAME, &script, "n2 requests votes in term 4 with the transfer flag");
    }

    #[test]
    fn a_transfer_by_the_book_is_silent() {
        let mut script = Script::led();
        let last = EntryId::new(2, 2);
        script.send(1, 2, start(2, last));
        receives(&mut script, 2, start(2, last));
        script.send(2, 3, flagged(3, last));
        script.send(2, 3, request_vote(4, last));
        assert_silent(transfer(), &script);
    }

    /// n1 begins a transfer to n2, and makes a call each 100 ms with this target.
    fn transfers(script: &mut Script, calls: u64, target: Option<u64>) {
        script.push(Some(1), RecordKind::Observed(Event::TransferBegun { target: NodeId(2) }));
        let start = script.newest().at;
        for call in 1..=calls {
            script.step(1, |view| view.internals.0.transfer_to = target.map(NodeId));
            script.newest().at = start.after(Duration::from_millis(100 * call));
        }
    }

    #[test]
    fn a_transfer_without_end_fires() {
        // The election timeout is up to 300 ms.
        let mut script = Script::led();
        transfers(&mut script, 7, Some(2));
        assert_silent(transfer(), &script);
        let mut script = Script::led();
        transfers(&mut script, 8, Some(2));
        assert_fires(transfer(), NAME, &script, "n1 transfers leadership to n2 for more than 600ms");
    }

    #[test]
    fn a_transfer_that_ends_another_one_and_a_pause_are_silent() {
        let mut script = Script::led();
        transfers(&mut script, 9, None);
        assert_silent(transfer(), &script);
        let mut script = Script::led();
        transfers(&mut script, 7, Some(2));
        transfers(&mut script, 7, Some(2));
        assert_silent(transfer(), &script);
        let mut script = Script::led();
        transfers(&mut script, 2, Some(2));
        let paused = script.newest().at;
        script.step(1, |view| view.internals.0.transfer_to = None);
        script.newest().at = paused.after(Duration::from_secs(9));
        assert_silent(transfer(), &script);
    }
}
