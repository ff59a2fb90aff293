//! Peers call before they say anything: the node's disk looks up which disk each of them was on when it first called, and
//! remembers it. Until that is durable nothing that the peer says is believed, and never if it is on another disk now: such a
//! peer has forgotten what it promised.
//!
//! A connection lasts as long as the two processes, even if links are cut meanwhile.

use super::World;
use crate::world::host::{Caller, Connection, RecordedInput};
use raft_core::NodeId;
use raft_store::{DiskId, PeerCheck};

/// A life of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// Which of its starts.
    incarnation: u64,
    /// On which disk.
    disk: DiskId,
}

impl World {
    /// Who a message is from that a node sends now.
    pub(super) fn sender(&self, node: NodeId) -> Option<Sender> {
        self.hosts.get(&node).map(|host| Sender { incarnation: host.incarnation, disk: host.disk_id() })
    }

    /// A peer says something: it goes to the node, or waits until the peer's disk is looked up. What an earlier start of the peer
    /// said is lost with its connection, once a later one has called.
    pub(super) fn give_from(&mut self, from: NodeId, sender: Sender, node: NodeId, given: RecordedInput) {
        let Sender { incarnation, disk } = sender;
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let open = process.callers.get_mut(&from).filter(|open| open.incarnation >= incarnation);
        match open.map(|open| (open.incarnation == incarnation, &mut open.caller)) {
            Some((true, Caller::Known)) => self.give(node, given),
            Some((true, Caller::Unknown(said))) => said.push(given),
            Some((true, Caller::Refused) | (false, _)) => {}
            None => {
                let cause = given.cause.unwrap_or(0);
                let caller = Caller::Unknown(vec![given]);
                process.callers.insert(from, Connection { incarnation, disk, caller });
                process.queue.push_peer(from, disk, cause);
                self.serve_disk(node);
            }
        }
    }

    /// A peer's disk is looked up.
    pub(super) fn registered(&mut self, node: NodeId, peer: NodeId, disk: DiskId, found: Option<PeerCheck>) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let Some(open) = process.callers.get_mut(&peer).filter(|open| open.disk == disk) else { return };
        let caller = match found {
            Some(PeerCheck::New | PeerCheck::Known) => Caller::Known,
            Some(PeerCheck::Mismatch { .. }) => Caller::Refused,
            // It will call again.
            Some(PeerCheck::Full) | None => {
                process.callers.remove(&peer);
                return;
            }
        };
        let is_known = matches!(caller, Caller::Known);
        if let (Caller::Unknown(said), true) = (std::mem::replace(&mut open.caller, caller), is_known) {
            said.into_iter().for_each(|given| self.give(node, given));
        }
    }
}
