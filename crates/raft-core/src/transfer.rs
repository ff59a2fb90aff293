//! Leadership transfer (Thesis §3.10): the leader brings the target up to date, accepts no proposals meanwhile, and
//! sends it `TimeoutNow`. The target then starts an election at once.

use crate::action::{Action, RejectReason, TargetProblem, TransferFailure};
use crate::event::Event;
use crate::id::{LogIndex, NodeId, RequestId};
use crate::leader::{Leader, Transfer};
use crate::message::{Rpc, TimeoutNow};
use crate::shared::Shared;
use crate::status::PeerState;
use crate::time::Instant;

impl Leader {
    /// Begins a transfer on request. The answer is `Rejected` at once, or `TransferDone` or `TransferFailed` later.
    pub(crate) fn begin_transfer(&mut self, shared: &mut Shared, id: RequestId, to: Option<NodeId>) {
        match self.transfer_target(shared, to) {
            Ok(target) => self.start_transfer(shared, Some(id), target),
            Err(reason) => shared.actions.push(Action::Rejected { id, reason }),
        }
    }

    fn transfer_target(&self, shared: &Shared, to: Option<NodeId>) -> Result<NodeId, RejectReason> {
        if self.transfer.is_some() {
            return Err(RejectReason::Transferring);
        }
        if self.is_leaving(shared) {
            return Err(RejectReason::Leaving);
        }
        let target = to.or_else(|| self.best_successor(shared, LogIndex(0))).ok_or(RejectReason::NoTarget)?;
        match self.target_problem(shared, target) {
            Some(why) => Err(RejectReason::UnfitTarget { id: target, why }),
            None => Ok(target),
        }
    }

    /// Why a transfer to this node would only stop the writes until its deadline (rule R48).
    fn target_problem(&self, shared: &Shared, target: NodeId) -> Option<TargetProblem> {
        if target == shared.id() {
            return Some(TargetProblem::IsLeader);
        }
        let is_voter = shared.configuration().is_some_and(|configuration| configuration.voters.contains(&target));
        match self.peers.get(&target).map(|peer| peer.state).filter(|_| is_voter) {
            None => Some(TargetProblem::NotAVoter),
            Some(PeerState::LostData) => Some(TargetProblem::LostData),
            Some(_) if !self.answers(shared, target) => Some(TargetProblem::Silent),
            Some(PeerState::Snapshot) => Some(TargetProblem::NeedsSnapshot),
            Some(_) if self.peers.get(&target).is_some_and(|peer| peer.no_space) => Some(TargetProblem::NoSpace),
            Some(_) => (!self.has_caught_up(shared, target)).then_some(TargetProblem::FarBehind),
        }
    }

    /// Starts a transfer, for the request `id` or without a request.
    pub(crate) fn start_transfer(&mut self, shared: &mut Shared, id: Option<RequestId>, target: NodeId) {
        shared.observe(|| Event::TransferBegun { target });
        let deadline = shared.now.after(shared.longest_timeout());
        self.transfer = Some(Transfer { id, target, deadline, sent: None });
    }

    /// Sends `TimeoutNow` once the target holds everything; fails the transfer when the target can no longer lead.
    pub(crate) fn drive_transfer(&mut self, shared: &mut Shared) {
        let Some(transfer) = self.transfer else { return };
        if !self.can_lead(shared, transfer.target) {
            return self.fail_transfer(shared, TransferFailure::NoTarget);
        }
        let interval = shared.config.heartbeat_interval;
        let is_due = transfer.sent.is_none_or(|sent| sent.after(interval) <= shared.now);
        let match_index = self.peers.get(&transfer.target).map_or(LogIndex(0), |peer| peer.match_index);
        if is_due && match_index == shared.last().index {
            self.send_timeout_now(shared, transfer.target);
            self.transfer = Some(Transfer { sent: Some(shared.now), ..transfer });
        }
    }

    /// Fails the transfer at its deadline. Inputs of the same call come first, because the target may just have won.
    pub(crate) fn end_overdue_transfer(&mut self, shared: &mut Shared) {
        if self.transfer.is_some_and(|transfer| transfer.deadline.is_due(shared.now)) {
            self.fail_transfer(shared, TransferFailure::TimedOut);
        }
    }

    /// When the transfer fails.
    pub(crate) fn transfer_deadline(&self) -> Option<Instant> {
        self.transfer.map(|transfer| transfer.deadline)
    }

    /// The voter with the longest log among those that answered lately and hold everything up to `at_least`; among
    /// equals the lowest id.
    pub(crate) fn best_successor(&self, shared: &Shared, at_least: LogIndex) -> Option<NodeId> {
        let candidates = self.peers.iter().filter(|&(&id, peer)| {
            peer.match_index >= at_least && self.can_lead(shared, id) && self.answers(shared, id)
        });
        candidates.rev().max_by_key(|(_, peer)| peer.match_index).map(|(&id, _)| id)
    }

    /// Asks a peer to start an election at once. From now on another leader may be elected at any time, however
    /// recently the others had contact with this one (rule R31).
    pub(crate) fn send_timeout_now(&mut self, shared: &mut Shared, target: NodeId) {
        self.timeout_now_sent = true;
        let rpc = TimeoutNow { term: shared.term(), last: shared.last() };
        shared.send(target, Rpc::TimeoutNow(rpc));
    }

    /// Whether a peer is a voter of the configuration that is or will be in force, has not lost data, and reported
    /// disk space in its last answer (rule R51).
    fn can_lead(&self, shared: &Shared, target: NodeId) -> bool {
        let votes = shared.configuration().is_some_and(|configuration| configuration.voters.contains(&target));
        votes && self.peers.get(&target).is_some_and(|peer| peer.state != PeerState::LostData && !peer.no_space)
    }

    /// Whether a peer has answered within the longest election timeout.
    pub(crate) fn answers(&self, shared: &Shared, peer: NodeId) -> bool {
        let contact = self.peers.get(&peer).and_then(|peer| peer.contact);
        contact.is_some_and(|contact| shared.now <= contact.after(shared.longest_timeout()))
    }

    fn fail_transfer(&mut self, shared: &mut Shared, reason: TransferFailure) {
        if let Some(Transfer { id: Some(id), .. }) = self.transfer.take() {
            shared.actions.push(Action::TransferFailed { id, reason });
        }
    }
}
