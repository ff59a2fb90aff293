//! A node gives at most one vote in a term, even across crashes and restarts (Raft §5.2).
//!
//! A candidate's own vote counts from its first request on. A vote that a node recovered from its disk counts too. A
//! vote that was only in memory and never left does not count.
//!
//! It catches a vote that is granted twice, a restart that forgets or ignores the vote on its disk, a campaign after a vote
//! for another node. It backs up `monotone` and `vote_durable`, which see the changed vote before a message shows it: this
//! checker needs the messages alone. `election_safety` backs it up.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{NodeId, Rpc, Term, Vote};
use std::collections::BTreeMap;

const NAME: &str = "one_vote_per_term";

#[derive(Clone, Default)]
pub(super) struct OneVotePerTerm {
    /// The candidate, and the first record that shows the vote.
    votes: BTreeMap<(NodeId, Term), (NodeId, u64)>,
}

impl Property for OneVotePerTerm {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.record.node?;
        let (term, candidate) = match &fact.record.kind {
            RecordKind::Sent { to, rpc: Rpc::RequestVoteResponse(response), .. } if response.vote == Vote::Granted => {
                (response.term, *to)
            }
            RecordKind::Sent { rpc: Rpc::RequestVote(request), .. } => (request.term, node),
            RecordKind::Started { hard_state, .. } => (hard_state.term, hard_state.voted_for?),
            _ => return None,
        };
        let (first, record) = *self.votes.entry((node, term)).or_insert((candidate, fact.record.number));
        if first == candidate {
            return None;
        }
        let message = format!("{node} votes for {candidate} in term {term} after {first}");
        Some(fact.contradicts(NAME, record, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use raft_core::EntryId;

    #[test]
    fn a_second_vote_fires_even_across_a_restart() {
        let mut script = Script::started();
        script.vote(2, 1, 2);
        script.crash(2, CrashKind::PowerLoss);
        script.start(2, 2, None, vec![founding()]);
        script.vote(2, 3, 2);
        assert_fires(OneVotePerTerm::default(), NAME, &script, "n2 votes for n3 in term 2 after n1");
    }

    #[test]
    fn a_campaign_after_a_vote_for_another_fires() {
        let mut script = Script::started();
        script.vote(2, 1, 2);
        script.send(2, 3, request_vote(2, EntryId::new(1, 1)));
        assert_fires(OneVotePerTerm::default(), NAME, &script, "n2 votes for n2 in term 2 after n1");
    }

    #[test]
    fn a_repeated_grant_and_a_vote_that_never_left_are_silent() {
        let mut script = Script::legal();
        script.send(3, 2, granted(3));
        script.step(1, |view| (view.term, view.voted_for) = (Term(9), Some(NodeId(2))));
        script.crash(1, CrashKind::PowerLoss);
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        script.vote(1, 3, 9);
        assert_silent(OneVotePerTerm::default(), &script);
    }
}
