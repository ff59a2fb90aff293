//! Snapshots for peers whose next entry the leader's log no longer holds (Raft §7).
//!
//! The leader probes the earliest position from which its log can continue. Only a peer that denies this position gets
//! a snapshot (rule R38), so a peer that is down costs nothing. From then on empty appends probe the position after the
//! snapshot. The transfer ends as soon as the peer matches a position in the log.

use crate::action::Action;
use crate::entry::Entries;
use crate::event::{AbandonReason, Event};
use crate::id::{LogIndex, NodeId, ReadId, Seq};
use crate::leader::Leader;
use crate::membership::catch_up::CatchUp;
use crate::message::SnapshotOutcome;
use crate::progress::{Progress, Retained, SnapshotInFlight};
use crate::shared::Shared;
use crate::snapshot_meta::SnapshotMeta;
use crate::status::PeerState;
use crate::time::Instant;

impl Progress {
    /// Sends the newest durable snapshot to the peer. If the log continues after a snapshot that is not durable yet,
    /// the next heartbeat probes again.
    pub(crate) fn need_snapshot(&mut self, shared: &mut Shared, seq: Seq, appended_bytes: u64, to: NodeId) {
        let held = shared.log.base().index.max(self.match_index);
        let leads_on = |meta: &SnapshotMeta| meta.last.index >= held && meta.last.index > self.match_index;
        let Some(meta) = shared.snapshots.durable.clone().filter(leads_on) else {
            return self.snapshot_over(held.next(), seq);
        };
        let deadline = shared.now.after(shared.config.snapshot_timeout);
        self.send_snapshot(SnapshotInFlight { last: meta.last, deadline }, appended_bytes);
        self.catch_up = CatchUp::new(shared.last().index, shared.now);
        shared.actions.push(Action::SendSnapshot { to, term: shared.term(), meta });
    }

    /// Abandons the snapshot in flight, if there is one. The next heartbeat probes the earliest position from which the
    /// log can continue.
    fn abandon(&mut self, shared: &mut Shared, seq: Seq, peer: NodeId, reason: AbandonReason) {
        let sending = self.sending;
        self.retained = None;
        self.snapshot_over(shared.log.base().index.next(), seq);
        if let Some(SnapshotInFlight { last, .. }) = sending {
            shared.observe(|| Event::SnapshotAbandoned { peer, last, reason });
        }
    }
}

impl Leader {
    /// Notes the progress of a snapshot.
    pub(crate) fn on_snapshot_sent(&mut self, shared: &mut Shared, to: NodeId, outcome: SnapshotOutcome) {
        let Some((peer, sending)) =
            self.peers.get_mut(&to).and_then(|peer| peer.sending.map(|sending| (peer, sending)))
        else {
            return;
        };
        match outcome {
            SnapshotOutcome::Progress => {
                let deadline = shared.now.after(shared.config.snapshot_timeout);
                peer.sending = Some(SnapshotInFlight { deadline, ..sending });
            }
            // The peer's core has the snapshot: an append that leaves now finds it, unless the peer crashes.
            SnapshotOutcome::Delivered => peer.snapshot_over(sending.last.index.next(), self.seq),
            SnapshotOutcome::Failed => peer.abandon(shared, self.seq, to, AbandonReason::Failed),
        }
    }

    /// When the first snapshot in flight counts as lost.
    pub(crate) fn snapshot_deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(|peer| peer.sending).map(|sending| sending.deadline).min()
    }

    /// Abandons the snapshots whose progress is overdue.
    pub(crate) fn abandon_overdue_snapshots(&mut self, shared: &mut Shared) {
        for (&id, peer) in &mut self.peers {
            if peer.sending.is_some_and(|sending| sending.deadline.is_due(shared.now)) {
                peer.abandon(shared, self.seq, id, AbandonReason::TimedOut);
            }
        }
    }

    /// Compacts the log. The log after a sent snapshot stays for a while (rule R39).
    pub(crate) fn compact(&mut self, shared: &mut Shared) {
        let covered = shared.snapshots.durable.as_ref().map_or(LogIndex(0), |meta| meta.last.index);
        let (appended, most) = (self.appended_bytes, shared.config.max_retained_bytes);
        let mut held: Option<LogIndex> = None;
        for peer in self.peers.values_mut() {
            let is_kept = |retained: &Retained| {
                peer.match_index < covered && appended.saturating_sub(retained.appended_bytes) <= most
            };
            peer.retained = peer.retained.filter(is_kept);
            if let Some(retained) = peer.retained {
                let needed = retained.after.max(peer.match_index).next();
                held = Some(held.map_or(needed, |held| held.min(needed)));
            }
        }
        shared.emit_compact(held);
        let base = shared.log.base().index;
        for (&id, peer) in &mut self.peers {
            if peer.next_index <= base && peer.state != PeerState::LostData {
                peer.abandon(shared, self.seq, id, AbandonReason::Compacted);
            }
        }
    }

    /// Handles the entries of a log read for a peer; without entries the peer needs a snapshot.
    pub(crate) fn on_log_read(&mut self, shared: &mut Shared, read: ReadId, entries: &Entries) {
        let Some((&id, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.read_back.asks(read)) else { return };
        if entries.is_empty() && peer.read_back.asked_from() != Some(peer.next_index) {
            // The peer has moved on: the next read begins there.
            return peer.read_back.forget();
        }
        if entries.is_empty() {
            return peer.need_snapshot(shared, self.seq, self.appended_bytes, id);
        }
        peer.read_back.answered(&shared.log, entries);
    }
}
