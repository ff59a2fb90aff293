//! Elections: who starts one, and who wins it (Raft §5.2; pre-vote Thesis §9.6; stickiness Thesis §4.2.3).

use crate::event::{CampaignRefusal, Cause, Event, IgnoreReason};
use crate::id::{EntryId, LogIndex, MAX_NUMBER, NodeId, Term};
use crate::message::{PreVoteResponse, RequestVoteResponse, Rpc, TimeoutNow, Vote, VoteRefusal};
use crate::raft::Raft;
use crate::role::{Candidate, PreCandidate, Role};
use crate::status::StopReason;
use crate::time::Instant;

impl Raft {
    /// Starts an election, with a round of pre-votes if they are enabled. A node that may not campaign only asks.
    pub(crate) fn campaign(&mut self, cause: Cause) {
        let asks = self.shared.config.pre_vote || !self.shared.may_campaign();
        if asks { self.become_pre_candidate(cause) } else { self.become_candidate(cause) }
    }

    /// The host requests an election. A node that had contact within the window of stickiness refuses: a quorum would
    /// reject its vote request, and a lease may depend on that (rule R30).
    pub(crate) fn on_campaign(&mut self) {
        let refusal = if !self.shared.may_campaign() {
            Some(CampaignRefusal::NotAVoter)
        } else if matches!(self.role, Role::Leader(_)) {
            Some(CampaignRefusal::IsLeader)
        } else if self.is_sticky() {
            Some(CampaignRefusal::LeaderAlive)
        } else if self.shared.own_vote_is_in_flight() {
            Some(CampaignRefusal::VoteInFlight)
        } else if self.shared.is_stalled() {
            Some(CampaignRefusal::WriteStalled)
        } else if !self.shared.wait_without_space().is_zero() {
            Some(CampaignRefusal::NoSpace)
        } else {
            None
        };
        match refusal {
            Some(reason) => self.shared.observe(|| Event::CampaignRefused { reason }),
            None => self.campaign(Cause::CampaignRequested),
        }
    }

    /// The leader transfers leadership to this node (Thesis §3.10). The node starts an election only if its durable log
    /// ends where the leader's does: then it can win. A late or repeated message finds another term or log (rule R29).
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, rpc: TimeoutNow) {
        if !is_valid_last_entry(rpc.term, rpc.last) {
            return self.ignore(from, IgnoreReason::Malformed);
        }
        if rpc.term > self.shared.term() {
            self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        let is_its_leader = self.shared.leader.is_none_or(|leader| leader == from);
        let follows = matches!(self.role, Role::Follower(_)) && rpc.term == self.shared.term() && is_its_leader;
        let is_up_to_date = self.shared.last() == rpc.last && self.shared.durable() == rpc.last.index;
        if !follows || self.shared.own_vote_is_in_flight() {
            return self.ignore(from, IgnoreReason::NotAsked);
        }
        if !is_up_to_date || !self.shared.is_voter() || self.shared.is_stalled() || self.shared.no_space {
            return self.ignore(from, IgnoreReason::CannotTakeOver);
        }
        self.become_candidate(Cause::TransferRequested { from });
    }

    /// Whether contact with a leader is too recent for an election. A leader counts contact with a quorum.
    pub(crate) fn is_sticky(&self) -> bool {
        self.shared.is_sticky(self.contact())
    }

    /// The last contact with the leader, or of a leader with a quorum.
    pub(crate) fn contact(&self) -> Option<Instant> {
        match &self.role {
            Role::Leader(leader) => Some(leader.contact(&self.shared, self.shared.now)),
            _ => self.shared.clock.contact,
        }
    }

    pub(crate) fn on_pre_vote_response(&mut self, from: NodeId, rpc: PreVoteResponse) {
        let is_current = matches!(&self.role, Role::PreCandidate(candidate) if candidate.round == rpc.round);
        if !is_current {
            // The round is over, so not even the term of the answer counts (rule R18).
            return self.ignore(from, IgnoreReason::NotAsked);
        }
        if rpc.term > self.shared.term() {
            return self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        if let Vote::Refused(VoteRefusal::NotAMember { since, current }) = rpc.vote {
            return self.on_denial(from, since, current);
        }
        let Some(configuration) = self.shared.configuration() else { return };
        if let Role::PreCandidate(candidate) = &mut self.role
            && rpc.vote == Vote::Granted
            && configuration.is_voter(from)
        {
            candidate.granted.insert(from);
            if self.shared.may_campaign() && configuration.has_quorum(|id| candidate.granted.contains(&id)) {
                self.become_candidate(Cause::PreVotesWon);
            }
        }
    }

    pub(crate) fn on_request_vote_response(&mut self, from: NodeId, rpc: RequestVoteResponse) {
        if rpc.term > self.shared.term() {
            return self.become_follower(rpc.term, Cause::HigherTerm { from });
        }
        if let Vote::Refused(VoteRefusal::NotAMember { since, current }) = rpc.vote
            && rpc.term == self.shared.term()
        {
            return self.on_denial(from, since, current);
        }
        let Some(configuration) = self.shared.configuration() else { return };
        match &mut self.role {
            // The requests leave when the node's own vote is durable: an earlier answer belongs to no request of this
            // round.
            Role::Candidate(candidate) if candidate.deadline.is_some() && rpc.term == self.shared.hard_state.term => {
                if rpc.vote == Vote::Granted && configuration.is_voter(from) {
                    candidate.granted.insert(from);
                    if configuration.has_quorum(|id| candidate.granted.contains(&id)) {
                        self.become_leader();
                    }
                }
            }
            _ => self.ignore(from, IgnoreReason::NotAsked),
        }
    }

    /// A voter refuses this node, in its present round, as no member since an entry that this node does not have or does not
    /// know to be committed. One that is not current, as a voter that has been replaced, does not count. Another may lag behind
    /// all the same, so the node stops only when the others that have not said so are no quorum: then none of them can have
    /// committed a later configuration with it (rule R50).
    fn on_denial(&mut self, from: NodeId, since: EntryId, current: bool) {
        let (own, now) = (self.shared.id(), self.shared.now);
        let configurations = self.shared.log.configurations();
        let Some((at, configuration)) = configurations.newest() else { return };
        // What is committed here cannot be taken back, so every refusal agrees with it. An uncommitted entry can.
        let is_known = configurations.ended_membership(own, self.shared.commit).is_some();
        let is_news = match configurations.ended_membership(own, self.shared.last().index) {
            Some(ended) => is_known || since >= ended,
            None => since > at,
        };
        let denied = match &mut self.role {
            Role::PreCandidate(PreCandidate { denied, deadline, .. })
            | Role::Candidate(Candidate { denied, deadline: Some(deadline), .. })
                if now < *deadline =>
            {
                denied
            }
            _ => return self.ignore(from, IgnoreReason::NotAsked),
        };
        if !is_news || !configuration.is_voter(from) {
            return self.ignore(from, IgnoreReason::Contradiction);
        }
        if !current {
            return self.ignore(from, IgnoreReason::NotCurrent);
        }
        denied.insert(from);
        let mut others = configuration.clone();
        others.voters.remove(&own);
        others.outgoing.remove(&own);
        let is_out = !others.has_quorum(|id| !denied.contains(&id));
        self.shared.observe(|| Event::MembershipDenied { by: from, since });
        if is_out {
            self.stop(StopReason::Removed { at: since });
        }
    }

    /// Sends a message to every other voter of the newest configuration.
    pub(crate) fn ask_voters(&mut self, rpc: Rpc) {
        let Some(configuration) = self.shared.configuration() else { return };
        let own = self.shared.id();
        let voters = configuration.members.keys().copied();
        let voters: alloc::vec::Vec<_> = voters.filter(|&id| id != own && configuration.is_voter(id)).collect();
        for voter in voters {
            self.shared.send(voter, rpc.clone());
        }
    }

    /// When the election timer of the current role fires, if it has one.
    pub(crate) fn election_deadline(&self) -> Option<Instant> {
        let deadline = match &self.role {
            Role::Follower(follower) => {
                let waits_for_the_disk = self.shared.own_vote_is_in_flight() || self.shared.is_stalled();
                let may_campaign = self.shared.may_campaign() && !waits_for_the_disk;
                let may_act = may_campaign || self.shared.may_ask() || self.shared.removal().is_some();
                may_act.then_some(follower.election_deadline)
            }
            Role::PreCandidate(candidate) => Some(candidate.deadline),
            Role::Candidate(candidate) => candidate.deadline,
            Role::Leader(_) | Role::Stopped(_) => None,
        };
        deadline.map(|deadline| deadline.after(self.shared.wait_without_space()))
    }
}

/// Whether a candidate can have this last entry in this term.
pub(crate) fn is_valid_last_entry(term: Term, last: EntryId) -> bool {
    term > Term(0)
        && term.0 <= MAX_NUMBER
        && last.index.0 <= MAX_NUMBER
        && last.term <= term
        && (last.index == LogIndex(0)) == (last.term == Term(0))
}
