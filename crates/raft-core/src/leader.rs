//! The leader: proposals, answers, the commit rule (Raft §5.3, §5.4.2).

use crate::action::{Action, RejectReason};
use crate::entry::{Entry, Payload};
use crate::event::{Event, IgnoreReason};
use crate::fingerprint::canonical;
use crate::id::{EntryId, LogIndex, NodeId, RequestId, Seq};
use crate::message::{AppendEntriesResponse, AppendOutcome};
use crate::progress::Progress;
use crate::read::Reads;
use crate::shared::Shared;
use crate::status::PeerState;
use crate::time::Instant;
use crate::transfer::Transfer;
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;

/// What only a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Leader {
    /// Its first entry, the no-op. Once that is committed, so is all before it (Raft §8).
    pub(crate) term_start: LogIndex,
    /// When it won.
    pub(crate) won: Instant,
    /// When the next heartbeats leave.
    pub(crate) next_heartbeat: Instant,
    /// The newest append sent in this term, over all peers.
    pub(crate) seq: Seq,
    pub(crate) peers: BTreeMap<NodeId, Progress>,
    /// The entries that are not committed yet, each with its bytes; those taken over only if they are in memory.
    uncommitted: VecDeque<(LogIndex, u64)>,
    pub(crate) uncommitted_bytes: u64,
    /// The bytes of all entries of this term.
    pub(crate) appended_bytes: u64,
    pub(crate) reads: Reads,
    /// Leadership is being handed over.
    pub(crate) transfer: Option<Transfer>,
    /// It has told somebody to start an election; whether that was heard, and when, it cannot know.
    pub(crate) told_to_start: bool,
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
            reads: Reads::default(),
            transfer: None,
            told_to_start: false,
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

    /// Answers a proposal: in the log, or surely not.
    pub(crate) fn propose(&mut self, shared: &mut Shared, id: RequestId, command: Bytes) {
        if let Some(reason) = self.refusal_of_entries(shared) {
            shared.actions.push(Action::Rejected { id, reason });
            return;
        }
        let entry = self.append(shared, Payload::Command(command));
        shared.actions.push(Action::Appended { id, entry });
    }

    /// Why no entry is taken from a host now, if so.
    pub(crate) fn refusal_of_entries(&self, shared: &Shared) -> Option<RejectReason> {
        let full = self.uncommitted_bytes >= shared.config.max_uncommitted_bytes
            || shared.unpersisted_bytes() >= shared.config.max_unpersisted_bytes;
        if self.transfer.is_some() {
            // The target would never hold everything while there is always more.
            Some(RejectReason::Transferring)
        } else if self.is_leaving(shared) {
            Some(RejectReason::Leaving)
        } else {
            full.then_some(RejectReason::Busy)
        }
    }

    /// Takes an answer of the current term.
    pub(crate) fn on_append_entries_response(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        response: AppendEntriesResponse,
    ) {
        let AppendEntriesResponse { seq, outcome, stickiness, .. } = response;
        let Some(peer) = self.peers.get_mut(&from) else {
            return shared.observe(|| Event::Ignored { from, reason: IgnoreReason::UnknownPeer });
        };
        let malformed = match outcome {
            AppendOutcome::Matched { index } => index > shared.last().index,
            // The next probe must be an earlier one: to deny what was never sent, or to deny and offer the same entry,
            // would have the same probe sent for ever, as fast as it is denied.
            AppendOutcome::Mismatch { prev, hint } => {
                !shared.log.agrees_with(prev) || hint == prev || hint.index > prev.index || hint.term > prev.term
            }
            // Within one term neither can be said of its only leader's appends.
            AppendOutcome::StaleTerm | AppendOutcome::AnotherLeader => true,
        };
        // An echo from before this peer was one (again) speaks of another stream of appends.
        if malformed || seq > peer.sent || seq <= peer.created {
            return shared.observe(|| Event::Ignored { from, reason: IgnoreReason::Malformed });
        }
        if peer.state == PeerState::LostData {
            return;
        }
        if let AppendOutcome::Mismatch { prev, hint } = outcome {
            let acknowledged = peer.mark_of(seq).map_or(LogIndex(0), |mark| mark.match_index);
            if prev.index.min(hint.index.next()) <= acknowledged {
                // It had these entries on its disk when the append left, by its own word, and denies one of them or offers
                // less. To count on it further could commit with a quorum that no longer holds what the last one did.
                peer.lost_data();
                return shared.observe(|| Event::PeerLostData { peer: from, acknowledged, denied: prev });
            }
        }
        peer.contact = Some(shared.now);
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
                // It denies the earliest place that this log could go on from.
                peer.need_snapshot(shared, self.seq, self.appended_bytes, from);
            }
            AppendOutcome::Mismatch { prev, hint } if peer.is_current(prev, seq) => {
                let next = shared.log.last_possible_match(hint).index.next();
                peer.probe_from(next, self.seq);
            }
            _ => {}
        }
    }

    /// The commit rule (Raft Figure 2): the highest index that is durable on a quorum of every half and carries an entry
    /// of this term. Older entries are never committed by counting (Raft §5.4.2, Figure 8), only by what follows them.
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

    /// The match that counts; a peer that lost data counts for nothing.
    fn match_of(&self, peer: NodeId) -> LogIndex {
        match self.peers.get(&peer) {
            Some(progress) if progress.state != PeerState::LostData => progress.match_index,
            _ => LogIndex(0),
        }
    }

    /// The latest time since which a quorum of every half has answered, this node counted at `own`; at first the moment
    /// it won. Check-quorum and stickiness rest on it (Thesis §6.2, §4.2.3).
    pub(crate) fn contact(&self, shared: &Shared, own: Instant) -> Instant {
        let Some(configuration) = shared.configuration() else { return self.won };
        let answered = |voter| match self.peers.get(&voter) {
            _ if voter == shared.id() => own,
            Some(progress) if progress.state != PeerState::LostData => progress.contact.unwrap_or(self.won),
            _ => self.won,
        };
        configuration.quorum_value(answered).max(self.won)
    }

    /// When it steps down unless a quorum answers; none if it is a quorum by itself, or check-quorum is off.
    pub(crate) fn quorum_deadline(&self, shared: &Shared) -> Option<Instant> {
        let contact = self.contact(shared, Instant::NEVER);
        (shared.config.check_quorum && contact != Instant::NEVER).then(|| contact.after(shared.longest_timeout()))
    }
}

// What was appended counts from where something began to wait.
canonical!(Leader { term_start, won, next_heartbeat, seq, peers, uncommitted, uncommitted_bytes, reads, transfer, told_to_start } without { appended_bytes });
