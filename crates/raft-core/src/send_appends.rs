//! The appends of a leader: probes, pipelines, heartbeats, read rounds (Raft §5.3, Thesis §10.2.1).

use crate::entry::Entries;
use crate::id::{NodeId, Seq};
use crate::leader::Leader;
use crate::message::{AppendEntries, Rpc};
use crate::progress::Progress;
use crate::shared::Shared;
use crate::status::PeerState;

impl Leader {
    /// Sends an empty append to every peer, even if its window is closed. The append follows the last one sent, so its
    /// refusal shows that a whole window was lost (rule R20).
    pub(crate) fn send_heartbeats(&mut self, shared: &mut Shared) {
        self.next_heartbeat = shared.now.after(shared.config.heartbeat_interval);
        for (&id, peer) in &mut self.peers {
            if peer.state != PeerState::LostData {
                send_append(shared, &mut self.seq, id, peer, Entries::new());
            }
        }
    }

    /// Sends the commit index to the peers that leave with this leader: its successor does not know them.
    pub(crate) fn send_farewells(&mut self, shared: &mut Shared) {
        for (&id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.farewell.is_some()) {
            send_append(shared, &mut self.seq, id, peer, Entries::new());
        }
    }

    /// Fills every peer's window. Then sends empty appends to the voters of a read round, and to idle peers that do not
    /// know the commit index yet.
    pub(crate) fn send_appends(&mut self, shared: &mut Shared) {
        for (&id, peer) in &mut self.peers {
            fill_window(shared, &mut self.seq, id, peer);
            peer.read_back.release(peer.next_index);
        }
        let round = self.reads.start_round();
        for (&id, peer) in &mut self.peers {
            let confirms = round.is_some_and(|round| peer.sent <= round)
                && shared.configuration().is_some_and(|configuration| configuration.is_voter(id));
            let is_behind = peer.state == PeerState::Replicate
                && peer.is_idle()
                && peer.next_index > shared.last().index
                && peer.sent_commit < shared.commit;
            if (confirms || is_behind) && peer.state != PeerState::LostData {
                send_append(shared, &mut self.seq, id, peer, Entries::new());
            }
        }
    }
}

fn fill_window(shared: &mut Shared, seq: &mut Seq, id: NodeId, peer: &mut Progress) {
    match peer.state {
        PeerState::Probe if !peer.probe_sent => {
            let last = shared.last().index;
            // A peer may refuse a probe, so the leader does not read its entries back from the disk.
            let entries = shared.log.entries(peer.next_index, last, shared.config.max_append_bytes);
            send_append(shared, seq, id, peer, entries.unwrap_or_default());
        }
        PeerState::Replicate => {
            let (messages, bytes) = (shared.config.max_inflight_messages, shared.config.max_inflight_bytes);
            let max_bytes = shared.config.max_append_bytes;
            while peer.next_index <= shared.last().index && peer.has_room(messages, bytes) {
                let last = shared.last().index;
                let (read_back, next) = (&mut peer.read_back, peer.next_index);
                let Some(entries) = shared.entries(read_back, next, last, max_bytes) else { return };
                send_append(shared, seq, id, peer, entries);
            }
        }
        PeerState::Probe | PeerState::Snapshot | PeerState::LostData => {}
    }
}

fn send_append(shared: &mut Shared, seq: &mut Seq, to: NodeId, peer: &mut Progress, entries: Entries) {
    let Some(prev) = shared.log.id_at(peer.next_index.previous()) else {
        debug_assert!(false, "next index {} is beyond the log's end {}", peer.next_index, shared.last());
        return;
    };
    *seq = seq.next();
    peer.mark(*seq, shared.now, shared.config.heartbeat_interval, shared.longest_timeout());
    let reach = entries.last_id().unwrap_or(prev).index;
    peer.sent_commit = peer.sent_commit.max(reach.min(shared.commit));
    let probes = peer.state == PeerState::Probe;
    if let Some(last) = entries.last_id() {
        peer.sent_entries(last.index, entries.size());
    } else if probes {
        peer.probe_sent = true;
    }
    let rpc = AppendEntries { term: shared.term(), seq: *seq, prev, leader_commit: shared.commit, entries };
    shared.send(to, Rpc::AppendEntries(rpc));
}
