//! Linearizable reads without a log entry (ReadIndex, Thesis §6.4).
//!
//! A read may be answered from the state at its read index once a quorum has confirmed, *after* the read arrived, that
//! this node still leads, and once an entry of the own term is committed: before that the leader may not know what its
//! predecessors committed. Appends carry a number; an answer confirms the reads that arrived before the append it echoes
//! was sent, never later ones.

use crate::action::{Action, RejectReason};
use crate::fingerprint::canonical;
use crate::id::{LogIndex, NodeId, RequestId, Seq};
use crate::leader::Leader;
use crate::message::ReadMode;
use crate::shared::Shared;
use crate::status::PeerState;
use alloc::collections::VecDeque;

/// The reads that wait for confirmation, in order of arrival.
///
/// Invariants: `after` and `index` never fall, `after` is at most the newest append; `round` is set only while reads wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reads {
    waiting: VecDeque<Waiting>,
    /// A round is under way: appends numbered above this confirm it.
    pub(crate) round: Option<Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Waiting {
    id: RequestId,
    /// The commit index at arrival, or the leader's first entry if that is later.
    index: LogIndex,
    /// The newest append at arrival: a later one confirms.
    after: Seq,
}

impl Reads {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Fails all that wait.
    pub(crate) fn fail(self, shared: &mut Shared, reason: RejectReason) {
        shared.actions.extend(self.waiting.into_iter().map(|read| Action::ReadFailed { id: read.id, reason }));
    }

    /// Asserts the invariants; `seq` is the newest append.
    pub(crate) fn check(&self, seq: Seq) {
        let (oldest, newest) = (self.waiting.front(), self.waiting.back());
        let rise = oldest.zip(newest).is_none_or(|(oldest, newest)| {
            oldest.after <= newest.after && oldest.index <= newest.index && newest.after <= seq
        });
        assert!(rise, "reads wait from {oldest:?} to {newest:?} at append {seq}");
        let round = self.round;
        assert!(round.is_none() || newest.is_some(), "round {round:?} without a waiting read");
    }

    /// Starts a round if reads wait and none is under way: returns the number its appends must exceed. Reads that arrive
    /// meanwhile share the next round, so their number costs no messages.
    pub(crate) fn start_round(&mut self) -> Option<Seq> {
        if self.round.is_none() {
            // All that wait arrived at or before the newest append; the last one's number covers the others.
            self.round = self.waiting.back().map(|read| read.after);
            return self.round;
        }
        None
    }
}

impl Leader {
    /// Takes a read. One that may rest on a lease is served at once if there is one; if not, it joins the others: their
    /// round costs a round trip, and its answers bring the next lease.
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

canonical!(Reads { waiting, round });
canonical!(Waiting { id, index, after });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_out_of_order_fail() {
        let read = |index, after| Waiting { id: RequestId(1), index: LogIndex(index), after: Seq(after) };
        let sound = Reads { waiting: [read(2, 3), read(4, 5)].into(), round: Some(Seq(3)) };
        crate::broken::each_fails(
            &sound,
            |reads| reads.check(Seq(5)),
            &[
                ("reads wait from Some", |reads| reads.waiting[0].after = Seq(6)),
                ("reads wait from Some", |reads| reads.waiting[0].index = LogIndex(5)),
                ("at append s5", |reads| reads.waiting[1].after = Seq(6)),
                ("round Some(s3) without a waiting read", |reads| reads.waiting.clear()),
            ],
        );
    }
}
