//! The leader: proposals, answers, the commit rule (Raft §5.3, §5.4.2).

use crate::action::{Action, RejectReason};
use crate::canonical::canonical;
use crate::entry::{Entry, Payload};
use crate::event::{Event, IgnoreReason};
use crate::id::{EntryId, LogIndex, NodeId, RequestId, Seq};
use crate::message::{AppendEntriesResponse, AppendOutcome};
use crate::pending_reads::PendingReads;
use crate::progress::{Bounds, Progress};
use crate::shared::Shared;
use crate::status::PeerState;
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;

/// The state of a leader.
///
/// Invariants:
/// - its vote for itself is durable;
/// - its last entry is of its term, at or after `term_start`;
/// - `peers` names every other member, and not this node;
/// - `uncommitted` begins after the commit index and ends at the last entry, and `uncommitted_bytes` is its sum;
/// - `timeout_now_sent` is set if a transfer has sent its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Leader {
    /// The first entry of this leader, its no-op. Once it is committed, so are all entries before it (Raft §8).
    pub(crate) term_start: LogIndex,
    pub(crate) won: Instant,
    pub(crate) next_heartbeat: Instant,
    /// The newest append sent in this term, over all peers.
    pub(crate) seq: Seq,
    pub(crate) peers: BTreeMap<NodeId, Progress>,
    /// The entries that are not committed yet, each with its bytes. Entries of older terms are included only if they
    /// are in memory.
    uncommitted: VecDeque<(LogIndex, u64)>,
    pub(crate) uncommitted_bytes: u64,
    /// The bytes of all entries of this term.
    pub(crate) appended_bytes: u64,
    pub(crate) reads: PendingReads,
    pub(crate) transfer: Option<Transfer>,
    /// Whether this leader has sent `TimeoutNow`. It cannot know whether and when the message arrives.
    pub(crate) timeout_now_sent: bool,
}

/// A leadership transfer in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Transfer {
    /// The id of the request; `None` if this leader started the transfer itself.
    pub(crate) id: Option<RequestId>,
    pub(crate) target: NodeId,
    /// When the transfer fails; then the leader continues.
    pub(crate) deadline: Instant,
    /// When the leader last sent `TimeoutNow`. It repeats the message each heartbeat interval, because a message may be
    /// lost.
    pub(crate) sent: Option<Instant>,
}

impl Leader {
    /// A new leader; its no-op is not appended yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        let next = shared.last().index.next();
        let members = shared.configuration().map(|configuration| configuration.members.clone()).unwrap_or_default();
        let others = members.into_keys().filter(|&id| id != shared.id());
        let peers = others.map(|id| (id, Progress::new(next, Seq(0), shared.now))).collect();
        let first = shared.commit.next().max(shared.log.cached_from());
        let taken_over = shared.log.entries(first, shared.last().index, u64::MAX).unwrap_or_default();
        Self {
            term_start: next,
            won: shared.now,
            next_heartbeat: shared.now.after(shared.config.heartbeat_interval),
            seq: Seq(0),
            peers,
            uncommitted: taken_over.iter().map(|entry| (entry.id.index, entry.size())).collect(),
            uncommitted_bytes: taken_over.size(),
            appended_bytes: 0,
            reads: PendingReads::default(),
            transfer: None,
            timeout_now_sent: false,
        }
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self, shared: &Shared) {
        let (id, term, commit, last) = (shared.id(), shared.term(), shared.commit, shared.last());
        let (leader, vote) = (shared.leader, shared.hard_state.voted_for);
        assert!(leader == Some(id) && vote == Some(id), "{id} leads term {term} with vote {vote:?}, leader {leader:?}");
        assert!(shared.hard_state_is_durable(), "{id} leads term {term}, its vote is not durable");
        assert!(
            last.term == term && self.term_start <= last.index,
            "term {term} starts at {}, last {last}",
            self.term_start
        );
        let members = shared.configuration().map(|configuration| &configuration.members);
        let mut others = members.into_iter().flat_map(|members| members.keys()).filter(|&&member| member != id);
        let unknown = others.find(|member| !self.peers.contains_key(member));
        assert!(unknown.is_none(), "member {unknown:?} is not a peer");
        assert!(!self.peers.contains_key(&id), "{id} is a peer of itself");
        let (low, high) = (self.uncommitted.front(), self.uncommitted.back());
        let is_the_rest = match (low, high) {
            (Some(&(low, _)), Some(&(high, _))) => commit < low && high == last.index,
            _ => commit == last.index && self.uncommitted_bytes == 0,
        };
        let bytes = self.uncommitted_bytes;
        assert!(is_the_rest, "uncommitted {low:?} to {high:?}, {bytes} B, commit {commit}, last {last}");
        let is_sent = self.transfer.is_some_and(|transfer| transfer.sent.is_some());
        assert!(self.timeout_now_sent || !is_sent, "{:?} is sent, timeout_now_sent is not set", self.transfer);
        self.reads.check(self.seq);
        let bounds = Bounds { base: shared.log.base().index, commit, last: last.index, seq: self.seq, now: shared.now };
        for (&id, peer) in &self.peers {
            peer.check(id, bounds);
            peer.read_back.check(&shared.log);
        }
    }

    /// Appends an entry of this term.
    pub(crate) fn append(&mut self, shared: &mut Shared, payload: Payload) -> EntryId {
        let id = EntryId { term: shared.term(), index: shared.last().index.next() };
        let entry = Entry { id, payload };
        let bytes = entry.size();
        self.uncommitted.push_back((id.index, bytes));
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_add(bytes);
        self.appended_bytes = self.appended_bytes.saturating_add(bytes);
        shared.push(entry);
        id
    }

    /// Answers a proposal: its entry is in the log, or it has no effect.
    pub(crate) fn propose(&mut self, shared: &mut Shared, id: RequestId, command: Bytes) {
        if let Some(reason) = self.proposal_refusal(shared) {
            shared.actions.push(Action::Rejected { id, reason });
            return;
        }
        let entry = self.append(shared, Payload::Command(command));
        shared.actions.push(Action::Appended { id, entry });
    }

    /// Why the leader accepts no proposal now; `None` if it does.
    pub(crate) fn proposal_refusal(&self, shared: &Shared) -> Option<RejectReason> {
        let full = self.uncommitted_bytes >= shared.config.max_uncommitted_bytes
            || shared.unpersisted_bytes() >= shared.config.max_unpersisted_bytes;
        if self.transfer.is_some() {
            // With new entries the target might never catch up.
            Some(RejectReason::Transferring)
        } else if self.is_leaving(shared) {
            Some(RejectReason::Leaving)
        } else if shared.no_space {
            Some(RejectReason::NoSpace)
        } else {
            full.then_some(RejectReason::Busy)
        }
    }

    /// Handles an answer of the current term.
    pub(crate) fn on_append_entries_response(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        response: AppendEntriesResponse,
    ) {
        let AppendEntriesResponse { seq, outcome, stickiness, no_space, .. } = response;
        let Some(peer) = self.peers.get_mut(&from) else {
            return shared.observe(|| Event::Ignored { from, reason: IgnoreReason::UnknownPeer });
        };
        let malformed = match outcome {
            AppendOutcome::Matched { index } => index > shared.last().index,
            // The next probe must be earlier. Ignores a refusal of an append that was never sent, and a hint that
            // repeats the refused entry: either would repeat the same probe forever.
            AppendOutcome::Mismatch { prev, hint } => {
                !shared.log.compatible_with(prev) || hint == prev || hint.index > prev.index || hint.term > prev.term
            }
            // Neither outcome can answer an append of the only leader of this term.
            AppendOutcome::StaleTerm | AppendOutcome::AnotherLeader => true,
        };
        // An echo of an append from before this node became a peer (again) belongs to another stream of appends.
        if malformed || seq > peer.sent || seq <= peer.created {
            return shared.observe(|| Event::Ignored { from, reason: IgnoreReason::Malformed });
        }
        if peer.state == PeerState::LostData {
            return;
        }
        if let AppendOutcome::Mismatch { prev, hint } = outcome
            && let Some(acknowledged) = peer.denies_acknowledged(prev, hint, seq)
        {
            peer.lost_data();
            return shared.observe(|| Event::PeerLostData { peer: from, acknowledged, denied: prev });
        }
        (peer.contact, peer.no_space) = (Some(shared.now), no_space);
        peer.echoed = peer.echoed.max(seq);
        if shared.config.lease_reads && peer.promises(seq, stickiness, shared.config.election_timeout.start) {
            shared.observe(|| Event::StickinessTooShort { peer: from, stickiness });
        }
        match outcome {
            AppendOutcome::Matched { index } => {
                peer.matched(index, seq, shared.log.base().index);
                let timeout = shared.config.election_timeout.start;
                if peer.catch_up.advance(peer.match_index, shared.last().index, shared.now, timeout) {
                    let index = peer.match_index;
                    let learns = shared.configuration().is_some_and(|configuration| !configuration.is_voter(from));
                    if learns {
                        shared.observe(|| Event::CaughtUp { peer: from, index });
                    }
                }
            }
            AppendOutcome::Mismatch { prev, .. }
                if peer.is_current(prev, seq) && prev.index <= shared.log.base().index =>
            {
                // The peer denies the earliest position from which this log could continue (rule R38).
                peer.need_snapshot(shared, self.seq, self.appended_bytes, from);
            }
            AppendOutcome::Mismatch { prev, hint } if peer.is_current(prev, seq) => {
                let next = shared.log.last_possible_match(hint).index.next();
                peer.probe_from(next, self.seq);
            }
            _ => {}
        }
    }

    /// The commit rule (Raft Figure 2): the highest index that is durable on a quorum of every half and holds an entry of
    /// this term. Later entries commit the entries of older terms (rule R13; Raft §5.4.2, Figure 8).
    pub(crate) fn advance_commit_index(&mut self, shared: &mut Shared) {
        let Some(configuration) = shared.configuration() else { return };
        let (id, durable) = (shared.id(), shared.durable());
        let index = configuration.quorum_value(|voter| if voter == id { durable } else { self.match_of(voter) });
        if index > shared.commit && shared.log.term_at(index) == Some(shared.term()) {
            while let Some(&(_, bytes)) = self.uncommitted.front().filter(|&&(place, _)| place <= index) {
                self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
                self.uncommitted.pop_front();
            }
            shared.commit_to(index);
        }
    }

    /// The match index; 0 for a peer that lost data.
    fn match_of(&self, peer: NodeId) -> LogIndex {
        match self.peers.get(&peer) {
            Some(progress) if progress.state != PeerState::LostData => progress.match_index,
            _ => LogIndex(0),
        }
    }

    /// The latest time since which a quorum of every half has answered. This node counts as `own`. At first it is the
    /// time of the election. Check-quorum and stickiness use it (Thesis §6.2, §4.2.3).
    pub(crate) fn contact(&self, shared: &Shared, own: Instant) -> Instant {
        let Some(configuration) = shared.configuration() else { return self.won };
        let answered = |voter| match self.peers.get(&voter) {
            _ if voter == shared.id() => own,
            Some(progress) if progress.state != PeerState::LostData => progress.contact.unwrap_or(self.won),
            _ => self.won,
        };
        configuration.quorum_value(answered).max(self.won)
    }

    /// When the leader steps down unless a quorum answers (rule R17); `None` if it is a quorum by itself, or
    /// check-quorum is off.
    pub(crate) fn quorum_deadline(&self, shared: &Shared) -> Option<Instant> {
        let contact = self.contact(shared, Instant::NEVER);
        (shared.config.check_quorum && contact != Instant::NEVER).then(|| contact.after(shared.longest_timeout()))
    }
}

// `Retained` counts from the number of appended bytes.
canonical!(Leader { term_start, won, next_heartbeat, seq, peers, uncommitted, uncommitted_bytes, reads, transfer, timeout_now_sent } without { appended_bytes });
canonical!(Transfer { id, target, deadline, sent });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Term;
    use crate::raft::Raft;
    use crate::role::Role;
    use crate::testing::each_fails;

    fn of_leader(raft: &mut Raft) -> &mut Leader {
        match &mut raft.role {
            Role::Leader(leader) => leader,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_leader_that_must_not_lead_or_has_lost_count_fails() {
        each_fails(
            &crate::testing::leader(),
            |raft| raft.role.check(&raft.shared),
            &[
                ("n1 leads term 2 with vote Some(n2), leader Some(n1)", |raft| {
                    raft.shared.hard_state.voted_for = Some(NodeId(2));
                }),
                ("n1 leads term 2 with vote Some(n1), leader None", |raft| raft.shared.leader = None),
                ("n1 leads term 2, its vote is not durable", |raft| {
                    raft.shared.hard_state = crate::HardState { term: Term(1), voted_for: None };
                    raft.shared.enter_term(Term(2), Some(NodeId(1)));
                    raft.shared.leader = Some(NodeId(1));
                }),
                ("term 2 starts at 3, last 2@2", |raft| of_leader(raft).term_start = LogIndex(3)),
                ("member Some(n3) is not a peer", |raft| drop(of_leader(raft).peers.remove(&NodeId(3)))),
                ("n1 is a peer of itself", |raft| {
                    let peer = of_leader(raft).peers[&NodeId(2)].clone();
                    of_leader(raft).peers.insert(NodeId(1), peer);
                }),
                ("uncommitted None to None, 96 B, commit 0, last 2@2", |raft| of_leader(raft).uncommitted.clear()),
                ("None to None, 96 B, commit 2, last 2@2", |raft| {
                    of_leader(raft).uncommitted.clear();
                    raft.shared.commit = LogIndex(2);
                }),
                ("commit 1, last 2@2", |raft| raft.shared.commit = LogIndex(1)),
                ("to Some((1, 72)), 96 B", |raft| {
                    of_leader(raft).uncommitted.pop_back();
                }),
                ("is sent, timeout_now_sent is not set", |raft| {
                    let Raft { role: Role::Leader(leader), shared, .. } = raft else { panic!("it leads") };
                    leader.peers.values_mut().for_each(|peer| peer.match_index = LogIndex(2));
                    leader.start_transfer(shared, Some(RequestId(1)), NodeId(2));
                    leader.drive_transfer(shared);
                    leader.timeout_now_sent = false;
                }),
                ("n2: echoed s9 is above sent", |raft| {
                    of_leader(raft).peers.values_mut().for_each(|peer| peer.echoed = Seq(9));
                }),
                ("round Some(s1) without a waiting read", |raft| of_leader(raft).reads.round = Some(Seq(1))),
            ],
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    fn an_append_from_beyond_the_log_fails() {
        let mut raft = crate::testing::leader();
        of_leader(&mut raft).peers.values_mut().for_each(|peer| peer.next_index = LogIndex(9));
        let Raft { role: Role::Leader(leader), shared, .. } = &mut raft else { panic!("it leads") };
        let message = crate::testing::failure(|| leader.send_heartbeats(shared));
        assert!(message.contains("next index 9 is beyond the log's end 2@2"), "{message}");
    }
}
