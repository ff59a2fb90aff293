//! Linearizable reads without a log entry (ReadIndex, Thesis §6.4).
//!
//! A leader may serve a read from the state at its read index once a quorum has confirmed, *after* the read arrived,
//! that it still leads, and once an entry of its own term is committed (rule R22). Appends are numbered: an answer
//! confirms the reads that arrived before its append was sent, never later ones.

use crate::action::{Action, RejectReason};
use crate::id::{NodeId, RequestId, Seq};
use crate::leader::Leader;
use crate::message::ReadMode;
use crate::pending_reads::Waiting;
use crate::shared::Shared;
use crate::status::PeerState;

impl Leader {
    /// Handles a read. The leader serves a lease read at once if it holds a lease. Any other read joins the next round,
    /// whose answers bring the next lease.
    pub(crate) fn read(&mut self, shared: &mut Shared, id: RequestId, mode: ReadMode) {
        if mode == ReadMode::Lease && shared.commit >= self.term_start && self.holds_lease(shared) {
            shared.lease_reads = shared.lease_reads.saturating_add(1);
            shared.actions.push(Action::ReadReady { id, index: shared.commit });
            return;
        }
        if self.reads.len() >= shared.config.max_pending_reads {
            shared.actions.push(Action::Rejected { id, reason: RejectReason::Busy });
            return;
        }
        let index = shared.commit.max(self.term_start);
        self.reads.waiting.push_back(Waiting { id, index, after: self.seq });
    }

    /// Releases the reads a quorum has confirmed.
    pub(crate) fn release_reads(&mut self, shared: &mut Shared) {
        if self.reads.waiting.is_empty() || shared.commit < self.term_start {
            return;
        }
        let Some(configuration) = shared.configuration() else { return };
        let echoed = |voter: NodeId| match self.peers.get(&voter) {
            _ if voter == shared.id() => Seq(u64::MAX),
            Some(progress) if progress.state != PeerState::LostData => progress.echoed,
            _ => Seq(0),
        };
        let confirmed = configuration.quorum_value(echoed);
        while let Some(read) = self.reads.waiting.front().filter(|read| read.after < confirmed) {
            shared.actions.push(Action::ReadReady { id: read.id, index: read.index });
            self.reads.waiting.pop_front();
        }
        if self.reads.round.is_some_and(|round| round < confirmed) {
            self.reads.round = None;
        }
    }
}
