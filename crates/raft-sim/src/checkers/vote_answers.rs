//! A node answers each request for a vote or a pre-vote in the call that takes it: it votes, or it refuses and names a reason that
//! is true (Raft §5.1, §5.2, §5.4.1; Thesis §9.6). Its own membership is no reason: a node may vote before it learns that it is a
//! voter (Thesis §4.2.2).
//!
//! First to catch: a log comparison that refuses a candidate with the newer log, a node that does not vote because it knows too
//! little. It backs up no other checker: no promise is broken, but nobody may be elected. Votes that must not be given are part of
//! `leader_completeness` and `one_vote_per_term`, refusals of removed nodes part of `removed_nodes`.

use super::calls::{PerCall, Process};
use super::ghost::Ghost;
use super::property::{Fact, Violation};
use crate::record::{NodeView, Record, RecordKind};
use raft_core::{EntryId, LogIndex, MAX_NUMBER, NodeId, RoleKind, Rpc, Term, Vote, VoteRefusal};

const NAME: &str = "vote_answers";

pub(super) type VoteAnswers = PerCall<Requests>;

/// The requests of the newest call.
#[derive(Clone, Default)]
pub(super) struct Requests {
    requests: Vec<Request>,
}

/// A request that the call took.
#[derive(Clone, Copy)]
struct Request {
    from: NodeId,
    term: Term,
    last: EntryId,
    is_pre_vote: bool,
    /// Whether it needs no answer any more: it has one, or it gets one when the vote is durable, or the node has gone on.
    is_settled: bool,
    record: u64,
}

impl Request {
    /// The request in this message; `None` if it is none, or if no node can have sent it.
    fn of(from: NodeId, rpc: &Rpc, record: u64, view: &NodeView) -> Option<Self> {
        let (term, last, is_pre_vote) = match rpc {
            Rpc::RequestVote(rpc) => (rpc.term, rpc.last, false),
            Rpc::PreVote(rpc) => (rpc.term, rpc.last, true),
            _ => return None,
        };
        let is_sound = (1..=MAX_NUMBER).contains(&term.0)
            && last.index.0 <= MAX_NUMBER
            && last.term <= term
            && (last.index == LogIndex(0)) == (last.term == Term(0));
        let has_vote = view.term == term && view.voted_for == Some(from);
        let is_settled = view.role == RoleKind::Stopped || (!is_pre_vote && (has_vote || view.term > term));
        is_sound.then_some(Self { from, term, last, is_pre_vote, is_settled, record })
    }

    /// What is wrong with this refusal as the answer to this request, from a node that is in `term`.
    fn untrue(&self, refusal: VoteRefusal, term: Term) -> Option<String> {
        let order = |id: EntryId| (id.term, id.index);
        match refusal {
            VoteRefusal::LogBehind { last } if order(self.last) >= order(last) => {
                Some(format!("its log, which ends at {}, is not behind {last}", self.last))
            }
            VoteRefusal::StaleTerm if self.term > term || (self.term == term && !self.is_pre_vote) => {
                Some(format!("its term {} is not behind {term}", self.term))
            }
            VoteRefusal::AlreadyVoted { candidate } if candidate == self.from => Some("that is its vote".to_owned()),
            _ => None,
        }
    }
}

impl Requests {
    /// Handles an answer, which has to be true for one of the requests of the call.
    fn answered(&mut self, fact: &Fact<'_>, node: NodeId, to: NodeId, rpc: &Rpc) -> Option<Violation> {
        let (is_pre_vote, term, vote) = match rpc {
            Rpc::RequestVoteResponse(rpc) => (false, rpc.term, rpc.vote),
            Rpc::PreVoteResponse(rpc) => (true, rpc.term, rpc.vote),
            _ => return None,
        };
        let mut untrue = Vec::new();
        let fitting = self.requests.iter_mut().filter(|it| it.from == to && it.is_pre_vote == is_pre_vote);
        for request in fitting {
            request.is_settled = true;
            let Vote::Refused(refusal) = vote else { continue };
            untrue.push((request.untrue(refusal, term), request.record));
        }
        let (words, record) = untrue.iter().find_map(|(words, record)| Some((words.as_ref()?, record)))?;
        let all = untrue.iter().all(|(words, _)| words.is_some());
        all.then(|| fact.contradicts(NAME, *record, format!("{node} refuses {to}, {vote}, but {words}")))
    }
}

impl Process for Requests {
    fn begin(&mut self, _: &Record) {
        self.requests.clear();
    }

    fn observe(&mut self, node: NodeId, fact: &Fact<'_>) -> Option<Violation> {
        let view = fact.record.view.as_ref()?;
        match &fact.record.kind {
            RecordKind::Received { from, rpc } if *from != node => {
                self.requests.extend(Request::of(*from, rpc, fact.record.number, view));
                None
            }
            RecordKind::Sent { to, rpc, .. } => self.answered(fact, node, *to, rpc),
            _ => None,
        }
    }

    fn end(&self, _: &Ghost, node: NodeId) -> Option<Violation> {
        let request = self.requests.iter().find(|request| !request.is_settled)?;
        let Request { from, term, last, record, .. } = *request;
        let kind = if request.is_pre_vote { "pre-vote" } else { "vote" };
        let message = format!("{node} does not answer {from}, which asks for a {kind} in term {term} with log {last}");
        Some(Violation { property: NAME, message, facts: vec![record] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use raft_core::{PreVote, PreVoteResponse, RequestVoteResponse, Round};

    /// n3 gets a request of n2 for a vote in term 3, with a log that ends at 2@2.
    fn asked() -> Script {
        let mut script = Script::led();
        script.push(Some(3), received(request_vote(3, EntryId::new(2, 2))));
        script
    }

    fn received(rpc: Rpc) -> RecordKind {
        RecordKind::Received { from: NodeId(2), rpc }
    }

    fn refusal(term: u64, refusal: VoteRefusal) -> Rpc {
        Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote: Vote::Refused(refusal) })
    }

    #[test]
    fn a_request_without_an_answer_fires() {
        assert_fires(VoteAnswers::default(), NAME, &asked(), "n3 does not answer n2, which asks for a vote in term 3");
        let mut script = Script::led();
        let rpc = Rpc::PreVote(PreVote { term: Term(3), round: Round(1), last: EntryId::new(2, 2) });
        script.push(Some(3), received(rpc));
        assert_fires(VoteAnswers::default(), NAME, &script, "asks for a pre-vote in term 3 with log 2@2");
        let vote = Vote::Granted;
        script.send(3, 2, Rpc::PreVoteResponse(PreVoteResponse { term: Term(2), round: Round(1), vote }));
        assert_silent(VoteAnswers::default(), &script);
    }

    #[test]
    fn refusals_have_to_be_true() {
        let behind = |index, term| VoteRefusal::LogBehind { last: EntryId::new(index, term) };
        let already = |id| VoteRefusal::AlreadyVoted { candidate: NodeId(id) };
        let table = [
            (refusal(3, behind(9, 1)), "n3 refuses n2, refused: its log is behind 9@1"),
            (refusal(3, behind(2, 2)), "but its log, which ends at 2@2, is not behind 2@2"),
            (refusal(3, behind(3, 2)), ""),
            (refusal(3, behind(1, 3)), ""),
            (refusal(3, VoteRefusal::StaleTerm), "but its term 3 is not behind 3"),
            (refusal(4, VoteRefusal::StaleTerm), ""),
            (refusal(3, already(2)), "but that is its vote"),
            (refusal(3, already(1)), ""),
            (refusal(2, VoteRefusal::LeaderAlive), ""),
        ];
        for (rpc, words) in table {
            let mut script = asked();
            script.send(3, 2, rpc);
            assert_says(VoteAnswers::default(), NAME, &script, words);
        }
    }

    #[test]
    fn a_vote_that_waits_for_the_disk_a_crash_and_a_request_that_nobody_can_send_are_silent() {
        assert_silent(VoteAnswers::default(), &Script::legal());
        let mut script = asked();
        let view = script.newest().view.as_mut().expect("it is up");
        (view.term, view.voted_for) = (Term(3), Some(NodeId(2)));
        assert_silent(VoteAnswers::default(), &script);
        let mut script = asked();
        script.crash(3, CrashKind::Kill);
        assert_silent(VoteAnswers::default(), &script);
        let mut script = Script::led();
        script.push(Some(3), received(request_vote(3, EntryId::new(2, 4))));
        assert_silent(VoteAnswers::default(), &script);
    }
}
