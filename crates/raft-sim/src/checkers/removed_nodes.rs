//! A removed node is out. A voter that knows the removal to be committed refuses each of its requests as no member, while its log is
//! not longer, and a node stops as removed only if a committed configuration ended its membership and none has begun it anew for
//! a while.
//!
//! "A while" is how old a voter's refusal can be: the round in which it counts, on the slowest clock, and once more.
//!
//! First to catch: a node that is elected long after its removal or never learns of it, a member that ends itself for an old or a
//! false message. That a removed node learns of it in time is part of `farewells` and `liveness`.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use crate::scenario::model::Scenario;
use raft_core::{Configuration, EntryId, NodeId, Rpc, StopReason, Vote, VoteRefusal};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "removed_nodes";

/// True time for a time of the slowest clock, twice.
const SLOWEST_CLOCK: u32 = 4;

#[derive(Clone)]
pub(super) struct RemovedNodes {
    tolerance: Duration,
    /// The latest request of each kind that each node received from each candidate.
    requests: BTreeMap<(NodeId, NodeId, RequestKind), VoteRequest>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestKind {
    PreVote,
    Vote,
}

#[derive(Clone, Copy)]
struct VoteRequest {
    /// Its round or term.
    number: u64,
    record: u64,
    /// The committed entry that ended the candidate's membership, if the voter has to refuse it for that.
    removal: Option<EntryId>,
}

impl RemovedNodes {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let of_nodes = scenario.raft.election_timeout_of.values().map(|range| range.end);
        let longest = of_nodes.max().unwrap_or_default().max(scenario.raft.election_timeout.end);
        Self { tolerance: longest.saturating_mul(SLOWEST_CLOCK), requests: BTreeMap::new() }
    }

    /// The node may have answered an earlier copy of a request for a vote: by a vote, before it learned of the removal. And before a
    /// later copy it may learn that the candidate was added again.
    fn received(
        &mut self,
        fact: &Fact<'_>,
        node: &Node,
        from: NodeId,
        kind: RequestKind,
        (number, last): (u64, EntryId),
    ) {
        let request =
            VoteRequest { number, record: fact.record.number, removal: known_removal(fact, node, from, last) };
        let latest = self.requests.entry((node.id, from, kind)).or_insert(request);
        let may_have_voted = kind == RequestKind::Vote && latest.number == number && latest.removal.is_none();
        *latest = VoteRequest { removal: request.removal.filter(|_| !may_have_voted), ..request };
    }

    /// The contradiction if a node answers otherwise than that the candidate is no member. A refusal of a vote does not name
    /// its request.
    fn answered(
        &self,
        node: &Node,
        to: NodeId,
        kind: RequestKind,
        number: Option<u64>,
        vote: Vote,
    ) -> Option<(String, u64)> {
        let request = self.requests.get(&(node.id, to, kind))?;
        let removal = request.removal.filter(|_| number.is_none_or(|number| number == request.number))?;
        let verb = match vote {
            Vote::Refused(VoteRefusal::NotAMember { .. }) => return None,
            Vote::Refused(reason) => format!("refuses {to} with {reason:?}"),
            Vote::Granted => format!("votes for {to}"),
        };
        let words = format!("{} {verb}, and the committed configuration of {removal} does not name {to}", node.id);
        Some((words, request.record))
    }

    fn stopped(&self, ghost: &Ghost, fact: &Fact<'_>, node: NodeId, at: EntryId) -> Option<String> {
        let names = |place: &&(EntryId, Configuration)| place.1.members.contains_key(&node);
        let decided = ghost.decided();
        if decided.iter().find(|(id, _)| *id == at).is_none_or(|place| names(&place)) {
            return Some(format!("{node} stops as removed by {at}, which is no committed configuration without it"));
        }
        let again = decided.last().filter(names)?;
        let since = ghost.committed_at(again.0.index)?.at;
        let still = ghost.node(node).map_or(Duration::ZERO, |node| node.stood_still);
        let is_old = fact.record.at.since(since) > self.tolerance.saturating_add(still);
        is_old.then(|| format!("{node} stops as removed by {at}, and is a member since {}", again.0))
    }
}

/// The newest committed configuration, if this node knew it before it received a request of the candidate, and has to refuse the
/// request: neither it nor a later one names the candidate, whose log, which ends with `last`, is not longer. The step of the
/// request may have other inputs, so all of that has to be so before and after it.
fn known_removal(fact: &Fact<'_>, node: &Node, candidate: NodeId, last: EntryId) -> Option<EntryId> {
    let names = |configuration: &Configuration| configuration.members.contains_key(&candidate);
    let after = fact.record.view.as_ref()?;
    let commit = node.previous?.commit;
    let later = node.configurations.partition_point(|(at, _)| at.index <= commit);
    let (at, newest) = node.configurations.get(later.checked_sub(1)?)?;
    let in_force = after.configuration.as_ref().into_iter();
    let mut all = in_force.chain(node.configurations.iter().skip(later).map(|(_, next)| next)).chain([newest]);
    let is_longer = last > node.log.last_id().min(after.last);
    (!all.any(names) && !is_longer).then_some(*at)
}

impl Property for RemovedNodes {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        let (words, earlier) = match &fact.record.kind {
            RecordKind::Started { .. } => {
                self.requests.retain(|(voter, ..), _| *voter != node.id);
                None
            }
            RecordKind::Received { from, rpc: Rpc::PreVote(rpc) } => {
                self.received(fact, node, *from, RequestKind::PreVote, (rpc.round.0, rpc.last));
                None
            }
            RecordKind::Received { from, rpc: Rpc::RequestVote(rpc) } => {
                self.received(fact, node, *from, RequestKind::Vote, (rpc.term.0, rpc.last));
                None
            }
            RecordKind::Sent { to, rpc: Rpc::PreVoteResponse(rpc), .. } => {
                self.answered(node, *to, RequestKind::PreVote, Some(rpc.round.0), rpc.vote)
            }
            RecordKind::Sent { to, rpc: Rpc::RequestVoteResponse(rpc), .. } => {
                let number = (rpc.vote == Vote::Granted).then_some(rpc.term.0);
                self.answered(node, *to, RequestKind::Vote, number, rpc.vote)
            }
            RecordKind::Stopped { reason: StopReason::Removed { at } } => {
                self.stopped(ghost, fact, node.id, *at).map(|words| (words, fact.record.number))
            }
            _ => None,
        }?;
        Some(fact.contradicts(NAME, earlier, words))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Entry, LogIndex, Payload, PreVote, PreVoteResponse, Round, Term};

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

    /// n3 asks for a vote, or a pre-vote, in round or term 3.
    fn asks(script: &mut Script, rpc: Rpc) {
        let in_force = Configuration::of_voters([1, 2].map(NodeId));
        script.step(2, |view| (view.applied, view.configuration) = (LogIndex(2), Some(in_force)));
        script.push(Some(2), RecordKind::Received { from: NodeId(3), rpc });
    }

    fn pre_vote(last: EntryId) -> Rpc {
        Rpc::PreVote(PreVote { term: Term(3), round: Round(3), last })
    }

    fn answer(script: &mut Script, vote: Vote) {
        let rpc = Rpc::PreVoteResponse(PreVoteResponse { term: Term(2), round: Round(3), vote });
        script.send(2, 3, rpc);
    }

    #[test]
    fn a_vote_for_a_removed_node_fires_unless_its_log_is_longer() {
        for (last, words) in
            [(EntryId::new(3, 2), "n2 votes for n3, and the committed configuration of 3@2"), (EntryId::new(4, 2), "")]
        {
            let mut script = removed();
            asks(&mut script, request_vote(3, last));
            script.vote(2, 3, 3);
            assert_says(RemovedNodes::new(&scenario()), NAME, &script, words);
            let mut script = removed();
            asks(&mut script, pre_vote(last));
            answer(&mut script, Vote::Granted);
            assert_says(RemovedNodes::new(&scenario()), NAME, &script, words);
        }
    }

    #[test]
    fn a_refusal_that_does_not_say_that_it_is_no_member_fires() {
        for (reason, words) in [
            (VoteRefusal::LeaderAlive, "n2 refuses n3 with LeaderAlive, and the committed configuration of 3@2"),
            (VoteRefusal::NotAMember { since: EntryId::new(3, 2), current: true }, ""),
        ] {
            let mut script = removed();
            asks(&mut script, pre_vote(EntryId::new(1, 1)));
            answer(&mut script, Vote::Refused(reason));
            assert_says(RemovedNodes::new(&scenario()), NAME, &script, words);
        }
    }

    #[test]
    fn a_voter_that_is_removed_itself_refuses_too() {
        let mut script = removed();
        let configuration = Configuration::of_voters([NodeId(1)]);
        let without_n2 = Entry { id: EntryId::new(4, 2), payload: Payload::Configuration(configuration) };
        script.follow(2, 1, 2, EntryId::new(3, 2), vec![without_n2]);
        script.step(2, |view| view.configuration = Some(Configuration::of_voters([NodeId(1)])));
        // The newest change of its view: the one before it is from before the node's own removal.
        script.commit(2, 4);
        script.push(Some(2), RecordKind::Received { from: NodeId(3), rpc: pre_vote(EntryId::new(1, 1)) });
        answer(&mut script, Vote::Refused(VoteRefusal::LeaderAlive));
        let words = "n2 refuses n3 with LeaderAlive, and the committed configuration of 3@2 does not name n3";
        assert_fires(RemovedNodes::new(&scenario()), NAME, &script, words);
    }

    #[test]
    fn a_later_copy_of_a_request_meets_what_the_voter_has_learned_since() {
        let refused_after = |learns: bool| {
            let mut script = removed();
            asks(&mut script, request_vote(3, EntryId::new(1, 1)));
            if learns {
                let again = Configuration::of_voters([NodeId(1), NodeId(2), NodeId(3)]);
                let entry = Entry { id: EntryId::new(4, 2), payload: Payload::Configuration(again.clone()) };
                script.follow(2, 1, 2, EntryId::new(3, 2), vec![entry]);
                script.step(2, |view| view.configuration = Some(again));
            }
            asks(&mut script, request_vote(3, EntryId::new(1, 1)));
            let vote = Vote::Refused(VoteRefusal::LogBehind { last: EntryId::new(4, 2) });
            script.send(2, 3, Rpc::RequestVoteResponse(raft_core::RequestVoteResponse { term: Term(3), vote }));
            script
        };
        let words = "n2 refuses n3 with LogBehind";
        assert_silent(RemovedNodes::new(&scenario()), &refused_after(true));
        assert_fires(RemovedNodes::new(&scenario()), NAME, &refused_after(false), words);
    }

    #[test]
    fn a_vote_from_before_the_removal_is_silent() {
        let mut script = Script::led();
        script.push(Some(2), RecordKind::Received { from: NodeId(3), rpc: request_vote(3, EntryId::new(2, 2)) });
        script.follow(2, 1, 2, EntryId::new(2, 2), vec![without_n3()]);
        script.commit(2, 3);
        asks(&mut script, request_vote(3, EntryId::new(2, 2)));
        script.send(2, 3, granted(3));
        assert_silent(RemovedNodes::new(&scenario()), &script);
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
