//! Votes: which candidate gets one (Raft §5.4.1, pre-vote Thesis §9.6). A vote leaves only when it is durable (rule
//! R8).

use crate::election::is_valid_last_entry;
use crate::event::{Cause, Event, IgnoreReason};
use crate::id::{EntryId, NodeId};
use crate::message::{PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Rpc, Vote, VoteRefusal};
use crate::raft::Raft;
use crate::role::{Follower, Role};
use crate::shared::Shared;

impl Raft {
    pub(crate) fn on_pre_vote(&mut self, from: NodeId, rpc: PreVote) {
        if !is_valid_last_entry(rpc.term, rpc.last) {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        let refusal = if let Some(refusal) = self.refusal_of_non_member(from, rpc.last) {
            Some(refusal)
        } else if self.is_sticky() {
            Some(VoteRefusal::LeaderAlive)
        } else if rpc.term <= self.shared.term() {
            Some(VoteRefusal::StaleTerm)
        } else {
            self.refusal_by_log(rpc.last)
        };
        if let Some(reason) = refusal {
            let event = Event::VoteRefused { candidate: from, last: rpc.last, pre_vote: true, reason };
            self.shared.observe(|| event);
        }
        // This is the node's own term, not that of the request (rule R18).
        let (term, round) = (self.shared.term(), rpc.round);
        let response = PreVoteResponse { term, round, vote: vote_of(refusal) };
        self.shared.send(from, Rpc::PreVoteResponse(response));
    }

    pub(crate) fn on_request_vote(&mut self, from: NodeId, rpc: RequestVote) {
        if !is_valid_last_entry(rpc.term, rpc.last) {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        if let Some(refusal) = self.refusal_of_non_member(from, rpc.last) {
            return self.refuse_vote(from, rpc, refusal);
        }
        // This comes before any other test, that of the term included: a removed or isolated node must not disturb a
        // live leader (rule R16).
        if !rpc.transfer && self.is_sticky() {
            return self.refuse_vote(from, rpc, VoteRefusal::LeaderAlive);
        }
        if rpc.term < self.shared.term() {
            return self.refuse_vote(from, rpc, VoteRefusal::StaleTerm);
        }
        if rpc.term > self.shared.term() {
            self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        let voted_for = self.shared.hard_state.voted_for;
        if let Some(candidate) = voted_for.filter(|&candidate| candidate != from) {
            return self.refuse_vote(from, rpc, VoteRefusal::AlreadyVoted { candidate });
        }
        if let Some(refusal) = self.refusal_by_log(rpc.last) {
            return self.refuse_vote(from, rpc, refusal);
        }
        if voted_for.is_none() {
            self.shared.vote_for(from);
        }
        if !matches!(self.role, Role::Follower(_)) {
            // A pre-candidate of the same term gives up its round, because it has just voted for another node.
            self.become_follower(rpc.term, Cause::VoteGranted { candidate: from });
        }
        let election_deadline = self.shared.draw_election_deadline();
        if let Role::Follower(follower) = &mut self.role {
            follower.pending_vote = Some(from);
            follower.election_deadline = election_deadline;
        }
    }

    fn refuse_vote(&mut self, from: NodeId, rpc: RequestVote, reason: VoteRefusal) {
        self.shared.observe(|| Event::VoteRefused { candidate: from, last: rpc.last, pre_vote: false, reason });
        // A refusal of this kind does not adopt the term, and names that of the request, so that only its round counts it.
        let is_denial = matches!(reason, VoteRefusal::NotAMember { .. });
        let term = if is_denial { self.shared.term().max(rpc.term) } else { self.shared.term() };
        let response = RequestVoteResponse { term, vote: Vote::Refused(reason) };
        self.shared.send(from, Rpc::RequestVoteResponse(response));
    }

    /// A node that a committed configuration removed gets no vote, and does not move the term. One whose log is longer than
    /// this one's may be a member again by an entry that is not here yet: it is treated like any other (rule R47).
    fn refusal_of_non_member(&self, candidate: NodeId, last: EntryId) -> Option<VoteRefusal> {
        let configurations = self.shared.log.configurations();
        let since = configurations.ended_membership(candidate, self.shared.commit)?;
        let has_leader = self.leader().is_some() && self.shared.is_recent(self.contact());
        let current = has_leader && self.shared.has_what_is_committed();
        (last <= self.shared.last()).then_some(VoteRefusal::NotAMember { since, current })
    }

    /// The election restriction (Raft §5.4.1): a candidate gets a vote only if its log is at least as up to date as
    /// this node's.
    fn refusal_by_log(&self, candidates_last: EntryId) -> Option<VoteRefusal> {
        let last = self.shared.last();
        (candidates_last < last).then_some(VoteRefusal::LogBehind { last })
    }

    /// A candidate whose own vote is durable counts it and sends its requests; its timer starts now (rule R8).
    pub(crate) fn start_voting(&mut self) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        if candidate.deadline.is_some() || !self.shared.hard_state_is_durable() {
            return;
        }
        let transfer = candidate.transfer;
        candidate.granted.insert(self.shared.config.id);
        candidate.deadline = Some(self.shared.draw_election_deadline());
        let Some(configuration) = self.shared.configuration() else { return };
        if configuration.has_quorum(|id| candidate.granted.contains(&id)) {
            return self.become_leader();
        }
        let request = RequestVote { term: self.shared.term(), last: self.shared.last(), transfer };
        self.ask_voters(Rpc::RequestVote(request));
    }
}

impl Follower {
    /// Sends the vote that the node granted, once term and vote are durable (rule R8).
    pub(crate) fn emit_vote(&mut self, shared: &mut Shared) {
        if !shared.hard_state_is_durable() {
            return;
        }
        if let Some(candidate) = self.pending_vote.take() {
            let response = RequestVoteResponse { term: shared.term(), vote: Vote::Granted };
            shared.send(candidate, Rpc::RequestVoteResponse(response));
        }
    }
}

fn vote_of(refusal: Option<VoteRefusal>) -> Vote {
    refusal.map_or(Vote::Granted, Vote::Refused)
}
