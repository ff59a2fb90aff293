//! A removed node is out. A voter that knows the removal to be committed gives it no vote while its own log is as long, and a node
//! stops as removed only if a committed configuration ended its membership and none has begun it anew for a while.
//!
//! "A while" is how old a voter's refusal can be: the round in which it counts, on the slowest clock, and once more.
//!
//! First to catch: a node that is elected long after its removal, a member that ends itself for an old or a false message.
//! That a removed node learns of it in time is part of `liveness`.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use crate::scenario::model::Scenario;
use raft_core::{EntryId, NodeId, Rpc, StopReason, Term, Vote};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "removed_nodes";

/// True time for a time of the slowest clock, twice.
const SLOWEST_CLOCK: u32 = 4;

#[derive(Clone)]
pub(super) struct RemovedNodes {
    tolerance: Duration,
    /// The last entry of the candidate in the latest request for a vote that each node received from it, by term.
    requests: BTreeMap<(NodeId, NodeId), (Term, EntryId)>,
}

impl RemovedNodes {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let of_nodes = scenario.raft.election_timeout_of.values().map(|range| range.end);
        let longest = of_nodes.max().unwrap_or_default().max(scenario.raft.election_timeout.end);
        Self { tolerance: longest.saturating_mul(SLOWEST_CLOCK), requests: BTreeMap::new() }
    }

    fn granted(&self, node: &Node, candidate: NodeId, term: Term) -> Option<String> {
        let (of, last) = self.requests.get(&(node.id, candidate)).copied().filter(|(of, _)| *of == term)?;
        let commit = node.view.as_ref()?.commit;
        let (committed, later): (Vec<_>, Vec<_>) = node.configurations.iter().partition(|(at, _)| at.index <= commit);
        let names =
            |(_, configuration): &&&(EntryId, raft_core::Configuration)| configuration.members.contains_key(&candidate);
        let newest = committed.last().filter(|newest| !names(newest))?;
        if later.iter().any(|next| names(&next)) || last > node.log.last_id() {
            return None;
        }
        Some(format!(
            "{} votes for {candidate} in term {of}, and the committed configuration of {} does not name it",
            node.id, newest.0
        ))
    }

    fn stopped(&self, ghost: &Ghost, fact: &Fact<'_>, node: NodeId, at: EntryId) -> Option<String> {
        let names = |place: &&(EntryId, raft_core::Configuration)| place.1.members.contains_key(&node);
        let decided = ghost.decided();
        if decided.iter().find(|(id, _)| *id == at).is_none_or(|place| names(&place)) {
            return Some(format!("{node} stops as removed by {at}, which is no committed configuration without it"));
        }
        let again = decided.last().filter(names)?;
        let since = ghost.committed_at(again.0.index)?.at;
        let is_old = fact.record.at.since(since) > self.tolerance;
        is_old.then(|| format!("{node} stops as removed by {at}, and is a member since {}", again.0))
    }
}

impl Property for RemovedNodes {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        let words = match &fact.record.kind {
            RecordKind::Received { from, rpc: Rpc::RequestVote(rpc) } => {
                self.requests.insert((node.id, *from), (rpc.term, rpc.last));
                None
            }
            RecordKind::Sent { to, rpc: Rpc::RequestVoteResponse(rpc), .. } if rpc.vote == Vote::Granted => {
                self.granted(node, *to, rpc.term)
            }
            RecordKind::Stopped { reason: StopReason::Removed { at } } => self.stopped(ghost, fact, node.id, *at),
            _ => None,
        }?;
        Some(fact.contradicts(NAME, fact.record.number, words))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Configuration, Entry, Payload};

    fn without_n3() -> Entry {
        let configuration = Configuration::of_voters([1, 2].map(NodeId));
        Entry { id: EntryId::new(3, 2), payload: Payload::Configuration(configuration) }
    }

    /// n3 is removed by 3@2, which n1 and n2 know to be committed.
    fn removed() -> Script {
        let mut script = Script::led();
        script.step(1, |view| view.last = EntryId::new(3, 2));
        script.ask(1, None, None, vec![without_n3()]);
        script.sync(1);
        script.follow(2, 1, 2, EntryId::new(2, 2), vec![without_n3()]);
        script.commit(1, 3);
        script.commit(2, 3);
        script
    }

    fn stops(script: &mut Script, node: u64, at: EntryId) {
        script.push(Some(node), RecordKind::Stopped { reason: StopReason::Removed { at } });
    }

    #[test]
    fn a_vote_for_a_removed_node_fires_unless_its_log_is_longer() {
        for (last, words) in [
            (EntryId::new(3, 2), "n2 votes for n3 in term 3, and the committed configuration of 3@2"),
            (EntryId::new(4, 2), ""),
        ] {
            let mut script = removed();
            script.push(Some(2), RecordKind::Received { from: NodeId(3), rpc: request_vote(3, last) });
            script.vote(2, 3, 3);
            assert_says(RemovedNodes::new(&scenario()), NAME, &script, words);
        }
    }

    #[test]
    fn a_member_that_stops_as_removed_fires() {
        let mut script = removed();
        stops(&mut script, 3, EntryId::new(3, 2));
        assert_silent(RemovedNodes::new(&scenario()), &script);
        let mut script = removed();
        stops(&mut script, 2, EntryId::new(3, 2));
        assert_fires(
            RemovedNodes::new(&scenario()),
            NAME,
            &script,
            "n2 stops as removed by 3@2, which is no committed",
        );
        let mut script = Script::led();
        stops(&mut script, 3, EntryId::new(3, 2));
        assert_fires(
            RemovedNodes::new(&scenario()),
            NAME,
            &script,
            "n3 stops as removed by 3@2, which is no committed",
        );
    }
}
