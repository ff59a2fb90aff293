//! A vote leaves a node only once it is durable on the simulated disk. This covers the grant to another node, and the
//! vote request of a candidate, which counts its own vote (Raft §5.2, Figure 2 "persistent state"; Thesis §3.8).
//!
//! It is the first to catch: a grant sent before its write is synced, a term saved without its vote, a store that
//! reports durability too early. `one_vote_per_term` backs it up, but needs a crash to see the effect.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{HardState, Rpc, Vote};

const NAME: &str = "vote_durable";

#[derive(Clone)]
pub(super) struct VoteDurable;

impl Property for VoteDurable {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let RecordKind::Sent { to, rpc, .. } = &fact.record.kind else { return None };
        let node = fact.node?;
        let (term, candidate) = match rpc {
            Rpc::RequestVoteResponse(response) if response.vote == Vote::Granted => (response.term, *to),
            Rpc::RequestVote(request) => (request.term, node.id),
            _ => return None,
        };
        let durable = node.durable.hard_state;
        if durable == (HardState { term, voted_for: Some(candidate) }) {
            return None;
        }
        let message = format!("{} gives {candidate} its vote in term {term} while {durable} is durable", node.id);
        Some(fact.contradicts(NAME, node.durable.record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::EntryId;

    #[test]
    fn a_grant_before_the_sync_fires() {
        let mut script = Script::started();
        script.ask(2, Some((2, Some(1))), None, vec![]);
        script.write(2);
        script.send(2, 1, granted(2));
        assert_fires(VoteDurable, NAME, &script, "n2 gives n1 its vote in term 2 while term 1 is durable");
    }

    #[test]
    fn a_durable_term_with_another_vote_fires() {
        let mut script = Script::started();
        script.vote(2, 1, 2);
        script.send(2, 3, granted(2));
        assert_fires(VoteDurable, NAME, &script, "while term 2 vote n1 is durable");
    }

    #[test]
    fn a_request_before_the_sync_fires() {
        let mut script = Script::started();
        script.ask(1, Some((2, Some(1))), None, vec![]);
        script.send(1, 2, request_vote(2, EntryId::new(1, 1)));
        assert_fires(VoteDurable, NAME, &script, "n1 gives n1 its vote");
    }

    #[test]
    fn durable_votes_are_silent() {
        assert_silent(VoteDurable, &Script::legal());
    }
}
