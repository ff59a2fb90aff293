//! The leader's side of a membership change (Raft §6, Thesis §4): when a change may begin, which peers it adds, how a joint
//! configuration ends, and how a leader that removes itself steps down.

use super::Configuration;
use super::MembershipChange;
use crate::action::{Action, RejectReason};
use crate::entry::Payload;
use crate::event::Event;
use crate::id::{EntryId, NodeId, RequestId};
use crate::leader::Leader;
use crate::progress::{Farewell, Progress};
use crate::shared::Shared;
use crate::status::PeerState;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl Leader {
    /// Begins a change or rejects it. It rejects a change that is too early and does not queue it.
    pub(crate) fn change_membership(&mut self, shared: &mut Shared, id: RequestId, change: &MembershipChange) {
        let action = match self.begin_change(shared, change) {
            Ok(next) => Action::Appended { id, entry: self.adopt(shared, next) },
            Err(reason) => Action::Rejected { id, reason },
        };
        shared.actions.push(action);
    }

    fn begin_change(&self, shared: &mut Shared, change: &MembershipChange) -> Result<Configuration, RejectReason> {
        if let Some(reason) = self.proposal_refusal(shared) {
            return Err(reason);
        }
        let Some((at, present)) = shared.log.configuration() else { return Err(RejectReason::NotReady) };
        // Rule R25 (Thesis §4.1, the bug of 2015): without a committed entry of its own term, a leader may build on a
        // configuration that another leader has replaced. Then the quorums of the two changes need not intersect.
        if present.is_joint() || at.index > shared.commit || shared.commit < self.term_start {
            return Err(RejectReason::NotReady);
        }
        if change.expected.is_some_and(|expected| expected != at.index) {
            return Err(RejectReason::ConfigurationMismatch { at });
        }
        let next = present.begin(change).map_err(RejectReason::InvalidChange)?;
        let can_vote = |id| self.answers(shared, id) && self.is_replicating(id) && self.has_caught_up(shared, id);
        let behind = next.voters.difference(&present.voters).find(|&&voter| !can_vote(voter));
        if let Some(&id) = behind {
            return Err(RejectReason::NotCaughtUp { id });
        }
        let silent = self.silent_voters(shared, &next);
        if !silent.is_empty() && !change.force {
            return Err(RejectReason::NoQuorumToCome { silent });
        }
        if !silent.is_empty() {
            shared.observe(|| Event::ChangeForced { silent });
        }
        Ok(next)
    }

    /// The voters of a configuration to come that do not answer, if a half of it has no quorum without them (rule R49).
    fn silent_voters(&self, shared: &Shared, next: &Configuration) -> BTreeSet<NodeId> {
        let answers = |id| id == shared.id() || (self.answers(shared, id) && !self.has_lost_data(id));
        if next.has_quorum(answers) {
            return BTreeSet::new();
        }
        next.halves().flatten().copied().filter(|&id| !answers(id)).collect()
    }

    /// Whether the log continues at the peer: no snapshot is on its way, no probe either.
    fn is_replicating(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.state == PeerState::Replicate)
    }

    fn has_lost_data(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.state == PeerState::LostData)
    }

    /// Whether the peer holds everything, or the rest will not take longer than an election timeout (rule R26, Thesis §4.2.1).
    pub(crate) fn has_caught_up(&self, shared: &Shared, id: NodeId) -> bool {
        let (last, timeout) = (shared.last().index, shared.config.election_timeout.start);
        self.peers.get(&id).is_some_and(|peer| peer.catch_up.is_done(peer.match_index, last, shared.now, timeout))
    }

    /// Appends a configuration, which is in force from now on (rule R23), and adds its new peers. A dropped peer gets
    /// appends until the configuration is committed.
    fn adopt(&mut self, shared: &mut Shared, configuration: Configuration) -> EntryId {
        let next = shared.last().index.next();
        let (id, now, created) = (shared.id(), shared.now, self.seq);
        for &member in configuration.members.keys().filter(|&&member| member != id) {
            // One that is added again gets a new stream of appends.
            self.peers.retain(|&peer, progress| peer != member || progress.farewell.is_none());
            self.peers.entry(member).or_insert_with(|| Progress::new(next, created, now));
        }
        let entry = self.append(shared, Payload::Configuration(configuration));
        shared.announce_configuration();
        entry
    }

    /// Ends a joint configuration once it is committed (rule R24). The decision depends on the state alone, so any
    /// leader takes it, and only once. It waits during a transfer, because the target needs all entries. Returns true
    /// if other quorums decide from now on.
    pub(crate) fn leave_joint(&mut self, shared: &mut Shared) -> bool {
        let Some((at, present)) = shared.log.configuration() else { return false };
        let is_decided = at.index <= shared.commit && shared.commit >= self.term_start;
        let leaves = present.is_joint() && is_decided && self.transfer.is_none();
        if leaves {
            let next = present.end();
            self.adopt(shared, next);
        }
        leaves
    }

    /// Drops the peers that the committed configuration does not name. One that answers is dropped once it has answered an
    /// append with the commit index, or an election timeout later (rule R47).
    pub(crate) fn prune_removed_peers(&mut self, shared: &Shared) {
        let Some((at, configuration)) = shared.log.configuration() else { return };
        if at.index > shared.commit || self.peers.len() < configuration.members.len() {
            return;
        }
        let removed = self.peers.keys().copied().filter(|id| !configuration.members.contains_key(id));
        for id in removed.collect::<Vec<_>>() {
            let is_reached = self.answers(shared, id);
            let farewell = Farewell { after: self.seq, until: shared.now.after(shared.longest_timeout()) };
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let Farewell { after, until } = *peer.farewell.get_or_insert(farewell);
            let knows = peer.echoed > after && peer.match_index >= at.index;
            let is_near = matches!(peer.state, PeerState::Probe | PeerState::Replicate);
            if knows || !is_near || !is_reached || until.is_due(shared.now) {
                self.peers.remove(&id);
            }
        }
    }

    /// Whether this node is no voter in the newest configuration: it accepts no proposals until that is committed (rule
    /// R27).
    pub(crate) fn is_leaving(&self, shared: &Shared) -> bool {
        shared.configuration().is_some_and(|configuration| !configuration.is_voter(shared.id()))
    }

    /// Whether the configuration without this node is committed. If it is, the leader sends `TimeoutNow` to a successor
    /// that holds everything, if there is one.
    pub(crate) fn has_left(&mut self, shared: &mut Shared) -> bool {
        let decided = shared.log.configuration().is_some_and(|(at, _)| at.index <= shared.commit);
        if !decided || !self.is_leaving(shared) {
            return false;
        }
        self.send_farewells(shared);
        if let Some(successor) = self.best_successor(shared, shared.last().index) {
            self.send_timeout_now(shared, successor);
        }
        true
    }
}
