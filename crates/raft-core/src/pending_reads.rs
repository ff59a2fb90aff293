//! The reads that wait for a round in which a quorum confirms the leader.

use crate::action::{Action, RejectReason};
use crate::canonical::canonical;
use crate::id::{LogIndex, RequestId, Seq};
use alloc::collections::VecDeque;

/// The reads that wait for confirmation, in order of arrival.
///
/// Invariants: `after` and `index` never fall, `after` is at most the newest append; `round` is set only while reads wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PendingReads {
    pub(crate) waiting: VecDeque<Waiting>,
    /// The round in progress: appends numbered above this confirm it.
    pub(crate) round: Option<Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Waiting {
    pub(crate) id: RequestId,
    /// The commit index when the read arrived, or the leader's first entry if that is later.
    pub(crate) index: LogIndex,
    /// The newest append when the read arrived: an answer to a later one confirms the read.
    pub(crate) after: Seq,
}

impl PendingReads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Rejects all waiting reads.
    pub(crate) fn fail(self, reason: RejectReason) -> impl Iterator<Item = Action> {
        self.waiting.into_iter().map(move |read| Action::ReadFailed { id: read.id, reason: reason.clone() })
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

    /// Starts a round if reads wait and no round is in progress. Returns the number that its appends must exceed. Reads
    /// that arrive meanwhile share the next round, so more reads cost no more messages.
    pub(crate) fn start_round(&mut self) -> Option<Seq> {
        if self.round.is_none() {
            // The newest read has the highest number.
            self.round = self.waiting.back().map(|read| read.after);
            return self.round;
        }
        None
    }
}

canonical!(PendingReads { waiting, round });
canonical!(Waiting { id, index, after });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_out_of_order_fail() {
        let read = |index, after| Waiting { id: RequestId(1), index: LogIndex(index), after: Seq(after) };
        let sound = PendingReads { waiting: [read(2, 3), read(4, 5)].into(), round: Some(Seq(3)) };
        crate::testing::each_fails(
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
