//! The only file that changes roles (Raft Figure 4).

use crate::action::{Action, RejectReason, TransferFailure};
use crate::entry::Payload;
use crate::event::{Cause, Event};
use crate::id::{MAX_NUMBER, NodeId, Term};
use crate::leader::{Leader, Transfer};
use crate::message::{PreVote, Rpc};
use crate::raft::Raft;
use crate::role::{Candidate, Follower, PreCandidate, Role};
use crate::status::StopReason;
use alloc::collections::BTreeSet;

impl Raft {
    /// Becomes a follower in `term`, which is the current one or higher. A running election timer continues: only
    /// contact with a leader or a granted vote restarts it (Raft §5.2).
    pub(crate) fn become_follower(&mut self, term: Term, cause: Cause) {
        let running = self.election_deadline();
        self.leave_leadership(RejectReason::NotLeader { leader: None }, Some(cause));
        if term > self.shared.term() {
            self.shared.enter_term(term, None);
        }
        let election_deadline = running.unwrap_or_else(|| self.shared.draw_election_deadline());
        self.change_role(Role::Follower(Follower::new(election_deadline)), cause);
    }

    /// Becomes a follower of `leader`, the first known leader of the current term.
    pub(crate) fn follow(&mut self, leader: NodeId) {
        if !matches!(self.role, Role::Follower(_)) {
            self.become_follower(self.shared.term(), Cause::LeaderFound { leader });
        }
        self.shared.leader = Some(leader);
        self.announce_leader();
    }

    /// Becomes a pre-candidate, which asks whether it could win the next term (Thesis §9.6).
    pub(crate) fn become_pre_candidate(&mut self, cause: Cause) {
        let (round, deadline) = (self.shared.clock.next_round(), self.shared.draw_election_deadline());
        let own = self.shared.id();
        let (granted, denied) = (BTreeSet::from([own]), BTreeSet::new());
        self.change_role(Role::PreCandidate(PreCandidate { round, granted, denied, deadline }), cause);
        if self.shared.configuration().is_some_and(|configuration| configuration.has_quorum(|id| id == own)) {
            return self.become_candidate(Cause::PreVotesWon);
        }
        let request = PreVote { term: self.shared.term().next(), round, last: self.shared.last() };
        self.ask_voters(Rpc::PreVote(request));
    }

    /// Becomes a candidate and votes for itself in the next term. Its requests leave when that vote is durable (rule
    /// R8).
    pub(crate) fn become_candidate(&mut self, cause: Cause) {
        let term = self.shared.term().next();
        if term.0 > MAX_NUMBER {
            // Only a forged term brings the node here; peers would refuse the next term.
            let deadline = self.shared.draw_election_deadline();
            let (granted, denied) = (BTreeSet::new(), BTreeSet::new());
            let role = Role::PreCandidate(PreCandidate { round: self.shared.clock.round, granted, denied, deadline });
            return self.change_role(role, cause);
        }
        self.shared.enter_term(term, Some(self.shared.id()));
        let transfer = matches!(cause, Cause::TransferRequested { .. });
        let (granted, denied) = (BTreeSet::new(), BTreeSet::new());
        self.change_role(Role::Candidate(Candidate { granted, denied, deadline: None, transfer }), cause);
    }

    /// Becomes the leader of the current term and appends a no-op (Raft §8).
    pub(crate) fn become_leader(&mut self) {
        let leader = Leader::new(&self.shared);
        self.shared.leader = Some(self.shared.id());
        self.change_role(Role::Leader(leader), Cause::VotesWon);
        if let Role::Leader(leader) = &mut self.role {
            leader.append(&mut self.shared, Payload::Noop);
        }
    }

    /// Stops the replica for good: after a contradiction no further step is known to be safe (rule R14).
    pub(crate) fn stop(&mut self, reason: StopReason) {
        self.leave_leadership(RejectReason::Stopped, None);
        self.role = Role::Stopped(reason);
        self.announce_leader();
        self.shared.actions.push(Action::Stopped { reason });
    }

    /// Ends the requests of a leader that stops leading. Its contact with a quorum becomes its contact with a leader,
    /// so stickiness stays when the role changes (rule R16).
    fn leave_leadership(&mut self, reason: RejectReason, cause: Option<Cause>) {
        if let Role::Leader(leader) = &mut self.role {
            if let Some(transfer) = leader.transfer.take() {
                let Transfer { id, target, .. } = transfer;
                let is_done = transfer.sent.is_some() && cause == Some(Cause::HigherTerm { from: target });
                let reason = TransferFailure::LeadershipLost;
                self.shared.actions.extend(id.map(|id| match is_done {
                    true => Action::TransferDone { id, to: target },
                    false => Action::TransferFailed { id, reason },
                }));
            }
            self.shared.clock.contact = Some(leader.contact(&self.shared, self.shared.now));
            self.shared.actions.extend(core::mem::take(&mut leader.reads).fail(reason));
            self.shared.actions.push(Action::LeadershipLost { term: self.shared.hard_state.term });
        }
    }

    fn change_role(&mut self, role: Role, cause: Cause) {
        let seen = self.seen;
        self.role = role;
        self.seen = (self.role.kind(), self.shared.term());
        if seen != self.seen {
            let (role, term) = self.seen;
            self.shared.observe(|| Event::BecameRole { role, term, cause });
        }
        self.announce_leader();
    }

    /// Reports the leader if it has changed since the last report.
    fn announce_leader(&mut self) {
        let leader = self.leader();
        let term = self.shared.term();
        if leader != self.announced.1 || (leader.is_some() && term != self.announced.0) {
            self.announced = (term, leader);
            self.shared.actions.push(Action::LeaderChanged { term, leader });
        }
    }
}
