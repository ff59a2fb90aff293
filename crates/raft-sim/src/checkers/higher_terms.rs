//! A node that receives an answer of a higher term enters that term (Raft §5.1). The answer to a pre-vote counts in its round only.
//!
//! First to catch: a pre-candidate that does not learn the term of those that refuse it, so that it asks for the same term again and
//! again while all others wait for it. It backs up no other checker: no promise is broken, but nobody may be elected.

use super::calls::{PerCall, Process};
use super::ghost::Ghost;
use super::property::{Fact, Violation};
use crate::record::{Record, RecordKind};
use raft_core::{MAX_NUMBER, NodeId, RoleKind, Round, Rpc, Term};

const NAME: &str = "higher_terms";

pub(super) type HigherTerms = PerCall<Terms>;

#[derive(Clone, Default)]
pub(super) struct Terms {
    /// The newest round of pre-votes.
    round: Option<Round>,
    /// The state after the call before: its term, and whether the node was a pre-candidate.
    before: Option<(Term, bool)>,
    after: Option<(Term, bool)>,
    /// The answer to the round that the node has to enter a new term for, unless the call began another round.
    ignored: Option<Violation>,
}

impl Terms {
    fn received(&mut self, fact: &Fact<'_>, node: NodeId, from: NodeId, rpc: &Rpc) -> Option<Violation> {
        let record = fact.record;
        let view = record.view.as_ref()?;
        let is_new = view.term < rpc.term() && rpc.term().0 <= MAX_NUMBER && from != node;
        if !is_new || view.role == RoleKind::Stopped {
            return None;
        }
        let message =
            format!("{node} gets an answer of term {} from {from}, and stays in term {}", rpc.term(), view.term);
        let violation = fact.contradicts(NAME, record.number, message);
        match rpc {
            Rpc::AppendEntriesResponse(_) | Rpc::RequestVoteResponse(_) => Some(violation),
            Rpc::PreVoteResponse(response) => {
                let is_same_round = self.round == Some(response.round) && self.before == Some((view.term, true));
                if is_same_round && view.role == RoleKind::PreCandidate {
                    self.ignored = Some(violation);
                }
                None
            }
            _ => None,
        }
    }
}

impl Process for Terms {
    fn begin(&mut self, record: &Record) {
        let view = record.view.as_ref();
        let now = view.map(|view| (view.term, view.role == RoleKind::PreCandidate));
        self.before = std::mem::replace(&mut self.after, now);
    }

    fn observe(&mut self, node: NodeId, fact: &Fact<'_>) -> Option<Violation> {
        match &fact.record.kind {
            RecordKind::Received { from, rpc } => self.received(fact, node, *from, rpc),
            RecordKind::Sent { rpc: Rpc::PreVote(request), .. } => {
                if self.round.replace(request.round) != Some(request.round) {
                    self.ignored = None;
                }
                None
            }
            _ => None,
        }
    }

    fn end(&self, _: &Ghost, _: NodeId) -> Option<Violation> {
        self.ignored.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{EntryId, PreVote, PreVoteResponse, Vote, VoteRefusal};

    /// n3 asks for pre-votes.
    fn asked(round: u64) -> Script {
        let mut script = Script::led();
        ask(&mut script, round);
        script
    }

    fn ask(script: &mut Script, round: u64) {
        script.step(3, |view| view.role = RoleKind::PreCandidate);
        let rpc = PreVote { term: Term(2), round: Round(round), last: EntryId::new(1, 1) };
        script.send(3, 2, Rpc::PreVote(rpc));
    }

    fn refused(script: &mut Script, round: u64, term: u64) {
        let vote = Vote::Refused(VoteRefusal::StaleTerm);
        let rpc = Rpc::PreVoteResponse(PreVoteResponse { term: Term(term), round: Round(round), vote });
        script.push(Some(3), RecordKind::Received { from: NodeId(2), rpc });
    }

    #[test]
    fn a_pre_candidate_that_ignores_a_higher_term_fires() {
        let mut script = asked(1);
        refused(&mut script, 1, 7);
        assert_fires(HigherTerms::default(), NAME, &script, "n3 gets an answer of term 7 from n2, and stays in term 1");
    }

    #[test]
    fn an_answer_to_another_round_an_equal_term_and_a_new_round_in_the_same_call_are_silent() {
        let mut script = asked(2);
        refused(&mut script, 1, 7);
        refused(&mut script, 2, 1);
        assert_silent(HigherTerms::default(), &script);
        let mut script = asked(1);
        refused(&mut script, 1, 7);
        let rpc = PreVote { term: Term(2), round: Round(2), last: EntryId::new(1, 1) };
        script.send(3, 2, Rpc::PreVote(rpc));
        assert_silent(HigherTerms::default(), &script);
        assert_silent(HigherTerms::default(), &Script::legal());
    }

    #[test]
    fn other_answers_count_in_every_role() {
        for (rpc, words) in [
            (matched(3, 1), "n2 gets an answer of term 3 from n3, and stays in term 2"),
            (granted(3), "n2 gets an answer of term 3 from n3"),
            (granted(2), ""),
            (append(3, EntryId::new(2, 2), 0, vec![]), ""),
        ] {
            let mut script = Script::led();
            script.push(Some(2), RecordKind::Received { from: NodeId(3), rpc });
            assert_says(HigherTerms::default(), NAME, &script, words);
        }
    }
}
