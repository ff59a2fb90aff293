//! The snapshots of this node: the durable one, those whose records are in flight to the disk, and the one of this
//! call.

use crate::canonical::canonical;
use crate::id::{LogIndex, WriteId};
use crate::snapshot_meta::{SnapshotMeta, SnapshotRecord};
use alloc::collections::VecDeque;

/// The snapshots of this node.
///
/// Invariants: every snapshot is consistent; indices rise from `durable` through `in_flight` to `changed`; between two
/// calls a write carries each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct LocalSnapshots {
    /// The newest snapshot whose record is durable: the leader sends it, and it limits compaction.
    pub(crate) durable: Option<SnapshotMeta>,
    /// The snapshots whose records are in flight to the disk, in order.
    in_flight: VecDeque<(WriteId, SnapshotMeta)>,
    /// The snapshot of this call, which no write carries yet.
    pub(crate) changed: Option<SnapshotRecord>,
}

impl LocalSnapshots {
    pub(crate) fn restored(durable: Option<SnapshotMeta>) -> Self {
        Self { durable, ..Self::default() }
    }

    /// The newest snapshot, durable or not.
    pub(crate) fn newest(&self) -> Option<&SnapshotMeta> {
        let changed = self.changed.as_ref().map(|record| &record.meta);
        changed.or_else(|| self.in_flight.back().map(|(_, meta)| meta)).or(self.durable.as_ref())
    }

    /// The last index that the newest snapshot covers; 0 if there is none.
    pub(crate) fn newest_index(&self) -> LogIndex {
        self.newest().map_or(LogIndex(0), |meta| meta.last.index)
    }

    /// Whether the newest snapshot is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.changed.is_none()
    }

    /// Notes the write that carries the record of this call.
    pub(crate) fn issued(&mut self, write: WriteId, record: &SnapshotRecord) {
        self.in_flight.push_back((write, record.meta.clone()));
    }

    /// Notes which writes are durable.
    pub(crate) fn reported(&mut self, is_durable: impl Fn(WriteId) -> bool) {
        while self.in_flight.front().is_some_and(|&(write, _)| is_durable(write)) {
            self.durable = self.in_flight.pop_front().map(|(_, meta)| meta);
        }
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self) {
        assert!(self.changed.is_none(), "no write carries {:?}", self.changed);
        let snapshots = self.durable.iter().chain(self.in_flight.iter().map(|(_, meta)| meta));
        let rise = snapshots.is_sorted_by(|one, next| one.last.index < next.last.index);
        assert!(rise, "snapshots do not rise: durable {:?}, in flight {:?}", self.durable, self.in_flight);
    }
}

canonical!(LocalSnapshots { durable, in_flight, changed });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot_meta::InstallMode;
    use crate::testing::{each_fails, meta};

    #[test]
    fn snapshots_out_of_order_fail() {
        let sound = LocalSnapshots {
            in_flight: [(WriteId(1), meta(7, 1))].into(),
            ..LocalSnapshots::restored(Some(meta(4, 1)))
        };
        each_fails(
            &sound,
            |snapshots| snapshots.check(),
            &[
                ("no write carries Some", |snapshots| {
                    snapshots.changed = Some(SnapshotRecord { meta: meta(9, 1), log: InstallMode::Keep });
                }),
                ("snapshots do not rise", |snapshots| snapshots.durable = Some(meta(7, 1))),
            ],
        );
    }
}
